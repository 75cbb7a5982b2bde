"""`annotate.ray`: the workers that Ray starts, the resources of each, and the models that have separate workers."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from umgclip.params.section import Count, Section

Workers = Annotated[
    Count | Annotated[list[Count], Field(min_length=2, max_length=2)],
    Field(description="number of workers, or [fewest, most] for a cluster that grows and shrinks"),
]


class RayPoolParams(Section):
    """`annotate.ray.pools.NAME`: the workers of one model."""

    workers: Workers | None = Field(default=1, description="null: as many as processors and GPUs allow")
    cpus: float = Field(default=1.0, ge=0, description="processors reserved for one worker")
    gpus: float = Field(default=0.0, ge=0, description="GPUs reserved for one worker, such as 0.5; with 0 it sees none")

    @model_validator(mode="after")
    def _fewest_then_most(self) -> RayPoolParams:
        if isinstance(self.workers, list) and self.workers[0] > self.workers[1]:
            raise ValueError(f"workers: expected [fewest, most], got {self.workers}")
        if not self.cpus and not self.gpus:
            raise ValueError("cpus, gpus: expected one of them above 0, got 0 and 0")
        return self

    @property
    def fewest(self) -> int:
        """The least number of workers, at least 1."""
        return self.workers[0] if isinstance(self.workers, list) else self.workers or 1


class RayParams(RayPoolParams):
    """`annotate.ray`: the workers of the engine `ray`; no key changes the result."""

    workers: Workers | None = Field(default=None, description="null: as many as processors and GPUs allow")
    address: str | None = Field(
        default=None, description="address of a cluster; null: RAY_ADDRESS, or this machine alone"
    )
    start_timeout_s: float = Field(
        default=600.0,
        gt=0,
        description="longest wait until workers get the resources that they ask for, also after machines were lost",
    )
    pools: dict[str, RayPoolParams] = Field(default={}, description="separate workers for a model, by its name")

    @model_validator(mode="after")
    def _pools_have_a_size(self) -> RayParams:
        for name, pool in self.pools.items():
            if pool.workers is None:
                raise ValueError(f"pools.{name}.workers: expected a number, or [fewest, most], got null")
        return self
