"""The names that a dataset's masks carry: what the classifier is trained on, and what counts as seen later."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own habit
from jaxtyping import Float
from torch import Tensor

from umgclip.data.stream import read_raw
from umgclip.errors import DataError
from umgclip.io import tables
from umgclip.model.clip.prompts import fill_template
from umgclip.model.clip.tower import DenseClip
from umgclip.params.segment import SegmentParams
from umgclip.records import stored_record
from umgclip.segment.targets import Label, label_of

_TEXTS = 256  # texts a forward


def labels_of(dataset: Path) -> list[Label]:
    """Return every label of a region with a mask, things first, sorted; from the dataset's table if it has one.

    Raises:
        DataError: no region of the dataset has both.
    """
    table = dataset / "regions.parquet"
    known = _of_table(table) if table.is_file() else _of_shards(dataset)
    if not known:
        raise DataError(f"{dataset}: expected regions with a mask and a name to learn from, found none")
    return sorted(known, key=lambda label: (label[1], label[0]))


def _of_table(path: Path) -> set[Label]:
    names = ["label", "is_stuff", "has_mask"]
    distinct = tables.read_columns(path, names).group_by(names).aggregate([])
    rows = zip(*(distinct[name].to_pylist() for name in names), strict=True)
    return {(label, is_stuff) for label, is_stuff, has_mask in rows if label is not None and has_mask}


def _of_shards(dataset: Path) -> set[Label]:
    known = set()
    for shard, raw in read_raw(dataset):
        try:
            record = stored_record(raw.json, key=raw.key, where=f"{shard}:{raw.key}")
        except DataError:
            continue  # the feed meets it again and counts it
        known |= {label for region in record.regions or [] if region.mask and (label := label_of(region))}
    return known


def prompts_of(labels: Sequence[Label], params: SegmentParams) -> list[list[str]]:
    """Return each label in its kind's templates."""
    rows = []
    for name, is_stuff in labels:
        templates = params.stuff_templates if is_stuff else params.thing_templates
        rows.append([fill_template(template, name) for template in templates])
    return rows


@torch.no_grad()
def embed_labels(tower: DenseClip, labels: Sequence[Label], params: SegmentParams) -> Float[Tensor, "t d"]:
    """Embed each label as the L2-normalised mean over its kind's templates, on the tower's device."""
    rows = prompts_of(labels, params)
    texts = list(dict.fromkeys(text for row in rows for text in row))
    device = tower.clip.logit_scale.device
    embed: Callable[[list[str]], Tensor] = lambda part: tower.encode_text(tower.tokenizer(part).to(device))  # noqa: E731
    embedded = torch.cat([embed(texts[i : i + _TEXTS]) for i in range(0, len(texts), _TEXTS)])
    row_of = {text: number for number, text in enumerate(texts)}
    means = [embedded[[row_of[text] for text in row]].mean(dim=0) for row in rows]
    return F.normalize(torch.stack(means), dim=-1)


def aliases(tower: DenseClip, labels: Sequence[Label], params: SegmentParams) -> dict[Label, Label]:
    """Map each label to the first of its kind with the same tokens: as two classes they would compete."""
    first: dict[tuple[bytes, bool], Label] = {}
    known = {}
    for name, is_stuff in labels:
        template = (params.stuff_templates if is_stuff else params.thing_templates)[0]
        tokens = tower.tokenizer([fill_template(template, name)])[0].numpy().tobytes()
        known[name, is_stuff] = first.setdefault((tokens, is_stuff), (name, is_stuff))
    return known
