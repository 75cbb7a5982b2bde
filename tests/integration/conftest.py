"""A clone of this repository with small parameters, a tiny model to register, an MLflow server, a browser."""

import base64
import contextlib
import itertools
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mlflow import MlflowClient
from ruamel.yaml import YAML
from websockets.sync.client import connect

from tests.forks import Forks, forking
from umgclip.io.atomic import open_to_others, sha256_file, sha256_json, write_json
from umgclip.io.images import encode_png
from umgclip.io.manifest import ClassList, MadeBy, Manifest, describe_shard, read_manifest, write_manifest
from umgclip.io.shards import RawSample, ShardWriter
from umgclip.model.adapters.adapt import add_lora
from umgclip.model.clip import files
from umgclip.model.clip.layout import ADAPTER_WEIGHTS
from umgclip.params import GateParams, LoraParams, RegisterParams, TowerParams
from umgclip.records import ImageRecord, Source
from umgclip.register import stage
from umgclip.tracking import Store, store_from_env

ROOT = Path(__file__).parents[2]
SMALL = {
    "data": {"train_scenes": 60, "benchmark_scenes": 10, "benchmark_singles": 8, "shard_samples": 30},
    "base": {"short_steps": 3, "short_batch": 16, "full_steps": 1, "full_batch": 8, "min_concept_count": 1},
    "annotate": {"min_concept_count": 1, "workers": 2},
    "validate": {"labelled_image_share_min": 0.0, "label_score_mean_min": 0.0, "tolerance": 0.5},
    "train": {"steps": 4, "batch": 8, "checkpoint_every": 2},
    "evaluate": {"resamples": 50, "pictures": 2},
}
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def clone(tmp_path_factory: pytest.TempPathFactory, empty_store: bytes) -> Path:
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
    (folder / "mlflow.db").write_bytes(empty_store)
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


TINY_TOWER = TowerParams(width=64, layers=2, heads=2, text_width=64, text_layers=1, text_heads=2, embed_dim=64)
REGISTER = RegisterParams(
    gates=GateParams(
        floors={"classification.top1": 0.5},
        max_regression={"retrieval.i2t_r1": 0.02},
        metrics=["region.mask_top1", "retrieval.i2t_r1"],
        min_mean_gain=0.01,
        min_gain_over_base={"region.mask_top1": 0.1},
    )
)


