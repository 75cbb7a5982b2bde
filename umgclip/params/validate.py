"""`validate`: the bounds of a good row, and the share of bad rows that is too many."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from umgclip.params.section import INDIFFERENT, Count, Section, Share, Weight

RuleName = Literal[
    "image_key_present",
    "image_sha256_present",
    "image_sha256_format",
    "image_width_present",
    "image_height_present",
    "image_width_range",
    "image_height_range",
    "image_caption_length",
    "image_caption_clean",
    "image_caption_loop",
    "image_caption_refusal",
    "image_caption_canned",
    "image_caption_score_range",
    "image_tag_score_range",
    "image_tags_known",
    "region_key_present",
    "region_id_present",
    "region_box_present",
    "region_flags_present",
    "region_score_present",
    "region_box_x_order",
    "region_box_y_order",
    "region_box_left",
    "region_box_top",
    "region_box_right",
    "region_box_bottom",
    "region_score_range",
    "region_label_present",
    "region_label_score_range",
    "region_label_known",
    "region_label_held_out",
    "region_caption_length",
    "region_caption_clean",
    "region_caption_loop",
    "region_caption_refusal",
    "region_caption_canned",
    "region_caption_score_range",
    "region_mask_present",
    "region_mask_area",
    "region_mask_in_box",
    "region_negatives_wrong",
    "image_key_unique",
    "image_content_unique",
    "image_not_in_benchmark",
    "region_id_unique",
    "region_has_image",
    "label_score_mean",
    "captioned_image_share",
    "labelled_image_share",
    "annotated_image_share",
]


class ValidateParams(Section):
    """`validate`: the bounds of a good row, and the share of bad rows that is too many."""

    tolerance: Share = Field(default=0.01, description="largest share of failing rows at which a critical rule passes")
    tolerances: dict[RuleName, Share] = Field(default={}, description="the same for single rules, by name")
    chunk_rows: Annotated[Count, INDIFFERENT] = Field(
        default=1_000_000, description="rows of a table in memory at once"
    )
    side_min_px: Count = 16
    side_max_px: Count = 20_000
    mask_slack_px: Weight = Field(default=1.0, description="pixels that a mask may extend beyond its box")
    image_caption_words_min: Count = 1
    image_caption_words_max: Count = 100
    region_caption_words_min: Count = 1
    region_caption_words_max: Count = 50
    phrase_repeats_max: Count = Field(default=2, description="times that a phrase may follow itself in a caption")
    canned_images_min: Count = Field(
        default=20,
        description="images with one caption from which it counts as a model's canned answer, if it names nothing",
    )
    label_score_mean_min: Share = Field(default=0.1, description="least mean over all labelled regions")
    label_score_mean_max: Share = 1.0
    captioned_image_share_min: Share = Field(
        default=0.5,
        description="share of images with a caption, checked if any has one; others are trained by their regions",
    )
    labelled_image_share_min: Share = Field(
        default=0.5,
        description="share of images with a labelled region, or a label that annotate.label.precision withheld, among "
        "those with a caption or a label",
    )
    annotated_image_share_min: Share = Field(default=0.9, description="share of images that annotation did not drop")
    leave_out: int = Field(
        default=0, ge=0, description="images that training does not see, so that rounds can be measured on them"
    )

    @model_validator(mode="after")
    def _bounds_are_ordered(self) -> ValidateParams:
        for name in ("side_min_px", "image_caption_words_min", "region_caption_words_min", "label_score_mean_min"):
            upper = name.replace("_min", "_max")
            if getattr(self, name) > getattr(self, upper):
                raise ValueError(f"expected {name} <= {upper}, got {getattr(self, name)} > {getattr(self, upper)}")
        return self
