"""`train.stages`: several sides in one run, with one order of samples, one schedule and one line of checkpoints."""

import csv
import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from umgclip.data.stream import read_raw
from umgclip.errors import InputError, ParamsError
from umgclip.io.atomic import sha256_file
from umgclip.learning.quarantine import Dropped
from umgclip.learning.schedule import schedule
from umgclip.learning.world import BatchShare
from umgclip.model.clip import files
from umgclip.model.clip.tower import DenseClip
from umgclip.params import LoaderParams, ResolutionStage, TrainParams
from umgclip.params.typed_yaml import parse
from umgclip.train import stage
from umgclip.train.defaults import warnings
from umgclip.train.feed import LoadedBatch, TrainFeed
from umgclip.train.resolutions import index_at, resolutions, steps_before
from umgclip.train.stage import TrainInputs

STAGES = [
    ResolutionStage(image_px=48, steps=3, batch=6),
    ResolutionStage(image_px=96, steps=3, batch=3, lr_factor=0.5),
]


@pytest.fixture(scope="module")
def tower(base: Path) -> DenseClip:
    return DenseClip(files.load(base)[0])


@pytest.fixture
def staged(params: TrainParams) -> TrainParams:
    """Three steps at 48 px, then three at 96 px."""
    return params.model_copy(update={"stages": STAGES})


def loaded(
    annotations: Path, tower: DenseClip, params: TrainParams, start: int = 0, share: BatchShare | None = None
) -> Iterator[LoadedBatch]:
    return TrainFeed(params, annotations, Dropped(frozenset(), {}), tower, share).load(start)


def test_a_run_without_stages_has_one_resolution() -> None:
    (only,) = resolutions(TrainParams(image_px=96, batch=5))
    assert (only.first, only.image_px, only.batch, only.lr_factor, only.key) == (0, 96, 5, 1.0, "train")


def test_steps_belong_to_the_stages_in_order(staged: TrainParams) -> None:
    listed = resolutions(staged)
    assert [index_at(listed, step) for step in (0, 2, 3, 5, 99)] == [0, 0, 1, 1, 1]
    assert [steps_before(listed, step) for step in (0, 2, 3, 5)] == [[0, 0], [2, 0], [3, 0], [3, 2]]
    assert staged.images_shown == 3 * 6 + 3 * 3
    assert TrainParams(steps=7, batch=2).images_shown == 14


def test_batches_have_the_side_and_the_size_of_their_stage(
    annotations: Path, tower: DenseClip, staged: TrainParams
) -> None:
    batches = [one.batch for one in itertools.islice(loaded(annotations, tower, staged), 6)]
    assert [tuple(batch.images.shape) for batch in batches] == [(6, 3, 48, 48)] * 3 + [(3, 3, 96, 96)] * 3
    assert [batch.masks.shape[1:] for batch in batches] == [(4, 4)] * 3 + [(8, 8)] * 3


@pytest.mark.parametrize("streams", [1, 3])
def test_no_sample_is_skipped_or_repeated_at_the_border(annotations: Path, tower: DenseClip, streams: int) -> None:
    stored = sorted(raw.key for _, raw in read_raw(annotations))  # 32, of which the first stage takes 12
    stages = [ResolutionStage(image_px=48, steps=2, batch=6), ResolutionStage(image_px=96, steps=8, batch=3)]
    params = TrainParams(steps=10, stages=stages, loader=LoaderParams(streams=streams))
    whole = [one.keys for one in itertools.islice(loaded(annotations, tower, params), 10)]
    assert [len(keys) for keys in whole] == [6] * 2 + [3] * 8
    seen = [key for keys in whole for key in keys]
    if streams == 1:  # the rest of the epoch follows; then the next one begins
        assert len(set(seen[:32])) == 32
        assert sorted(seen[:32]) == stored
    for start in (1, 2, 3, 9):
        rest = [one.keys for one in itertools.islice(loaded(annotations, tower, params, start), 10 - start)]
        assert rest == whole[start:]


@pytest.mark.parametrize(("streams", "processes"), [(1, 2), (2, 2), (4, 2)])
def test_the_parts_of_all_processes_are_the_batches_of_one(
    annotations: Path, tower: DenseClip, streams: int, processes: int
) -> None:
    stages = [ResolutionStage(image_px=48, steps=2, batch=9), ResolutionStage(image_px=60, steps=2, batch=4)]
    params = TrainParams(steps=4, stages=stages, loader=LoaderParams(streams=streams))
    alone = itertools.islice(loaded(annotations, tower, params), 4)
    parts = [loaded(annotations, tower, params, 0, BatchShare(rank, processes)) for rank in range(processes)]
    for one, together in zip(alone, zip(*parts, strict=True), strict=False):
        assert sum((part.keys for part in together), ()) == one.keys


