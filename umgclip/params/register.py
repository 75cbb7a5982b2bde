"""`register`: the registered version of the model, and the gates before its alias."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from umgclip.params.section import BOX_SHARE, BoxShare, Device, Precision, Section, Template, Weight

BENCHMARKS = (
    "classification",
    "retrieval",
    "tagging",
    "region",
    "fine_grained",
    "detection",
    "semantic",
    "patterns",
    "panoptic",
)
MetricName = Annotated[str, Field(pattern=rf"^({'|'.join(BENCHMARKS)})\.[a-z0-9_]+$")]


class GateParams(Section):
    """`register.gates`: the conditions under which the alias `champion` moves.

    Metrics are named as in `metrics/evaluate.json`; all are shares of 1. A metric that the benchmark dataset cannot
    measure is skipped, so the defaults name metrics for every kind of dataset.
    """

    floors: dict[MetricName, float] = Field(default={}, description="by metric: least value")
    max_regression: dict[MetricName, Weight] = Field(
        default={
            "classification.top1": 0.05,
            "retrieval.i2t_r1": 0.03,
            "retrieval.t2i_r1": 0.03,
            "tagging.map": 0.03,
            "region.box_top1": 0.05,
        },
        description="by metric: largest loss against the champion, or against the base while there is no champion",
    )
    metrics: list[MetricName] = Field(
        default=[
            "classification.top1",
            "retrieval.i2t_r1",
            "retrieval.t2i_r1",
            "tagging.map",
            "region.box_top1",
            "region.mask_top1",
            "semantic.miou",
        ],
        description="metrics whose mean gain over the champion counts",
    )
    min_mean_gain: float = Field(default=1.0e-3, description="least mean gain over the champion")
    min_gain_over_base: dict[MetricName, float] = Field(
        default={"region.mask_top1": 0.05, "semantic.miou": 0.02},
        description="by metric: least gain of the tuned model over the base, checked only while there is no champion",
    )
    max_latency_ratio: float | None = Field(
        default=None, gt=0, description="largest ratio of the time of an answer to the champion's; null: not measured"
    )


class RegisterParams(Section):
    """`register`: how the tuned model becomes a version in MLflow's registry."""

    name: str = Field(default="umgclip", pattern=r"^[A-Za-z0-9_.-]+$")
    include_base_weights: bool | None = Field(
        default=None, description="null: yes, unless open_clip can fetch them again by base.pretrained"
    )
    template: Template = Field(default="{a} {}", description="prompt around a label in requests to the model")
    box_share: BoxShare = BOX_SHARE
    device: Device = Field(default="auto", description="device on which answers are timed for gates.max_latency_ratio")
    dtype: Precision = Field(default="fp32", description="precision of the towers there")
    promote: bool = Field(
        default=True, description="false: report what the gates would decide and leave `champion` where it is"
    )
    gates: GateParams = GateParams()
