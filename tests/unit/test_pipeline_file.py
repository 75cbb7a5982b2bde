"""`dvc.yaml` against the code: the same stages, the same paths, and every import and key that decides a result."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import grimp
import pytest
import typer
from dvc.repo import Repo
from pydantic import BaseModel
from ruamel.yaml import YAML

from umgclip.__main__ import STAGES, app
from umgclip.annotate.catalog import CATALOG
from umgclip.annotate.catalog import __name__ as CATALOG_MODULE
from umgclip.cli.project.create import ProjectOptions, make_project
from umgclip.params import SECTIONS, read_params
from umgclip.params.section import BESIDE_SCORES, IMPORTS_ONLY, INDIFFERENT, LOCATION, NEWER, VIA_STREAMS, Section
from umgclip.provenance import PLUMBING

ROOT = Path(__file__).parents[2]
PIPELINE = YAML(typ="safe").load(ROOT / "dvc.yaml")
# where, how fast and how patiently work is done: another value makes no stage stale. A new key that is not among these
# decides, and is to be listed in dvc.yaml
OF_NO_EFFECT = {
    "annotate": {
        "engine", "workers", "ray", "store", "store_gb", "attempts", "max_failed", "label.device",
    },
    "base": {"device"},
    "validate": {"chunk_rows"},
    "train": {
        "device", "max_failed", "checkpoint_every", "parallel", "accumulate", "checkpoint_activations", "compile",
        "loader.workers", "loader.backend", "windows.cache", "windows.cache_gib", "windows.at_once",
    },
    "evaluate": {"device", "batch", "cache"},
    "register": {"device"},
    "data": {"imports.workers"},
    "segment": {"device", "max_failed", "checkpoint_every"},
}  # fmt: skip
# keys that decide the result of their stage, but no part of it that is identified by itself: (section, mark) -> keys
OF_PARTIAL_EFFECT = {
    ("annotate", LOCATION): {"output", "teacher"},
    ("annotate", NEWER): {"tuned"},
    ("data", IMPORTS_ONLY): {"imports"},
    ("evaluate", BESIDE_SCORES): {"pictures", "resamples", "measure_cost"},
    ("evaluate", NEWER): {
        "dtype",
        "resize",
        "readouts",
        "crowd",
        "tag_threshold",
        "semantic",
        "decoder",
        "protocol",
        "lower_case",
        "detection",
    },
    ("train", VIA_STREAMS): {"processes", "loader"},
}


@pytest.fixture(scope="module")
def imports():
    graph = grimp.build_graph("umgclip", cache_dir=None)
    for kind in CATALOG.values():  # names classes as text
        graph.add_import(importer=CATALOG_MODULE, imported=kind.module)
    return graph


def paths(entries: list) -> list[str]:
    return [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]


def test_stages_are_those_of_the_command_line_in_order():
    assert tuple(PIPELINE["stages"]) == STAGES
    assert all(PIPELINE["stages"][name]["cmd"] == f"umgclip {name}" for name in STAGES)


def marked(model: type[BaseModel], mark: str = INDIFFERENT, prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        if mark in field.metadata:
            yield f"{prefix}{name}"
        elif isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from marked(field.annotation, mark, f"{prefix}{name}.")


@pytest.mark.parametrize("name", SECTIONS)
def test_keys_of_no_effect_are_these(name):
    assert set(marked(SECTIONS[name])) == OF_NO_EFFECT[name]


@pytest.mark.parametrize("mark", [LOCATION, IMPORTS_ONLY, BESIDE_SCORES, NEWER, VIA_STREAMS])
def test_keys_of_partial_effect_are_these(mark):
    keys = {name: set(marked(section, mark)) for name, section in SECTIONS.items()}
    expected = {name: keys for (name, each), keys in OF_PARTIAL_EFFECT.items() if each == mark}
    assert {name: found for name, found in keys.items() if found} == expected


class Inner(Section):
    fast: Annotated[int, INDIFFERENT] = 1
    where: Annotated[str, LOCATION] = "here"
    size: int = 2


class Outer(Section):
    inner: Inner = Inner()
    by_name: dict[str, Inner] = {"one": Inner()}
    added: Annotated[Inner, NEWER] = Inner()
    seed: int = 0


def test_values_that_decide_leave_out_marked_keys_on_every_level():
    inner = {"where": "here", "size": 2}
    assert Outer().decisive() == {"inner": inner, "by_name": {"one": inner}, "added": inner, "seed": 0}
    bare = {"size": 2}
    assert Outer().decisive(LOCATION, NEWER) == {"inner": bare, "by_name": {"one": bare}, "seed": 0}
    assert Outer().decisive(unread=["inner", "by_name", "seed"]) == {"added": inner}


def test_a_newer_key_is_told_apart_at_its_default():
    assert Outer().at_default(NEWER) == {"added"}
    assert Outer(added=Inner(size=3)).at_default(NEWER) == set()


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_follows_every_key_of_its_section_that_decides_and_no_other(name):
    assert PIPELINE["stages"][name]["params"] == [f"{name}.{key}" for key in SECTIONS[name].deciding_keys()]


def with_others(content: Any, keys: set[str], within: bool = False, at: str = "") -> Any:
    """Another value wherever a dotted key is one of `keys`, or lies below one."""
    here = within or at in keys
    if isinstance(content, dict) and content:
        return {key: with_others(one, keys, here, f"{at}.{key}" if at else key) for key, one in content.items()}
    return f"not {content}" if here else content


@pytest.fixture(scope="module", params=["repository", "project"])
def followed(request, tmp_path_factory):
    """DVC with what the stages follow of params.yaml and nothing else: all has run, nothing is stale."""
    root = tmp_path_factory.mktemp("followed")
    if request.param == "project":
        make_project(root, ProjectOptions("mine"))
    else:
        Repo.init(str(root), no_scm=True)
        (root / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    pipeline = YAML(typ="safe").load(root / "dvc.yaml") if request.param == "project" else PIPELINE
    stages = {name: {"cmd": "true", "params": pipeline["stages"][name]["params"]} for name in STAGES}
    YAML().dump({"stages": stages}, root / "dvc.yaml")
    repo = Repo(str(root))
    repo.reproduce(all_pipelines=True)
    assert repo.status() == {}
    yield root, repo
    repo.close()


def test_dvc_sees_no_change_of_what_has_no_effect(followed):
    root, repo = followed
    before = read_params(root / "params.yaml")
    changed = with_others(before, {f"{name}.{key}" for name, keys in OF_NO_EFFECT.items() for key in keys})
    assert {name for name in SECTIONS if changed[name] != before[name]} == set(SECTIONS)
    YAML().dump(changed, root / "params.yaml")
    assert repo.status() == {}
    YAML().dump(before, root / "params.yaml")


def test_dvc_sees_every_change_of_what_decides(followed):
    root, repo = followed
    before = read_params(root / "params.yaml")
    decide = {f"{name}.{key}" for name in STAGES for key in SECTIONS[name].deciding_keys()}
    YAML().dump(with_others(before, decide), root / "params.yaml")
    seen = {stage: changes[0]["changed deps"]["params.yaml"] for stage, changes in repo.status().items()}
    assert {key for keys in seen.values() for key in keys} == decide
    YAML().dump(before, root / "params.yaml")


@pytest.mark.parametrize("name", STAGES)
def test_paths_are_the_defaults_of_the_command(name):
    command = typer.main.get_command(app).commands[name]
    defaults = {str(option.default) for option in command.params if isinstance(option.default, Path)}
    stage = PIPELINE["stages"][name]
    listed = [*stage["deps"], *paths([*stage.get("outs", []), *stage.get("metrics", []), *stage.get("plots", [])])]
    files = {path for path in listed if not path.startswith("umgclip/")}
    unknown = {path for path in files if not any(Path(path).is_relative_to(default) for default in defaults)}
    assert unknown == set()


def folders_of_code(name: str) -> list[str]:
    return [dep for dep in PIPELINE["stages"][name]["deps"] if dep.startswith("umgclip/")]


def used_modules(name: str, imports: grimp.ImportGraph) -> set[str]:
    """Files of this package that a stage imports, directly or not, plumbing aside."""
    names = {f"umgclip.{name}.stage", *imports.find_upstream_modules(f"umgclip.{name}.stage")}
    parts = (module.split(".") for module in names)
    modules = {"/".join(module) for module in parts if len(module) > 1 and module[1] not in PLUMBING}
    return {module for module in modules if not (ROOT / module).is_dir()}  # a package's __init__ holds its docstring


@pytest.mark.parametrize("name", ["base", "annotate", "validate", "train", "evaluate"])
def test_code_that_decides_a_result_is_a_dependency(name, imports):
    listed = folders_of_code(name)
    missing = {m for m in used_modules(name, imports) if not any(Path(m).is_relative_to(dep) for dep in listed)}
    assert missing == set()


@pytest.mark.parametrize("name", STAGES)
def test_every_dependency_on_code_is_a_folder_that_the_stage_imports(name, imports):
    listed, used = folders_of_code(name), used_modules(name, imports)
    assert all((ROOT / dep).is_dir() for dep in listed)
    assert [dep for dep in listed if not any(Path(module).is_relative_to(dep) for module in used)] == []


def test_stages_follow_these_many_folders_of_code():
    assert sum(len(folders_of_code(name)) for name in STAGES) == 27


def test_registration_is_never_cached():
    register = PIPELINE["stages"]["register"]
    assert register["always_changed"] is True
    assert "outs" not in register
