"""The rules, table by table; their names are those of `umgclip.params.RuleName`, which `tolerances` may name.

A rule says which params bound it and what else helps, so that a closed gate can say what to change.
"""

from __future__ import annotations

from umgclip.io.manifest import ClassList
from umgclip.params import ValidateParams
from umgclip.validate.rules import Rule, absent, greater, matching, member, not_member, present, unique, within

_SIDES = ("side_min_px", "side_max_px")
_IMAGE_WORDS = ("image_caption_words_min", "image_caption_words_max")
_REGION_WORDS = ("region_caption_words_min", "region_caption_words_max")
_SIZE_HINT = "resize such images or leave them out of `umgclip data import`"
_CAPTION_HINT = "annotate.roles.captioner writes captions where images have none"
_LABEL_HINT = (
    "more regions are labelled with a lower annotate.label.threshold or annotate.min_concept_count, with more concepts "
    "in annotate.rules.vocabulary, or a base that knows the things (base.pretrained)"
)
_REFUSAL_HINT = (
    "the model that captions refuses: ask it in other words (annotate.models.NAME.prompts) or another one; a filter "
    "(annotate.roles.filter: clip_teacher) drops such captions image by image"
)
_NEGATIVES_HINT = (
    "negatives that came with the images may be left out of their source; annotate.rules.negatives makes some"
)


def image_rules(params: ValidateParams) -> tuple[Rule, ...]:
    """Return the rules on one row of the images' table.

    An image may have no caption; the share of images with one is a rule on the dataset.
    """
    side = (params.side_min_px, params.side_max_px)
    length = (params.image_caption_words_min, params.image_caption_words_max)
    return (
        Rule("image_key_present", present("key")),
        Rule("image_sha256_present", present("sha256")),
        Rule("image_sha256_format", matching("sha256", r"^[0-9a-f]{64}$")),
        Rule("image_width_present", present("width")),
        Rule("image_height_present", present("height")),
        Rule("image_width_range", within("width", *side), bounds=_SIDES, hint=_SIZE_HINT),
        Rule("image_height_range", within("height", *side), bounds=_SIDES, hint=_SIZE_HINT),
        Rule("image_caption_length", within("caption_words", *length), bounds=_IMAGE_WORDS),
        Rule("image_caption_clean", absent("caption_dirt")),
        Rule("image_caption_loop", absent("caption_loop"), bounds=("phrase_repeats_max",)),
        Rule("image_caption_refusal", absent("caption_refusal"), hint=_REFUSAL_HINT),
        Rule("image_caption_canned", absent("caption_canned"), bounds=("canned_images_min",), hint=_REFUSAL_HINT),
        Rule("image_caption_score_range", within("caption_score", 0.0, 1.0)),
        Rule("image_tag_score_range", within("tag_score_min", 0.0, 1.0)),
        Rule("image_tags_known", absent("unknown_tags"), hint="add them to annotate.rules.vocabulary"),
    )


def region_rules(params: ValidateParams, concepts: ClassList) -> tuple[Rule, ...]:
    """Return the rules on one row of the regions' table.

    A null caption or mask was not requested, and passes.
    """
    length = (params.region_caption_words_min, params.region_caption_words_max)
    return (
        Rule("region_key_present", present("key")),
        Rule("region_id_present", present("region_id")),
        Rule("region_box_present", within("box_nulls", high=0)),
        Rule("region_flags_present", within("flag_nulls", high=0)),
        Rule("region_score_present", present("score")),
        Rule("region_box_x_order", greater("x1", "x0")),
        Rule("region_box_y_order", greater("y1", "y0")),
        Rule("region_box_left", within("x0", low=0)),
        Rule("region_box_top", within("y0", low=0)),
        Rule("region_box_right", greater("width", "x1", or_equal=True)),
        Rule("region_box_bottom", greater("height", "y1", or_equal=True)),
        Rule("region_score_range", within("score", 0.0, 1.0)),
        Rule("region_label_present", within("label_nulls", high=0)),
        Rule("region_label_score_range", within("label_score", 0.0, 1.0)),
        Rule("region_label_known", member("label", {*concepts.things, *concepts.stuff, *concepts.held_out})),
        Rule(
            "region_label_held_out",
            not_member("label", concepts.held_out),
            tolerance=0.0,
            hint="annotate.held_out lists names that regions must not have",
        ),
        Rule("region_caption_length", within("caption_words", *length), severity="warning", bounds=_REGION_WORDS),
        Rule("region_caption_clean", absent("caption_dirt")),
        Rule("region_caption_loop", absent("caption_loop"), bounds=("phrase_repeats_max",)),
        Rule("region_caption_refusal", absent("caption_refusal"), hint=_REFUSAL_HINT),
        Rule("region_caption_canned", absent("caption_canned"), bounds=("canned_images_min",), hint=_REFUSAL_HINT),
        Rule("region_caption_score_range", within("caption_score", 0.0, 1.0)),
        Rule("region_mask_present", within("mask_nulls", high=0)),
        Rule("region_mask_area", within("mask_area", low=0, above=True)),
        Rule("region_mask_in_box", within("mask_overhang_px", high=params.mask_slack_px), bounds=("mask_slack_px",)),
        Rule("region_negatives_wrong", absent("negative_fault"), hint=_NEGATIVES_HINT),
    )


def image_key_rules() -> tuple[Rule, ...]:
    """Return the rules that compare images with each other and with the benchmark."""
    return (
        Rule("image_key_unique", unique("key")),
        # The first copy stays, so a duplicate loses no image and is no reason to stop.
        Rule("image_content_unique", absent("first_copy"), severity="warning"),
        Rule(
            "image_not_in_benchmark",
            absent("benchmark_key"),
            tolerance=0.0,
            hint="take these images out of the training set or of the benchmark; `umgclip data duplicates` finds more",
        ),
    )


def region_key_rules() -> tuple[Rule, ...]:
    """Return the rules that compare regions with each other and with the images."""
    return (
        Rule("region_id_unique", unique("key", "region_id")),
        Rule("region_has_image", absent("orphan_key")),
    )


def dataset_rules(params: ValidateParams) -> tuple[Rule, ...]:
    """Return the rules on the one row of figures about the whole dataset (`facts.py`)."""
    mean = (params.label_score_mean_min, params.label_score_mean_max)
    labelled, annotated = params.labelled_image_share_min, params.annotated_image_share_min
    return (
        Rule(
            "label_score_mean",
            within("label_score_mean", *mean),
            tolerance=0.0,
            bounds=("label_score_mean_min", "label_score_mean_max"),
            hint=_LABEL_HINT,
        ),
        Rule(
            "captioned_image_share",
            within("captioned_image_share", params.captioned_image_share_min),
            tolerance=0.0,
            bounds=("captioned_image_share_min",),
            hint=_CAPTION_HINT,
        ),
        Rule(
            "labelled_image_share",
            within("labelled_image_share", labelled),
            tolerance=0.0,
            bounds=("labelled_image_share_min",),
            hint=_LABEL_HINT,
        ),
        Rule(
            "annotated_image_share",
            within("annotated_image_share", annotated),
            tolerance=0.0,
            bounds=("annotated_image_share_min",),
            hint="artifacts/annotate/train/quarantine.parquet says why images were dropped",
        ),
    )
