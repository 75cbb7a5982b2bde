"""The registry of grammars: one row each; units and default prompts are in `umgclip.params.vlm.GRAMMARS`."""

from __future__ import annotations

from collections.abc import Mapping

from umgclip.annotate.models.vlm.grammars.bbox_2d import BBOX_2D
from umgclip.annotate.models.vlm.grammars.grammar import BoxGrammar
from umgclip.annotate.models.vlm.grammars.griffon import GRIFFON
from umgclip.annotate.models.vlm.grammars.json_objects import JSON
from umgclip.annotate.models.vlm.grammars.molmo import MOLMO
from umgclip.annotate.models.vlm.grammars.shikra import SHIKRA
from umgclip.annotate.models.vlm.grammars.texthawk import TEXTHAWK
from umgclip.params.vlm import Grammar

BOX_GRAMMARS: Mapping[Grammar, BoxGrammar] = {
    "json": JSON,
    "bbox_2d": BBOX_2D,
    "griffon": GRIFFON,
    "texthawk": TEXTHAWK,
    "shikra": SHIKRA,
    "molmo": MOLMO,
}
"""How answers in each grammar are read, and how a region is written in it."""
