"""Dependencies in dvc.yaml on the files that params.yaml names, so that DVC notices when those files change."""

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
"""Stages that read files named in params.yaml."""

PIPELINE = Path("dvc.yaml")
_EDITED = ("vocabulary", "corrections")  # users are expected to edit these files
_log = logging.getLogger("umgclip")


def check(stage: str, section: Section) -> None:
    """Check, when DVC runs this stage, that dvc.yaml lists the files that its section names.

    Args:
        stage: name of the stage.
        section: its parameters.

    Raises:
        InputError: a vocabulary or a file of corrections is not listed. For weights and tokenizers, which are hardly
            ever edited, this is a warning.
    """
    if os.environ.get("DVC_STAGE", "").rpartition(":")[2] != stage or not PIPELINE.is_file():
        return
    content = _yaml().load(PIPELINE.read_text(encoding="utf-8"))["stages"].get(stage, {})
    for key, path in _unfollowed(stage, content, section, Path()):
        message = (
            f"{stage}.{key}: {path} is not a dependency of the stage {stage} in {PIPELINE}, so DVC would not notice "
            "when it changes; run `umgclip follow` to add it"
        )
        if key.endswith(_EDITED):
            raise InputError(message)
        _log.warning("%s", message)


def follow(pipeline: Path, sections: Mapping[str, Section]) -> Summary:
    """Add the files that the sections name to the stages' dependencies; the rest of the pipeline stays.

    Args:
        pipeline: a dvc.yaml; paths are relative to its folder.
        sections: sections of the parameter file, by name.

    Raises:
        InputError: there is no such pipeline, or it lacks a stage.
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
    return Summary(
        f"follow: {pipeline}", tuple(rows) or (("files", "all named files are dependencies already"),), {"added": added}
    )


def add_named(
    content: Mapping[str, Any], sections: Mapping[str, Section], folder: Path, where: Path = PIPELINE
) -> dict[str, str]:
    """Add missing dependencies to the content of a dvc.yaml; return the added paths by dotted key.

    Raises:
        InputError: the content lacks a stage.
    """
    added = {}
    for stage in READERS:
        entry = (content.get("stages") or {}).get(stage)
        if not isinstance(entry, dict):
            raise InputError(f"{where}: expected a stage {stage}, found {', '.join(content.get('stages') or ['none'])}")
        for key, path in _unfollowed(stage, entry, sections[stage], folder):
            entry.setdefault("deps", []).append(path)
            added[f"{stage}.{key}"] = path
    return added


def _unfollowed(stage: str, content: Mapping[str, Any], section: Section, folder: Path) -> list[tuple[str, str]]:
    """List keys and paths of existing named files that are neither dependencies nor inside one."""
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
