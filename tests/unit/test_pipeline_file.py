"""`dvc.yaml` against the code: the same stages, the same paths, and every import that decides a result."""

from pathlib import Path

import grimp
import pytest
import typer
from ruamel.yaml import YAML

from umgclip.__main__ import STAGES, app

ROOT = Path(__file__).parents[2]
PIPELINE = YAML(typ="safe").load(ROOT / "dvc.yaml")
# what writes files, moves values or describes them: a change there does not make results stale
PLUMBING = (
    "errors", "section", "annotator_params", "ray_params", "segment_params", "params", "records", "manifest", "summary",
    "provenance", "tracking", "io",
)  # fmt: skip


@pytest.fixture(scope="module")
def imports():
    return grimp.build_graph("umgclip", cache_dir=None)


def paths(entries: list) -> list[str]:
    return [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]


def test_stages_are_those_of_the_command_line_in_order():
    assert tuple(PIPELINE["stages"]) == STAGES
    assert all(PIPELINE["stages"][name]["cmd"] == f"umgclip {name}" for name in STAGES)


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_follows_its_own_section(name):
    assert PIPELINE["stages"][name]["params"] == [name]


@pytest.mark.parametrize("name", STAGES)
def test_paths_are_the_defaults_of_the_command(name):
    command = typer.main.get_command(app).commands[name]
    defaults = {str(option.default) for option in command.params if isinstance(option.default, Path)}
    stage = PIPELINE["stages"][name]
    listed = [*stage["deps"], *paths([*stage.get("outs", []), *stage.get("metrics", []), *stage.get("plots", [])])]
    files = {path for path in listed if not path.startswith("umgclip/")}
    unknown = {path for path in files if not any(Path(path).is_relative_to(default) for default in defaults)}
    assert unknown == set()


@pytest.mark.parametrize("name", ["base", "annotate", "validate", "train", "evaluate"])
def test_code_that_decides_a_result_is_a_dependency(name, imports):
    listed = [dep for dep in PIPELINE["stages"][name]["deps"] if dep.startswith("umgclip/")]
    assert all((ROOT / dep).exists() for dep in listed)
    used = {module.replace(".", "/") for module in imports.find_upstream_modules(f"umgclip.{name}.stage")}
    used = {module for module in used if "/" in module and module.split("/")[1] not in PLUMBING}
    missing = {m for m in used if not any(Path(f"{m}.py").is_relative_to(dep) for dep in listed)}
    missing = {m for m in missing if not (ROOT / m).is_dir()}  # a package's own __init__ holds its docstring
    assert missing == set()


def test_registration_is_never_cached():
    register = PIPELINE["stages"]["register"]
    assert register["always_changed"] is True
    assert "outs" not in register
