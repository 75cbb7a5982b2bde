"""SAM 2: masks for given boxes; as a proposer, a mask for everything that a grid of points hits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import transformers
from jaxtyping import Bool
from PIL import Image

from umgclip.annotate.models.foundation.batching import run_batches
from umgclip.annotate.models.foundation.masking import refine_things, with_mask, with_mask_at_point
from umgclip.annotate.models.foundation.pictures import pictures
from umgclip.annotate.models.foundation.weights import load
from umgclip.annotate.proposal import Pixels, Proposal
from umgclip.annotate.rejected import Failure
from umgclip.geometry import masks as mask_ops
from umgclip.model.clip.placement import placement
from umgclip.params.annotators import Sam2Params

_BOXES = 16  # boxes of one image in a forward pass: each mask is computed at the size of the image


class Sam2:
    """A masker and proposer, which encodes images in batches, once for all their boxes."""

    def __init__(self, params: Sam2Params, where: str) -> None:
        """Load the weights.

        Raises:
            InputError: they are missing or do not fit.
        """
        self._params = params
        _, self._encoder_dtype = placement(params, where)
        full = params.model_copy(update={"dtype": "fp32"})
        self._loaded = load(full, where, "Sam2Model", "Sam2Processor")
        self.name = self._loaded.name
        self._everything: Any = None

    def refine_images(
        self, images: Sequence[Pixels], proposals: Sequence[list[Proposal]]
    ) -> list[list[Proposal] | Failure]:
        """Return the proposals with a mask for every thing; stuff stays as it is.

        The prompt is the region's box, or the point at which a model pointed. A mask whose box has a lower IoU with the
        region's than `min_box_iou` is not taken, nor one that misses the point.
        """
        return refine_things(images, proposals, self._params.batch, self._refine)

    def _refine(self, batch: Sequence[tuple[Pixels, list[Proposal]]]) -> list[list[Proposal]]:
        """Return the things of each image, with the masks that fit them."""
        processor, model = self._loaded.processor, self._loaded.model
        inputs = processor(images=pictures([pixels for pixels, _ in batch]), return_tensors="pt")
        with self._half():
            levels = model.get_image_embeddings(self._loaded.on_device(inputs)["pixel_values"])
        refined: list[list[Proposal]] = []
        for row, (_, things) in enumerate(batch):
            of_image = [level[row : row + 1].float() for level in levels]
            size_hw = inputs["original_sizes"][row]
            drawn = dict[int, Proposal]()
            for at_point in (False, True):
                rows = [i for i, p in enumerate(things) if (p.point_xy is not None) == at_point]
                for start in range(0, len(rows), _BOXES):
                    some = rows[start : start + _BOXES]
                    draw = self._masks_at_points if at_point else self._masks
                    masks = draw(of_image, size_hw, [things[i] for i in some])
                    drawn |= {i: self._taken(things[i], mask) for i, mask in zip(some, masks, strict=True)}
            refined.append([drawn[i] for i in range(len(things))])
        return refined

    def _taken(self, proposal: Proposal, mask: Bool[np.ndarray, "h w"]) -> Proposal:
        if proposal.point_xy is not None:
            return with_mask_at_point(proposal, mask, self.name)
        return with_mask(proposal, mask, self.name, self._params.min_box_iou)

    def _half(self) -> torch.autocast:
        """Compute costly parts in the precision of the params; coordinates and masks stay in float32."""
        device, dtype = self._loaded.device.type, self._encoder_dtype
        return torch.autocast(device, dtype, enabled=dtype != torch.float32)

    def _masks(
        self, levels: list[torch.Tensor], size_hw: torch.Tensor, proposals: Sequence[Proposal]
    ) -> Bool[np.ndarray, "n h w"]:
        sizes = torch.as_tensor(size_hw)[None]
        boxes = [[list(p.box_xyxy) for p in proposals]]
        prompt = self._loaded.processor(input_boxes=boxes, original_sizes=sizes, return_tensors="pt")
        outputs = self._loaded.model(
            image_embeddings=levels,
            input_boxes=prompt["input_boxes"].to(self._loaded.device, torch.float32),
            multimask_output=False,
        )
        (masks,) = self._loaded.processor.post_process_masks(outputs.pred_masks.float().cpu(), sizes)
        return masks[:, 0].numpy().astype(bool)

    def _masks_at_points(
        self, levels: list[torch.Tensor], size_hw: torch.Tensor, proposals: Sequence[Proposal]
    ) -> Bool[np.ndarray, "n h w"]:
        """Return the best of the three masks that the model draws for each point, by its own judgement."""
        sizes = torch.as_tensor(size_hw)[None]
        points = [[[list(p.point_xy or ())] for p in proposals]]
        labels = [[[1] for _ in proposals]]
        prompt = self._loaded.processor(
            input_points=points, input_labels=labels, original_sizes=sizes, return_tensors="pt"
        )
        outputs = self._loaded.model(
            image_embeddings=levels,
            input_points=prompt["input_points"].to(self._loaded.device, torch.float32),
            input_labels=prompt["input_labels"].to(self._loaded.device),
            multimask_output=True,
        )
        (masks,) = self._loaded.processor.post_process_masks(outputs.pred_masks.float().cpu(), sizes)
        best = outputs.iou_scores[0].float().argmax(-1).cpu()
        return masks[torch.arange(len(best)), best].numpy().astype(bool)

    def propose_images(self, images: Sequence[Pixels], captions: Sequence[str]) -> list[list[Proposal] | Failure]:
        """Propose a mask for everything that a grid of points hits; captions are ignored."""
        del captions
        return run_batches(images, 1, lambda batch: [self._all(pixels) for pixels in batch])

    def _all(self, pixels: Pixels) -> list[Proposal]:
        if self._everything is None:
            self._everything = transformers.pipeline(
                "mask-generation", model=self._loaded.model, image_processor=self._loaded.processor.image_processor,
                device=self._loaded.device, dtype=self._loaded.dtype, trust_remote_code=False,
            )  # fmt: skip
        out = self._looked(pictures([pixels])[0], self._params.points_per_batch)
        proposals = []
        for mask, score in zip(out["masks"], out["scores"], strict=True):
            drawn = np.asarray(mask, bool)
            if drawn.any():
                proposal = Proposal(mask_ops.encode(drawn), float(np.clip(float(score), 0, 1)))
                proposals.append(replace(proposal, source=self.name, mask_source=self.name))
        return sorted(proposals, key=lambda p: -p.score)[: self._params.most]

    def _looked(self, picture: Image.Image, points: int) -> dict[str, Any]:
        """Return masks and scores, with fewer points at once where there is no memory for so many.

        Raises:
            torch.OutOfMemoryError: one point alone has no room.
        """
        params = self._params
        try:
            with self._half():
                return self._everything(
                    picture, points_per_batch=points, points_per_crop=params.points_per_side,
                    pred_iou_thresh=params.pred_iou, stability_score_thresh=params.stability,
                )  # fmt: skip
        except torch.OutOfMemoryError:
            if points == 1:
                raise
        # outside the handler, because there the traceback keeps the tensors alive
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return self._looked(picture, points // 2)
