"""The model card: what the model is for, what it was made of, what it scores, where it ends."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from itertools import islice
from pathlib import Path

from umgclip.io.shards import read_shard
from umgclip.manifest import read_manifest
from umgclip.params import RegisterParams
from umgclip.records import parse_record
from umgclip.register.gates import Evidence
from umgclip.register.identity import Identity

_SHARDS, _SAMPLES = 16, 32

_CARD = """# {name}

A CLIP (Radford et al., ICML 2021) tuned with LoRA adapters so that one forward gives embeddings of the whole image,
of boxes and of pixels, all comparable with text, after UMG-CLIP (Shi et al., ECCV 2024).

## Intended use

Ranking texts for images and regions, retrieval, open-vocabulary labelling of given boxes or masks. Research and
demonstration of the pipeline that made it.

## Limits

- It knows what its base and its training data show. A model trained on the composed demo scenes knows those sprites
  and says nothing useful about photographs.
- Region and pixel labels in training were written by models, not people, and hold mistakes.
- Scores are a softmax over the labels asked for: some label always wins, also when none fits. They are not calibrated.
- Images are squeezed to a square; very long ones lose detail. Only short English texts were seen.
- Not for deciding about people, and not where a wrong label does harm.

## Data and licences

{data}

A model made from share-alike data (CC BY-SA 4.0: the OpenMoji pictures of the demo data, credit "OpenMoji, the
open-source emoji and icon project") is best passed on with that credit and under the same terms. The base's own
licence applies as well.

## Numbers

Benchmark `{benchmark}`, shares of 1, base and tuned model by the same protocol.

{numbers}

## Identity

| what | hash |
|---|---|
{identity}
"""


def model_card(params: RegisterParams, evidence: Evidence, identity: Identity, data: Path) -> str:
    """The card as Markdown.

    Args:
        params: the section `register`.
        evidence: the numbers.
        identity: the hashes.
        data: folder with the datasets `train` and `benchmark`.

    Raises:
        DataError: a dataset is damaged.
    """
    return _CARD.format(
        name=params.name,
        data="\n".join(_describe(data / part, part) for part in ("train", "benchmark")),
        benchmark=identity.benchmark_digest[:12],
        numbers=_table(evidence.base, evidence.tuned),
        identity="\n".join(f"| {name} | `{value}` |" for name, value in vars(identity).items()),
    )


def _describe(folder: Path, name: str) -> str:
    """Sources and licences that the first records of the first shards name; reading all could take hours."""
    manifest = read_manifest(folder)
    seen: Counter[tuple[str, str]] = Counter()
    for shard in manifest.shards[:_SHARDS]:
        path = folder / shard.path
        for sample in islice(read_shard(path), _SAMPLES):
            source = parse_record(sample.json, where=f"{path}:{sample.key}").source
            seen[source.dataset, source.license or "not stated"] += 1
    listed = "; ".join(f"{dataset}: {licence}" for dataset, licence in sorted(seen))
    return f"- {name}: {manifest.samples} images. In the {seen.total()} records looked at: {listed}."


def _table(base: Mapping[str, float], tuned: Mapping[str, float]) -> str:
    rows = [f"| {name} | {_cell(base.get(name))} | {_cell(tuned.get(name))} |" for name in sorted({*base, *tuned})]
    return "\n".join(["| metric | base | tuned |", "|---|---|---|", *rows])


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
