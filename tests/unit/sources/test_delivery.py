"""Raw data from an S3 prefix: whole, checked, and nothing downloaded twice."""

import json
import shutil

import pytest

from umgclip.errors import DataError
from umgclip.io.manifest import MANIFEST, read_manifest, verify
from umgclip.io.storage import Storage
from umgclip.sources.delivery import import_delivery, read_delivery


@pytest.fixture
def storage(s3) -> Storage:
    return Storage()


@pytest.fixture
def delivery(storage, s3, demo):
    """Write a prefix that holds the demo's training data."""
    prefix = s3 / "raw"
    for path in sorted((demo / "train").iterdir(), key=lambda path: path.name == MANIFEST):
        storage.put(path, prefix / path.name)
    return prefix


def rewrite(storage, prefix, tmp_path, change) -> None:
    content = json.loads(storage.read(prefix / MANIFEST, 1 << 20))
    change(content)
    path = tmp_path / "manifest"
    path.write_text(json.dumps(content))
    storage.put(path, prefix / MANIFEST)


def test_a_delivery_becomes_a_dataset(storage, delivery, demo, tmp_path):
    counted = []
    done = import_delivery(storage, delivery, tmp_path / "train", counted.append)
    assert (done.downloaded, done.reused) == (3, 0)
    assert done.digest == read_delivery(storage, delivery).digest() == read_manifest(demo / "train").digest()
    assert sum(counted) == 24
    verify(tmp_path / "train")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["train"]


def test_what_is_here_is_not_downloaded_and_what_went_goes(storage, delivery, demo, tmp_path):
    shutil.copytree(demo / "train", tmp_path / "train")
    (tmp_path / "train" / "old.tar").write_bytes(b"of an earlier delivery")
    assert import_delivery(storage, delivery, tmp_path / "train").downloaded == 0
    first = read_manifest(tmp_path / "train").shards[0].path
    (tmp_path / "train" / first).write_bytes(b"damaged")
    done = import_delivery(storage, delivery, tmp_path / "train")
    assert (done.downloaded, done.reused) == (1, 2)
    assert not (tmp_path / "train" / "old.tar").exists()
    rewrite(storage, delivery, tmp_path, lambda content: content["shards"].pop())
    import_delivery(storage, delivery, tmp_path / "train")
    assert len(list((tmp_path / "train").glob("*.tar"))) == 2


def test_a_damaged_shard_leaves_the_old_data_and_an_interrupted_import_goes_on(storage, delivery, demo, tmp_path):
    shutil.copytree(demo / "train", tmp_path / "train")
    into = tmp_path / "train"
    shards = read_manifest(into).shards
    for path in into.glob("*.tar"):
        path.unlink()
    broken = tmp_path / "broken"
    broken.write_bytes(b"x")
    original = storage.read(delivery / shards[-1].path, 1 << 30)
    storage.put(broken, delivery / shards[-1].path)
    with pytest.raises(DataError, match=r"expected sha256 [0-9a-f]{64} as in manifest\.json, got"):
        import_delivery(storage, delivery, into)
    assert (into / MANIFEST).is_file()
    broken.write_bytes(original)
    storage.put(broken, delivery / shards[-1].path)
    assert import_delivery(storage, delivery, into).downloaded == 1
    verify(into)


def test_a_move_that_was_interrupted_is_put_right(storage, delivery, demo, tmp_path):
    shutil.copytree(demo / "train", tmp_path / ".train.old.partial")
    assert import_delivery(storage, delivery, tmp_path / "train").downloaded == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda content: content["shards"][0].update(path="../x.tar"),
            "shards.0.path: Value error, expected a path below the manifest",
        ),
        (lambda content: content.update(shards=[]), "expected at least one sample, the manifest lists none"),
        (lambda content: content.update(extra=1), "extra: Extra inputs are not permitted"),
    ],
)
def test_a_manifest_that_is_none_is_refused(storage, delivery, tmp_path, change, message):
    rewrite(storage, delivery, tmp_path, change)
    with pytest.raises(DataError) as caught:
        import_delivery(storage, delivery, tmp_path / "train")
    assert message in str(caught.value)
    assert not (tmp_path / "train").exists()


def test_no_manifest_means_no_delivery_yet(storage, s3, tmp_path):
    with pytest.raises(DataError, match=r"s3://bucket/soon/manifest\.json: expected an object there"):
        import_delivery(storage, s3 / "soon", tmp_path / "train")
