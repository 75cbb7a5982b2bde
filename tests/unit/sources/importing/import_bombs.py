"""Imports of sources that were made to fill the memory, one after another, in a process that may have only so much.

`python import_bombs.py FOLDER` makes them in a folder and prints, a line each, what came of them as JSON.
"""

from __future__ import annotations

import faulthandler
import gzip
import io
import json
import os
import resource
import struct
import sys
import tarfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from umgclip.errors import UmgclipError
from umgclip.params import ImportParams
from umgclip.sources.formats.shared import tar_samples
from umgclip.sources.importing.run import run_import
from umgclip.sources.request import Request

GIB = 1 << 30
MEMORY = 4 * GIB  # of addresses, what libraries reserve included
ZEROS = gzip.compress(bytes(64 << 20), 6)
PARAMS = ImportParams(workers=1, shard_samples=4, max_image_mb=20)
Case = tuple[str, dict[str, Any]]


def picture(seed: int = 0, **options: Any) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", **options)
    return buffer.getvalue()


def member(name: str, data: bytes, kind: bytes = tarfile.REGTYPE, size: int | None = None) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.type = len(data) if size is None else size, kind
    padding = b"" if size is not None else bytes(-len(data) % 512)
    return info.tobuf(tarfile.USTAR_FORMAT) + data + padding


def pax(**attributes: str) -> bytes:
    lines = b""
    for name, value in attributes.items():
        rest = f" {name.replace('__', '.')}={value}\n".encode()
        length = len(rest)
        while length != len(str(length)) + len(rest):
            length = len(str(length)) + len(rest)
        lines += str(length).encode() + rest
    return lines


def tar(folder: Path, *after: bytes, before: bytes = b"") -> Case:
    """Write a compressed tar: a good sample, and what follows it."""
    folder.mkdir()
    good = member("good.png", picture()) + member("good.txt", b"a cat")
    (folder / "a.tar.gz").write_bytes(b"".join(map(_packed, (before, good, *after))))
    return "webdataset", {"source": str(folder)}


def _packed(data: bytes) -> bytes:
    return data if data.startswith(b"\x1f\x8b") else gzip.compress(data, 1)


def end() -> bytes:
    return bytes(1024)


def long_header(folder: Path, kind: bytes) -> Case:
    return tar(folder, member("x", b"", kind, 6 * GIB), *[ZEROS] * 96, member("b.png", b"x"), end())


def skipped(folder: Path) -> Case:
    return tar(folder, member("b.png", b"", size=6 * GIB), *[ZEROS] * 96, end())


def chained(folder: Path) -> Case:
    return tar(folder, member("x", pax(path="y"), tarfile.XHDTYPE) * 3000, member("b.png", b"x"), end())


def shared(folder: Path) -> Case:
    headers = (member("x", pax(**{f"a{n}{m}": "v" * 500 for m in range(100)}), tarfile.XGLTYPE) for n in range(200))
    return tar(folder, b"".join(headers), member("b.png", b"x"), end())


def holes(folder: Path) -> Case:
    attributes = {"GNU__sparse__major": "1", "GNU__sparse__minor": "0", "GNU__sparse__name": "b.png",
                  "GNU__sparse__realsize": "5"}  # fmt: skip
    header = member("x", pax(**attributes), tarfile.XHDTYPE) + member("b.png", b"", size=6 * GIB)
    return tar(folder, header, *[ZEROS] * 96, end())


def one_key(folder: Path) -> Case:
    """Write a sample of 640 MB and 12,000 members; the file has holes."""
    folder.mkdir()
    with (folder / "a.tar").open("wb") as handle:
        handle.write(member("good.png", picture()))
        for number in range(40):
            handle.write(member(f"good.f{number}", b"", size=16 << 20))
            handle.seek(16 << 20, os.SEEK_CUR)
        handle.write(b"".join(member(f"good.g{number}", b"x") for number in range(12_000)))
        handle.write(member("next.png", picture(2)) + end())
    return "webdataset", {"source": str(folder)}


def specials(folder: Path) -> Case:
    folder.mkdir()
    (folder / "good.png").write_bytes(picture())
    (folder / "good.txt").symlink_to("/dev/zero")
    (folder / "zero.png").symlink_to("/dev/zero")
    os.mkfifo(folder / "pipe.png")
    (folder / "linked.png").symlink_to("pipe.png")
    return "folder", {"source": str(folder)}


def table(folder: Path, name: str, write: Callable[[Path], object], kind: str = "folder") -> Case:
    folder.mkdir()
    (folder / "good.png").write_bytes(picture())
    path = folder.with_name(f"{folder.name}_{name}")
    write(path)
    about = {"captions": str(path)} if kind == "folder" else {"annotations": (str(path),)}
    return kind, {"source": str(folder), **about}


def zero_table(folder: Path) -> Case:
    return table(folder, "t.csv", lambda path: path.symlink_to("/dev/zero"))


def pipe_table(folder: Path) -> Case:
    return table(folder, "t.csv", os.mkfifo)


def _column(value: str, count: int) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, np.int32)), [value])


def many_rows(folder: Path) -> Case:
    rows = pa.table({"image": _column("good.png", 5_000_000), "caption": _column("a cat", 5_000_000)})
    return table(folder, "t.parquet", lambda path: pq.write_table(rows, path, compression="zstd"))