class Workspace:
    """The folders that `register` reads, with a real tiny base and adapter and made-up numbers."""

    @staticmethod
    def picture(seed: int) -> bytes:
        return encode_png(np.random.default_rng(seed).integers(0, 256, (96, 96, 3), dtype=np.uint8))

    @staticmethod
    def write_dataset(folder: Path, seed: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        writer = ShardWriter(folder / "a.tar")
        source = Source(dataset="demo/scenes", license="CC BY-SA 4.0 (OpenMoji)")
        record = ImageRecord(key="k", width=96, height=96, sha256="0" * 64, source=source)
        writer.write(RawSample("k", Workspace.picture(seed), "png", record.to_json()))
        writer.close()
        made_by = MadeBy(stage="data", params_sha256="0", code_version="0")
        classes = ClassList(things=["dog"], stuff=["sky"], held_out=[])
        write_manifest(folder, Manifest(made_by=made_by, shards=[describe_shard(folder / "a.tar", 1)], classes=classes))

    def __init__(self, root: Path, like: "Workspace | None" = None) -> None:
        self.root = root
        self.params = REGISTER
        self.inputs = stage.RegisterInputs(
            root / "base",
            root / "train",
            root / "metrics" / "evaluate.json",
            root / "data",
            root,
            root / "annotate" / "vocabulary.json",
            root / "evaluate" / "protocol.json",
        )
        self.out = root / "register"
        if like is not None:
            shutil.copytree(like.root, root, dirs_exist_ok=True)
            self.base_sha256, self.adapter_sha256 = like.base_sha256, like.adapter_sha256
            return
        (root / "annotate").mkdir()
        write_json(
            root / "annotate" / "vocabulary.json", {"things": ["apple", "dog"], "stuff": ["sky"], "held_out": []}
        )
        (root / "evaluate").mkdir()
        write_json(root / "evaluate" / "protocol.json", {"region": "true things of the scenes, micro top-1"})
        self.inputs.base.mkdir()
        torch.manual_seed(0)
        config = files.tower_config(TINY_TOWER)
        digest = files.save(self.inputs.base, files.build(config), config)
        write_json(
            self.inputs.base / "base.json", {"weights_sha256": digest, "pretrained": "scratch", "model": "umgclip-tiny"}
        )
        self.base_sha256 = digest
        for seed, part in enumerate(("train", "benchmark")):
            self.write_dataset(root / "data" / part, seed)
        self.train(seed=1)
        self.evaluate()

    def train(self, seed: int) -> None:
        """Another seed, another adapter."""
        clip, _ = files.load(self.inputs.base)
        tuned = add_lora(clip, LoraParams(rank=2, alpha=4))
        torch.manual_seed(seed)
        with torch.no_grad():
            for name, value in tuned.named_parameters():
                if "lora_B" in name:
                    value.normal_(std=0.1)
        adapter = self.inputs.adapter / "adapter"
        tuned.save_pretrained(str(adapter))
        open_to_others(adapter)
        self.adapter_sha256 = sha256_file(adapter / ADAPTER_WEIGHTS)
        report = {"base_sha256": self.base_sha256, "adapter_sha256": self.adapter_sha256}
        write_json(self.inputs.adapter / "train.json", report)

    def evaluate(self, mask: float = 0.3, i2t: float = 0.5, templates: str = "{a} {}") -> None:
        """Made-up numbers about the weights and the benchmark that are there."""
        base = {"classification": {"top1": 0.6}, "retrieval": {"i2t_r1": 0.5}, "region": {"mask_top1": 0.05}}
        tuned = {"classification": {"top1": 0.6}, "retrieval": {"i2t_r1": i2t}, "region": {"mask_top1": mask}}
        protocol = {
            "settings": {"thing_templates": templates, "match_iou": 0.5},
            "benchmark": {"sha256": read_manifest(self.inputs.data / "benchmark").digest(), "scenes": 1},
            "inputs": {
                "base_sha256": self.base_sha256,
                "adapter_sha256": self.adapter_sha256,
                "annotations_sha256": sha256_json([self.adapter_sha256, "annotations"]),
                "proposals_sha256": sha256_json([self.adapter_sha256, "proposals"]),
            },
        }
        write_json(self.inputs.metrics, {"base": base, "tuned": tuned, "protocol": protocol, "annotator": {}})

    def register(self, params: RegisterParams | None = None) -> dict:
        self.summary = stage.run(params or self.params, self.inputs, self.out)
        return json.loads((self.out / "register.json").read_text())

    @property
    def store(self) -> Store:
        return store_from_env(self.root)

    @property
    def client(self) -> MlflowClient:
        return self.store.client()

    def aliases(self) -> dict[str, str]:
        found = self.client.get_registered_model(self.params.name).aliases
        return {alias: str(version) for alias, version in found.items()}

    def versions(self) -> list[str]:
        return sorted(
            str(version.version) for version in self.client.search_model_versions(f"name = '{self.params.name}'")
        )

    def runs(self) -> int:
        return len(self.client.search_runs(["1"]))


@pytest.fixture(scope="session")
def new_workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace to copy, as building and saving its models takes a while."""
    return Workspace(tmp_path_factory.mktemp("workspace"))


@pytest.fixture
def workspace(
    tmp_path: Path, new_workspace: Workspace, empty_store: bytes, monkeypatch: pytest.MonkeyPatch
) -> Workspace:
    """A workspace whose runs go to a SQLite file of its own."""
    variables = ("TRACKING_URI", "EXPERIMENT_NAME", "RUN_ID")
    for name in (*(f"MLFLOW_{one}" for one in variables), "UMGCLIP_PARENT_RUN_ID", "DVC_EXP_NAME"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "mlflow.db").write_bytes(empty_store)
    return Workspace(tmp_path, new_workspace)


@pytest.fixture(scope="session")
def make_workspace() -> Callable[[Path], Workspace]:
    """For fixtures that outlive a test; the folder's store is made when there is none."""
    return Workspace


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


@contextlib.contextmanager
def _running(
    command: list[str], url: str, environment: dict[str, str], log: Path, cwd: Path | None = None
) -> Iterator[str]:
    """A server as a process group of its own, from its first answer to its end; its words go to a file."""
    with log.open("w") as words:
        process = subprocess.Popen(
            command, env=environment, cwd=cwd, stdout=words, stderr=words, start_new_session=True
        )
    try:
        deadline = time.monotonic() + 240
        while True:
            assert process.poll() is None, log.read_text()[-3000:]
            assert time.monotonic() < deadline, log.read_text()[-3000:]
            with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5) as answer:
                if answer.status == 200:
                    break
            time.sleep(0.2)
        yield url
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)


