"""The model alone, for people who want embeddings and no pipeline: `umgclip.load(...)`."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own habit
from jaxtyping import Bool, Float, UInt8
from PIL import Image
from torch import Tensor, nn

from umgclip.data.concepts import with_article
from umgclip.errors import InputError
from umgclip.geometry.fit import Resize
from umgclip.geometry.masks import to_grid
from umgclip.io.images import decode_image
from umgclip.model.images import ImageInput
from umgclip.model.readout import pool_boxes, pool_masks
from umgclip.model.tower import DenseClip
from umgclip.register.source import open_model
from umgclip.section import BOX_SHARE

ImageLike = str | PathLike[str] | bytes | Image.Image | np.ndarray
Boxes = Sequence[Sequence[float | int]] | np.ndarray
_BATCH = 32


def load(
    source: str | PathLike[str],
    adapter: str | PathLike[str] | None = None,
    *,
    device: str | None = None,
    image_px: int | None = None,
    resize: Resize | None = None,
    box_share: float | None = None,
) -> Model:
    """Load a tuned model, or a base.

    Args:
        source: `models:/umgclip@champion` or `models:/umgclip/3` of the registry that the environment names, or a
            folder: `artifacts` of the pipeline, a base, what `umgclip export --to open_clip` wrote, or the files of a
            registered version.
        adapter: folder of an adapter for a base.
        device: a torch device; a GPU where there is one when None.
        image_px: side of the canvas that images are put on, for finer maps; the model's own when None.
        resize: `squash` or `pad`; as in training when None.
        box_share: what is read of a box, of its sides about its middle; as the version was registered, or 0.7, when
            None.

    Raises:
        InputError: there is no such model.
        DataError: files are missing or do not belong together.
        TrackingError: the registry does not answer.
    """
    with open_model(_place(source), None if adapter is None else Path(adapter)) as found:
        return Model(
            found.clip,
            template=found.template,
            device=device,
            image_px=image_px,
            resize=resize or found.resize,
            box_share=found.box_share if box_share is None else box_share,
        )


def _place(source: str | PathLike[str]) -> str | Path:
    return source if isinstance(source, str) and source.startswith("models:/") else Path(source)


class Model:
    """Embeds images, texts, boxes and masks into one space; every embedding is a float32 row of length 1.

    An image is a path, the bytes of a JPEG, PNG or WebP file, a PIL image, or an RGB array (height, width, 3) of
    uint8. Boxes are `x0, y0, x1, y1` in pixels of the upright image.

    Attributes:
        embed_dim: dimension of the space.
        template: prompt around a label: `{}` is the label, `{a}` its article.
        box_share: what is read of a box, of its sides about its middle.
        tower: the network, for what is not offered here.
    """

    def __init__(
        self,
        clip: nn.Module,
        *,
        template: str = "{a} {}",
        device: str | None = None,
        image_px: int | None = None,
        resize: Resize = "squash",
        box_share: float = BOX_SHARE,
    ) -> None:
        """Take an open_clip model; see `load` for the arguments."""
        self.tower = DenseClip(clip).eval().to(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.template = template
        if not 0 < box_share <= 1:
            raise InputError(f"box_share: expected more than 0 and at most 1, got {box_share}")
        self.box_share = box_share
        self.embed_dim = self.tower.embed_dim
        self._images = ImageInput.of(self.tower, image_px, resize)
        self._device = next(self.tower.parameters()).device
        self._tokenize = self.tower.tokenizer

    def embed_images(self, images: Sequence[ImageLike], batch: int = _BATCH) -> Float[np.ndarray, "n d"]:
        """Global embeddings.

        Args:
            images: any number; they are decoded and embedded in batches, so they need not fit into memory as pixels.
            batch: images a forward.
        """
        rows = [self._see(images[start : start + batch])[0] for start in range(0, len(images), batch)]
        return torch.cat(rows).numpy() if rows else np.zeros((0, self.embed_dim), np.float32)

    @torch.inference_mode()
    def embed_texts(self, texts: Sequence[str], batch: int = 256) -> Float[np.ndarray, "n d"]:
        """Text embeddings, of the texts as they are; labels get their prompt in the methods that take labels."""
        rows = [
            self.tower.encode_text(self._tokenize(list(texts[start : start + batch])).to(self._device)).float().cpu()
            for start in range(0, len(texts), batch)
        ]
        return torch.cat(rows).numpy() if rows else np.zeros((0, self.embed_dim), np.float32)

    def embed_boxes(self, image: ImageLike, boxes_xyxy: Boxes) -> Float[np.ndarray, "r d"]:
        """Embeddings of regions by box.

        Raises:
            InputError: a box is empty or lies outside the image; names it.
        """
        pixels = read_image(image)
        boxes = _checked_boxes(boxes_xyxy, pixels)
        image_of_box = torch.zeros(len(boxes), dtype=torch.long)
        return pool_boxes(self._dense(pixels)[None], boxes, image_of_box, self.box_share).numpy()

    def embed_masks(self, image: ImageLike, masks: Sequence[np.ndarray] | np.ndarray) -> Float[np.ndarray, "r d"]:
        """Embeddings of regions by mask, each an array of bool of the image's height and width.

        Raises:
            InputError: a mask is empty or not of the image's size; names it.
        """
        pixels = read_image(image)
        dense = self._dense(pixels)
        cells = [
            to_grid(_checked_mask(mask, pixels, i), (dense.shape[1], dense.shape[2])) for i, mask in enumerate(masks)
        ]
        weights = torch.from_numpy(np.stack(cells)) if cells else torch.zeros(0, *dense.shape[1:])
        return pool_masks(dense[None], weights, torch.zeros(len(cells), dtype=torch.long)).numpy()

    def classify(
        self,
        image: ImageLike,
        labels: Sequence[str],
        *,
        boxes_xyxy: Boxes | None = None,
        masks: Sequence[np.ndarray] | np.ndarray | None = None,
    ) -> Float[np.ndarray, "r labels"]:
        """Probabilities of the labels: of boxes, or of masks, or of the whole image as one row.

        Of a model that was trained with a softmax each row sums to 1. Of one trained with a sigmoid (SigLIP) each label
        is a question of its own.

        Raises:
            InputError: no labels, or both boxes and masks.
        """
        if not labels or (boxes_xyxy is not None and masks is not None):
            raise InputError("classify: expected labels, and boxes or masks or neither; got no labels or both")
        if boxes_xyxy is not None:
            regions = self.embed_boxes(image, boxes_xyxy)
        else:
            regions = self.embed_images([image]) if masks is None else self.embed_masks(image, masks)
        with torch.inference_mode():
            logits = self.tower.logit_scale().cpu() * torch.from_numpy(regions @ self._prompts(labels).T)
            bias = self.tower.logit_bias()
            return (logits.softmax(1) if bias is None else (logits + bias.cpu()).sigmoid()).numpy()

    def similarity_map(self, image: ImageLike, labels: Sequence[str]) -> Float[np.ndarray, "labels height width"]:
        """Cosine of each pixel's place with each label, interpolated to the size of the image."""
        pixels = read_image(image)
        cells = torch.einsum("ld,dhw->lhw", torch.from_numpy(self._prompts(labels)), self._dense(pixels))
        size = (pixels.shape[0], pixels.shape[1])
        return F.interpolate(cells[None], size, mode="bilinear", align_corners=False)[0].numpy()

    def dense(self, image: ImageLike) -> Float[np.ndarray, "d h w"]:
        """Embeddings of the places of an image, one a cell of the model's grid."""
        return self._dense(read_image(image)).numpy()

    def _prompts(self, labels: Sequence[str]) -> Float[np.ndarray, "n d"]:
        prompts = [
            self.template.replace("{a}", with_article(label).partition(" ")[0]).replace("{}", label) for label in labels
        ]
        return self.embed_texts(prompts)

    def _dense(self, pixels: UInt8[np.ndarray, "_ _ 3"]) -> Float[Tensor, "d h w"]:
        return self._see([pixels])[1][0]

    @torch.inference_mode()
    def _see(self, images: Sequence[ImageLike]) -> tuple[Float[Tensor, "n d"], list[Float[Tensor, "d _ _"]]]:
        """Global embeddings, and the dense map of each image without its padding."""
        placed = [self._images.place(read_image(image)) for image in images]
        pixels, valid = self._images.stack(placed)
        if valid is not None:
            valid = valid.to(self._device)
        image, dense = (out.float().cpu() for out in self.tower.encode_image(pixels.to(self._device), valid))
        return image, [one[:, : cells[0], : cells[1]] for one, (_, cells) in zip(dense, placed, strict=True)]


