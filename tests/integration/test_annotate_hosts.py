"""`umgclip annotate` on a cluster of Ray over three hosts, each with an address, a disk and a name of its own.

The hosts are network namespaces (`hosts.py`). Images and results are in an S3 server on a fourth, behind a slow
network. Hosts are cut off in the middle of a run, for a while or for good, and lose their power. The data set is that
of the local engine, to the byte.
"""

import importlib.util
import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import yaml

from umgclip.io.atomic import sha256_file
from umgclip.model.clip import files
from umgclip.params import DataParams, TowerParams
from umgclip.sources.demo.scenes import write_demo

HERE = Path(__file__).parent
_SPEC = importlib.util.spec_from_file_location("hosts", HERE / "hosts.py")
hosts = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(hosts)

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(1200)]

TOWER = TowerParams(
    width=24, layers=2, heads=2, text_width=24, text_layers=1, text_heads=2, embed_dim=16, context_length=32
)
IMAGES = 96
PARAMS = {
    "workers": 1, "batch": 4, "min_concept_count": 1, "label": {"threshold": 0.0}, "output": "s3://bucket/out",
}  # fmt: skip
RAY_PORT, S3_PORT = 6379, 9000
MBIT = 40
WAIT_S = 600


def wait_for(is_so, what) -> None:
    until = time.monotonic() + WAIT_S
    while not is_so():
        assert time.monotonic() < until, f"expected {what() if callable(what) else what}"
        time.sleep(0.1)


