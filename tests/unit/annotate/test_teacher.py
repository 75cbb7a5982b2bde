"""A tuned model as a teacher: its files, what is refused, and what its digest decides."""

import json
import shutil
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

from umgclip.annotate.cache.identity import answer_identities
from umgclip.annotate.teacher import TeacherFiles, teacher_files
from umgclip.cli.teaching import local_teacher
from umgclip.data.stream import read_raw
from umgclip.data.vocabulary import Vocabulary
from umgclip.errors import InputError
from umgclip.io.atomic import sha256_file
from umgclip.model.adapters.adapt import adapt
from umgclip.model.clip import files
from umgclip.model.clip.layout import ADAPTER, ADAPTER_CONFIG, ADAPTER_WEIGHTS, CONFIG, TRAIN_REPORT, WEIGHTS
from umgclip.params import AnnotateParams, TrainParams
from umgclip.params.roles import RolesParams
from umgclip.records import parse_record


@pytest.fixture(scope="module")
def trained(teacher_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the stage `train` writes for the tiny base, whose adapter has learnt something. Read only."""
    folder = tmp_path_factory.mktemp("trained")
    adapted = adapt(files.load(teacher_folder)[0], TrainParams())
    torch.manual_seed(1)
    for name, parameter in adapted.clip.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    adapted.save(folder / ADAPTER)
    report = {"base_sha256": sha256_file(teacher_folder / WEIGHTS), "image_hw": [96, 96], "params": {"resize": "pad"}}
    (folder / TRAIN_REPORT).write_text(json.dumps(report))
    return folder


def _tuned(folder, base):
    """Find the teacher in a folder, one byte of whose weights is another than the base's."""
    weights = bytearray((folder / WEIGHTS).read_bytes())
    weights[-1] ^= 1
    (folder / WEIGHTS).write_bytes(weights)
    return teacher_files(folder, base)


def test_each_form_of_a_teacher_is_found(trained, teacher_folder, tmp_path):
    adapter = trained / ADAPTER
    assert teacher_files(trained, teacher_folder) == TeacherFiles(teacher_folder, adapter)
    assert teacher_files(adapter, teacher_folder) == TeacherFiles(teacher_folder, adapter)
    # `artifacts` of a pipeline
    shutil.copytree(teacher_folder, tmp_path / "base")
    shutil.copytree(trained, tmp_path / "train")
    assert teacher_files(tmp_path, teacher_folder) == TeacherFiles(tmp_path / "base", tmp_path / "train" / ADAPTER)
    # a registered version, with and without the base's weights
    version = tmp_path / "version"
    shutil.copytree(trained, version)
    shutil.copy(teacher_folder / CONFIG, version)
    assert teacher_files(version, teacher_folder) == TeacherFiles(teacher_folder, version / ADAPTER)
    shutil.copy(teacher_folder / WEIGHTS, version)
    assert teacher_files(version, teacher_folder) == TeacherFiles(version, version / ADAPTER)
    # merged weights
    shutil.rmtree(version / ADAPTER)
    assert _tuned(version, teacher_folder) == TeacherFiles(version, None)
    assert TeacherFiles(teacher_folder, adapter).trained_fit() == "pad"


def test_what_is_no_teacher_of_this_base_is_refused(trained, teacher_folder, tmp_path):
    with pytest.raises(InputError, match="annotate.teacher: expected a folder that `umgclip train` wrote.*nothing at"):
        teacher_files(tmp_path / "none", teacher_folder)
    with pytest.raises(InputError, match="found a file at"):
        teacher_files(teacher_folder / WEIGHTS, teacher_folder)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "model.safetensors").touch()
    with pytest.raises(InputError, match="got .*other with model.safetensors"):
        teacher_files(tmp_path / "other", teacher_folder)
    shutil.copytree(trained, tmp_path / "half")
    (tmp_path / "half" / ADAPTER / ADAPTER_WEIGHTS).unlink()
    with pytest.raises(InputError, match=f"annotate.teacher: expected {ADAPTER_WEIGHTS} in .*half"):
        teacher_files(tmp_path / "half", teacher_folder)
    # the base itself, and a copy of it
    shutil.copytree(teacher_folder, tmp_path / "same")
    for folder in (teacher_folder, tmp_path / "same"):
        with pytest.raises(InputError, match="annotate.teacher: expected a model that was tuned, got the weights of"):
            teacher_files(folder, teacher_folder)
    # another base, and embeddings of another size
    config = json.loads((teacher_folder / CONFIG).read_text())
    config["model_cfg"]["embed_dim"] = 24
    shutil.copytree(teacher_folder, tmp_path / "wide")
    (tmp_path / "wide" / WEIGHTS).write_bytes(b"wide")
    (tmp_path / "wide" / CONFIG).write_text(json.dumps(config))
    with pytest.raises(InputError, match="expected a model with embeddings of 16 numbers as the base has them, got 24"):
        teacher_files(tmp_path / "wide", teacher_folder)
    shutil.copytree(teacher_folder, tmp_path / "base")
    (tmp_path / "base" / WEIGHTS).write_bytes(b"other")
    with pytest.raises(InputError, match="was tuned on the base [0-9a-f]{12}, got [0-9a-f]{12} in .*base; give the"):
        teacher_files(trained, tmp_path / "base")


