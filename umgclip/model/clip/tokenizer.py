"""Texts to token ids: CLIP's byte pairs, which open_clip brings along, or the files beside a model (SigLIP)."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from umgclip import extras
from umgclip.errors import InputError
from umgclip.model.clip.layout import TOKENIZER_FILES
from umgclip.model.clip.light_open_clip import open_clip
from umgclip.model.clip.no_code import no_remote_code
from umgclip.safe_text import line_of

_TEXTS_KEPT = 1 << 16
# what a model's config may say to a Hugging Face tokenizer; anything else (`trust_remote_code`) could run its files
_ALLOWED_OPTIONS = ("clean", "strip_sep_token", "language")
_ALLOWED_OF_CLIP = ("clean", "additional_special_tokens", "reduction_mask")
# what libraries raise for files and options that they do not check
_UNUSABLE = (OSError, ValueError, RuntimeError, TypeError, LookupError, AttributeError, AssertionError)
_PROBES = ("cat", "dog", "tree", "house", "猫", "犬", "кот", "كلب", "7")  # of many languages; a tokenizer knows some
_ENDS = 2  # tokens that mark where a text begins and ends


class Tokenizer:
    """A model's tokenizer at its own context length; texts seen lately are remembered."""

    def __init__(
        self, context_length: int, text_cfg: Mapping[str, Any] | None = None, folder: Path | None = None
    ) -> None:
        """Take CLIP's byte pairs, or what the model's text config names.

        Args:
            context_length: longest text in tokens.
            text_cfg: `text_cfg` of open_clip's model config.
            folder: where a tokenizer that open_clip does not bring along has its files. They are read at once, if
                they are there; if not, the first text that comes is refused.
        """
        self._length = context_length
        config = text_cfg or {}
        self._name = str(config.get("hf_tokenizer_name") or "")
        self._missing = ""
        if not self._name:
            options = _options(config, _ALLOWED_OF_CLIP)
            try:
                self._tokenize: Any = byte_pairs(context_length, **options)
            except _UNUSABLE as error:
                raise InputError(f"tokenizer: tokenizer_kwargs: open_clip refuses them: {line_of(error)}") from error
        elif folder is not None and any((folder / name).is_file() for name in TOKENIZER_FILES):
            self._tokenize = read_tokenizer(str(folder), config, context_length)
        else:
            self._missing = f"{folder}" if folder else "no folder"
        self._remember()

    def _remember(self) -> None:
        self._one = lru_cache(_TEXTS_KEPT)(lambda text: self._tokenize([text])[0])

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_one"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._remember()

    @property
    def name(self) -> str:
        """The tokenizer's name in the model's config; `CLIP` for the byte pairs that open_clip ships."""
        return self._name or "CLIP"

    @property
    def context_length(self) -> int:
        """The length of the longest text in tokens."""
        return self._length

    @property
    def hugging_face(self) -> Any:  # noqa: ANN401 - one of transformers' many classes
        """The tokenizer of transformers, which does not clean its texts as open_clip does; None for CLIP's byte pairs.

        Raises:
            InputError: the files of the tokenizer are not beside the model.
        """
        self._check()
        return self._tokenize.tokenizer if self._name else None

    def cut(self, texts: Sequence[str]) -> list[str]:
        """Return the texts that exceed the context length, so that the model does not see their end."""
        return [text for text in dict.fromkeys(texts) if self._is_cut(text)]

    def _is_cut(self, text: str) -> bool:
        if self._missing or len(text.encode("utf-8", "replace")) + _ENDS < self._length:
            return False  # no token is shorter than a byte
        if self._name:
            return len(self._tokenize.tokenizer(self._tokenize.clean_fn(text))["input_ids"]) > self._length
        return len(self._tokenize.encode(text)) + _ENDS > self._length

    def save(self, folder: Path) -> None:
        """Write the files that a model's folder needs; none for what open_clip brings along.

        Raises:
            InputError: the files were never there.
        """
        if self._name:
            self._check()
            self._tokenize.save_pretrained(str(folder))

    def _check(self) -> None:
        if self._missing:
            raise InputError(
                f"tokenizer: expected the files of {self._name} (tokenizer.json, ...), found none in {self._missing}; "
                "base.tokenizer may be a folder that has them"
            )

    def __call__(self, texts: list[str]) -> Int[Tensor, "t length"]:
        """Token ids, padded.

        Raises:
            InputError: the files of the tokenizer are not beside the model.
        """
        self._check()
        return torch.stack([self._one(text) for text in texts]) if texts else torch.zeros(0, self._length).long()


def byte_pairs(context_length: int, **options: Any) -> open_clip.SimpleTokenizer:  # noqa: ANN401 - open_clip's own
    """Return CLIP's tokenizer; those without options share their tables, which take a tenth of a second to read."""
    if options:
        return open_clip.SimpleTokenizer(context_length=context_length, **options)
    tokenizer = copy.copy(_tables())
    tokenizer.context_length = context_length
    return tokenizer


@cache
def _tables() -> open_clip.SimpleTokenizer:
    return open_clip.SimpleTokenizer()


def read_tokenizer(source: str, text_cfg: Mapping[str, Any], context_length: int) -> Any:  # noqa: ANN401 - open_clip's
    """Read a Hugging Face tokenizer into open_clip's wrapper.

    Args:
        source: folder of its files, or a name in the hub.
        text_cfg: `text_cfg` of open_clip's model config.
        context_length: longest text in tokens.

    Raises:
        InputError: the package transformers is missing, the files cannot be had, or the list of words is not in them.
    """
    options = _options(text_cfg, _ALLOWED_OPTIONS)
    try:
        with no_remote_code(f"tokenizer: {source}"):
            tokenizer = open_clip.tokenizer.HFTokenizer(
                source,
                context_length=context_length,
                tokenizer_mode=text_cfg.get("tokenizer_mode"),
                trust_remote_code=False,
                **options,
            )
    except ImportError as error:
        raise InputError(
            f"tokenizer: expected the package transformers for {source}: {error}; run: {extras.install('interfaces')}"
        ) from error
    except _UNUSABLE as error:
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise InputError(
            f"base.tokenizer: expected a folder with the tokenizer's files or a name that can be fetched, "
            f"got {source!r}: {reason}"
        ) from error
    _require_words(tokenizer, source)
    return tokenizer


def _require_words(tokenizer: Any, source: str) -> None:  # noqa: ANN401 - open_clip's
    """Refuse a tokenizer that reads every word as the same, as transformers makes one where the list is missing.

    Raises:
        InputError: names the folder.
    """
    read = [tokenizer.tokenizer(word)["input_ids"] for word in _PROBES]
    if len({frozenset(ids) for ids in read}) == 1:  # an unknown word may count once for each of its letters
        raise InputError(
            f"base.tokenizer: expected a tokenizer with its words (tokenizer.json), got {source!r}, which reads "
            f"{', '.join(_PROBES[:3])} all as {read[0][:8]}; copy the file from where the model is from"
        )


def _options(text_cfg: Mapping[str, Any], allowed: Sequence[str]) -> dict[str, Any]:
    """Return the tokenizer options of a model's config, if they are allowed."""
    options = text_cfg.get("tokenizer_kwargs") or {}
    if not isinstance(options, Mapping):
        raise InputError(f"tokenizer: tokenizer_kwargs: expected names and values, got {str(options)[:80]!r}")
    if refused := sorted(set(options) - set(allowed)):
        raise InputError(
            f"tokenizer: tokenizer_kwargs: expected {', '.join(allowed)}, got {refused[0]!r}; "
            "no code of a model's folder is run"
        )
    return dict(options)
