"""The code that lies in a model's folder is not run, whatever its configs say and whatever is piped to stdin."""

import builtins
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from transformers import AutoConfig, dynamic_module_utils

import umgclip
from umgclip.annotate.models.foundation.weights import load as load_annotator
from umgclip.base import stage as base_stage
from umgclip.errors import DataError, InputError, UmgclipError
from umgclip.inference.folder import load_folder
from umgclip.model.adapters.adapt import adapt
from umgclip.model.clip import files
from umgclip.model.clip.layout import ADAPTER
from umgclip.model.clip.no_code import no_remote_code
from umgclip.model.clip.pretrained.load import load_pretrained
from umgclip.params import BaseParams, LoraParams, TowerParams, TrainParams
from umgclip.params.annotators import DetrParams


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], bool]:
    """Says whether code of the folder `model` has run; a "y" is piped to whoever asks."""
    ran = tmp_path / "ran"
    asked: list[object] = []
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n" * 100))
    monkeypatch.setattr(builtins, "input", lambda *text: asked.append(text) or "y")
    folder = tmp_path / "model"
    folder.mkdir()
    code = f"open({str(ran)!r}, 'w').close()\n" + "".join(
        f"from transformers import {base}\nclass {name}({base}):\n    model_type = 'planted'\n"
        for name, base in (("Tok", "PreTrainedTokenizer"), ("Config", "PretrainedConfig"), ("Model", "PreTrainedModel"))
    )
    (folder / "tok.py").write_text(code, encoding="utf-8")
    classes = {"AutoConfig": "tok.Config", "AutoModel": "tok.Model", "AutoTokenizer": ["tok.Tok", None]}
    for name in ("config.json", "tokenizer_config.json", "preprocessor_config.json", "processor_config.json"):
        about = {"model_type": "planted", "tokenizer_class": "Tok", "auto_map": classes}
        (folder / name).write_text(json.dumps(about), encoding="utf-8")
    (folder / "vocab.txt").write_text("a\n", encoding="utf-8")
    return lambda: ran.exists() or bool(asked)


def with_tokenizer(folder: Path, tiny: TowerParams, **options: Any) -> Path:
    config = files.tower_config(tiny)
    clip = files.build(config)
    config["text_cfg"] |= {"hf_tokenizer_name": str(folder), "tokenizer_kwargs": options}
    kept = {path.name: path.read_bytes() for path in folder.iterdir()}
    files.save(folder, clip, config)
    for name, content in kept.items():
        (folder / name).write_bytes(content)
    return folder


def with_adapter(folder: Path, tiny: TowerParams) -> Path:
    with_tokenizer(folder, tiny)
    adapt(files.build(files.tower_config(tiny)), TrainParams(lora=LoraParams(rank=2))).save(folder / ADAPTER)
    return folder


def with_text_tower(folder: Path, tiny: TowerParams) -> Path:
    config = files.tower_config(tiny)
    config["text_cfg"] = {"hf_model_name": str(folder), "hf_tokenizer_name": str(folder), "hf_proj_type": "linear"}
    (folder / files.CONFIG).write_text(json.dumps({"model_cfg": config}), encoding="utf-8")
    save_file({"visual.conv1.weight": torch.zeros(1), "token_embedding.weight": torch.zeros(1)}, folder / files.WEIGHTS)
    return folder


def make_base(folder: Path, tokenizer: Path | None = None) -> None:
    params = BaseParams(pretrained=str(folder), tokenizer=None if tokenizer is None else str(tokenizer))
    base_stage.run(params, base_stage.BaseInputs(folder), folder.parent / "base")


ROADS: dict[str, Callable[[Path, TowerParams], object]] = {
    "umgclip.load": lambda folder, tiny: umgclip.load(with_tokenizer(folder, tiny)),
    "umgclip.load, told to trust": lambda folder, tiny: umgclip.load(
        with_tokenizer(folder, tiny, trust_remote_code=True)
    ),
    "umgclip.load of a text tower": lambda folder, tiny: umgclip.load(with_text_tower(folder, tiny)),
    "base.pretrained": lambda folder, tiny: make_base(with_tokenizer(folder, tiny)),
    "base.pretrained, told to trust": lambda folder, tiny: make_base(
        with_tokenizer(folder, tiny, trust_remote_code=True)
    ),
    "base.pretrained of a text tower": lambda folder, tiny: make_base(with_text_tower(folder, tiny)),
    "base.tokenizer": lambda folder, tiny: files.save_tokenizer(
        folder, {"text_cfg": {"hf_tokenizer_name": "nobody/nothing"}}, str(folder)
    ),
    "base.model": lambda folder, tiny: load_pretrained(
        f"local-dir:{with_text_tower(folder, tiny)}", str(folder / files.WEIGHTS)
    ),
    "a registered version": lambda folder, tiny: load_folder(with_adapter(folder, tiny), {}),
    "annotate.models.path": lambda folder, tiny: load_annotator(
        DetrParams(kind="detr", path=str(with_text_tower(folder, tiny))), "m", "AutoModel", "AutoProcessor"
    ),
}


@pytest.mark.parametrize("road", ROADS)
def test_code_in_a_models_folder_is_not_run(
    road: str, planted: Callable[[], bool], tiny: TowerParams, tmp_path: Path
) -> None:
    with pytest.raises(UmgclipError) as refused:
        ROADS[road](tmp_path / "model", tiny)
    assert not planted()
    assert "code" in str(refused.value) or "base.model: expected a model of open_clip" in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


def test_a_library_that_asks_is_answered_no(planted: Callable[[], bool], tmp_path: Path) -> None:
    before = dynamic_module_utils.TIME_OUT_REMOTE_CODE
    with (
        pytest.raises(InputError, match="^m: expected a model that needs no code of its own; its Python files are not"),
        no_remote_code("m"),
        no_remote_code("m"),
    ):
        AutoConfig.from_pretrained(tmp_path / "model")
    assert not planted()
    assert before == dynamic_module_utils.TIME_OUT_REMOTE_CODE > 0


def test_no_module_that_an_adapter_names_is_imported(
    planted: Callable[[], bool], tiny: TowerParams, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "model"
    for name in ("config.json", "tokenizer_config.json"):
        (folder / name).unlink()
    clip = files.build(files.tower_config(tiny))
    files.save(folder, clip, files.tower_config(tiny))
    adapt(clip, TrainParams(lora=LoraParams(rank=2))).save(folder / ADAPTER)
    config = folder / ADAPTER / "adapter_config.json"
    said = json.loads(config.read_text(encoding="utf-8"))
    config.write_text(json.dumps(said | {"megatron_core": "tok", "megatron_config": {"a": 1}}), encoding="utf-8")
    monkeypatch.syspath_prepend(folder)  # as for `python -m umgclip` in that folder
    with pytest.raises(DataError, match="adapter_config.json: expected a plain LoRA, got megatron_co.*: "):
        umgclip.load(folder)
    assert not planted()
