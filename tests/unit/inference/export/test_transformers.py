"""What transformers makes of an exported folder: the embeddings, tokens and probabilities of `umgclip.load`."""

import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from PIL import Image

import umgclip
from tests.unit.inference.conftest import small_siglip
from umgclip.cli.exporting import export
from umgclip.errors import InputError, OutputError
from umgclip.inference.export import transformers_folder
from umgclip.model.clip import files
from umgclip.model.clip.pretrained.load import load_pretrained
from umgclip.model.clip.tower import DenseClip
from umgclip.params import ClusteringParams, FullParams, LoraParams, TowerParams, TrainParams

ROOT = Path(__file__).parents[4]
MakeTuned = Callable[..., Path]
LORA = TrainParams(lora=LoraParams(rank=4, alpha=8))
FULL = TrainParams(adapter="full", full=FullParams(text_tower=True))
TEXTS = ["a dog", "A photo of a Red Car, parked.", "two owls & one cat's bed", "word " * 90, ""]
LABELS = ["dog", "red mug", "Owl"]


@pytest.fixture(scope="module")
def photographs() -> list[Image.Image]:
    rng = np.random.default_rng(0)
    sizes = [(300, 200), (97, 180), (64, 64), (401, 123)]
    return [Image.fromarray(_photograph(rng, width, height)) for width, height in sizes]


def _photograph(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / rng.uniform(3, 40) + y / rng.uniform(3, 40)) for _ in "rgb"]
    return (np.stack(waves, axis=2) * 90 + 128 + rng.normal(0, 12, (height, width, 3))).clip(0, 255).astype(np.uint8)


def small_naflex() -> dict[str, Any]:
    config = small_siglip()
    config["vision_cfg"] |= {
        "timm_model_name": "naflexvit_base_patch16_siglip",
        "timm_options": {
            "patch_size": 16, "embed_dim": 48, "depth": 2, "num_heads": 2, "pos_embed_grid_size": [4, 4],
            "pos_embed_interp_mode": "bilinear", "pos_embed_antialias": True, "mlp_ratio": 4.0,
        },
    }  # fmt: skip
    config["text_cfg"] |= {
        "act_kwargs": {"approximate": "tanh"},
        "tokenizer_kwargs": {"clean": "lower"},
        "vocab_size": 500,
    }
    return config


def small_vit(tiny: TowerParams, **text: Any) -> dict[str, Any]:
    config = files.tower_config(tiny)
    return config | {"text_cfg": config["text_cfg"] | text}


def cases(tiny: TowerParams) -> dict[str, tuple[TrainParams, dict[str, Any]]]:
    return {
        "clip": (LORA, small_vit(tiny)),
        "clip-quickgelu": (FULL, small_vit(tiny) | {"quick_gelu": True}),
        "clip-larger": (LORA.model_copy(update={"image_px": 120}), small_vit(tiny)),
        "clip-custom": (LORA, small_vit(tiny) | {"custom_text": True}),
        "siglip": (FULL, small_siglip()),
        "siglip-larger": (LORA.model_copy(update={"image_px": 96}), small_siglip()),
        "siglip-naflex": (LORA, small_naflex()),
        "siglip2": (LORA.model_copy(update={"resize": "pad"}), small_naflex()),
    }


CASES = ["clip", "clip-quickgelu", "clip-larger", "clip-custom", "siglip", "siglip-larger", "siglip-naflex", "siglip2"]
CLASSES = {"clip": "CLIPModel", "siglip": "SiglipModel", "siglip2": "Siglip2Model"}


def tuned(
    make_tuned: MakeTuned, params: TrainParams, config: dict[str, Any], name: str, write: Callable[..., None]
) -> Path:
    """What the stages leave of a model, with the files of a tokenizer where it needs some."""
    config = json.loads(json.dumps(config))
    root = make_tuned(config=config, params=params, model=name)
    if "hf_tokenizer_name" in config["text_cfg"]:
        write(root / "base", gemma="naflex" in config["vision_cfg"]["timm_model_name"])
    return root


@pytest.fixture(scope="module", params=CASES)
def exported(
    request: pytest.FixtureRequest,
    make_tuned_in: MakeTuned,
    tiny: TowerParams,
    tmp_path_factory: pytest.TempPathFactory,
    write_siglip_tokenizer: Callable[..., None],
) -> tuple[str, Path, Path]:
    """The case, the pipeline's folder, and what was exported."""
    params, config = cases(tiny)[request.param]
    folder = tmp_path_factory.mktemp(request.param)
    root = tuned(partial(make_tuned_in, folder), params, config, request.param, write_siglip_tokenizer)
    summary = export(root, None, "transformers", folder / "out")
    rows = dict(summary.rows)
    assert all(float(rows[f"{name}: largest difference to ours"]) <= 1e-5 for name in ("image", "text"))
    return request.param, root, folder / "out"


