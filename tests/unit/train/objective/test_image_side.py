"""Objectives on images alone: their parts learn, their state is resumed, and division changes nothing."""

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from umgclip.errors import InputError
from umgclip.learning.quarantine import Dropped
from umgclip.learning.world import World
from umgclip.model.adapters.adapt import adapt
from umgclip.model.clip import files
from umgclip.model.clip.tower import DenseClip
from umgclip.params import LoraParams, LossWeights, TrainParams
from umgclip.params.section import Weight
from umgclip.train import stage
from umgclip.train.feed import LoadedBatch, TrainFeed
from umgclip.train.objective import image_terms
from umgclip.train.objective.image_side import ImageObjective, Rows, require_parallel
from umgclip.train.parallel import Parallel
from umgclip.train.stage import TrainInputs
from umgclip.train.step import StepScoring, compute


class Weights(LossWeights):
    noise: Weight = 0.0


class Noise(ImageObjective):
    """Each image's dense map, weighted by one learned factor, to noise drawn for that image."""

    name = "noise"
    rate_factor = 10.0

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.ones(()))
        self.register_buffer("steps", torch.zeros(()))

    def forward(self, tower: DenseClip, rows: Rows) -> Tensor:
        dense = tower.encode_image(rows.images, rows.valid)[1]
        noise = torch.stack([torch.randn(dense.shape[1:], generator=g) for g in rows.generators(self.name)])
        return (self.factor * dense - noise).square().mean()

    def after_step(self, step: int, world: World) -> None:
        self.steps += step + 1


@pytest.fixture(autouse=True)
def _noise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(image_terms.FACTORIES, "noise", lambda _tower, _params: Noise())


def weights(**values: float) -> Weights:
    return Weights(**dict.fromkeys(LossWeights.model_fields, 0.0) | values)


ALONE, BESIDE = weights(noise=2.0), weights(noise=2.0, image_text=1.0)


def tower_of(base: Path) -> DenseClip:
    torch.manual_seed(0)
    params = TrainParams(lora=LoraParams(rank=4, alpha=8))
    return DenseClip(adapt(files.load(base)[0], params).clip).train()


@pytest.fixture(scope="module")
def loaded(base: Path, annotations: Path) -> LoadedBatch:
    batch = next(TrainFeed(TrainParams(batch=5), annotations, Dropped(frozenset(), {}), tower_of(base)).load(0))
    return dataclasses.replace(batch, step=3)


def computed(base: Path, loaded: LoadedBatch, params: TrainParams) -> tuple[dict[str, float], dict[str, Tensor]]:
    tower = tower_of(base)
    model = Parallel(image_terms.embedder_of(tower, params), World(), "ddp")
    scoring = StepScoring(params, "softmax", None, tower.tokenizer, lambda loss: loss)
    values = compute(model, loaded, scoring, World()).values
    return values, {name: p.grad for name, p in model.learning.items() if p.grad is not None}


@pytest.mark.parametrize("wanted", [ALONE, BESIDE], ids=["alone", "beside captions"])
@pytest.mark.parametrize("parts", [2, 5])
def test_micro_batches_give_the_gradients_of_the_batch(
    base: Path, loaded: LoadedBatch, wanted: Weights, parts: int
) -> None:
    params = TrainParams(weights=LossWeights()).model_copy(update={"weights": wanted})
    values, expected = computed(base, loaded, params)
    again, found = computed(base, loaded, params.model_copy(update={"accumulate": parts}))
    assert again == pytest.approx(values, rel=1e-5)
    assert found.keys() == expected.keys() >= {"objectives.noise.factor"}
    for name, gradient in expected.items():
        assert torch.allclose(found[name], gradient, rtol=1e-3, atol=1e-6), name


def test_total_is_the_weighted_sum_and_columns_come_before_it(base: Path, loaded: LoadedBatch) -> None:
    values, _ = computed(base, loaded, TrainParams().model_copy(update={"weights": BESIDE}))
    assert list(values) == ["image_text", "noise", "total"]
    assert values["total"] == pytest.approx(values["image_text"] + 2 * values["noise"], rel=1e-6)


def test_value_is_the_mean_over_images(base: Path, loaded: LoadedBatch) -> None:
    values, _ = computed(base, loaded, TrainParams(seed=4).model_copy(update={"weights": ALONE}))
    with torch.no_grad():
        dense = tower_of(base).encode_image(loaded.batch.images)[1]
    each = []
    for place, cells in enumerate(dense):
        (generator,) = Rows(loaded.batch.images[:1], step=3, first=place, seed=4).generators("noise")
        each.append((cells - torch.randn(cells.shape, generator=generator)).square().mean())
    assert values["noise"] == pytest.approx(float(torch.stack(each).mean()), rel=1e-5)


def test_alone_it_runs_neither_text_nor_the_ordinary_forward(
    base: Path, loaded: LoadedBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the ordinary forward ran")

    monkeypatch.setattr(DenseClip, "forward", refuse)
    assert computed(base, loaded, TrainParams().model_copy(update={"weights": ALONE}))[0]["noise"] > 0


def test_no_images_give_zero_gradients(base: Path, loaded: LoadedBatch) -> None:
    params = TrainParams().model_copy(update={"weights": ALONE})
    empty = LoadedBatch(0, stage_batch(loaded, 0), ())
    values, found = computed(base, empty, params)
    assert values == {"noise": 0.0, "total": 0.0}
    assert all(not gradient.any() for gradient in found.values())


def stage_batch(loaded: LoadedBatch, images: int) -> object:
    from umgclip.train.objective.labels import cut

    return dataclasses.replace(
        cut(loaded.batch, 0, images),
        texts=[],
        tag_texts=torch.zeros(0).long(),
        tag_targets=torch.zeros((images, 0)).bool(),
    )


def test_own_parameters_learn_at_their_own_rate_and_their_state_is_resumed(
    params: TrainParams, inputs: TrainInputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Noise] = []
    monkeypatch.setitem(image_terms.FACTORIES, "noise", lambda _tower, _params: made.append(Noise()) or made[-1])
    params = params.model_copy(update={"weights": ALONE, "ema_decay": 0.5})
    whole = dataclasses.replace(inputs, work=tmp_path / "whole")
    stage.run(params, whole, tmp_path / "out")

    def stop(step: int, _values: dict[str, float]) -> None:
        if step == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stage.run(params, inputs, tmp_path / "again", report=stop)
    stage.run(params, inputs, tmp_path / "again")
    uninterrupted, _, resumed = made
    assert float(uninterrupted.factor.detach()) != 1.0
    assert torch.equal(uninterrupted.factor, resumed.factor)
    assert torch.equal(uninterrupted.steps, resumed.steps)
    assert float(resumed.steps) == sum(range(1, 7))
    adapters = [(tmp_path / name / "adapter" / "adapter_model.safetensors").read_bytes() for name in ("out", "again")]
    assert adapters[0] == adapters[1]


def test_what_cannot_be_divided_is_refused_with_fsdp2() -> None:
    with pytest.raises(InputError, match=r"train.parallel: expected ddp with train.weights.noise above 0, got fsdp2"):
        require_parallel([Noise()], "fsdp2")
