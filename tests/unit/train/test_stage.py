"""The stage `train`: deterministic, resumable to the byte, and it stops rather than write rubbish."""

import csv
import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from umgclip.data.stream import read_raw
from umgclip.errors import DataError, InputError, UmgclipError
from umgclip.io.atomic import sha256_file
from umgclip.io.manifest import read_manifest
from umgclip.io.tables import QUARANTINE, write_table
from umgclip.learning.quarantine import Dropped, read_dropped
from umgclip.learning.run_identity import decisive
from umgclip.learning.schedule import schedule
from umgclip.model.adapters.adapt import load_tuned
from umgclip.model.clip import files
from umgclip.model.clip.tower import DenseClip
from umgclip.model.clip.vision.reach import reach_of
from umgclip.params import LossWeights, TrainParams
from umgclip.train import stage
from umgclip.train.feed import TrainFeed
from umgclip.train.stage import TrainInputs

Report = Callable[[int, dict[str, float]], None]


def hashes(out: Path) -> dict[str, str]:
    return {path.name: sha256_file(path) for path in sorted((out / "adapter").iterdir())}


def interrupt_at(last: int) -> Report:
    def report(step: int, _values: dict[str, float]) -> None:
        if step == last:
            raise KeyboardInterrupt

    return report


class Steps(list[int]):
    """The steps that a run reports."""

    def __call__(self, step: int, _values: dict[str, float]) -> None:
        self.append(step)


@pytest.fixture(scope="module")
def whole(
    base: Path, annotations: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[TrainParams], tuple[dict[str, str], bytes]]:
    """Adapter hashes and curves of an uninterrupted run, computed once for each set of params."""
    done: dict[str, tuple[dict[str, str], bytes]] = {}

    def run(params: TrainParams) -> tuple[dict[str, str], bytes]:
        name = params.model_dump_json()
        if name not in done:
            folder = tmp_path_factory.mktemp("whole")
            write_table(folder / "quarantine.parquet", [], QUARANTINE)
            inputs = TrainInputs(
                annotations, folder / "quarantine.parquet", base, folder / "w", folder / "m.json", folder / "p.csv"
            )
            stage.run(params, inputs, folder / "out")
            done[name] = hashes(folder / "out"), (folder / "p.csv").read_bytes()
        return done[name]

    return run


def test_end_to_end(params: TrainParams, inputs: TrainInputs, tmp_path: Path) -> None:
    steps = Steps()
    summary = stage.run(params, inputs, tmp_path / "train", report=steps)
    assert steps == list(range(6))
    assert stage.total_steps(params) == 6
    adapter = tmp_path / "train" / "adapter"
    assert set(hashes(tmp_path / "train")) == {"adapter_config.json", "adapter_model.safetensors", "made_by.json"}
    report = json.loads((tmp_path / "train" / "train.json").read_text())
    assert report == {
        "base_sha256": sha256_file(inputs.base / files.WEIGHTS),
        "adapter_sha256": sha256_file(adapter / "adapter_model.safetensors"),
        "data_digest": read_manifest(inputs.annotations).digest(),
        "trained_on": ["demo/scenes", "demo/singles"],
        "params": decisive(params)["train"] | {"adapter": "lora", "loader": {"streams": 1}},
        "steps": 6,
        "image_hw": [96, 96],
        "dense_reach": 0,
        "clustering": None,
    }
    metrics = json.loads(inputs.metrics.read_text())
    assert set(metrics) == {"image_text", "tags", "region_text", "region_tags", "pixel", "distill", "keep", "total"}
    rows = dict(summary.rows)
    assert rows["images (left out)"] == "32 (0)"
    assert rows["steps, batch"] == "6, 4"
    assert rows["adapter"] == "lora (auto: base pretrained)"
    assert rows["learning rate"] == "1.0e-02"
    assert list(inputs.work.iterdir()) == [], "no checkpoint stays behind a finished run"
    tuned, plain = load_tuned(inputs.base, adapter), files.load(inputs.base)[0]
    image = torch.randn(1, 3, 96, 96)
    with torch.no_grad():
        change = DenseClip(tuned).encode_image(image)[1] - DenseClip(plain).encode_image(image)[1]
    assert change.abs().max() > 1e-3


