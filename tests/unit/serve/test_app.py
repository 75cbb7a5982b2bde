from __future__ import annotations

import base64
import json
import re
import struct
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from prometheus_client.parser import text_string_to_metric_families

from umgclip.errors import DataError
from umgclip.inference.answerer import ANSWER
from umgclip.inference.request import FIELDS
from umgclip.io.images import encode_png
from umgclip.serve import schema
from umgclip.serve.app import STATIC
from umgclip.serve.settings import Batching, RequestLimits, ServeSettings, Timeouts

JSON = {"content-type": "application/json"}


def picture(seed: int = 0, size: int = 24) -> str:
    pixels = np.random.default_rng(seed).integers(1, 256, (size, size, 3), dtype=np.uint8)
    return base64.b64encode(encode_png(pixels)).decode()


def limited(**limits: int) -> ServeSettings:
    return ServeSettings(limits=RequestLimits(**limits))


# ---------------------------------------------------------------- answers


def test_an_image_is_answered_as_the_model_itself_answers(serve, current):
    asked = {"image": picture(), "labels": ["dog", "sky"], "boxes": [[0, 0, 12, 12]], "similarity_map": True, "tags": 2}

    response = serve().post("/predict", json=asked)

    assert response.status_code == 200
    assert response.headers["x-model-version"] == "1"
    model = current.served.answerer
    [expected] = model.answer([model.prepare(asked)])
    answer = response.json()
    assert set(answer) == set(ANSWER)
    np.testing.assert_allclose(answer["embedding"], expected["embedding"], atol=1e-5)
    np.testing.assert_allclose(answer["box_label_scores"], expected["box_label_scores"], atol=1e-5)
    assert np.shape(answer["similarity_map"]) == (2, 8, 8)
    assert [tag["label"] for tag in answer["tags"]] == [tag["label"] for tag in expected["tags"]]


def test_a_list_is_answered_in_its_order_and_in_shared_forwards(serve, current):
    rows = [{"image": picture(seed), "labels": ["dog", "cat"]} for seed in range(6)]
    client = serve(ServeSettings(batching=Batching(max_images=4, max_wait_ms=200.0)))

    answers = client.post("/predict", json=rows).json()

    assert len(answers) == 6
    assert current.served.answerer.batches[1:] == [4, 2]
    for row, answer in zip(rows, answers, strict=True):
        np.testing.assert_allclose(
            answer["embedding"], client.post("/predict", json=row).json()["embedding"], atol=1e-5
        )


def test_concurrent_requests_share_forwards(serve, current):
    client = serve(ServeSettings(batching=Batching(max_images=8, max_wait_ms=50.0)))
    with ThreadPoolExecutor(8) as pool:
        codes = list(
            pool.map(lambda seed: client.post("/predict", json={"image": picture(seed)}).status_code, range(40))
        )
    assert codes == [200] * 40
    assert max(current.served.answerer.batches) > 1
    assert sum(current.served.answerer.batches[1:]) == 40


def test_labels_are_embedded_once(serve, current):
    client = serve()
    for seed in range(3):
        client.post("/predict", json={"image": picture(seed), "labels": ["zebra", "zebra", "yak"]})
    cache = current.served.answerer.texts
    assert "a zebra" in cache._rows
    measured = {sample.labels["result"]: sample.value for sample in samples(client, "umgclip_label_cache_total")}
    assert measured == {"hit": cache.hits, "miss": cache.misses}
    assert cache.misses == 4 + 2  # the vocabulary and "thing" at the start, then zebra and yak
    assert cache.hits > 0


@pytest.mark.parametrize("name", schema.EXAMPLES)
def test_every_example_of_the_documentation_is_answered(serve, name):
    value = schema.EXAMPLES[name]["value"]
    response = serve().post("/predict", json=value)
    assert response.status_code == 200, response.text
    answers = response.json() if isinstance(value, list) else [response.json()]
    for answer in answers:
        schema.PredictAnswer.model_validate(answer)


# ---------------------------------------------------------------- what is refused


def bomb(side: int) -> str:
    """Return a PNG whose header announces side x side pixels."""
    chunks = {
        b"IHDR": struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0),
        b"IDAT": zlib.compress(b"\0" * 100),
        b"IEND": b"",
    }
    data = b"\x89PNG\r\n\x1a\n"
    for kind, content in chunks.items():
        data += struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
    return base64.b64encode(data).decode()


