"""Names of the files in a tar, from its headers alone."""

import io
import tarfile

import pytest

from umgclip.io.shards import RawSample, ShardWriter
from umgclip.io.tars import file_names


def write(path, names, kind):
    with tarfile.open(path, "w", format=kind) as tar:
        for number, name in enumerate(names):
            member = tarfile.TarInfo(name)
            member.size = 300 * number
            tar.addfile(member, io.BytesIO(b"x" * member.size))


def by_tarfile(path):
    with tarfile.open(path) as tar:
        return [info.name for info in tar if info.isfile()]


@pytest.mark.parametrize("kind", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("name", ["b.jpg", "folder/ä.jpg", "x" * 99, "y" * 150 + "/" + "z" * 80, "n" * 120])
def test_names_are_those_of_tarfile(tmp_path, kind, name):
    path = tmp_path / "a.tar"
    try:
        write(path, ["a.jpg", name, "c.json"], kind)
    except ValueError:
        pytest.skip("ustar takes no such name")
    assert list(file_names(path)) == by_tarfile(path) == ["a.jpg", name, "c.json"]


def test_folders_and_links_are_no_files(tmp_path):
    path = tmp_path / "a.tar"
    write(path, ["a.jpg"], tarfile.USTAR_FORMAT)
    with tarfile.open(path, "a", format=tarfile.USTAR_FORMAT) as tar:
        for kind, name in ((tarfile.DIRTYPE, "folder"), (tarfile.SYMTYPE, "link")):
            member = tarfile.TarInfo(name)
            member.type = kind
            tar.addfile(member)
    assert list(file_names(path)) == ["a.jpg"]


def test_names_of_a_shard_are_read_without_tarfile(tmp_path, monkeypatch):
    path = tmp_path / "part.tar"
    writer = ShardWriter(path)
    for number in range(5):
        writer.write(RawSample(f"k{number}", b"pixels" * 200, "jpg", b"{}"))
    writer.close()
    expected = by_tarfile(path)
    monkeypatch.setattr(tarfile, "open", lambda *_args: pytest.fail("tarfile was asked"))
    assert list(file_names(path)) == expected


@pytest.mark.parametrize(
    "damage", [lambda d: d[:700], lambda d: d[:150] + b"9" + d[151:], lambda _: b"", lambda _: b"no"]
)
def test_a_damaged_tar_is_what_tarfile_takes_it_for(tmp_path, damage):
    path = tmp_path / "a.tar"
    write(path, ["a.jpg", "b.jpg"], tarfile.USTAR_FORMAT)
    path.write_bytes(damage(path.read_bytes()))

    def outcome(read):
        try:
            return read(path)
        except (tarfile.TarError, EOFError) as error:
            return type(error)

    assert outcome(lambda where: list(file_names(where))) == outcome(by_tarfile)
