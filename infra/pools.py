"""Typed contents of `infra/pools.yaml`: work pools, limits, schedules and lost-run limits of a Prefect server."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, ValidationError, model_validator
from ruamel.yaml import YAML

from umgclip.errors import InputError

FILE = Path(__file__).with_name("pools.yaml")
TEMPLATES = Path(__file__).with_name("templates")


class _Closed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class WorkPool(_Closed):
    """A work pool; `template` is a base job template in `infra/templates`, None means Prefect's own."""

    type: Literal["process", "kubernetes", "ecs"]
    description: str
    runs_at_once: NonNegativeInt | None = None
    template: str | None = None

    @model_validator(mode="after")
    def _template_where_jobs_are_made(self) -> WorkPool:
        if (self.type == "process") != (self.template is None):
            raise ValueError("template: expected one for kubernetes and ecs, none for process")
        if self.template is not None and not (TEMPLATES / self.template).is_file():
            raise ValueError(f"template: expected a file in {TEMPLATES}, got {self.template!r}")
        return self


class LostRuns(_Closed):
    """The seconds without a sign of life after which a run is set to Crashed."""

    silent_s: int = Field(ge=10)
    start_s: int = Field(ge=10)


class Schedule(_Closed):
    """The schedule on which a deployment runs once it is enabled."""

    cron: str
    timezone: str = "Etc/UTC"


class Pools(_Closed):
    """The complete contents of the file `infra/pools.yaml`."""

    work_pools: Mapping[str, WorkPool]
    limits: Mapping[str, PositiveInt] = Field(default_factory=dict)
    lost_runs: LostRuns
    schedules: Mapping[str, Schedule] = Field(default_factory=dict)

    def of_type(self, kind: str) -> list[str]:
        """Return the names of the pools of one type."""
        return [name for name, pool in self.work_pools.items() if pool.type == kind]


def read_pools(file: Path = FILE) -> Pools:
    """Read and check the file of work pools.

    Raises:
        InputError: the file is missing or not YAML, or a field is unknown or wrong; names the field.
    """
    try:
        content: Any = YAML(typ="safe").load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{file}: {error.strerror}") from error
    try:
        return Pools.model_validate(content)
    except ValidationError as error:
        wrong = "; ".join(
            f"{'.'.join(map(str, one['loc']))}: {one['msg']}, got {one['input']!r}" for one in error.errors()
        )
        raise InputError(f"{file}: {wrong}") from error
