"""The formats of exports: who writes each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

from umgclip.io.manifest import Manifest
from umgclip.io.places import Place
from umgclip.sources.exporting.coco import to_coco
from umgclip.sources.exporting.fiftyone import to_fiftyone
from umgclip.sources.exporting.huggingface import to_huggingface
from umgclip.sources.exporting.samples import Advance
from umgclip.sources.exporting.webdataset import to_webdataset
from umgclip.stage import Summary

Form = Literal["coco", "fiftyone", "huggingface", "webdataset"]
EXPORTS: Mapping[Form, Callable[[Place, Manifest, Path, Advance], Summary]] = {
    "coco": to_coco,
    "fiftyone": to_fiftyone,
    "huggingface": to_huggingface,
    "webdataset": to_webdataset,
}
