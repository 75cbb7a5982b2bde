"""What decides the answers of a role: its params, weights, vocabulary, batch size and code, as one digest."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from umgclip.annotate.cache.role_calls import QUESTIONS
from umgclip.data.vocabulary import Vocabulary
from umgclip.errors import InputError
from umgclip.io.atomic import sha256_file, sha256_json
from umgclip.params import AnnotateParams
from umgclip.provenance import code_digest

_FOUNDATION = "umgclip.annotate.models.foundation."
_MODULES = {
    "clip_teacher": "umgclip.annotate.models.clip_teacher",
    "segment_tree": "umgclip.annotate.models.segment_tree",
    "grabcut": "umgclip.annotate.models.grabcut",
    "vlm": "umgclip.annotate.models.vlm.annotator",
    "face": "umgclip.annotate.models.policy.face",
    "nsfw": "umgclip.annotate.models.policy.nsfw",
    "mm_grounding_dino": f"{_FOUNDATION}grounding_dino",
    "rt_detr_v2": f"{_FOUNDATION}detr",
    **{
        kind: _FOUNDATION + kind
        for kind in ("florence2", "grounding_dino", "owlv2", "detr", "mask2former", "sam2", "clip", "blip2", "qwen3_vl")
    },
}
_LOOK = {"crop_px", "object_share", "fill", "batch", "device", "dtype"}
_DECIDE = {
    "looks_at_least", "looks_per_noun", "temperature_factor", "threshold", "stuff_threshold", "overlap",
    "keep_unlabelled",
}  # fmt: skip
# params that a kind does not read in a role; what is not named counts
_UNREAD: Mapping[tuple[str, str], set[str]] = {
    ("face", "policy"): {"action"},
    ("nsfw", "policy"): {"action"},
    ("florence2", "proposer"): {"captions", "regions"},
    ("florence2", "tagger"): {"captions", "boxes", "regions"},
    ("florence2", "captioner"): {"boxes", "regions"},
    ("florence2", "region_captioner"): {"captions", "boxes"},
    ("sam2", "masker"): {"pred_iou", "stability", "points_per_side", "points_per_batch", "most"},
    ("sam2", "proposer"): {"min_box_iou"},
    ("clip", "filter"): {"template", "threshold", "thresholds", "most", "crop_context"},
    ("clip", "tagger"): {"crop_context"},
    ("clip", "region_tagger"): {"most"},
    ("blip2", "captioner"): {"crop_context"},
    ("qwen3_vl", "captioner"): {"region_prompt", "crop_context"},
    ("qwen3_vl", "region_captioner"): {"prompt"},
    ("vlm", "captioner"): {"tags_prompt", "boxes_prompt", "region_prompt", "box_unit", "crop_context"},
    ("vlm", "tagger"): {"prompt", "boxes_prompt", "region_prompt", "box_unit", "crop_context"},
    ("vlm", "proposer"): {"prompt", "tags_prompt", "region_prompt", "crop_context"},
    ("vlm", "region_captioner"): {"prompt", "tags_prompt", "boxes_prompt", "box_unit"},
    ("clip_teacher", "image_embedder"): {"crop_px", "object_share", "fill", *_DECIDE},
    ("clip_teacher", "region_embedder"): _DECIDE,
    ("clip_teacher", "tagger"): {"crop_px", "object_share", "fill", *_DECIDE - {"temperature_factor"}},
    ("clip_teacher", "filter"): {"crop_px", "object_share", "fill", *_DECIDE},
    ("clip_teacher", "captioner"): _LOOK | _DECIDE,
    ("clip_teacher", "region_captioner"): _LOOK | _DECIDE,
}
_WITHOUT_VOCABULARY = (
    "segment_tree", "grabcut", "florence2", "detr", "rt_detr_v2", "mask2former", "sam2", "blip2", "qwen3_vl", "vlm",
    "face", "nsfw",
)  # fmt: skip
_WORDLESS = ("filter", "captioner", "region_captioner", "image_embedder", "region_embedder")


def answer_identities(
    params: AnnotateParams, base_sha256: str, vocabulary: Vocabulary, files: Mapping[str, str]
) -> dict[str, str]:
    """Hex digests by `ROLE.MODEL`, of every role that the params fill.

    Args:
        params: the section `annotate`.
        base_sha256: of the base's weights.
        vocabulary: concepts.
        files: digests of the folders of weights, by model.
    """
    asked = [
        (role, name) for role in QUESTIONS if role in type(params.roles).model_fields for name in _names(params, role)
    ]
    asked += [("image_embedder", "clip_teacher"), ("region_embedder", "clip_teacher")]
    words = [vocabulary.things, vocabulary.stuff, vocabulary.held_out, vocabulary.listed]
    found = {}
    for role, name in asked:
        kind = model_kind(params, name)
        found[f"{role}.{name}"] = sha256_json(
            {
                "role": role,
                "kind": kind,
                "params": _read_params(params, role, name, kind),
                "weights": base_sha256 if kind == "clip_teacher" else files.get(name),
                "vocabulary": None if kind in _WITHOUT_VOCABULARY or role in _WORDLESS else words,
                "batch": params.batch,
                "code": code_digest(_MODULES.get(kind, "umgclip.annotate.models.build")),
            }
        )
    return found


def model_kind(params: AnnotateParams, name: str) -> str:
    """A model's kind; a built-in's is its name."""
    return str(params.models[name].kind) if name in params.models else name


def _names(params: AnnotateParams, role: str) -> list[str]:
    return [name for name in params.roles.of(role) if name not in ("none", "given")]


def _read_params(params: AnnotateParams, role: str, name: str, kind: str) -> dict[str, Any]:
    built_in = {"clip_teacher": params.label, "segment_tree": params.proposer, "grabcut": params.masker}
    section = params.models[name] if name in params.models else built_in[name]
    return section.decisive(*_UNREAD.get((kind, role), set()))


def weights_digest(folder: Path, where: str) -> str:
    """SHA-256 over names and contents of a model folder's files.

    Raises:
        InputError: no such folder, or no weights in it.
    """
    if not folder.is_dir() or not any(folder.glob("*.safetensors")):
        raise InputError(f"{where}.path: expected a folder with config.json and *.safetensors, got {folder}")
    files = sorted(path for path in folder.iterdir() if path.is_file())
    return sha256_json({path.name: sha256_file(path) for path in files})


def _file_digest(path: Path, where: str) -> str:
    if not path.is_file():
        raise InputError(f"{where}.path: expected a file, found {'a folder' if path.is_dir() else 'none'}: {path}")
    return sha256_file(path)


def file_digests(params: AnnotateParams) -> dict[str, str]:
    """Of every local file or folder that the params name and a role uses.

    Raises:
        InputError: one of them is missing.
    """
    found = {}
    if params.rules.vocabulary is not None:
        found["vocabulary"] = sha256_file(Path(params.rules.vocabulary))
    used = {name for role in type(params.roles).model_fields for name in params.roles.of(role)}
    for name, model in params.models.items():
        path = getattr(model, "path", None)
        if name in used and path is not None:
            where = f"annotate.models.{name}"
            found[name] = _file_digest(Path(path), where) if model.kind == "face" else weights_digest(Path(path), where)
    return found
