"""The sections of `params.yaml` as frozen, closed, typed models: an unknown key or a wrong type ends with its name.

Units are in the names (`_px`, `_s`) or in the field's description.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from umgclip.errors import ParamsError

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Weight = Annotated[float, Field(ge=0.0)]
Count = Annotated[int, Field(gt=0)]


class Section(BaseModel):
    """Base of all sections: frozen and closed."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class DataParams(Section):
    """`data`: the demo data set that `umgclip data demo` composes."""

    seed: int = 0
    image_px: int = Field(default=96, ge=32, description="side of a scene")
    train_scenes: Count = 3600
    single_share: Share = Field(default=0.4, description="share of training scenes with one thing only")
    max_things: int = Field(default=5, ge=2, le=8)
    background_named: Share = Field(default=0.2, description="share of captions that name the background")
    benchmark_scenes: Count = 400
    benchmark_singles: Count = 294
    shard_samples: Count = 500
    jpeg_quality: int = Field(default=95, ge=50, le=100)


class TowerParams(Section):
    """The small open_clip model that `base.pretrained: scratch` trains."""

    image_px: int = 96
    patch_px: int = 12
    width: int = 192
    layers: int = 6
    heads: int = 6
    text_width: int = 192
    text_layers: int = 4
    text_heads: int = 4
    context_length: int = 32
    embed_dim: int = 192


class BaseParams(Section):
    """`base`: the CLIP to start from."""

    seed: int = 0
    pretrained: str = Field(default="scratch", description="scratch | open_clip tag | path of a checkpoint")
    model: str = Field(default="umgclip-tiny", description="open_clip model name; of no effect for scratch")
    tower: TowerParams = TowerParams()
    short_steps: Count = 400
    short_batch: Count = 128
    short_px: Count = 48
    long_steps: Count = 150
    long_batch: Count = 64
    lr_matrix: float = Field(default=3.0e-3, gt=0, description="Muon, for matrices inside blocks")
    lr_other: float = Field(default=1.0e-3, gt=0, description="AdamW, for everything else")
    weight_decay: Weight = 0.05
    tag_weight: Weight = 0.5
    min_concept_count: Count = Field(default=5, description="captions that must hold a chunk to make it a concept")


class LoraParams(Section):
    """Low-rank adapters."""

    rank: Count = 16
    alpha: Count = 32
    dropout: Share = 0.0
    text_tower: bool = True


SECTIONS: dict[str, type[Section]] = {"data": DataParams, "base": BaseParams}
S = TypeVar("S", bound=Section)


def read_params(path: Path) -> dict[str, Any]:
    """All of `params.yaml` as plain values.

    Raises:
        ParamsError: no such file, no YAML, or sections that are not known.
    """
    if not path.is_file():
        raise ParamsError(f"{path}: expected a parameter file, found none; run from the repository's root or --params")
    try:
        with path.open(encoding="utf-8") as handle:
            content = YAML(typ="safe").load(handle)
    except YAMLError as error:
        raise ParamsError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise ParamsError(f"{path}: expected a mapping of sections, got {type(content).__name__}")
    for name in content:
        if name not in SECTIONS:
            raise ParamsError(f"{path}: unknown section {name!r}; expected one of {', '.join(SECTIONS)}")
    return content


def load_section(path: Path, kind: type[S]) -> S:
    """One section of `params.yaml`; every other section is checked too.

    Raises:
        ParamsError: naming the key, what was expected and what came.
    """
    content = read_params(path)
    parsed = {name: _parse(path, name, model, content.get(name)) for name, model in SECTIONS.items()}
    section = parsed[next(name for name, model in SECTIONS.items() if model is kind)]
    assert isinstance(section, kind)  # noqa: S101 - for the type checker
    return section


def _parse(path: Path, name: str, model: type[Section], value: Any) -> Section:  # noqa: ANN401 - what YAML held
    try:
        return model.model_validate({} if value is None else value)
    except ValidationError as error:
        raise ParamsError("\n".join(_explain(path, name, model, e) for e in error.errors())) from error


def _explain(path: Path, name: str, model: type[BaseModel], error: Any) -> str:  # noqa: ANN401 - pydantic's dict
    where = ".".join([name, *(str(part) for part in error["loc"])])
    if error["type"] == "extra_forbidden":
        owner: Any = model
        for part in error["loc"][:-1]:
            owner = owner.model_fields[part].annotation if hasattr(owner, "model_fields") else None
        allowed = ", ".join(sorted(owner.model_fields)) if hasattr(owner, "model_fields") else "?"
        return f"{path}: unknown key {where}; expected one of {allowed}"
    return f"{path}: {where}: {error['msg']}, got {error['input']!r}"


def threads() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


Toggle = Literal["on", "off"]
