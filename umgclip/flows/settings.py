"""Typed settings of the flows, from `settings.yaml` in this folder or the file named in `UMGCLIP_FLOW_SETTINGS`."""

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
    """The execution settings of one stage; `pool` is its work pool, None means the flow's own process."""

    pool: str | None = Field(default=None, min_length=1)
    nodes: int = Field(default=1, ge=1, description="number of workers of the pool that compute it together")
    retries: int = Field(default=2, ge=0, description="after infrastructure failures only")
    retry_delay_s: float = Field(default=30.0, ge=0)
    timeout_s: Seconds | None = Field(default=None, description="None: no limit")


class RemoteSettings(Section):
    """The settings of DVC's remote, which shares results, and of the hand-off of stages to workers."""

    name: str = Field(default="handoff", pattern=r"^[A-Za-z0-9_-]+$", description="name of DVC's remote")
    url: str | None = Field(default=None, description="None: the variable UMGCLIP_REMOTE_URL")
    push: bool = Field(default=True, description="upload the result of each stage as soon as it is available")
    repo: str | None = Field(default=None, description="git URL or path; None: origin, or the workspace itself")
    poll_s: Seconds = 5.0
    start_timeout_s: Seconds = Field(default=3600.0, description="until a worker takes the run")
    silence_timeout_s: Seconds = Field(
        default=600.0, description="time without a heartbeat after which the worker is lost"
    )

    def location(self) -> str | None:
        """Return the URL of DVC's remote, or None without one."""
        return self.url or os.environ.get(REMOTE_URL, "").strip() or None


class PromotionSettings(Section):
    """The settings of a person's approval before an alias moves."""

    approval: bool = False
    approval_timeout_s: Seconds = 86_400.0


class SweepSettings(Section):
    """The settings of a sweep: its last stage and the metric that ranks trials."""

    target: str = "evaluate"
    metric: str = Field(default="tuned.region.mask_top1", description="dotted name in metrics_file")
    metrics_file: str = "metrics/evaluate.json"
    direction: Literal["maximize", "minimize"] = "maximize"


class RefreshSettings(Section):
    """The settings of the source and the target of raw data."""

    prefix: S3Url | None = Field(default=None, description="None: the variable UMGCLIP_RAW_PREFIX")
    into: str = "data/train"


class FlowSettings(Section):
    """The complete contents of `settings.yaml`, with defaults."""

    defaults: StageSettings = StageSettings()
    stages: dict[str, StageSettings] = Field(default={}, description="differences from the defaults, by stage")
    remote: RemoteSettings = RemoteSettings()
    promotion: PromotionSettings = PromotionSettings()
    sweep: SweepSettings = SweepSettings()
    refresh: RefreshSettings = RefreshSettings()

    def of_stage(self, name: str) -> StageSettings:
        """Return the settings of a stage: the defaults updated with its own."""
        settings = self.stages.get(name, StageSettings())
        return self.defaults.model_copy(update={field: getattr(settings, field) for field in settings.model_fields_set})

    def check_stages(self, names: Iterable[str]) -> None:
        """Check that the stages in the settings exist and may have the settings they have.

        Raises:
            ParamsError: a stage does not exist, or cannot run on the requested number of nodes.
        """
        known = list(names)
        for name in known:
            self._check_nodes(name, self.of_stage(name))
        for name in self.stages:
            if name not in known:
                raise ParamsError(f"flow settings: stages.{name}: expected one of {', '.join(known)}")

    @staticmethod
    def _check_nodes(name: str, settings: StageSettings) -> None:
        if settings.nodes == 1:
            return
        if name not in ON_NODES:
            allowed = ", ".join(ON_NODES)
            raise ParamsError(
                f"flow settings: stages.{name}.nodes: expected 1, because only {allowed} supports several nodes, "
                f"got {settings.nodes}"
            )
        if settings.pool is None:
            raise ParamsError(
                f"flow settings: stages.{name}.pool: expected a work pool, because nodes is {settings.nodes}, got null"
            )


def load_settings(path: Path | None = None) -> FlowSettings:
    """Read and check the flow settings.

    Args:
        path: the file; None: the one named in `UMGCLIP_FLOW_SETTINGS`, or `settings.yaml` in this folder.

    Raises:
        ParamsError: the file does not exist or is not YAML, or a key is unknown or has a wrong type; names the key and
            the allowed ones.
    """
    if path is None:
        chosen = os.environ.get(SETTINGS_FILE, "").strip()
        path = Path(chosen) if chosen else Path(__file__).with_name("settings.yaml")
    content = read_mapping(path, "expected a file of flow settings, found none", of="settings")
    return parse(FlowSettings, {name: value for name, value in content.items() if value is not None}, path)
