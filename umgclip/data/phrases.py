"""Names found in texts as words in a row, the longest first; where words have no spaces, as characters in a row."""

from __future__ import annotations

import re
from collections.abc import Mapping

from umgclip.data.wording import name_key

_WORD = re.compile(r"[\w'&-]+")
# Thai, Lao, Burmese, Khmer, Japanese, Chinese and Korean put no space between a name and what goes with it
_UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
_GAP = " ; "  # what stands before and after a name that was taken out belongs to no chunk in common


def is_unspaced(name: str) -> bool:
    """Return whether a name is written in a script that puts no spaces around it."""
    return _UNSPACED.search(name) is not None


class Phrases:
    """Names to look for, and what each means."""

    def __init__(self, meanings: Mapping[str, str]) -> None:
        """Names, which may have several words, by what they are called afterwards."""
        keys = {name_key(name): meaning for name, meaning in meanings.items()}
        self._unspaced = {key: keys[key] for key in sorted(keys, key=len, reverse=True) if is_unspaced(key)}
        self._spaced = {tuple(_WORD.findall(key)): keys[key] for key in keys if key not in self._unspaced}
        self._most = max(map(len, self._spaced), default=0)

    def take(self, text: str) -> tuple[list[str], str]:
        """Return the meanings of the names in a text, in order, each once; and the text without these names."""
        text = name_key(text)
        spans = self._unspaced_spans(text)
        for start, end, _ in spans:
            text = text[:start] + "\0" * (end - start) + text[end:]
        spans += self._spaced_spans(text)
        rest, last = [], 0
        for start, end, _ in sorted(spans):
            rest.append(text[last:start])
            last = end
        named = dict.fromkeys(meaning for _, _, meaning in sorted(spans))
        return list(named), _GAP.join([*rest, text[last:]])

    def _unspaced_spans(self, text: str) -> list[tuple[int, int, str]]:
        spans: list[tuple[int, int, str]] = []
        for name, meaning in self._unspaced.items():
            for match in re.finditer(re.escape(name), text):
                if all(match.end() <= start or end <= match.start() for start, end, _ in spans):
                    spans.append((match.start(), match.end(), meaning))
        return spans

    def _spaced_spans(self, text: str) -> list[tuple[int, int, str]]:
        words = list(_WORD.finditer(text))
        spans, at = [], 0
        while at < len(words):
            for length in range(min(self._most, len(words) - at), 0, -1):
                run = words[at : at + length]
                meaning = self._spaced.get(tuple(word.group() for word in run))
                if meaning is not None:
                    spans.append((run[0].start(), run[-1].end(), meaning))
                    at += length
                    break
            else:
                at += 1
        return spans
