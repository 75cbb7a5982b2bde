"""The sections of `params.yaml` as frozen, closed, typed models, a file each.

Units are in the names (`_px`, `_s`) or in the field's description.
"""

from umgclip.params.annotate import AnnotateParams, LabelParams, MaskerParams, ProposerParams, TunedParams
from umgclip.params.base import SCRATCH, BaseParams, TowerParams
from umgclip.params.data import DataParams, ImportParams
from umgclip.params.evaluate import EvaluateParams, ReadoutName, SemanticParams, TemplateSet
from umgclip.params.machine import threads
from umgclip.params.reading import SECTIONS, load_section, parse_sections, read_params
from umgclip.params.register import GateParams, RegisterParams
from umgclip.params.section import Section
from umgclip.params.segment import SegmentParams
from umgclip.params.train import (
    ClusteringParams,
    ConvpassParams,
    FullParams,
    LoaderParams,
    LoraParams,
    LossWeights,
    PatchEmaParams,
    ResolutionStage,
    TrainParams,
    WindowsParams,
)
from umgclip.params.validate import RuleName, ValidateParams

__all__ = [
    "AnnotateParams",
    "BaseParams",
    "ClusteringParams",
    "ConvpassParams",
    "DataParams",
    "EvaluateParams",
    "FullParams",
    "GateParams",
    "ImportParams",
    "LabelParams",
    "LoaderParams",
    "LoraParams",
    "LossWeights",
    "MaskerParams",
    "PatchEmaParams",
    "ProposerParams",
    "ReadoutName",
    "RegisterParams",
    "ResolutionStage",
    "RuleName",
    "SCRATCH",
    "SECTIONS",
    "Section",
    "SegmentParams",
    "SemanticParams",
    "TemplateSet",
    "TowerParams",
    "TrainParams",
    "TunedParams",
    "ValidateParams",
    "WindowsParams",
    "load_section",
    "parse_sections",
    "read_params",
    "threads",
]
