"""Diffusion feedback against slow oracles; two phases; micro-batches, resumption, and models of diffusers."""

import dataclasses
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
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
from umgclip.params.train import DenoiserParams, DiffusionParams
from umgclip.train import stage
from umgclip.train.feed import LoadedBatch, TrainFeed
from umgclip.train.objective import image_terms
from umgclip.train.objective.diffusion.denoiser import Denoiser, attention, rotation, time_features
from umgclip.train.objective.diffusion.feedback import DiffusionFeedback, RectifiedFlow, condition_tokens
from umgclip.train.objective.diffusion.targets import LatentTarget, PixelTarget, patches
from umgclip.train.objective.features import TowerEmbedder
from umgclip.train.objective.image_side import Rows
from umgclip.train.parallel import Parallel
from umgclip.train.stage import TrainInputs
from umgclip.train.step import StepScoring, compute

SMALL = DenoiserParams(width=16, heads=2, double_blocks=1, single_blocks=1)
TINY = DiffusionParams(image_px=16, patch_px=4, first_share=0.5, denoiser_lr=1.0e-3, denoiser=SMALL)


def weights(**values: float) -> LossWeights:
    return LossWeights(**dict.fromkeys(LossWeights.model_fields, 0.0) | values)


def tuning(wanted: LossWeights, **changes: Any) -> TrainParams:
    return TrainParams(
        steps=6, batch=5, lr_peak=5.0e-3, weights=wanted, diffusion=TINY, lora=LoraParams(rank=4, alpha=8)
    ).model_copy(update=changes)


ALONE = tuning(weights(diffusion=2.0))