def identities(teacher: str | None, digest: str | None) -> dict[str, str]:
    params = AnnotateParams(teacher=teacher)
    taught = params.model_copy(update={"roles": params.taught})
    return answer_identities(
        taught, "0" * 64, Vocabulary(("dog",), ()), {} if digest is None else {"tuned_teacher": digest}
    )


def test_answers_depend_on_the_digest_of_the_teacher_and_not_on_its_path():
    alone, one, other = identities(None, None), identities("a", "1"), identities("a", "2")
    assert {name for name in one if one[name] != other[name]} == {
        "region_tagger.tuned_teacher",
        "tagger.tuned_teacher",
        "filter.tuned_teacher",
    }
    assert identities("b", "1") == one
    # roles that the teacher does not fill are answered from the same stored answers
    assert {name for name in alone if alone.get(name) != one.get(name)} == {
        "region_tagger.clip_teacher",
        "tagger.clip_teacher",
        "filter.clip_teacher",
    }


def test_the_digest_follows_the_files(trained, teacher_folder, tmp_path):
    shutil.copytree(trained, tmp_path / "copy")
    copied = teacher_files(tmp_path / "copy", teacher_folder)
    assert copied.digest() == teacher_files(trained, teacher_folder).digest()
    content = json.loads((tmp_path / "copy" / ADAPTER / ADAPTER_CONFIG).read_text())
    (tmp_path / "copy" / ADAPTER / ADAPTER_CONFIG).write_text(json.dumps(content | {"lora_alpha": 1}))
    assert copied.digest() != teacher_files(trained, teacher_folder).digest()


def test_roles_need_a_teacher_and_a_teacher_needs_a_role():
    with pytest.raises(ValidationError, match="roles.tagger: expected annotate.teacher, the model of tuned_teacher"):
        AnnotateParams(roles=RolesParams(tagger=["tuned_teacher"]))
    others = RolesParams(region_tagger=["given"], tagger=["none"], filter="none")
    with pytest.raises(ValidationError, match="teacher: expected clip_teacher or tuned_teacher as region_tagger"):
        AnnotateParams(teacher="t", roles=others)
    given = AnnotateParams(teacher="t", roles=RolesParams(region_tagger=["given", "tuned_teacher"], filter="none"))
    assert given.taught.region_tagger == ["given", "tuned_teacher"]
    assert given.taught.tagger == ["tuned_teacher"]
    assert given.taught.filter == "none"
    assert given.taught.captioner == ["clip_teacher"]


def sources_of(folder: Path) -> set[str]:
    records = [parse_record(raw.json, where=raw.key) for _, raw in read_raw(folder)]
    tags = [tag for record in records for region in record.regions for tag in region.tags]
    return {name.partition("/")[0] for tag in tags for name in (tag.source, *(tag.agreed_by or []))}


def test_the_stage_asks_both_and_says_which_teacher_it_was(run_stage, in_process, trained, teacher_folder, tmp_path):
    changes = {"store": str(tmp_path / "answers"), "tuned": {"threshold": 0.0}}
    out = run_stage("taught", teacher=str(trained), **changes)
    assert {"clip_teacher", "tuned_teacher"} <= sources_of(out / "train")
    made_by = json.loads((out / "made_by.json").read_text())
    assert made_by["teacher_sha256"] == teacher_files(trained, teacher_folder).digest()
    # without a teacher nothing of it is written, and its parameters decide nothing
    alone = run_stage("alone", **changes)
    assert "tuned_teacher" not in sources_of(alone / "train")
    assert "teacher_sha256" not in json.loads((alone / "made_by.json").read_text())
    plain = run_stage("plain", store=changes["store"])
    assert (plain / "made_by.json").read_bytes() == (alone / "made_by.json").read_bytes()


def test_an_alias_is_refused_where_dvc_cannot_see_it_move(monkeypatch):
    monkeypatch.setenv("DVC_STAGE", "annotate")
    with (
        pytest.raises(InputError, match="expected a folder or the number of a version .models:/NAME/3. in a pipeline"),
        local_teacher(AnnotateParams(teacher="models:/umgclip@champion")),
    ):
        pass
    with local_teacher(AnnotateParams(teacher="some/folder")) as params:
        assert params.teacher == "some/folder"


def test_a_version_is_downloaded_for_the_run(monkeypatch, tmp_path, trained, teacher_folder):
    @contextmanager
    def downloaded(uri):
        if not uri.endswith("@champion"):
            raise InputError(f"{uri}: expected a version, found none")
        shutil.copytree(trained, tmp_path / "version")
        yield tmp_path / "version", None
        shutil.rmtree(tmp_path / "version")

    monkeypatch.setattr("umgclip.register.opening.downloaded_version", downloaded)
    monkeypatch.delenv("DVC_STAGE", raising=False)
    with local_teacher(AnnotateParams(teacher="models:/umgclip@champion")) as params:
        assert teacher_files(Path(params.teacher), teacher_folder).adapter == tmp_path / "version" / ADAPTER
    assert not (tmp_path / "version").exists()
    with (
        pytest.raises(InputError, match="models:/umgclip/7: expected"),
        local_teacher(AnnotateParams(teacher="models:/umgclip/7")),
    ):
        pass
