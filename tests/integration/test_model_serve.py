"""`mlflow models serve` with the champion: JSON over HTTP, and the numbers of the model in this process."""

from __future__ import annotations

import base64
import json
import os
import sys
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from umgclip.geometry.masks import encode
from umgclip.inference.answerer import ANSWER, Answerer
from umgclip.io.images import encode_png
from umgclip.model.clip.layout import ADAPTER

pytestmark = pytest.mark.heavy
MASK = np.zeros((96, 96), bool)
MASK[10:50, 20:70] = True


def base64_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, empty_store, make_workspace, running, free_port) -> Iterator[Any]:
    """A workspace whose champion is served, and the address of that server."""
    root: Path = tmp_path_factory.mktemp("served")
    (root / "mlflow.db").write_bytes(empty_store)
    workspace = make_workspace(root)
    workspace.register()
    assert workspace.aliases()["champion"] == "1"
    url = f"http://127.0.0.1:{free_port()}"
    command = [
        sys.executable, "-m", "mlflow", "models", "serve", "-m", "models:/umgclip@champion",
        "--env-manager", "local", "--host", "127.0.0.1", "--port", url.rpartition(":")[2], "--workers", "1",
    ]  # fmt: skip
    environment = {**os.environ, "MLFLOW_TRACKING_URI": workspace.store.uri, "MLFLOW_DISABLE_TELEMETRY": "true"}
    environment.pop("PYTHONPATH", None)
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # MLflow calls uvicorn
    elsewhere = root / "elsewhere"  # the model brings its code, the repository is not asked
    elsewhere.mkdir()
    with running(command, f"{url}/ping", environment, root / "log", cwd=elsewhere):
        yield workspace, url


def ask(url: str, body: dict) -> list[dict]:
    request = urllib.request.Request(
        f"{url}/invocations", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=120) as answer:
        return json.load(answer)["predictions"]


def requests(workspace: Any) -> list[dict]:
    full = {
        "image": base64_of(workspace.picture(7)),
        "labels": ["dog", "sky", "apple"],
        "boxes": [[0, 0, 48, 48], [10.5, 20, 96, 96]],
        "masks": [encode(MASK).model_dump(), base64_of(encode_png(np.repeat(MASK[..., None], 3, 2).astype(np.uint8)))],
        "tags": 2,
        "similarity_map": True,
        "region_embeddings": True,
    }
    own = {"image": base64_of(workspace.picture(9)), "tags": 1, "vocabulary": ["cow", "tree"], "labels": ["a"]}
    return [full, {"image": base64_of(workspace.picture(8))}, own]


def assert_same(got: list[dict], wanted: list[dict]) -> None:
    assert len(got) == len(wanted)
    for one, other in zip(got, wanted, strict=True):
        assert tuple(one) == ANSWER
        assert (one["tags"] is None) == (other["tags"] is None)
        for tag, expected in zip(one.pop("tags") or [], other.pop("tags") or [], strict=True):
            assert tag["label"] == expected["label"]
            assert tag["score"] == pytest.approx(expected["score"], abs=1e-5)
        for name, value in other.items():
            if value is None:
                assert one[name] is None
            else:
                np.testing.assert_allclose(one[name], value, atol=1e-5, err_msg=name)


@pytest.mark.parametrize(
    ("form", "rows"),
    [
        *(
            (form, rows)
            for form in ("dataframe_records", "dataframe_split", "inputs")
            for rows in ([0], [1], [0, 1, 2])
        ),
        *(("instances", rows) for rows in ([0], [1], [1, 1])),  # MLflow makes arrays of these, so rows must be alike
    ],
    ids=lambda value: value if isinstance(value, str) else "rows " + " ".join(map(str, value)),
)
def test_answers_over_http_are_those_of_the_model_in_this_process(served: Any, form: str, rows: list[int]) -> None:
    workspace, url = served
    asked = [requests(workspace)[index] for index in rows]
    body: dict[str, Any] = {form: asked}
    if form == "dataframe_split":
        columns = list(dict.fromkeys(name for row in asked for name in row))
        body = {form: {"columns": columns, "data": [[row.get(name) for name in columns] for row in asked]}}
    model = Answerer.load(
        workspace.inputs.base, workspace.inputs.adapter / ADAPTER, vocabulary=("apple", "dog", "sky"), device="cpu"
    )

    got = ask(url, body)

    assert_same(got, model.answer([model.prepare(row) for row in asked]))


