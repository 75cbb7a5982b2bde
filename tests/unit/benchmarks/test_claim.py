"""The machinery behind `make claim`, on a tiny demo with a tiny random base."""

import io
import json

import numpy as np
import pytest
import torch

from benchmarks.claim import document, figure
from benchmarks.claim.measure import measure
from benchmarks.claim.models import BASE, CONTROL, MULTI_GRAIN, TRUE, VARIANTS, interpolate
from benchmarks.claim.results import Claim, Readout, summarise, targets
from benchmarks.claim.runs import Inputs, Runs, Sections
from benchmarks.claim.truth import write_truth
from umgclip.data.stream import read_raw
from umgclip.errors import DataError
from umgclip.geometry import masks as mask_ops
from umgclip.io import tables
from umgclip.io.manifest import describe_shard, read_manifest, write_manifest
from umgclip.io.shards import RawSample, ShardWriter
from umgclip.model.adapters.adapt import add_lora, load_tuned
from umgclip.model.clip import files
from umgclip.model.clip.layout import ADAPTER
from umgclip.params import AnnotateParams, DataParams, EvaluateParams, LoraParams, TowerParams, TrainParams
from umgclip.records import parse_record
from umgclip.sources.demo.scenes import write_demo

DATA = DataParams(train_scenes=8, benchmark_scenes=4, benchmark_singles=3, shard_samples=8)
TOWER = TowerParams(
    width=24, layers=2, heads=2, text_width=24, text_layers=1, text_heads=2, embed_dim=16, context_length=32
)
HELD_OUT = ["fox", "lion"]
SECTIONS = Sections(
    DATA,
    AnnotateParams(held_out=HELD_OUT),
    TrainParams(steps=2, batch=4, checkpoint_every=1),
    EvaluateParams(pictures=1, readouts=["box", "mask"], resamples=20),
)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Write what the pipeline would produce: data, a base, annotations without regions, an empty quarantine."""
    root = tmp_path_factory.mktemp("claim")
    write_demo(DATA, root / "data")
    torch.manual_seed(0)
    clip = files.build(files.tower_config(TOWER))
    (root / "artifacts" / "base").mkdir(parents=True)
    files.save(root / "artifacts" / "base", clip, files.tower_config(TOWER))
    annotate = root / "artifacts" / "annotate"
    for name in ("train", "benchmark", "proposals"):
        (annotate / name).mkdir(parents=True)
        source = root / "data" / ("train" if name == "train" else "benchmark")
        manifest = read_manifest(source)
        writer = ShardWriter(annotate / name / "all.tar")
        for _, raw in read_raw(source):
            buffer = io.BytesIO()
            np.save(buffer, np.ones((1, 16), np.float16))
            writer.write(RawSample(raw.key, raw.image, raw.extension, raw.json, buffer.getvalue()))
        writer.close()
        shards = [describe_shard(annotate / name / "all.tar", writer.samples)]
        write_manifest(annotate / name, manifest.model_copy(update={"shards": shards}))
    words = {"things": ["dog", "cat"], "stuff": ["grass"], "held_out": HELD_OUT}
    (annotate / "vocabulary.json").write_text(json.dumps(words))
    (root / "artifacts" / "validate").mkdir()
    tables.write_table(root / "artifacts" / "validate" / "quarantine.parquet", [], tables.QUARANTINE)
    return root


def test_the_truth_of_the_training_images(world, tmp_path):
    inputs = Inputs.of(world)
    write_truth(inputs.annotate, inputs.base, (DATA, SECTIONS.annotate), tmp_path / "truth")
    before = {raw.key: raw for _, raw in read_raw(inputs.annotate / "train")}
    named = set()
    for _, raw in read_raw(tmp_path / "truth"):
        record = parse_record(raw.json, where=raw.key)
        assert raw.image == before[raw.key].image
        assert record.captions == parse_record(before[raw.key].json, where="").captions
        embeddings = np.load(io.BytesIO(raw.embeddings))
        assert embeddings.shape == (1 + len(record.regions), 16)
        assert np.isfinite(embeddings).all()
        covered = sum(mask_ops.area(region.mask) for region in record.regions)
        assert covered == record.width * record.height  # every pixel is of one thing, or of the ground
        named |= {tag.text for region in record.regions for tag in region.tags}
        # the caption names things and may name the ground
        assert all(tag.text in record.captions[0].text for region in record.regions[:-1] for tag in region.tags)
    assert named
    assert not named & set(HELD_OUT)


def test_images_of_another_demo_are_refused(world, tmp_path):
    inputs = Inputs.of(world)
    other = (DATA.model_copy(update={"seed": 1}), SECTIONS.annotate)
    with pytest.raises(DataError, match="expected an image that `data` of params.yaml generates, got another"):
        write_truth(inputs.annotate, inputs.base, other, tmp_path / "truth")


def test_weights_between_the_base_and_the_tuned_model(world, tmp_path):
    base = Inputs.of(world).base
    adapted = add_lora(files.load(base)[0], LoraParams(rank=2, alpha=4))
    with torch.no_grad():
        for name, value in adapted.named_parameters():
            if "lora_B" in name:
                value.normal_()
    adapted.save_pretrained(str(tmp_path / "tuned" / ADAPTER))
    near, far = files.load(base)[0].state_dict(), load_tuned(base, tmp_path / "tuned" / ADAPTER).state_dict()
    assert any(not torch.equal(near[name], far[name]) for name in near)
    for alpha in (0.0, 0.25, 1.0):
        interpolate(base, tmp_path / "tuned", alpha, tmp_path / f"at{alpha}")
        measured = load_tuned(base, tmp_path / f"at{alpha}" / ADAPTER).state_dict()
        for name in near:
            torch.testing.assert_close(measured[name], (1 - alpha) * near[name] + alpha * far[name])


def test_the_control_looks_at_no_region():
    params = {variant.name: variant.params(TrainParams(), 7) for variant in VARIANTS}
    assert all(each.seed == 7 for each in params.values())
    control, whole = params[CONTROL], params[MULTI_GRAIN]
    assert {name for name, weight in control.weights.model_dump().items() if weight} == {"image_text", "tags", "keep"}
    assert control.model_copy(update={"weights": whole.weights}) == whole  # steps, batches, adapter and all
    assert params[TRUE] == whole


@pytest.mark.slow
def test_runs_are_done_once_and_the_page_has_them(world, tmp_path, capsys, monkeypatch):
    chosen = [variant for variant in VARIANTS if variant.name in (MULTI_GRAIN, TRUE)]
    monkeypatch.setattr("benchmarks.claim.measure.EVERY_READOUT", {"readouts": ["box", "mask", "tight"]})
    runs = Runs(SECTIONS, Inputs.of(world), tmp_path / "work")
    claim = measure(runs, [0], [], chosen)
    done = capsys.readouterr().out
    assert len(done.splitlines()) == 6  # two trainings, the truth, three evaluations
    again = measure(runs, [0], [], chosen)
    assert capsys.readouterr().out == ""
    assert document.markdown(again) == document.markdown(claim)
    assert set(claim.models) == {BASE, MULTI_GRAIN, TRUE}
    assert {readout.name for readout in claim.readouts} == {"box", "mask", "tight"}
    page = tmp_path / "claim.md"
    page.write_text(f"# Title\n\n{document.BEGIN}\nold\n{document.END}\n\nafter\n")
    for _ in range(2):  # putting it twice is putting it once
        document.put(page, document.markdown(claim))
    text = page.read_text()
    assert "old" not in text
    assert text.startswith("# Title\n")
    assert text.endswith(f"{document.END}\n\nafter\n")
    assert text.count("| zero-shot top-1 |") == 2  # the means and the intervals
    figure.write(tmp_path / "claim.png", claim)
    assert (tmp_path / "claim.png").stat().st_size < 200_000


def run_of(mask, classification, miou=0.2):
    values = {
        "region": {"mask_top1": mask, "mask_top1_heldout": mask, "box_top1": mask}, "semantic": {"miou": miou},
        "classification": {"top1": classification},
    }  # fmt: skip
    return {"values": values, "intervals": {"region": {"mask_top1": {"low": mask - 0.1, "high": mask + 0.2}}}}


def test_values_over_seeds():
    value = summarise([run_of(0.4, 0.5), run_of(0.6, 0.5)], "region.mask_top1")
    assert value.mean == pytest.approx(0.5)
    assert value.spread == pytest.approx(0.2 / 2**0.5)
    assert value.interval == pytest.approx((0.4, 0.7))
    assert summarise([run_of(0.4, 0.5)], "region.mask_top1").spread is None
    assert summarise([run_of(0.4, 0.5)], "retrieval.i2t_r1") is None


def test_targets_say_what_is_reached_and_what_is_not():
    claim = Claim([0], {BASE: [run_of(0.1, 0.3)], CONTROL: [run_of(0.1, 0.6)], MULTI_GRAIN: [run_of(0.5, 0.58)],
                        TRUE: [run_of(0.56, 0.5)]})  # fmt: skip
    claim.readouts = [Readout("crop", 0.3, 0.3, None, None, 1.0), Readout("maskout", 0.45, 0.4, None, None, 2.0)]
    measured = {target.statement: target.reached for target in targets(claim)}
    assert measured == {
        "regions by boxes: multi-grain above the best read-out of the base (crop, 0.300) by 10 points": True,
        "regions by masks: multi-grain above the best read-out of the base (maskout, 0.450) by 10 points": False,
        "zero-shot top-1: multi-grain at most 1 point below the control": False,
        "true annotations: regions by masks, top-1": True,
        "true annotations: the same, held-out classes": True,
        "true annotations: mIoU": False,
    }
