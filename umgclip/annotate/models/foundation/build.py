"""One model of `annotate.models` by its kind."""

from __future__ import annotations

from typing import Any

from umgclip.data.vocabulary import Vocabulary
from umgclip.errors import InputError


def build(params: Any, where: str, vocabulary: Vocabulary) -> Any:  # noqa: ANN401 - of many kinds, for many roles
    """The model with its weights.

    Args:
        params: one entry of `annotate.models`.
        where: its name in the params, for messages.
        vocabulary: what open-vocabulary models look for.

    Raises:
        InputError: transformers is not installed, or the weights cannot be had.
    """
    try:
        import transformers  # noqa: F401 - asked for here, so that the message is one
    except ImportError as error:
        raise InputError(f"{where}: expected transformers, which is not installed: umgclip[foundation]") from error
    from umgclip.annotate.models.foundation import (
        blip2,
        clip,
        detr,
        florence2,
        grounding_dino,
        mask2former,
        owlv2,
        qwen3_vl,
        sam2,
    )
    from umgclip.annotate.models.policy import nsfw

    alone = {
        "florence2": florence2.Florence2, "detr": detr.Detr, "rt_detr_v2": detr.Detr, "sam2": sam2.Sam2,
        "mask2former": mask2former.Mask2Former, "blip2": blip2.Blip2, "qwen3_vl": qwen3_vl.Qwen3Vl,
        "nsfw": nsfw.Nsfw,
    }  # fmt: skip
    if params.kind in alone:
        return alone[params.kind](params, where)
    looking = {
        "grounding_dino": grounding_dino.GroundingDino, "mm_grounding_dino": grounding_dino.GroundingDino,
        "owlv2": owlv2.Owlv2, "clip": clip.Clip,
    }  # fmt: skip
    return looking[params.kind](params, where, vocabulary)
