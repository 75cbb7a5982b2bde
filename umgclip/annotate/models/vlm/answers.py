"""The answers in words (captions, tags, negatives): their form as JSON and as text, and how they are read.

An unusable part (a tag that is not a text) is left out and recorded with the reason. An answer without any usable part
is not an answer.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from umgclip.annotate.models.vlm.markup import without_markup
from umgclip.annotate.models.vlm.nothing import says_none
from umgclip.annotate.models.vlm.reading import Candidate
from umgclip.annotate.models.vlm.tag_words import tag_words

_LONGEST_NAME = 200  # characters
_MOST = 200  # items of a list
_BULLET = re.compile(r"^\s*(?:[-*•·]+|\(?\d{1,3}[.):])\s+")


class NoAnswerError(ValueError):
    """An unusable answer; `reason` is the word under which it is counted."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class _Schema(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Caption(_Schema):
    caption: str = Field(min_length=1)


class _Tags(_Schema):
    tags: list[str] = Field(max_length=_MOST)


class _Negatives(_Schema):
    negatives: list[str] = Field(max_length=_MOST)


@dataclass(frozen=True)
class Bad:
    """An unusable part of an answer, with the reason."""

    detail: str
    label: str | None = None


@dataclass(frozen=True)
class CaptionAnswer:
    """A description of the image in words."""

    schema: ClassVar[type[BaseModel]] = _Caption
    hint: ClassVar[str] = '{"caption": "..."}'
    caption: str

    @property
    def texts(self) -> tuple[str, ...]:
        """All that is said in words."""
        return (self.caption,)

    @classmethod
    def read(cls, one: Candidate) -> CaptionAnswer:
        """Read `{"caption": TEXT}`, alone or as the only item of a list."""
        value = one.value
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        return cls(_caption(get(value, "caption")))

    @classmethod
    def read_text(cls, text: str) -> CaptionAnswer:
        """Read a text as it is, without a fence and quotes around it."""
        return cls(_caption(_bare(text)))


@dataclass(frozen=True)
class TagsAnswer:
    """Names of what is visible; empty if the model saw nothing."""

    schema: ClassVar[type[BaseModel]] = _Tags
    hint: ClassVar[str] = '{"tags": ["...", "..."]}'
    tags: tuple[str, ...]
    bad: tuple[Bad, ...] = ()

    @property
    def texts(self) -> tuple[str, ...]:
        """All that is said in words."""
        return self.tags

    @classmethod
    def read(cls, one: Candidate) -> TagsAnswer:
        """Read `{"tags": [NAME, ...]}`, or the list alone; blank names are skipped."""
        return cls._of(items(one, "tags"))

    @classmethod
    def read_text(cls, text: str) -> TagsAnswer:
        """Read names between commas, semicolons or ends of lines; `None` is no name.

        Raises:
            NoAnswerError: there is no text, or more than 200 names.
        """
        text = without_markup(_bare(text))
        if says_none(text):
            return cls(())
        return cls._of(_no_more(_some(tag_words(text), "tags"), "tags"))

    @classmethod
    def _of(cls, names: Sequence[Any]) -> TagsAnswer:
        good, bad = sorted_out([name for name in names if not _blank(name)], lambda name: one_line(name, "tag"))
        return cls(tuple(dict.fromkeys(good)), bad)


@dataclass(frozen=True)
class NegativesAnswer:
    """Texts that are nearly right; an answer without any is not one."""

    schema: ClassVar[type[BaseModel]] = _Negatives
    hint: ClassVar[str] = '{"negatives": ["...", "..."]}'
    negatives: tuple[str, ...]
    bad: tuple[Bad, ...] = ()

    @property
    def texts(self) -> tuple[str, ...]:
        """All that is said in words."""
        return self.negatives

    @classmethod
    def read(cls, one: Candidate) -> NegativesAnswer:
        """Read `{"negatives": [TEXT, ...]}`, or the list alone; blank texts are skipped.

        Raises:
            NoAnswerError: there is no text.
        """
        return cls._of(items(one, "negatives"))

    @classmethod
    def read_text(cls, text: str) -> NegativesAnswer:
        """Read one text a line, without bullets and numbers before it.

        Raises:
            NoAnswerError: there is no text, or more than 200 lines.
        """
        return cls._of(_no_more([_BULLET.sub("", line) for line in _bare(text).splitlines()], "negatives"))

    @classmethod
    def _of(cls, texts: Sequence[Any]) -> NegativesAnswer:
        good, bad = sorted_out(
            _some([text for text in texts if not _blank(text)], "negatives"), lambda text: one_line(text, "negative")
        )
        return cls(tuple(dict.fromkeys(good)), bad)


