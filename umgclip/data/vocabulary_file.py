"""A vocabulary as a file, and the one that comes of it and of what captions say.

The file is YAML or JSON with concepts, synonyms and where they come from, or plain text with a concept a line.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from umgclip.data.vocabulary import ChunkCounts, MinCount, Vocabulary
from umgclip.data.wording import first_spellings, name_key
from umgclip.errors import DataError, InputError
from umgclip.params.section import Section


class VocabularyFile(Section):
    """The content of a vocabulary file, checked."""

    source: str = Field(min_length=1, description="who made the list, with a version or a link")
    license: str = Field(min_length=1, description="SPDX identifier or the licence's name")
    things: list[str] = []
    stuff: list[str] = []
    synonyms: dict[str, str] = Field(default={}, description="other name: concept")

    @model_validator(mode="after")
    def _names_are_known_once(self) -> VocabularyFile:
        concepts = [*self.things, *self.stuff]
        twice = sorted(name for name, count in Counter(concepts).items() if count > 1)
        if twice:
            raise ValueError(f"expected each concept once, got {', '.join(twice[:5])} twice")
        lost = sorted({concept for concept in self.synonyms.values() if concept not in set(concepts)})
        if lost:
            raise ValueError(f"synonyms: expected concepts of this file, got {', '.join(lost[:5])}")
        return self


def read_vocabulary(path: Path, key: str = "annotate.rules.vocabulary") -> VocabularyFile:
    """Read and check a vocabulary file.

    Args:
        path: of the file; one that ends in .txt holds a thing a line.
        key: what named it, for messages.

    Raises:
        InputError: no such file, or naming the field, what was expected and what came.
    """
    if not path.is_file():
        raise InputError(f"{key}: expected a vocabulary file, found none at {path}")
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix.lower() == ".txt":
            return _listed(text, path)
        return VocabularyFile.model_validate(YAML(typ="safe").load(text))
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: expected UTF-8, got {error.reason} at byte {error.start}") from error
    except YAMLError as error:
        raise InputError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "vocabulary"
        raise InputError(f"{path}: {field}: {first['msg']}, got {str(first.get('input'))[:80]!r}") from error


def _listed(text: str, path: Path) -> VocabularyFile:
    names = list(first_spellings(text.splitlines()).values())
    if not names:
        raise InputError(f"{path}: expected a concept a line, got an empty file")
    return VocabularyFile(source=path.name, license="unknown", things=names)


def joined(mined: Vocabulary, file: VocabularyFile) -> Vocabulary:
    """Add the file's concepts to the mined ones; for a name in both, the file decides whether it is stuff."""
    stuff = {*file.stuff, *(name for name in mined.stuff if name not in file.things)}
    things = {*file.things, *(name for name in mined.things if name not in file.stuff)}
    listed = {name: name for name in (*file.things, *file.stuff)} | file.synonyms
    return Vocabulary(tuple(sorted(things)), tuple(sorted(stuff)), mined.held_out, tuple(sorted(listed.items())))


@dataclass(frozen=True)
class ConceptParams:
    """The parameters of a section of `params.yaml` that concern concepts.

    Attributes:
        section: its name.
        min_count: captions that must hold a chunk to make it a concept.
        language: of captions: `en` has its noun chunks counted, of `none` only the file's concepts are found.
        file: of concepts.
        file_key: the parameter that names the file.
    """

    section: str
    min_count: MinCount
    language: Literal["en", "none"]
    file: str | None
    file_key: str

    def vocabulary(self, counts: ChunkCounts, held_out: Iterable[str] = ()) -> Vocabulary:
        """Return the concepts of the captions and of the file.

        Raises:
            DataError: there are captions, and no concept; says why, and which keys help.
            InputError: there is no such file, or it is none.
        """
        mined = counts if self.language == "en" else ChunkCounts()
        vocabulary = mined.vocabulary(self.min_count, held_out)
        if self.file is not None:
            vocabulary = joined(vocabulary, read_vocabulary(Path(self.file), self.file_key))
            return replace(vocabulary, held_out=_as_spelled(vocabulary.held_out, vocabulary.concepts))
        if not vocabulary.concepts and counts.captions:
            raise DataError(f"{self.section}: the vocabulary is empty: {self.why_none(counts)}")
        return replace(vocabulary, held_out=_as_spelled(vocabulary.held_out, vocabulary.concepts))

    def why_none(self, counts: ChunkCounts) -> str:
        """Explain why there is no concept, and which keys help."""
        if self.language == "none" and self.file is None:
            return (
                f"with {self.section}.language: none only the concepts of a file are found; name it in {self.file_key}"
            )
        return counts.why_none(self.min_count, self.section, self.file_key)


def _as_spelled(names: Iterable[str], concepts: Iterable[str]) -> tuple[str, ...]:
    """Spell names as the concepts that they equal up to case and white space; keep others as they are."""
    spelled = {name_key(concept): concept for concept in concepts}
    return tuple(sorted({spelled.get(name_key(name), name) for name in names}))
