"""Typed, closed settings of the flows: `settings.yaml` beside this file, or the file in `UMGCLIP_FLOW_SETTINGS`."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from umgclip.errors import ParamsError
from umgclip.params.section import Section
from umgclip.params.typed_yaml import parse, read_mapping

SETTINGS_FILE = "UMGCLIP_FLOW_SETTINGS"
REMOTE_URL = "UMGCLIP_REMOTE_URL"
RAW_PREFIX = "UMGCLIP_RAW_PREFIX"
Seconds = Annotated[float, Field(gt=0)]
ON_NODES = ("train",)  # stages that several machines can compute together
S3Url = Annotated[str, Field(pattern=r"^s3://[^/]+(/.*)?$")]


class StageSettings(Section):
    """How one stage is run. `pool` is the work pool that gets it; None: the flow's own process."""

    pool: str | None = Field(default=None, min_length=1)
    nodes: int = Field(default=1, ge=1, description="workers of the pool that compute it together")
    retries: int = Field(default=2, ge=0, description="after infrastructure failures only")
    retry_delay_s: float = Field(default=30.0, ge=0)
    timeout_s: Seconds | None = Field(default=None, description="None: no limit")


class RemoteSettings(Section):
    """DVC's remote, through which results are shared, and how a stage is handed to a worker and comes back."""

    name: str = Field(default="handoff", pattern=r"^[A-Za-z0-9_-]+$", description="of DVC's remote")
    url: str | None = Field(default=None, description="None: the environment's UMGCLIP_REMOTE_URL")
    push: bool = Field(default=True, description="upload every stage's result as soon as it is there")
    repo: str | None = Field(default=None, description="git URL or path; None: origin, or the workspace itself")
    poll_s: Seconds = 5.0
    start_timeout_s: Seconds = Field(default=3600.0, description="until a worker takes the run")
    silence_timeout_s: Seconds = Field(default=600.0, description="without a heartbeat; then the worker is lost")

    def location(self) -> str | None:
        """The URL of DVC's remote, None where there is none."""
        return self.url or os.environ.get(REMOTE_URL, "").strip() or None


class PromotionSettings(Section):
    """Whether a person has a say."""

    approval: bool = False
    approval_timeout_s: Seconds = 86_400.0


class SweepSettings(Section):
    """What a trial runs and how trials are ranked."""

    target: str = "evaluate"
    metric: str = Field(default="tuned.region.mask_top1", description="dotted name in metrics_file")
    metrics_file: str = "metrics/evaluate.json"
    direction: Literal["maximize", "minimize"] = "maximize"


class RefreshSettings(Section):
    """Where raw data comes from."""

    prefix: S3Url | None = Field(default=None, description="None: the environment's UMGCLIP_RAW_PREFIX")
    into: str = "data/train"


class FlowSettings(Section):
    """All of `settings.yaml`."""

    defaults: StageSettings = StageSettings()
    stages: dict[str, StageSettings] = Field(default={}, description="what differs from the defaults, by stage")
    remote: RemoteSettings = RemoteSettings()
    promotion: PromotionSettings = PromotionSettings()
    sweep: SweepSettings = SweepSettings()
    refresh: RefreshSettings = RefreshSettings()

    def of_stage(self, name: str) -> StageSettings:
        """The settings of one stage."""
        own = self.stages.get(name, StageSettings())
        return self.defaults.model_copy(update={field: getattr(own, field) for field in own.model_fields_set})

    def check_stages(self, names: Iterable[str]) -> None:
        """Compare the stages named here with those that exist.

        Raises:
            ParamsError: one does not exist, or asks for nodes that it cannot have.
        """
        known = list(names)
        for name in known:
            self._check_nodes(name, self.of_stage(name))
        for name in self.stages:
            if name not in known:
                raise ParamsError(f"flow settings: stages.{name}: expected one of {', '.join(known)}")

    @staticmethod
    def _check_nodes(name: str, own: StageSettings) -> None:
        if own.nodes == 1:
            return
        if name not in ON_NODES:
            allowed = ", ".join(ON_NODES)
            raise ParamsError(
                f"flow settings: stages.{name}.nodes: expected 1, as only {allowed} runs on more, got {own.nodes}"
            )
        if own.pool is None:
            raise ParamsError(
                f"flow settings: stages.{name}.pool: expected a work pool, as nodes is {own.nodes}, got null"
            )


def load_settings(path: Path | None = None) -> FlowSettings:
    """Read the settings.

    Args:
        path: the file; None: the one in `UMGCLIP_FLOW_SETTINGS`, or `settings.yaml` beside this module.

    Raises:
        ParamsError: no such file, no YAML, an unknown key or a wrong type; names the key and the allowed ones.
    """
    if path is None:
        chosen = os.environ.get(SETTINGS_FILE, "").strip()
        path = Path(chosen) if chosen else Path(__file__).with_name("settings.yaml")
    content = read_mapping(path, "expected a file of flow settings, found none", of="settings")
    return parse(FlowSettings, {name: value for name, value in content.items() if value is not None}, path)
