"""Every importer against files that hypothesis has spoilt: no traceback, and no item that is neither in nor counted."""

import copy
import json
import math
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from umgclip.errors import DataError, InputError

IMAGES = ("a.jpg", "b.jpg", "c.jpg")
NASTY = [
    None, True, False, 0, -1, 1, 2, 7.5, 64.0, "64.0", "64px", "1", "", " ", "cat", "cat \ud83d", "\udcff.jpg", "\x00",
    "\x1b[31m[/b]\x07", "../../etc/passwd", "/etc/passwd", "a" * 300, "b.jpg", math.nan, math.inf, -math.inf, 1e308,
    10**400, [], [[]], {}, {"a": 1}, [1, 2], [None], ["x"], [[1, 2], [3]], [1e12, 2.0, 30.0, 4.0, 5.0, -1e12, 7.0, 8.0],
    {"size": 5, "counts": [1]}, {"size": [30, 40], "counts": "P"}, {"size": [30, 40], "counts": [1200]}, [0, 0, 0, 0],
]  # fmt: skip
QUICK = settings(
    max_examples=10, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
LONG = settings(max_examples=400, deadline=None, database=None, suppress_health_check=list(HealthCheck))


def places(value, at=()):
    """Yield the path to every value inside a JSON value."""
    if at:
        yield at
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        yield from places(one, (*at, key))


@st.composite
def spoilt(draw, value):
    """Draw a JSON value with up to three parts replaced, left out, doubled or wrapped."""
    value = copy.deepcopy(value)
    for _ in range(draw(st.integers(1, 3))):
        ways = list(places(value))
        if not ways:
            break
        *above, last = draw(st.sampled_from(ways))
        holder = value
        for key in above:
            holder = holder[key]
        how = draw(st.sampled_from(["replace", "replace", "replace", "leave out", "double", "wrap"]))
        if how == "replace":
            holder[last] = copy.deepcopy(draw(st.sampled_from(NASTY)))
        elif how == "leave out":
            del holder[last]
        elif how == "wrap":
            holder[last] = [holder[last]]
        elif isinstance(holder, list):
            holder.append(copy.deepcopy(holder[last]))
    return value


@st.composite
def spoilt_bytes(draw, data):
    """Bytes of which some were changed, or the end is missing."""
    data = bytearray(data)
    if draw(st.booleans()):
        data = data[: draw(st.integers(0, len(data)))]
    for _ in range(draw(st.integers(0, 4))):
        if data:
            data[draw(st.integers(0, len(data) - 1))] = draw(st.sampled_from([0, 9, 10, 13, 34, 44, 47, 92, 195, 255]))
    return bytes(data)


def image(number):
    return {"id": number, "file_name": IMAGES[number], "width": 40, "height": 30}


def annotation(number, on):
    corners = [[4, 4, 20, 4, 20, 20]]
    return {
        "id": number, "image_id": on, "category_id": number % 2, "bbox": [4, 4, 16, 16], "area": 9, "iscrowd": 0,
        "segmentation": corners if number % 2 else {"size": [30, 40], "counts": [100, 50, 1050]},
    }  # fmt: skip


CATEGORIES = [{"id": 0, "name": "cat", "supercategory": "animal"}, {"id": 1, "name": "grass", "isthing": 0}]
COCO = {
    "images": [image(0), image(1), image(2)],
    "annotations": [annotation(1, 0), annotation(2, 0), annotation(3, 1)],
    "categories": CATEGORIES,
    "licenses": [{"id": 1, "name": "CC BY"}],
}
FG_OVD = {
    **COCO,
    "annotations": [annotation(number, number - 1) | {"neg_category_ids": [1 - number % 2]} for number in (1, 2, 3)],
}
CAPTIONS = {
    "images": [image(0), image(1), image(2)],
    "annotations": [{"id": n, "image_id": n, "caption": f"a photo of thing {n}"} for n in range(3)],
}
PANOPTIC = {
    "images": [image(0), image(1), image(2)],
    "annotations": [
        {
            "image_id": n, "file_name": f"{n}.png",
            "segments_info": [{"id": 1, "category_id": 0, "iscrowd": 0}, {"id": 2, "category_id": 1}],
        }
        for n in range(3)
    ],
    "categories": CATEGORIES,
}  # fmt: skip
GROUNDED = [
    {
        "f_path": name, "caption": "a cat on grass",
        "bbox_info": [{"bbox": [0.1, 0.1, 0.5, 0.5, 0.9], "short_expr": "a cat"}],
    }
    for name in IMAGES
]  # fmt: skip
SIDECAR = {
    "width": 40, "height": 30, "caption": "a cat on grass", "tags": {"cat": 0.5, "grass": 1}, "url": "http://x/y.jpg",
    "objects": [{"bbox": [1, 1, 9, 9], "score": 0.5, "label": "cat", "segmentation": [[1, 1, 9, 1, 9, 9]]}],
    "noun_chunks": [[2, 5, 0.1, 0.1, 0.5, 0.5, 0.9]], "regions": {"grass": [[1, 20, 39, 29]]},
}  # fmt: skip
ROWS = [{"file_name": name, "caption": f"a photo of thing {n}"} for n, name in enumerate(IMAGES)]
METADATA = [
    {
        "file_name": name, "width": 40, "height": 30, "text": [f"photo of thing {n}"],
        "objects": {
            "id": [n], "bbox": [[4, 4, 16, 16]], "category": ["cat"], "segmentation": [[[4, 4, 20, 4, 20, 20]]],
        },
    }
    for n, name in enumerate(IMAGES)
]  # fmt: skip
KARPATHY = {"images": [{"filename": name, "split": "test", "sentences": [{"raw": "a cat"}]} for name in IMAGES]}
LABELME = {
    "imageWidth": 40, "imageHeight": 30, "imagePath": "a.jpg",
    "shapes": [{"label": "cat", "points": [[1, 1], [9, 9]], "shape_type": "rectangle", "group_id": None}],
}  # fmt: skip
VOC = """<annotation><filename>a.jpg</filename><size><width>40</width><height>30</height></size>
<object><name>cat</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></object></annotation>"""
YOLO = "0 0.5 0.5 0.2 0.2\n1 0.1 0.1 0.3 0.1 0.3 0.4\n"


class Source:
    """Three images in a folder of its own, and what an import makes of them."""

    def __init__(self, kit, folder):
        self.kit, self.root, self.images = kit, folder, folder / "in"
        for number, name in enumerate(IMAGES):
            kit.photo(self.images / name, number)

    def write(self, name, content):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        return str(path)

    def check(self, kind, items, split="train", source=None, **options):
        """Import; what is given is in, or in the quarantine, or the import ends with an error of ours."""
        try:
            done = self.kit.bring(kind, source or self.images, self.root / "out", split, **options)
        except (InputError, DataError):
            return
        reasons = [reason for reason, _ in done.reasons]
        details = [row["detail"] for row in done.quarantine if row["reason"] == "import_error"]
        assert "import_error" not in reasons, details
        assert len(done.records) + sum(row["region_id"] is None for row in done.quarantine) >= items
        known = {*done.records, *(row["shard"] for row in done.quarantine)}
        assert done.statistics["counts"]["image_files"] <= len(known) + len(done.quarantine)


def every(kit, run):
    with tempfile.TemporaryDirectory() as folder:
        run(Source(kit, Path(folder)))


def lengths(value, name):
    """Count the different elements in each list of a file."""
    listed = value.get(name) if isinstance(value, dict) else None
    return len({json.dumps(one, sort_keys=True) for one in listed}) if isinstance(listed, list) else 0


def coco(kit, value):
    def run(source):
        path = source.write("i.json", value)
        source.check("coco", lengths(value, "images"), "benchmark", annotations=(path,))

    every(kit, run)


def coco_captions(kit, value):
    every(kit, lambda source: source.check("coco", lengths(value, "images"), captions=source.write("c.json", value)))


def panoptic(kit, value):
    def run(source):
        for number in range(3):
            ids = [[[1 + (x > 20), 0, 0] for x in range(40)] for _ in range(30)]
            kit.write_map(source.root / "p" / f"{number}.png", ids)
        path = source.write("p.json", value)
        source.check("coco", lengths(value, "images"), "benchmark", panoptic=path)

    every(kit, run)


def finehard(kit, value):
    items = len(value) if isinstance(value, list) else 0
    every(kit, lambda source: source.check("finehard", items, annotations=(source.write("f.json", value),)))


def karpathy(kit, value):
    every(kit, lambda source: source.check("karpathy", 0, "benchmark", annotations=(source.write("k.json", value),)))


def fg_ovd(kit, value):
    every(kit, lambda source: source.check("fg_ovd", 0, "benchmark", annotations=(source.write("o.json", value),)))


def sidecar(kit, value):
    def run(source):
        source.write("in/a.json", value)
        source.check("folder", 3)

    every(kit, run)


def json_lines(kit, rows):
    lines = b"\n".join(json.dumps(row).encode() for row in rows)
    every(kit, lambda source: source.check("folder", 3, captions=source.write("t.jsonl", lines)))


def tar_json(kit, value):
    def run(source):
        members = []
        for name in IMAGES:
            members.append((name, (source.images / name).read_bytes()))
            members.append((name.replace(".jpg", ".json"), json.dumps(value).encode()))
        kit.write_tar(source.root / "tars" / "0.tar", members)
        source.check("webdataset", 3, source=source.root / "tars")

    every(kit, run)


def labelme(kit, value):
    def run(source):
        source.write("in/a.json", value)
        source.write("in/b.json", LABELME)
        source.check("labelme", 3)

    every(kit, run)


def metadata(kit, rows):
    lines = b"\n".join(json.dumps(row).encode() for row in rows)

    def run(source):
        source.write("in/metadata.jsonl", lines)
        source.check("huggingface", 3)

    every(kit, run)


JSON = {
    "metadata of a folder": (metadata, METADATA),
    "coco": (coco, COCO),
    "coco captions": (coco_captions, CAPTIONS),
    "panoptic": (panoptic, PANOPTIC),
    "finehard": (finehard, GROUNDED),
    "karpathy": (karpathy, KARPATHY),
    "FG-OVD": (fg_ovd, FG_OVD),
    "sidecar": (sidecar, SIDECAR),
    "JSON lines": (json_lines, ROWS),
    "tar with JSON": (tar_json, SIDECAR),
    "labelme": (labelme, LABELME),
}


def csv(kit, data):
    every(kit, lambda source: source.check("folder", 3, captions=source.write("t.csv", data)))


def tsv(kit, data):
    every(kit, lambda source: source.check("folder", 3, captions=source.write("t.tsv", data)))


def coco_bytes(kit, data):
    every(kit, lambda source: source.check("coco", 0, annotations=(source.write("i.json", data),)))


def tar_bytes(kit, data):
    def run(source):
        source.write("tars/0.tar", data)
        source.check("webdataset", 0, source=source.root / "tars")

    every(kit, run)


def image_bytes(kit, data):
    def run(source):
        source.write("in/d.jpg", data)
        source.check("folder", 4)

    every(kit, run)


def voc(kit, data):
    def run(source):
        source.write("in/a.xml", data)
        source.write("in/b.xml", VOC.encode())
        source.check("voc", 3)

    every(kit, run)


def yolo(kit, data):
    def run(source):
        source.write("in/a.txt", data)
        source.write("in/b.txt", YOLO.encode())
        source.write("in/classes.txt", b"cat\ngrass\n")
        source.check("yolo", 3)

    every(kit, run)


def rows_bytes(name):
    def run_one(kit, data):
        def run(source):
            for file in IMAGES:
                (source.images / file).unlink()
            source.write(f"in/{name}", data)
            source.check("huggingface", 0)

        every(kit, run)

    return run_one


def _rows(kit, name):
    """Three rows with an image, a caption and an object each, as parquet or as a stream of Arrow."""
    images = [{"bytes": kit.encoded(kit.pixels(n)), "path": None} for n in range(3)]
    table = pa.table({
        "image": pa.array(images, pa.struct({"bytes": pa.binary(), "path": pa.string()})),
        "caption": [f"a photo of thing {n}" for n in range(3)],
        "objects": [[{"bbox": [4.0, 4.0, 16.0, 16.0], "category": "cat"}]] * 3,
    })  # fmt: skip
    sink = pa.BufferOutputStream()
    if name == "parquet":
        pq.write_table(table, sink)
    else:
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
    return sink.getvalue().to_pybytes()


def _tar(kit):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "0.tar"
        kit.write_tar(
            path, [("a.jpg", kit.encoded(kit.pixels(0))), ("a.txt", b"a cat"), ("b.jpg", kit.encoded(kit.pixels(1)))]
        )
        return path.read_bytes()


BYTES = {
    "CSV": (csv, lambda _kit: b'file_name,caption\na.jpg,"a cat, sitting"\nb.jpg,a dog\nc.jpg,caf\xc3\xa9\n'),
    "TSV": (tsv, lambda _kit: b"image\tcaption\na.jpg\ta cat\nb.jpg\ta dog\n"),
    "COCO": (coco_bytes, lambda _kit: json.dumps(COCO).encode()),
    "tar": (tar_bytes, _tar),
    "parquet": (rows_bytes("a.parquet"), lambda kit: _rows(kit, "parquet")),
    "Arrow": (rows_bytes("a.arrow"), lambda kit: _rows(kit, "arrow")),
    "image": (image_bytes, lambda kit: kit.encoded(kit.pixels(9), quality=30)),
    "Pascal VOC": (voc, lambda _kit: VOC.encode()),
    "YOLO": (yolo, lambda _kit: YOLO.encode()),
}


def _json(kit, name, how):
    run, base = JSON[name]
    how(given(spoilt(base))(lambda value: run(kit, value)))()


def _bytes(kit, name, how):
    run, make = BYTES[name]
    how(given(spoilt_bytes(make(kit)))(lambda data: run(kit, data)))()


@pytest.mark.parametrize("name", JSON)
def test_spoilt_json(kit, name):
    _json(kit, name, QUICK)


@pytest.mark.parametrize("name", BYTES)
def test_spoilt_bytes(kit, name):
    _bytes(kit, name, QUICK)


@pytest.mark.heavy
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", JSON)
def test_spoilt_json_for_long(kit, name):
    _json(kit, name, LONG)


@pytest.mark.heavy
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", BYTES)
def test_spoilt_bytes_for_long(kit, name):
    _bytes(kit, name, LONG)


def test_a_spoilt_value_is_another_one():
    values = []
    settings(max_examples=5, database=None)(given(spoilt(COCO))(lambda value: values.append(value)))()
    assert any(value != COCO for value in values)
