"""The tuned model for requests: images with labels, boxes and masks in, embeddings and scores out.

The registered model and the server both use this class, so they give the same numbers. It does not use MLflow.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from umgclip.errors import DataError
from umgclip.geometry.fit import Resize
from umgclip.inference.base_files import restore_base, trained_resize
from umgclip.inference.interface import ANSWER
from umgclip.inference.request import Limits, Prepared, Target, prepare
from umgclip.inference.text_cache import TextCache
from umgclip.model.adapters.adapt import load_tuned
from umgclip.model.clip.images import ImageInput, Placed
from umgclip.model.clip.prompts import fill_template
from umgclip.model.clip.reader import ClipReader, TextsRead
from umgclip.model.clip.readout import pool_boxes, pool_masks_of_one
from umgclip.model.clip.tower import DenseClip
from umgclip.params.section import BOX_SHARE, TEMPLATE

_log = logging.getLogger(__name__)
_TEXTS_KEPT = 1 << 14
_TEXT_BATCH = 256
_UNLIMITED = Limits()


class NotFiniteError(DataError):
    """The model returns infinite values or NaN."""


class _Seen(NamedTuple):
    """The embeddings of one request: image, boxes and masks on the CPU, and the dense map on the device.

    A map that no request of a batch reads has no cells.
    """

    image: Float[Tensor, "d"]
    dense: Float[Tensor, "d h w"]
    boxes: Float[Tensor, "r d"]
    masks: Float[Tensor, "m d"]


class Answerer:
    """A model that answers requests; safe to call from several threads.

    Attributes:
        template: prompt around a label: `{}` is the label, `{a}` its article.
        box_share: share of a box's sides that is read, about its middle.
        target: input size and patch grid of the model, and the concepts for tags of requests without a vocabulary.
        embed_dim: dimension of the embeddings.
        device: device of the forward passes.
        texts: cache of the embeddings of recent labels.
    """

    def __init__(
        self,
        clip: nn.Module,
        *,
        template: str = TEMPLATE,
        box_share: float = BOX_SHARE,
        vocabulary: Sequence[str] = (),
        device: str | None = None,
        resize: Resize = "squash",
    ) -> None:
        """Wrap an open_clip model and move it to the device.

        Args:
            clip: open_clip's model, with its adapter merged in.
            template: prompt around a label.
            box_share: share of a box's sides that is read, about its middle; 1 is the whole box.
            vocabulary: concepts for tags.
            device: a torch device; None: a GPU if there is one.
            resize: how images of another aspect than the model's are fitted.
        """
        self.template = template
        self.box_share = box_share
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self._tower = DenseClip(clip).eval().to(self.device)
        images = ImageInput.of(self._tower, resize=resize)
        self._reader = ClipReader(self._tower, self._tower.tokenizer, images, self.device)
        self._scoring = self._reader.scoring
        height, width = images.size_hw
        interpolation = images.preprocess.interpolation
        self.target = Target((width, height), images.grid_hw, tuple(vocabulary), resize, interpolation)
        self.embed_dim = self._tower.embed_dim
        self.texts = TextCache(_TEXTS_KEPT)
        # never evicted, whatever labels requests bring
        self._registered_prompts = frozenset(fill_template(template, text) for text in vocabulary)
        self._registered: dict[str, Tensor] = {}

    @classmethod
    def load(
        cls,
        base: Path,
        adapter: Path,
        *,
        template: str = TEMPLATE,
        box_share: float = BOX_SHARE,
        vocabulary: Sequence[str] = (),
        device: str | None = None,
    ) -> Answerer:
        """Read a model from the folders that `base` and `train` write, or that a registered version holds.

        Args:
            base: folder of the base; missing weights are downloaded again as its `base.json` names them.
            adapter: folder of the adapter, in peft's format.
            template: prompt around a label.
            box_share: share of a box's sides that is read, about its middle; 1 is the whole box.
            vocabulary: concepts for tags.
            device: a torch device; None: a GPU if there is one.

        Raises:
            DataError: files are missing or do not belong together.
        """
        with restore_base(base) as complete:
            clip = load_tuned(complete, adapter)
        resize = trained_resize(adapter.parent)
        return cls(clip, template=template, box_share=box_share, vocabulary=vocabulary, device=device, resize=resize)

    def computing_in(self, dtype: torch.dtype) -> Answerer:
        """Set the number format of matrix products in the towers and return self; answers stay float32."""
        self._reader = replace(self._reader, dtype=dtype)
        return self

    def prepare(self, request: Mapping[str, Any], *, where: str = "request", limits: Limits = _UNLIMITED) -> Prepared:
        """Check a request and decode its image and masks; this needs no forward pass and may run beside one.

        Args:
            request: fields as in `umgclip.inference.request`.
            where: name of the request in errors.
            limits: the limits that the caller sets.

        Raises:
            LimitError: the request exceeds a limit.
            InputError: a field is unknown, missing or of the wrong kind.
            DataError: the bytes are not an image.
        """
        return prepare(request, self.target, limits, where)

    def prompts(self, request: Prepared) -> list[str]:
        """Return the prompts of a request's labels and vocabulary, each once."""
        return list(
            dict.fromkeys(fill_template(self.template, text) for text in (*request.labels, *request.vocabulary))
        )

    def known(self, prompts: Iterable[str], *, again: bool = False) -> dict[str, Float[Tensor, "d"]]:
        """Return the cached embeddings among the prompts: of the registered vocabulary, and of recent prompts.

        Args:
            prompts: prompts as `prompts` returns them.
            again: whether this look-up repeats an earlier one and shall not be counted.
        """
        wanted = list(prompts)
        registered = {prompt: self._registered[prompt] for prompt in wanted if prompt in self._registered}
        rest = (prompt for prompt in wanted if prompt not in registered)
        return registered | self.texts.get(rest, again=again)

    def lacks(self, prompts: Iterable[str]) -> int:
        """Count the prompts that are not cached."""
        return sum(prompt not in self._registered and prompt not in self.texts for prompt in prompts)

    @property
    def texts_read(self) -> TextsRead:
        """The counts of the prompts that were embedded, and of those that were cut."""
        return self._reader.texts_read

    def embed(self, prompts: Sequence[str]) -> dict[str, Float[Tensor, "d"]]:
        """Embed prompts by one forward pass of the text tower and cache the rows, which are on the CPU.

        The first prompt that is longer than the model's context is logged; `texts_read` counts all.
        """
        warned = self.texts_read.cut > 0
        fresh = dict(zip(prompts, self._reader.texts(prompts), strict=True))
        if self.texts_read.cut and not warned:
            first = self._tower.tokenizer.cut(prompts)[0]
            _log.warning(
                "a label is longer than the model's %d tokens and is cut, %r", self._tower.context_length, first[:80]
            )
        self._registered.update({prompt: row for prompt, row in fresh.items() if prompt in self._registered_prompts})
        self.texts.put({prompt: row for prompt, row in fresh.items() if prompt not in self._registered_prompts})
        return fresh

    @torch.inference_mode()
    def answer(
        self, requests: Sequence[Prepared], prompts: Mapping[str, Float[Tensor, "d"]] | None = None
    ) -> list[dict[str, Any]]:
        """Answer requests in one forward pass of the image tower.

        Args:
            requests: requests from `prepare`.
            prompts: embeddings of their prompts; those that are neither given nor cached are computed.

        Every answer can be written as JSON and has all of these keys; a value that was not requested is None:

        * `embedding`: d numbers, L2-normalised
        * `label_scores`: probability of each of the request's labels; see `Scoring.probabilities`
        * `box_label_scores`, `mask_label_scores`: the same for every box or mask
        * `box_embeddings`, `mask_embeddings`: d numbers per region, L2-normalised
        * `tags`: `{"label", "score"}`, best first; scores are probabilities over the whole vocabulary
        * `similarity_map`: per label a grid (h, w) of cosines with the patches, row by row from the top left

        Raises:
            NotFiniteError: a number of an answer is infinite or NaN.
        """
        if not requests:
            return []
        texts = self._embed_texts(requests, prompts or {})
        return [self._answer(request, seen, texts) for request, seen in zip(requests, self._see(requests), strict=True)]

    def _see(self, requests: Sequence[Prepared]) -> list[_Seen]:
        placed = [Placed(request.pixels, request.cells_hw) for request in requests]
        pixels, valid = self._reader.images.stack(placed)
        if valid is None and not any(map(_reads_patches, requests)):  # the last block then computes one token alone
            images = self._reader.encode_global(pixels).cpu()
            nothing = images.new_empty(0, images.shape[1])
            return [_Seen(image, nothing.T[..., None], nothing, nothing) for image in images]
        image, dense = self._reader.encode(pixels, valid)
        counts = [len(request.boxes) for request in requests]
        owner = torch.arange(len(requests)).repeat_interleave(torch.tensor(counts)).to(self.device)
        shares = torch.from_numpy(np.concatenate([request.boxes for request in requests])).to(self.device)
        boxes = pool_boxes(dense, shares, owner, self.box_share).cpu().split(counts)
        masks = [
            pool_masks_of_one(one, torch.from_numpy(request.masks).to(self.device)).cpu()
            for one, request in zip(dense, requests, strict=True)
        ]
        return [_Seen(*parts) for parts in zip(image.cpu(), dense, boxes, masks, strict=True)]

    def _answer(self, request: Prepared, seen: _Seen, texts: Mapping[str, Tensor]) -> dict[str, Any]:
        answer: dict[str, Any] = dict.fromkeys(ANSWER)
        answer["embedding"] = _numbers(seen.image)
        if request.labels:
            labels = torch.stack([texts[label] for label in request.labels])
            answer["label_scores"] = _numbers(self._scoring.probabilities(seen.image, labels))
            if len(seen.boxes):
                answer["box_label_scores"] = _numbers(self._scoring.probabilities(seen.boxes, labels))
            if len(seen.masks):
                answer["mask_label_scores"] = _numbers(self._scoring.probabilities(seen.masks, labels))
            if request.similarity_map:
                rows, columns = request.cells_hw
                dense = seen.dense[:, :rows, :columns].cpu()
                answer["similarity_map"] = _numbers(torch.einsum("ld,dhw->lhw", labels, dense))
        if request.region_embeddings:
            answer["box_embeddings"] = _numbers(seen.boxes) if len(seen.boxes) else None
            answer["mask_embeddings"] = _numbers(seen.masks) if len(seen.masks) else None
        if request.tags:
            answer["tags"] = self._tags(request, seen.image, texts)
        return answer

    def _tags(self, request: Prepared, image: Tensor, texts: Mapping[str, Tensor]) -> list[dict[str, Any]]:
        scores = self._scoring.probabilities(image, torch.stack([texts[concept] for concept in request.vocabulary]))
        best = scores.topk(min(request.tags, len(scores)))
        return [
            {"label": request.vocabulary[index], "score": score}
            for score, index in zip(_numbers(best.values), best.indices.tolist(), strict=True)
        ]

    def _embed_texts(self, requests: Sequence[Prepared], given: Mapping[str, Tensor]) -> dict[str, Float[Tensor, "d"]]:
        """Embed the texts of requests in their prompts, and return the rows by text."""
        texts = dict.fromkeys(text for request in requests for text in (*request.labels, *request.vocabulary))
        prompts = {text: fill_template(self.template, text) for text in texts}
        rows = dict(given)
        rows |= self.known(dict.fromkeys(prompt for prompt in prompts.values() if prompt not in rows))
        missing = [prompt for prompt in dict.fromkeys(prompts.values()) if prompt not in rows]
        for start in range(0, len(missing), _TEXT_BATCH):
            rows |= self.embed(missing[start : start + _TEXT_BATCH])
        return {text: rows[prompt] for text, prompt in prompts.items()}


def _reads_patches(request: Prepared) -> bool:
    """Return whether the answer needs more than the embedding of the image."""
    return bool(len(request.boxes) or len(request.masks) or request.similarity_map)


def _numbers(values: Tensor) -> Any:  # noqa: ANN401 - nested lists, as deep as the tensor
    """Convert a tensor to nested lists, for JSON.

    Raises:
        NotFiniteError: a value is infinite or NaN.
    """
    if not values.isfinite().all():
        raise NotFiniteError("the model answers with numbers that are infinite or none: its weights are damaged")
    return values.tolist()
