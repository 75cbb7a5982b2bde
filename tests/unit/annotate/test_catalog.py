"""The catalog of annotator kinds against their parameters, their classes and the digests of code."""

import importlib
import inspect
import sys
from pathlib import Path
from typing import get_args

import pytest

from umgclip.annotate.cache.role_calls import ROLE_CALLS
from umgclip.annotate.catalog import CATALOG, EXTRAS, Part
from umgclip.annotate.models.build import build_model
from umgclip.data.vocabulary import Vocabulary
from umgclip.errors import InputError
from umgclip.params import LabelParams, MaskerParams, ProposerParams
from umgclip.params.annotators import KINDS, Sam2Params, VlmParams
from umgclip.params.roles import BUILT_IN, CAPABLE, RolesParams
from umgclip.provenance import PLUMBING, sources

ROOT = Path(__file__).parents[3]
BUILT_IN_PARAMS = {
    "clip_teacher": LabelParams,
    "tuned_teacher": LabelParams,
    "segment_tree": ProposerParams,
    "grabcut": MaskerParams,
}


def roles(kind):
    """The roles that a kind may fill; those of the embedder, which params do not name, are the teacher's."""
    named = KINDS[kind].ROLES if kind in KINDS else BUILT_IN[kind]
    return {*named, *(("image_embedder", "region_embedder") if kind == "clip_teacher" else ())}


def loaded(kind):
    module, _, name = CATALOG[kind].path.partition(":")
    return getattr(importlib.import_module(module), name)


def test_every_kind_of_the_params_has_a_row_and_every_row_is_a_kind():
    assert set(CATALOG) == {*KINDS, *BUILT_IN_PARAMS}
    assert set(BUILT_IN) == {*BUILT_IN_PARAMS, "given", "none"}


@pytest.mark.parametrize("kind", sorted(CATALOG))
def test_a_row_speaks_of_roles_parameters_and_parts_that_exist(kind):
    row, section = CATALOG[kind], {**KINDS, **BUILT_IN_PARAMS}[kind]
    assert roles(kind)
    assert set(row.uses) <= roles(kind) <= set(ROLE_CALLS)
    for use in row.uses.values():
        assert use.unread < set(section.model_fields)
        assert use.reads <= set(get_args(Part))
    assert row.extra in (None, *EXTRAS)


@pytest.mark.parametrize("kind", sorted(CATALOG))
def test_the_class_of_a_row_has_the_methods_of_its_roles(kind):
    if CATALOG[kind].extra:
        pytest.importorskip(EXTRAS[CATALOG[kind].extra])
    built = loaded(kind)
    assert all(callable(getattr(built, ROLE_CALLS[role].method)) for role in roles(kind))
    if kind in KINDS:
        names = ["params", "where", *(["vocabulary"] if CATALOG[kind].reads_vocabulary else [])]
        assert list(inspect.signature(built).parameters)[: len(names)] == names


@pytest.mark.parametrize("kind", sorted(CATALOG))
def test_the_code_of_a_kind_is_its_own_and_no_row_of_another(kind):
    """Another row in the catalog must not make the stored answers of all kinds useless."""
    assert "umgclip.annotate.catalog" not in sources(ROOT, CATALOG[kind].module, PLUMBING)


@pytest.mark.parametrize("module", ["umgclip.annotate.stage", "umgclip.annotate.worker"])
def test_digests_of_the_stage_cover_the_code_of_every_kind(module):
    assert {row.module for row in CATALOG.values()} <= set(sources(ROOT, module, PLUMBING))


def test_what_may_fill_a_role_comes_from_the_parameters():
    assert list(CAPABLE) == list(RolesParams.model_fields)
    assert CAPABLE["masker"] == ("grabcut", "sam2", "sam3", "none")
    assert CAPABLE["region_tagger"] == ("clip_teacher", "tuned_teacher", "clip", "given")
    assert CAPABLE["policy"] == ("face", "nsfw", "none")


@pytest.mark.parametrize(
    ("params", "package", "extra"),
    [
        (Sam2Params(path="folder"), "transformers", "foundation"),
        (VlmParams(url="http://127.0.0.1:1/v1", model="m"), "httpx", "vlm"),
    ],
)
def test_a_package_that_is_missing_is_named_with_the_command_that_installs_it(params, package, extra, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(
        InputError, match=rf'annotate.models.m: expected {package}, .* run: pip install "umgclip\[{extra}\]"'
    ):
        build_model({"m": params}, "m", Vocabulary((), (), ()))
