"""The stage `base`: a CLIP from scratch or from a checkpoint, with its hash."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from open_clip import factory
from safetensors.torch import load_file

from umgclip.base import scratch, stage
from umgclip.base.feed import CaptionFeed
from umgclip.base.stage import BaseInputs
from umgclip.errors import DataError, InputError
from umgclip.io.atomic import MARKER, sha256_file
from umgclip.io.images import encode_jpeg
from umgclip.io.manifest import MadeBy, Manifest, describe_shard, write_manifest
from umgclip.io.shards import RawSample, ShardWriter
from umgclip.model.clip import files
from umgclip.model.clip.tower import DenseClip
from umgclip.params import BaseParams, TowerParams
from umgclip.records import ImageRecord, Source, Text


@pytest.fixture
def params(tiny: TowerParams) -> BaseParams:
    """Two short steps, then a full one among short ones."""
    return BaseParams(tower=tiny, short_steps=2, full_steps=1, short_batch=8, full_batch=8, min_concept_count=1)


def captioned(folder: Path, captions: list[str | None]) -> Path:
    """A data folder whose `train` holds one grey image a caption."""
    train = folder / "train"
    train.mkdir(parents=True)
    writer = ShardWriter(train / "a.tar")
    for number, caption in enumerate(captions):
        said = None if caption is None else [Text(text=caption, source="alt")]
        record = ImageRecord(
            key=f"k{number}", width=96, height=96, sha256="0", source=Source(dataset="test"), captions=said
        )
        image = encode_jpeg(np.full((96, 96, 3), 10 * number, np.uint8))
        writer.write(RawSample(f"k{number}", image, "jpg", record.to_json()))
    writer.close()
    made_by = MadeBy(stage="data", params_sha256="0", code_version="0")
    write_manifest(train, Manifest(made_by=made_by, shards=[describe_shard(train / "a.tar", len(captions))]))
    return folder


def test_training_from_scratch_is_deterministic(params: BaseParams, demo: Path) -> None:
    runs = []
    for stray in (1, 2):
        torch.manual_seed(stray)  # random numbers used before do not matter
        losses: list[tuple[int, dict[str, float]]] = []
        clip, config = scratch.train(params, demo / "train", lambda *given, to=losses: to.append(given))
        runs.append((losses, clip.state_dict()))
        assert config == files.tower_config(params.tower)
        assert not clip.training
    assert runs[0][0] == runs[1][0]
    assert [step for step, _ in runs[0][0]] == list(range(stage.total_steps(params)))
    assert [step for step, values in runs[0][0] if "tags" in values] == [2], "the one full step"
    assert all(math.isfinite(value) for _, values in runs[0][0] for value in values.values())
    for name, value in runs[0][1].items():
        assert torch.equal(value, runs[1][1][name]), name
        assert value.isfinite().all(), name


@pytest.mark.parametrize("dtype", ["bf16", "fp16"])
def test_another_precision_learns_nearly_the_same(params: BaseParams, demo: Path, dtype: str) -> None:
    losses: dict[str, list[float]] = {"fp32": [], dtype: []}
    for name, seen in losses.items():
        one = params.model_copy(update={"dtype": name, "device": "cpu"})
        clip, _ = scratch.train(one, demo / "train", lambda _, values, to=seen: to.append(values["image_text"]))
        assert {value.dtype for value in clip.state_dict().values()} == {torch.float32}
    assert losses[dtype] != losses["fp32"]
    assert losses[dtype] == pytest.approx(losses["fp32"], rel=0.05)


def test_a_device_that_is_not_there_is_named(params: BaseParams, demo: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(InputError, match="base.device: expected cpu, since this machine has no GPU"):
        scratch.train(params.model_copy(update={"device": "cuda"}), demo / "train", lambda *_: None)


def test_every_parameter_learns(params: BaseParams, demo: Path) -> None:
    torch.manual_seed(params.seed)
    start = files.build(files.tower_config(params.tower)).state_dict()
    clip, _ = scratch.train(params, demo / "train", lambda *_: None)
    still = [name for name, value in clip.state_dict().items() if torch.equal(value, start[name])]
    assert still == []


def test_the_stage_writes_weights_config_and_hash(params: BaseParams, demo: Path, tmp_path: Path) -> None:
    out = tmp_path / "base"
    summary = stage.run(params, BaseInputs(demo), out)
    assert sorted(path.name for path in out.iterdir()) == [MARKER, "base.json", files.CONFIG, files.WEIGHTS]
    digest = sha256_file(out / files.WEIGHTS)
    assert json.loads((out / "base.json").read_text()) == {
        "weights_sha256": digest,
        "pretrained": "scratch",
        "model": "umgclip-tiny",
        "trained_on": ["demo/train"],
    }
    assert dict(summary.rows)["sha256"] == digest[:16]
    assert set(load_file(out / files.WEIGHTS)) == set(files.load(out)[0].state_dict())


def test_an_interrupted_stage_leaves_nothing(params: BaseParams, demo: Path, tmp_path: Path) -> None:
    def interrupt(step: int, _values: dict[str, float]) -> None:
        if step == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stage.run(params, BaseInputs(demo), tmp_path / "artifacts" / "base", report=interrupt)
    assert not (tmp_path / "artifacts").exists() or list((tmp_path / "artifacts").iterdir()) == []


@pytest.fixture
def small_config(tiny: TowerParams, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """open_clip knows `small-test`, and `unpooled-test`, which gives tokens only."""
    monkeypatch.setattr(factory, "_MODEL_CONFIG_PATHS", list(factory._MODEL_CONFIG_PATHS))
    monkeypatch.setattr(factory, "_MODEL_CONFIGS", dict(factory._MODEL_CONFIGS))
    config = files.tower_config(tiny)
    unpooled = {**config, "vision_cfg": {**config["vision_cfg"], "pool_type": "none"}}
    for name, content in (("small-test", config), ("unpooled-test", unpooled)):
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
        open_clip.add_model_config(tmp_path / f"{name}.json")
    return config


def test_a_checkpoint_is_taken_as_it_is(small_config: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "given").mkdir()
    clip = files.build(small_config)
    digest = files.save(tmp_path / "given", clip, small_config)
    params = BaseParams(pretrained=str(tmp_path / "given" / files.WEIGHTS), model="small-test")
    stage.run(params, BaseInputs(tmp_path / "no data"), tmp_path / "base")
    assert stage.total_steps(params) == 0
    written = json.loads((tmp_path / "base" / "base.json").read_text())
    # where the file lies decides nothing
    assert written == {"weights_sha256": digest, "pretrained": files.WEIGHTS, "model": "small-test"}
    with pytest.raises(InputError, match="expected an image tower with dense features .*, got VisionTransformer"):
        stage.run(params.model_copy(update={"model": "unpooled-test"}), BaseInputs(tmp_path), tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_a_whole_folder_is_taken_with_its_config(small_config: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "given").mkdir()
    clip = files.build(small_config)
    clip.visual.preprocess_cfg = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}
    digest = files.save(tmp_path / "given", clip, small_config)
    stage.run(BaseParams(pretrained=str(tmp_path / "given")), BaseInputs(tmp_path), tmp_path / "base")
    loaded, config = files.load(tmp_path / "base")
    assert config == small_config
    assert DenseClip(loaded).preprocess.mean == (0.5, 0.5, 0.5)
    assert sha256_file(tmp_path / "base" / files.WEIGHTS) == digest


def test_a_base_for_long_texts_knows_its_length_and_preprocessing(tmp_path: Path, small_config: dict[str, Any]) -> None:
    (tmp_path / "given").mkdir()
    clip = files.build(small_config)
    clip.visual.preprocess_cfg = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}
    files.save(tmp_path / "given", clip, small_config)
    params = BaseParams(pretrained=str(tmp_path / "given"), text_positions="stretched", context_length=80)
    summary = stage.run(params, BaseInputs(tmp_path), tmp_path / "base")
    assert ("longest text", "80 tokens, stretched from 32") in summary.rows
    loaded, config = files.load(tmp_path / "base")
    assert loaded.context_length == config["text_cfg"]["context_length"] == 80
    assert DenseClip(loaded).preprocess.mean == (0.5, 0.5, 0.5)
    assert torch.equal(loaded.positional_embedding[:20], clip.positional_embedding[:20])


def test_a_tokenizer_of_files_is_carried_along(
    small_config: dict[str, Any], tmp_path: Path, tokenizer_files: Path
) -> None:
    (tmp_path / "given").mkdir()
    small_config["text_cfg"] |= {"hf_tokenizer_name": "nobody/nowhere", "tokenizer_kwargs": {"clean": "canonicalize"}}
    files.save(tmp_path / "given", files.build(small_config), small_config)
    params = BaseParams(pretrained=str(tmp_path / "given"), tokenizer=str(tokenizer_files))
    stage.run(params, BaseInputs(tmp_path), tmp_path / "base")
    tokens = DenseClip(files.load(tmp_path / "base")[0]).tokenizer(["A dog!", "a cat"])
    assert tokens.shape == (2, 32)
    assert tokens[0, :3].tolist() == [3, 4, 1], "cleaned, then a, dog, end"
    without = DenseClip(files.load(tmp_path / "given")[0]).tokenizer
    with pytest.raises(InputError, match="tokenizer: expected the files of nobody/nowhere .*, found none in .*given; "):
        without(["a dog"])
    with pytest.raises(InputError, match="base.tokenizer: expected a folder .* got '.*missing'"):
        stage.run(
            params.model_copy(update={"tokenizer": str(tmp_path / "missing")}), BaseInputs(tmp_path), tmp_path / "other"
        )


@pytest.fixture
def tokenizer_files(tmp_path: Path) -> Path:
    """A tokenizer of four words as Hugging Face keeps one."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({"[PAD]": 0, "[END]": 1, "[UNK]": 2, "a": 3, "dog": 4, "cat": 5}, "[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing(single="$A [END]", special_tokens=[("[END]", 1)])
    fast = PreTrainedTokenizerFast(tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]", eos_token="[END]")
    fast.save_pretrained(str(tmp_path / "words"))
    return tmp_path / "words"


def test_images_without_a_caption_are_passed_over(params: BaseParams, tmp_path: Path) -> None:
    data = captioned(tmp_path, ["a dog", None, "", "a cat", "a dog and a cat"])
    _, config = scratch.train(params, data / "train", lambda *_: None)
    assert config["embed_dim"] == 64


def test_captions_that_all_name_two_concepts_are_learnt_from(params: BaseParams, tmp_path: Path) -> None:
    data = captioned(tmp_path, ["a dog and a cat", "a cat and a dog", "a bird, a cat and a dog", ""])
    feed = CaptionFeed(data / "train", params.model_copy(update={"short_batch": 2}))
    assert (feed.short, feed.singles) == (2, 2)
    assert CaptionFeed(data / "train", params).short == 3, "a batch of eight takes all that there are"
    losses: list[int] = []
    scratch.train(params, data / "train", lambda step, _: losses.append(step))
    assert losses == [0, 1, 2, 3, 4]


def test_captions_of_which_nothing_can_be_learnt_are_explained(params: BaseParams, tmp_path: Path) -> None:
    def why(name: str, captions: list[str | None], **changes: Any) -> str:
        data = captioned(tmp_path / name, captions)
        with pytest.raises(DataError) as caught:
            CaptionFeed(data / "train", params.model_copy(update=changes))
        return str(caught.value)

    assert "none of 2 images has one" in why("none", [None, ""])
    rare = why("rare", ["a photo of a dog", "a photo of a cat"], min_concept_count=5)
    assert "base: the vocabulary is empty: no noun chunk stands in 5 or more of the 2 captions" in rare
    (tmp_path / "names.txt").write_text("Hund\n")
    listed = {"language": "none", "vocabulary": str(tmp_path / "names.txt")}
    assert "none of the 1 captions names one of the 1 concepts" in why("list", ["eine Katze"], **listed)
    data = captioned(tmp_path / "german", ["ein Foto von einem Hund"])
    assert CaptionFeed(data / "train", params.model_copy(update=listed)).singles == 1


def test_missing_data_are_named(params: BaseParams, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="train: expected a dataset folder, found none"):
        stage.run(params, BaseInputs(tmp_path), tmp_path / "base")
