"""Models in the hub: pushed and fetched by the real client, read by real open_clip and transformers."""

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
import transformers
from huggingface_hub import HfApi, ModelCard
from PIL import Image

import umgclip
from umgclip.errors import DataError, InputError, StorageError
from umgclip.inference.hub import fetch
from umgclip.inference.hub.card import MARK

ALICE, READER = "hf_aliceMayWriteWhatIsHers", "hf_readerMayOnlyRead"
REPO = "alice/small-clip"
TEXTS = ["a dog", "two owls"]
# the hub's client hands a file to its HTTP library as the latter no longer wants it
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=<...>' to upload:DeprecationWarning")


@pytest.fixture(scope="module")
def image() -> Image.Image:
    rng = np.random.default_rng(0)
    return Image.fromarray(rng.integers(0, 256, (70, 90, 3), dtype=np.uint8))


@torch.no_grad()
def test_what_is_pushed_is_read_by_all_three(hub: Any, client: Any, model: umgclip.Model, image: Image.Image) -> None:
    url = model.push_to_hub(REPO, private=True, commit_message="first")
    assert url.startswith(f"{hub.url}/{REPO}/commit/")
    repository = hub.repositories[REPO]
    assert repository.private
    assert repository.messages[-1] == "first"
    names = {"README.md", "config.json", "model.safetensors", "open_clip_config.json", "open_clip_model.safetensors"}
    assert names <= set(hub.files(REPO))
    assert not [name for name in hub.files(REPO) if name.startswith(".made")]
    wanted_image, wanted_texts = model.embed_images(image), model.embed_texts(TEXTS)

    again = umgclip.load(f"hf-hub:{REPO}", device="cpu")
    assert np.array_equal(again.embed_images(image), wanted_image)
    assert (again.template, again.box_share, again.resize) == (model.template, model.box_share, model.resize)
    assert "model.safetensors" not in hub.fetched(), "the weights for transformers are not needed"
    assert "tokenizer.json" not in hub.fetched()

    clip, _, transform = open_clip.create_model_and_transforms(f"hf-hub:{REPO}")
    tokenizer = open_clip.get_tokenizer(f"hf-hub:{REPO}")
    got = clip.eval().encode_image(transform(image)[None], normalize=True).numpy()
    assert np.abs(got - wanted_image).max() <= 1e-5
    assert np.abs(clip.encode_text(tokenizer(TEXTS), normalize=True).numpy() - wanted_texts).max() <= 1e-5

    theirs = transformers.AutoModel.from_pretrained(REPO).eval()
    processor = transformers.AutoProcessor.from_pretrained(REPO, backend="pil")
    out = theirs(**processor(text=TEXTS, images=image, padding=True, return_tensors="pt"))
    assert np.abs(out.image_embeds.numpy() - wanted_image).max() <= 1e-5
    assert np.abs(out.text_embeds.numpy() - wanted_texts).max() <= 1e-5


def test_a_revision_is_a_branch_of_its_own(hub: Any, client: Any, model: umgclip.Model) -> None:
    model.push_to_hub(REPO, transformers=False)
    main = hub.repositories[REPO].commit_of("main")
    model.template = "a photo of {a} {}."
    model.push_to_hub(REPO, revision="photo", transformers=False)
    assert hub.repositories[REPO].commit_of("main") == main
    assert umgclip.load(f"hf-hub:{REPO}", device="cpu").template == "{a} {}"
    assert umgclip.load(f"hf-hub:{REPO}@photo", device="cpu").template == "a photo of {a} {}."
    by_commit = umgclip.Model.from_pretrained(REPO, revision=main, device="cpu")
    assert by_commit.template == "{a} {}"
    with pytest.raises(InputError, match=rf"hf-hub:{REPO}@none: expected a branch, tag or commit of it, found none"):
        umgclip.load(f"hf-hub:{REPO}@none")
    with pytest.raises(InputError, match="revision: expected one, got 'photo' in .* and 'main'"):
        umgclip.Model.from_pretrained(f"{REPO}@photo", revision="main")


