"""The checkout in which stages run, the user's own or a clone, and the temporary changes there during a run."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configobj import ConfigObj

from umgclip.errors import InputError
from umgclip.flows.dvc import clones
from umgclip.flows.dvc.failures import Unavailable, explain
from umgclip.flows.dvc.process import CommandResult, CommandSettings, OnLine, ignore, run
from umgclip.io.atomic import write_bytes
from umgclip.tracking import PARENT_RUN, SPOOL, spool_folder, store_from_env

PARAMS = "params.yaml"
LOCAL_CONFIG = ".dvc/config.local"
_BEFORE = ".dvc/tmp/params.yaml.before"
_GIT_TIMEOUT_S = 600


@dataclass(frozen=True)
class Workspace:
    """A checkout and the environment variables of commands in it."""

    root: Path
    environment: Mapping[str, str]

    def dvc(self, *words: str, on_line: OnLine = ignore, timeout_s: float | None = None) -> None:
        """Run a DVC command, which waits for the repository's lock.

        Raises:
            StageFailed, Unavailable: the command failed.
        """
        finished = self.try_dvc(*words, on_line=on_line, timeout_s=timeout_s)
        if finished.code != 0:
            raise explain(f"dvc {words[0]}", finished)

    def try_dvc(self, *words: str, on_line: OnLine = ignore, timeout_s: float | None = None) -> CommandResult:
        """Run a DVC command and return its result, even if it fails.

        Raises:
            Unavailable: it took longer than `timeout_s`.
        """
        command = _own("dvc.listings", "--wait-for-lock", *words)
        return self._run(command, f"dvc {words[0]}", on_line, timeout_s)

    def dvc_repo(self, *words: str, on_line: OnLine = ignore, timeout_s: float | None = None) -> CommandResult:
        """Run `umgclip/flows/dvc/repo.py` and return its result, even if it fails.

        Raises:
            Unavailable: it took longer than `timeout_s`.
        """
        return self._run(dvc_repo_command(*words), f"dvc_repo {words[0]}", on_line, timeout_s)

    def _run(self, words: Sequence[str], what: str, on_line: OnLine, timeout_s: float | None) -> CommandResult:
        try:
            return run([sys.executable, *words], CommandSettings(self.root, self.environment, timeout_s), on_line)
        except TimeoutError as error:
            raise Unavailable(f"{what}: {error}") from error


def dvc_repo_command(*words: str) -> list[str]:
    """Return Python's arguments that run `dvc/repo.py` of this package, whatever version a checkout has."""
    return _own("dvc.repo", *words)


def _own(module: str, *words: str) -> list[str]:
    start = "import sys; sys.path.insert(0, sys.argv.pop(1))"
    script = f"{start}; from umgclip.flows.{module} import main; sys.exit(main())"
    return ["-c", script, str(Path(__file__).parents[3]), *words]


def find_root(folder: Path | None = None) -> Path:
    """Return the root of the repository that contains a folder (None: the working directory).

    Raises:
        InputError: the folder is in no repository, or the repository has no `dvc.yaml`.
    """
    folder = Path.cwd() if folder is None else folder
    root = Path(git(folder, "rev-parse", "--show-toplevel"))
    if not (root / "dvc.yaml").is_file():
        raise InputError(f"{root}: expected a repository with dvc.yaml, found none; run from a checkout")
    return root


def git(folder: Path, *words: str) -> str:
    """Run a git command and return its output.

    Raises:
        InputError: the command failed; has its last line.
        Unavailable: the command did not end in time.
    """
    command = ["git", "-C", str(folder), *words]
    variables = {**os.environ, "GIT_TERMINAL_PROMPT": "0"}  # nobody can answer a prompt
    try:
        done = subprocess.run(  # noqa: S603 - a list, no shell
            command, env=variables, capture_output=True, text=True, timeout=_GIT_TIMEOUT_S, check=False
        )
    except OSError as error:
        raise InputError(f"git: expected it on the path: {error.strerror}; install git") from error
    except subprocess.TimeoutExpired as error:
        raise Unavailable(
            f"git {words[0]} in {folder}: expected it to end within {_GIT_TIMEOUT_S} s, it did not"
        ) from error
    if done.returncode != 0:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise InputError(f"git {words[0]} in {folder}: {last[0]}")
    return done.stdout.strip()


def environment(root: Path, store_root: Path | None = None, parent_run: str | None = None) -> dict[str, str]:
    """Return the environment variables of commands in a checkout.

    The checkout's own code runs, whatever version of the package is installed: `.` is first on Python's path.

    Args:
        root: the checkout.
        store_root: folder of MLflow's embedded store; None: the checkout.
        parent_run: MLflow run that is the parent of the stages' runs.
    """
    variables = {name: value for name, value in os.environ.items() if name not in ("MLFLOW_RUN_ID", PARENT_RUN)}
    home = root if store_root is None else store_root
    paths = [".", *filter(None, variables.get("PYTHONPATH", "").split(os.pathsep))]
    programs = [str(Path(sys.executable).parent), variables.get("PATH", os.defpath)]
    home = root if store_root is None else store_root
    variables |= {
        "PYTHONPATH": os.pathsep.join(paths),
        "PATH": os.pathsep.join(programs),
        "PYTHONUNBUFFERED": "1",
        "MLFLOW_TRACKING_URI": store_from_env(home).uri,
        SPOOL: str(spool_folder(home).absolute()),  # unlike a clone, the spool must outlive the run
    }
    return variables if parent_run is None else {**variables, PARENT_RUN: parent_run}


