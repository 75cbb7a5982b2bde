"""`annotate.ray`: how many workers Ray starts, what each of them takes, and which models have workers of their own."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from umgclip.params.section import Count, Section

Workers = Annotated[
    Count | Annotated[list[Count], Field(min_length=2, max_length=2)],
    Field(description="how many, or [fewest, most] where the cluster grows and shrinks"),
]


class RayPoolParams(Section):
    """Workers of one kind."""

    workers: Workers | None = Field(default=1, description="null: as many as there are processors and GPUs for")
    cpus: float = Field(default=1.0, ge=0, description="processors that one worker takes")
    gpus: float = Field(default=0.0, ge=0, description="GPUs that one worker takes, such as 0.5; with 0 it sees none")

    @model_validator(mode="after")
    def _fewest_then_most(self) -> RayPoolParams:
        if isinstance(self.workers, list) and self.workers[0] > self.workers[1]:
            raise ValueError(f"workers: expected [fewest, most], got {self.workers}")
        if not self.cpus and not self.gpus:
            raise ValueError("cpus, gpus: expected one of them above 0, got 0 and 0")
        return self

    @property
    def fewest(self) -> int:
        """Workers that there have to be."""
        return self.workers[0] if isinstance(self.workers, list) else self.workers or 1


class RayParams(RayPoolParams):
    """`annotate.ray`: of no effect on the result."""

    workers: Workers | None = Field(default=None, description="null: as many as there are processors and GPUs for")
    address: str | None = Field(default=None, description="of a cluster; null: RAY_ADDRESS, or this machine alone")
    start_timeout_s: float = Field(default=600.0, gt=0, description="for workers to get what they ask for")
    pools: dict[str, RayPoolParams] = Field(
        default={}, description="workers of their own, by the name of the model that they load"
    )

    @model_validator(mode="after")
    def _pools_have_a_size(self) -> RayParams:
        for name, pool in self.pools.items():
            if pool.workers is None:
                raise ValueError(f"pools.{name}.workers: expected how many, or [fewest, most], got null")
        return self