@pytest.fixture(scope="session")
def free_port() -> Callable[[], int]:
    """A port on loopback that nobody listens on."""
    return _free_port


@pytest.fixture(scope="session")
def running() -> Callable[..., contextlib.AbstractContextManager[str]]:
    """Start a server by its command, wait for a URL of it to answer, and end it."""
    return _running


# what commands and scripts about registered models import
_PRELOADED = (
    "umgclip.__main__", "umgclip.cli.promotion", "umgclip.cli.session", "umgclip.inference.model",
    "umgclip.register.download", "umgclip.serve.launch", "umgclip.serve.server", "mlflow",
    "mlflow.store.model_registry.sqlalchemy_store", "mlflow.store.tracking.sqlalchemy_store", "uvicorn",
)  # fmt: skip


@pytest.fixture(scope="session")
def forks() -> Iterator[Forks]:
    """A server whose forks have imported MLflow, torch and the package's commands."""
    quiet = {name: value for name, value in os.environ.items() if not name.startswith(("UMGCLIP_", "MLFLOW_"))}
    with forking(*_PRELOADED, environment={**quiet, "MLFLOW_DISABLE_TELEMETRY": "true"}) as server:
        yield server


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory, empty_store: bytes) -> Iterator[str]:
    """A tracking server on loopback that keeps files itself; gives its URI."""
    root = tmp_path_factory.mktemp("server")
    (root / "mlflow.db").write_bytes(empty_store)
    uri = f"http://127.0.0.1:{_free_port()}"
    settings = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    command = [
        sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", uri.rpartition(":")[2],
        "--workers", "1", "--backend-store-uri", f"sqlite:///{root / 'mlflow.db'}",
        "--artifacts-destination", str(root / "files"),
    ]  # fmt: skip
    with _running(command, f"{uri}/health", {**os.environ, **settings}, root / "log"):
        yield uri


