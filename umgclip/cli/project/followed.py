"""Files that parameters name, as dependencies in dvc.yaml: DVC itself sees only that another file is named."""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from umgclip.errors import InputError
from umgclip.io.atomic import write_bytes
from umgclip.params import SCRATCH, Section
from umgclip.stage import Summary

READERS = ("base", "annotate")
"""The stages that read such files."""

PIPELINE = Path("dvc.yaml")
_VOCABULARY = "vocabulary"  # files that are meant to be edited
_log = logging.getLogger("umgclip")


def check(stage: str, section: Section) -> None:
    """Where DVC runs this stage, it has to see when a file changes that the section names.

    Args:
        stage: its name.
        section: its parameters.

    Raises:
        InputError: it does not see that a vocabulary changes. For weights and tokenizers, which are hardly ever edited,
            this is a warning.
    """
    if os.environ.get("DVC_STAGE", "").rpartition(":")[2] != stage or not PIPELINE.is_file():
        return
    content = _yaml().load(PIPELINE.read_text(encoding="utf-8"))["stages"].get(stage, {})
    for key, path in _unfollowed(stage, content, section, Path()):
        said = (
            f"{stage}.{key}: {path} is no dependency of the stage {stage} in {PIPELINE}, so DVC would not see when it "
            "changes; `umgclip follow` lists it there"
        )
        if key.endswith(_VOCABULARY):
            raise InputError(said)
        _log.warning("%s", said)


def follow(pipeline: Path, sections: Mapping[str, Section]) -> Summary:
    """Add the files that the sections name to the stages' dependencies; what else the file holds stays.

    Args:
        pipeline: a dvc.yaml; paths are as seen from its folder.
        sections: of the parameter file, by name.

    Raises:
        InputError: no such pipeline, or it has no such stage.
        OutputError: it cannot be written.
    """
    if not pipeline.is_file():
        raise InputError(f"--pipeline: expected a dvc.yaml, found none at {pipeline}")
    yaml = _yaml()
    try:
        content = yaml.load(pipeline.read_text(encoding="utf-8"))
    except YAMLError as error:
        raise InputError(f"{pipeline}: not valid YAML: {' '.join(str(error).split())}") from error
    added = add_named(content, sections, pipeline.parent, where=pipeline)
    if added:
        stream = io.StringIO()
        yaml.dump(content, stream)
        write_bytes(pipeline, stream.getvalue().encode())
    rows = [(key, f"{path}, now a dependency") for key, path in added.items()]
    return Summary(f"follow: {pipeline}", tuple(rows) or (("files", "all that are named are dependencies"),))


def add_named(
    content: Mapping[str, Any], sections: Mapping[str, Section], folder: Path, where: Path = PIPELINE
) -> dict[str, str]:
    """Add to the content of a dvc.yaml what `follow` does; gives what was added, by its dotted key.

    Raises:
        InputError: there is no such stage.
    """
    added = {}
    for stage in READERS:
        found = (content.get("stages") or {}).get(stage)
        if not isinstance(found, dict):
            raise InputError(f"{where}: expected a stage {stage}, found {', '.join(content.get('stages') or ['none'])}")
        for key, path in _unfollowed(stage, found, sections[stage], folder):
            found.setdefault("deps", []).append(path)
            added[f"{stage}.{key}"] = path
    return added


def _unfollowed(stage: str, content: Mapping[str, Any], section: Section, folder: Path) -> list[tuple[str, str]]:
    """Keys and paths of the files that are there, named, and neither listed nor in a folder that is."""
    deps = [dep if isinstance(dep, str) else next(iter(dep)) for dep in content.get("deps") or []]
    listed = [(folder / dep).resolve() for dep in deps]
    missing = []
    for key, path in section.named_files():
        if path == SCRATCH or not (folder / path).exists() or f"${{{stage}.{key}}}" in deps:
            continue
        if not any((folder / path).resolve().is_relative_to(dep) for dep in listed):
            missing.append((key, path))
    return missing


def _yaml() -> YAML:
    yaml = YAML()
    yaml.width = 150
    yaml.indent(mapping=2, sequence=4, offset=2)
    return yaml
