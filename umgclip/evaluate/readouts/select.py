"""The catalog of read-outs, by the names of `evaluate.readouts`."""

from __future__ import annotations

from umgclip.evaluate.readouts.crop import Crop
from umgclip.evaluate.readouts.foveal import Foveal
from umgclip.evaluate.readouts.maskout import Maskout
from umgclip.evaluate.readouts.pooled import Pooled
from umgclip.evaluate.readouts.readout import Readout
from umgclip.params import EvaluateParams
from umgclip.params.evaluate import ReadoutName

CONTEXT = (1 / 1.25, 1 / 1.5, 1 / 2.0, 1 / 2.5)  # crops of 1.25 to 2.5 times the box


def readouts(params: EvaluateParams) -> dict[str, Readout]:
    """Return the configured read-outs, in the order of `evaluate.readouts`."""
    return {name: readout_of(name, params) for name in params.readouts}


def readout_of(name: ReadoutName, params: EvaluateParams) -> Readout:
    """Return the read-out of a name, with its settings."""
    share = params.box_share
    known: dict[str, Readout] = {
        "box": Pooled("value", "box", share),
        "mask": Pooled("value", "mask"),
        "crop": Crop((params.crop_frame,)),
        "maskout": Maskout(params.maskout_frame),
        "tight": Crop((1.0,)),
        "context": Crop(CONTEXT),
        "whole_box": Pooled("value", "box"),
        "raw_box": Pooled("raw", "box", reads_image=False),
        "last_box": Pooled("last", "box", share, reads_image=False),
        "last_mask": Pooled("last", "mask", reads_image=False),
        "surgery_box": Pooled("surgery", "box", share, reads_image=False),
        "surgery_mask": Pooled("surgery", "mask", reads_image=False),
        "foveal": Foveal(),
        "falip": Foveal(profile="falip"),
    }
    return known[name]
