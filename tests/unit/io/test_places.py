"""A folder and an S3 prefix, seen alike."""

import os
import pickle

import pytest

from umgclip.errors import DataError, InputError, StorageError
from umgclip.io import storage as storage_module
from umgclip.io.places import Folder, Prefix, fetch, place_at
from umgclip.io.storage import Storage

FILES = {"a.jpg": b"1", "folder/b 22.05.png": b"22", "folder/inner/ü.txt": b"333"}


@pytest.fixture(params=["folder", "s3"])
def place(request, tmp_path):
    if request.param == "folder":
        return Folder(tmp_path / "there")
    return Prefix(request.getfixturevalue("s3") / "there")


@pytest.fixture
def filled(place, tmp_path):
    for name, data in FILES.items():
        local = tmp_path / f"local {len(data)}"
        local.write_bytes(data)
        place.put(local, name)
    return place


def test_what_is_put_is_listed_and_read(filled):
    assert {(entry.name, entry.bytes) for entry in filled.entries()} == {(n, len(d)) for n, d in FILES.items()}
    for name, data in FILES.items():
        assert filled.read(name, 3) == data
        with filled.open(name) as handle:
            assert handle.read(1) + handle.read() + handle.read() == data
        assert filled.exists(name)
    assert filled.within("folder").read("b 22.05.png", 10) == b"22"


def test_what_is_not_there_or_too_long_is_named(filled):
    with pytest.raises(DataError, match=r"there/nothing"):
        filled.read("nothing", 10)
    with pytest.raises(DataError, match="expected at most 2 bytes, got 3"):
        filled.read("folder/inner/ü.txt", 2)
    assert not filled.exists("nothing")
    assert not filled.exists("folder")


def test_what_is_deleted_is_gone(filled):
    filled.delete("a.jpg")
    filled.delete("a.jpg")
    assert not filled.exists("a.jpg")
    assert len(list(filled.entries())) == 2


def test_a_place_travels_to_other_processes(filled):
    again = pickle.loads(pickle.dumps(filled))
    assert again.read("a.jpg", 1) == b"1"


def test_places_are_told_by_their_names(tmp_path):
    assert place_at(str(tmp_path)) == Folder(tmp_path)
    assert str(place_at("s3://bucket/a")) == "s3://bucket/a"
    with pytest.raises(InputError, match="expected a path or s3://BUCKET/PREFIX, got 'https://x/y'"):
        place_at("https://x/y")
    with pytest.raises(DataError, match="expected a folder, found none"):
        list(Folder(tmp_path / "none").entries())


def test_links_that_lead_back_are_followed_once(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.jpg").write_bytes(b"x")
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    (tmp_path / "outside").mkdir()
    (tmp_path / "a" / "y.jpg").symlink_to(tmp_path / "a" / "x.jpg")
    assert sorted(entry.name for entry in Folder(tmp_path).entries()) == ["a/x.jpg", "a/y.jpg"]


def test_names_that_are_no_text_are_listed_and_read(tmp_path):
    name = b"caf\xe9.jpg"
    (tmp_path / os.fsdecode(name)).write_bytes(b"x")
    (entry,) = Folder(tmp_path).entries()
    assert os.fsencode(entry.name) == name
    assert Folder(tmp_path).read(entry.name, 1) == b"x"


def test_a_file_is_fetched_from_wherever_it_is(s3, tmp_path):
    (tmp_path / "here.json").write_bytes(b"{}")
    Storage().put(tmp_path / "here.json", s3 / "a/there.json")
    (tmp_path / "into").mkdir()
    assert fetch("s3://bucket/a/there.json", tmp_path / "into") == tmp_path / "into" / "there.json"
    assert fetch(str(tmp_path / "here.json"), tmp_path / "into") == tmp_path / "here.json"
    with pytest.raises(DataError, match="expected a file, found none"):
        fetch(str(tmp_path / "nothing"), tmp_path)


class Breaking:
    """A body that breaks off after some bytes, as connections do."""

    def __init__(self, body, after):
        self._body, self._left = body, after

    def read(self, size):
        if not self._left:
            raise ConnectionResetError("reset by peer")
        data = self._body.read(min(size, self._left))
        self._left -= len(data)
        return data

    def close(self):
        self._body.close()


@pytest.fixture
def breaking(s3, tmp_path, monkeypatch):
    """A store whose connections break after 100,000 bytes."""
    (tmp_path / "x").write_bytes(bytes(range(256)) * 2000)
    monkeypatch.setattr(storage_module, "_PAUSE_S", 0.0)
    storage = Storage()
    storage.put(tmp_path / "x", s3 / "x")
    get, ranges = storage._client.get_object, []

    def get_object(**place):
        ranges.append(place.get("Range"))
        answer = get(**place)
        return {**answer, "Body": Breaking(answer["Body"], 100_000)}

    monkeypatch.setattr(storage._client, "get_object", get_object)
    return storage, s3 / "x", ranges


def test_a_stream_goes_on_where_its_connection_broke(breaking, tmp_path):
    storage, where, ranges = breaking
    assert storage.read(where, 1 << 20) == (tmp_path / "x").read_bytes()
    assert ranges == [None, *(f"bytes={n}00000-" for n in range(1, 6))]


def test_a_stream_whose_object_changes_is_refused(breaking, tmp_path):
    storage, where, _ = breaking
    stream = storage.open(where)
    stream.read(100_000)
    (tmp_path / "x").write_bytes(bytes(512_000))
    storage.put(tmp_path / "x", where)
    with pytest.raises(DataError, match="s3://bucket/x"):
        stream.read()


def test_a_store_that_is_gone_is_said(breaking, monkeypatch):
    storage, where, _ = breaking
    stream = storage.open(where)
    stream.read(100_000)

    def refuse(**_):
        raise ConnectionRefusedError("refused")

    monkeypatch.setattr(storage._client, "get_object", refuse)
    with pytest.raises(StorageError, match="does not answer: refused"):
        stream.read()


def test_a_folder_that_cannot_be_listed_is_named(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError, match=r"cannot be listed \(Permission denied\)"):
        list(Folder(tmp_path).entries())
