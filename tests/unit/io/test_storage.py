"""Objects in S3, against a real endpoint on loopback."""

import pytest
from moto.core import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends

from umgclip.errors import DataError, InputError, StorageError
from umgclip.io.storage import Location, Storage, locate


@pytest.fixture
def storage(s3) -> Storage:
    return Storage()


def test_urls_are_read_and_written():
    where = locate("s3://bucket/some/prefix/")
    assert where == Location("bucket", "some/prefix/")
    assert str(where / "a.tar") == "s3://bucket/some/prefix/a.tar"
    assert str(locate("s3://bucket") / "a") == "s3://bucket/a"
    for wrong in ("http://bucket/key", "s3:///key", "/tmp/key", "s3://bucket/key?versionId=1"):
        with pytest.raises(InputError, match="expected s3://BUCKET/KEY, got"):
            locate(wrong)


def test_what_is_put_is_listed_read_and_got(storage, s3, tmp_path):
    (tmp_path / "small").write_bytes(b"small")
    (tmp_path / "large").write_bytes(bytes(range(256)) * 80_000)  # more than one part
    for name in ("small", "large"):
        storage.put(tmp_path / name, s3 / f"a/{name}")
    listed = [(entry.location.key, entry.bytes) for entry in storage.list(s3 / "a/")]
    assert listed == [("a/large", 20_480_000), ("a/small", 5)]
    assert storage.read(s3 / "a/small", limit=5) == b"small"
    storage.get(s3 / "a/large", tmp_path / "new" / "large")
    assert (tmp_path / "new" / "large").read_bytes() == (tmp_path / "large").read_bytes()
    assert list(storage.list(s3 / "b/")) == []


def test_long_lists_come_in_pages(storage, s3):
    store = s3_backends[DEFAULT_ACCOUNT_ID]["aws"]  # of the server, which runs in this process
    for number in range(1005):
        store.put_object(s3.bucket, f"many/{number:05d}", b"")
    assert len(list(storage.list(s3 / "many/"))) == 1005


def test_missing_objects_and_buckets_are_named(storage, s3, tmp_path):
    with pytest.raises(DataError, match=r"s3://bucket/nothing: expected an object there, found none"):
        storage.read(s3 / "nothing", limit=10)
    with pytest.raises(DataError, match=r"s3://bucket/nothing: expected an object there"):
        storage.get(s3 / "nothing", tmp_path / "x")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(DataError, match="NoSuchBucket"):
        list(storage.list(locate("s3://other/x")))
    (tmp_path / "x").write_bytes(b"12345678901")
    storage.put(tmp_path / "x", s3 / "x")
    with pytest.raises(DataError, match="expected at most 10 bytes, got 11"):
        storage.read(s3 / "x", limit=10)


def test_a_store_that_does_not_answer_may_be_tried_again(storage, s3, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setattr("umgclip.io.storage._ATTEMPTS", 1)
    with pytest.raises(StorageError, match=r"s3://bucket/x: the object store does not answer: .*127\.0\.0\.1:9"):
        Storage().read(s3 / "x", limit=10)


def test_missing_credentials_are_said(s3, monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(InputError, match=r"expected credentials and a region in AWS_\* variables"):
        Storage().read(s3 / "x", limit=10)
