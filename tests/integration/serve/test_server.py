"""`umgclip serve` as it is run: a process on a port, a registry in SQLite, concurrent requests, a moving alias."""

from __future__ import annotations

import base64
import os
import signal
import socket
import subprocess
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest

from umgclip.io.images import encode_png
from umgclip.register.download import fetch
from umgclip.tracking import Store as Tracked

pytestmark = pytest.mark.slow


def picture(seed: int) -> str:
    pixels = np.random.default_rng(seed).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    return base64.b64encode(encode_png(pixels)).decode()


def question(seed: int) -> dict:
    return {"image": picture(seed), "labels": ["dog", "sky", "apple"], "boxes": [[0, 0, 48, 48]], "tags": 2}


@pytest.fixture(scope="module")
def served(start):
    return start("--max-batch", "8")


@pytest.fixture(scope="module")
def expected(store, tmp_path_factory):
    """What each version answers to question(0), by the model itself."""
    tracked = Tracked(store.uri, "umgclip", None)
    answers = {}
    for version in ("1", "2"):
        model = fetch(tracked, "umgclip", version, tmp_path_factory.mktemp("model"))
        [answers[version]] = model.answer([model.prepare(question(0))])
    return answers


def test_it_says_where_it_is_and_answers_like_the_model(served, expected):
    assert "umgclip version 1 (follows the alias champion) on http://127.0.0.1:" in served.said
    response = served.http.post("/predict", json=question(0))
    assert response.status_code == 200, response.text
    answer = response.json()
    np.testing.assert_allclose(answer["embedding"], expected["1"]["embedding"], atol=1e-5)
    np.testing.assert_allclose(answer["box_label_scores"], expected["1"]["box_label_scores"], atol=1e-5)
    assert [tag["label"] for tag in answer["tags"]] == [tag["label"] for tag in expected["1"]["tags"]]


def test_concurrent_answers_are_those_of_requests_one_by_one(served):
    alone = [served.http.post("/predict", json=question(seed)).json() for seed in range(16)]

    with ThreadPoolExecutor(16) as pool, httpx.Client(base_url=served.url, timeout=60) as client:
        together = list(pool.map(lambda seed: client.post("/predict", json=question(seed % 16)), range(96)))

    for seed, response in enumerate(together):
        assert response.status_code == 200
        assert np.allclose(response.json()["embedding"], alone[seed % 16]["embedding"], atol=1e-5)
        assert np.allclose(response.json()["label_scores"], alone[seed % 16]["label_scores"], atol=1e-4)
    metrics = dict(line.rsplit(" ", 1) for line in served.http.get("/metrics").text.splitlines() if line[0] != "#")
    assert float(metrics["umgclip_batch_images_sum"]) >= 112
    assert float(metrics["umgclip_batch_images_count"]) < float(metrics["umgclip_batch_images_sum"])
    assert "umgclip_batch_images_created" not in metrics


def test_the_alias_moves_under_load_and_no_request_is_dropped(served, store, expected):
    stop = threading.Event()
    seen: list[tuple[int, str, bool]] = []

    def ask() -> None:
        with httpx.Client(base_url=served.url, timeout=60) as client:
            while not stop.is_set():
                response = client.post("/predict", json=question(0))
                version = response.headers.get("x-model-version", "none")
                answer = response.json()
                right = version in expected and np.allclose(
                    answer["embedding"], expected[version]["embedding"], atol=1e-5
                )
                seen.append((response.status_code, version, right))

    with ThreadPoolExecutor(6) as pool:
        asking = [pool.submit(ask) for _ in range(6)]
        try:
            for version in ("2", "1", "2", "1"):
                already = len(seen)
                store.point(version)
                served.wait_for_version(version)
                while len(seen) < already + 30:
                    time.sleep(0.02)
        finally:
            stop.set()
        for one in asking:
            one.result(60)

    assert {status for status, _, _ in seen} == {200}
    assert all(right for _, _, right in seen), "an answer must be wholly of the version that it names"
    versions = Counter(version for _, version, _ in seen)
    assert set(versions) == {"1", "2"}
    assert min(versions.values()) >= 10
    assert served.health()["problem"] is None
    assert "version 2 replaces version 1" in served.said


