"""The identity of a version: hashes of its weights, data and benchmark, and of the format of its answers."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from umgclip.errors import DataError
from umgclip.io.atomic import sha256_file, sha256_json
from umgclip.io.json_file import read_report
from umgclip.io.manifest import read_manifest
from umgclip.model.clip.layout import ADAPTER, ADAPTER_WEIGHTS, BASE_REPORT, TRAIN_REPORT, WEIGHTS


@dataclass(frozen=True)
class Identity:
    """Five hashes that identify a version: two versions with equal hashes are the same version.

    `interface_sha256` covers what the weights do not decide: the format of requests and answers, the prompt around a
    label, and the vocabulary that tags are chosen from.
    """

    adapter_sha256: str
    base_sha256: str
    data_hash: str
    benchmark_digest: str
    interface_sha256: str

    @property
    def key(self) -> str:
        """One hash of all five, used to look up a version."""
        return sha256_json(vars(self))


def identify(base: Path, train: Path, data: Path, repo: Path, interface_sha256: str) -> Identity:
    """Hash the files of the stages and compare the hashes with those in the stages' reports.

    Args:
        base: folder of the stage `base`.
        train: folder of the stage `train`.
        data: folder with `train` and `benchmark`.
        repo: the repository, which holds `dvc.lock`.
        interface_sha256: hash of format, prompt and vocabulary.

    Raises:
        DataError: a file is missing, or its hash differs from the one in its report.
    """
    adapter_sha256 = _hashed(train / ADAPTER / ADAPTER_WEIGHTS, read_report(train / TRAIN_REPORT), "adapter_sha256")
    base_sha256 = _hashed(base / WEIGHTS, read_report(base / BASE_REPORT), "weights_sha256")
    benchmark_digest = read_manifest(data / "benchmark").digest()
    return Identity(adapter_sha256, base_sha256, data_hash(data, repo), benchmark_digest, interface_sha256)


def _hashed(path: Path, report: Mapping[str, Any], field: str) -> str:
    if not path.is_file():
        raise DataError(f"{path}: expected weights, found none")
    actual = sha256_file(path)
    if report.get(field, actual) != actual:
        raise DataError(
            f"{path}: expected {field} {report[field]} as reported when it was written, got {actual}; "
            "run the stage again"
        )
    return actual


def data_hash(data: Path, repo: Path) -> str:
    """Return DVC's hash of the data folder (from `data.dvc`, else `dvc.lock`), else a digest of the two manifests."""
    pointer = _yaml(data.with_name(f"{data.name}.dvc"))
    recorded = {str(out["md5"]) for out in pointer.get("outs", []) if "md5" in out}
    if not recorded:
        name = Path(os.path.relpath(data, repo)).as_posix()
        stages = _yaml(repo / "dvc.lock").get("stages", {}).values()
        entries = [entry for stage in stages for part in ("deps", "outs") for entry in stage.get(part, [])]
        recorded = {str(entry["md5"]) for entry in entries if entry.get("path") == name and "md5" in entry}
    if len(recorded) == 1:  # there are several if stages ran on different data; then none of them can be trusted
        return f"dvc:{recorded.pop()}"
    return f"manifests:{sha256_json([read_manifest(data / part).digest() for part in ('train', 'benchmark')])}"


def _yaml(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        content = YAML(typ="safe").load(path)
    except YAMLError as error:
        raise DataError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
    return content if isinstance(content, dict) else {}
