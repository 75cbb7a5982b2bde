"""`umgclip init`: turn a folder into a project with parameters, a pipeline, git and DVC."""

from __future__ import annotations

import importlib.resources
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from umgclip.cli.project.followed import add_named
from umgclip.data.vocabulary_file import read_vocabulary
from umgclip.errors import InputError, OutputError
from umgclip.io.atomic import atomic_file, explain_os_errors
from umgclip.params import SCRATCH, Section, parse_sections
from umgclip.provenance import code_digest
from umgclip.stage import Summary

STAGES = ("base", "annotate", "validate", "train", "evaluate", "register")
CODE = Path("artifacts") / "code"
_FILES = ("params.yaml", "dvc.yaml")
_PLOTS = Path(".dvc") / "plots" / "models.json"
_HEAD = """# The stages of the pipeline. A stage runs `umgclip STAGE` and reads the section of that name in params.yaml.
# `code` checks the installed umgclip: after an upgrade, the stages whose code changed are out of date.
# `params` lists all keys that decide a result; other keys (workers, device, ...) make no stage out of date.
# Run the pipeline with `dvc repro`, and compare results with `dvc metrics diff` and `dvc plots show`.
"""
_IGNORED = """/data
/artifacts
/.umgclip
/plots
/dvc_plots
/mlflow.db*
/mlartifacts
/mlruns
*.tmp
.*.partial
.*.lock
"""
_NAME = re.compile(r"[A-Za-z0-9_.-]+")
_TOOL_S = 120
# keys of the section `data` that only the demo uses
_OF_THE_DEMO = (
    "seed", "image_px", "train_scenes", "single_share", "max_things", "background_named", "benchmark_scenes",
    "benchmark_singles", "shard_samples", "jpeg_quality",
)  # fmt: skip


@dataclass(frozen=True)
class ProjectOptions:
    """Options of a project that `umgclip init` creates.

    Attributes:
        name: name of the model in the registry; one per project, so that projects never compare their champions.
        pretrained: value of `base.pretrained`.
        model: value of `base.model`; None keeps the template's.
        language: language of the captions.
        vocabulary: file of concepts.
    """

    name: str
    pretrained: str = "scratch"
    model: str | None = None
    language: str = "en"
    vocabulary: str | None = None

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise InputError(f"--name: expected only letters, digits and any of _.- , got {self.name!r}")


def default_name(folder: Path) -> str:
    """Derive a project's name from the name of its folder."""
    return "-".join(_NAME.findall(folder.resolve().name)) or "mine"


def make_project(folder: Path, options: ProjectOptions) -> Summary:
    """Write a project's files into a folder, and initialise git and DVC if they are missing.

    Existing files are never changed. The folder may already hold photographs, a git repository and `data`.

    Raises:
        InputError: the folder has a `params.yaml` or `dvc.yaml`, there is no such base or vocabulary, or an option has
            a value that its parameter does not take.
        OutputError: a file cannot be written, or git or DVC fails.
    """
    existing = [name for name in _FILES if (folder / name).exists()]
    if existing:
        raise InputError(
            f"{folder}: expected a folder without {' and '.join(_FILES)}, found {', '.join(existing)}; "
            "choose another folder"
        )
    options = _with_vocabulary(folder, _with_base(folder, options))
    params = _params(options)
    sections = parse_sections(YAML(typ="safe").load(params), Path("params.yaml"))
    pipeline = _pipeline(template("dvc.yaml"), sections, folder)
    with explain_os_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    rows = [("git", _git(folder)), ("DVC", _dvc(folder))]
    for name, text in (("params.yaml", params), ("dvc.yaml", pipeline)):
        _write(folder / name, text)
    if not (folder / _PLOTS).exists():
        _write(folder / _PLOTS, template("models.json"))
    rows += [("files", f"{', '.join(_FILES)}, {_ignore(folder)}"), ("data", _data(folder))]
    rows += [("model's name in the registry", options.name), ("next", _next(folder))]
    facts = {"folder": str(folder.resolve()), "model": options.name, "files": list(_FILES)}
    return Summary(f"init: {folder.resolve()}", tuple(rows), facts)


