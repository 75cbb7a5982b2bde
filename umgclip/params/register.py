"""`register`: the model's version, and the gates before its alias."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from umgclip.params.section import BOX_SHARE, BoxShare, Device, Precision, Section, Template, Weight

BENCHMARKS = (
    "classification",
    "retrieval",
    "tagging",
    "region",
    "semantic",
    "panoptic",
)
MetricName = Annotated[str, Field(pattern=rf"^({'|'.join(BENCHMARKS)})\.[a-z0-9_]+$")]


class GateParams(Section):
    """When the alias `champion` moves. Metrics are named as in `metrics/evaluate.json`, all of them shares of 1.

    What the benchmark has nothing for is not asked, so the defaults name something of every kind of benchmark.
    """

    floors: dict[MetricName, float] = Field(default={}, description="metric: least value")
    max_regression: dict[MetricName, Weight] = Field(
        default={
            "classification.top1": 0.05,
            "retrieval.i2t_r1": 0.03,
            "retrieval.t2i_r1": 0.03,
            "tagging.map": 0.03,
            "region.box_top1": 0.05,
        },
        description="metric: most that may be lost against the champion, or the base while there is no champion",
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
        description="metric: least gain of tuned over base, asked only while there is no champion",
    )
    max_latency_ratio: float | None = Field(
        default=None, gt=0, description="most that answering may take, over the champion's time; null: not measured"
    )


class RegisterParams(Section):
    """`register`: the tuned model as a version in MLflow's registry."""

    name: str = Field(default="umgclip", pattern=r"^[A-Za-z0-9_.-]+$")
    include_base_weights: bool | None = Field(
        default=None, description="null: yes, unless open_clip can fetch them again by base.pretrained"
    )
    template: Template = Field(default="{a} {}", description="prompt around a label in requests to the model")
    box_share: BoxShare = BOX_SHARE
    device: Device = Field(default="auto", description="where answers are timed for gates.max_latency_ratio")
    dtype: Precision = Field(default="fp32", description="in which the towers compute there")
    promote: bool = Field(default=True, description="false: say what the gates would do and leave `champion` alone")
    gates: GateParams = GateParams()
