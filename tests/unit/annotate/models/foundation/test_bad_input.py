"""Bad input to every kind with weights: a new kind in the catalog is tested here without being named."""

import itertools
import shutil
import string

import numpy as np
import pytest
import torch
from huggingface_hub import constants

from umgclip.annotate.cache.role_calls import ROLE_CALLS
from umgclip.annotate.catalog import CATALOG
from umgclip.annotate.models.build import build_model
from umgclip.annotate.proposal import Proposal
from umgclip.annotate.rejected import Failure
from umgclip.data.vocabulary import Vocabulary
from umgclip.errors import InputError
from umgclip.params import AnnotateParams
from umgclip.params.annotators import KINDS, WeightsParams

WEIGHTY = sorted(kind for kind, section in KINDS.items() if issubclass(section, WeightsParams))
TINY = {"nsfw": "vit"}  # the tiny model of a kind, where it has another name
HEAVY = {"grounding_dino", "mm_grounding_dino", "sam3"}  # whose work grows with the vocabulary
QUICK = {
    "florence2": {"max_new_tokens": 4}, "blip2": {"max_new_tokens": 4}, "qwen3_vl": {"max_new_tokens": 4},
    "sam2": {"points_per_side": 4}, "nsfw": {"threshold": 0.0},
}  # fmt: skip


def entry(kind, **source):
    return AnnotateParams.model_validate(
        {"models": {"m": {"kind": kind, "device": "cpu", **QUICK.get(kind, {}), **source}}}
    ).models


def answers(model, role, images, caption="a cat"):
    """What the model of a kind says in a role about images, one region each."""
    columns = {
        "image": images, "caption": [caption] * len(images), "text": ["a cat"] * len(images),
        "proposals": [[Proposal.of_box((0.0, 0.0, 40.0, 50.0), i.shape[:2], 0.5)] for i in images],
    }  # fmt: skip
    call = ROLE_CALLS[role]
    return list(getattr(model, call.method)(*(columns[name] for name in call.columns)))


@pytest.fixture
def folder(weights):
    return lambda kind: weights(TINY.get(kind, kind))


