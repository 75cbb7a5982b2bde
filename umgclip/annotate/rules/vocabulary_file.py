"""A vocabulary as a file: concepts, synonyms, and where they come from."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from pydantic import Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from umgclip.data.concepts import Vocabulary
from umgclip.errors import InputError
from umgclip.section import Section


class VocabularyFile(Section):
    """The file's content; YAML or JSON."""

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


def read_vocabulary(path: Path) -> VocabularyFile:
    """Read and check a vocabulary file.

    Raises:
        InputError: no such file, or naming the field, what was expected and what came.
    """
    if not path.is_file():
        raise InputError(f"annotate.rules.vocabulary: expected a vocabulary file, found none at {path}")
    try:
        content = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
        return VocabularyFile.model_validate(content)
    except (YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "vocabulary"
        raise InputError(f"{path}: {field}: {first['msg']}, got {str(first.get('input'))[:80]!r}") from error


def joined(mined: Vocabulary, file: VocabularyFile) -> Vocabulary:
    """The mined vocabulary with the file's concepts; where both know a name, the file says whether it is stuff."""
    stuff = {*file.stuff, *(name for name in mined.stuff if name not in file.things)}
    things = {*file.things, *(name for name in mined.things if name not in file.stuff)}
    return Vocabulary(tuple(sorted(things)), tuple(sorted(stuff)), mined.held_out)
