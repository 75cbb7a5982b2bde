"""All-patch self-distillation: the loss against a slow oracle, the moving averages, the centre, and its resumption."""

import dataclasses
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from torch import Tensor

from umgclip.errors import InputError
from umgclip.learning.world import World
from umgclip.model.adapters.adapt import adapt
from umgclip.model.clip import files
from umgclip.model.clip.tower import DenseClip
from umgclip.model.clip.vision.masking import masked_patches, patch_projection
from umgclip.model.clip.vision.select import vision_encoder
from umgclip.params import LossWeights, PatchEmaParams, TrainParams
from umgclip.train import stage
from umgclip.train.objective.image_side import Rows, require_parallel
from umgclip.train.objective.patch_ema import PatchDistillation, patch_distillation
from umgclip.train.stage import TrainInputs

SMALL = {"prototypes": 32, "hidden": 16, "bottleneck": 8}
ALONE = LossWeights(**dict.fromkeys(LossWeights.model_fields, 0.0) | {"patch_ema": 1.0})
IMAGES = torch.randn(3, 3, 96, 96, generator=torch.Generator().manual_seed(0))
ROWS = Rows(IMAGES, step=5, first=2, seed=1)


@pytest.fixture
def tower(base: Path) -> DenseClip:
    torch.manual_seed(0)
    return DenseClip(adapt(files.load(base)[0], TrainParams(lora={"rank": 4, "alpha": 8})).clip).train()


def objective_of(tower: DenseClip, **values: object) -> PatchDistillation:
    torch.manual_seed(99)  # of no effect
    objective = PatchDistillation(tower, PatchEmaParams(**SMALL | values), seed=3)
    with torch.no_grad():
        objective.mask_token.normal_(generator=torch.Generator().manual_seed(1))
    return objective


def softmax(logits: np.ndarray) -> np.ndarray:
    shares = np.exp(logits - logits.max())
    return shares / shares.sum()


def cosines(objective: PatchDistillation, cell: np.ndarray) -> np.ndarray:
    """The head of an objective, a matrix after the other."""
    weights = {name: p.detach().double().numpy() for name, p in objective.head.named_parameters()}
    x = cell * np.sqrt(len(cell))
    for layer in (0, 2, 4):
        x = weights[f"mlp.{layer}.weight"] @ x + weights[f"mlp.{layer}.bias"]
        if layer < 4:
            x = torch.nn.functional.gelu(torch.from_numpy(x)).numpy()
    x /= np.linalg.norm(x)
    return np.array([row @ x / np.linalg.norm(row) for row in weights["prototypes"]])


def masked_by_hand(tower: DenseClip, image: Tensor, hidden: Tensor, token: Tensor) -> Tensor:
    """The dense map of an image whose hidden patches have the token in the place of what they show."""
    convolution = tower.clip.visual.conv1
    cells = convolution(image[None])
    for row, column in hidden.nonzero().tolist():
        cells[0, :, row, column] = token
    before, convolution.forward = convolution.forward, lambda _: cells
    dense = tower.encode_image(image[None])[1][0]
    convolution.forward = before
    return dense


def test_the_loss_is_the_cross_entropy_of_every_cell(tower: DenseClip) -> None:
    objective = objective_of(tower, student_temperature=0.3, teacher_temperature=0.2)
    objective._centre += torch.linspace(-0.1, 0.1, 32)
    centre = objective._centre.double().numpy()
    with torch.no_grad():
        loss = objective(tower, ROWS)
        hidden = objective._hidden(tower, ROWS)
        each = []
        for image, mask in zip(IMAGES, hidden, strict=True):
            given = masked_by_hand(tower, image, mask, objective.mask_token).double().numpy()
            wanted = tower.encode_image(image[None])[1][0].double().numpy()
            for row in range(8):
                for column in range(8):
                    target = softmax((cosines(objective, wanted[:, row, column]) - centre) / 0.2)
                    each.append(-target @ np.log(softmax(cosines(objective, given[:, row, column]) / 0.3)))
    assert hidden.flatten(1).sum(1).tolist() == [48, 48, 48]
    assert float(loss) == pytest.approx(np.mean(each), rel=1e-5)


def test_hidden_patches_follow_from_the_image_s_place_and_the_step(tower: DenseClip) -> None:
    objective = objective_of(tower)
    whole = objective._hidden(tower, ROWS)
    assert torch.equal(objective._hidden(tower, ROWS.cut(1, 3)), whole[1:])
    assert not torch.equal(whole[0], whole[1])
    assert not torch.equal(objective._hidden(tower, dataclasses.replace(ROWS, step=6)), whole)


def test_cells_without_image_do_not_count(tower: DenseClip) -> None:
    valid = torch.ones(3, 8, 8, dtype=torch.bool)
    objective = objective_of(tower, mask_share=0.0)
    with torch.no_grad():
        everywhere = objective(tower, dataclasses.replace(ROWS, valid=valid))
        assert float(everywhere) == pytest.approx(float(objective(tower, ROWS)), rel=1e-5)
        valid[0, 4:] = False
        before = objective._cells.clone()
        objective(tower, dataclasses.replace(ROWS, valid=valid))
    assert int(objective._cells - before) == 3 * 64 - 32


