"""The number of tokens in a text by CLIP's byte pairs, without torch, which takes longer to import than most counts."""

from __future__ import annotations

import gzip
import html
import math
from collections.abc import Iterator
from functools import lru_cache
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

from umgclip.errors import InputError

_TABLE = "bpe_simple_vocab_16e6.txt.gz"  # merges of two pieces each, the first ones first
_MERGES = slice(1, 49152 - 256 - 2 + 1)  # lines of the table that CLIP uses
_SPECIAL = ("<start_of_text>", "<end_of_text>")
_WORDS = r"|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
_END = "</w>"  # of the last piece of a word
_WORDS_KEPT = 1 << 16


class BytePairs:
    """The byte pairs that open_clip ships, as its `SimpleTokenizer` without options reads them."""

    def __init__(self) -> None:
        """Read the table.

        Raises:
            InputError: open_clip is not installed.
        """
        import regex  # a package with a C library, which few processes need

        package = find_spec("open_clip")
        if package is None or package.origin is None:
            raise InputError("tokenizer: expected the package open_clip, found none")
        table = gzip.decompress((Path(package.origin).parent / _TABLE).read_bytes()).decode()
        merges = (tuple(line.split()) for line in table.split("\n")[_MERGES])
        self._ranks = {merge: rank for rank, merge in enumerate(merges)}
        self._pattern = regex.compile("|".join(_SPECIAL) + _WORDS, regex.IGNORECASE)
        self._letters = _letters()
        self._pieces = lru_cache(_WORDS_KEPT)(self._count)

    def count(self, text: str) -> int:
        """Return the number of tokens in a text, without those of its beginning and end."""
        import ftfy  # as above

        clean = html.unescape(html.unescape(ftfy.fix_text(text)))
        return sum(map(self._pieces, self._pattern.findall(" ".join(clean.split()).lower())))

    def _count(self, word: str) -> int:
        if word in _SPECIAL:
            return 1
        pieces = [self._letters[byte] for byte in word.encode()]
        pieces[-1] += _END
        while len(pieces) > 1:
            first = min(pairwise(pieces), key=lambda pair: self._ranks.get(pair, math.inf))
            if first not in self._ranks:
                break
            pieces = list(_joined(pieces, first))
        return len(pieces)


def _joined(pieces: list[str], pair: tuple[str, str]) -> Iterator[str]:
    """Yield the pieces, with each occurrence of a pair as one."""
    at = 0
    while at < len(pieces):
        is_pair = tuple(pieces[at : at + 2]) == pair
        yield "".join(pair) if is_pair else pieces[at]
        at += 2 if is_pair else 1


def _letters() -> list[str]:
    """Return the letter by which the table writes each byte: itself if it is visible, else one of its own."""
    visible = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
    others = iter(range(256, 512))
    return [chr(byte if byte in visible else next(others)) for byte in range(256)]