def test_a_run_interrupted_on_either_side_of_the_border_ends_with_the_same_bytes(
    staged: TrainParams, inputs: TrainInputs, tmp_path: Path
) -> None:
    staged = staged.model_copy(update={"checkpoint_every": 1})
    adapters, curves = [], []
    for last in (None, 2, 3):  # a resumed run begins with the second stage, or inside of it

        def report(step: int, _values: dict[str, float], last: int | None = last) -> None:
            if step == last:
                raise KeyboardInterrupt

        out = tmp_path / str(last)
        if last is not None:
            with pytest.raises(KeyboardInterrupt):
                stage.run(staged, inputs, out, report=report)
        stage.run(staged, inputs, out)
        adapters.append(sha256_file(out / "adapter" / "adapter_model.safetensors"))
        curves.append(inputs.plots.read_bytes())
    assert len(set(adapters)) == len(set(curves)) == 1


def test_one_schedule_runs_over_all_steps_and_the_facts_name_the_stages(
    staged: TrainParams, inputs: TrainInputs, tmp_path: Path
) -> None:
    summary = stage.run(staged, inputs, tmp_path / "train")
    rows = list(csv.DictReader(inputs.plots.read_text().splitlines()))
    factors = [1.0] * 3 + [0.5] * 3
    expected = [1.0e-2 * schedule(step, 6, staged.warmup_share) * factor for step, factor in enumerate(factors)]
    assert [float(row["lr"]) for row in rows] == pytest.approx(expected, rel=1e-4)
    facts = json.loads((tmp_path / "train" / "train.json").read_text())
    assert facts["steps"] == 6
    assert facts["params"]["stages"] == [one.model_dump() for one in STAGES]
    shown = dict(summary.rows)
    assert (shown["steps, batch at 48 px"], shown["steps, batch at 96 px"]) == ("3, 6", "3, 3")


def test_a_checkpoint_belongs_to_its_stages(staged: TrainParams, inputs: TrainInputs, tmp_path: Path) -> None:
    def report(step: int, _values: dict[str, float]) -> None:
        if step == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stage.run(staged, inputs, tmp_path / "train", report=report)
    other = staged.model_copy(update={"stages": [STAGES[0], ResolutionStage(image_px=96, steps=3, batch=4)]})
    with pytest.raises(InputError, match=r"belongs to other params.train.stages"):
        stage.run(other, inputs, tmp_path / "train")


def test_every_side_is_checked_before_training(staged: TrainParams, inputs: TrainInputs, tmp_path: Path) -> None:
    wrong = staged.model_copy(update={"stages": [STAGES[0], ResolutionStage(image_px=100, steps=3)]})
    with pytest.raises(InputError, match=r"train.stages.1.image_px: expected a multiple .* 12 px, got 100"):
        stage.run(wrong, inputs, tmp_path / "train")
    assert not inputs.work.exists()


def test_a_stage_whose_batch_cannot_be_divided_is_refused(annotations: Path, tower: DenseClip) -> None:
    stages = [ResolutionStage(image_px=48, steps=1), ResolutionStage(image_px=96, steps=1, batch=3)]
    params = TrainParams(steps=2, stages=stages, accumulate=2)
    with pytest.raises(InputError, match=r"train.stages.1.batch: expected at least 4, .* got 3"):
        TrainFeed(params, annotations, Dropped(frozenset(), {}), tower, BatchShare(0, 2))
    assert warnings(TrainParams(steps=2, stages=stages), 30)[0].startswith("train.stages.0.batch: 32: more than the 30")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"steps": 5}, "train.stages: .* add up to train.steps, 5; set train.steps to 4"),
        ({"steps": 4, "image_px": 96}, "train.stages: .* train.image_px of null beside stages, .* not 96"),
        ({"steps": 4, "stages": [{"image_px": 48, "steps": 4, "px": 1}]}, "unknown key train.stages.0.px; .* image_px"),
        ({"steps": 4, "stages": [{"image_px": 48, "steps": 0}]}, "train.stages.0.steps: .* greater than 0, got 0"),
    ],
)
def test_stages_that_contradict_themselves_are_refused(content: dict[str, object], message: str) -> None:
    with pytest.raises(ParamsError, match=message):
        parse(TrainParams, {"stages": [{"image_px": 48, "steps": 4}], **content}, Path("params.yaml"), "train")


def test_shares_follow_the_steps():
    stages = [{"image_px": 96, "share": 0.43}, {"image_px": 144, "share": 0.57}]
    params = TrainParams.model_validate({"steps": 350, "stages": stages})
    assert params.stage_steps == [150, 200]
    assert params.images_shown == 350 * 32
    few = params.model_copy(update={"steps": 1})
    assert [(one.first, one.image_px) for one in resolutions(few)] == [(0, 144)], "a stage without steps is left out"
    for wrong, message in (
        ([{"image_px": 96, "share": 0.5}], "the shares to add up to 1, not to 0.5"),
        ([{"image_px": 96, "share": 0.5}, {"image_px": 96, "steps": 3}], "steps in every stage, or a share in every"),
        ([{"image_px": 96}], "steps in every stage, or a share in every stage"),
    ):
        with pytest.raises(ValidationError, match=message):
            TrainParams.model_validate({"steps": 6, "stages": wrong})
