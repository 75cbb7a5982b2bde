"""A SigLIP goes to the hub and comes back: sigmoids, its own tokenizer, and the same in transformers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from PIL import Image

import umgclip
from tests.unit.inference.conftest import small_siglip
from umgclip.io.atomic import write_json
from umgclip.model.clip import files

REPO = "alice/small-siglip"
TEXTS = ["a dog", "two owls on a wooden floor"]
# the hub's client hands a file to its HTTP library as the latter no longer wants it
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=<...>' to upload:DeprecationWarning")


@torch.no_grad()
def test_it_answers_alike_from_a_folder_the_hub_and_transformers(
    hub: Any, client: Any, write_siglip_tokenizer: Callable[..., None], tmp_path: Path
) -> None:
    config, folder = small_siglip(), tmp_path / "siglip"
    folder.mkdir()
    torch.manual_seed(0)
    digest = files.save(folder, files.build(config), config)
    write_json(folder / "base.json", {"weights_sha256": digest, "pretrained": "webli", "model": "small-siglip"})
    write_siglip_tokenizer(folder)
    pixels = np.random.default_rng(0).integers(0, 256, (70, 90, 3), dtype=np.uint8)
    model = umgclip.load(folder, device="cpu")
    image, texts = model.embed_images(pixels), model.embed_texts(TEXTS)
    scores = model.classify(pixels, ["dog", "owl"])
    assert abs(scores.sum() - 1) > 0.01, "sigmoids do not add up to 1"

    model.push_to_hub(REPO)
    again = umgclip.load(f"hf-hub:{REPO}", device="cpu")
    np.testing.assert_array_equal(again.embed_images(pixels), image)
    np.testing.assert_array_equal(again.embed_texts(TEXTS), texts)
    np.testing.assert_array_equal(again.classify(pixels, ["dog", "owl"]), scores)

    theirs = transformers.AutoModel.from_pretrained(REPO).eval()
    assert type(theirs).__name__ == "SiglipModel"
    processor = transformers.AutoProcessor.from_pretrained(REPO, backend="pil")
    out = theirs(**processor(text=TEXTS, images=Image.fromarray(pixels), padding="max_length", return_tensors="pt"))
    assert np.abs(out.image_embeds.numpy() - image).max() <= 1e-5
    assert np.abs(out.text_embeds.numpy() - texts).max() <= 1e-5