class Browser:
    """One tab of a headless Chromium, spoken to by its debugging protocol."""

    def __init__(self, address: str, size: tuple[int, int] = (1100, 900)) -> None:
        self._socket = connect(address, max_size=1 << 26)
        self._ids = itertools.count(1)
        self._session: str | None = None
        self.events: list[dict[str, Any]] = []
        self._context = self.call("Target.createBrowserContext")["browserContextId"]
        target = self.call("Target.createTarget", url="about:blank", browserContextId=self._context)["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "DOM", "Network", "Log"):
            self.call(f"{domain}.enable")
        self.resize(*size)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        number = next(self._ids)
        message = {"id": number, "method": method, "params": params}
        self._socket.send(json.dumps(message | ({"sessionId": self._session} if self._session else {})))
        while True:
            answer = json.loads(self._socket.recv(timeout=60))
            if answer.get("id") == number:
                assert "error" not in answer, (method, answer)
                return answer["result"]
            self.events.append(answer)

    def resize(self, width: int, height: int, mobile: bool = False) -> None:
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile)

    def open(self, url: str) -> None:
        self.call("Page.navigate", url=url)
        self.wait(lambda: self.js("document.readyState") == "complete", url)

    def js(self, code: str) -> Any:
        result = self.call("Runtime.evaluate", expression=code, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def text(self, selector: str) -> str:
        return self.js(f"document.querySelector({selector!r}).innerText")

    @staticmethod
    def wait(condition: Any, what: str, timeout_s: float = 60) -> None:
        until = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < until, f"waited for {what}"
            time.sleep(0.05)

    def choose(self, selector: str, path: Path) -> None:
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(path)])

    def type(self, selector: str, text: str) -> None:
        self.js(f"document.querySelector({selector!r}).focus()")
        self.call("Input.insertText", text=text)

    def click(self, selector: str) -> None:
        self.js(f"document.querySelector({selector!r}).click()")

    def drag(self, selector: str, start: tuple[float, float], end: tuple[float, float]) -> None:
        """With the left button, between two places given as shares of an element."""
        frame = self.js(f"JSON.stringify(document.querySelector({selector!r}).getBoundingClientRect())")
        box = json.loads(frame)
        for kind, (x, y), buttons in (("mousePressed", start, 1), ("mouseMoved", end, 1), ("mouseReleased", end, 0)):
            at = {"x": box["left"] + x * box["width"], "y": box["top"] + y * box["height"]}
            self.call("Input.dispatchMouseEvent", type=kind, button="left", buttons=buttons, clickCount=1, **at)

    def screenshot(self, path: Path, **options: Any) -> None:
        data = self.call("Page.captureScreenshot", **options)["data"]
        path.write_bytes(base64.b64decode(data))

    @staticmethod
    def contrast(one: str, other: str) -> float:
        """Contrast of two colours as WCAG 2.2 defines it."""

        def luminance(colour: str) -> float:
            parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
            linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
            return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

        low, high = sorted((luminance(one), luminance(other)))
        return (high + 0.05) / (low + 0.05)

    def complaints(self) -> list[str]:
        """What the console says: errors of scripts, of policies, of files that are missing."""
        self.js("0")  # events that have arrived are read with the next answer
        found = []
        for event in self.events:
            if event["method"] == "Runtime.exceptionThrown":
                found.append(json.dumps(event["params"]))
            if event["method"] == "Log.entryAdded" and event["params"]["entry"]["level"] == "error":
                found.append(event["params"]["entry"]["text"])
        return found

    def asked(self) -> set[str]:
        """Servers that the page spoke to."""
        sent = [event for event in self.events if event["method"] == "Network.requestWillBeSent"]
        urls = [event["params"]["request"]["url"] for event in sent]
        return {re.match(r"\w+:/*[^/]*", url)[0] for url in urls if not url.startswith(("data:", "blob:", "about:"))}

    def close(self) -> None:
        self._session = None
        self.call("Target.disposeBrowserContext", browserContextId=self._context)
        self._socket.close()


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A headless Chromium; gives the address by which it is spoken to."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no Chromium here (Debian's package `chromium`)")
    profile = tmp_path_factory.mktemp("chromium")
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    process = subprocess.Popen(
        [program, *flags, f"--user-data-dir={profile}", "--remote-debugging-port=0", "about:blank"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    told = profile / "DevToolsActivePort"
    Browser.wait(lambda: told.is_file() and told.read_text(encoding="ascii").count("\n") >= 1, "Chromium")
    port, path = told.read_text(encoding="ascii").split("\n")[:2]
    address = f"ws://127.0.0.1:{port}{path}"
    yield address
    with connect(address) as told_to_end:
        told_to_end.send(json.dumps({"id": 1, "method": "Browser.close"}))
    process.wait(30)


@pytest.fixture
def browser(chromium: str) -> Iterator[Browser]:
    """A tab of the Chromium, with cookies, storage and a cache of its own."""
    opened = Browser(chromium)
    yield opened
    opened.close()