REFUSED = {
    "no image": ({"labels": ["a"]}, 422, "body: image: expected bytes or base64 text"),
    "number": (1, 422, "body: expected an object with the field image, got int"),
    "text": ("hello", 422, "body: expected an object with the field image, got str"),
    "empty list": ([], 422, "body: expected an object or a list of at least one object, got an empty list"),
    "list of lists": ([[1]], 422, "body[0]: expected an object with the field image, got list"),
    "unknown field": (
        {"image": picture(), "lables": ["a"]},
        422,
        "body: unknown field 'lables'; expected some of",
    ),
    "no base64": ({"image": "!!"}, 422, "body: image: not valid base64"),
    "no picture": ({"image": "aGVsbG8="}, 422, "body: image: not a readable image"),
    "empty picture": ({"image": ""}, 422, "body: image: expected image bytes, got an empty file"),
    "labels as text": ({"image": picture(), "labels": "dog"}, 422, "body: labels: expected a list of texts, got 'dog'"),
    "empty label": ({"image": picture(), "labels": ["dog", " "]}, 422, "body: labels[1]: expected"),
    "box outside": (
        {"image": picture(), "boxes": [[30, 30, 40, 40]]},
        422,
        "body: boxes[0]: expected x0 < x1 and y0 < y1 within 24 x 24 pixels",
    ),
    "box of three": ({"image": picture(), "boxes": [[1, 2, 3]]}, 422, "body: boxes[0]: expected 4 numbers"),
    "mask of another size": (
        {"image": picture(), "masks": [{"size": [2, 2], "counts": "04"}]},
        422,
        "body: masks[0]: size: expected the image's height 24 and width 24, got 2 and 2",
    ),
    "second of a list": ([{"image": picture()}, {"image": "!!"}], 422, "body[1]: image: not valid base64"),
    "map without labels": (
        {"image": picture(), "similarity_map": True},
        422,
        "body: labels: expected at least one text",
    ),
    "negative tags": ({"image": picture(), "tags": -1}, 422, "body: tags: expected a whole number of tags"),
    "many pixels": ({"image": bomb(8_000)}, 413, "body: image: expected at most 32000000 pixels, got 8000 x 8000"),
    "bomb": ({"image": bomb(30_000)}, 422, "body: image: not a readable image (DecompressionBombError"),
    "labels": ({"image": picture(), "labels": ["a"] * 257}, 413, "body: labels: expected at most 256 texts, got 257"),
    "long label": (
        {"image": picture(), "labels": ["a" * 301]},
        413,
        "body: labels[0]: expected at most 300",
    ),
    "boxes": (
        {"image": picture(), "boxes": [[0, 0, 1, 1]] * 101},
        413,
        "at most 100 boxes and masks, got 101",
    ),
    "images": ([{"image": ""}] * 33, 413, "body: expected a list of at most 32 images, got 33"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_wrong_is_named(serve, current, name):
    content, status, said = REFUSED[name]
    response = serve().post("/predict", json=content)
    assert response.status_code == status
    assert said in response.json()["detail"]
    assert current.served.answerer.batches == [1], "nothing of a refused request is run"


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"\xff\xfe", b'{"image": NaN}', b'{"image": Infinity}', b"[" * 5000, b'{"image": "\\ud800"}', b"{}x"],
)
def test_what_is_no_json_is_400(serve, body):
    response = serve().post("/predict", content=body, headers=JSON)
    assert response.status_code == 400
    assert response.json()["detail"].startswith(f"body: expected JSON, got {len(body)} bytes")


def test_limits_are_settings(serve):
    client = serve(limited(body_bytes=2000, images=2, pixels=100, texts=1, text_chars=3, regions=1))
    small = {"image": picture(size=8)}
    for content in (
        {"image": picture()},
        [small, small, small],
        small | {"labels": ["a", "b"]},
        small | {"labels": ["abcd"]},
        small | {"boxes": [[0, 0, 1, 1]] * 2},
    ):
        assert client.post("/predict", json=content).status_code == 413
    assert client.post("/predict", json=small | {"labels": ["abc"]}).status_code == 200
    assert client.post("/predict", json={"image": "a" * 3000}).json() == {
        "detail": "body: expected at most 2000 bytes, got 3012"
    }


def test_another_type_than_json_is_415(serve):
    client = serve()
    assert client.post("/predict", data={"image": "a"}).status_code == 415
    assert client.post("/predict", content=b"{}").status_code == 415