@torch.no_grad()
def test_auto_classes_give_our_embeddings(
    exported: tuple[str, Path, Path], photographs: list[Image.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    case, root, out = exported
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    model = transformers.AutoModel.from_pretrained(out).eval()
    assert type(model).__name__ == CLASSES[case.split("-")[0]]
    processor = transformers.AutoProcessor.from_pretrained(out, backend="pil")
    ours = umgclip.load(root, device="cpu")
    length = ours.tower.context_length
    texts = processor.tokenizer(TEXTS, padding="max_length", truncation=True, max_length=length, return_tensors="pt")
    with pytest.warns(UserWarning, match="longer than"):
        wanted = ours.embed_texts(TEXTS)
    embedded = torch.nn.functional.normalize(model.get_text_features(**texts).pooler_output, dim=-1).numpy()
    assert np.abs(embedded - wanted).max() <= 1e-5
    images = processor.image_processor(images=photographs, return_tensors="pt")
    embedded = torch.nn.functional.normalize(model.get_image_features(**images).pooler_output, dim=-1).numpy()
    wanted = ours.embed_images(photographs)
    if case == "siglip2":  # as many patches as fit, where ours fit a square: the same for a square image alone
        assert np.abs(embedded[2] - wanted[2]).max() <= 1e-5
    else:
        assert np.abs(embedded - wanted).max() <= 1e-5


def test_the_pipeline_classifies_as_we_do(exported: tuple[str, Path, Path], photographs: list[Image.Image]) -> None:
    case, root, out = exported
    pipeline = transformers.pipeline("zero-shot-image-classification", model=str(out))
    answers = pipeline(photographs[2], candidate_labels=LABELS, hypothesis_template="a photo of a {}.")
    ours = umgclip.load(root, device="cpu")
    ours.template = "a photo of a {}."
    wanted = dict(zip(LABELS, ours.classify(photographs[2], LABELS)[0], strict=True))
    assert {answer["label"]: answer["score"] for answer in answers} == pytest.approx(wanted, abs=2e-3)


def test_the_default_backend_is_a_grey_level_away(exported: tuple[str, Path, Path]) -> None:
    case, root, out = exported
    rng = np.random.default_rng(3)
    image = Image.fromarray(_photograph(rng, 200, 150))
    by_default = transformers.AutoProcessor.from_pretrained(out).image_processor(images=image, return_tensors="pt")
    by_pillow = transformers.AutoProcessor.from_pretrained(out, backend="pil").image_processor(
        images=image, return_tensors="pt"
    )
    std = min(umgclip.load(root, device="cpu").tower.preprocess.std)
    apart = (by_default["pixel_values"] - by_pillow["pixel_values"]).abs().max() * 255 * std
    assert apart <= 1.01


def test_the_pipeline_starts_again_from_an_export(make_tuned: MakeTuned, tiny: TowerParams, tmp_path: Path) -> None:
    root = make_tuned(LORA)
    export(root, None, "transformers", tmp_path / "out")
    again = DenseClip(load_pretrained("of no effect", str(tmp_path / "out")).clip)
    images = torch.randn(2, 3, *again.image_hw, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for one, two in zip(umgclip.load(root).tower.encode_image(images), again.encode_image(images), strict=True):
            assert (one - two).abs().max() <= 1e-5


def test_crops_are_a_pixel_off_at_most(tiny: TowerParams, tmp_path: Path, photographs: list[Image.Image]) -> None:
    """What a processor of transformers does beside open_clip's: bytes where the margin is even, else a pixel."""
    torch.manual_seed(0)
    config = files.tower_config(tiny)
    (tmp_path / "base").mkdir()
    cut = {"resize_mode": "shortest", "size": [96, 96]}
    files.save(tmp_path / "base", files.build(config), config, cut)
    summary = export(tmp_path / "base", None, "transformers", tmp_path / "out")
    assert "one pixel off" in dict(summary.rows)["its image processor"]
    theirs = transformers.AutoProcessor.from_pretrained(tmp_path / "out", backend="pil").image_processor
    reader = umgclip.load(tmp_path / "base")._reader
    exact = []
    for image in photographs:
        ours = reader.images.stack([reader.images.place(np.asarray(image))])[0]
        exact.append(bool((theirs(images=image, return_tensors="pt")["pixel_values"] - ours).abs().max() < 1e-5))
    assert any(exact)


def test_a_canvas_is_said_to_differ(make_tuned: MakeTuned, tmp_path: Path, photographs: list[Image.Image]) -> None:
    root = make_tuned(LORA.model_copy(update={"resize": "pad"}))
    summary = export(root, None, "transformers", tmp_path / "out")
    assert dict(summary.rows)["its image processor"].startswith("differs: the canvas")
    model = transformers.AutoModel.from_pretrained(tmp_path / "out").eval()
    processor = transformers.AutoProcessor.from_pretrained(tmp_path / "out")
    with torch.no_grad():
        given = processor.image_processor(images=photographs, return_tensors="pt")
        assert given["pixel_values"].shape == (4, 3, 96, 96)
        embedded = torch.nn.functional.normalize(model.get_image_features(**given).pooler_output, dim=-1).numpy()
    wanted = umgclip.load(root, device="cpu").embed_images(photographs)
    squashed = umgclip.load(root, device="cpu", resize="squash").embed_images(photographs)
    assert (embedded * wanted).sum(1).mean() > (squashed * wanted).sum(1).mean() - 0.05


TEXT = {"context_length": 16, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 1}


def timm_config(trunk: str, pool: str, proj: str | None, **options: Any) -> dict[str, Any]:
    vision = {"timm_model_name": trunk, "timm_pool": pool, "timm_proj": proj, "image_size": 64}
    return {"embed_dim": 64, "custom_text": True, "vision_cfg": vision | options, "text_cfg": TEXT}


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        ("eva", "got eva02_base_patch16_clip_224: transformers has no .*; use --to onnx or umgclip.load"),
        ("convnext", "got convnext_atto: transformers has no .*; use --to open_clip, which holds every"),
        ("convpass", "convpass adds layers; use --to onnx or umgclip.load"),
        ("clustered", "it clusters its tokens"),
        ("text", "its text tower is not CLIP's"),
        ("mean", "it averages its patch tokens"),
        ("oblong", r"its images are 48 x 96 pixels"),
    ],
)
def test_other_towers_are_refused_by_name(
    make_tuned: MakeTuned, tiny: TowerParams, tmp_path: Path, case: str, reason: str
) -> None:
    params, vit = LORA, files.tower_config(tiny)
    config: dict[str, Any] = {
        "eva": timm_config(
            "eva02_base_patch16_clip_224", "token", None,
            timm_options={"img_size": 64, "embed_dim": 64, "num_heads": 2, "depth": 2},
        ),
        "convnext": timm_config("convnext_atto", "", "linear"),
        "text": vit | {"text_cfg": vit["text_cfg"] | {"no_causal_mask": True, "pool_type": "last"}},
        "mean": vit | {"vision_cfg": vit["vision_cfg"] | {"pool_type": "avg"}},
        "oblong": vit | {"vision_cfg": vit["vision_cfg"] | {"image_size": [96, 48]}},
        "clustered": files.tower_config(tiny.model_copy(update={"layers": 3})),
    }.get(case, vit)  # fmt: skip
    if case == "convpass":
        params = TrainParams(adapter="convpass")
    if case == "clustered":
        params = LORA.model_copy(update={"clustering": ClusteringParams(after_block=1, grid=4, neighbours=5)})
    root = make_tuned(params, config, case)
    with pytest.raises(InputError, match=rf"--to transformers: expected a ViT of open_clip .* {reason}"):
        export(root, None, "transformers", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_differs_is_not_kept(make_tuned: MakeTuned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make_tuned(LORA)
    monkeypatch.setattr(transformers_folder, "TOLERANCE", -1.0)
    with pytest.raises(OutputError, match="transformers: expected image embeddings within"):
        export(root, None, "transformers", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_without_transformers_the_package_is_named(
    make_tuned: MakeTuned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_tuned(LORA)
    monkeypatch.setattr(transformers_folder, "import_module", lambda _: (_ for _ in ()).throw(ImportError("none here")))
    with pytest.raises(InputError, match=r"the package transformers, got none here; run: pip install \"umgclip\["):
        export(root, None, "transformers", tmp_path / "out")


@torch.no_grad()
def test_dense_maps_by_the_lines_of_the_docs(exported: tuple[str, Path, Path]) -> None:
    case, root, out = exported
    ours = umgclip.load(root, device="cpu").tower
    images = torch.randn(2, 3, *ours.image_hw, generator=torch.Generator().manual_seed(0))
    if not case.startswith("clip"):
        return
    text = (ROOT / "docs" / "hub.md").read_text(encoding="utf-8")
    (code,) = [block for block in re.findall(r"^```python\n(.*?)^```$", text, re.M | re.S) if "def dense_map" in block]
    names: dict[str, Any] = {}
    exec(code, names)
    dense = names["dense_map"](transformers.AutoModel.from_pretrained(out).eval(), images)
    wanted = ours.encode_image(images)[1]
    assert (dense.transpose(1, 2).unflatten(2, wanted.shape[2:]) - wanted).abs().max() <= 1e-5
