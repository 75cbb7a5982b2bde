"""Self-distillation from the tower's own overlapping windows (SPAR, Kombol et al., CVPR 2026, arXiv 2604.02252).

A tower reads images of the side it was made for best. The teacher is the frozen base on windows of that side, whose
overlapping maps are averaged. The student sees the whole image at once, at a larger side, and learns to give the same
map: one pass then does what hundreds of windows did. The images need no text.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own habit
from jaxtyping import Float
from torch import Tensor

from umgclip.errors import InputError
from umgclip.model.clip.tower import DenseClip
from umgclip.model.clip.vision.encoder import VisionEncoder
from umgclip.model.clip.vision.reach import reach_of
from umgclip.model.clip.vision.select import vision_encoder
from umgclip.params import TrainParams, WindowsParams
from umgclip.train.objective.image_side import ImageObjective, Rows
from umgclip.train.objective.teacher_maps import TeacherMaps
from umgclip.train.views import WINDOWS, square_patch, window_px

_GIB = 2**30


class WindowTeacher:
    """The dense map of an image as the mean over overlapping windows.

    Windows start at every stride, and one more ends at each far edge. Each window's map is upsampled bilinearly, so
    that windows which start at any multiple of `patch_px / upsample` lie on one grid; the mean over the windows there
    is averaged down to the tower's own grid.

    Args:
        encoder: a frozen image tower; its maps are L2-normalised cell by cell.
        window_px: the side of a window.
        stride_px: from one window to the next.
        upsample: cells of the fine grid for a side of a patch.
        at_once: windows in a forward.
    """

    def __init__(self, encoder: VisionEncoder, window_px: int, stride_px: int, upsample: int, at_once: int) -> None:
        self._encoder, self._window, self._stride = encoder, window_px, stride_px
        self._upsample, self._at_once = upsample, at_once
        self._cell = encoder.patch_px[0] // upsample

    @torch.no_grad()
    def __call__(self, image: Float[Tensor, "3 height width"]) -> Float[Tensor, "d h w"]:
        """Return the map on the tower's grid; cells where windows disagree have a norm below 1.

        Args:
            image: normalised pixels, no side shorter than a window, both multiples of the patch.
        """
        height, width = image.shape[1] // self._cell, image.shape[2] // self._cell
        total = image.new_zeros((self._encoder.embed_dim, height, width), dtype=torch.float32)
        count = image.new_zeros((height, width), dtype=torch.float32)
        corners = [(y, x) for y in self._starts(image.shape[1]) for x in self._starts(image.shape[2])]
        for first in range(0, len(corners), self._at_once):
            part = corners[first : first + self._at_once]
            cut = torch.stack([image[:, y : y + self._window, x : x + self._window] for y, x in part])
            for (y, x), fine in zip(part, self._fine(cut), strict=True):
                rows = slice(y // self._cell, y // self._cell + fine.shape[1])
                columns = slice(x // self._cell, x // self._cell + fine.shape[2])
                total[:, rows, columns] += fine
                count[rows, columns] += 1
        return F.avg_pool2d((total / count)[None], self._upsample)[0]

    def _fine(self, windows: Float[Tensor, "n 3 side side"]) -> Float[Tensor, "n d h w"]:
        dense = self._encoder(windows, None)[1].float()
        return F.interpolate(dense, scale_factor=float(self._upsample), mode="bilinear", align_corners=False)

    def _starts(self, length: int) -> Iterator[int]:
        last = length - self._window
        yield from range(0, last, self._stride)
        yield last


class WindowDistillation(ImageObjective):
    """Squared distance of the student's map of a whole image to the windows' mean map.

    Both are maps of L2-normalised cells; the teacher's mean is not normalised again, so a cell in which windows
    disagree pulls less. The distance is summed over channels and averaged over cells and images.
    """

    name = WINDOWS
    shardable = True  # nothing learns but the tower

    def __init__(self, teacher: WindowTeacher, maps: TeacherMaps | None = None) -> None:
        super().__init__()
        self._teacher, self._maps = teacher, maps

    def forward(self, tower: DenseClip, rows: Rows) -> Float[Tensor, ""]:
        """Return the mean over the images of the view."""
        view = rows.views[self.name]
        dense = tower.encode_image(view)[1].float()
        target = torch.stack([self._target(image) for image in view])
        return (dense - target).square().sum(dim=1).mean()

    def _target(self, image: Float[Tensor, "3 height width"]) -> Float[Tensor, "d h w"]:
        """Return the teacher's map, in float16's precision whether it comes from the disk or not."""
        if self._maps is None:
            return self._teacher(image).half().float()
        key = self._maps.key(image)
        target = self._maps.get(key)
        if target is None:
            target = self._teacher(image).half().cpu()
            self._maps.put(key, target)
        return target.to(image.device).float()


def window_distillation(tower: DenseClip, params: TrainParams) -> WindowDistillation:
    """Build the objective `windows`, whose teacher is a frozen copy of the tower's image side as it is now.

    Raises:
        InputError: stride or upsampling do not go with the tower's patch.
    """
    wanted = params.windows
    patch, side = square_patch(tower), window_px(tower)
    stride, upsample = geometry(wanted, patch)
    if stride > side:
        raise InputError(f"train.windows.stride_px: expected at most the window's side of {side}, got {stride}")
    visual = copy.deepcopy(tower.clip.visual).eval().requires_grad_(False)
    teacher = WindowTeacher(vision_encoder(visual), side, stride, upsample, wanted.at_once)
    if wanted.cache is None:
        return WindowDistillation(teacher)
    digest = hashlib.sha256(f"{side} {stride} {upsample} {reach_of(visual)} {params.precision}".encode())
    for name, value in visual.state_dict().items():
        digest.update(name.encode() + value.float().cpu().contiguous().numpy().tobytes())
    writers = torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1
    maps = TeacherMaps(Path(wanted.cache), digest.hexdigest(), wanted.cache_gib * _GIB, writers)
    return WindowDistillation(teacher, maps)


def geometry(params: WindowsParams, patch: int) -> tuple[int, int]:
    """Return stride in pixels and upsampling for a patch; defaults are 1.5 patches, and the least upsampling that fits.

    Raises:
        InputError: windows at the stride do not lie on the upsampled grid.
    """
    stride = params.stride_px if params.stride_px is not None else patch * 3 // 2
    fitting = [n for n in range(1, patch + 1) if patch % n == 0 and stride % (patch // n) == 0]
    upsample = fitting[0] if params.upsample is None else params.upsample
    if upsample not in fitting:
        raise InputError(
            f"train.windows.upsample: expected one of {', '.join(map(str, fitting))} for a stride of {stride} px and a "
            f"patch of {patch} px, got {upsample}; or change train.windows.stride_px"
        )
    return stride, upsample
