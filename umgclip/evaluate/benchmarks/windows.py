"""Scores of a large image read in overlapping windows, as segmentation papers do (`slide` inference)."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from umgclip.evaluate.examples import Example
from umgclip.evaluate.reader import Reader
from umgclip.geometry.fit import resized


@torch.inference_mode()
def windowed_scores(reader: Reader, example: Example) -> Float[Tensor, "classes h w"]:
    """Return the cosine of each cell with each class, averaged over the windows that cover the cell.

    The image is resized in proportion until its shorter side is `semantic.short_px`, both sides in whole cells; windows
    of `semantic.window_px` then start every `semantic.stride_px`, the last ones at the far edges.
    """
    params = reader.params.semantic
    window = params.window_px or 0
    cell_h, cell_w = reader.images.cell_hw_px
    height, width = example.pixels.shape[:2]
    scale = max(params.short_px or window, window) / min(height, width)
    rows, columns = (max(window // c, round(side * scale / c)) for side, c in ((height, cell_h), (width, cell_w)))
    pixels = resized(example.pixels, (columns * cell_w, rows * cell_h), reader.images.preprocess.interpolation)
    tops = starts(rows, window // cell_h, max(1, (params.stride_px or window) // cell_h))
    lefts = starts(columns, window // cell_w, max(1, (params.stride_px or window) // cell_w))
    corners = [(top, left) for top in tops for left in lefts]
    cut = [pixels[top * cell_h :, left * cell_w :][:window, :window] for top, left in corners]
    maps = reader.dense_of_windows(np.stack(cut))
    total = torch.zeros(len(reader.all_classes), rows, columns)
    count = torch.zeros(rows, columns)
    for (top, left), dense in zip(corners, maps, strict=True):
        window_at = (slice(top, top + dense.shape[1]), slice(left, left + dense.shape[2]))
        total[:, window_at[0], window_at[1]] += torch.einsum("cd,dhw->chw", reader.all_classes, dense)
        count[window_at] += 1
    return total / count


def starts(length: int, window: int, stride: int) -> list[int]:
    """Return where windows start to cover a length: at every stride, and at the far edge."""
    last = max(0, length - window)
    return [*range(0, last, stride), last]
