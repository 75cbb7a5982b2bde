"""Write true annotations of the demo's training images, which the pipeline never sees.

The training split has images and alt texts only. Here its scenes are generated again, identical image by image, and
their true regions replace the annotator's. Captions, tags and images stay: only the regions and their names differ. As
in the pipeline, regions of held-out classes have no name.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from umgclip.annotate.models.clip_teacher import ClipTeacher
from umgclip.annotate.proposal import Proposal
from umgclip.data.stream import Sample, decode
from umgclip.data.vocabulary import Vocabulary
from umgclip.errors import DataError
from umgclip.geometry import masks as mask_ops
from umgclip.io.atomic import fresh_folder
from umgclip.io.images import encode_jpeg
from umgclip.io.manifest import Manifest, describe_shard, read_manifest, write_manifest
from umgclip.io.shards import RawSample, ShardWriter, read_shard
from umgclip.model.clip import files
from umgclip.model.clip.tower import DenseClip
from umgclip.params import AnnotateParams, DataParams
from umgclip.records import Region
from umgclip.sources.demo.scenes import training_scene, true_regions


def write_truth(annotated: Path, base: Path, sections: tuple[DataParams, AnnotateParams], out: Path) -> None:
    """Write the annotated training dataset again, with true regions.

    Args:
        annotated: output of `annotate`: a folder with `train` and `vocabulary.json`.
        base: the base, whose embeddings of the true regions are the targets of distillation.
        sections: `data`, which generated the images, and `annotate`.
        out: folder of the dataset to create.

    Raises:
        DataError: the images are not those that `data` generates.
    """
    data, annotate = sections
    manifest = read_manifest(annotated / "train")
    vocabulary = json.loads((annotated / "vocabulary.json").read_text(encoding="utf-8"))
    words = Vocabulary(**{name: tuple(vocabulary[name]) for name in ("things", "stuff", "held_out")})
    teacher = ClipTeacher(DenseClip(files.load(base)[0]).eval(), "base", words, annotate.label)
    truth = dict(_truth(data, frozenset(annotate.held_out)))
    shards = []
    with fresh_folder(out) as folder:
        for shard in manifest.shards:
            source = annotated / "train" / shard.path
            writer = ShardWriter(folder / shard.path)
            for raw in read_shard(source):
                writer.write(_with(raw, truth, teacher, str(source)))
            writer.close()
            shards.append(describe_shard(folder / shard.path, writer.samples))
        write_manifest(folder, Manifest(made_by=manifest.made_by, shards=shards, notes={"regions": "true"}))


def _truth(params: DataParams, held_out: frozenset[str]) -> Iterator[tuple[str, list[Region]]]:
    """Yield the key and the true regions of every training image."""
    for index in range(params.train_scenes):
        scene = training_scene(params, index)
        key = hashlib.sha256(encode_jpeg(scene.pixels, params.jpeg_quality)).hexdigest()[:16]
        yield key, [_nameless(region, held_out) for region in true_regions(scene)]


def _nameless(region: Region, held_out: frozenset[str]) -> Region:
    hidden = any(tag.text in held_out for tag in region.tags or [])
    return region.model_copy(update={"tags": [], "captions": []}) if hidden else region


def _with(raw: RawSample, truth: dict[str, list[Region]], teacher: ClipTeacher, where: str) -> RawSample:
    sample = decode(raw, where)
    if raw.key not in truth:
        raise DataError(f"{where}:{raw.key}: expected an image that `data` of params.yaml generates, got another")
    regions = truth[raw.key]
    buffer = io.BytesIO()
    np.save(buffer, _embeddings(raw, sample, regions, teacher), allow_pickle=False)
    record = sample.record.model_copy(update={"regions": regions})
    return RawSample(raw.key, raw.image, raw.extension, record.to_json(), buffer.getvalue())


def _embeddings(raw: RawSample, sample: Sample, regions: list[Region], teacher: ClipTeacher) -> np.ndarray:
    """Return the stored image embedding and the base's embedding of every true region's masked-out crop."""
    stored = np.load(io.BytesIO(raw.embeddings or b""), allow_pickle=False)
    proposals = [
        Proposal.of_mask(mask_ops.decode(region.mask), 1.0, region.is_stuff) for region in regions if region.mask
    ]
    (proposals,) = teacher.embed_regions([sample.pixels], [proposals])
    embedded = [proposal.embedding for proposal in proposals if proposal.embedding is not None]
    return np.stack([stored[0], *embedded]).astype(np.float16)
