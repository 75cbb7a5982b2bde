"""`data`: the demo dataset, and how imports are stored."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from umgclip.params.section import IMPORTS_ONLY, INDIFFERENT, Count, Section, Seed, Share


class ImportParams(Section):
    """`data.imports`: how `umgclip data import` stores what it reads."""

    shard_samples: Count | Literal["auto"] = Field(
        default="auto", description="most samples in a shard; auto: a 16th of the images, but 32 to 1000"
    )
    shard_mb: Count = Field(default=1000, description="size in MB at which a shard is closed")
    workers: Annotated[int, INDIFFERENT] = Field(default=0, ge=0, description="processes; 0: one for each core")
    jpeg_quality: int = Field(default=95, ge=50, le=100, description="quality of images that have to be encoded again")
    max_pixels: int = Field(default=178_956_970, gt=0, le=178_956_970, description="larger images are refused")
    max_image_mb: Count = Field(default=100, description="larger image files are refused")
    mislabelled: Literal["quarantine", "keep"] = Field(
        default="quarantine", description="what happens to images of another format than their name says"
    )


class DataParams(Section):
    """`data`: the demo dataset that `umgclip data demo` composes, and how imports are stored."""

    seed: Seed = 0
    image_px: int = Field(default=96, ge=32, description="side of a scene in pixels")
    train_scenes: Count = 2800
    single_share: Share = Field(default=0.4, description="share of training scenes with a single thing")
    max_things: int = Field(default=5, ge=2, le=8)
    background_named: Share = Field(default=0.2, description="share of captions that name the background")
    benchmark_scenes: Count = 400
    benchmark_singles: Count = 294
    shard_samples: Count = 500
    jpeg_quality: int = Field(default=95, ge=50, le=100)
    imports: Annotated[ImportParams, IMPORTS_ONLY] = ImportParams()