def bad_bodies(image: str) -> Iterator[tuple[str, bytes]]:
    """Bodies with their content type: wrong values of every field in every form, and bodies that are none."""
    values = [None, True, 3, -1.5, 1e308, "", "x", "\0", [], [[]], [None], {}, {"a": 1}, ["x", 1], [[1, 2]], "=1+1"]
    for field in ("image", "labels", "boxes", "masks", "tags", "vocabulary", "similarity_map", "region_embeddings"):
        for value in values:
            if field == "image" or value not in (None, [], True, "x", ""):
                row = {"image": image, "labels": ["dog"], field: value, "made_up": value}
                yield "application/json", json.dumps({"dataframe_records": [row]}).encode()
    bodies: list[Any] = [
        {}, [], 1, {"inputs": 1}, {"inputs": [1]}, {"instances": [[1], [2, 3]]}, {"dataframe_split": {"data": 3}},
        {"dataframe_split": {"columns": ["image"], "data": [[1, 2]]}}, {"dataframe_records": {}},
        {"dataframe_records": [1]}, {"dataframe_records": [{}]}, {"inputs": {"image": [image]}, "params": 3},
    ]  # fmt: skip
    for body in bodies:
        yield "application/json", json.dumps(body).encode()
    yield "application/json", b"\xff\xfe{"
    yield "application/json", b"[" * 100_000
    for kind in ("text/csv", "application/vnd.apache.parquet"):
        for data in (b"", b"\0\1\2", b'image,labels\n"open', b"PAR1" + b"\0" * 40 + b"PAR1"):
            yield kind, data
    yield "image/png", b"\x89PNG"


def test_what_is_wrong_with_a_request_is_told_without_traces_or_paths(served: Any) -> None:
    workspace, url = served
    image = base64_of(workspace.picture(3))
    bodies = list(bad_bodies(image))
    insides = (
        "Traceback",
        "stack_trace",
        'File "',
        'File \\"',
        "site-packages",
        str(workspace.root),
        str(Path(sys.prefix)),
    )
    statuses = Counter()
    shown = []
    for kind, body in bodies:
        request = urllib.request.Request(f"{url}/invocations", body, {"Content-Type": kind})
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                status, text = answer.status, answer.read().decode()
        except urllib.error.HTTPError as refused:
            with refused:
                status, text = refused.code, refused.read().decode()
        statuses[status] += 1
        if any(inside in text.replace('\\"', '"') for inside in insides):
            shown.append((kind, body[:80], text[:300]))
    assert shown == []
    assert len(bodies) > 100
    assert statuses[400] > 90, statuses
    assert "Traceback" in (workspace.root / "log").read_text()  # the operator has them


def test_the_reason_alone_is_told(served: Any) -> None:
    workspace, url = served
    body = {
        "dataframe_records": [{"image": base64_of(workspace.picture(3)), "labels": ["dog"], "boxes": [[9, 9, 5, 5]]}]
    }
    with pytest.raises(urllib.error.HTTPError) as refused:
        ask(url, body)
    with refused.value as answer:
        told = json.loads(answer.read())
    assert refused.value.code == 400
    assert told["error_code"] == "INVALID_PARAMETER_VALUE"
    assert told["message"].startswith("row 0: boxes[0]: expected x0 < x1")


def test_a_malformed_request_is_refused_and_the_next_one_answered(served: Any) -> None:
    workspace, url = served
    for row in ({"image": "not base64!"}, {"image": base64_of(b"no image")}, {"labels": ["dog"]}):
        with pytest.raises(urllib.error.HTTPError) as refused:
            ask(url, {"dataframe_records": [row]})
        refused.value.close()
        assert refused.value.code >= 400
    assert len(ask(url, {"dataframe_records": [requests(workspace)[1]]})) == 1