@contextmanager
def restored(path: Path) -> Iterator[None]:
    """Restore a file after the block, whatever ends it except kill -9."""
    before = path.read_bytes() if path.is_file() else None
    try:
        yield
    finally:
        if before is None:
            path.unlink(missing_ok=True)
        else:
            write_bytes(path, before)


@contextmanager
def other_params(root: Path, text: str) -> Iterator[None]:
    """Write another text into `params.yaml` for the duration of the block.

    Raises:
        InputError: another run does the same, or was killed before it could restore the file; names the backup.
    """
    path, backup = root / PARAMS, root / _BEFORE
    if backup.is_file():
        raise InputError(
            f"{path}: another run with overrides is active here, or one was killed and left its values there; then "
            f"the original file is {backup}: restore it (mv {backup} {path}), or delete it to keep the current values"
        )
    before = path.read_bytes()
    if before == text.encode():
        yield
        return
    try:
        write_bytes(backup, before)
        with restored(path):
            write_bytes(path, text.encode())
            yield
    finally:
        if path.read_bytes() == before:
            backup.unlink(missing_ok=True)


def clone(repo: str, commit: str, into: Path) -> None:
    """Clone a commit, or reset an existing clone to it; untracked files stay.

    Args:
        repo: URL or path of a git repository.
        commit: full hash.
        into: folder of the clone.

    Raises:
        InputError: the repository does not exist, or does not have the commit.
    """
    if not into.is_dir():
        unfinished = into.with_name(f"{into.name}.partial")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.parent.mkdir(parents=True, exist_ok=True)
        git(unfinished.parent, "clone", "--quiet", "--no-checkout", "--", repo, str(unfinished))
        unfinished.rename(into)
    try:
        git(into, "checkout", "--quiet", "--force", "--detach", commit)
    except InputError as error:
        raise InputError(f"commit {commit}: expected it in {repo}; push it there first ({error})") from error


def configure(
    root: Path, cache: Path | None = None, remote: tuple[str, str] | None = None, site: Path | None = None
) -> None:
    """Write the locations of the cache and of the default remote into `.dvc/config.local`.

    The S3 endpoint (`AWS_ENDPOINT_URL_S3` or `AWS_ENDPOINT_URL`) and credentials come from the environment.

    Args:
        root: the checkout.
        cache: folder of DVC's cache.
        remote: name and URL of DVC's default remote.
        site: folder in which DVC stores the hashes of files; None: a folder of the machine that is never cleaned up.
    """
    path = root / LOCAL_CONFIG
    content = ConfigObj(str(path), encoding="utf-8")
    if cache is not None:
        content.merge({"cache": {"dir": str(cache)}})
    if site is not None:
        content.merge({"core": {"site_cache_dir": str(site)}})
    if remote is not None:
        name, url = remote
        endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        section = {"url": url, **({"endpointurl": endpoint} if endpoint and url.startswith("s3://") else {})}
        content.merge({"core": {"remote": name}, f'remote "{name}"': section})
    written = io.BytesIO()
    content.write(written)
    write_bytes(path, written.getvalue())


def cache_folder(root: Path) -> Path:
    """Return the folder of a checkout's DVC cache, after adding the stages that are up to date to its run-cache.

    Raises:
        StageFailed, Unavailable: DVC failed.
    """
    finished = Workspace(root, environment(root)).dvc_repo("remember")
    if finished.code != 0:
        raise explain("dvc cache dir", finished)
    return (root / finished.lines[-1]).resolve()


@contextmanager
def kept_clone(root: Path, *purpose: Any) -> Iterator[Path]:  # noqa: ANN401 - what JSON can hold
    """Yield a clone of a checkout's commit that uses the same cache, so that results outlive the clone.

    Its folder depends on commit and purpose: a killed attempt leaves it behind, and the next attempt finds its
    checkpoints and shards.

    Args:
        root: the checkout.
        purpose: values that distinguish the clone from others, such as the overrides of a run.
    """
    commit = git(root, "rev-parse", "HEAD")
    with clones.claimed_folder(clones.worker_folder() / "clones", str(root), commit, *purpose) as folder:
        path = folder / root.name
        clone(str(root), commit, path)
        for left in (path / LOCAL_CONFIG, path / _BEFORE):  # left by a killed attempt
            left.unlink(missing_ok=True)
        configure(path, cache=cache_folder(root), site=folder / "dvc")
        yield path