def long_rows(folder: Path) -> Case:
    rows = pa.table({"image": _column("good.png", 600), "caption": _column("cat " * (1 << 20), 600)})
    return table(folder, "t.parquet", lambda path: pq.write_table(rows, path, compression="zstd"))


def long_lists(folder: Path) -> Case:
    words = pa.ListArray.from_arrays(pa.array([0, 90_000], pa.int32()), _column("cat " * 25_000, 90_000))
    rows = pa.table({"image": ["good.png"], "captions": words})
    return table(folder, "t.parquet", lambda path: pq.write_table(rows, path, compression="zstd"), "finehard")


def text(folder: Path, name: str, *parts: tuple[str, int]) -> Case:
    def write(path: Path) -> None:
        with path.open("w") as handle:
            for part, times in parts:
                for _ in range(times):
                    handle.write(part)

    return table(folder, name, write)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def pictures(folder: Path) -> Case:
    """PNGs with parts that unpack to 256 MiB each, or very many of them."""
    folder.mkdir()
    packed = zlib.compress(bytes(256 << 20), 9)
    text = chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(900_000), 9))
    extras = {
        "text": chunk(b"zTXt", b"k\0\0" + packed),
        "words": chunk(b"iTXt", b"k\0\1\0\0\0" + packed),
        "profile": chunk(b"iCCP", b"k\0\0" + packed),
        "texts": b"".join(text for _ in range(2000)),
        "exif": chunk(
            b"eXIf", b"II*\0\x08\0\0\0\x01\0\x0f\x01\x02\0" + struct.pack("<II", 0xFFFFFFF0, 26) + bytes(100)
        ),
    }
    for name, extra in extras.items():
        head = picture(len(name))
        (folder / f"{name}.png").write_bytes(head[:33] + extra + head[33:])
    (folder / "good.png").write_bytes(picture(99))
    return "folder", {"source": str(folder)}


def cases(root: Path) -> Iterator[tuple[str, Callable[[], Case]]]:
    yield "long_name", lambda: long_header(root / "a", tarfile.GNUTYPE_LONGNAME)
    yield "long_attributes", lambda: long_header(root / "b", tarfile.XHDTYPE)
    yield "skipped", lambda: skipped(root / "c")
    yield "chained", lambda: chained(root / "d")
    yield "shared", lambda: shared(root / "e")
    yield "holes", lambda: holes(root / "f")
    yield "one_key", lambda: one_key(root / "g")
    yield "specials", lambda: specials(root / "h")
    yield "zero_table", lambda: zero_table(root / "i")
    yield "pipe_table", lambda: pipe_table(root / "j")
    yield "many_rows", lambda: many_rows(root / "k")
    yield "long_rows", lambda: long_rows(root / "l")
    yield "long_lists", lambda: long_lists(root / "m")
    yield "deep", lambda: text(root / "n", "t.json", ("[", 200_000))
    yield (
        "digits",
        lambda: text(root / "o", "t.json", ('[{"image": "good.png", "caption": ', 1), ("9" * 10**6, 1), ("}]", 1)),
    )
    yield "endless", lambda: text(root / "p", "t.json", ('[{"image": "', 1), ("x" * (1 << 20), 70))
    yield (
        "endless_line",
        lambda: text(root / "q", "t.jsonl", ('{"image": "good.png", "caption": "a cat"}\n', 1), ("x" * (1 << 20), 70)),
    )
    yield "endless_cell", lambda: text(root / "r", "t.csv", ("image,caption\ngood.png,", 1), ("x" * (1 << 20), 70))
    yield (
        "endless_quote",
        lambda: text(root / "s", "t.csv", ('image,caption\ngood.png,"', 1), ("x" * 10**6 + "\n", 70)),
    )
    yield "endless_head", lambda: text(root / "t", "t.csv", ("x" * (1 << 20), 70))
    yield "pictures", lambda: pictures(root / "u")


def outcome(kind: str, about: dict[str, Any], out: Path) -> dict[str, Any]:
    source = about.pop("source")
    try:
        done = run_import(Request(kind, source, "train", name="x", **about), PARAMS, out, alone=True)
    except UmgclipError as error:
        return {"error": f"{type(error).__name__}: {error}"}
    rows = pq.read_table(out / "train" / "quarantine.parquet").to_pylist()
    return {"samples": done.manifest.samples, "put_aside": [[r["reason"], r["shard"], r["detail"]] for r in rows][:20]}


def main() -> None:
    root = Path(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    tar_samples._FREE = 64 << 20  # or it takes seconds to unpack so many zeros
    for name, make in cases(root):
        if len(sys.argv) > 2 and name not in sys.argv[2:]:
            continue
        kind, about = make()
        faulthandler.dump_traceback_later(60, exit=True)
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
        before = memory("VmRSS")
        result = outcome(kind, about, root / f"out_{name}")
        line = {"name": name, **result, "peak_mib": (memory("VmHWM") - before) >> 10}
        sys.stdout.write(f"{json.dumps(line)}\n")
        sys.stdout.flush()


def memory(what: str) -> int:
    """Read a memory counter of this process, in KiB."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(what))


if __name__ == "__main__":
    main()
