"""Annotated samples to one batch of tensors, image, boxes and masks moved together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from umgclip.data.canvas import random_window, relit, resampled, square_canvas
from umgclip.data.sides import may_be_mirrored
from umgclip.data.stream import Sample
from umgclip.geometry import masks as mask_ops
from umgclip.geometry.fit import Resize, covered_cells, on_canvas
from umgclip.literals import read_npy
from umgclip.model.clip.images import valid_cells
from umgclip.model.clip.preprocess import Preprocess, to_input
from umgclip.model.clip.prompts import with_article
from umgclip.model.clip.tower import DenseClip
from umgclip.params import TrainParams
from umgclip.records import Region
from umgclip.train.resolutions import Resolution, resolutions
from umgclip.train.texts import TextChoice, Texts, captions, negatives, region_text, text_choice

_MIN_INSIDE = 0.7  # share of a region that a random window must hold


@dataclass(frozen=True)
class Batch:
    """Everything that one step needs. Regions of all images stand one after the other, never padded.

    `texts` are distinct; captions, region texts and tags are indices into them (-1: none). `negative_text` are the
    wrong texts of regions, and `region_of_negative` their regions, ascending. `token_text` and `token_weight` say, for
    each token of the dense map in row order, which text its region carries and how much of the token that region
    covers. Long captions and wrong texts are there if a term looks at them. Teacher rows are NaN where there is no
    teacher. `valid` says which cells of the dense map hold image (None: all); boxes and masks refer to the canvas, with
    the image at its top left. `views` are other tensors of the same images, by the name of the objective that looks at
    them (`umgclip.train.views`).
    """

    images: Float[Tensor, "b 3 height width"]
    texts: list[str]
    caption: Int[Tensor, "b"]
    long_caption: Int[Tensor, "b"]
    tag_texts: Int[Tensor, "v"]
    tag_targets: Bool[Tensor, "b v"]
    image_of_region: Int[Tensor, "r"]
    boxes_xyxy: Float[Tensor, "r 4"]
    masks: Float[Tensor, "r h w"]
    is_stuff: Bool[Tensor, "r"]
    region_text: Int[Tensor, "r"]
    negative_text: Int[Tensor, "m"]
    region_of_negative: Int[Tensor, "m"]
    token_text: Int[Tensor, "n"]
    token_weight: Float[Tensor, "n"]
    teacher_image: Float[Tensor, "b d"]
    teacher_region: Float[Tensor, "r d"]
    valid: Bool[Tensor, "b h w"] | None = None
    views: Mapping[str, Float[Tensor, "b 3 side side"]] = field(default_factory=dict)


@dataclass(frozen=True)
class View:
    """The settings by which samples are turned into a batch.

    `texts`: which of them are looked at.
    `min_window`: smallest side of the random window that is looked at, as a share of the image's; 1 takes it whole.
    `mirror_share`: of the images whose texts say neither left nor right.
    `relight`: largest relative change of contrast; brightness changes in step.
    `resize`: what becomes of an aspect that is not the canvas's. `preprocess`: the model's mean and deviation.
    """

    image_px: int
    grid: int
    regions_per_image: int
    texts: TextChoice
    mirror_share: float = 0.5
    min_window: float = 1.0
    relight: float = 0.0
    resize: Resize = "squash"
    preprocess: Preprocess = Preprocess()


def view_of(params: TrainParams, tower: DenseClip, at: Resolution | None = None) -> View:
    """Return the view that the section `train` asks for, in the units of a model.

    Args:
        params: the section `train`.
        tower: the model.
        at: the resolution of a run that has several; None: the only one.

    Raises:
        InputError: the side is no multiple of the model's patch, or the patch is no square.
    """
    at = at or resolutions(params)[0]
    side, grid = square_canvas(at.image_px, tower, f"{at.key}.image_px")
    return View(
        image_px=side,
        grid=grid,
        regions_per_image=params.regions_per_image,
        texts=text_choice(params),
        mirror_share=params.mirror_share,
        min_window=params.min_window,
        relight=params.relight,
        resize=params.resize,
        preprocess=tower.preprocess,
    )


@dataclass(frozen=True)
class TaughtSample:
    """A sample with its teacher embeddings: row 0 the image, then one row a region; None when there are none."""

    sample: Sample
    teacher: Float[np.ndarray, "rows d"] | None
    dropped: frozenset[str] = frozenset()


def read_teacher(data: bytes | None) -> np.ndarray | None:
    """Read the teacher embeddings stored with a sample; None if there are none."""
    return None if data is None else read_npy(data).astype(np.float32)


def collate(items: Sequence[TaughtSample], view: View, embed_dim: int, rng: np.random.Generator) -> Batch:
    """Build a batch; every random choice comes from `rng`."""
    texts = Texts()
    parts = [_one(item, view, embed_dim, texts, rng) for item in items]
    tags = sorted({tag for part in parts for tag in part.tags})
    targets = np.zeros((len(parts), len(tags)), bool)
    for row, part in enumerate(parts):
        targets[row, [tags.index(tag) for tag in part.tags]] = True
    counts = [len(part.region_text) for part in parts]
    wrong = [of_region for part in parts for of_region in part.negatives]
    return Batch(
        images=to_input([part.pixels for part in parts], view.preprocess),
        texts=list(texts.place),
        caption=torch.tensor([part.caption for part in parts]),
        long_caption=torch.tensor([part.long_caption for part in parts]),
        tag_texts=torch.tensor(tags, dtype=torch.long),
        tag_targets=torch.from_numpy(targets),
        image_of_region=torch.repeat_interleave(torch.arange(len(parts)), torch.tensor(counts)),
        boxes_xyxy=torch.from_numpy(np.concatenate([part.boxes for part in parts])),
        masks=torch.from_numpy(np.concatenate([part.masks for part in parts])),
        is_stuff=torch.from_numpy(np.concatenate([part.is_stuff for part in parts])),
        region_text=torch.from_numpy(np.concatenate([part.region_text for part in parts])),
        negative_text=torch.tensor([text for of_region in wrong for text in of_region], dtype=torch.long),
        region_of_negative=torch.repeat_interleave(torch.tensor([len(of_region) for of_region in wrong]).long()),
        token_text=torch.from_numpy(np.concatenate([part.token_text for part in parts])),
        token_weight=torch.from_numpy(np.concatenate([part.token_weight for part in parts])),
        teacher_image=torch.from_numpy(np.stack([part.teacher_image for part in parts])),
        teacher_region=torch.from_numpy(np.concatenate([part.teacher_region for part in parts])),
        valid=valid_cells([part.cells_hw for part in parts], (view.grid, view.grid), view.resize),
    )


@dataclass(frozen=True)
class _Part:
    pixels: np.ndarray
    caption: int
    long_caption: int
    tags: list[int]
    boxes: np.ndarray
    masks: np.ndarray
    is_stuff: np.ndarray
    region_text: np.ndarray
    negatives: list[list[int]]
    token_text: np.ndarray
    token_weight: np.ndarray
    teacher_image: np.ndarray
    teacher_region: np.ndarray
    cells_hw: tuple[int, int]


def _one(item: TaughtSample, view: View, embed_dim: int, texts: Texts, rng: np.random.Generator) -> _Part:
    record, pixels = item.sample.record, item.sample.pixels
    remaining = [pair for pair in enumerate(record.regions or []) if pair[1].id not in item.dropped]
    window = _window(pixels.shape[1], pixels.shape[0], view, rng)
    pixels, chosen, boxes, masks = _cut(pixels, _choose(remaining, view.regions_per_image, rng), window, view)
    pixels = relit(pixels, view.relight, rng)
    if rng.random() < view.mirror_share and may_be_mirrored(record):
        pixels = pixels[:, ::-1]
        boxes = np.stack([1 - boxes[:, 2], boxes[:, 1], 1 - boxes[:, 0], boxes[:, 3]], axis=1)
        masks = np.ascontiguousarray(masks[:, :, ::-1])
    cells_hw = (masks.shape[1], masks.shape[2])
    pixels, boxes, masks = _place(pixels, boxes, masks, view)
    text_of = np.array([region_text(region, view.texts, rng, texts) for _, region in chosen], np.int64)
    token_text, token_weight = _tokens(masks, text_of)
    caption, long_caption = captions(record.captions or [], view.texts, rng, texts)
    return _Part(
        pixels=pixels,
        caption=caption,
        long_caption=long_caption,
        tags=[texts.add(with_article(tag.text)) for tag in record.tags or []],
        boxes=boxes,
        masks=masks,
        is_stuff=np.array([region.is_stuff for _, region in chosen], bool),
        region_text=text_of,
        negatives=[negatives(region, view.texts, rng, texts) for _, region in chosen],
        token_text=token_text,
        token_weight=token_weight,
        teacher_image=_teacher(item.teacher, [0], embed_dim)[0],
        teacher_region=_teacher(item.teacher, [1 + index for index, _ in chosen], embed_dim),
        cells_hw=cells_hw,
    )


def _window(width: int, height: int, view: View, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """Draw a part of the image, `x0, y0, x1, y1` in pixels; take the whole without a draw if `min_window` is 1."""
    return (0, 0, width, height) if view.min_window >= 1 else random_window(width, height, view.min_window, rng)


def _cut(
    pixels: np.ndarray, regions: list[tuple[int, Region]], window: tuple[int, int, int, int], view: View
) -> tuple[np.ndarray, list[tuple[int, Region]], np.ndarray, np.ndarray]:
    """Cut out the window at the view's size; keep the regions that are still mostly inside.

    Boxes are shares of the window, masks lie on the cells that the window will cover.
    """
    x0, y0, x1, y1 = window
    is_whole = window == (0, 0, pixels.shape[1], pixels.shape[0])
    cell = view.image_px // view.grid
    cells = covered_cells((x1 - x0, y1 - y0), (view.grid, view.grid), (cell, cell), view.resize)
    chosen, boxes, masks = [], [], []
    for (index, region), (covered, area) in zip(regions, _covered([r for _, r in regions], window, cells), strict=True):
        inside = covered.sum() * ((x1 - x0) * (y1 - y0) / (cells[0] * cells[1]))  # in pixels
        if not is_whole and not region.is_stuff and round(float(inside)) < _MIN_INSIDE * area:
            continue
        box = np.clip(np.array(region.box_xyxy) - (x0, y0, x0, y0), 0, (x1 - x0, y1 - y0) * 2)
        chosen.append((index, region))
        boxes.append(box / ((x1 - x0, y1 - y0) * 2))
        masks.append(covered)
    part = pixels if is_whole else pixels[y0:y1, x0:x1]
    small = resampled(part, (cells[1] * cell, cells[0] * cell), view.preprocess.interpolation)
    stacked = np.array(masks, np.float32).reshape(-1, *cells)
    return small, chosen, np.array(boxes, np.float32).reshape(-1, 4), stacked


def _covered(
    regions: Sequence[Region], window: tuple[int, int, int, int], cells: tuple[int, int]
) -> list[tuple[np.ndarray, int]]:
    """Return for each region the share of the window's cells that it covers, and its area in pixels.

    A region without a mask is its box, by whole pixels.
    """
    boxes = np.array([region.box_xyxy for region in regions], np.float64).reshape(-1, 4).round()
    of_boxes = mask_ops.boxes_to_grid(boxes, window, cells)
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return [
        (of_box, int(area))
        if region.mask is None
        else (mask_ops.encoded_to_grid(region.mask, window, cells), mask_ops.area(region.mask))
        for region, of_box, area in zip(regions, of_boxes, areas, strict=True)
    ]


def _place(
    pixels: np.ndarray, boxes: np.ndarray, masks: np.ndarray, view: View
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Image, boxes and masks on the whole canvas; nothing changes where the image covers it."""
    rows, columns = masks.shape[1:]
    if (rows, columns) == (view.grid, view.grid):
        return pixels, boxes, masks
    share = np.array([columns, rows, columns, rows], np.float32) / view.grid
    placed = np.zeros((len(masks), view.grid, view.grid), np.float32)
    placed[:, :rows, :columns] = masks
    return on_canvas(pixels, (view.image_px, view.image_px)), (boxes * share).astype(np.float32), placed