def test_a_model_tuned_at_another_side_has_that_side(params: TrainParams, inputs: TrainInputs, tmp_path: Path) -> None:
    larger = params.model_copy(update={"steps": 2, "image_px": 120, "dense_reach": 1})
    stage.run(larger, inputs, tmp_path / "train")
    tuned = DenseClip(load_tuned(inputs.base, tmp_path / "train" / "adapter"))
    assert tuned.image_hw == (120, 120)
    assert reach_of(tuned.clip.visual) == 1
    assert DenseClip(files.load(inputs.base)[0]).image_hw == (96, 96)


def test_training_lowers_the_loss(params: TrainParams, inputs: TrainInputs, tmp_path: Path) -> None:
    longer = params.model_copy(
        update={"steps": 24, "weights": LossWeights(tags=0, region_text=0, region_tags=0, pixel=0, distill=0)}
    )
    totals: list[float] = []
    stage.run(longer, inputs, tmp_path / "train", report=lambda _, values: totals.append(values["total"]))
    assert sum(totals[-6:]) < sum(totals[:6])


@pytest.mark.parametrize("last", [0, 3, 5])
def test_an_interrupted_run_goes_on_and_ends_with_the_same_bytes(
    params: TrainParams,
    inputs: TrainInputs,
    tmp_path: Path,
    whole: Callable[[TrainParams], tuple[dict[str, str], bytes]],
    last: int,
) -> None:
    out = tmp_path / "train"
    with pytest.raises(KeyboardInterrupt):
        stage.run(params, inputs, out, report=interrupt_at(last))
    assert not out.exists()
    torch.manual_seed(12345)  # the resumed process has other random numbers behind it
    steps = Steps()
    stage.run(params, inputs, out, report=steps)
    resumed_at = last // 2 * 2  # the checkpoint after steps 2 and 4
    assert steps == list(range(resumed_at, 6))
    adapter, curves = whole(params)
    assert hashes(out) == adapter
    assert inputs.plots.read_bytes() == curves
    assert [row["step"] for row in csv.DictReader(curves.decode().splitlines())] == list("012345")


def test_the_margins_of_ranking_are_part_of_the_checkpoint(
    params: TrainParams,
    inputs: TrainInputs,
    tmp_path: Path,
    whole: Callable[[TrainParams], tuple[dict[str, str], bytes]],
) -> None:
    """Also a random text a region each time; every second image has a long caption."""
    weights = LossWeights(tags=0, pixel=0, distill=0, hard_negatives=0.5, cmr=0.4, tic=0.1, long_text=1.0)
    richer = params.model_copy(update={"weights": weights, "text_of_region": "random", "long_caption_words": 8})
    with pytest.raises(KeyboardInterrupt):
        stage.run(richer, inputs, tmp_path / "train", report=interrupt_at(3))
    saved = torch.load(inputs.work / "checkpoint.pt", weights_only=True)["beside"]["terms.cmr"]
    assert (saved[:3] != 0).all()
    assert (saved[3:] == 0).all(), "no region has a fourth wrong text"
    rows = dict(stage.run(richer, inputs, tmp_path / "train").rows)
    assert (hashes(tmp_path / "train"), inputs.plots.read_bytes()) == whole(richer)
    assert "regions shown" in rows["regions with wrong texts"]
    assert rows["images with a long caption"].endswith(" of 24 images shown")
    assert b"hard_negatives,cmr,tic" in inputs.plots.read_bytes().splitlines()[0]


def test_a_run_interrupted_twice(
    params: TrainParams,
    inputs: TrainInputs,
    tmp_path: Path,
    whole: Callable[[TrainParams], tuple[dict[str, str], bytes]],
) -> None:
    for last in (2, 4):
        with pytest.raises(KeyboardInterrupt):
            stage.run(params, inputs, tmp_path / "train", report=interrupt_at(last))
    with (inputs.work / "curves.csv").open("a") as handle:
        handle.write("5,0.1,0.")  # killed in the middle of a line
    stage.run(params, inputs, tmp_path / "train")
    assert (hashes(tmp_path / "train"), inputs.plots.read_bytes()) == whole(params)


