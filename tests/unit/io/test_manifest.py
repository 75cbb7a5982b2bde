"""Manifests: written last, and the first thing to notice damage."""

import json

import pytest

from umgclip.errors import DataError
from umgclip.io.manifest import (
    ClassList,
    MadeBy,
    Manifest,
    ShardInfo,
    describe_shard,
    read_manifest,
    verify,
    write_manifest,
)
from umgclip.io.shards import RawSample, ShardWriter

MADE_BY = MadeBy(stage="test", params_sha256="0" * 64, code_version="1")


@pytest.fixture
def dataset(tmp_path):
    folder = tmp_path / "set"
    folder.mkdir()
    writer = ShardWriter(folder / "a.tar")
    writer.write(RawSample("k", b"image", "jpg", b"{}"))
    writer.close()
    write_manifest(folder, Manifest(made_by=MADE_BY, shards=[describe_shard(folder / "a.tar", 1)]))
    return folder


def test_what_is_written_is_read(dataset):
    manifest = read_manifest(dataset)
    assert manifest.samples == 1
    assert manifest.made_by == MADE_BY
    verify(dataset)


def test_the_digest_follows_content_not_maker(dataset):
    manifest = read_manifest(dataset)
    other = manifest.model_copy(update={"made_by": MADE_BY.model_copy(update={"code_version": "2"})})
    assert other.digest() == manifest.digest()
    classes = ClassList(things=["cat"], stuff=[], held_out=[])
    assert manifest.model_copy(update={"classes": classes}).digest() != manifest.digest()


def test_a_missing_folder_says_how_to_make_one(tmp_path):
    with pytest.raises(DataError, match="expected a dataset folder, found none; `umgclip data import`"):
        read_manifest(tmp_path / "none")


def test_a_folder_with_shards_and_no_manifest_is_incomplete(tmp_path):
    (tmp_path / "a.tar").touch()
    with pytest.raises(DataError, match=r"expected manifest\.json \(written last, so the dataset is incomplete\)"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(("names", "told"), [(("train",), "1; give {0}/train"), (("b", "a"), "2; give {0}/a or {0}/b")])
def test_a_folder_of_datasets_is_no_dataset_and_the_message_names_them(tmp_path, names, told):
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "manifest.json").touch()
    with pytest.raises(DataError, match=f"expected one dataset, found a folder of {told.format(tmp_path)}$"):
        read_manifest(tmp_path)


def test_a_folder_of_images_is_no_dataset_and_the_message_says_how_it_becomes_one(tmp_path):
    (tmp_path / "photo.jpg").touch()
    with pytest.raises(DataError, match=f"expected a dataset, .*`umgclip data import folder {tmp_path}` makes one"):
        read_manifest(tmp_path)


def test_a_missing_shard_is_named(dataset):
    (dataset / "a.tar").unlink()
    with pytest.raises(DataError, match=r"a\.tar: expected a shard of 1 samples, the file is missing"):
        read_manifest(dataset)


def test_a_truncated_shard_is_named_with_both_sizes(dataset):
    shard = dataset / "a.tar"
    size = shard.stat().st_size
    shard.write_bytes(shard.read_bytes()[:600])
    with pytest.raises(DataError, match=f"expected {size} bytes as in the manifest, got 600"):
        read_manifest(dataset)


def test_replaced_bytes_are_found_by_their_hash(dataset):
    shard = dataset / "a.tar"
    content = bytearray(shard.read_bytes())
    content[512] ^= 1
    shard.write_bytes(bytes(content))
    read_manifest(dataset)  # sizes alone do not tell
    with pytest.raises(DataError, match="expected sha256"):
        verify(dataset)


@pytest.mark.parametrize(
    ("content", "said"), [("{", "Invalid JSON"), ('{"version": 1}', "made_by"), ('{"surprise": 1}', "surprise|made_by")]
)
def test_a_damaged_manifest_names_the_field(tmp_path, content, said):
    (tmp_path / "manifest.json").write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=said):
        read_manifest(tmp_path)


def test_no_samples_is_no_dataset(tmp_path):
    write_manifest(tmp_path, Manifest(made_by=MADE_BY, shards=[]))
    with pytest.raises(DataError, match="expected at least one sample"):
        read_manifest(tmp_path)


def test_names_templates_and_groups_of_classes_are_left_out_where_there_are_none(dataset):
    manifest = read_manifest(dataset)
    plain = manifest.model_copy(update={"classes": ClassList(things=["cat"], stuff=[], held_out=[])})
    assert plain.model_dump()["classes"] == {"things": ["cat"], "stuff": [], "held_out": []}
    told = ClassList(things=["cat"], stuff=[], held_out=[], names={"cat": ["cat", "kitty"]}, templates=["a {}."])
    write_manifest(dataset, manifest.model_copy(update={"classes": told}))
    assert read_manifest(dataset).classes == told
    assert read_manifest(dataset).digest() != plain.digest()


@pytest.mark.parametrize(
    "path",
    ["../a.tar", "/etc/a.tar", "a/../../b.tar", "", ".", "a//b.tar", "a\\b.tar", "a\x00.tar", "s3://", "s3://b/../a"],
)
def test_shards_lie_below_the_manifest_or_in_s3(dataset, path):
    content = json.loads((dataset / "manifest.json").read_text())
    content["shards"][0]["path"] = path
    (dataset / "manifest.json").write_text(json.dumps(content))
    with pytest.raises(
        DataError, match=r"shards\.0\.path: .*expected a path below the manifest, or s3://BUCKET/KEY, got"
    ):
        read_manifest(dataset)


@pytest.mark.parametrize("path", ["a.tar", "deep/a.tar", "s3://bucket/a.tar", "Bäume 1.tar"])
def test_paths_that_shards_have(path):
    assert ShardInfo(path=path, sha256="0", samples=1, bytes=1).path == path


def test_another_version_is_refused(dataset):
    content = json.loads((dataset / "manifest.json").read_text())
    (dataset / "manifest.json").write_text(json.dumps({**content, "version": 2}))
    with pytest.raises(DataError, match="version: Value error, expected 1, got '2'"):
        read_manifest(dataset)
