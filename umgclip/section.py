"""What every section of `params.yaml` is made of."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Weight = Annotated[float, Field(ge=0.0)]
Count = Annotated[int, Field(gt=0)]
Template = Annotated[str, Field(pattern=r"\{\}", description="class prompt: {} is the name, {a} its article")]


class Section(BaseModel):
    """Base of all sections: frozen and closed."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
