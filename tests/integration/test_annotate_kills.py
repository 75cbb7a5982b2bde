"""kill -9 of a run, of one worker, of the object store, at random moments: the data set does not differ by a byte.

Twenty rounds. The moment is when a random number of images is done, and a random part of a second more. The run is
started again until it ends well.
"""

import contextlib
import itertools
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import boto3
import psutil
import pytest
import torch

from umgclip.io.atomic import sha256_file
from umgclip.model.clip import files
from umgclip.params import AnnotateParams, DataParams, LabelParams, TowerParams
from umgclip.sources.demo.scenes import write_demo

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(900)]

HERE = Path(__file__).parent
TOWER = TowerParams(
    width=24, layers=2, heads=2, text_width=24, text_layers=1, text_heads=2, embed_dim=16, context_length=32
)
PARAMS = AnnotateParams(workers=2, min_concept_count=1, label=LabelParams(threshold=0.0))
ROUNDS = {
    ("run", "local"): 5, ("run", "ray"): 3,
    ("worker", "local"): 4, ("worker", "ray"): 4,
    ("object store", "local"): 2, ("object store", "ray"): 2,
}  # fmt: skip
WAIT_S, MOST_STARTS = 600, 4
IMAGES = 160 + 2 * 21  # the benchmark's are done twice


class ObjectStore:
    """An S3 server that can be killed and comes back with its objects."""

    def __init__(self, folder: Path) -> None:
        self._log = folder / "requests.jsonl"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self.environment = {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self._port}",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        self.start()
        self._client = boto3.client(
            "s3", endpoint_url=self.environment["AWS_ENDPOINT_URL"], region_name="us-east-1",
            aws_access_key_id="test", aws_secret_access_key="test",
        )  # fmt: skip
        self._client.create_bucket(Bucket="bucket")

    def start(self) -> None:
        command = [sys.executable, str(HERE / "durable_s3.py"), str(self._port), str(self._log)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until = time.monotonic() + WAIT_S
        while True:
            assert self._process.poll() is None
            assert time.monotonic() < until
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self._port)).close()
                return
            time.sleep(0.05)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def upload(self, folder: Path, prefix: str) -> None:
        for path in folder.rglob("*"):
            if path.is_file():
                self._client.put_object(
                    Bucket="bucket", Key=f"{prefix}/{path.relative_to(folder)}", Body=path.read_bytes()
                )

    def take(self, prefix: str) -> dict[str, str]:
        """ETags of all objects below a prefix, which are deleted; those of journals and the like do not count."""
        found = {}
        for page in self._client.get_paginator("list_objects_v2").paginate(Bucket="bucket", Prefix=prefix):
            for one in page.get("Contents", []):
                found[one["Key"]] = one["ETag"]
                self._client.delete_object(Bucket="bucket", Key=one["Key"])
        return {key: etag for key, etag in found.items() if key.endswith((".tar", ".parquet"))}


class World:
    """Data, a tiny base, and where runs read and write: folders, or a bucket."""

    def __init__(self, root: Path, store: ObjectStore | None) -> None:
        self.root, self.store = root, store
        self._data, self._params = str(root / "data"), PARAMS
        if store is not None:
            store.upload(root / "data", "data")
            self._data, self._params = "s3://bucket/data", PARAMS.model_copy(update={"output": "s3://bucket/out"})

    def run(self, out: Path, engine: str) -> "Run":
        params = self._params.model_copy(update={"engine": engine})
        command = [sys.executable, str(HERE / "annotate_run.py"), self._data, str(self.root / "base"), str(out)]
        environment = {**os.environ, **(self.store.environment if self.store else {})}
        return Run([*command, params.model_dump_json()], environment, out)

    def contents(self, out: Path) -> dict[str, str]:
        """Every file of the output, by the hash of its bytes, and every object."""
        found = {str(path.relative_to(out)): sha256_file(path) for path in out.rglob("*") if path.is_file()}
        return {**found, **(self.store.take("out/") if self.store else {})}

    def forget(self, out: Path) -> None:
        shutil.rmtree(out)
        if self.store is not None:
            self.store.take("out/")