@pytest.mark.parametrize("kind", WEIGHTY)
def test_folders_without_whole_weights_are_refused(kind, folder, tmp_path, vocabulary):
    def refusal(path):
        with pytest.raises(InputError, match=r"^annotate\.models\.m\.path: expected .* got .*") as told:
            build_model(entry(kind, path=str(path)), "m", vocabulary)
        assert str(path) in str(told.value)
        return str(told.value)

    assert "model.safetensors" not in refusal(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    assert "*.safetensors" in refusal(tmp_path / "empty")
    shutil.copytree(folder(kind), tmp_path / "cut")
    weights = tmp_path / "cut" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    refusal(tmp_path / "cut")
    weights.unlink()
    assert "*.safetensors" in refusal(tmp_path / "cut")
    shutil.copytree(folder(kind), tmp_path / "no config")
    (tmp_path / "no config" / "config.json").write_text("{")
    refusal(tmp_path / "no config")
    (tmp_path / "no config" / "config.json").unlink()
    refusal(tmp_path / "no config")
    shutil.copytree(folder(kind), tmp_path / "no processor")
    for path in (tmp_path / "no processor").iterdir():
        if path.name not in ("config.json", "generation_config.json", "model.safetensors"):
            path.unlink()
    refusal(tmp_path / "no processor")


@pytest.mark.parametrize("kind", WEIGHTY)
def test_weights_of_every_other_kind_are_refused(kind, folder, vocabulary):
    for other in WEIGHTY:
        if other != kind and (kind, other) != ("nsfw", "clip"):
            with pytest.raises(InputError, match=r"^annotate\.models\.m\.(path|unsafe): expected .*, got "):
                build_model(entry(kind, path=folder(other)), "m", vocabulary)


@pytest.mark.parametrize("kind", WEIGHTY)
def test_another_revision_is_another_model(kind, folder, tmp_path, vocabulary, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    here, wanted = "1" * 40, "2" * 40
    shutil.copytree(folder(kind), tmp_path / "models--org--name" / "snapshots" / here)
    assert here[:12] in build_model(entry(kind, id="org/name", revision=here), "m", vocabulary).name
    with pytest.raises(
        InputError, match=rf"^annotate\.models\.m\.id: weights of org/name at {wanted} are not on this machine .* run: "
    ):
        build_model(entry(kind, id="org/name", revision=wanted), "m", vocabulary)


@pytest.mark.parametrize("error", [torch.cuda.OutOfMemoryError, torch.AcceleratorError])
@pytest.mark.parametrize("kind", WEIGHTY)
def test_a_gpu_without_memory(kind, error, folder, images, vocabulary):
    """Once: the batch is repeated in halves. Always: every image has failed. A lost device ends the process."""
    model = build_model(entry(kind, path=folder(kind)), "m", vocabulary)
    budget = [0]

    def full(*_):
        if budget[0]:
            budget[0] -= 1
            raise error("CUDA error: out of memory")

    hook = torch.nn.modules.module.register_module_forward_pre_hook(full)
    try:
        for role in KINDS[kind].ROLES:
            budget[0] = 1
            if error is torch.AcceleratorError:
                with pytest.raises(torch.AcceleratorError):
                    answers(model, role, images)
                continue
            some = answers(model, role, images)
            assert len(some) == 3
            assert not [one for one in some if isinstance(one, Failure)], role
            budget[0] = 10**6
            assert {one.reason for one in answers(model, role, images)} == {"out_of_memory"}, role
    finally:
        hook.remove()


@pytest.mark.parametrize("kind", WEIGHTY)
def test_an_image_of_one_row_or_one_column(kind, folder, images, vocabulary):
    model = build_model(entry(kind, path=folder(kind)), "m", vocabulary)
    thin = np.random.default_rng(0).integers(0, 256, (1, 4000, 3), dtype=np.uint8)
    for role in KINDS[kind].ROLES:
        some = answers(model, role, [thin, np.ascontiguousarray(thin.transpose(1, 0, 2)), images[0]])
        assert not [one for one in some if isinstance(one, Failure)], role
        if role in ("proposer", "masker"):
            for proposals, (height, width) in zip(some, ((1, 4000), (4000, 1), (96, 128)), strict=True):
                for proposal in proposals:
                    x0, y0, x1, y1 = proposal.box_xyxy
                    assert 0 <= x0 < x1 <= width
                    assert 0 <= y0 < y1 <= height
                    assert proposal.mask.shape == (height, width)


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=[pytest.mark.heavy] if kind in HEAVY else [])
        for kind in WEIGHTY
        if CATALOG[kind].reads_vocabulary
    ],
)
def test_ten_thousand_words(kind, folder, images, monkeypatch):
    """They are embedded some at a time, and once."""
    words = ["".join(letters) for letters in itertools.product(string.ascii_lowercase, repeat=3)][:10_000]
    model = build_model(entry(kind, path=folder(kind)), "m", Vocabulary(tuple(words[:9000]), tuple(words[9000:])))
    texts, forward = [], torch.nn.Embedding.forward

    def embed(module, given):
        if module.num_embeddings >= 300:  # of words, not of positions
            texts.append(len(given))
        return forward(module, given)

    monkeypatch.setattr(torch.nn.Embedding, "forward", embed)
    for role in KINDS[kind].ROLES:
        (answer,) = answers(model, role, images[2:], caption="")
        assert not isinstance(answer, Failure)
    before = sum(texts)
    answers(model, KINDS[kind].ROLES[0], images[2:], caption="")
    assert 0 < max(texts) <= 256
    assert "dino" in kind or sum(texts) == before


def test_an_error_that_all_images_meet_ends_the_run(shard, folder):
    """It is no failure of the first image, and keeps the exit code of bad input."""
    roles = {"proposer": "m", "region_tagger": "given"}
    section = AnnotateParams.model_validate(
        {"roles": roles, "models": {"m": {"kind": "sam2", "path": folder("owlv2"), "device": "cpu"}}}
    )
    with pytest.raises(InputError, match=r"annotate\.models\.m\.path: .* got owlv2") as told:
        shard.annotate("wrong", roles=section.roles, models=section.models)
    assert told.value.exit_code == 2