def template(name: str) -> str:
    """Read a template of a project's files, from the installed package or from the repository.

    Raises:
        InputError: this installation lacks the template.
    """
    within = importlib.resources.files("umgclip") / "project" / name
    if within.is_file():
        return within.read_text(encoding="utf-8")
    root = Path(__file__).parents[3]
    for path in (root / name, root / ".dvc" / "plots" / name):
        if path.is_file():
            return path.read_text(encoding="utf-8")
    raise InputError(f"umgclip: expected the project template {name}, found none; reinstall the package")


def write_code_digests(out: Path) -> Summary:
    """Write one file per stage with the digest of the code that decides its result; unchanged files stay.

    The stages of a project depend on these files as those of the repository depend on its sources: after an upgrade
    only the stages whose code differs are stale.
    """
    digests = {stage: code_digest(f"umgclip.{stage}.stage") for stage in STAGES}
    with explain_os_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    for stage, digest in digests.items():
        _write(out / f"{stage}.sha256", f"{digest}\n")
    return Summary("code", tuple((stage, digest[:16]) for stage, digest in digests.items()), {"digests": digests})


def _with_base(folder: Path, options: ProjectOptions) -> ProjectOptions:
    """Check that the base exists, and return the options with its path as seen from the project."""
    if options.pretrained == SCRATCH:
        return options
    path = Path(options.pretrained).expanduser()
    file = next((one for one in (path, folder / path) if options.pretrained and one.exists()), None)
    if options.model is None and not (file and file.is_dir()):
        raise InputError(
            f"--model: expected the name in open_clip of {options.pretrained!r}, such as ViT-B-32, got none; "
            "`--pretrained scratch` trains a small one"
        )
    from umgclip.model.clip.pretrained.load import (
        named_config,  # imports open_clip, which `code` and a model from scratch do not need
    )

    named_config(options.model or "", options.pretrained if file is None else str(file))
    return options if file is None else replace(options, pretrained=_path_from_project(path, file, folder))


def _with_vocabulary(folder: Path, options: ProjectOptions) -> ProjectOptions:
    """Check the file of concepts, and return the options with its path as seen from the project."""
    if options.vocabulary is None:
        return options
    path = Path(options.vocabulary).expanduser()
    file = next((one for one in (path, folder / path) if one.is_file()), None)
    if file is None:
        raise InputError(f"--vocabulary: expected a file of concepts, found none at {path} or {folder / path}")
    read_vocabulary(file, "--vocabulary")
    return replace(options, vocabulary=_path_from_project(path, file, folder))


def _path_from_project(path: Path, file: Path, folder: Path) -> str:
    """Return the path of an existing file as seen from the project; an absolute path stays."""
    return str(path) if path.is_absolute() else os.path.relpath(file.resolve(), folder.resolve())


def _params(options: ProjectOptions) -> str:
    """Return the template's parameters, adapted to the user's photographs, as YAML."""
    return dumped(adapted(options))


def adapted(options: ProjectOptions) -> Any:  # noqa: ANN401 - ruamel's mapping with comments
    """Return the template's parameters with their comments, adapted to the user's photographs."""
    params = _yaml().load(template("params.yaml"))
    for name in _OF_THE_DEMO:
        params["data"].pop(name, None)
    params["base"]["pretrained"], params["base"]["language"] = options.pretrained, options.language
    params["base"]["vocabulary"] = options.vocabulary
    if options.model is not None:
        params["base"]["model"] = options.model
    if options.pretrained != SCRATCH:
        params["train"]["stages"] = []  # the demo's sides are for its small base
    annotate = params["annotate"]
    annotate["held_out"], annotate["language"] = [], options.language
    annotate["rules"]["vocabulary"] = options.vocabulary
    annotate["label"]["crop_px"], params["evaluate"]["crop_px"] = "auto", None
    params["register"]["name"] = options.name
    return params


