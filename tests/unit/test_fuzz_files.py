"""Files of ours that hypothesis has spoilt: an error of ours in one line, or what was written; nothing else."""

import copy
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask
from safetensors.torch import save_file
from torch import nn

from umgclip.data.stream import decode
from umgclip.errors import DataError, InputError, UmgclipError
from umgclip.geometry import masks as mask_ops
from umgclip.io.images import encode_png
from umgclip.io.manifest import MANIFEST, MadeBy, Manifest, describe_shard, read_manifest, write_manifest
from umgclip.io.shards import RawSample, ShardWriter, read_shard
from umgclip.learning.checkpoint import Checkpoints, TrainingState
from umgclip.model.adapters.adapt import adapt, load_tuned
from umgclip.model.clip import files
from umgclip.model.clip.layout import ADAPTER
from umgclip.model.clip.pretrained.checkpoint_file import read_checkpoint
from umgclip.params import LoraParams, TowerParams, TrainParams
from umgclip.records import KEY, ImageRecord, Mask, Region, Source, Text, stored_record

# the libraries that read a damaged file warn of whatever they come upon before they refuse it
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

T = TypeVar("T")
QUICK = settings(
    max_examples=40, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
LONG = settings(max_examples=1000, deadline=None, database=None, suppress_health_check=list(HealthCheck))
BUDGETS = pytest.mark.parametrize(
    "budget", [pytest.param(QUICK, id="quick"), pytest.param(LONG, id="long", marks=pytest.mark.heavy)]
)
NASTY = [
    None, True, -1, 0, 1, 7.5, 1e308, 10**12, 10**400, "", "k", "../../k", "a/b", "/etc/passwd", "a\\b", "\x00",
    "\x1b[31m", "x" * 300, [], {}, [[]], [1, 2], [100000, 100000], [-5, 5], {"size": [100000, 100000], "counts": "0"},
    {"size": [30, 40], "counts": "P"}, {"size": [30, 40], "counts": "ä"}, "s3://", "s3://bucket/../x", "a.tar/..",
]  # fmt: skip


def places(value: Any, at: tuple = ()) -> Any:
    """The way to everything inside a JSON value."""
    if at:
        yield at
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        yield from places(one, (*at, key))


@st.composite
def spoilt(draw: Any, value: Any) -> Any:
    """A JSON value of which up to three parts are other things, are left out or have another name."""
    value = copy.deepcopy(value)
    for _ in range(draw(st.integers(1, 3))):
        ways = list(places(value))
        if not ways:
            break
        *above, last = draw(st.sampled_from(ways))
        holder = value
        for key in above:
            holder = holder[key]
        how = draw(st.sampled_from(["replace", "replace", "replace", "leave out", "rename"]))
        if how == "replace":
            holder[last] = copy.deepcopy(draw(st.sampled_from(NASTY)))
        elif how == "leave out":
            del holder[last]
        elif isinstance(holder, dict):
            holder[draw(st.text(max_size=8))] = holder.pop(last)
    return value


@st.composite
def damaged(draw: Any, data: bytes) -> bytes:
    """Bytes of which some bits are flipped, a piece is missing or other, or none is left."""
    content = bytearray(data)
    how = draw(st.sampled_from(["flip", "flip", "flip", "cut", "zero", "random"]))
    if how == "flip":
        for _ in range(draw(st.integers(1, 4))):
            content[draw(st.integers(0, len(data) - 1))] ^= 1 << draw(st.integers(0, 7))
    elif how == "cut":
        del content[draw(st.integers(0, len(data) - 1)) :]
    elif how == "zero":
        start = draw(st.integers(0, len(data) - 1))
        content[start : start + 64] = bytes(len(content[start : start + 64]))
    else:
        return draw(st.binary(max_size=200))
    return bytes(content)


def attempt(call: Callable[[], T], kind: type[UmgclipError], said: str = "") -> T | None:
    """What a call gives; None where it raised an error of ours, in one line, in which something is said."""
    try:
        return call()
    except kind as error:
        line = str(error)
    assert line
    assert "\n" not in line
    assert said in line
    return None


PIXELS = np.random.default_rng(0).integers(0, 256, (3, 4, 3), dtype=np.uint8)
SAID = [Text(text="a cat", source="alt")]
RECORD = ImageRecord(
    key="k",
    width=4,
    height=3,
    sha256="0" * 64,
    source=Source(dataset="test"),
    captions=SAID,
    tags=SAID,
    regions=[
        Region(id="0", box_xyxy=(0.0, 1.0, 2.5, 3.0), mask=mask_ops.encode(PIXELS[..., 0] > 99), tags=SAID),
        Region(id="1", box_xyxy=(0.0, 0.0, 2.0, 2.0)),
    ],
)


@BUDGETS
def test_records(budget: settings) -> None:
    image = encode_png(PIXELS)

    @budget
    @given(st.one_of(spoilt(json.loads(RECORD.to_json())).map(json.dumps).map(str.encode), damaged(RECORD.to_json())))
    def read(content: bytes) -> None:
        sample = attempt(lambda: decode(RawSample("k", image, "png", content), "a.tar"), DataError, "a.tar:k: ")
        if sample is None:
            return
        record = sample.record
        assert (record.key, record.width, record.height) == ("k", 4, 3)
        assert np.isfinite([side for region in record.regions or [] for side in region.box_xyxy]).all()
        for region in record.regions or []:
            assert region.mask is None or mask_ops.decode(region.mask).shape == (3, 4)
        assert stored_record(record.to_json(), key="k", where="again") == record

    read()


@BUDGETS
def test_run_length_codes(budget: settings) -> None:
    codes = st.one_of(st.text("0123456789:;<=>?@ABCNOPQRZ^_`hno", max_size=24), st.text(max_size=8))
    sides = st.one_of(st.integers(-2, 9), st.sampled_from([10**5, 2**31, 2**62]))

    @budget
    @given(codes, st.tuples(sides, sides))
    def read(counts: str, size: tuple[int, int]) -> None:
        pixels = attempt(lambda: mask_ops.decode(Mask(size=size, counts=counts)), InputError)
        if pixels is None:
            return
        assert pixels.shape == size
        again = coco_mask.frPyObjects({"size": list(size), "counts": runs_of(pixels)}, *size)
        assert np.array_equal(coco_mask.decode(again).astype(bool), pixels), "every pixel is told by a run"
        assert mask_ops.area(Mask(size=size, counts=counts)) == pixels.sum()

    read()


def runs_of(pixels: np.ndarray) -> list[int]:
    """Runs outside and inside in turns, column by column."""
    flat = np.concatenate([[False], pixels.flatten(order="F")])
    ends = [*np.flatnonzero(flat[1:] != flat[:-1]).tolist(), len(flat) - 1]
    return [ends[0], *(after - before for before, after in zip(ends[:-1], ends[1:], strict=True))]


def write_dataset(folder: Path) -> None:
    writer = ShardWriter(folder / "a.tar")
    writer.write(RawSample("k", encode_png(PIXELS), "png", RECORD.to_json()))
    writer.close()
    made_by = MadeBy(stage="test", params_sha256="0", code_version="0")
    write_manifest(folder, Manifest(made_by=made_by, shards=[describe_shard(folder / "a.tar", 1)]))


@BUDGETS
def test_manifests(budget: settings) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "set"
        folder.mkdir()
        write_dataset(folder)
        content = (folder / MANIFEST).read_bytes()

        @budget
        @given(st.one_of(spoilt(json.loads(content)).map(json.dumps).map(str.encode), damaged(content)))
        def read(spoilt_content: bytes) -> None:
            (folder / MANIFEST).write_bytes(spoilt_content)
            manifest = attempt(lambda: read_manifest(folder), DataError)
            for shard in manifest.shards if manifest is not None else []:
                assert shard.path.startswith("s3://") or (folder / shard.path).resolve().is_relative_to(
                    folder.resolve()
                )

        read()


@BUDGETS
def test_shards(budget: settings) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_dataset(folder)
        content = (folder / "a.tar").read_bytes()

        @budget
        @given(damaged(content))
        def read(spoilt_content: bytes) -> None:
            (folder / "b.tar").write_bytes(spoilt_content)
            samples = attempt(lambda: list(read_shard(folder / "b.tar")), DataError, "b.tar")
            assert all(KEY.fullmatch(sample.key) for sample in samples or [])

        read()


@BUDGETS
def test_checkpoints_of_training(budget: settings) -> None:
    def fresh() -> TrainingState:
        torch.manual_seed(0)
        model = nn.Linear(3, 2)
        return TrainingState(dict(model.named_parameters()), torch.optim.AdamW(model.parameters(), lr=0.1))

    def values(state: TrainingState) -> list[torch.Tensor]:
        slots = (slot for p in state.weights.values() for slot in state.optimizer.state[p].values())
        return [*(p.detach() for p in state.weights.values()), *slots]

    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "checkpoint.pt"
        checkpoints = Checkpoints(path, {"params": {"train.seed": "0"}})
        trained = fresh()
        for parameter in trained.weights.values():
            parameter.grad = torch.ones_like(parameter)
        trained.optimizer.step()
        checkpoints.save(7, trained)
        content = path.read_bytes()

        @budget
        @given(damaged(content))
        def read(spoilt_content: bytes) -> None:
            path.write_bytes(spoilt_content)
            state = fresh()
            step = attempt(lambda: checkpoints.restore(state), InputError, "discard it with")
            if step is None:
                return
            assert step == 7
            assert all(map(torch.equal, values(state), values(trained))), "what is read is what was written"

        read()


def write_weights_file(path: Path, form: str) -> None:
    weights = {"visual.conv1.weight": torch.arange(6.0).reshape(2, 3), "logit_scale": torch.tensor(2.5)}
    if form == "safetensors":
        save_file(weights, path)
    elif form == "torchscript":
        script = nn.Module()
        script.logit_scale = nn.Parameter(torch.tensor(2.5))
        torch.jit.save(torch.jit.script(script), str(path))
    else:
        torch.save(weights, path, _use_new_zipfile_serialization=form == "zip")


@BUDGETS
@pytest.mark.parametrize("form", ["safetensors", "zip", "old", "torchscript"])
def test_weights_of_others(form: str, budget: settings) -> None:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "weights.pt"
        write_weights_file(path, form)
        content = path.read_bytes()

        @budget
        @given(damaged(content))
        def read(spoilt_content: bytes) -> None:
            path.write_bytes(spoilt_content)
            found = attempt(lambda: read_checkpoint(path), InputError, "base.pretrained: ")
            weights = {} if found is None else found.weights
            assert all(value.isfinite().all() for value in weights.values() if value.is_floating_point())

        read()


@BUDGETS
@pytest.mark.parametrize("name", [files.CONFIG, f"{ADAPTER}/adapter_config.json", f"{ADAPTER}/made_by.json"])
def test_configs_of_models(name: str, budget: settings, tiny: TowerParams) -> None:
    config = files.tower_config(tiny)
    with tempfile.TemporaryDirectory() as root:
        base = Path(root)
        clip = files.build(config)
        files.save(base, clip, config)
        adapt(clip, TrainParams(lora=LoraParams(rank=2))).save(base / ADAPTER)
        content = (base / name).read_bytes()
        size = sum(value.numel() for value in load_tuned(base, base / ADAPTER).parameters())

        @settings(budget, max_examples=budget.max_examples // 4)
        @given(st.one_of(spoilt(json.loads(content)).map(json.dumps).map(str.encode), damaged(content)))
        def read(spoilt_content: bytes) -> None:
            (base / name).write_bytes(spoilt_content)
            loaded = attempt(lambda: load_tuned(base, base / ADAPTER), UmgclipError)
            if loaded is not None:  # what was spoilt does not matter to the weights, which are those of the files
                assert sum(value.numel() for value in loaded.parameters()) == size
                assert all(value.isfinite().all() for value in loaded.parameters())

        read()