def test_other_methods_and_paths(serve):
    client = serve()
    assert client.get("/predict").status_code == 405
    assert client.head("/predict").status_code == 405
    for path in ("/", "/docs", "/health", "/health/live", "/metrics", "/openapi.json"):
        response = client.head(path)
        assert (response.status_code, response.content) == (200, b"")
        assert response.headers["content-type"] == client.get(path).headers["content-type"]
    assert client.get("/predictions").json() == {"detail": "Not Found"}
    assert client.get("/static/../app.py").status_code == 404
    assert client.get("/static/%2e%2e/app.py").status_code == 404


def test_a_fault_of_ours_is_500_without_its_traceback(serve, current):
    current.served.answerer.answer = lambda *_: {}["a secret"]
    response = serve().post("/predict", json={"image": picture()})
    assert response.status_code == 500
    assert response.json() == {"detail": "internal error; see the server's log for the reason"}


def test_what_is_no_number_is_never_answered(serve, current, caplog):
    client = serve()
    with torch.no_grad():
        current.served.answerer._tower.clip.visual.conv1.weight.view(-1)[0] = torch.nan
    response = client.post("/predict", json={"image": picture()})
    assert response.status_code == 500
    assert response.json() == {"detail": "the model's answer is not finite; see the server's log for the reason"}
    assert "version 1" in caplog.text


# ---------------------------------------------------------------- load


def test_a_full_queue_is_503_and_says_when_to_come_back(serve, current):
    client = serve(ServeSettings(batching=Batching(queue_images=32)))
    model = current.served.answerer
    model.go.clear()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(client.post, "/predict", json=[{"image": picture()}] * 32)
        wait_for(lambda: client.get("/health").json()["queue"]["images"] == 32)
        turned_away = client.post("/predict", json={"image": picture()})
        model.go.set()
        assert waiting.result(30).status_code == 200
    assert turned_away.status_code == 503
    assert turned_away.headers["retry-after"] == "1"
    assert (
        turned_away.json()["detail"] == "busy: 32 of 32 places in the queue are in use, 1 more needed; try again later"
    )
    assert client.get("/health").json()["queue"] == {"images": 0, "limit": 32}


def test_an_answer_that_does_not_come_is_503(serve, current):
    client = serve(ServeSettings(timeouts=Timeouts(answer_s=0.2)))
    current.served.answerer.go.clear()
    threading.Timer(1.0, current.served.answerer.go.set).start()
    response = client.post("/predict", json={"image": picture()})
    assert response.status_code == 503
    assert response.json()["detail"] == "busy: no answer within 0.2 s"
    assert client.get("/health").json()["queue"]["images"] == 0


def wait_for(condition, timeout_s: float = 30) -> None:
    until = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


# ---------------------------------------------------------------- swap


def test_a_request_that_is_open_ends_on_the_version_that_it_began_with(serve, current, registry):
    client = serve()
    old = current.served.answerer
    old.go.clear()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(client.post, "/predict", json={"image": picture()})
        wait_for(lambda: client.get("/health").json()["queue"]["images"] == 1)
        registry.alias = "2"
        wait_for(lambda: client.get("/health").json()["model"]["version"] == "2")
        old.go.set()
        first = waiting.result(30)
    second = client.post("/predict", json={"image": picture()})
    assert (first.status_code, first.headers["x-model-version"]) == (200, "1")
    assert (second.status_code, second.headers["x-model-version"]) == (200, "2")
    assert not np.allclose(first.json()["embedding"], second.json()["embedding"], atol=1e-3)
    assert value(client, "umgclip_model_swaps_total") == 1


def test_a_failed_load_shows_in_health_and_metrics_without_names_of_files(serve, registry, caplog):
    client = serve()
    assert client.get("/health").json()["problem"] is None

    def damaged():
        raise DataError("/home/someone/store/model.safetensors: damaged")

    registry.models["2"] = damaged
    registry.alias = "2"
    wait_for(lambda: client.get("/health").json()["problem"] is not None)

    health = client.get("/health")
    assert health.status_code == 200
    said = "its files are damaged or do not belong together; see the server's log for the reason"
    assert health.json()["problem"]["message"] == said
    assert "/home" not in health.text
    assert "/home/someone/store/model.safetensors: damaged" in caplog.text
    assert health.json()["model"]["version"] == "1"
    assert value(client, "umgclip_model_problem") == 1
    assert value(client, "umgclip_model_failures_total") >= 1
    assert client.post("/predict", json={"image": picture()}).status_code == 200


# ---------------------------------------------------------------- key