def _pipeline(text: str, sections: Mapping[str, Section], folder: Path) -> str:
    """Return the pipeline with the code digests of `umgclip code` in place of the repository's sources."""
    yaml = _yaml()
    pipeline = yaml.load(text)
    for stage in STAGES:
        content = pipeline["stages"][stage]
        data_deps = [dep for dep in content["deps"] if not dep.startswith("umgclip/")]
        content["deps"] = [*data_deps, (CODE / f"{stage}.sha256").as_posix()]
    add_named(pipeline, sections, folder)
    code = {
        "desc": "Digests of the installed code that decides each stage's result",
        "cmd": f"umgclip code --out {CODE.as_posix()}",
        "always_changed": True,
        "outs": [{(CODE / f"{stage}.sha256").as_posix(): {"cache": False}} for stage in STAGES],
    }
    pipeline["stages"].insert(0, "code", code)
    text = dumped(pipeline)
    return _HEAD + text[text.index("stages:") :]


def _yaml() -> YAML:
    yaml = YAML()
    yaml.width = 150
    yaml.representer.add_representer(type(None), lambda r, _: r.represent_scalar("tag:yaml.org,2002:null", "null"))
    yaml.indent(mapping=2, sequence=4, offset=2)
    return yaml


def dumped(content: Mapping[str, Any]) -> str:
    """Write values with their comments as YAML, in the style of the templates."""
    stream = io.StringIO()
    _yaml().dump(content, stream)
    return stream.getvalue()


def _write(path: Path, text: str) -> None:
    with explain_os_errors(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _ignore(folder: Path) -> str:
    """Add the paths that runs write to `.gitignore`; existing lines stay."""
    path = folder / ".gitignore"
    existing = path.read_text(encoding="utf-8") if path.is_file() else ""
    missing = [line for line in _IGNORED.splitlines() if line not in existing.splitlines()]
    if not missing:
        return ".gitignore (unchanged)"
    _write(path, existing + ("" if existing.endswith("\n") or not existing else "\n") + "\n".join(missing) + "\n")
    return f".gitignore{' (lines added)' if existing else ''}"


def _git(folder: Path) -> str:
    if shutil.which("git") is None:
        return "not installed; DVC works without it, but nothing is versioned"
    if _run(["git", "rev-parse", "--is-inside-work-tree"], folder).returncode == 0:
        return "the existing repository"
    _checked(["git", "init", "--quiet"], folder)
    return "a new repository (git init)"


def _dvc(folder: Path) -> str:
    if (folder / ".dvc").is_dir():
        return "the existing setup"
    inside = shutil.which("git") is not None
    top = _run(["git", "rev-parse", "--show-toplevel"], folder).stdout.strip() if inside else ""
    how = [] if top and Path(top).resolve() == folder.resolve() else ["--subdir"] if top else ["--no-scm"]
    _checked([sys.executable, "-m", "dvc", "init", "--quiet", *how], folder)
    _checked([sys.executable, "-m", "dvc", "config", "core.analytics", "false"], folder)
    return f"initialised (dvc init{''.join(f' {word}' for word in how)})"


def _data(folder: Path) -> str:
    """Create `data.dvc` if there is a dataset, and return a line for the summary."""
    if (folder / "data.dvc").exists():
        return "data.dvc (unchanged)"
    if not (folder / "data" / "train" / "manifest.json").is_file():
        return "none yet: run `umgclip data import`, then `dvc add data`"
    _checked([sys.executable, "-m", "dvc", "add", "--quiet", "data"], folder)
    return "data.dvc (dvc add data)"


def _next(folder: Path) -> str:
    steps = [] if folder.resolve() == Path.cwd() else [f"cd {shlex.quote(str(folder))}"]
    if not (folder / "data" / "train" / "manifest.json").is_file():
        steps += [
            "umgclip data import folder PHOTOS --captions CAPTIONS.csv --license LICENCE",
            "umgclip data import folder TEST --split benchmark --labels folders  # or --captions CAPTIONS.csv",
            "# one source for both: --hold-out 0.2 in place of the second; COCO, YOLO, ...: umgclip data import --help",
        ]
    return "\n".join([*steps, "umgclip doctor --data data", "dvc add data && dvc repro"])


def _run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_TOOL_S, check=False)  # noqa: S603


def _checked(command: list[str], folder: Path) -> None:
    done = _run(command, folder)
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        name = " ".join(word for word in command if word not in (sys.executable, "-m"))
        raise OutputError(f"`{name}` failed in {folder}: {lines[-1] if lines else 'no message'}")