def test_how_often_checkpoints_are_written_changes_nothing(
    params: TrainParams,
    inputs: TrainInputs,
    tmp_path: Path,
    whole: Callable[[TrainParams], tuple[dict[str, str], bytes]],
) -> None:
    with pytest.raises(KeyboardInterrupt):
        stage.run(params.model_copy(update={"checkpoint_every": 1}), inputs, tmp_path / "train", report=interrupt_at(3))
    steps = Steps()
    stage.run(params, inputs, tmp_path / "train", report=steps)
    assert steps == [3, 4, 5]
    assert hashes(tmp_path / "train") == whole(params)[0]


def test_the_seed_decides_the_bytes(
    params: TrainParams,
    inputs: TrainInputs,
    tmp_path: Path,
    whole: Callable[[TrainParams], tuple[dict[str, str], bytes]],
) -> None:
    stage.run(params, inputs, tmp_path / "one")
    assert hashes(tmp_path / "one") == whole(params)[0]
    stage.run(params.model_copy(update={"seed": 1, "steps": 2}), inputs, tmp_path / "other")
    weights = "adapter_model.safetensors"
    assert hashes(tmp_path / "other")[weights] != hashes(tmp_path / "one")[weights]


@pytest.mark.parametrize("changed", ["params", "base", "data", "quarantine"])
def test_a_checkpoint_of_something_else_is_refused_until_it_is_discarded(
    params: TrainParams,
    inputs: TrainInputs,
    tmp_path: Path,
    changed: str,
) -> None:
    with pytest.raises(KeyboardInterrupt):
        stage.run(params, inputs, tmp_path / "train", report=interrupt_at(3))
    if changed == "params":
        params = params.model_copy(update={"lr_peak": 1.0e-3})
    if changed == "base":
        clip, config = files.load(inputs.base)
        clip.logit_scale.data.add_(0.1)
        inputs = dataclasses.replace(inputs, base=tmp_path / "base")
        inputs.base.mkdir()
        files.save(inputs.base, clip, config)
    if changed == "data":
        folder = tmp_path / "data"
        shutil.copytree(inputs.annotations, folder)
        manifest = json.loads((folder / "manifest.json").read_text())
        manifest["shards"].pop()
        (folder / "manifest.json").write_text(json.dumps(manifest))
        inputs = dataclasses.replace(inputs, annotations=folder)
    if changed == "quarantine":
        row = {"key": "k", "shard": "s", "region_id": None, "stage": "validate", "reason": "r", "detail": ""}
        write_table(inputs.quarantine, [row], QUARANTINE)
    kept = (inputs.work / "checkpoint.pt").read_bytes()
    with pytest.raises(InputError, match=rf"belongs to other {changed}\b.*--discard-checkpoint"):
        stage.run(params, inputs, tmp_path / "train")
    assert (inputs.work / "checkpoint.pt").read_bytes() == kept
    steps = Steps()
    stage.run(params, inputs, tmp_path / "train", report=steps, discard=True)
    assert steps == list(range(6))


def test_a_loss_that_is_no_number_stops_the_run_and_names_the_step(
    params: TrainParams, inputs: TrainInputs, tmp_path: Path
) -> None:
    wild = params.model_copy(update={"lr_peak": 1.0e30})
    message = r"train: step 1: expected (a finite loss|finite gradients), got .*not_finite\.json.*lr_peak"
    with pytest.raises(UmgclipError, match=message) as raised:
        stage.run(wild, inputs, tmp_path / "train")
    assert not (tmp_path / "train").exists()
    written = json.loads((inputs.work / "not_finite.json").read_text())
    assert written["step"] == 1
    stored = {raw.key for _, raw in read_raw(inputs.annotations)}
    assert len(written["keys"]) == 4
    assert set(written["keys"]) <= stored
    assert written["keys"][0] in str(raised.value)


def test_bfloat16_trains(params: TrainParams, inputs: TrainInputs, tmp_path: Path) -> None:
    half = params.model_copy(update={"precision": "bf16", "steps": 2})
    summary = stage.run(half, inputs, tmp_path / "train")
    exact = stage.run(half.model_copy(update={"precision": "fp32"}), inputs, tmp_path / "exact")
    last, reference = dict(summary.rows), dict(exact.rows)
    assert float(last["last total"]) == pytest.approx(float(reference["last total"]), rel=0.05)


