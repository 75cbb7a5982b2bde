"""`umgclip push` as its users meet it: a subprocess that speaks to the stand-in of the hub."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ALICE = "hf_aliceMayWriteWhatIsHers"


@pytest.fixture
def run(hub: Any, small_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    shutil.copytree(small_base, tmp_path / "artifacts" / "base")
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)

    def push(*arguments: str, token: str | None = ALICE) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home")}
        env |= {"HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0"}
        env.pop("HF_TOKEN", None)
        if token is not None:
            env["HF_TOKEN"] = token
        command = [sys.executable, "-m", "umgclip", "push", *arguments, "--model", "artifacts/base"]
        return subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=200, check=False)

    return push


def test_a_dry_run_sends_nothing_and_a_push_all(hub: Any, run: Any, tmp_path: Path) -> None:
    tried = run("alice/birds", "--dry-run", "--no-transformers", "--out", "files", token=None)
    assert tried.returncode == 0, tried.stderr
    assert "nothing was sent (--dry-run)" in " ".join(tried.stdout.split())
    assert (tmp_path / "files" / "README.md").is_file()
    assert hub.asked == []
    done = run("alice/birds", "--private", "--no-transformers", "--license", "mit", "--message", "the first")
    assert done.returncode == 0, done.stderr
    assert hub.repositories["alice/birds"].private
    assert hub.repositories["alice/birds"].messages[-1] == "the first"
    assert b"license: mit" in hub.files("alice/birds")["README.md"]
    assert ALICE not in done.stdout + done.stderr


def test_errors_are_one_line_with_a_way_out(hub: Any, run: Any) -> None:
    without = run("alice/birds", token=None)
    assert without.returncode == 2
    assert "expected a token of the hub that may write, found none; run: hf auth login" in without.stderr
    named = run("birds")
    assert named.returncode == 2
    assert "hub: expected USER/NAME, such as alice/my-clip, got 'birds'" in named.stderr
    assert "Traceback" not in without.stderr + named.stderr
