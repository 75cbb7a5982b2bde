"""What every section of `params.yaml` is made of."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from umgclip.errors import InputError

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Weight = Annotated[float, Field(ge=0.0)]
Positive = Annotated[float, Field(gt=0.0)]
Count = Annotated[int, Field(gt=0)]
BoxShare = Annotated[
    float, Field(gt=0.0, le=1.0, description="of a box's sides, about its middle: what is read of it; 1: all")
]
Device = Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="auto: a GPU where there is one")]
Precision = Literal["auto", "fp32", "bf16", "fp16"]
Template = Annotated[str, Field(pattern=r"\{\}", description="class prompt: {} is the name, {a} its article")]

BOX_SHARE = 0.7
"""How boxes are read unless somebody says otherwise; `docs/results.md` has what was tried."""
TEMPLATE = "{a} {}"
"""The prompt around a label unless somebody says otherwise."""


class Section(BaseModel):
    """Base of all sections: frozen and closed."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class LearningParams(Section):
    """What `train` and `segment` share; what has no default here has one in each."""

    seed: int = 0
    image_px: Count | None = Field(default=None, description="side of the canvas; null: the model's own")
    resize: Literal["squash", "pad"] = Field(default="squash", description="pad keeps the aspect")
    batch: Count = Field(description="images a step, of all processes and micro-batches together")
    steps: Count
    lr_peak: Positive | Literal["auto"]
    warmup_share: Share = 0.05
    weight_decay: Weight
    grad_clip: Positive = Field(description="largest norm of all gradients together")
    min_window: Share = Field(description="least side of the random part of an image, of its own side")
    relight: Share = Field(description="largest relative change of contrast")
    mirror_share: Share = Field(
        default=0.5, description="of the images, shown mirrored; one whose texts say left or right never is"
    )
    max_failed: Share = Field(default=0.01, description="share of samples that may be unreadable before the run stops")
    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="auto: a GPU where there is one")
    checkpoint_every: Count = Field(default=100, description="steps")

    @property
    def rate(self) -> float:
        """The peak of the learning rate.

        Raises:
            InputError: it is `auto` still; the stage replaces that once it knows the base.
        """
        if isinstance(self.lr_peak, str):
            raise InputError(f"lr_peak: expected a number, got {self.lr_peak}; see umgclip.train.defaults.resolved")
        return self.lr_peak