class Run:
    """A run in a process group of its own."""

    def __init__(self, command: list[str], environment: dict[str, str], out: Path) -> None:
        self._progress, self._log = out.parent / f".{out.name}-progress.json", out.with_suffix(".log")
        with self._log.open("a") as log:
            self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)

    def images(self) -> int:
        if not self._progress.is_file():
            return 0
        return int(json.loads(self._progress.read_text())["images"]["done"])

    def wait_for(self, images: int) -> None:
        until = time.monotonic() + WAIT_S
        while self.process.poll() is None and self.images() < images:
            assert time.monotonic() < until, self.said()
            time.sleep(0.05)

    def workers(self) -> list[int]:
        """What annotates: processes of the local engine, actors of Ray's."""
        found = []
        for process in psutil.Process(self.process.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                line = " ".join(process.cmdline())
                if "spawn_main" in line or line.startswith("ray::MapWorker"):
                    found.append(process.pid)
        return found

    def end(self) -> int:
        return self.process.wait(timeout=WAIT_S)

    def said(self) -> str:
        return self._log.read_text()[-3000:]


def kill(what: str, run: Run, world: World, rng: random.Random) -> None:
    if what == "run":
        os.killpg(run.process.pid, signal.SIGKILL)
    elif what == "worker" and (workers := run.workers()):
        with contextlib.suppress(ProcessLookupError):
            os.kill(rng.choice(workers), signal.SIGKILL)
    elif what == "object store":
        world.store.kill()
        time.sleep(rng.uniform(0.5, 5))  # how long it is away
        world.store.start()


@pytest.fixture(scope="module")
def on_disk(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Some hundred scenes in shards of ten, and a tiny base."""
    root = tmp_path_factory.mktemp("kills")
    write_demo(DataParams(train_scenes=160, benchmark_scenes=20, benchmark_singles=1, shard_samples=10), root / "data")
    torch.manual_seed(0)
    (root / "base").mkdir()
    config = files.tower_config(TOWER)
    files.save(root / "base", files.build(config), config)
    return World(root, None)


@pytest.fixture(scope="module")
def in_s3(on_disk: World) -> Iterator[World]:
    """The same in a bucket."""
    store = ObjectStore(on_disk.root)
    yield World(on_disk.root, store)
    store.kill()


@pytest.fixture(scope="module")
def undisturbed() -> dict[tuple[bool, str], dict[str, str]]:
    """By place and engine, what comes of an undisturbed run; filled when first asked for."""
    return {}


def whole(world: World, engine: str, known: dict) -> dict[str, str]:
    key = world.store is not None, engine
    if key not in known:
        out = world.root / f"whole-{key[0]}-{engine}"
        run = world.run(out, engine)
        assert run.end() == 0, run.said()
        known[key] = world.contents(out)
        # who did it makes no difference
        assert all(found == known[key] for (in_s3, _), found in known.items() if in_s3 == key[0])
    return known[key]


@pytest.mark.parametrize(
    ("what", "engine", "seed"), [(*kind, seed) for kind, rounds in ROUNDS.items() for seed in range(rounds)]
)
def test_nothing_is_lost(request, undisturbed, what, engine, seed, capsys):
    world = request.getfixturevalue("in_s3" if what == "object store" else "on_disk")
    expected = whole(world, engine, undisturbed)
    rng = random.Random(f"{what} {engine} {seed}")
    for attempt in itertools.count():
        out = world.root / f"{what}-{engine}-{seed}-{attempt}".replace(" ", "-")
        run = world.run(out, engine)
        run.wait_for(rng.randrange(1, int(IMAGES * 0.8**attempt)))
        with contextlib.suppress(subprocess.TimeoutExpired):
            run.process.wait(rng.uniform(0, 0.5))
        done = run.images()
        if run.process.poll() is None and done < IMAGES:
            break
        run.end()  # it was too fast
        world.forget(out)
    kill(what, run, world, rng)
    starts, code = 1, run.end()
    while code != 0:
        assert starts < MOST_STARTS, run.said()
        run = world.run(out, engine)
        starts, code = starts + 1, run.end()
    with capsys.disabled():
        sys.stdout.write(f"{what}, {engine}, {seed}: {done} of {IMAGES} images were done; {starts} start(s)\n")
    assert world.contents(out) == expected
    assert not list(out.parent.glob(f".{out.name}.*"))


def test_ray_listens_on_loopback_alone_and_leaves_nothing_at_ctrl_c(on_disk):
    run = on_disk.run(on_disk.root / "stopped", "ray")
    run.wait_for(1)
    below = psutil.Process(run.process.pid).children(recursive=True)
    places = set()
    for process in [psutil.Process(run.process.pid), *below]:
        with contextlib.suppress(psutil.Error):
            places |= {one.laddr.ip for one in process.net_connections() if one.status == psutil.CONN_LISTEN}
    assert places
    assert places <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}
    (session,) = {arg for process in below for arg in session_of(process)}
    assert session.is_dir()
    os.killpg(run.process.pid, signal.SIGINT)
    assert run.end() != 0
    assert psutil.wait_procs(below, timeout=60)[1] == []
    assert not session.exists()


def session_of(process: psutil.Process) -> set[Path]:
    """The session folder that a process of Ray was told."""
    with contextlib.suppress(psutil.Error):
        found = re.search(r"/\S*/umgclip-ray-[^/\s]+", " ".join(process.cmdline()))
        return {Path(found.group())} if found else set()
    return set()
