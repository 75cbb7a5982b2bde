"""Kinds at their published size: what would be measured, and what becomes of the figures."""

import json
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from benchmarks import roles
from benchmarks.real_size import published, table
from benchmarks.real_size.measure import Load, measure, parameters, unmeasured
from benchmarks.scale.measured import with_measured
from umgclip.params.annotators import KINDS

MEASURED = [kind for kind in sorted(KINDS) if unmeasured(kind) is None]
MILLIONS = {
    "blip2": 3745, "clip": 149.6, "detr": 41.5, "florence2": 231, "grounding_dino": 172, "mask2former": 47.4,
    "mm_grounding_dino": 173, "nsfw": 85.8, "owlv2": 155, "qwen3_vl": 2127, "rt_detr_v2": 42.9, "sam2": 217,
    "sam3": 840,
}  # fmt: skip


def test_every_kind_has_a_size_or_a_reason():
    assert {kind for kind in KINDS if unmeasured(kind) is not None} == {"vlm", "face"}
    assert set(MEASURED) == set(published.MAKERS) == set(published.WEIGHTS)


@pytest.mark.parametrize("kind", MEASURED)
def test_a_size_has_as_many_weights_as_were_published(kind):
    assert parameters(kind) / 1e6 == pytest.approx(MILLIONS[kind], rel=0.01)


@pytest.mark.parametrize("kind", MEASURED)
def test_every_role_of_a_kind_is_measured(kind):
    rows = measure(kind, Load(batch=2, images=2, regions=2, small=True))
    assert [row["role"] for row in rows] == list(KINDS[kind].ROLES)
    for row in rows:
        assert row["images_per_s"] * row["seconds_per_image"] == pytest.approx(1)
        assert (row["kind"], row["batch"], row["images"], row["halved"]) == (kind, 2, 2, False)
        assert row["memory_gb"] > 0


def test_a_process_that_fails_or_takes_too_much_is_skipped_with_the_reason():
    assert roles.run_kind("clip", [], memory_gb=0.0, timeout_s=60) == {
        "kind": "clip", "skipped": "more than 0 GB of memory"
    }  # fmt: skip
    failed = roles.run_kind("clip", ["--nonsense"], memory_gb=10.0, timeout_s=60)
    assert failed["skipped"].startswith("exit code 2: ")
    assert "--nonsense" in failed["skipped"]


def figures(device, seconds):
    row = {"kind": "clip", "dtype": "float32", "batch": 8, "images": 8, "regions": 10, "memory_gb": 1.25,
           "halved": False}  # fmt: skip
    rows = [
        {**row, "role": role, "seconds_per_image": seconds * n, "images_per_s": 1 / (seconds * n)}
        for n, role in enumerate(("region_tagger", "tagger", "filter"), 1)
    ]
    about = {"name": f"a {device}", "threads": 2 if device == "cpu" else None, "torch": "2", "transformers": "5"}
    one = {"kind": "clip", "model": "CLIP, ViT-B/16", "parameters": 149_600_000, "rows": rows}
    return {device: {"device": about, "kinds": [one, {"kind": "face", "skipped": "a file"}]}}


def test_a_gpu_fills_its_columns_beside_those_of_the_cpu(tmp_path):
    stored, document = tmp_path / "roles.json", tmp_path / "page.md"
    document.write_text("before\n<!-- roles -->\nold\n<!-- /roles -->\nafter\n")
    table.store(figures("cpu", 0.5), stored)
    table.write(document, stored)
    text = document.read_text()
    assert "GPU: **not measured**." in text
    assert "| `clip` region_tagger | CLIP, ViT-B/16 | 150 M | 0.5 | 1.2 |  | |  |" in text
    assert "* `face` (CPU): a file" in text
    table.store(figures("cuda", 0.01), stored)
    table.write(document, stored)
    text = document.read_text()
    assert "| `clip` tagger |  |  | 1 | 1.2 | 50 | 1.2 | 8 |" in text
    assert "* `face` (CPU and GPU): a file" in text
    assert (text.startswith("before\n"), text.endswith("\nafter\n"), "old" in text) == (True, True, False)
    assert set(json.loads(stored.read_text())) == {"cpu", "cuda"}
    with pytest.raises(SystemExit, match="expected <!-- roles -->"):
        table.write(stored, stored)


def test_a_kind_that_is_not_measured_now_keeps_its_figures(tmp_path):
    stored = tmp_path / "roles.json"
    table.store(figures("cpu", 0.5), stored)
    table.store({"cpu": {"device": {"name": "b"}, "kinds": [{"kind": "detr", "skipped": "x"}]}}, stored)
    kinds = table.stored_figures(stored)["cpu"]["kinds"]
    assert [one["kind"] for one in kinds] == ["clip", "detr", "face"]


def test_measured_times_take_the_place_of_published_ones():
    costs = Path(__file__).parents[3] / "benchmarks" / "scale" / "costs.yaml"
    assumed = YAML(typ="safe").load(costs.read_text())["roles"]
    for role in assumed.values():
        for part in role.get("measured", []):
            kind, _, name = part.partition(".")
            assert name in KINDS[kind].ROLES
    assert with_measured(assumed, figures("cpu", 0.5)) == assumed
    result = with_measured(assumed, figures("cuda", 0.01))
    assert result["tagger_and_filter"]["seconds"] == pytest.approx([0.05, 0.05])
    assert result["tagger_and_filter"]["gpu"] == "a cuda"
    assert result["masker"] == assumed["masker"]
