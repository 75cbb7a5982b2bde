"""Stage `segment`: train the decoder on annotated masks; writes a folder that `evaluate` takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from umgclip.io.atomic import fresh_folder, sha256_file, write_bytes, write_json
from umgclip.io.manifest import Manifest, read_manifest
from umgclip.learning.checkpoint import Checkpoints
from umgclip.learning.counts import of_texts, rows_of
from umgclip.learning.curves import Curves
from umgclip.learning.quarantine import read_dropped, write_unreadable
from umgclip.learning.run_identity import flatten, libraries
from umgclip.learning.world import choose_device
from umgclip.model.segmenter import files
from umgclip.model.segmenter.network import Segmenter
from umgclip.params.segment import SegmentParams
from umgclip.provenance import code_digest
from umgclip.segment.feed import SegmentFeed
from umgclip.segment.labels import aliases, embed_labels, labels_of, prompts_of
from umgclip.segment.loop import SegmentResult, train
from umgclip.segment.targets import Canvas, Label
from umgclip.stage import Summary, begin


@dataclass(frozen=True)
class SegmentInputs:
    """Paths read: annotated shards, validation's quarantine, the base, the folder that `train` wrote.

    Written in addition to the output: `work` holds the checkpoint, `metrics` the last losses, `plots` the curves.
    """

    annotations: Path
    quarantine: Path
    base: Path
    tuned: Path
    work: Path
    metrics: Path
    plots: Path


def run(
    params: SegmentParams,
    inputs: SegmentInputs,
    out: Path,
    *,
    report: Callable[[int, dict[str, float]], None] = lambda _step, _values: None,
    discard: bool = False,
) -> Summary:
    """Train the decoder; a killed run resumes from its last checkpoint and ends with the same weights.

    Args:
        params: the section `segment`.
        inputs: paths.
        out: the folder to make.
        report: called with every step's number and values.
        discard: start again and ignore any checkpoint.

    Raises:
        DataError: inputs are missing or damaged, too many samples are unreadable, or no mask has a name.
        InputError: a checkpoint belongs to another run (the message names the difference), or transformers is missing.
        UmgclipError: the loss is no longer a number.
        OutputError: `out` cannot be written.
    """
    begin("loading the tuned tower and the annotations")
    device = choose_device(params.device)
    manifest, dropped = read_manifest(inputs.annotations), read_dropped(inputs.quarantine)
    hashes = files.hashes(inputs.base, inputs.tuned)
    labels = labels_of(inputs.annotations)
    description = _description(params, labels, hashes)
    segmenter = files.build(inputs.base, inputs.tuned, description, params.seed).to_device(device)
    canvas = Canvas.of(params, segmenter.tower)
    description = description.model_copy(update={"image_px": canvas.image_px})
    belongs_to = _belongs_to(params, inputs, manifest, hashes)
    checkpoints = Checkpoints(inputs.work / "checkpoint.pt", belongs_to, stage="segment")
    curves = Curves(inputs.work / "curves.csv", belongs_to)
    if discard:
        checkpoints.remove()

    def both(step: int, values: dict[str, float]) -> None:
        curves.add(step, values)
        report(step, values)

    alike = aliases(segmenter.tower, labels, params)
    feed = SegmentFeed(params, inputs.annotations, dropped, canvas, alike)
    texts = embed_labels(segmenter.tower, list(dict.fromkeys(alike.values())), params)
    begin("training")
    trained = train(segmenter, feed, texts, params, checkpoints, both)
    begin("writing the decoder")
    with fresh_folder(out) as folder:
        files.save(folder, segmenter, description)
        write_unreadable(folder, trained.failed, "segment")
    write_bytes(inputs.plots, curves.text().encode())
    write_json(inputs.metrics, {name: round(value, 6) for name, value in trained.values.items()})
    checkpoints.remove()
    curves.remove()
    return _summary(params, trained, manifest.samples, labels, segmenter)


def _description(params: SegmentParams, labels: list[Label], hashes: dict[str, str]) -> files.Description:
    return files.Description(
        decoder=params.decoder,
        adapter=params.adapter,
        adapter_rank=params.adapter_rank,
        image_px=params.image_px or 0,
        resize=params.resize,
        things=[name for name, is_stuff in labels if not is_stuff],
        stuff=[name for name, is_stuff in labels if is_stuff],
        **hashes,
    )


def _belongs_to(
    params: SegmentParams, inputs: SegmentInputs, manifest: Manifest, hashes: dict[str, str]
) -> dict[str, object]:
    return {
        "params": flatten({"segment": params.decisive()}),
        "data": manifest.digest(),
        "quarantine": sha256_file(inputs.quarantine),
        **hashes,
        "code": code_digest("umgclip.segment.stage"),
        "libraries": libraries("transformers", "scipy"),
    }


def _summary(
    params: SegmentParams, trained: SegmentResult, samples: int, labels: list[Label], segmenter: Segmenter
) -> Summary:
    frozen = sum(p.numel() for p in segmenter.tower.parameters())
    learned = sum(p.numel() for p in segmenter.learned().values())
    unreadable = (("unreadable images", str(len(trained.failed))),) if trained.failed else ()
    rows = (
        ("steps, batch", f"{params.steps}, {params.batch}"),
        ("images", str(samples)),
        *unreadable,
        *rows_of(of_texts((text for row in prompts_of(labels, params) for text in row), segmenter.tower.tokenizer)),
        *rows_of(trained.seen),
        ("names of things, stuff", f"{sum(not s for _, s in labels)}, {sum(s for _, s in labels)}"),
        ("parameters trained, frozen", f"{learned:,}, {frozen:,}"),
        *((f"last {name}", f"{value:.3f}") for name, value in trained.values.items()),
    )
    return Summary("segment", rows)