def seeded(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


# the network and its target


def test_patches_are_those_of_the_image_in_row_order() -> None:
    rows = torch.randn(2, 3, 6, 4)
    found = patches(rows, 2)
    for image in range(2):
        for row in range(3):
            for column in range(2):
                patch = rows[image, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
                assert torch.equal(found[image, 2 * row + column], patch.reshape(-1))


def test_attention_turns_the_image_s_tokens_by_their_places() -> None:
    query, key, value = torch.randn(3, 1, 2, 5, 8, dtype=torch.float64).unbind()  # one token of text, a grid of 2 x 2
    found = attention(query, key, value, rotation(2, 8))
    places = [None, (0, 0), (0, 1), (1, 0), (1, 1)]
    speeds = [1.0, 10_000.0 ** (-1 / 2)]

    def turned(vector: Tensor, place: tuple[int, int] | None) -> np.ndarray:
        pairs = vector.numpy()[0::2] + 1j * vector.numpy()[1::2]
        if place is None:
            return pairs
        angles = [place[0] * speed for speed in speeds] + [place[1] * speed for speed in speeds]
        return pairs * np.exp(1j * np.array(angles))

    for head in range(2):
        for i in range(5):
            q = turned(query[0, head, i], places[i])
            logits = np.array([(q * turned(key[0, head, j], places[j]).conj()).real.sum() for j in range(5)]) / 8**0.5
            share = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
            expected = share @ value[0, head].numpy()
            assert found[0, i, 8 * head : 8 * head + 8].numpy() == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_the_denoiser_sees_time_condition_and_places() -> None:
    torch.manual_seed(0)
    model = Denoiser(12, 6, 4, SMALL)
    noisy, time, condition = torch.randn(3, 16, 12), torch.tensor([0.1, 0.5, 0.9]), torch.randn(3, 5, 6)
    out = model(noisy, time, condition)
    assert out.shape == noisy.shape
    assert not torch.allclose(out, model(noisy, time.flip(0), condition))
    for token in (0, 4):
        other = condition.clone()
        other[:, token] += 1.0 * torch.randn(3, 6)
        assert not torch.allclose(out, model(noisy, time, other))
    moved = torch.randperm(16, generator=torch.Generator().manual_seed(1))
    assert not torch.allclose(out[:, moved], model(noisy[:, moved], time, condition))
    assert torch.allclose(out[1:2], model(noisy[1:2], time[1:2], condition[1:2]), atol=1e-6)
    assert time_features(time)[:, 0].tolist() == pytest.approx(np.cos(1000 * time.numpy()).tolist(), abs=1e-3)


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match=r"denoiser.width: expected a multiple of 4 x heads \(8\), got 20"):
        Denoiser(12, 6, 4, SMALL.model_copy(update={"width": 20}))
    with pytest.raises(InputError, match=r"image_px: expected a multiple of train.diffusion.patch_px \(5\), got 16"):
        PixelTarget(16, 5)


# the loss


class Linear(nn.Module):
    """A denoiser that NumPy can follow."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Parameter(torch.randn(12, 12))

    def forward(self, noisy: Tensor, time: Tensor, condition: Tensor) -> Tensor:
        return noisy @ self.mix + time[:, None, None] * condition.mean(dim=(1, 2))[:, None, None]


def test_the_loss_is_the_squared_error_of_the_velocity() -> None:
    model = RectifiedFlow(PixelTarget(4, 2), Linear(), time_scale=0.7)
    pixels, condition = torch.rand(3, 3, 4, 4), torch.randn(3, 2, 5)
    found = model(pixels, condition, seeded(1, 2, 3))
    for image, generator in enumerate(seeded(1, 2, 3)):
        time = 1 / (1 + np.exp(-0.7 * torch.randn((), generator=generator).numpy()))
        noise = torch.randn((4, 12), generator=generator).numpy()
        data = np.zeros((4, 12))
        for row in range(4):
            for column in range(4):
                for channel in range(3):
                    value = 2 * float(pixels[image, channel, row, column]) - 1
                    data[2 * (row // 2) + column // 2, 4 * channel + 2 * (row % 2) + column % 2] = value
        noisy = (1 - time) * data + time * noise
        velocity = noisy @ model.denoiser.mix.detach().numpy() + time * float(condition[image].mean())
        assert float(found[image].detach()) == pytest.approx(((velocity - (noise - data)) ** 2).mean(), rel=1e-4)


def test_every_condition_begins_with_the_class_token() -> None:
    image, dense = torch.randn(2, 7), torch.randn(2, 7, 4, 5)
    cells = [dense[:, :, row, column] for row in range(4) for column in range(5)]
    counts = {"class": 1, "class_random": 77, "class_all": 21, "class_half": 11, "pooled": 4}
    found = {kind: condition_tokens(image, dense, kind, seeded(3, 4)) for kind in counts}
    assert {kind: tokens.shape[1] for kind, tokens in found.items()} == counts
    assert all(torch.equal(tokens[:, 0], image) for tokens in found.values())
    assert torch.equal(found["class_all"][:, 1:], torch.stack(cells, dim=1))
    expected = torch.stack([torch.stack(cells[6 * i : 6 * i + 6]).mean(0) for i in range(3)], dim=1)
    assert torch.allclose(found["pooled"][:, 1:], expected, atol=1e-6)
    for kind in ("class_random", "class_half"):
        for row, generator in enumerate(seeded(3, 4)):
            random = torch.randint(20, (76,), generator=generator)
            if kind == "class_half":
                random = torch.randperm(20, generator=seeded(3, 4)[row])[:10]
            assert torch.equal(found[kind][row, 1:], torch.stack(cells, dim=1)[row, random])
    with pytest.raises(InputError, match="pooled: expected at least 6 cells, the dense map has 4"):
        condition_tokens(image, dense[:, :, :2, :2], "pooled", seeded(3, 4))


# in a run


def tower_of(base: Path) -> DenseClip:
    torch.manual_seed(0)
    return DenseClip(adapt(files.load(base)[0], TrainParams(lora=LoraParams(rank=4, alpha=8))).clip).train()


@pytest.fixture(scope="module")
def loaded(base: Path, annotations: Path) -> LoadedBatch:
    return next(TrainFeed(TrainParams(batch=5), annotations, Dropped(frozenset(), {}), tower_of(base)).load(0))


def computed(
    base: Path, loaded: LoadedBatch, params: TrainParams, step: int = 0
) -> tuple[dict[str, float], dict[str, Tensor]]:
    tower = tower_of(base)
    objectives = image_terms.image_objectives(tower, params)
    embedder = TowerEmbedder(tower, objectives, embeds=not image_terms.only_images(params.weights))
    model = Parallel(embedder, World(), "ddp")
    scoring = StepScoring(params, "softmax", None, tower.tokenizer, lambda loss: loss)
    values = compute(model, dataclasses.replace(loaded, step=step), scoring, World()).values
    return values, {name: p.grad for name, p in model.learning.items() if p.grad is not None}


def test_of_weight_0_nothing_is_built(base: Path) -> None:
    assert image_terms.image_objectives(tower_of(base), tuning(weights(image_text=1.0))) == []


def test_first_the_denoiser_learns_and_then_the_tower(base: Path, loaded: LoadedBatch) -> None:
    first, second = (computed(base, loaded, ALONE, step)[1] for step in (2, 3))
    free = ALONE.model_copy(update={"diffusion": TINY.model_copy(update={"freeze": False})})
    both = computed(base, loaded, free, 3)[1]
    own = {name for name in both if name.startswith("objectives.diffusion.")}
    assert own
    assert set(first) == own
    assert all(gradient.any() for gradient in first.values())
    assert all(not second[name].any() for name in own)
    of_tower = [name for name in second if name not in own]
    assert any(second[name].any() for name in of_tower)
    assert all("visual" in name for name in of_tower if second[name].any())
    assert any(both[name].any() for name in own)
    for name in of_tower:
        assert torch.allclose(both[name], second[name], atol=1e-7), name


@pytest.mark.parametrize("condition", ["class", "class_random"])
@pytest.mark.parametrize("step", [1, 4])
def test_micro_batches_give_the_gradients_of_the_batch(
    base: Path, loaded: LoadedBatch, condition: str, step: int
) -> None:
    diffusion = TINY.model_copy(update={"condition": condition, "freeze": False})
    params = tuning(weights(diffusion=0.5, image_text=1.0), diffusion=diffusion)
    values, expected = computed(base, loaded, params, step)
    for parts in (2, 5):
        again, found = computed(base, loaded, params.model_copy(update={"accumulate": parts}), step)
        assert again == pytest.approx(values, rel=1e-5)
        assert found.keys() == expected.keys()
        for name, gradient in expected.items():
            assert torch.allclose(found[name], gradient, rtol=1e-3, atol=1e-6), name


def test_value_is_the_mean_over_images_of_the_model_s_loss(base: Path, loaded: LoadedBatch) -> None:
    values, _ = computed(base, loaded, ALONE, 4)
    tower = tower_of(base)
    objective = DiffusionFeedback(tower, ALONE)
    images, losses = loaded.batch.images, []
    with torch.no_grad():
        for place, image in enumerate(images):
            tokens = tower.encode_image(image[None])[0][:, None]
            mean, std = (torch.tensor(each)[:, None, None] for each in (tower.preprocess.mean, tower.preprocess.std))
            pixels = nn.functional.interpolate((image * std + mean)[None], (16, 16), mode="bilinear", antialias=True)
            generators = Rows(images[:1], step=4, first=place, seed=0).generators("diffusion")
            losses.append(float(objective.model(pixels.clamp(0, 1), tokens, generators)))
    assert values["diffusion"] == pytest.approx(np.mean(losses), rel=1e-4)
    assert values["total"] == pytest.approx(2 * values["diffusion"])


def test_a_run_over_both_phases_resumes_and_freezes(
    params: TrainParams, inputs: TrainInputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[DiffusionFeedback] = []
    seen: dict[int, Tensor] = {}

    class Watched(DiffusionFeedback):
        def __init__(self, tower: DenseClip, params: TrainParams) -> None:
            super().__init__(tower, params)
            made.append(self)

        def after_step(self, step: int, world: World) -> None:
            seen[step] = nn.utils.parameters_to_vector(self.parameters()).detach().clone()

    monkeypatch.setitem(image_terms.FACTORIES, "diffusion", Watched)
    params = params.model_copy(update={"weights": weights(diffusion=1.0, image_text=1.0), "diffusion": TINY})
    stage.run(params, dataclasses.replace(inputs, work=tmp_path / "whole"), tmp_path / "out")
    half = params.steps // 2
    assert not torch.equal(seen[0], seen[half - 1])
    assert torch.equal(seen[half - 1], seen[params.steps - 1])

    def stop(step: int, _values: dict[str, float]) -> None:
        if step == params.steps - 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stage.run(params, inputs, tmp_path / "again", report=stop)
    stage.run(params, inputs, tmp_path / "again")
    whole, _, resumed = ([*each.parameters()] for each in made)
    assert all(torch.equal(one, other) for one, other in zip(whole, resumed, strict=True))
    adapters = [(tmp_path / name / "adapter" / "adapter_model.safetensors").read_bytes() for name in ("out", "again")]
    assert adapters[0] == adapters[1]
    assert "diffusion" in inputs.plots.read_text().splitlines()[0].split(",")


# models of diffusers, which is not installed here: stand-ins with the same calls


class Unet(nn.Module):
    """Predicts the noise from the sum of all it is given."""

    config = SimpleNamespace(cross_attention_dim=6)

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(0.3))

    def forward(self, sample: Tensor, timestep: Tensor, encoder_hidden_states: Tensor) -> SimpleNamespace:
        said = encoder_hidden_states.mean(dim=(1, 2)) + timestep / 10
        return SimpleNamespace(sample=self.factor * sample + said[:, None, None, None])


class Vae(nn.Module):
    """Means of 2 x 2 pixels, four channels."""

    config = SimpleNamespace(scaling_factor=0.5, shift_factor=None)

    def encode(self, pixels: Tensor) -> SimpleNamespace:
        small = nn.functional.avg_pool2d(pixels, 2)
        return SimpleNamespace(latent_dist=SimpleNamespace(mean=torch.cat([small, small[:, :1]], dim=1)))


class Text(nn.Module):
    def forward(self, tokens: Tensor) -> tuple[Tensor]:
        return (tokens[..., None].float() * torch.arange(6.0),)


def part(make: Any) -> Any:
    def from_pretrained(folder: str, subfolder: str | None = None, **options: bool) -> Any:
        assert options["local_files_only"]
        if not (Path(folder) / (subfolder or "")).is_dir():
            raise OSError(f"no {subfolder}")
        return make()

    return SimpleNamespace(from_pretrained=from_pretrained)


@pytest.fixture
def scheduler() -> SimpleNamespace:
    return SimpleNamespace(
        alphas_cumprod=torch.linspace(0.99, 0.01, 10), config=SimpleNamespace(prediction_type="epsilon")
    )


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheduler: SimpleNamespace) -> Path:
    for name in ("vae", "unet", "scheduler", "tokenizer", "text_encoder"):
        (tmp_path / "sd" / name).mkdir(parents=True)
    diffusers, transformers = ModuleType("diffusers"), ModuleType("transformers")
    diffusers.UNet2DConditionModel, diffusers.AutoencoderKL = part(Unet), part(Vae)  # type: ignore[attr-defined]
    diffusers.DDPMScheduler = part(lambda: scheduler)  # type: ignore[attr-defined]
    transformers.CLIPTextModel = part(Text)  # type: ignore[attr-defined]

    class Tokenizer:
        model_max_length = 3

        def __call__(self, texts: list[str], **_: Any) -> SimpleNamespace:
            return SimpleNamespace(input_ids=torch.arange(1, 4)[None])

    transformers.CLIPTokenizer = part(Tokenizer)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "diffusers", diffusers)
    monkeypatch.setitem(sys.modules, "transformers", transformers)
    return tmp_path / "sd"


@pytest.mark.parametrize("tokens", [3, 2], ids=["as many tokens as the text", "fewer"])
def test_a_pretrained_model_is_asked_for_the_noise(folder: Path, scheduler: SimpleNamespace, tokens: int) -> None:
    from umgclip.train.objective.diffusion.pretrained import PretrainedDiffusion

    model = PretrainedDiffusion(str(folder), 4, torch.device("cpu"))
    pixels, condition = torch.rand(2, 3, 8, 8), torch.randn(2, tokens, 4)
    found = model(pixels, condition, seeded(5, 6))
    text = np.outer(np.arange(1, 4), np.arange(6))
    text = text if tokens == 3 else text.mean(0, keepdims=True)
    project = [each.detach().numpy() for each in model.project.parameters()]
    for image, generator in enumerate(seeded(5, 6)):
        time = int(torch.randint(10, (), generator=generator))
        noise = torch.randn((4, 4, 4), generator=generator).numpy()
        small = (2 * pixels[image] - 1).reshape(3, 4, 2, 4, 2).numpy().mean(axis=(2, 4))
        latents = 0.5 * np.concatenate([small, small[:1]])
        kept = float(scheduler.alphas_cumprod[time])
        noisy = kept**0.5 * latents + (1 - kept) ** 0.5 * noise
        context = text + condition[image].numpy() @ project[0].T + project[1]
        predicted = 0.3 * noisy + context.mean() + time / 10
        assert float(found[image].detach()) == pytest.approx(((predicted - noise) ** 2).mean(), rel=1e-4)


def test_of_a_pretrained_model_only_the_projection_learns(base: Path, loaded: LoadedBatch, folder: Path) -> None:
    diffusion = TINY.model_copy(update={"pretrained": str(folder), "first_share": 0.0, "freeze": False})
    values, gradients = computed(base, loaded, ALONE.model_copy(update={"diffusion": diffusion}))
    own = {name for name in gradients if name.startswith("objectives.")}
    assert own == {"objectives.diffusion.model.project.weight", "objectives.diffusion.model.project.bias"}
    assert any(gradients[name].any() for name in gradients if name not in own)
    assert np.isfinite(values["diffusion"])


def test_latents_are_reconstructed_where_a_vae_is_named(base: Path, loaded: LoadedBatch, folder: Path) -> None:
    target = LatentTarget(str(folder / "vae"), 8, torch.device("cpu"))
    assert (target.grid, target.token_dim) == (2, 16)
    pixels = torch.rand(1, 3, 8, 8)
    latents = 0.5 * Vae().encode(2 * pixels - 1).latent_dist.mean
    assert torch.allclose(target(pixels), patches(latents, 2))
    diffusion = TINY.model_copy(update={"vae": str(folder)})
    values, _ = computed(base, loaded, ALONE.model_copy(update={"diffusion": diffusion}), 4)
    assert np.isfinite(values["diffusion"])
    with pytest.raises(InputError, match="expected an even number of latents along a side, got 3 from 6"):
        LatentTarget(str(folder), 6, torch.device("cpu"))


def test_what_is_missing_of_a_pretrained_model_is_named(
    folder: Path, scheduler: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    from umgclip.train.objective.diffusion.pretrained import PretrainedDiffusion

    cpu = torch.device("cpu")
    with pytest.raises(InputError, match=r"pretrained: expected a folder of weights, got nowhere; run: hf download"):
        PretrainedDiffusion("nowhere", 4, cpu)
    scheduler.config.prediction_type = "v_prediction"
    with pytest.raises(InputError, match="expected a model that predicts the noise.*got prediction_type v_prediction"):
        PretrainedDiffusion(str(folder), 4, cpu)
    scheduler.config.prediction_type = "epsilon"
    (folder / "unet").rmdir()
    with pytest.raises(InputError, match=r"train.diffusion.pretrained: cannot load unet of .*: no unet"):
        PretrainedDiffusion(str(folder), 4, cpu)
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(
        InputError, match=r'train.diffusion.vae: needs diffusers; run: pip install "umgclip\[diffusion\]"'
    ):
        LatentTarget(str(folder), 8, cpu)
