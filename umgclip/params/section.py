"""The base of all sections of `params.yaml`, and the types and marks of their fields."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from umgclip.errors import InputError

INDIFFERENT = "of no effect on the result"
"""Marks a key that says where, how fast or how patiently work is done. All others decide, also those to come."""

FILE = "names a file or folder"
"""Marks a key whose value may name a file or a folder, whose content decides the result."""

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Weight = Annotated[float, Field(ge=0.0)]
Positive = Annotated[float, Field(gt=0.0)]
Count = Annotated[int, Field(gt=0)]
BoxShare = Annotated[
    float, Field(gt=0.0, le=1.0, description="part of a box that is read: share of its sides about its centre; 1: all")
]
Device = Annotated[
    str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="auto: a GPU where there is one"), INDIFFERENT
]
Precision = Literal["auto", "fp32", "bf16", "fp16"]
Template = Annotated[str, Field(pattern=r"\{\}", description="class prompt: {} is the name, {a} its article")]

BOX_SHARE = 0.7
"""The default of `box_share`; `docs/results.md` has the values that were tried."""
TEMPLATE = "{a} {}"
"""The default prompt around a label."""


class Section(BaseModel):
    """Base of all sections: frozen and closed."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    def decisive(self, *less: str) -> dict[str, Any]:
        """The values that decide the result: all but those marked as `INDIFFERENT`, on every level.

        Args:
            less: keys of the first level to leave out as well.
        """
        return self.model_dump(exclude={**_left_out(self), **dict.fromkeys(less, True)})

    @classmethod
    def deciding_keys(cls) -> list[str]:
        """Dotted keys that decide the result; a key stands for all below it where all of them do.

        What lies under names that are free, as in a mapping of models, is one key.
        """
        found: list[str] = []
        for name, field in cls.model_fields.items():
            if INDIFFERENT in field.metadata:
                continue
            inner = field.annotation
            whole = not (isinstance(inner, type) and issubclass(inner, Section)) or inner.all_decide()
            found += [name] if whole else [f"{name}.{key}" for key in inner.deciding_keys()]  # type: ignore[union-attr]
        return found

    @classmethod
    def all_decide(cls) -> bool:
        """Whether no key on any level is marked as `INDIFFERENT`."""
        return cls.deciding_keys() == list(cls.model_fields)

    def named_files(self) -> Iterator[tuple[str, str]]:
        """Dotted keys marked as `FILE`, with the text that each of them has."""
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            if FILE in field.metadata and value is not None:
                yield name, value
            inner = value if isinstance(value, Mapping) else {"": value}
            for key, one in inner.items():
                if isinstance(one, Section):
                    at = f"{name}.{key}" if key else name
                    yield from ((f"{at}.{below}", path) for below, path in one.named_files())


def _left_out(section: Section) -> dict[str, Any]:
    """What pydantic has to leave out of a dump so that only what decides stays."""
    left_out: dict[str, Any] = {}
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if INDIFFERENT in field.metadata:
            left_out[name] = True
        elif isinstance(value, Section):
            left_out[name] = _left_out(value)
        elif isinstance(value, Mapping):
            left_out[name] = {key: _left_out(one) for key, one in value.items() if isinstance(one, Section)}
    return {name: what for name, what in left_out.items() if what}


class LearningParams(Section):
    """The parameters that `train` and `segment` share; each of them sets the defaults that are missing here."""

    seed: int = 0
    image_px: Count | None = Field(default=None, description="side of the canvas; null: the model's")
    resize: Literal["squash", "pad"] = Field(default="squash", description="pad keeps the aspect")
    batch: Count = Field(description="images in a step, over all processes and micro-batches")
    steps: Count
    lr_peak: Positive | Literal["auto"]
    warmup_share: Share = 0.05
    weight_decay: Weight
    grad_clip: Positive = Field(description="largest norm of all gradients together")
    min_window: Share = Field(description="least side of a random window, as a share of the image's side")
    relight: Share = Field(description="largest relative change of contrast")
    mirror_share: Share = Field(
        default=0.5, description="share of images that are mirrored; an image whose texts say left or right never is"
    )
    max_failed: Annotated[Share, INDIFFERENT] = Field(
        default=0.01, description="largest share of unreadable samples before the run stops"
    )
    device: Annotated[Literal["auto", "cpu", "cuda"], INDIFFERENT] = Field(
        default="auto", description="auto: a GPU where there is one"
    )
    checkpoint_every: Annotated[Count, INDIFFERENT] = Field(default=100, description="steps")

    @property
    def rate(self) -> float:
        """The peak of the learning rate as a number.

        Raises:
            InputError: it is still `auto`, which the stage replaces when it knows the base.
        """
        if isinstance(self.lr_peak, str):
            raise InputError(f"lr_peak: expected a number, got {self.lr_peak}; see umgclip.train.defaults.resolved")
        return self.lr_peak