def test_with_a_key_predict_and_metrics_are_closed(serve):
    client = serve(keys=("right", "older"))
    asked = {"image": picture()}
    for headers in ({}, {"x-api-key": "wrong"}, {"authorization": "Bearer wrong"}):
        response = client.post("/predict", json=asked, headers=headers)
        assert response.status_code == 401
        assert response.headers["www-authenticate"] == "Bearer"
        assert "X-API-Key: expected a key of this server (UMGCLIP_API_KEY)" in response.json()["detail"]
        assert "right" not in response.text
        assert client.get("/metrics", headers=headers).status_code == 401
    for headers in ({"x-api-key": "right"}, {"authorization": "Bearer older"}):
        assert client.post("/predict", json=asked, headers=headers).status_code == 200
        assert client.get("/metrics", headers=headers).status_code == 200
    for path in ("/", "/docs", "/health", "/health/live", "/openapi.json"):
        assert client.get(path).status_code == 200
    assert client.get("/openapi.json").json()["paths"]["/predict"]["post"]["security"] == [{"key": []}]


def test_a_wrong_key_is_refused_before_the_body_is_read(serve):
    client = serve(limited(body_bytes=10), keys=("right",))
    assert client.post("/predict", json={"image": picture()}).status_code == 401


# ---------------------------------------------------------------- state


def samples(client, name: str):
    families = text_string_to_metric_families(client.get("/metrics").text)
    return [sample for family in families for sample in family.samples if sample.name == name]


def value(client, metric: str, **labels: str) -> float:
    return sum(s.value for s in samples(client, metric) if labels.items() <= s.labels.items())


def test_health_tells_which_model_answers(serve):
    client = serve()
    state = schema.Health.model_validate(client.get("/health").json())
    assert state.live
    assert state.ready
    assert (state.model.name, state.model.alias, state.model.version) == ("umgclip", "champion", "1")
    assert (state.model.device, state.model.embed_dim, state.model.vocabulary) == ("cpu", 64, 3)
    assert state.limits["images"] == 32
    assert client.get("/health/live").json() == {"live": True}


def test_without_its_models_thread_the_server_is_not_ready(serve, monkeypatch):
    client = serve()
    monkeypatch.setattr("umgclip.serve.batching.Batcher.alive", False)
    assert client.get("/health").status_code == 503
    assert client.get("/health").json()["ready"] is False


def test_metrics_count_requests_and_batches(serve):
    client = serve()
    client.post("/predict", json=[{"image": picture()}] * 3)
    client.post("/predict", json={})
    client.get("/no-such-page")
    assert value(client, "umgclip_requests_total", path="/predict", code="200") == 1
    assert value(client, "umgclip_requests_total", path="/predict", code="422") == 1
    assert value(client, "umgclip_requests_total", path="other", code="404") == 1
    assert value(client, "umgclip_batch_images_sum") == 3
    assert value(client, "umgclip_request_seconds_count") == 2
    assert value(client, "umgclip_queue_images") == 0
    assert value(client, "umgclip_model", name="umgclip", alias="champion", version="1") == 1
    assert value(client, "process_resident_memory_bytes") > 0


# ---------------------------------------------------------------- pages and description


def test_the_description_holds_the_fields_that_the_model_takes(serve):
    described = serve().get("/openapi.json").json()
    kinds = described["components"]["schemas"]
    assert set(kinds["PredictRequest"]["properties"]) == set(FIELDS)
    assert kinds["PredictRequest"]["required"] == ["image"]
    assert set(kinds["PredictAnswer"]["properties"]) == set(ANSWER)
    body = described["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]
    assert body["examples"]["regions"]["value"]["boxes"] == [[2, 2, 8, 8]]
    named = set(re.findall(r"#/components/schemas/(\w+)", json.dumps(described)))
    assert named <= set(kinds)
    assert set(described["paths"]) == {"/predict", "/health", "/health/live", "/metrics"}


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_pages_need_nothing_from_elsewhere(serve, path):
    client = serve()
    response = client.get(path)
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/html")
    assert "default-src 'self'" in response.headers["content-security-policy"]
    assert response.headers["x-content-type-options"] == "nosniff"
    used = re.findall(r'(?:src|href)="([^"]+)"', response.text)
    assert used
    for reference in used:
        assert not re.match(r"\w+://|//", reference)
        if reference.startswith("static/"):
            assert client.get(f"/{reference}").status_code == 200


def test_no_static_file_asks_another_server():
    for path in STATIC.iterdir():
        assert "://" not in path.read_text(encoding="utf-8"), path