def _choose(regions: list[tuple[int, Region]], most: int, rng: np.random.Generator) -> list[tuple[int, Region]]:
    """Choose at most `most` regions: labelled ones first, the rest at random."""
    if len(regions) <= most:
        return regions
    order = rng.permutation(len(regions))
    ranked = sorted(order, key=lambda i: not regions[i][1].tags)
    return [regions[i] for i in sorted(ranked[:most])]


def _tokens(
    masks: Float[np.ndarray, "r h w"], region_text: Int[np.ndarray, "r"]
) -> tuple[Int[np.ndarray, "n"], Float[np.ndarray, "n"]]:
    """Return for each token the text of the labelled region that covers it most, and the covered share."""
    tokens = masks.shape[1] * masks.shape[2]
    labelled = np.flatnonzero(region_text >= 0)
    if not labelled.size:
        return np.full(tokens, -1, np.int64), np.zeros(tokens, np.float32)
    cover = masks[labelled].reshape(len(labelled), -1)
    best = cover.argmax(0)
    weight = cover[best, np.arange(cover.shape[1])]
    text = np.where(weight > 0, region_text[labelled[best]], -1)
    return text.astype(np.int64), weight.astype(np.float32)


def _teacher(teacher: np.ndarray | None, rows: list[int], embed_dim: int) -> np.ndarray:
    if teacher is None or teacher.shape[1] != embed_dim:
        return np.full((len(rows), embed_dim), np.nan, np.float32)
    return teacher[rows]
