"""A model with the classes of a benchmark: images, crops and class names to embeddings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own habit
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from umgclip.errors import InputError
from umgclip.evaluate.examples import Classes, Example, TrueRegion
from umgclip.evaluate.features import FeatureCache
from umgclip.evaluate.templates import template_set
from umgclip.model.clip.images import ImageInput
from umgclip.model.clip.prompts import fill_template
from umgclip.model.clip.reader import ClipReader, Scoring, Tokenize, Tower, without_padding
from umgclip.model.clip.tower import DenseClip
from umgclip.model.clip.vision.encoder import DensePath
from umgclip.model.clip.vision.peers import Profile
from umgclip.model.segmenter.segments import Segments
from umgclip.params import EvaluateParams

Dense = Float[Tensor, "b d h w"] | list[Float[Tensor, "d _ _"]]


@dataclass(frozen=True)
class Seen:
    """L2-normalised global and dense embeddings of a batch of images.

    Each dense map covers exactly its image; with padding, maps differ in size. `segments` are those of a decoder, if
    there is one.
    """

    image: Float[Tensor, "b d"]
    dense: Dense
    segments: list[Segments] | None = None


class Reader:
    """A model with the embedded class names of a benchmark.

    Attributes:
        things: embeddings of the names of things.
        stuff: embeddings of the names of stuff.
        clip: the reader of the model.
    """

    things: Float[Tensor, "things d"]
    stuff: Float[Tensor, "stuff d"]

    def __init__(
        self,
        tower: Tower,
        tokenize: Tokenize,
        classes: Classes,
        params: EvaluateParams,
        images: ImageInput | None = None,
        cache: FeatureCache | None = None,
    ) -> None:
        """Embed the names of the classes.

        Args:
            tower: the model.
            tokenize: its tokenizer.
            classes: the classes of the benchmark.
            params: the section `evaluate`, with its sides in pixels.
            images: how images reach the model; None: a square of `params.image_px` with CLIP's mean and deviation.
            cache: a cache of features between runs; None: no cache.
        """
        self.classes = classes
        self.params = params
        self.images = images or ImageInput((params.image_px or 0, params.image_px or 0))
        self.clip = ClipReader(tower, tokenize, self.images)
        self._cache = cache
        self._thing_templates = template_set("thing_templates", params.thing_templates, classes.templates)
        self._stuff_templates = template_set("stuff_templates", params.stuff_templates, classes.templates)
        self.things = self._ensemble(classes.things, self._thing_templates)
        self.stuff = self._ensemble(classes.stuff, self._stuff_templates)

    @property
    def crop_px(self) -> int:
        """Side of the crop of a region, in pixels."""
        return self.images.size_hw[0] if self.params.crop_px is None else self.params.crop_px

    @property
    def all_classes(self) -> Float[Tensor, "classes d"]:
        """Embeddings of the names of things, then stuff."""
        return torch.cat([self.things, self.stuff])

    @property
    def scoring(self) -> Scoring:
        """The rule by which the model turns cosines into probabilities."""
        return self.clip.scoring

    def probabilities(self, embeddings: Float[Tensor, "rows d"]) -> Float[Tensor, "rows things"]:
        """Return the probability of each thing for each embedding; see `Scoring.probabilities`."""
        return self.scoring.probabilities(embeddings, self.things)

    @torch.inference_mode()
    def texts(self, texts: Sequence[str]) -> Float[Tensor, "t d"]:
        """Embed texts, each distinct text once; in lower case if `evaluate.lower_case` is set."""
        if self.params.lower_case:
            texts = [text.lower() for text in texts]
        unique = list(dict.fromkeys(texts))
        size = self.params.batch
        parts = [self.clip.texts(unique[i : i + size]) for i in range(0, len(unique), size)]
        row = {text: i for i, text in enumerate(unique)}
        return torch.cat(parts)[[row[text] for text in texts]]

    def cut(self, texts: Sequence[str]) -> list[str]:
        """Return the texts of which the model sees only the beginning, each once; none if the tokenizer cannot tell."""
        cut = getattr(self.clip.tokenize, "cut", None)
        return [] if cut is None else list(cut(texts))

    @torch.inference_mode()
    def see(self, examples: Sequence[Example]) -> Seen:
        """Embed whole images, fitted to the model's input as `evaluate.resize` says."""
        placed = [self.images.place(example.pixels) for example in examples]
        pixels, valid = self.images.stack(placed)

        def encode() -> dict[str, Tensor]:
            return dict(zip(("image", "dense"), self.clip.encode(pixels, valid), strict=True))

        features = self._cached("image", (pixels, valid), encode)
        dense = features["dense"]
        return Seen(features["image"], dense if valid is None else without_padding(dense, placed))

    @torch.inference_mode()
    def dense(self, examples: Sequence[Example], path: DensePath) -> Dense:
        """Return dense maps of whole images by another path through the model; see `DenseClip.encode_dense`."""
        placed = [self.images.place(example.pixels) for example in examples]
        pixels, valid = self.images.stack(placed)
        peer = self._peer()
        dense = self._cached(path, (pixels, valid), lambda: {"dense": peer.encode_dense(pixels, path, valid)})["dense"]
        return dense if valid is None else without_padding(dense, placed)

    @torch.inference_mode()
    def foveal(
        self,
        examples: Sequence[Example],
        box_shares: Float[Tensor, "r xyxy"],
        image_of_box: Int[Tensor, "r"],
        peak: float,
        profile: Profile = "box",
    ) -> Float[Tensor, "r d"]:
        """Embed whole images that attend to a box each; see `DenseClip.encode_foveal`.

        Raises:
            InputError: images are padded; names the field.
        """
        placed = [self.images.place(example.pixels) for example in examples]
        pixels, valid = self.images.stack(placed)
        if valid is not None:
            raise InputError(
                "evaluate.readouts: foveal: expected evaluate.resize squash, got pad; change one of the two"
            )
        return self._peer().encode_foveal(pixels, box_shares, image_of_box, peak, profile)

    @torch.inference_mode()
    def dense_of_windows(self, windows: UInt8[np.ndarray, "n side side 3"]) -> Float[Tensor, "n d h w"]:
        """Return the dense maps of windows cut out of an image."""
        size = self.params.batch
        parts = [self.clip.crop_input(windows[i : i + size]) for i in range(0, len(windows), size)]
        return torch.cat([self.clip.encode(part)[1] for part in parts])

    def counted(self, example: Example) -> list[TrueRegion]:
        """Return the things of an image to classify; crowds only if `evaluate.crowd` is `keep`."""
        return [region for region in example.things if self.params.crowd == "keep" or not region.is_crowd]

    def protocol(self) -> dict[str, Any]:
        """Return how whole images reach the model, on which every benchmark depends."""
        height, width = self.images.size_hw
        preprocess = self.images.preprocess
        mean, std = (" ".join(f"{v:.6g}" for v in values) for values in (preprocess.mean, preprocess.std))
        return {
            "resolution": f"{width} x {height}",
            "resize": self.images.resize,
            "crop": "none",
            "interpolation": f"{preprocess.interpolation}, antialiased",
            "normalisation": f"mean {mean}, std {std}",
            "score": "cosine",
            **({"texts": "lower case"} if self.params.lower_case else {}),
            **({"preset": self.params.protocol} if self.params.protocol else {}),
        }

    def thing_protocol(self) -> dict[str, Any]:
        """Return the number of things and their prompts."""
        return {"classes": len(self.classes.things), "templates": " | ".join(self._thing_templates)}

    def stuff_protocol(self) -> dict[str, Any]:
        """Return the number of stuff classes and their prompts."""
        return {"stuff_classes": len(self.classes.stuff), "stuff_templates": " | ".join(self._stuff_templates)}

    def _peer(self) -> DenseClip:
        """Return the model as a `DenseClip`, for read-outs that need more than a `Tower`."""
        tower = self.clip.tower
        if not isinstance(tower, DenseClip):
            raise InputError(f"evaluate.readouts: expected a DenseClip for this read-out, got {type(tower)}")
        return tower

    @torch.inference_mode()
    def crops(self, crops: Sequence[UInt8[np.ndarray, "p p 3"]]) -> Float[Tensor, "r d"]:
        """Embed crops of one size by their global embeddings."""
        size = 4 * self.params.batch
        parts = [self.clip.crop_input(crops[i : i + size]) for i in range(0, len(crops), size)]
        return torch.cat([self._cached("crop", (part,), partial(self._global, part))["image"] for part in parts])

    def _global(self, pixels: Float[Tensor, "n 3 height width"]) -> dict[str, Tensor]:
        return {"image": self.clip.encode_global(pixels)}

    def _cached(
        self, kind: str, inputs: tuple[Tensor | None, ...], compute: Callable[[], dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        return compute() if self._cache is None else self._cache.get(kind, inputs, compute)

    def _ensemble(self, names: Sequence[str], templates: Sequence[str]) -> Float[Tensor, "n d"]:
        if not names:
            return self.texts([""])[:0]
        prompts = [self.classes.prompt_name(name) for name in names]
        each = [self.texts([fill_template(template, name) for name in prompts]) for template in templates]
        return F.normalize(torch.stack(each).mean(0), dim=-1)