class Cluster:
    """Three hosts with Ray, one processor each, and a fourth with S3."""

    def __init__(self, root: Path, head_cpus: int) -> None:
        self.root, self.hosts = root, hosts.Hosts("first", "second", "third", "store")
        first = self.hosts["first"]
        self._environment = {
            **os.environ,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_worker_niceness": "0",  # workers of Ray are nice, and get nothing beside other tests
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            "AWS_ENDPOINT_URL": f"http://{self.hosts['store'].address}:{S3_PORT}",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        self.address = f"{first.address}:{RAY_PORT}"
        try:
            server = [sys.executable, HERE / "durable_s3.py", S3_PORT, root / "requests.jsonl"]
            self.start("store", *server, self.hosts["store"].address)
            self.ask(
                "store",
                "-c",
                f"import socket\nwhile socket.socket().connect_ex(('{self.hosts['store'].address}', {S3_PORT})): pass",
            )
            self.ask("store", HERE / "bucket_files.py", "put", root / "data", "data")
            self.ray("first", "--num-cpus", head_cpus, "--head", "--port", RAY_PORT, "--include-dashboard=false",
                     "--temp-dir", self.hosts.folder / "ray")  # fmt: skip
            for name in ("second", "third"):
                self.join(name)
            for name in ("first", "second", "third"):
                self.hosts[name].limit(MBIT)
        except BaseException:
            self.close()
            raise

    def start(self, host: str, *command) -> subprocess.Popen:
        return self.hosts[host].start(list(map(str, command)), self._environment, self.log(host), self.root)

    def ask(self, host: str, *command) -> str:
        """What a Python script on a host prints."""
        out = self.root / f"{secrets.token_hex(4)}.out"
        process = self.hosts[host].start([sys.executable, *map(str, command)], self._environment, out, self.root)
        assert process.wait(WAIT_S) == 0, out.read_text()
        return out.read_text()

    def ray(self, host: str, *options) -> None:
        """Start Ray on a host, as people do."""
        here = ["--node-ip-address", self.hosts[host].address, "--object-store-memory", 80 * 2**20]
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--disable-usage-stats", *here, *options]
        assert self.start(host, *command).wait(120) == 0, self.log(host).read_text()

    def join(self, host: str) -> None:
        """Add a host with a processor to the cluster."""
        self.ray(host, "--num-cpus", 1, "--address", self.address)

    def annotate(self, out: str, engine: str, **ray) -> subprocess.Popen:
        params = self.root / f"{engine}.yaml"
        ray = {"address": self.address, **ray} if engine == "ray" else {}
        params.write_text(yaml.safe_dump({"annotate": {**PARAMS, "engine": engine, "ray": ray}}))
        paths = ["--data", "s3://bucket/data", "--params", params, "--out", f"artifacts/{out}", "--metrics", "m.json"]
        return self.start("first", sys.executable, "-m", "umgclip", "annotate", *paths)

    def log(self, host: str) -> Path:
        return self.root / f"{host}.log"

    def said(self) -> str:
        return self.log("first").read_text()[-3000:]

    def images(self, out: str) -> int:
        path = self.root / "artifacts" / f".{out}-progress.json"
        return int(json.loads(path.read_text())["images"]["done"]) if path.is_file() else 0

    def take(self, out: str) -> dict[str, str]:
        """Digests of all files and objects of a result; the objects are deleted, as the next have the same names."""
        folder = self.root / "artifacts" / out
        on_disk = {str(path.relative_to(folder)): sha256_file(path) for path in folder.rglob("*") if path.is_file()}
        objects = json.loads(self.ask("store", HERE / "bucket_files.py", "take", "out/"))
        return {**on_disk, **{key: tag for key, tag in objects.items() if key.endswith((".tar", ".parquet"))}}

    def works(self, *names: str) -> bool:
        """Return whether workers run on these hosts."""
        return all(self.hosts[name].runs("ray::MapWorker") for name in names)

    def reach(self, run: subprocess.Popen, images: int, *names: str) -> None:
        """Wait until so many images are done and workers run on these hosts."""

        def there() -> bool:
            return run.poll() is not None or (self.images("cluster") >= images and self.works(*names))

        wait_for(there, self.said)
        assert run.poll() is None, self.said()

    def close(self) -> None:
        self.hosts.close()


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """Data and a tiny base in a working folder."""
    root = tmp_path_factory.mktemp("hosts")
    write_demo(DataParams(train_scenes=IMAGES, benchmark_scenes=6, benchmark_singles=1, shard_samples=8), root / "data")
    torch.manual_seed(0)
    base = root / "artifacts" / "base"
    base.mkdir(parents=True)
    config = files.tower_config(TOWER)
    files.save(base, files.build(config), config)
    return root


@pytest.fixture
def cluster(root, request) -> Iterator[Cluster]:
    if (reason := hosts.why_not()) is not None:
        pytest.skip(reason)
    made = Cluster(root, request.param)
    yield made
    made.close()


@pytest.fixture(scope="module")
def undisturbed() -> dict[str, dict[str, str]]:
    """What the local engine makes of the same; filled by the first test."""
    return {}


def local(cluster: Cluster, undisturbed: dict[str, dict[str, str]]) -> dict[str, str]:
    if "local" not in undisturbed:
        assert cluster.annotate("local", "local").wait(WAIT_S) == 0, cluster.said()
        undisturbed["local"] = cluster.take("local")
    return undisturbed["local"]


@pytest.mark.parametrize("cluster", [1], indirect=True)
def test_one_host_cut_off_and_one_without_power_cost_no_sample(cluster, undisturbed):
    expected = local(cluster, undisturbed)
    run = cluster.annotate("cluster", "ray", workers=3)
    cluster.reach(run, IMAGES // 8, "first", "second", "third")
    cluster.hosts["second"].cut()
    cluster.reach(run, IMAGES // 3, "third")
    cluster.hosts["third"].kill()
    assert run.wait(WAIT_S) == 0, cluster.said()
    assert cluster.works("second")  # it does not know what happened
    cluster.hosts["second"].mend()
    wait_for(lambda: not cluster.works("second"), "that Ray ends on a host that was given up")
    assert cluster.images("cluster") == IMAGES + 2 * 7
    assert cluster.take("cluster") == expected


@pytest.mark.parametrize("cluster", [0], indirect=True)
def test_a_cluster_without_workers_ends_the_run_and_the_next_one_continues(cluster, undisturbed):
    expected = local(cluster, undisturbed)
    run = cluster.annotate("cluster", "ray", workers=2, start_timeout_s=30.0)
    cluster.reach(run, IMAGES // 8, "second", "third")
    cluster.hosts["second"].cut()
    time.sleep(8)  # shorter than it takes Ray to give a host up
    cluster.hosts["second"].mend()
    cluster.reach(run, IMAGES // 4, "second", "third")
    for name in ("second", "third"):
        cluster.hosts[name].kill()
    assert run.wait(WAIT_S) == 1, cluster.said()
    said = " ".join(cluster.said().split())
    assert "has had no room for the workers for 30 s (start_timeout_s)" in said
    assert "run it again to continue" in said
    done = cluster.images("cluster")
    assert 0 < done < IMAGES
    cluster.join("third")
    again = cluster.annotate("cluster", "ray", workers=1)
    assert again.wait(WAIT_S) == 0, cluster.said()
    assert cluster.take("cluster") == expected
