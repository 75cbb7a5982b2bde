"""The model card: metadata that the hub reads, results with their protocol, and an honest licence."""

import json
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

import umgclip
from umgclip.errors import DataError
from umgclip.inference.hub.card import CardSettings, model_readme
from umgclip.inference.hub.licences import identifier_of, licence_of
from umgclip.inference.hub.origin import ORIGIN, ModelOrigin, read_origin, with_results, without_paths, write_origin

SETTINGS = CardSettings("alice/birds", "ViT-B-16, 224 x 224 px", "a photo of {a} {}.", "224 px", True, "CLIPModel")
TRAINING = {"adapter_sha256": "aa", "base_sha256": "bb", "params": {"adapter": "lora", "steps": 3}}
METRICS = {
    "base": {"classification": {"top1": 0.25}},
    "tuned": {"classification": {"top1": 0.625}, "region": {"box_top1": 0.5}},
    "protocol": {"inputs": {"adapter_sha256": "aa", "base_sha256": "bb"}},
    "protocols": {
        "classification": {"images": 294, "resolution": "144 x 144", "precision": "float32", "split_sha256": "ab" * 32},
        "region": {"images": 400, "resolution": "144 x 144", "precision": "float32", "regions": 1206},
    },
}
DATA = [
    {"part": "train", "dataset": "birds", "license": "CC BY 4.0"},
    {"part": "benchmark", "dataset": "birds-test", "license": "not stated"},
]


@pytest.fixture
def origin() -> ModelOrigin:
    known = ModelOrigin(base={"model": "ViT-B-16", "pretrained": "openai"}, training=TRAINING, data=DATA)
    return with_results(known, METRICS, Path("evaluate.json"), {"classification": "cosine to the class prompt"})


def test_results_are_those_of_the_evaluation_with_their_protocol(origin: ModelOrigin) -> None:
    card = ModelCard(model_readme(origin, SETTINGS))
    results = {result.metric_name: result.metric_value for result in card.data.eval_results}
    assert results == {
        "top-1 of single objects (classification.top1)": 0.625,
        "given boxes read off the dense map, top-1 (region.box_top1)": 0.5,
    }
    assert "| top-1 of single objects | `classification.top1` | 0.2500 | 0.6250 |" in card.text
    assert "birds-test (294 images, digest abababababab). cosine to the class prompt." in card.text
    assert "All benchmarks: resolution `144 x 144`; precision `float32`." in card.text
    assert "regions `1206`" in card.text
    assert card.data.model_name == "birds"


def test_results_of_other_weights_are_refused(origin: ModelOrigin) -> None:
    other = METRICS | {"protocol": {"inputs": {"adapter_sha256": "cc", "base_sha256": "bb"}}}
    with pytest.raises(
        DataError, match="protocol.inputs.adapter_sha256: expected aa of the model, got cc; run evaluate"
    ):
        with_results(origin, other, Path("evaluate.json"))
    with pytest.raises(DataError, match="expected an object 'base'"):
        with_results(origin, {}, Path("evaluate.json"))


@pytest.mark.parametrize(
    ("base", "licences", "wanted"),
    [
        ("openai", ["MIT"], "mit"),
        ("openai", ["CC BY 4.0"], "other"),
        ("webli", ["CC BY-SA 4.0 (contains OpenMoji)"], "cc-by-sa-4.0"),
        ("scratch", ["CC BY-SA 4.0 (contains OpenMoji)"], "cc-by-sa-4.0"),
        ("openai", ["CC-BY-NC-4.0"], "other"),
        ("openai", ["not stated"], "unknown"),
        ("openai", [], "unknown"),
        ("somebody", ["MIT"], "unknown"),
        ("/home/ann/weights.pt", ["MIT"], "unknown"),
    ],
)
def test_the_licence_is_what_base_and_data_say(base: str, licences: list[str], wanted: str) -> None:
    data = [{"part": "train", "dataset": "birds", "license": licence} for licence in licences]
    licence = licence_of({"model": "m", "pretrained": base}, data)
    assert licence.identifier == wanted
    assert "/home/ann" not in " ".join(licence.reasons)
    assert licence_of({}, data, "mit").reasons[0] == "The publisher states `mit`."


def test_licences_by_their_usual_names() -> None:
    names = {
        "CC0 1.0": "cc0-1.0", "Creative Commons CC BY-NC-SA 4.0": "cc-by-nc-sa-4.0", "Apache License, Version 2.0":
        "apache-2.0", "MIT License": "mit", "BSD-3-Clause": "bsd-3-clause", "all rights reserved": None,
    }  # fmt: skip
    assert {name: identifier_of(name) for name in names} == names


def test_what_nobody_recorded_is_said_to_be_so() -> None:
    card = ModelCard(model_readme(ModelOrigin(), SETTINGS))
    assert card.data.license == "unknown"
    assert card.data.eval_results is None
    assert "No results were recorded" in card.text


def test_no_path_of_the_machine_leaves_it(tmp_path: Path, origin: ModelOrigin) -> None:
    places = {
        "a": "/home/ann/x.pt",
        "b": ["s3://bucket/key/y", "C:\\ann\\z", "~/q"],
        "c": "https://i.example/x",
        "d": "a/b",
    }
    assert without_paths(places) == {"a": "x.pt", "b": ["y", "z", "q"], "c": "https://i.example/x", "d": "a/b"}
    write_origin(tmp_path, origin)
    assert read_origin(tmp_path, None) == origin
    (tmp_path / ORIGIN).write_text(json.dumps({"tuned": {"a": "high"}}), encoding="utf-8")
    with pytest.raises(DataError, match="tuned.a: expected a number, got 'high'"):
        read_origin(tmp_path, None)


def test_a_saved_model_keeps_its_origin(model: umgclip.Model, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path / "out", transformers=False, license="mit")
    again = umgclip.Model.from_pretrained(tmp_path / "out", device="cpu")
    assert again.origin.base["model"] == "umgclip-tiny"
    again.save_pretrained(tmp_path / "out", transformers=False)  # what this method wrote is replaced
    assert "umgclip-tiny" in (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    wrong: dict[str, Any] = {"licence": "mit"}
    with pytest.raises(TypeError, match="got 'licence'"):
        model.save_pretrained(tmp_path / "other", **wrong)


def test_the_card_of_the_demo_names_its_data(model: umgclip.Model, demo: Path, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path / "out", transformers=False, data=demo)
    card = ModelCard.load(tmp_path / "out" / "README.md")
    assert card.data.license == "cc-by-sa-4.0"
    assert "Credit: OpenMoji" in card.text
    assert "says nothing useful about photographs" in card.text
