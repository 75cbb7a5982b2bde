"""Classification of true regions over all things, by four read-outs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from umgclip.evaluate.benchmark import Example, TrueRegion
from umgclip.evaluate.reader import Reader, Seen, read_masks
from umgclip.geometry import masks as mask_ops
from umgclip.geometry.crops import crop_region
from umgclip.model.readout import pool_boxes, pool_masks

PROTOCOL = (
    "true things of the scenes, micro top-1 over all things; box: RoIAlign of the dense map in the true box; mask: the "
    "dense map pooled over the true mask on the token grid; crop: one forward per region on a square crop around the "
    "true box; maskout: the same with all outside the true mask replaced by the image's border colour; _heldout: "
    "regions of things that training never labels; _seen: the others; "
    "mask and maskout: of the regions whose mask is known"
)
READOUTS = ("box", "mask", "crop", "maskout")
_NEED_MASKS = ("mask", "maskout")


class RegionTop1:
    """Predicted label of every true region by every read-out."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._predicted: dict[str, list[np.ndarray]] = {name: [] for name in READOUTS}
        self._target: list[int] = []
        self._masked: list[bool] = []

    def add(self, examples: Sequence[Example], seen: Seen) -> None:
        """Count the things of a batch of scenes."""
        regions = [(row, region) for row, example in enumerate(examples) for region in example.things]
        if not regions:
            return
        embeddings = {"box": self._by_box(examples, regions, seen), "crop": self._by_crop(examples, regions)}
        if masked := [(row, region) for row, region in regions if region.mask is not None]:
            embeddings |= {"mask": self._by_mask(masked, seen), "maskout": self._by_maskout(examples, masked)}
        for name, embedding in embeddings.items():
            self._predicted[name].append((embedding @ self._reader.things.T).argmax(1).numpy())
        self._target.extend(region.label for _, region in regions)
        self._masked.extend(region.mask is not None for _, region in regions)

    def predictions(self, readout: str) -> Int64[np.ndarray, " r"]:
        """Predicted labels by one of `READOUTS`, in the order of scenes and the things that it can read."""
        return np.concatenate([np.zeros(0, dtype=np.int64), *self._predicted[readout]])

    def targets(self, readout: str = "box") -> Int64[np.ndarray, " r"]:
        """True labels, in the same order."""
        targets = np.array(self._target, dtype=np.int64)
        return targets[np.array(self._masked, dtype=np.bool_)] if readout in _NEED_MASKS else targets

    def results(self) -> Iterator[tuple[str, float]]:
        """`box_top1`, `box_top1_seen`, `box_top1_heldout`, and so for each read-out; none over no region."""
        for readout in READOUTS:
            targets = self.targets(readout)
            held_out = self._reader.classes.held_out_mask()[targets]
            groups = {"": np.ones_like(held_out), "_seen": ~held_out, "_heldout": held_out}
            right = self.predictions(readout) == targets
            yield from _means(right, groups, f"{readout}_top1")

    def per_class(self, readout: str) -> Iterator[tuple[str, int, float]]:
        """Name, number of regions and top-1 accuracy of each thing that has regions."""
        targets = self.targets(readout)
        right = self.predictions(readout) == targets
        for label, name in enumerate(self._reader.classes.things):
            of_class = targets == label
            if of_class.any():
                yield name, int(of_class.sum()), float(right[of_class].mean())

    def _by_box(
        self, examples: Sequence[Example], regions: list[tuple[int, TrueRegion]], seen: Seen
    ) -> Float[Tensor, "r d"]:
        shares = [_box_share(region, examples[row]) for row, region in regions]
        boxes = torch.tensor(np.array(shares, dtype=np.float32))
        if isinstance(seen.dense, torch.Tensor):
            return pool_boxes(seen.dense, boxes, _rows(regions))
        alone = torch.zeros(1, dtype=torch.long)
        each = [
            pool_boxes(seen.dense[row][None], box[None], alone) for (row, _), box in zip(regions, boxes, strict=True)
        ]
        return torch.cat(each)

    def _by_mask(self, regions: list[tuple[int, TrueRegion]], seen: Seen) -> Float[Tensor, "r d"]:
        if not isinstance(seen.dense, torch.Tensor):
            return torch.cat([read_masks(seen.dense[row], [_mask(region)]) for row, region in regions])
        grid = (seen.dense.shape[2], seen.dense.shape[3])
        weights = np.stack([mask_ops.to_grid(_mask(region), grid) for _, region in regions])
        return pool_masks(seen.dense, torch.from_numpy(weights), _rows(regions))

    def _by_crop(self, examples: Sequence[Example], regions: list[tuple[int, TrueRegion]]) -> Float[Tensor, "r d"]:
        side, share = self._reader.crop_px, self._reader.params.crop_frame
        return self._encode(
            regions, lambda row, region: crop_region(examples[row].pixels, region.box_xyxy, None, side, share)
        )

    def _by_maskout(self, examples: Sequence[Example], regions: list[tuple[int, TrueRegion]]) -> Float[Tensor, "r d"]:
        side, share = self._reader.crop_px, self._reader.params.maskout_frame
        return self._encode(
            regions,
            lambda row, region: crop_region(
                examples[row].pixels, region.box_xyxy, region.mask, side, share, "background"
            ),
        )

    def _encode(
        self, regions: list[tuple[int, TrueRegion]], crop: Callable[[int, TrueRegion], np.ndarray]
    ) -> Float[Tensor, "r d"]:
        return self._reader.crops([crop(row, region) for row, region in regions])


def _mask(region: TrueRegion) -> Bool[np.ndarray, "h w"]:
    assert region.mask is not None  # noqa: S101 - for the type checker: only such regions come here
    return region.mask


def _rows(regions: list[tuple[int, TrueRegion]]) -> Tensor:
    return torch.tensor([row for row, _ in regions])


def _box_share(region: TrueRegion, example: Example) -> Float[np.ndarray, " xyxy"]:
    height, width = example.pixels.shape[:2]
    return np.array(region.box_xyxy) / np.array([width, height, width, height])


def _means(
    right: Bool[np.ndarray, " r"], groups: dict[str, Bool[np.ndarray, " r"]], name: str
) -> Iterator[tuple[str, float]]:
    for suffix, group in groups.items():
        if group.any():
            yield name + suffix, float(right[group].mean())
