"""The tuned model as something that answers: images with labels, boxes and masks in, embeddings and scores out.

No MLflow here: the registered model and the server both use this class, so they give the same numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

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
from umgclip.model.clip.reader import ClipReader
from umgclip.model.clip.readout import pool_boxes, pool_masks_of_one
from umgclip.model.clip.tower import DenseClip
from umgclip.params.section import BOX_SHARE, TEMPLATE

_TEXTS_KEPT = 1 << 14
_TEXT_BATCH = 256
_UNLIMITED = Limits()


class NotFiniteError(DataError):
    """The model gives numbers that are none."""


class _Seen(NamedTuple):
    """One request's share of a forward, on the processor: its image, dense map, boxes and masks as embeddings."""

    image: Float[Tensor, "d"]
    dense: Float[Tensor, "d h w"]
    boxes: Float[Tensor, "r d"]
    masks: Float[Tensor, "m d"]


class Answerer:
    """Base weights with the adapter merged in; safe to call from several threads.

    Attributes:
        template: prompt around a label: `{}` is the label, `{a}` its article.
        box_share: what is read of a box, of its sides about its middle.
        target: input size and patch grid of the model, and the concepts that tags are chosen from when a request
            brings none.
        embed_dim: dimension of the embeddings.
        device: where forwards run.
        texts: embeddings of labels asked for lately.
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
        """Take an open_clip model.

        Args:
            clip: open_clip's `CLIP` with whatever adapter merged in.
            template: prompt around a label.
            box_share: what is read of a box, of its sides about its middle; 1 is all.
            vocabulary: concepts for tags.
            device: a torch device; a GPU where there is one when None.
            resize: what becomes of an aspect that is not the model's.
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
        # kept for good: the labels of strangers must not push them out
        self._own_prompts = frozenset(fill_template(template, text) for text in vocabulary)
        self._own: dict[str, Tensor] = {}

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
            base: folder of the base; without weights they are fetched again by what its `base.json` names.
            adapter: peft's folder.
            template: prompt around a label.
            box_share: what is read of a box, of its sides about its middle; 1 is all.
            vocabulary: concepts for tags.
            device: a torch device; a GPU where there is one when None.

        Raises:
            DataError: files are missing or do not belong together.
        """
        with restore_base(base) as complete:
            clip = load_tuned(complete, adapter)
        resize = trained_resize(adapter.parent)
        return cls(clip, template=template, box_share=box_share, vocabulary=vocabulary, device=device, resize=resize)

    def computing_in(self, dtype: torch.dtype) -> Answerer:
        """The same, its towers' matrix products in another number format from now on; answers stay float32."""
        self._reader = replace(self._reader, dtype=dtype)
        return self

    def prepare(self, request: Mapping[str, Any], *, where: str = "request", limits: Limits = _UNLIMITED) -> Prepared:
        """Check a request, decode its image and masks; needs no forward, so it may run beside one.

        Args:
            request: fields as in `umgclip.inference.request`.
            where: what to call the request in an error.
            limits: what the caller allows.

        Raises:
            LimitError: more than the limits allow.
            InputError: a field is unknown, missing or not of its kind.
            DataError: the bytes are no image.
        """
        return prepare(request, self.target, limits, where)

    def prompts(self, request: Prepared) -> list[str]:
        """The texts of a request in their prompt, each once."""
        return list(
            dict.fromkeys(fill_template(self.template, text) for text in (*request.labels, *request.vocabulary))
        )

    def known(self, prompts: Iterable[str], *, again: bool = False) -> dict[str, Float[Tensor, "d"]]:
        """Embeddings of those of the prompts that are remembered: the registered vocabulary's, and those used lately.

        Args:
            prompts: as `prompts` gives them.
            again: whether they were asked for before, and should not be counted.
        """
        wanted = list(prompts)
        own = {prompt: self._own[prompt] for prompt in wanted if prompt in self._own}
        return own | self.texts.get((prompt for prompt in wanted if prompt not in own), again=again)

    def lacks(self, prompts: Iterable[str]) -> int:
        """How many of the prompts are not remembered."""
        return sum(prompt not in self._own and prompt not in self.texts for prompt in prompts)

    def embed(self, prompts: Sequence[str]) -> dict[str, Float[Tensor, "d"]]:
        """Embeddings of prompts, on the processor, by one forward of the text tower; they are remembered."""
        fresh = dict(zip(prompts, self._reader.texts(prompts), strict=True))
        self._own.update({prompt: row for prompt, row in fresh.items() if prompt in self._own_prompts})
        self.texts.put({prompt: row for prompt, row in fresh.items() if prompt not in self._own_prompts})
        return fresh

    @torch.inference_mode()
    def answer(
        self, requests: Sequence[Prepared], prompts: Mapping[str, Float[Tensor, "d"]] | None = None
    ) -> list[dict[str, Any]]:
        """Answer requests in one forward of the image tower.

        Args:
            requests: prepared.
            prompts: embeddings of their prompts; those that are missing and not remembered cost forwards of the text
                tower.

        Every answer is JSON and has all of these keys; what was not asked for is None:

        * `embedding`: d numbers, L2-normalised
        * `label_scores`: probability of each of the request's labels; see `Scoring.probabilities`
        * `box_label_scores`, `mask_label_scores`: the same for every box or mask
        * `box_embeddings`, `mask_embeddings`: d numbers a region, L2-normalised
        * `tags`: `{"label", "score"}`, best first; scores are probabilities over the whole vocabulary
        * `similarity_map`: per label a grid (h, w) of cosines with the patches, row by row from the top left

        Raises:
            NotFiniteError: a number of an answer is infinite or none.
        """
        if not requests:
            return []
        texts = self._embed_texts(requests, prompts or {})
        return [self._answer(request, seen, texts) for request, seen in zip(requests, self._see(requests), strict=True)]

    def _see(self, requests: Sequence[Prepared]) -> list[_Seen]:
        placed = [Placed(request.pixels, request.cells_hw) for request in requests]
        image, dense = self._reader.encode(*self._reader.images.stack(placed))
        counts = [len(request.boxes) for request in requests]
        owner = torch.arange(len(requests)).repeat_interleave(torch.tensor(counts)).to(self.device)
        shares = torch.cat([request.boxes for request in requests]).to(self.device)
        boxes = pool_boxes(dense, shares, owner, self.box_share).cpu().split(counts)
        masks = [
            pool_masks_of_one(one, request.masks.to(self.device)).cpu()
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
        """Embeddings of texts, by the text."""
        texts = dict.fromkeys(text for request in requests for text in (*request.labels, *request.vocabulary))
        prompts = {text: fill_template(self.template, text) for text in texts}
        rows = dict(given)
        rows |= self.known(dict.fromkeys(prompt for prompt in prompts.values() if prompt not in rows))
        missing = [prompt for prompt in dict.fromkeys(prompts.values()) if prompt not in rows]
        for start in range(0, len(missing), _TEXT_BATCH):
            rows |= self.embed(missing[start : start + _TEXT_BATCH])
        return {text: rows[prompt] for text, prompt in prompts.items()}


def _numbers(values: Tensor) -> Any:  # noqa: ANN401 - lists in lists, as deep as the tensor
    """A tensor as lists, which JSON can hold.

    Raises:
        NotFiniteError: a value is infinite or no number.
    """
    if not values.isfinite().all():
        raise NotFiniteError("the model answers with numbers that are infinite or none: its weights are damaged")
    return values.tolist()
