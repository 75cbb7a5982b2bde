"""Self-distillation from overlapping windows: the teacher against a slow oracle, its cache, and the whole recipe."""

import copy
import dataclasses
import io
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from umgclip.data.stream import Sample
from umgclip.errors import InputError
from umgclip.io.manifest import describe_shard, read_manifest, write_manifest
from umgclip.io.shards import RawSample, ShardWriter, read_shard
from umgclip.learning.quarantine import Dropped
from umgclip.model.clip import files
from umgclip.model.clip.tower import DenseClip
from umgclip.params import FullParams, LossWeights, TrainParams, WindowsParams
from umgclip.records import ImageRecord, parse_record
from umgclip.train import stage
from umgclip.train.feed import TrainFeed
from umgclip.train.objective.image_side import Rows
from umgclip.train.objective.teacher_maps import TeacherMaps
from umgclip.train.objective.windows import WindowDistillation, geometry, window_distillation
from umgclip.train.stage import TrainInputs
from umgclip.train.views import views_of

ALONE = LossWeights(**dict.fromkeys(LossWeights.model_fields, 0.0) | {"windows": 1.0})
PATCH, SIDE = 12, 96


@pytest.fixture
def tower(base: Path) -> DenseClip:
    return DenseClip(files.load(base)[0])


def params_of(**windows: object) -> TrainParams:
    return TrainParams(precision="fp32", weights=ALONE, windows=WindowsParams(**windows))


def upsampled(cells: np.ndarray, times: int) -> np.ndarray:
    """A map (d, h, w) at `times` its sides, each value interpolated from the four nearest centres."""
    d, h, w = cells.shape
    fine = np.zeros((d, h * times, w * times))
    for row in range(h * times):
        for column in range(w * times):
            y = min(max((row + 0.5) / times - 0.5, 0), h - 1)
            x = min(max((column + 0.5) / times - 0.5, 0), w - 1)
            top, left = int(y), int(x)
            below, right = min(top + 1, h - 1), min(left + 1, w - 1)
            fine[:, row, column] = (
                cells[:, top, left] * (1 - y + top) * (1 - x + left)
                + cells[:, below, left] * (y - top) * (1 - x + left)
                + cells[:, top, right] * (1 - y + top) * (x - left)
                + cells[:, below, right] * (y - top) * (x - left)
            )
    return fine


