"""Two rounds of the data engine with the real stages, small."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from umgclip.data.stream import read_raw
from umgclip.records import ImageRecord, parse_record

pytestmark = pytest.mark.heavy
HELD_OUT = {"fox", "lion", "penguin"}


@pytest.fixture(scope="module")
def workplace(clone: Path, run, tmp_path_factory: pytest.TempPathFactory):
    """A copy of the clone, with the demo, in which commands run as a user runs them."""
    root = tmp_path_factory.mktemp("rounds") / "umgclip"
    listed = run("git ls-files -z").stdout.split("\0")
    for name in filter(None, listed):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(clone / name, root / name)
    shutil.rmtree(root / ".dvc", ignore_errors=True)
    environment = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(root.parent), "GX_ANALYTICS_ENABLED": "false", "OMP_NUM_THREADS": "1",
        "GIT_AUTHOR_NAME": "test", "GIT_AUTHOR_EMAIL": "test@example.invalid",
        "GIT_COMMITTER_NAME": "test", "GIT_COMMITTER_EMAIL": "test@example.invalid",
    }  # fmt: skip

    def execute(command: str) -> str:
        done = subprocess.run(
            command, shell=True, cwd=root, env=environment, capture_output=True, text=True, timeout=1500, check=False
        )
        assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout

    execute("git init -q && dvc init -q && umgclip data demo --out data && dvc add -q data")
    execute("git add -A && git commit -q -m start")
    return root, execute


def records(folder: Path) -> list[ImageRecord]:
    return [parse_record(raw.json, where=raw.key) for _, raw in read_raw(folder)]


@pytest.mark.timeout(1800)
def test_the_second_round_is_taught_by_the_first(workplace):
    root, execute = workplace
    shown = execute("python -m flows.engine --rounds 2 --leave-out 8 --min-gain -1")
    assert "Rounds of rounds-" in shown
    report = json.loads((root / "artifacts" / "rounds.json").read_text())
    first, second = report["rounds"]
    assert (first["teacher"], second["teacher"], second["passed"]) == (False, True, True)
    assert report["workspace"] == 2
    assert all(0 <= one["slice"]["score"] <= 1 and one["slice"]["images"] == 8 for one in (first, second))
    assert all(one[name] is not None for one in (first, second) for name in ("box_recall", "box_top1", "mask_top1"))
    # the second round's labels come from both, none of them held out, and the benchmark's truth taught nobody
    for split in ("train", "benchmark"):
        tags = [tag for r in records(root / "artifacts" / "annotate" / split) for g in r.regions for tag in g.tags]
        assert any(tag.source.startswith("tuned_teacher/") or tag.agreed_by for tag in tags)
        assert HELD_OUT.isdisjoint(tag.text for tag in tags)
    made_by = json.loads((root / "artifacts" / "annotate" / "made_by.json").read_text())
    assert len(made_by["teacher_sha256"]) == 64
    # DVC knows the teacher, and the workspace is what it says
    assert "teacher" in execute("dvc dag --dot")
    assert "up to date" in execute("dvc status evaluate")
    assert len(execute("dvc exp list --name-only").split()) == 2
