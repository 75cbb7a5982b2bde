"""Export as WebDataset: tars in img2dataset's layout."""

from __future__ import annotations

from pathlib import Path

from umgclip.io.atomic import replaced_folder
from umgclip.io.manifest import Manifest, describe_shard, write_manifest
from umgclip.io.places import Place
from umgclip.io.shard_source import ShardAt
from umgclip.io.shards import RawSample, ShardWriter
from umgclip.records import stored_record
from umgclip.sources.exporting.samples import Advance
from umgclip.stage import Summary


def to_webdataset(dataset: Place, manifest: Manifest, out: Path, advance: Advance) -> Summary:
    """Write tars `00000.tar` and so on with `KEY.jpg`, `KEY.txt` (first caption) and `KEY.json` (whole record).

    A manifest with the classes is written beside the tars, so that an import of them loses nothing.

    Raises:
        DataError: a shard is damaged.
        OutputError: `out` cannot be written.
    """
    with replaced_folder(out, "webdataset export") as folder:
        shards = []
        for number, info in enumerate(manifest.shards):
            path = folder / f"{number:05d}.tar"
            writer = ShardWriter(path)
            for raw in ShardAt(dataset, info).samples():
                captions = stored_record(raw.json, key=raw.key, where=f"{info.path}:{raw.key}").captions or []
                text = captions[0].text.encode() if captions else b""
                writer.write(RawSample(raw.key, raw.image, raw.extension, raw.json), {"txt": text})
            writer.close()
            shards.append(describe_shard(path, writer.samples))
            advance(writer.samples)
        write_manifest(folder, manifest.model_copy(update={"shards": shards}))
    return Summary(f"data export: {out}", (("tars", str(len(shards))), ("images", str(manifest.samples))))
