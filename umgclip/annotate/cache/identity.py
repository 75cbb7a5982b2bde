"""One digest of all that decides the answers of a role: params, weights, vocabulary, batch size and code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from umgclip.annotate.cache.role_calls import ROLE_CALLS
from umgclip.annotate.catalog import CATALOG
from umgclip.data.vocabulary import Vocabulary
from umgclip.io.atomic import sha256_json
from umgclip.params import AnnotateParams
from umgclip.provenance import code_digest

# roles in which no kind reads the vocabulary
_WITHOUT_VOCABULARY = ("filter", "captioner", "region_captioner", "image_embedder", "region_embedder")


def answer_identities(
    params: AnnotateParams, base_sha256: str, vocabulary: Vocabulary, files: Mapping[str, str]
) -> dict[str, str]:
    """Return the hex digest of each role and each model that fills it, by `ROLE.MODEL`.

    Args:
        params: the section `annotate`.
        base_sha256: digest of the base's weights.
        vocabulary: the concepts.
        files: digests of local weights, by model; that of `tuned_teacher` is its files'.
    """
    asked = [
        (role, name) for role in ROLE_CALLS if role in type(params.roles).model_fields for name in _names(params, role)
    ]
    asked += [("image_embedder", "clip_teacher"), ("region_embedder", "clip_teacher")]
    words = [vocabulary.things, vocabulary.stuff, vocabulary.held_out, vocabulary.listed]
    identities = {}
    for role, name in asked:
        kind = model_kind(params, name)
        identities[f"{role}.{name}"] = sha256_json(
            {
                "role": role,
                "kind": kind,
                "params": _read_params(params, role, name, kind),
                "weights": _weights(kind, name, base_sha256, files),
                "vocabulary": words if _reads_vocabulary(params, role, name) else None,
                "batch": params.batch,
                "code": code_digest(CATALOG[kind].module),
            }
        )
    return identities


def model_kind(params: AnnotateParams, name: str) -> str:
    """Return the kind of a model; the kind of a built-in is its name."""
    return str(params.models[name].kind) if name in params.models else name


def _reads_vocabulary(params: AnnotateParams, role: str, name: str) -> bool:
    words = CATALOG[model_kind(params, name)].words_in(role, queries_of(params, name))
    return words in ("vocabulary", "caption") and role not in _WITHOUT_VOCABULARY


def queries_of(params: AnnotateParams, name: str) -> object:
    """Return the parameter `queries` of a model; None if it is null, or the model has none."""
    return getattr(params.models.get(name), "queries", None)


def _weights(kind: str, name: str, base_sha256: str, files: Mapping[str, str]) -> str | list[str | None] | None:
    if kind == "tuned_teacher":
        return [base_sha256, files.get(name)]
    return base_sha256 if kind == "clip_teacher" else files.get(name)


def _names(params: AnnotateParams, role: str) -> list[str]:
    return [name for name in params.roles.of(role) if name not in ("none", "given")]


def _read_params(params: AnnotateParams, role: str, name: str, kind: str) -> dict[str, Any]:
    unread = CATALOG[kind].use(role).unread
    if kind == "tuned_teacher":
        return {**params.label.decisive(unread=unread), "tuned": params.tuned.decisive()}
    built_in = {"clip_teacher": params.label, "segment_tree": params.proposer, "grabcut": params.masker}
    section = params.models[name] if name in params.models else built_in[name]
    return section.decisive(unread=unread)
