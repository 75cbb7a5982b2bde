"""A clone of this repository with parameters small enough for a test."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
SMALL = {
    "data": {"train_scenes": 60, "benchmark_scenes": 10, "benchmark_singles": 8, "shard_samples": 30},
    "base": {"short_steps": 3, "short_batch": 16, "full_steps": 1, "full_batch": 8, "min_concept_count": 1},
    "annotate": {"min_concept_count": 1, "workers": 2},
    "validate": {"labelled_image_share_min": 0.0, "label_score_mean_min": 0.0, "tolerance": 0.5},
    "train": {"steps": 4, "batch": 8, "checkpoint_every": 2},
}
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The working tree without what git ignores, in a repository of its own with small params."""
    folder = tmp_path_factory.mktemp("clone") / "umgclip"
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in listed.split("\0"):
        if name and (ROOT / name).is_file() and not name.startswith("tests/"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    yaml = YAML()
    params = yaml.load((folder / "params.yaml").read_text(encoding="utf-8"))
    for section, values in SMALL.items():
        params[section].update(values)
    params["annotate"]["label"]["threshold"] = 0.0
    with (folder / "params.yaml").open("w", encoding="utf-8") as handle:
        yaml.dump(params, handle)
    (folder / "data.dvc").unlink()
    return folder


@pytest.fixture(scope="session")
def run(clone: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Run a command of the README in the clone, as a user without any settings of their own would."""
    home = tmp_path_factory.mktemp("home")
    environment = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(home),
        "GX_ANALYTICS_ENABLED": "false",
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "2"),
        "GIT_AUTHOR_NAME": "test", "GIT_AUTHOR_EMAIL": "test@example.invalid",
        "GIT_COMMITTER_NAME": "test", "GIT_COMMITTER_EMAIL": "test@example.invalid",
    }  # fmt: skip

    def execute(command: str, expect: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            command, shell=True, cwd=clone, env=environment, capture_output=True, text=True, timeout=280, check=False
        )
        assert done.returncode == expect, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done

    execute("git init -q && git add -A && git commit -q -m start")
    return execute