def oracle(tower: DenseClip, image: Tensor, stride: int, times: int) -> np.ndarray:
    """The mean map pixel by pixel, then cell by cell."""
    height, width = image.shape[1:]
    total, count = np.zeros((tower.embed_dim, height, width)), np.zeros((height, width))
    for y in sorted({*range(0, height - SIDE + 1, stride), height - SIDE}):
        for x in sorted({*range(0, width - SIDE + 1, stride), width - SIDE}):
            with torch.no_grad():
                window = tower.encode_image(image[None, :, y : y + SIDE, x : x + SIDE])[1][0].double().numpy()
            pixels = upsampled(window, times).repeat(PATCH // times, axis=1).repeat(PATCH // times, axis=2)
            total[:, y : y + SIDE, x : x + SIDE] += pixels
            count[y : y + SIDE, x : x + SIDE] += 1
    mean = total / count
    return mean.reshape(-1, height // PATCH, PATCH, width // PATCH, PATCH).mean(axis=(2, 4))


@pytest.mark.parametrize(
    ("size", "stride", "times"),
    [((144, 120), None, 2), ((132, 96), 16, 3), ((108, 108), 24, 1), ((120, 96), 18, 4)],
    ids=["1.5 patches", "a third", "whole patches", "finer than needed"],
)
def test_the_teacher_equals_the_mean_over_pixels(
    tower: DenseClip, size: tuple[int, int], stride: int | None, times: int
) -> None:
    image = torch.randn(3, *size, generator=torch.Generator().manual_seed(0))
    objective = window_distillation(tower, params_of(stride_px=stride, upsample=times, at_once=5))
    expected = oracle(tower.eval(), image, stride or 18, times)
    assert np.abs(objective._target(image).numpy() - expected).max() < 1e-3  # float16


def test_the_loss_is_the_mean_squared_distance_of_cells(tower: DenseClip) -> None:
    images = torch.randn(2, 3, 120, 120, generator=torch.Generator().manual_seed(0))
    objective = window_distillation(tower, params_of())
    with torch.no_grad():
        loss = objective(tower.train(), Rows(images, views={"windows": images}))
        student = tower.eval().encode_image(images)[1].numpy()
    distances = [((student[n] - oracle(tower, image, 18, 2)) ** 2).sum(axis=0) for n, image in enumerate(images)]
    assert float(loss) == pytest.approx(np.mean(distances), rel=1e-2)


def test_a_single_window_is_what_the_base_sees_and_costs_nothing_at_first(tower: DenseClip) -> None:
    images = torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    rows = Rows(images, views={"windows": images})
    with torch.no_grad():
        exact = window_distillation(tower, params_of(stride_px=12))(tower, rows)
        smoothed = window_distillation(tower, params_of(upsample=2))(tower, rows)
    assert float(exact) < 1e-5 < float(smoothed)  # upsampling and averaging smooth the map a little


def test_the_teacher_stays_the_base_while_the_tower_learns(tower: DenseClip) -> None:
    image = torch.randn(3, 120, 120, generator=torch.Generator().manual_seed(0))
    objective = window_distillation(tower, params_of())
    before = objective._target(image)
    with torch.no_grad():
        for parameter in tower.parameters():
            parameter += 1.0
    assert torch.equal(objective._target(image), before)
    assert not list(objective.parameters())
    assert not objective.state()


@pytest.mark.parametrize(
    ("windows", "message"),
    [
        (
            {"stride_px": 18, "upsample": 1},
            "upsample: expected one of 2, 4, 6, 12 for a stride of 18 px and a patch of 12",
        ),
        ({"stride_px": 120}, "stride_px: expected at most the window's side of 96, got 120"),
    ],
)
def test_windows_off_the_grid_are_refused(tower: DenseClip, windows: dict[str, int], message: str) -> None:
    with pytest.raises(InputError, match=f"train.windows.{message}"):
        window_distillation(tower, params_of(**windows))


@pytest.mark.parametrize("side", [84, 100])
def test_sides_that_the_tower_cannot_take_are_refused(tower: DenseClip, side: int) -> None:
    with pytest.raises(
        InputError, match=f"train.windows.sides: expected multiples of .* 12 px, .* 96 px on, got {side}"
    ):
        views_of(params_of(sides=[192, side]), tower)


def test_defaults_follow_the_patch() -> None:
    assert geometry(WindowsParams(), 16) == (24, 2)  # as published
    assert geometry(WindowsParams(), 14) == (21, 2)
    assert geometry(WindowsParams(stride_px=32), 16) == (32, 1)


def test_a_cache_asks_for_crops_that_come_again() -> None:
    with pytest.raises(ValidationError, match="cache: expected fixed_crops true beside it"):
        WindowsParams(cache="maps")


# --- the cache ------------------------------------------------------------------------------------------------------


class Counting:
    """The teacher of an objective, counting what it is asked."""

    def __init__(self, objective: WindowDistillation) -> None:
        self._teacher, self.calls = objective._teacher, 0
        objective._teacher = self  # type: ignore[assignment]

    def __call__(self, image: Tensor) -> Tensor:
        self.calls += 1
        return self._teacher(image)


def test_stored_maps_replace_the_teacher_and_are_the_same(tower: DenseClip, tmp_path: Path) -> None:
    image = torch.randn(3, 120, 120, generator=torch.Generator().manual_seed(0))
    plain = window_distillation(tower, params_of(fixed_crops=True))._target(image)
    cached = params_of(fixed_crops=True, cache=str(tmp_path / "maps"))
    first, again = (window_distillation(tower, cached) for _ in range(2))
    counts = [Counting(objective) for objective in (first, again)]
    assert torch.equal(first._target(image), plain)
    assert torch.equal(again._target(image), plain)
    again._target(image + 1)
    assert [count.calls for count in counts] == [1, 1]
    other = copy.deepcopy(tower)
    with torch.no_grad():
        other.clip.visual.conv1.weight += 1
    assert not torch.equal(window_distillation(other, cached)._target(image), plain)


def test_a_damaged_map_is_computed_again(tower: DenseClip, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    image = torch.randn(3, 120, 120, generator=torch.Generator().manual_seed(0))
    params = params_of(fixed_crops=True, cache=str(tmp_path))
    expected = window_distillation(tower, params)._target(image)
    (path,) = tmp_path.glob("*/*.npy")
    path.write_bytes(path.read_bytes()[:100])
    with caplog.at_level(logging.WARNING):
        assert torch.equal(window_distillation(tower, params)._target(image), expected)
    assert "not readable" in caplog.text
    assert len(np.load(path)) == tower.embed_dim


def test_a_full_folder_grows_no_more_and_says_so_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    value = torch.zeros(4, 2, 2, dtype=torch.float16)
    buffer = io.BytesIO()
    np.save(buffer, value.numpy())
    maps = TeacherMaps(tmp_path, "teacher", most_bytes=2.5 * buffer.tell())
    with caplog.at_level(logging.WARNING):
        for number in range(5):
            maps.put(f"{number}0", value)
    assert len(list(tmp_path.glob("*/*"))) == 2
    assert caplog.text.count("is full") == 1
    assert TeacherMaps(tmp_path, "teacher", most_bytes=2.5 * buffer.tell()).get("00") is not None


# --- views ----------------------------------------------------------------------------------------------------------


def sample(key: str, width: int = 60, height: int = 40) -> Sample:
    pixels = np.random.default_rng(len(key)).integers(0, 256, (height, width, 3)).astype(np.uint8)
    return Sample(pixels, ImageRecord(key=key, width=width, height=height, sha256="0" * 64, source={"dataset": "-"}))


def test_sides_are_drawn_for_a_step_and_crops_for_an_image(tower: DenseClip) -> None:
    (view,) = views_of(params_of(sides=[96, 144]), tower)
    samples = [sample("a"), sample("a")]
    steps = [view(samples, [0, step]) for step in range(12)]
    assert {batch.shape[2] for batch in steps} == {96, 144}
    assert all(batch.shape == view(samples[:1], [0, n, 3]).expand(2, -1, -1, -1).shape for n, batch in enumerate(steps))
    assert all(not torch.equal(*batch) for batch in steps)
    assert torch.equal(view(samples, [0, 5]), steps[5])


def test_fixed_crops_come_again_in_every_step(tower: DenseClip) -> None:
    (view,) = views_of(params_of(sides=[96], fixed_crops=True), tower)
    first, second = view([sample("a"), sample("bb")], [0, 1]), view([sample("bb"), sample("a")], [0, 7, 1])
    assert torch.equal(first[0], second[1])
    assert torch.equal(first[1], second[0])


def test_defaults_are_multiples_of_the_model_s_side(tower: DenseClip) -> None:
    assert views_of(params_of(), tower)[0].sides == (144, 192, 288)
    assert views_of(TrainParams(), tower) == ()


def test_views_change_nothing_else_in_a_batch(annotations: Path, tower: DenseClip) -> None:
    plain, viewed = (
        next(TrainFeed(params, annotations, Dropped(frozenset(), {}), tower).load(3)).batch
        for params in (TrainParams(batch=3), TrainParams(batch=3, weights=LossWeights(windows=1.0)))
    )
    assert not plain.views
    assert viewed.views["windows"].shape[:2] == (3, 3)
    assert torch.equal(plain.images, viewed.images)
    assert plain.texts == viewed.texts


# --- the recipe -----------------------------------------------------------------------------------------------------


@pytest.fixture
def bare(annotations: Path, tmp_path: Path) -> Path:
    """The images alone: no caption, no tag, no region, no teacher embedding."""
    folder = tmp_path / "bare"
    folder.mkdir()
    manifest = read_manifest(annotations)
    shards = []
    for shard in manifest.shards:
        writer = ShardWriter(folder / shard.path)
        for raw in read_shard(annotations / shard.path):
            record = parse_record(raw.json, where=raw.key)
            plain = record.model_copy(update={"captions": None, "tags": None, "regions": None})
            writer.write(RawSample(raw.key, raw.image, raw.extension, plain.model_dump_json().encode(), None))
        writer.close()
        shards.append(describe_shard(folder / shard.path, writer.samples))
    write_manifest(folder, manifest.model_copy(update={"shards": shards}))
    return folder


def test_images_without_any_label_teach_the_last_block(
    inputs: TrainInputs, bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a text was encoded")

    monkeypatch.setattr(DenseClip, "encode_text", refuse)
    params = TrainParams(
        steps=6, batch=3, precision="fp32", adapter="full", full=FullParams(text_tower=False, blocks=1), lr_peak=1e-3,
        weights=ALONE, windows=WindowsParams(sides=[120], fixed_crops=True, cache=str(tmp_path / "maps")),
        schedule="constant", warmup_share=0.0,
    )  # fmt: skip
    losses: list[float] = []
    report: Callable[[int, dict[str, float]], None] = lambda _, values: losses.append(values["windows"])  # noqa: E731
    inputs = dataclasses.replace(inputs, annotations=bare)
    stage.run(params, inputs, tmp_path / "out", report=report)
    assert losses[-1] < losses[0]
    assert inputs.plots.read_text().startswith("step,windows,total,lr,grad_norm\n")
    (tmp_path / "maps").rename(tmp_path / "other")  # the maps are no part of the result
    stage.run(params, inputs, tmp_path / "again")
    weights = [(tmp_path / n / "adapter" / "adapter_model.safetensors").read_bytes() for n in ("out", "again")]
    assert weights[0] == weights[1]
    assert b"resblocks.1." in weights[0]
    assert b"resblocks.0." not in weights[0]
