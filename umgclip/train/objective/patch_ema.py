"""All-patch self-distillation against a moving average (iBOT++, as TIPSv2, arXiv 2604.12012, reports it).

The student sees an image of which most patches are hidden, the teacher sees all of it. Both give each cell of their
dense maps a distribution over prototypes, and the student learns the teacher's in *every* cell. iBOT (Zhou et al., ICLR
2022) asks it in hidden cells only; asking it in visible ones too is what makes dense features agree with texts.

No training code of TIPSv2 is public. From the papers: the mask token in the place of patches, the share of hidden
patches, the loss over all of them, temperatures, centring, and the moving average of the head alone or of the tower
too. Our choices: the head reads the dense map of the joint space, which is what is read out later; hidden patches are
drawn one by one; sizes of the head; a constant decay with a warm start; one view of the image.
"""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own habit
from jaxtyping import Bool, Float
from torch import Tensor, nn

from umgclip.learning.world import World
from umgclip.model.clip.tower import DenseClip
from umgclip.model.clip.vision.masking import masked_patches, patch_projection
from umgclip.model.clip.vision.select import vision_encoder
from umgclip.params import PatchEmaParams, TrainParams
from umgclip.train.ema import decay_at
from umgclip.train.objective.image_side import ImageObjective, Rows


class PrototypeHead(nn.Module):
    """An MLP to a narrow unit vector, and its cosines with learned prototypes (as in DINO and iBOT)."""

    def __init__(self, dim: int, params: PatchEmaParams) -> None:
        super().__init__()
        self._scale = dim**0.5  # from unit norm to unit variance
        self.mlp = nn.Sequential(
            nn.Linear(dim, params.hidden), nn.GELU(), nn.Linear(params.hidden, params.hidden), nn.GELU(),
            nn.Linear(params.hidden, params.bottleneck),
        )  # fmt: skip
        self.prototypes = nn.Parameter(torch.randn(params.prototypes, params.bottleneck))

    def forward(self, cells: Float[Tensor, "n d"]) -> Float[Tensor, "n prototypes"]:
        """Return the cosine of each cell with each prototype."""
        return F.normalize(self.mlp(cells * self._scale), dim=1) @ F.normalize(self.prototypes, dim=1).T


class PatchDistillation(ImageObjective):
    """Cross-entropy of the student's distribution in each cell to the teacher's, over hidden and visible cells.

    Its parameters are the head and the mask token. Its state is the teacher: the moving averages of the head and, with
    `average: tower`, of what learns in the image tower; and the centre of the teacher's cosines.

    Args:
        tower: the model; its image side is copied as it is now.
        params: the section `train.patch_ema`.
        seed: of the head.

    Raises:
        InputError: the tower is no ViT.
    """

    name = "patch_ema"

    def __init__(self, tower: DenseClip, params: PatchEmaParams, seed: int) -> None:
        super().__init__()
        visual = tower.clip.visual
        self._params, self.rate_factor = params, params.lr_factor
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.head = PrototypeHead(tower.embed_dim, params)
        self.mask_token = nn.Parameter(torch.zeros(patch_projection(visual).out_channels))
        self.to(next(tower.parameters()).device)
        device = self.mask_token.device
        self._head = (_frozen(self.head),)  # in a tuple, for it must not be a submodule
        self._averaged = {f"head.{n}": pair for n, pair in _pairs(self._head[0], self.head).items()}
        self._encoder = None
        if params.average == "tower":
            teacher = _frozen(visual)
            self._encoder = vision_encoder(teacher)
            self._averaged |= {f"tower.{n}": pair for n, pair in _pairs(teacher, visual).items()}
        self._centre = torch.zeros(params.prototypes, device=device)
        self._sum, self._cells = torch.zeros_like(self._centre), torch.zeros((), device=device)

    def forward(self, tower: DenseClip, rows: Rows) -> Float[Tensor, ""]:
        """Return the mean over images of the mean over the cells that hold image."""
        wanted = self._targets(tower, rows)
        with masked_patches(tower.clip.visual, self._hidden(tower, rows), self.mask_token):
            dense = tower.encode_image(rows.images, rows.valid)[1]
        given = F.log_softmax(self.head(_cells(dense)).float() / self._params.student_temperature, dim=1)
        losses = -(wanted * given).sum(dim=1).unflatten(0, (len(dense), -1))
        if rows.valid is None:
            return losses.mean()
        weight = rows.valid.flatten(1).to(losses.dtype)
        return ((losses * weight).sum(dim=1) / weight.sum(dim=1)).mean()

    def state(self) -> dict[str, Tensor]:
        """Return the teacher's tensors, which the checkpoint keeps."""
        return {"centre": self._centre} | {name: average.data for name, (average, _) in self._averaged.items()}

    @torch.no_grad()
    def after_step(self, step: int, world: World) -> None:
        """Move the averages, and the centre by the cells of all processes."""
        decay = decay_at(step, self._params.decay)
        for average, learned in self._averaged.values():
            average.lerp_(learned.detach(), 1 - decay)
        seen = world.add(torch.cat([self._sum, self._cells[None]]))
        if seen[-1] > 0:
            self._centre.lerp_(seen[:-1] / seen[-1], 1 - self._params.centre_decay)
        self._sum.zero_()
        self._cells.zero_()

    @torch.no_grad()
    def _targets(self, tower: DenseClip, rows: Rows) -> Float[Tensor, "n prototypes"]:
        """Return the teacher's distribution in each cell of whole images; its cosines are counted for the centre."""
        if self._encoder is None:
            dense = tower.encode_image(rows.images, rows.valid)[1]
        else:
            dense = self._encoder(rows.images, rows.valid)[1]
        cosines = self._head[0](_cells(dense)).float()
        if not rows.stand_in:
            counted = cosines if rows.valid is None else cosines[rows.valid.flatten()]
            self._sum += counted.sum(dim=0)
            self._cells += len(counted)
        return F.softmax((cosines - self._centre) / self._params.teacher_temperature, dim=1)

    def _hidden(self, tower: DenseClip, rows: Rows) -> Bool[Tensor, "b h w"]:
        """Draw the hidden patches of each image, the same share of each."""
        height, width = (side // patch for side, patch in zip(rows.images.shape[2:], tower.patch_px, strict=True))
        number = round(height * width * self._params.mask_share)
        masks = torch.zeros((len(rows.images), height * width), dtype=torch.bool)
        for mask, generator in zip(masks, rows.generators(self.name), strict=True):
            mask[torch.randperm(len(mask), generator=generator)[:number]] = True
        return masks.unflatten(1, (height, width)).to(rows.images.device)


def patch_distillation(tower: DenseClip, params: TrainParams) -> PatchDistillation:
    """Build the objective `patch_ema` of a tower.

    Raises:
        InputError: the tower is no ViT.
    """
    return PatchDistillation(tower, params.patch_ema, params.seed)


def _frozen(module: nn.Module) -> nn.Module:
    return copy.deepcopy(module).eval().requires_grad_(False)


def _pairs(average: nn.Module, learned: nn.Module) -> dict[str, tuple[nn.Parameter, nn.Parameter]]:
    """Return each parameter that learns with the one that averages it, by name."""
    averages = dict(average.named_parameters())
    return {name: (averages[name], p) for name, p in learned.named_parameters() if p.requires_grad}


def _cells(dense: Float[Tensor, "b d h w"]) -> Float[Tensor, "n d"]:
    """Return the cells of all maps in row order."""
    return dense.flatten(2).transpose(1, 2).flatten(0, 1)