def read_image(image: ImageLike) -> UInt8[np.ndarray, "height width 3"]:
    """An image as upright RGB pixels.

    Raises:
        InputError: not a kind of image, or no such file.
        DataError: the bytes are no image.
    """
    if isinstance(image, np.ndarray):
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
            raise InputError(
                f"image: expected an RGB array (height, width, 3) of uint8, got {image.shape} {image.dtype}"
            )
        return image
    if isinstance(image, Image.Image):
        return np.asarray(image.convert("RGB"))
    if isinstance(image, bytes):
        return decode_image(image, where="image")
    path = Path(image)
    if not path.is_file():
        raise InputError(f"image: expected the path of an image file, got {path}")
    return decode_image(path.read_bytes(), where=str(path))


def _checked_boxes(boxes_xyxy: Boxes, pixels: np.ndarray) -> Float[Tensor, "r 4"]:
    """Boxes cut to the image, as shares of its sides."""
    height, width = pixels.shape[:2]
    boxes = np.asarray(boxes_xyxy, np.float64).reshape(-1, 4) if len(boxes_xyxy) else np.zeros((0, 4))
    inside = np.clip(boxes, 0, [width, height, width, height])
    for index, (x0, y0, x1, y1) in enumerate(inside):
        if not (x0 < x1 and y0 < y1):
            raise InputError(
                f"boxes_xyxy[{index}]: expected x0 < x1 and y0 < y1 within {width} x {height} pixels, "
                f"got {boxes[index].tolist()}"
            )
    return torch.from_numpy((inside / [width, height, width, height]).astype(np.float32))


def _checked_mask(mask: np.ndarray, pixels: np.ndarray, index: int) -> Bool[np.ndarray, "h w"]:
    found = np.asarray(mask)
    if found.shape != pixels.shape[:2]:
        raise InputError(f"masks[{index}]: expected the image's shape {pixels.shape[:2]}, got {found.shape}")
    if not found.any():
        raise InputError(f"masks[{index}]: expected at least one pixel inside, got an empty mask")
    return found.astype(bool)
