"""A listing in DVC's cache or remote that leads out of its folder is refused, whichever command meets it."""

import hashlib
import json
import re
import shutil
from pathlib import Path

import pytest
from dvc.exceptions import DvcException

from umgclip.flows.dvc.listings import check
from umgclip.flows.dvc.workspace import Workspace, configure, environment


@pytest.mark.parametrize("path", ["a", "a/b", "...", ".git", "a..b", "\u00e4/\u4e2d"])
def test_paths_inside_are_read(path: str):
    check(path)


@pytest.mark.parametrize(
    "path", ["", ".", "..", "/a", "a/", "a//b", "../a", "a/../../b", "./a", "a/..", "a\x00", "..\\a", None, 1, ["a"]]
)
def test_paths_that_lead_away_are_refused(path: object):
    with pytest.raises(DvcException, match="expected paths inside the folder, got "):
        check(path)


def keep(cache: Path, content: bytes, suffix: str = "") -> str:
    """Put an object into a cache or a remote; gives its hash."""
    digest = hashlib.md5(content).hexdigest()
    path = cache / "files" / "md5" / digest[:2] / f"{digest[2:]}{suffix}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return f"{digest}{suffix}"


@pytest.fixture
def hostile(project, tmp_path) -> Path:
    """Create a checkout whose data has a listing that names a hook; the objects are in its remote."""
    remote = tmp_path / "remote"
    hook = keep(remote, b"#!/bin/sh\n")
    listing = json.dumps([{"md5": hook, "relpath": "../.git/hooks/post-checkout"}, {"md5": hook, "relpath": "raw.txt"}])
    pointer = project.root / "data.dvc"
    text = re.sub(r"md5: \w+\.dir", f"md5: {keep(remote, listing.encode(), '.dir')}", pointer.read_text())
    pointer.write_text(text.replace("nfiles: 1", "nfiles: 2"))
    shutil.rmtree(project.root / "data")
    configure(project.root, remote=("handoff", str(remote)))
    return project.root


@pytest.mark.parametrize("words", [("pull", "data.dvc"), ("fetch", "data.dvc"), ("repro", "--pull", "base")])
def test_the_dvc_command_refuses_it(hostile: Path, words: tuple[str, ...]):
    done = Workspace(hostile, environment(hostile)).try_dvc(*words)
    if words[0] == "fetch" and done.code == 0:
        done = Workspace(hostile, environment(hostile)).try_dvc("checkout", "data.dvc")

    assert done.code != 0
    assert not (hostile / ".git" / "hooks" / "post-checkout").exists()


def test_what_shares_raw_data_refuses_it(hostile: Path):
    done = Workspace(hostile, environment(hostile)).dvc_repo("share", "data.dvc")

    assert done.code != 0
    assert "expected paths inside the folder, got '../.git/hooks/post-checkout'" in done.text
    assert not (hostile / ".git" / "hooks" / "post-checkout").exists()
