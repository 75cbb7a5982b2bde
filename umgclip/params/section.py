"""The base of all sections of `params.yaml`, and the types and marks of their fields."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Set
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from umgclip.errors import InputError

INDIFFERENT = "of no effect on the result"
"""Marks a key for the place, speed or patience of the work. Every key without this mark decides the result."""

# A key with one of the next four marks decides the result of its stage, so DVC follows it. Code that identifies only
# a part of the result leaves such keys out by `Section.decisive(MARK)`.
LOCATION = "says where something lies, but decides nothing in it"
"""Marks a key that changes where outputs are written or inputs are read, but not their content."""
VIA_STREAMS = "decides the order of samples only through the number of streams"
"""Marks a key that a checkpoint need not know, because it records the number of streams that follows from the key."""
BESIDE_SCORES = "decides what is written beside the scores, but no score"
"""Marks a key that is no part of a protocol: scores are comparable whatever its value is."""
IMPORTS_ONLY = "decides what an import writes, but nothing in the demo"
"""Marks a key that is no part of the identity of the demo dataset."""

NEWER = "is part of a protocol only if its value is not the default"
"""Marks a key that protocols of earlier versions lack. They stay comparable, since they mean its default."""

FILE = "names a file or folder"
"""Marks a key whose value may name a file or a folder, whose content decides the result."""

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Weight = Annotated[float, Field(ge=0.0)]
Positive = Annotated[float, Field(gt=0.0)]
Count = Annotated[int, Field(gt=0)]
Seed = Annotated[int, Field(ge=0, lt=1 << 63)]
BoxShare = Annotated[
    float, Field(gt=0.0, le=1.0, description="part of a box that is read: share of its sides about its centre; 1: all")
]
Device = Annotated[
    str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="auto: a GPU if there is one"), INDIFFERENT
]
Precision = Literal["auto", "fp32", "bf16", "fp16"]
Template = Annotated[str, Field(pattern=r"\{\}", description="class prompt: {} is the name, {a} its article")]

BOX_SHARE = 0.7
"""The default of `box_share`; `docs/results.md` has the values that were tried."""
TEMPLATE = "{a} {}"
"""The default prompt around a label."""


class Section(BaseModel):
    """The base of all sections: frozen, and closed to unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    def decisive(self, *marks: str, unread: Iterable[str] = ()) -> dict[str, Any]:
        """Return the values that decide the result: all but those marked as `INDIFFERENT`, on every level.

        Args:
            marks: leave out keys with one of these marks as well, on every level.
            unread: leave out these keys of the first level as well: the caller does not read them.
        """
        excluded = _excluded(self, {INDIFFERENT, *marks})
        return self.model_dump(exclude={**excluded, **dict.fromkeys(unread, True)})

    def at_default(self, mark: str) -> set[str]:
        """Return the keys of the first level that have this mark and their default value."""
        fields = type(self).model_fields.items()
        return {name for name, field in fields if mark in field.metadata and getattr(self, name) == field.get_default()}

    @classmethod
    def deciding_keys(cls) -> list[str]:
        """Return the dotted keys that decide the result; a key stands for all keys below it if all of them decide.

        A mapping whose keys are chosen by users, such as `annotate.models`, is one key.
        """
        keys: list[str] = []
        for name, field in cls.model_fields.items():
            if INDIFFERENT in field.metadata:
                continue
            inner = field.annotation
            whole = not (isinstance(inner, type) and issubclass(inner, Section)) or inner.all_decide()
            keys += [name] if whole else [f"{name}.{key}" for key in inner.deciding_keys()]  # type: ignore[union-attr]
        return keys

    @classmethod
    def all_decide(cls) -> bool:
        """Check that no key on any level is marked as `INDIFFERENT`."""
        return cls.deciding_keys() == list(cls.model_fields)

    def named_files(self) -> Iterator[tuple[str, str]]:
        """Yield the dotted keys marked as `FILE`, with the path in each."""
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            if FILE in field.metadata and value is not None:
                yield name, value
            inner = value if isinstance(value, Mapping) else {"": value}
            for key, one in inner.items():
                if isinstance(one, Section):
                    at = f"{name}.{key}" if key else name
                    yield from ((f"{at}.{below}", path) for below, path in one.named_files())


def _excluded(section: Section, marks: Set[str]) -> dict[str, Any]:
    """Return the keys with one of the marks, nested as pydantic's `model_dump(exclude=...)` takes them."""
    excluded: dict[str, Any] = {}
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if any(mark in field.metadata for mark in marks):
            excluded[name] = True
        elif isinstance(value, Section):
            excluded[name] = _excluded(value, marks)
        elif isinstance(value, Mapping):
            excluded[name] = {key: _excluded(one, marks) for key, one in value.items() if isinstance(one, Section)}
    return {name: keys for name, keys in excluded.items() if keys}


class LearningParams(Section):
    """The parameters that `train` and `segment` share; each of them sets the defaults that are missing here."""

    seed: Seed = 0
    image_px: Count | None = Field(default=None, description="side of the canvas; null: the model's")
    resize: Literal["squash", "pad"] = Field(default="squash", description="pad keeps the aspect")
    batch: Count = Field(description="images in a step, over all processes and micro-batches")
    steps: Count
    lr_peak: Positive | Literal["auto"]
    warmup_share: Share = 0.05
    schedule: Literal["cosine", "constant"] = Field(
        default="cosine", description="of the learning rate after the warm-up: to 0, or at its peak"
    )
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
        default="auto", description="auto: a GPU if there is one"
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