def test_the_quarantine_is_left_out(params: TrainParams, inputs: TrainInputs, tmp_path: Path) -> None:
    row = {"shard": "s", "stage": "validate", "reason": "r", "detail": ""}
    rows = [
        {"key": "a", "region_id": None}, {"key": "b", "region_id": "0"}, {"key": "b", "region_id": "2"},
        {"key": None, "region_id": None},
    ]  # fmt: skip
    write_table(tmp_path / "some.parquet", [row | r for r in rows], QUARANTINE)
    assert read_dropped(tmp_path / "some.parquet") == Dropped(frozenset({"a"}), {"b": frozenset({"0", "2"})})


def test_the_feed_gives_neither_dropped_images_nor_dropped_regions(params: TrainParams, inputs: TrainInputs) -> None:
    tower = DenseClip(files.load(inputs.base)[0])
    everything = params.model_copy(update={"batch": 32, "written_caption_share": 0.0})
    full = next(TrainFeed(everything, inputs.annotations, Dropped(frozenset(), {}), tower).from_step(0))
    keys = [raw.key for _, raw in read_raw(inputs.annotations)]
    last = keys.pop(30)  # of even number, so it has one caption
    dropped = Dropped(frozenset(keys), {last: frozenset({"0"})})
    keys.append(last)
    left = next(TrainFeed(everything, inputs.annotations, dropped, tower).from_step(0))
    assert len(full.images) == len(left.images) == 32
    assert len(set(full.caption.tolist())) > 20
    assert len(set(left.caption.tolist())) == 1, "one image is left, again and again"
    counts = torch.bincount(left.image_of_region, minlength=32)
    assert set(counts.tolist()) == {int(counts[0])}
    everyone = Dropped(frozenset(keys), {})
    with pytest.raises(DataError, match="expected samples to train on, all 32 are left out"):
        next(TrainFeed(everything, inputs.annotations, everyone, tower).from_step(0))


def test_batches_do_not_depend_on_where_the_feed_began(params: TrainParams, inputs: TrainInputs) -> None:
    feed = TrainFeed(params, inputs.annotations, Dropped(frozenset(), {}), DenseClip(files.load(inputs.base)[0]))
    stream = feed.from_step(0)
    third = [next(stream) for _ in range(4)][3]
    again = next(feed.from_step(3))
    assert torch.equal(third.images, again.images)
    assert torch.equal(third.boxes_xyxy, again.boxes_xyxy)
    assert third.texts == again.texts


def test_missing_inputs_are_named(params: TrainParams, inputs: TrainInputs, tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    for name, message in [
        ("annotations", "nowhere: expected a dataset folder, found none"),
        ("quarantine", "nowhere: expected validation's quarantine, found none; run `umgclip validate` first"),
        ("base", "nowhere: expected open_clip_config.json, found none; `umgclip base` writes it"),
    ]:
        with pytest.raises(DataError, match=message):
            stage.run(params, dataclasses.replace(inputs, **{name: nowhere}), tmp_path / "train")


def test_a_side_that_is_no_multiple_of_the_patch_is_refused(
    params: TrainParams, inputs: TrainInputs, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="train.image_px: expected a multiple of the model.s patch of 12 px, got 100"):
        stage.run(params.model_copy(update={"image_px": 100}), inputs, tmp_path / "train")


def test_the_schedule_warms_up_and_ends_at_zero() -> None:
    rates = [schedule(step, 100, 0.1) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9] == pytest.approx(1.0)
    assert rates[10] == pytest.approx(1.0)
    assert rates[55] == pytest.approx(0.5)
    assert rates[99] < 0.001
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert schedule(0, 1, 0.0) == 1.0


def test_a_constant_schedule_warms_up_and_stays_at_the_peak() -> None:
    rates = [schedule(step, 100, 0.1, "constant") for step in range(100)]
    assert rates[:10] == [schedule(step, 100, 0.1) for step in range(10)]
    assert set(rates[10:]) == {1.0}