T = TypeVar("T")


def shown(value: Any) -> str:  # noqa: ANN401 - anything that came
    """Return the beginning of a value for messages, without characters that a file cannot hold."""
    return repr(value if isinstance(value, str) else str(value))[:100]


def get(value: Any, key: str) -> Any:  # noqa: ANN401
    """Return the field of an object.

    Raises:
        NoAnswerError: the value is no object, or has no such field.
    """
    if not isinstance(value, Mapping) or key not in value:
        raise NoAnswerError("invalid_answer", f"{key}: expected a field of that name, got {shown(value)}")
    return value[key]


def items(one: Candidate, key: str) -> list[Any]:
    """Return the list under a key, or the value itself if it is a list and the whole answer.

    Raises:
        NoAnswerError: there is no list, or it has more than 200 items.
    """
    value = one.value
    listed = value if isinstance(value, list) and one.is_whole else get(value, key)
    if not isinstance(listed, list):
        raise NoAnswerError("invalid_answer", f"{key}: expected a list of at most {_MOST}, got {shown(listed)}")
    return _no_more(listed, key)


def sorted_out(parts: Sequence[Any], read: Callable[[Any], T]) -> tuple[list[T], tuple[Bad, ...]]:
    """Split the parts of an answer into those that can be read and the others, with the reason.

    Raises:
        NoAnswerError: there are parts, and none can be read.
    """
    good, bad = [], []
    for part in parts:
        try:
            good.append(read(part))
        except NoAnswerError as error:
            label = part.get("label") if isinstance(part, Mapping) else None
            bad.append(Bad(str(error), label if isinstance(label, str) and label.isprintable() else None))
    none_if_all_bad(good, bad)
    return good, tuple(bad)


def none_if_all_bad(good: Sequence[Any], bad: Sequence[Bad]) -> None:
    """Check that not all parts of an answer are unusable.

    Raises:
        NoAnswerError: they are.
    """
    if bad and not good:
        raise NoAnswerError("bad_parts", f"none of {len(bad)} is of use: {bad[0].detail}")


def one_line(value: Any, name: str) -> str:  # noqa: ANN401
    """Return a text on one line without control characters.

    Raises:
        NoAnswerError: it is no text, has no words or half a character, or is too long for a name.
    """
    if not isinstance(value, str):
        raise NoAnswerError("invalid_answer", f"{name}: expected a text, got {shown(value)}")
    if any(unicodedata.category(letter) == "Cs" for letter in value):
        raise NoAnswerError("invalid_answer", f"{name}: expected Unicode text, got half a character in {shown(value)}")
    plain = "".join(" " if unicodedata.category(letter) == "Cc" else letter for letter in value)
    plain = " ".join(plain.split())
    if not plain:
        raise NoAnswerError("invalid_answer", f"{name}: expected some words, got {shown(value)}")
    if name not in ("caption", "negative") and len(plain) > _LONGEST_NAME:
        raise NoAnswerError("invalid_answer", f"{name}: expected a name, got {len(plain)} characters")
    return plain


def _caption(value: Any) -> str:  # noqa: ANN401
    """Return a caption on one line, without the marks of a grammar."""
    return one_line(without_markup(value) if isinstance(value, str) else value, "caption")


def _no_more(listed: list[T], name: str) -> list[T]:
    if len(listed) > _MOST:
        raise NoAnswerError("invalid_answer", f"{name}: expected a list of at most {_MOST}, got {len(listed)} items")
    return listed


def _some(listed: list[T], name: str) -> list[T]:
    if all(map(_blank, listed)):
        raise NoAnswerError("invalid_answer", f"{name}: expected some texts, got none")
    return listed


def _blank(value: Any) -> bool:  # noqa: ANN401
    return isinstance(value, str) and not value.strip()


def _bare(text: str) -> str:
    """Return a text without a fence or one pair of quotes around it."""
    text = re.sub(r"^```\w*\n|\n?```$", "", text.strip()).strip()
    if len(text) > 1 and text[0] + text[-1] in ('""', "''", "“”") and text[0] not in text[1:-1]:
        text = text[1:-1]
    return text
