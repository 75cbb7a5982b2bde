"""The files of a repository in the hub: open_clip's, transformers' where its classes allow it, and the model card."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from umgclip.errors import InputError
from umgclip.inference.export.open_clip_folder import write_open_clip
from umgclip.inference.hub.card import README, CardSettings, model_readme
from umgclip.inference.hub.origin import ModelOrigin, write_origin
from umgclip.io.atomic import write_bytes, write_json
from umgclip.io.json_file import read_object
from umgclip.model.clip.building import is_plain
from umgclip.model.clip.layout import CONFIG
from umgclip.model.clip.tower import DenseClip
from umgclip.model.clip.usage import Usage, write_usage

_NAME = "umgclip-export"


@dataclass(frozen=True)
class Publication:
    """The publisher's own statements about a model.

    Attributes:
        repo: `USER/NAME`; None for a folder.
        transformers: True: also files for transformers, or an error; False: none; None: where it is possible.
        licence: the hub's identifier of a licence; None: as base and data say.
        datasets: names of the training data in the hub.
        card: text of README.md; None: written from what is known.
    """

    repo: str | None = None
    transformers: bool | None = None
    licence: str | None = None
    datasets: Sequence[str] = ()
    card: str | None = None


@dataclass(frozen=True)
class WrittenRepository:
    """The weights that were written, and the files for transformers.

    Attributes:
        transformers_class: transformers' class; None: there are no files for it.
        why_not: why there are none.
        sha256: of the weights.
    """

    transformers_class: str | None
    why_not: str
    sha256: str


def write_repository(
    tower: DenseClip, usage: Usage, origin: ModelOrigin, publication: Publication, folder: Path
) -> WrittenRepository:
    """Write all files of a model into an existing, empty folder.

    Args:
        tower: the model, with its adapter merged in.
        usage: how images and labels reach it.
        origin: what is known of its making.
        publication: what its publisher says.
        folder: the folder.

    Raises:
        InputError: the model cannot be written, or not for transformers where that was asked for.
        OutputError: what transformers makes of it differs.
    """
    name = str(origin.base.get("model") or _NAME)
    registered, digest = write_open_clip(tower, usage, name, folder)
    (folder / f"{registered}.json").unlink(missing_ok=True)  # for open_clip's list of models, which nobody needs here
    if publication.repo is not None:
        _point_tokenizer(folder / CONFIG, publication.repo)
    model_class, why_not = _for_transformers(tower, usage, publication.transformers, folder)
    write_usage(folder, tower, usage, digest)  # beside both, with the hash of open_clip's
    write_origin(folder, origin)
    card = publication.card
    if card is None:
        card = model_readme(origin, _card_settings(tower, usage, origin, publication, (model_class, why_not)))
    write_bytes(folder / README, card.encode("utf-8"))
    return WrittenRepository(model_class, why_not, digest)


def _point_tokenizer(config: Path, repo: str) -> None:
    """Have open_clip fetch a tokenizer from the model's own repository, as its config names one in the hub."""
    content = read_object(config)
    text_cfg = content["model_cfg"]["text_cfg"]
    if text_cfg.get("hf_tokenizer_name"):
        text_cfg["hf_tokenizer_name"] = repo
        write_json(config, content)


def _for_transformers(tower: DenseClip, usage: Usage, wanted: bool | None, folder: Path) -> tuple[str | None, str]:
    """Write the files for transformers; return its class, or why there are none."""
    if wanted is False:
        return None, ""
    from umgclip.inference.export.transformers_folder import write_transformers

    try:
        return write_transformers(tower, usage, folder).model_class, ""
    except InputError as error:
        if wanted:
            raise
        return None, str(error).removeprefix("--to transformers: ").partition("; ")[0]


def _card_settings(
    tower: DenseClip, usage: Usage, origin: ModelOrigin, publication: Publication, theirs: tuple[str | None, str]
) -> CardSettings:
    height, width = tower.image_hw
    config = getattr(tower.clip, "umgclip_config", None) or {}
    name = str(origin.base.get("model") or config.get("vision_cfg", {}).get("timm_model_name") or "CLIP")
    images = usage.preprocess
    return CardSettings(
        repo=publication.repo,
        tower=f"{name}, {width} x {height} px, {tower.embed_dim} dimensions",
        template=usage.template,
        image=f"{width} x {height} px by {images.fit}, {images.interpolation}",
        plain=bool(config) and is_plain(config),
        transformers_class=theirs[0],
        why_not=theirs[1],
        pairwise=tower.pairwise,
        licence=publication.licence,
        datasets=publication.datasets,
        base_model=_base_in_hub(origin),
    )


def _base_in_hub(origin: ModelOrigin) -> str | None:
    """Return the hub's name of a base that open_clip fetches from there."""
    from umgclip.model.clip.light_open_clip import open_clip

    model, tag = (str(origin.base.get(key) or "") for key in ("model", "pretrained"))
    config = open_clip.get_pretrained_cfg(model, tag) or {}
    return str(config.get("hf_hub") or "").strip("/") or None
