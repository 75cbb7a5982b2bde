"""Where weights come from, and what is said where they are not."""

import shutil
from pathlib import Path

import pytest
import torch

from umgclip.annotate.models.build import build_model
from umgclip.annotate.models.foundation.batching import run_batches
from umgclip.annotate.models.foundation.weights import load
from umgclip.annotate.rejected import Failure
from umgclip.errors import InputError
from umgclip.params.annotators import ClipParams, DetrParams, Owlv2Params, Sam2Params

REVISION = "0123456789abcdef0123456789abcdef01234567"


def test_missing_weights_are_named_with_the_command_that_fetches_them(vocabulary):
    models = {"sam": Sam2Params(id="nobody/sam2-nothing", revision=REVISION)}
    with pytest.raises(
        InputError,
        match=rf"annotate.models.sam.id: weights of nobody/sam2-nothing at {REVISION} are not on this machine .*"
        rf"run: hf download nobody/sam2-nothing --revision {REVISION}",
    ):
        build_model(models, "sam", vocabulary)


def test_a_folder_without_weights_is_named(tmp_path):
    with pytest.raises(InputError, match=r"m.path: expected a folder with config.json and \*.safetensors, got"):
        load(Sam2Params(path=str(tmp_path)), "m", "Sam2Model", "Sam2Processor")


def test_weights_of_another_kind_are_refused(weights):
    with pytest.raises(InputError, match=r"m.path: expected weights of detr \(DetrConfig\), got rt_detr_v2"):
        load(DetrParams(kind="detr", path=weights("rt_detr_v2")), "m", "DetrForObjectDetection", "AutoImageProcessor")


def _owl(folder):
    return load(Owlv2Params(path=str(folder), device="cpu"), "m", "Owlv2ForObjectDetection", "Owlv2Processor")


def test_a_tokenizer_that_reads_all_words_as_one_is_refused(weights, tmp_path):
    """Without its file transformers makes an empty tokenizer, and each query would find the same boxes."""
    folder = tmp_path / "owl"
    shutil.copytree(weights("owlv2"), folder)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(InputError, match=r"^m\.path: expected a complete tokenizer \(tokenizer\.json\), got .*owl, "):
        _owl(folder)


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json", "processor_config.json"])
@pytest.mark.parametrize("text", ["[]", "null"])
def test_a_file_of_the_processor_that_holds_no_object_is_refused(weights, tmp_path, name, text):
    folder = tmp_path / "owl"
    shutil.copytree(weights("owlv2"), folder)
    assert Path(folder, name).is_file()
    Path(folder, name).write_text(text)
    with pytest.raises(InputError, match=r"^m\.path: expected Owlv2ForObjectDetection .*, got .*owl, which cannot be"):
        _owl(folder)


def test_a_gpu_that_is_not_there_is_refused(weights):
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(InputError, match=r"m.device: expected cpu, since this machine has no GPU .* got cuda:1"):
        load(ClipParams(path=weights("clip"), device="cuda:1"), "m", "AutoModel", "AutoProcessor")


def test_the_revision_of_a_folder_is_its_content(weights, tmp_path):
    params = DetrParams(kind="detr", path=weights("detr"))
    one = load(params, "m", "DetrForObjectDetection", "AutoImageProcessor")
    assert one.name.startswith("detr/detr@")
    assert (one.dtype, one.device.type) == (torch.float32, "cuda" if torch.cuda.is_available() else "cpu")
    half = load(params.model_copy(update={"dtype": "bf16"}), "m", "DetrForObjectDetection", "AutoImageProcessor")
    assert half.name == one.name
    assert next(half.model.parameters()).dtype == torch.bfloat16


def test_a_batch_that_runs_out_of_memory_is_halved():
    seen = []

    def forward(items):
        seen.append(len(items))
        if len(items) > 2:
            raise torch.OutOfMemoryError("out")
        return [item * 10 for item in items]

    assert run_batches(list(range(9)), 8, forward) == [i * 10 for i in range(9)]
    assert seen == [8, 4, 2, 2, 4, 2, 2, 1]


def test_one_bad_item_does_not_take_the_others_with_it():
    def forward(items):
        if 5 in items:
            raise ValueError("five is no image\nand more")
        return list(items)

    results = run_batches(list(range(8)), 8, forward)
    assert results[5] == Failure("model_error", "ValueError: five is no image")
    assert [r for r in results if not isinstance(r, Failure)] == [0, 1, 2, 3, 4, 6, 7]