def test_a_version_that_cannot_be_loaded_leaves_the_old_one_answering(served, store):
    store.client.create_model_version("umgclip", source=(store.root / "nothing-here").as_uri())
    store.client.set_registered_model_alias("umgclip", "champion", "3")
    try:
        until = time.monotonic() + 60
        while served.health()["problem"] is None:
            assert time.monotonic() < until
            time.sleep(0.1)
        health = served.health()
        assert (health["ready"], health["model"]["version"], health["problem"]["version"]) == (True, "1", "3")
        assert served.http.post("/predict", json=question(0)).headers["x-model-version"] == "1"
        assert "umgclip_model_problem 1.0" in served.http.get("/metrics").text
    finally:
        store.point("1")
    until = time.monotonic() + 60
    while served.health()["problem"] is not None:
        assert time.monotonic() < until
        time.sleep(0.1)


def test_a_key_from_the_environment_is_asked_for(start):
    server = start(UMGCLIP_API_KEY="correct horse,battery staple,clé")
    assert server.http.post("/predict", json=question(0)).status_code == 401
    for key in (b"correct horse", b"battery staple", "clé".encode(), "clé".encode("latin-1")):
        response = server.http.post("/predict", json=question(0), headers={"X-API-Key": key})
        assert response.status_code == 200
    assert "correct horse" not in server.said


def test_settings_come_from_options_and_the_environment(start):
    server = start("--max-images", "2", UMGCLIP_SERVING_MAX_LABELS="1", UMGCLIP_SERVING_VERSION="2")
    health = server.health()
    assert (health["model"]["version"], health["model"]["alias"], health["alias_checked_at"]) == ("2", None, None)
    assert (health["limits"]["images"], health["limits"]["texts"]) == (2, 1)
    assert server.http.post("/predict", json=question(0)).status_code == 413
    assert "umgclip version 2 (fixed)" in server.said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_stop_it_answers_what_is_open_and_exits_0(start, number):
    server = start("--max-wait-ms", "60000", forked=False)  # images wait for those that are being read
    large = base64.b64encode(encode_png(np.zeros((4000, 8000, 3), np.uint8))).decode()

    def wait_for_images(count):
        until = time.monotonic() + 60
        while server.health()["queue"]["images"] < count:
            assert time.monotonic() < until
            time.sleep(0.02)

    with ThreadPoolExecutor(5) as pool, httpx.Client(base_url=server.url, timeout=60) as client:
        asking = [pool.submit(client.post, "/predict", json=[question(0) | {"image": large}] * 2)]
        wait_for_images(1)  # an image that comes before it waits for none and is answered
        asking += [pool.submit(client.post, "/predict", json=question(seed)) for seed in range(4)]
        wait_for_images(5)
        server.process.send_signal(number)
        assert [one.result(60).status_code for one in asking] == [200] * 5
    until = time.monotonic() + 60
    while server.process.poll() is None and time.monotonic() < until:  # told again and again while it ends
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.01)
    assert server.stop() == 0
    assert "umgclip.serve.server: stopped" in server.said.splitlines()
    assert "Traceback" not in server.said
    assert "leaked" not in server.said, "what native libraries say of objects that outlive the interpreter"


@pytest.fixture
def run(store, forks):
    """Run `umgclip serve` to its end."""

    def execute(*options: str, **variables: str) -> subprocess.CompletedProcess[str]:
        quiet = {name: value for name, value in os.environ.items() if not name.startswith(("UMGCLIP_", "MLFLOW_"))}
        return forks.execute(["-m", "umgclip", "serve", *options], cwd=store.root, env={**quiet, **variables})

    return execute


def test_a_port_that_is_taken_is_said_at_once(run):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run("--port", str(port))
    assert done.returncode == 2
    assert f"cannot listen on 127.0.0.1 port {port}: Address already in use" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_alias_that_does_not_exist_is_said(run):
    done = run("--port", "0", "--alias", "winner")
    assert done.returncode == 2
    assert "expected a registered model with alias 'winner', found none" in done.stderr


def test_a_registry_out_of_reach_is_said(run):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    done = run("--port", "0", MLFLOW_TRACKING_URI=f"http://127.0.0.1:{port}", MLFLOW_HTTP_REQUEST_MAX_RETRIES="0")
    assert done.returncode == 6
    assert "cannot be reached" in done.stderr
