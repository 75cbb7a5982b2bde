"""The bases of the parameters of all annotator kinds, and the types that kinds share."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, model_validator

from umgclip.params.section import FILE, INDIFFERENT, Count, Device, Precision, Section


def no_blank_names(names: str | list[str]) -> str | list[str]:
    """Check that each name of a list has a visible character.

    Raises:
        ValueError: one is blank.
    """
    for name in names if isinstance(names, list) else []:
        if not any(letter.isprintable() and not letter.isspace() for letter in name):
            raise ValueError(f"expected names, got {name!r}, which is blank")
    return names


Queries = Annotated[
    Literal["caption", "vocabulary"] | list[str],
    AfterValidator(no_blank_names),
    Field(description="queries: the concepts of the caption (all if it names none), all concepts, or a list"),
]
_COMMIT = r"^[0-9a-f]{40}$"


class AnnotatorParams(Section):
    """The base of the parameters of all kinds, each of which has a field `kind`."""

    ROLES: ClassVar[tuple[str, ...]] = ()
    """The roles of `annotate.roles` that the kind may fill."""


class WeightsParams(AnnotatorParams):
    """The weights of a model, and the device, precision and batch with which it runs."""

    id: str | None = Field(default=None, description="repository on the Hugging Face hub, with `revision`")
    revision: str | None = Field(default=None, pattern=_COMMIT, description="full commit hash of `id`")
    path: Annotated[str | None, FILE, INDIFFERENT] = Field(  # the files decide, not their path
        default=None, description="local folder written by save_pretrained, instead of `id`"
    )
    device: Device = "auto"
    dtype: Precision = Field(
        default="auto", description="auto: fp32 on a CPU, bf16 on a GPU that supports it, fp16 on other GPUs"
    )
    batch: Count = Field(default=8, description="images, crops or texts in a forward pass; halved when memory runs out")

    @model_validator(mode="after")
    def _weights_are_pinned(self) -> WeightsParams:
        if (self.path is None) == (self.id is None):
            raise ValueError(f"expected either path, or id with revision, got id={self.id!r} and path={self.path!r}")
        if self.id is not None and self.revision is None:
            raise ValueError(f"expected revision, the full commit hash of {self.id!r}, got none")
        return self