def test_an_upload_that_broke_off_is_repeated(
    hub: Any, client: Any, model: umgclip.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.hf_api.HfApi.upload_folder", partial_upload(HfApi.upload_folder))
    hub.failing = 1
    with pytest.raises(StorageError, match=rf"hf-hub:{REPO}: Error while uploading .* run it again"):
        model.push_to_hub(REPO)
    assert set(hub.files(REPO)) == {".gitattributes"}, "all of it or nothing"
    sent = set(hub.uploads())
    reached = len(hub.blobs)
    model.push_to_hub(REPO)
    assert {"open_clip_model.safetensors", "model.safetensors", "README.md"} <= set(hub.files(REPO))
    again = hub.uploads()[len(sent) :]
    assert len(again) == 2 - (reached - 1), "what had reached the hub is not sent again"


def partial_upload(upload: Any) -> Any:
    """One file after another, so that one is through when the next fails."""

    def run(self: Any, **options: Any) -> Any:
        from huggingface_hub import _commit_api

        one_by_one = _commit_api._upload_lfs_files

        def slow(**given: Any) -> None:
            for action in sorted(given["actions"], key=lambda one: one["size"]):
                one_by_one(**{**given, "actions": [action]})

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(_commit_api, "_upload_lfs_files", slow)
            return upload(self, **options)

    return run


def test_nothing_new_is_no_commit(hub: Any, client: Any, model: umgclip.Model) -> None:
    model.push_to_hub(REPO, transformers=False)
    before = len(hub.repositories[REPO].commits)
    model.push_to_hub(REPO, transformers=False)
    assert len(hub.repositories[REPO].commits) == before


def test_files_of_an_earlier_push_go_and_an_edited_card_stays(hub: Any, client: Any, model: umgclip.Model) -> None:
    model.push_to_hub(REPO)
    mine = hub.files(REPO)["README.md"].decode().replace(MARK, "My own words.")
    hub.put(REPO, hub.files(REPO) | {"README.md": mine.encode(), "photo.jpg": b"mine"})
    model.push_to_hub(REPO, transformers=False)
    after = hub.files(REPO)
    assert "model.safetensors" not in after
    assert "config.json" not in after
    assert after["photo.jpg"] == b"mine"
    assert after["README.md"].decode() == mine


def test_a_repository_of_another_tool_is_not_written_over(hub: Any, client: Any, model: umgclip.Model) -> None:
    hub.put(REPO, {"README.md": b"mine", "pytorch_model.bin": b"theirs"})
    with pytest.raises(InputError, match=r"expected a new repository or one that umgclip filled, .* pytorch_model.bin"):
        model.push_to_hub(REPO, transformers=False)
    model.push_to_hub(REPO, transformers=False, force=True)
    assert hub.files(REPO)["pytorch_model.bin"] == b"theirs"


def test_tokens_names_and_rights(hub: Any, client: Any, model: umgclip.Model, caplog: Any) -> None:
    client(None)
    with pytest.raises(InputError, match=r"expected a token of the hub that may write, found none; run: hf auth login"):
        model.push_to_hub(REPO)
    assert hub.asked == [], "nobody was asked"
    client("hf_nobodyKnowsThisOne")
    with pytest.raises(InputError, match="does not accept the token") as caught:
        model.push_to_hub(REPO, transformers=False)
    client(READER)
    with pytest.raises(InputError, match="the token may not write to it") as other:
        model.push_to_hub(REPO, transformers=False)
    for text in (str(caught.value), str(other.value), caplog.text):
        assert "hf_nobody" not in text
        assert READER not in text
    client(ALICE)
    for wrong in ("small-clip", "alice/a/b", "alice/--x", "alice/", "ali ce/x"):
        with pytest.raises(InputError, match="hub: expected USER/NAME, such as alice/my-clip"):
            model.push_to_hub(wrong)
    with pytest.raises(InputError, match="the token may not write"):
        model.push_to_hub("carol/small-clip", transformers=False)


def test_a_private_repository_needs_its_token(hub: Any, client: Any, model: umgclip.Model) -> None:
    model.push_to_hub(REPO, private=True, transformers=False)
    client(None)
    with pytest.raises(
        InputError, match=r"expected a repository of the hub, found none; if it is private, run: hf auth"
    ):
        umgclip.load(f"hf-hub:{REPO}")
    assert umgclip.Model.from_pretrained(REPO, token=ALICE, device="cpu").embed_dim == model.embed_dim


def test_without_a_hub_the_cache_answers(
    hub: Any, client: Any, model: umgclip.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    model.push_to_hub(REPO, transformers=False)
    umgclip.load(f"hf-hub:{REPO}", device="cpu")
    nobody = "http://127.0.0.1:9"
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", nobody)
    template = nobody + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
    assert umgclip.load(f"hf-hub:{REPO}", device="cpu").embed_dim == model.embed_dim
    asked = len(hub.asked)
    assert umgclip.Model.from_pretrained(REPO, local_files_only=True, device="cpu").embed_dim == model.embed_dim
    assert len(hub.asked) == asked
    with pytest.raises(StorageError, match="alice/other: the Hugging Face hub does not answer"):
        umgclip.load("hf-hub:alice/other")
    with pytest.raises(StorageError, match=r"hf-hub:alice/small-clip: the Hugging Face hub does not answer"):
        model.push_to_hub(REPO, transformers=False)


def test_a_hub_in_trouble_is_said_to_be(hub: Any, client: Any, model: umgclip.Model) -> None:
    hub.down = 503
    with pytest.raises(StorageError, match="the hub answers with status 503; try again later"):
        model.push_to_hub(REPO, transformers=False)


def test_pickles_and_other_models_are_refused(hub: Any, client: Any, small_base: Path) -> None:
    config = (small_base / "open_clip_config.json").read_bytes()
    hub.put("bob/old", {"open_clip_config.json": config, "open_clip_pytorch_model.bin": b"\x80\x04."})
    with pytest.raises(InputError, match=r"found none, but open_clip_pytorch_model.bin, a pickle, which could hold"):
        umgclip.load("hf-hub:bob/old")
    assert "open_clip_pytorch_model.bin" not in hub.fetched()
    hub.put("bob/hf", {"config.json": b"{}", "model.safetensors": b"x"})
    with pytest.raises(InputError, match=r"expected open_clip_config.json in it, .*it holds a model of transformers"):
        umgclip.load("hf-hub:bob/hf")
    assert "model.safetensors" not in hub.fetched()


def test_exchanged_weights_are_refused(hub: Any, client: Any, model: umgclip.Model, small_base: Path) -> None:
    model.push_to_hub(REPO, transformers=False)
    torch.manual_seed(1)
    other = hub.files(REPO)["open_clip_model.safetensors"][:-8] + b"\0" * 8
    hub.put(REPO, hub.files(REPO) | {"open_clip_model.safetensors": other})
    with pytest.raises(DataError, match="damaged or exchanged: expected SHA-256"):
        umgclip.load(f"hf-hub:{REPO}")


def test_no_code_of_a_repository_is_run(hub: Any, client: Any, model: umgclip.Model, tmp_path: Path) -> None:
    model.push_to_hub(REPO, transformers=False)
    code = f"open({str(tmp_path / 'ran')!r}, 'w').close()".encode()
    config = json.loads(hub.files(REPO)["open_clip_config.json"])
    config["model_cfg"]["text_cfg"]["hf_tokenizer_name"] = REPO
    extra = {
        "tok.py": code,
        "tokenizer_config.json": json.dumps({"auto_map": {"AutoTokenizer": ["tok.T", None]}}).encode(),
    }
    hub.put(REPO, hub.files(REPO) | extra | {"open_clip_config.json": json.dumps(config).encode()})
    with pytest.raises(InputError):
        umgclip.load(f"hf-hub:{REPO}").embed_texts(["a dog"])
    assert not (tmp_path / "ran").exists()
    assert "tok.py" not in hub.fetched()


def test_a_card_with_bad_metadata_is_refused_before_weights_are_sent(
    hub: Any, client: Any, model: umgclip.Model
) -> None:
    with pytest.raises(InputError, match="Invalid metadata in README.md"):
        model.push_to_hub(REPO, transformers=False, card="---\nlicense: [mit\n---\n")
    assert hub.uploads() == []


def test_the_card_in_the_hub_is_one_for_the_hub(hub: Any, client: Any, model: umgclip.Model) -> None:
    model.push_to_hub(REPO, license="cc-by-4.0", datasets=["alice/photos"])
    card = ModelCard.load(REPO)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        card.validate()
    assert (card.data.library_name, card.data.pipeline_tag) == ("open_clip", "zero-shot-image-classification")
    assert (card.data.license, card.data.datasets) == ("cc-by-4.0", ["alice/photos"])
    assert f'umgclip.load("hf-hub:{REPO}")' in card.text
    assert f'pipeline("zero-shot-image-classification", model="{REPO}")' in card.text


def test_names(hub: Any, client: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected USER/NAME"):
        umgclip.Model.from_pretrained(tmp_path / "nothing here")
    with pytest.raises(InputError, match="revision: expected none for a folder"):
        umgclip.Model.from_pretrained(tmp_path, revision="main")
    with pytest.raises(InputError, match="model: expected models:/NAME@ALIAS, .* or a folder with"):
        umgclip.load(tmp_path / "nothing")
    with pytest.raises(InputError, match="without a revision"):
        fetch.fetched("alice/x@")
