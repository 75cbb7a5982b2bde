"""A model's preprocessing and prompt, as a file beside its weights that every export carries."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from umgclip.errors import DataError
from umgclip.io.atomic import write_json
from umgclip.io.json_file import read_object
from umgclip.model.clip.clustered import KEY
from umgclip.model.clip.integrity import SHA256
from umgclip.model.clip.layout import USAGE
from umgclip.model.clip.preprocess import FITS, Preprocess
from umgclip.model.clip.tower import DenseClip
from umgclip.model.clip.vision.clustering import clustering_of
from umgclip.model.clip.vision.reach import REACH, reach_of
from umgclip.params.section import BOX_SHARE, TEMPLATE


@dataclass(frozen=True)
class Usage:
    """The preprocessing, prompt and box share of a model.

    Attributes:
        preprocess: how images are made ready.
        template: prompt around a label: `{}` is the label, `{a}` its article.
        box_share: what is read of a box, of its sides about its middle.
    """

    preprocess: Preprocess
    template: str = TEMPLATE
    box_share: float = BOX_SHARE


def described(tower: DenseClip, usage: Usage) -> dict[str, Any]:
    """Everything that another program has to know to get the same numbers; docs/models.md says what each key is."""
    bias, preprocess = tower.logit_bias(), usage.preprocess
    size, clustering = tower.image_hw, clustering_of(tower.clip.visual)
    return {
        "resize": preprocess.fit,
        "interpolation": preprocess.interpolation,
        "antialias": True,
        "mean": list(preprocess.mean),
        "std": list(preprocess.std),
        "fill": preprocess.fill,
        "image_size_hw": list(size),
        "cell_hw_px": list(tower.patch_px),
        REACH: reach_of(tower.clip.visual),
        "template": usage.template,
        "box_share": usage.box_share,
        "context_length": tower.context_length,
        "tokenizer": tower.tokenizer.name,
        "embed_dim": tower.embed_dim,
        "pairwise": tower.pairwise,
        "logit_scale": float(tower.logit_scale().detach()),
        "logit_bias": None if bias is None else float(bias.detach()),
        KEY: None if clustering is None else clustering.model_dump(),
        "open_clip_preprocess_cfg": preprocess.for_open_clip(size),
    }


def write_usage(folder: Path, tower: DenseClip, usage: Usage, weights_sha256: str) -> None:
    """Write the file into an existing folder, with the hash of the weights beside it."""
    write_json(folder / USAGE, described(tower, usage) | {SHA256: weights_sha256})


def read_usage(folder: Path) -> Usage | None:
    """Read the usage file of a folder; None where there is none.

    Raises:
        DataError: a value is none of those that there are; names the key.
    """
    path = folder / USAGE
    if not path.is_file():
        return None
    content = read_object(path)
    fit, template, share = (content.get(key) for key in ("resize", "template", "box_share"))
    if fit not in FITS:
        raise DataError(f"{path}: resize: expected one of {', '.join(FITS)}, got {fit!r}")
    if not isinstance(template, str) or "{}" not in template:
        raise DataError(f"{path}: template: expected a text with {{}} where the label goes, got {template!r}")
    if not isinstance(share, int | float) or not 0 < share <= 1:
        raise DataError(f"{path}: box_share: expected more than 0 and at most 1, got {share!r}")
    names = {"resize_mode": "resize", "interpolation": "interpolation", "mean": "mean", "std": "std"}
    given = {key: content.get(name) for key, name in names.items()} | {"fill_color": content.get("fill")}
    return Usage(Preprocess.of(given), template, float(share))
