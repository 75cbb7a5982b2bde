"""Measure the cost of an import over decoding and hashing its files once, and its memory by number of images.

    python benchmarks/import.py [--images 2000] [--many 20000] [--side 512] [--rounds 3]

Both sides process the same photos with caption files, alternating, in one process with a warm page cache; the result is
the median ratio. Memory is the peak of a new process that imports 2,000 and 20,000 images. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from umgclip.params import ImportParams
from umgclip.sources.importing.run import run_import
from umgclip.sources.request import Request

_DIFFERENT = 64  # different pictures; every file has unique bytes
_PEAK = """
import json, resource, sys
from umgclip.params import ImportParams
from umgclip.sources.importing.run import run_import
from umgclip.sources.request import Request

if __name__ == "__main__":
    done = run_import(Request("folder", sys.argv[1], "train", "photos"), ImportParams(workers=1), sys.argv[2])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"images": done.manifest.samples, "peak_mb": round(peak, 1)}))
"""


def _pictures(side: int) -> list[bytes]:
    """Return JPEG files of the size of photos with that longer side: smooth shapes with noise."""
    rng = np.random.default_rng(0)
    files = []
    for _ in range(_DIFFERENT):
        small = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
        large = np.asarray(small.resize((side, side * 3 // 4), Image.Resampling.BICUBIC)).astype(np.int16)
        noisy = np.clip(large + rng.normal(0, 8, large.shape), 0, 255).astype(np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(noisy).save(buffer, "JPEG", quality=90)
        files.append(buffer.getvalue())
    return files


def _write(folder: Path, count: int, side: int) -> None:
    """Write photos with captions; a JPEG comment makes each file unique."""
    pictures = _pictures(side)
    for number in range(count):
        inner = folder / f"{number // 1000:03d}"
        inner.mkdir(parents=True, exist_ok=True)
        data, comment = pictures[number % len(pictures)], f"photo {number:09d}".encode()
        marker = b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment
        (inner / f"{number:06d}.jpg").write_bytes(data[:2] + marker + data[2:])
        (inner / f"{number:06d}.txt").write_text(f"a photo of view number {number}\n")


def _decode_and_hash(folder: Path) -> float:
    began = time.perf_counter()
    for path in sorted(folder.rglob("*.jpg")):
        data = path.read_bytes()
        hashlib.sha256(data).hexdigest()
        with Image.open(io.BytesIO(data)) as image:
            np.asarray(image.convert("RGB"))
    return time.perf_counter() - began


def _import(folder: Path, out: Path, workers: int) -> float:
    began = time.perf_counter()
    run_import(Request("folder", str(folder), "train", "photos"), ImportParams(workers=workers), out)
    return time.perf_counter() - began


def _peak(folder: Path, out: Path) -> float:
    done = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", _PEAK, str(folder), str(out)], check=True, capture_output=True, text=True
    )
    return float(json.loads(done.stdout)["peak_mb"])


def main() -> None:
    """Run the measurements and print the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument(
        "--many", type=int, default=20000, help="images of the larger memory measurement; 0: skip memory"
    )
    parser.add_argument("--side", type=int, default=512, help="longer side of the photos in pixels")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        _write(root / "photos", arguments.images, arguments.side)
        _decode_and_hash(root / "photos")
        pairs = [
            (_decode_and_hash(root / "photos"), _import(root / "photos", root / f"data{n}", workers=1))
            for n in range(arguments.rounds)
        ]
        both = _import(root / "photos", root / "all", workers=0)
        result = {
            "images": arguments.images,
            "bytes_an_image": sum(path.stat().st_size for path in root.glob("photos/*/*.jpg")) // arguments.images,
            "decode_and_hash_s": round(statistics.median(a for a, _ in pairs), 3),
            "import_s": round(statistics.median(b for _, b in pairs), 3),
            "ratio": round(statistics.median(b / a for a, b in pairs), 3),
            "images_a_second": round(arguments.images / statistics.median(b for _, b in pairs)),
            "images_a_second_all_cores": round(arguments.images / both),
        }
        if arguments.many:
            _write(root / "few", 2000, 256)
            _write(root / "many", arguments.many, 256)
            few, many = _peak(root / "few", root / "out_few"), _peak(root / "many", root / "out_many")
            result |= {"peak_mb_2000": few, f"peak_mb_{arguments.many}": many, "peak_ratio": round(many / few, 3)}
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