def test_the_teacher_is_the_average_of_what_learns(tower: DenseClip) -> None:
    objective = objective_of(tower, decay=0.3)
    learned = {n: p for n, p in tower.clip.visual.named_parameters() if p.requires_grad}
    assert {n for n in objective.state() if n.startswith("tower.")} == {f"tower.{n}" for n in learned}
    name = next(n for n in learned if "lora_A" in n)
    first, head = learned[name].detach().clone(), objective.head.prototypes.detach().clone()
    with torch.no_grad():
        learned[name] += 1
        objective.head.prototypes += 2
        objective.after_step(0, World())  # decay 1 / 10
        objective.after_step(1000, World())  # decay 0.3
    share = 1 - 0.1 * 0.3
    torch.testing.assert_close(objective.state()[f"tower.{name}"], first + share)
    torch.testing.assert_close(objective.state()["head.prototypes"], head + 2 * share)


def test_the_teacher_sees_the_average_and_not_the_student(tower: DenseClip) -> None:
    rows = [objective_of(tower, average=average) for average in ("tower", "head")]
    before = [objective._targets(tower, ROWS) for objective in rows]
    assert torch.equal(*before)
    with torch.no_grad():
        for name, parameter in tower.clip.visual.named_parameters():
            if "lora_B" in name:
                parameter += 0.1
    averaged, live = (objective._targets(tower, ROWS) for objective in rows)
    assert torch.equal(averaged, before[0])
    assert not torch.allclose(live, before[1], atol=1e-4)
    assert not any(name.startswith("tower.") for name in rows[1].state())


def test_the_centre_moves_to_the_mean_of_all_cells_seen_since(tower: DenseClip) -> None:
    objective = objective_of(tower, centre_decay=0.75)
    whole = objective_of(tower, centre_decay=0.75)
    with torch.no_grad():
        for part in (ROWS.cut(0, 1), ROWS.cut(1, 3), ROWS.cut(3, 3).or_stand_in()):
            objective(tower, part)
        whole(tower, ROWS)
    for each in (objective, whole):
        each.after_step(0, World())
    torch.testing.assert_close(objective._centre, whole._centre)
    with torch.no_grad():
        cells = tower.encode_image(IMAGES)[1].flatten(2).transpose(1, 2).flatten(0, 1)
        mean = np.mean([cosines(whole, cell.double().numpy()) for cell in cells], axis=0)
    assert np.abs(whole._centre.numpy() - 0.25 * mean).max() < 1e-6
    objective.after_step(1, World())  # nothing was seen: it stays
    torch.testing.assert_close(objective._centre, whole._centre)


def test_every_part_that_learns_gets_a_gradient(tower: DenseClip) -> None:
    objective = objective_of(tower)
    objective(tower, ROWS).backward()
    assert all(p.grad is not None and p.grad.any() for p in objective.parameters())
    assert {n for n, _ in objective.named_parameters()} >= {"mask_token", "head.prototypes"}
    assert any(p.grad is not None and p.grad.any() for p in tower.clip.visual.parameters())


def test_the_head_is_the_same_in_every_process(tower: DenseClip) -> None:
    torch.manual_seed(1)
    one = PatchDistillation(tower, PatchEmaParams(**SMALL), seed=0)
    torch.manual_seed(2)
    other = PatchDistillation(tower, PatchEmaParams(**SMALL), seed=0)
    assert torch.equal(one.head.prototypes, other.head.prototypes)


def test_a_hidden_patch_is_hidden_in_a_timm_tower_too() -> None:
    torch.manual_seed(0)
    vision = {"timm_model_name": "vit_tiny_patch16_224", "timm_pool": "token", "timm_proj": "linear", "image_size": 64}
    visual = open_clip.CustomTextCLIP(8, vision, {"width": 8, "heads": 2, "layers": 1}).visual.eval()
    images = torch.randn(2, 3, 64, 64)
    mask = torch.zeros(2, 4, 4, dtype=torch.bool)
    mask[:, 1, 2] = True
    other = images.clone()
    other[:, :, 16:32, 32:48] += 1
    encode = vision_encoder(visual)
    with torch.no_grad():
        with masked_patches(visual, mask, torch.randn(192)):
            hidden = [encode(pixels, None)[1] for pixels in (images, other)]
        shown = [encode(pixels, None)[1] for pixels in (images, other)]
    assert torch.equal(*hidden)
    assert not torch.allclose(*shown, atol=1e-5)
    assert not visual.trunk.patch_embed.proj._forward_hooks


def test_towers_without_patches_are_refused() -> None:
    vision = {"timm_model_name": "convnext_atto", "timm_pool": "", "timm_proj": "linear", "image_size": 64}
    visual = open_clip.CustomTextCLIP(8, vision, {"width": 8, "heads": 2, "layers": 1}).visual
    with pytest.raises(InputError, match="train.weights.patch_ema: expected 0 for a tower that is no ViT, .* ConvNeXt"):
        patch_projection(visual)


def test_it_is_not_divided(tower: DenseClip) -> None:
    with pytest.raises(
        InputError, match="train.parallel: expected ddp with train.weights.patch_ema above 0, got fsdp2"
    ):
        require_parallel([patch_distillation(tower, TrainParams(patch_ema=SMALL))], "fsdp2")


def test_a_resumed_run_ends_with_the_same_bytes(params: TrainParams, inputs: TrainInputs, tmp_path: Path) -> None:
    params = params.model_copy(update={"weights": ALONE, "patch_ema": PatchEmaParams(**SMALL), "steps": 4})
    stage.run(params, dataclasses.replace(inputs, work=tmp_path / "whole"), tmp_path / "out")

    def stop(step: int, _values: dict[str, float]) -> None:
        if step == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stage.run(params, inputs, tmp_path / "again", report=stop)
    stage.run(params, inputs, tmp_path / "again")
    adapters = [(tmp_path / n / "adapter" / "adapter_model.safetensors").read_bytes() for n in ("out", "again")]
    assert adapters[0] == adapters[1]
