"""Protocols of other papers, as the settings of `evaluate` that they need.

`fgclip2` are the box rows of FG-CLIP 2 (Xie et al., arXiv:2510.10921; `coco_box_ddp.py` of 360CVGroup/FG-CLIP): whole
true boxes, RoIAlign with one bin on the dense map before its tokens are brought to length 1, the eighty ImageNet
templates in lower case, crowds kept, micro top-1 over all boxes: `region.raw_box_top1`. Their code skips a box on which
it fails. Here every box of the benchmark is counted, and the protocol says how many regions its import left out.
"""

from __future__ import annotations

from typing import Any

from umgclip.params import EvaluateParams

FGCLIP2_READOUT = "raw_box"


def with_preset(params: EvaluateParams) -> EvaluateParams:
    """Return the section with what `evaluate.protocol` decides in place of the keys as given.

    The protocol's read-out comes first, and the configured ones are measured beside it.
    """
    if params.protocol is None:
        return params
    readouts = dict.fromkeys((FGCLIP2_READOUT, *params.readouts))
    decided: dict[str, Any] = {
        "thing_templates": "openai80",
        "lower_case": True,
        "crowd": "keep",
        "readouts": list(readouts),
    }
    return params.model_copy(update=decided)
