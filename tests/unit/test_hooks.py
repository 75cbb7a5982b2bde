"""The hooks for git: all are local, each runs a program of the locked environment, and they agree with `make`."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
CONFIG = YAML(typ="safe").load(ROOT / ".pre-commit-config.yaml")
HOOKS = {hook["id"]: hook for repo in CONFIG["repos"] for hook in repo["hooks"]}


def command(hook: str) -> list[str]:
    """The hook's command, with the program of the environment that runs this test for that of .venv."""
    program, *options = shlex.split(HOOKS[hook]["entry"])
    folder, name = program.rsplit("/", 1)
    assert folder == ".venv/bin"
    return [str(Path(sys.executable).parent / name), *options]


def recipe(target: str) -> list[str]:
    """The commands of a target of the Makefile."""
    found = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert found
    return [line.strip() for line in found[1].splitlines()]


def test_every_hook_is_local():
    assert [repo["repo"] for repo in CONFIG["repos"]] == ["local"]
    assert list(HOOKS) == ["ruff-check", "ruff-format", "lint-imports", "mypy"]
    assert {hook["language"] for hook in HOOKS.values()} == {"system"}
    assert not any("additional_dependencies" in hook for hook in HOOKS.values())


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_has_its_program(hook):
    program, *_ = command(hook)
    assert subprocess.run([program, "--help"], capture_output=True, check=False).returncode == 0


def test_mypy_waits_for_a_push():
    assert HOOKS["mypy"]["stages"] == ["pre-push"]
    assert [hook for hook, about in HOOKS.items() if "stages" not in about] == [
        "ruff-check",
        "ruff-format",
        "lint-imports",
    ]
    assert CONFIG["default_stages"] == ["pre-commit"]
    assert CONFIG["default_install_hook_types"] == ["pre-commit", "pre-push"]


def test_hooks_mend_what_ruff_can(tmp_path):
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    file = tmp_path / "untidy.py"
    file.write_text('"""Show untidy imports."""\n\nimport sys\nimport json\n\nVALUE = json.dumps( {1:2} )\n')
    for hook in ("ruff-check", "ruff-format"):
        done = subprocess.run([*command(hook), "untidy.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    assert file.read_text() == '"""Show untidy imports."""\n\nimport json\n\nVALUE = json.dumps({1: 2})\n'


def test_hooks_leave_excluded_folders_alone(tmp_path):
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    file = tmp_path / "artifacts" / "made.py"
    file.parent.mkdir()
    file.write_text("x=1")
    for hook in ("ruff-check", "ruff-format"):
        subprocess.run([*command(hook), "artifacts/made.py"], cwd=tmp_path, capture_output=True, check=True)
    assert file.read_text() == "x=1"


def test_hooks_and_make_run_the_same_tools():
    *first, beside_each_other = recipe("check")
    assert first == ["ruff check .", "ruff format --check ."]
    assert beside_each_other.endswith(" types layers")
    assert (recipe("types"), recipe("layers")) == (["mypy --num-workers $(JOBS)"], ["lint-imports --no-logo"])
    assert recipe("fix") == ["ruff check --fix .", "ruff format ."]
    assert {"ruff check", "ruff format", "mypy", "lint-imports"} == {
        " ".join(word for word in shlex.split(hook["entry"].removeprefix(".venv/bin/")) if not word.startswith("-"))
        for hook in HOOKS.values()
    }


def test_pre_commit_accepts_the_file():
    pytest.importorskip("pre_commit")
    command = [sys.executable, "-m", "pre_commit", "validate-config", ".pre-commit-config.yaml"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
