"""Shards: bytes fixed by content, damage named."""

import hashlib
import io
import tarfile

import pytest

from umgclip.errors import DataError, InputError
from umgclip.io.shards import RawSample, ShardWriter, read_shard

SAMPLES = [RawSample(f"k{i}", bytes([i]) * 700, "jpg", b'{"i": %d}' % i) for i in range(3)]


def write(path, samples=SAMPLES):
    writer = ShardWriter(path)
    for sample in samples:
        writer.write(sample)
    writer.close()
    return path


def plain_tar(path, files):
    with tarfile.open(path, "w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def test_samples_come_back_in_order(tmp_path):
    assert list(read_shard(write(tmp_path / "a.tar"))) == SAMPLES


def test_embeddings_are_kept(tmp_path):
    sample = RawSample("k", b"image", "png", b"{}", b"npy")
    assert list(read_shard(write(tmp_path / "a.tar", [sample]))) == [sample]


def test_the_same_samples_give_the_same_bytes(tmp_path):
    assert write(tmp_path / "a.tar").read_bytes() == write(tmp_path / "other.tar").read_bytes()


@pytest.mark.parametrize("size", [0, 1, 511, 512, 513, 5000])
def test_the_bytes_are_those_of_pythons_own_tars(tmp_path, size):
    samples = [
        RawSample(key, b"\xff" * size, "jpg", b"{}", b"npy" * size) for key in ("a", "b" * 80, "ä" * 50, "日" * 80)
    ]
    with tarfile.open(tmp_path / "expected.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
        for sample in samples:
            for extension, data in (("jpg", sample.image), ("json", sample.json), ("teacher.npy", sample.embeddings)):
                info = tarfile.TarInfo(f"{sample.key}.{extension}")
                info.size, info.mode, info.mtime = len(data), 0o644, 0
                tar.format = tarfile.PAX_FORMAT if len(info.name.encode()) > 100 else tarfile.USTAR_FORMAT
                tar.addfile(info, io.BytesIO(data))
    assert write(tmp_path / "a.tar", samples).read_bytes() == (tmp_path / "expected.tar").read_bytes()


def test_a_writer_knows_the_hash_and_the_size_of_its_file(tmp_path):
    writer = ShardWriter(tmp_path / "a.tar")
    writer.write(SAMPLES[0], {"txt": b"a caption"})
    writer.close()
    data = (tmp_path / "a.tar").read_bytes()
    assert (writer.sha256, writer.bytes) == (hashlib.sha256(data).hexdigest(), len(data))


@pytest.mark.parametrize("cut", [300, 512 + 300, 512 + 700 + 100, 3000])
def test_a_truncated_tar_is_named(tmp_path, cut):
    path = write(tmp_path / "a.tar")
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(DataError, match=r"a\.tar"):
        list(read_shard(path))


def test_an_empty_file_is_no_tar(tmp_path):
    (tmp_path / "a.tar").write_bytes(b"")
    with pytest.raises(DataError, match=r"a\.tar: not a complete tar"):
        list(read_shard(tmp_path / "a.tar"))


def test_other_bytes_are_no_tar(tmp_path):
    (tmp_path / "a.tar").write_bytes(b"\x01not a tar" * 200)
    with pytest.raises(DataError, match=r"a\.tar: not a complete tar"):
        list(read_shard(tmp_path / "a.tar"))


def test_a_sample_without_json_is_named(tmp_path):
    path = plain_tar(tmp_path / "a.tar", {"a.jpg": b"1", "a.json": b"{}", "b.jpg": b"2"})
    with pytest.raises(DataError, match=r"a\.tar:b: expected one image .* and one json, got \['jpg'\]"):
        list(read_shard(path))


def test_a_sample_without_image_is_named(tmp_path):
    with pytest.raises(DataError, match=r"a\.tar:a: expected one image"):
        list(read_shard(plain_tar(tmp_path / "a.tar", {"a.json": b"{}"})))


def test_folders_inside_and_capital_extensions_are_read(tmp_path):
    path = plain_tar(tmp_path / "a.tar", {"part/a.JPG": b"1", "part/a.json": b"{}"})
    assert [sample.key for sample in read_shard(path)] == ["a"]


@pytest.mark.parametrize("key", ["", "a.b", "a/b", "k" * 81])
def test_keys_that_a_tar_cannot_hold_are_refused(tmp_path, key):
    with pytest.raises(InputError, match="key: expected 1 to 80 characters"):
        write(tmp_path / "a.tar", [RawSample(key, b"1", "jpg", b"{}")])


def test_a_key_is_written_once(tmp_path):
    with pytest.raises(InputError, match="got 'k0' twice"):
        write(tmp_path / "a.tar", [SAMPLES[0], SAMPLES[0]])


@pytest.mark.parametrize("name", [".jpg", "a\\b.jpg", "a\x07b.jpg", "x" * 81 + ".jpg", "\udcff.jpg"])
def test_names_that_are_no_keys_are_refused(tmp_path, name):
    with tarfile.open(tmp_path / "a.tar", "w", errors="surrogateescape") as tar:
        tar.addfile(tarfile.TarInfo(name), io.BytesIO(b""))
    with pytest.raises(DataError, match=r"a\.tar: key: expected 1 to 80 characters without dot, slash, backslash and"):
        list(read_shard(tmp_path / "a.tar"))


@pytest.mark.parametrize("key", ["日" * 80, "😀" * 80, "ä" * 50])
def test_a_key_of_many_bytes_comes_back(tmp_path, key):
    sample = RawSample(key, b"image", "jpg", b"{}", b"npy")
    path = write(tmp_path / "a.tar", [*SAMPLES, sample, *(RawSample("z", b"i", "png", b"{}"),)])
    assert list(read_shard(path)) == [*SAMPLES, sample, RawSample("z", b"i", "png", b"{}")]


def test_a_sample_that_would_hide_another_is_refused(tmp_path):
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as tar:
        for name in ("k.jpg", "k.json", "k.JPG", "k.json"):
            info = tarfile.TarInfo(name)
            info.size = 2
            tar.addfile(info, io.BytesIO(b"{}"))
    with pytest.raises(DataError, match="a.tar: k.JPG: expected each file of a sample once, got it twice"):
        list(read_shard(path))
