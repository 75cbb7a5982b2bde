"""Completion: its candidates, its scripts in the shells themselves, and that it imports nothing heavy."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from umgclip.cli.habits import completion
from umgclip.errors import InputError

CODE = """
import os, sys
from umgclip.__main__ import app
try:
    app([], prog_name="umgclip")
except SystemExit:
    pass
print(sorted({"torch", "mlflow", "open_clip", "cv2", "pandas", "pyarrow", "lancedb"} & set(sys.modules)))
"""


def values(candidates):
    return [value for value, _ in candidates]


def test_keys_come_a_level_at_a_time_and_then_their_values():
    assert "train." in values(completion.assignments(""))
    assert values(completion.assignments("train.lora.")) == [
        "train.lora.rank=", "train.lora.alpha=", "train.lora.dropout=", "train.lora.text_tower=",
    ]  # fmt: skip
    assert "train.adapter=lora" in values(completion.assignments("train.adapter=l"))
    assert values(completion.assignments("train.lora.text_tower=")) == [
        "train.lora.text_tower=true", "train.lora.text_tower=false",
    ]  # fmt: skip
    assert values(completion.assignments("nothing=")) == []


def test_datasets_and_the_way_to_them(tmp_path, monkeypatch, demo):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").symlink_to(demo)
    (tmp_path / "docs").mkdir()
    (tmp_path / ".git").mkdir()

    assert values(completion.datasets("d")) == ["data", "data/", "docs/"]
    assert values(completion.datasets("data/t")) == ["data/train"]
    assert values(completion.datasets(f"{tmp_path}/da")) == [f"{tmp_path}/data", f"{tmp_path}/data/"]
    assert values(completion.datasets("s3://b")) == []
    assert values(completion.datasets("nowhere/x")) == []


def test_installing_twice_adds_one_line_and_keeps_the_rest(tmp_path):
    (tmp_path / ".bashrc").write_text("alias ll='ls -l'", encoding="utf-8")
    for _ in range(2):
        completion.install("bash", tmp_path)

    assert (tmp_path / ".bashrc").read_text(encoding="utf-8") == (
        "alias ll='ls -l'\nsource ~/.bash_completions/umgclip.sh\n"
    )
    assert completion.install("fish", tmp_path)[0].read_text(encoding="utf-8").startswith("complete --command umgclip")


def test_another_shell_is_refused(monkeypatch):
    monkeypatch.setenv("UMGCLIP_SHELL", "zhs")
    with pytest.raises(InputError, match="expected bash, zsh or fish, got 'zhs'; did you mean 'zsh'"):
        completion.shell_name()


def ask(line: str, code: str = CODE) -> list[str]:
    environment = {
        **os.environ, "COLUMNS": "9999", "_UMGCLIP_COMPLETE": "complete_fish",
        "_TYPER_COMPLETE_FISH_ACTION": "get-args", "_TYPER_COMPLETE_ARGS": line,
    }  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_completing_imports_nothing_heavy_and_has_one_line_a_candidate():
    for line, expected in (
        ("umgclip tra", "train"),
        ("umgclip train --s", "--set"),
        ("umgclip train --set b", "base."),
    ):
        *candidates, heavy = ask(line)
        assert [one.partition("\t")[0] for one in candidates] == [expected]
        assert heavy == "[]"


@pytest.fixture
def umgclip_in_path(tmp_path, monkeypatch):
    """A folder first in PATH, whose `umgclip` runs this code."""
    script = tmp_path / "bin" / "umgclip"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -m umgclip "$@"\n', encoding="utf-8")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{script.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    return tmp_path


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["umgclip", "tra"], ["train"]),
        (["umgclip", "train", "--set", "train.ada"], ["train.adapter="]),
        (["umgclip", "train", "--set", "train.adapter", "=", "l"], ["lora"]),  # as bash divides it
    ],
)
def test_bash_itself_completes(umgclip_in_path, words, expected):
    (umgclip_in_path / "umgclip.sh").write_text(completion.SCRIPTS["bash"], encoding="utf-8")
    line = " ".join(words).replace(" = ", "=").replace(" =", "=")
    test = f"""
source umgclip.sh
compopt() {{ :; }}
COMP_WORDS=({" ".join(f"'{word}'" for word in words)})
COMP_CWORD={len(words) - 1} COMP_LINE='{line}' COMP_POINT={len(line)}
_umgclip_completion umgclip
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    done = subprocess.run(
        ["bash", "--norc", "-c", test], cwd=umgclip_in_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == expected


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_can_read_its_script(shell, tmp_path: Path):
    if shutil.which(shell) is None:
        pytest.skip(f"needs {shell}")
    script = tmp_path / "script"
    script.write_text(completion.SCRIPTS[shell], encoding="utf-8")
    assert subprocess.run([shell, "-n", script], check=False).returncode == 0
