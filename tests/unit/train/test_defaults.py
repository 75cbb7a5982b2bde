"""What `auto` means for a base, and what is refused or doubted before the first step."""

import json
from pathlib import Path

import pytest

from umgclip.errors import InputError
from umgclip.params import FullParams, LoraParams, LossWeights, TrainParams
from umgclip.params.train import PatchEmaParams
from umgclip.train.defaults import idle, resolved, told, warnings


def base(folder: Path, pretrained: str, **vision: object) -> Path:
    (folder / "base.json").write_text(json.dumps({"pretrained": pretrained}))
    model_cfg = {"vision_cfg": vision, "text_cfg": {}}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": model_cfg}))
    return folder


@pytest.mark.parametrize(
    ("adapter", "scratch", "least", "most"),
    [("lora", 7e-3, 1e-4, 5e-4), ("convpass", 5e-3, 1e-4, 1e-3), ("full", 5e-4, 1e-6, 1e-5)],
)
def test_a_pretrained_base_learns_slowly(
    tmp_path: Path, adapter: str, scratch: float, least: float, most: float
) -> None:
    params = TrainParams.model_validate({"adapter": adapter})
    assert params.lr_peak == "auto"
    assert resolved(params, base(tmp_path, "scratch")).rate == scratch
    assert least <= resolved(params, base(tmp_path, "laion2b_s34b_b79k")).rate <= most
    (tmp_path / "base.json").unlink()
    assert resolved(params, tmp_path).rate <= most, "of a base that does not say, nothing is risked"


def test_numbers_are_respected_and_said(tmp_path: Path) -> None:
    folder = base(tmp_path, "openai")
    asked = TrainParams(lr_peak=5.0e-3, adapter="full")
    used = resolved(asked, folder)
    assert used == asked
    assert told(asked, used, folder) == (("adapter", "full"), ("learning rate", "5.0e-03"))
    asked = TrainParams()
    assert told(asked, resolved(asked, folder), folder) == (
        ("adapter", "lora (auto: base pretrained)"),
        ("learning rate", "2.0e-04 (auto: base pretrained)"),
    )


def test_a_base_with_an_attention_of_its_own_gets_convolutions(tmp_path: Path) -> None:
    assert resolved(TrainParams(), base(tmp_path, "some", qk_norm=True)).adapter == "convpass"
    assert resolved(TrainParams(), base(tmp_path, "some", width=64)).adapter == "lora"


def test_a_rate_that_nobody_chose_is_no_number() -> None:
    with pytest.raises(InputError, match="lr_peak: expected a number, got auto"):
        _ = TrainParams().rate


def test_weights_of_nothing_are_refused_with_their_names(tmp_path: Path) -> None:
    nothing = LossWeights(**dict.fromkeys(LossWeights.model_fields, 0.0))
    with pytest.raises(InputError, match=r"train.weights: expected a weight above 0, got 0 for all of image_text,"):
        resolved(TrainParams(weights=nothing), tmp_path)


def test_batches_that_are_hardly_meant_are_named() -> None:
    assert warnings(TrainParams(batch=4), 4) == []
    assert warnings(TrainParams(batch=4), 3)[0].startswith("train.batch: 4: more than the 3 images there are")
    assert warnings(TrainParams(batch=1), 3)[0].startswith(
        "train.batch: 1: contrastive losses learn nothing from one image per batch"
    )


def test_a_term_that_the_data_had_nothing_for_is_named() -> None:
    params = TrainParams(weights=LossWeights(hard_negatives=0.5, long_text=1.0), long_caption_words=9)
    assert idle(params, {"with_negatives": 2, "with_long": 1}) == idle(TrainParams(), {}) == []
    assert idle(params, {"regions": 5}) == [
        "train.weights.hard_negatives: the data have no region with wrong texts (`negatives`), so the term was 0 "
        "throughout",
        "train.weights.long_text: the data have no caption of 9 words or more, so the term was 0 throughout",
    ]


def test_texts_cannot_move_away_from_each_other_in_a_frozen_tower() -> None:
    params = TrainParams(batch=4, weights=LossWeights(tic=0.1))
    assert warnings(params, 4) == warnings(params.model_copy(update={"adapter": "full"}), 4) == []
    frozen = [
        params.model_copy(update={"adapter": "convpass"}),
        params.model_copy(update={"adapter": "lora", "lora": LoraParams(text_tower=False)}),
        params.model_copy(update={"adapter": "full", "full": FullParams(text_tower=False)}),
    ]
    assert [[line.split(":")[0] for line in warnings(one, 4)] for one in frozen] == [["train.weights.tic"]] * 3


def test_a_tower_that_is_its_own_teacher_may_collapse() -> None:
    head = PatchEmaParams(average="head")
    alone = {name: 0.0 for name in LossWeights.model_fields} | {"patch_ema": 1.0}
    params = TrainParams(batch=4, weights=LossWeights(**alone), patch_ema=head)
    assert [line.split(",")[0] for line in warnings(params, 4)] == ["train.weights.patch_ema: alone"]
    beside = params.model_copy(update={"weights": LossWeights(**alone | {"image_text": 1.0})})
    assert warnings(beside, 4) == warnings(params.model_copy(update={"patch_ema": PatchEmaParams()}), 4) == []
