"""Samples to one batch: image, boxes and masks move together; texts are distinct; nothing is padded."""

import io
from collections import Counter

import numpy as np
import pytest
import torch

from umgclip.data.stream import Sample
from umgclip.errors import InputError
from umgclip.geometry import masks as mask_ops
from umgclip.model.clip import files
from umgclip.model.clip.preprocess import Preprocess
from umgclip.model.clip.tower import DenseClip
from umgclip.params import TowerParams, TrainParams
from umgclip.records import ImageRecord, Region, Source, Text
from umgclip.train.batch import Batch, TaughtSample, View, collate, read_teacher, view_of
from umgclip.train.texts import TextChoice

DIM = 4
Box = tuple[int, int, int, int]


def say(*texts: str, source: str = "human") -> list[Text]:
    return [Text(text=text, source=source) for text in texts]


def region(
    number: int, box: Box, size_hw: tuple[int, int], label: str | None = None, *, mask: bool = True, stuff: bool = False
) -> Region:
    inside = np.zeros(size_hw, bool)
    inside[box[1] : box[3], box[0] : box[2]] = True
    return Region(
        id=f"{number}",
        box_xyxy=tuple(map(float, box)),
        mask=mask_ops.encode(inside) if mask else None,
        is_stuff=stuff,
        captions=[],
        tags=say(label) if label else [],
    )


def item(
    regions: list[Region],
    *,
    pixels: np.ndarray | None = None,
    captions: list[Text] | None = None,
    tags: list[Text] | None = None,
    teacher: np.ndarray | None = None,
    dropped: frozenset[str] = frozenset(),
) -> TaughtSample:
    pixels = np.zeros((96, 96, 3), np.uint8) if pixels is None else pixels
    record = ImageRecord(
        key="k",
        width=pixels.shape[1],
        height=pixels.shape[0],
        sha256="0",
        source=Source(dataset="test"),
        captions=captions,
        tags=tags,
        regions=regions,
    )
    return TaughtSample(Sample(pixels, record), teacher, dropped)


def batch_of(
    items: list[TaughtSample], *, flip: float = 0.0, most: int = 8, written: float = 0.0, seed: int = 0
) -> Batch:
    view = View(image_px=96, grid=8, regions_per_image=most, texts=TextChoice(written), mirror_share=flip)
    return collate(items, view, DIM, np.random.default_rng(seed))


@pytest.mark.parametrize("flip", [0.0, 1.0])
@pytest.mark.parametrize("with_mask", [True, False])
@pytest.mark.parametrize("size_hw", [(96, 96), (192, 384)])
def test_a_marker_its_box_and_its_mask_move_together(size_hw: tuple[int, int], with_mask: bool, flip: float) -> None:
    height, width = size_hw
    box = (width // 8, height // 4, width // 8 * 3 + width // 32, height // 4 * 3)  # ends inside a token
    pixels = np.zeros((*size_hw, 3), np.uint8)
    pixels[box[1] : box[3], box[0] : box[2]] = 255
    batch = batch_of([item([region(0, box, size_hw, "marker", mask=with_mask)], pixels=pixels)], flip=flip)
    low, high = batch.images.min(), batch.images[0, 0].max()
    bright = (batch.images[0, 0] - low) / (high - low) > 0.5
    rows, columns = torch.nonzero(bright, as_tuple=True)
    tight = torch.stack([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]) / 96
    torch.testing.assert_close(batch.boxes_xyxy[0], tight)
    cells = bright.float().reshape(8, 12, 8, 12).mean((1, 3))
    torch.testing.assert_close(batch.masks[0], cells, atol=1e-5, rtol=0)
    torch.testing.assert_close(batch.token_weight.reshape(8, 8), cells, atol=1e-5, rtol=0)
    left_side = columns.float().mean() < 48
    assert bool(left_side) == (flip == 0.0)


def test_tokens_carry_the_text_of_the_region_that_covers_them_most() -> None:
    size = (96, 96)
    regions = [
        region(0, (0, 0, 18, 12), size, "dog"),  # token 0 whole, token 1 by half
        region(1, (15, 0, 24, 12), size, "cat"),  # token 1 by three quarters
        region(2, (24, 0, 36, 12), size),  # token 2, but nobody knows what it is
        region(3, (24, 0, 30, 12), size, "ant"),  # half of token 2
    ]
    batch = batch_of([item(regions)])
    said = [batch.texts[i] if i >= 0 else None for i in batch.token_text[:4].tolist()]
    assert said == ["a dog", "a cat", "an ant", None]
    assert batch.token_weight[:4].tolist() == pytest.approx([1.0, 0.75, 0.5, 0.0])
    assert set(batch.token_text[4:].tolist()) == {-1}
    assert batch.region_text.tolist().count(-1) == 1


def test_regions_stand_one_after_the_other_without_padding() -> None:
    size = (96, 96)
    three = [region(i, (12 * i, 0, 12 * i + 12, 12), size, f"thing{i}", stuff=i == 1) for i in range(3)]
    batch = batch_of([item(three), item([]), item(three[:1])])
    assert batch.image_of_region.tolist() == [0, 0, 0, 2]
    assert batch.is_stuff.tolist() == [False, True, False, False]
    assert batch.masks.shape == (4, 8, 8)
    assert batch.token_text.shape == (3 * 64,)
    assert [batch.texts[i] for i in batch.region_text.tolist()] == ["a thing0", "a thing1", "a thing2", "a thing0"]


def test_a_batch_without_any_region_or_label() -> None:
    batch = batch_of([item([]), item([])])
    assert batch.boxes_xyxy.shape == (0, 4)
    assert batch.masks.shape == (0, 8, 8)
    assert batch.teacher_region.shape == (0, DIM)
    assert batch.tag_targets.shape == (2, 0)
    assert batch.texts == []
    assert batch.token_weight.max() == 0


def test_dropped_regions_are_gone_and_the_teacher_stays_with_the_others() -> None:
    regions = [region(i, (0, 0, 12, 12), (96, 96), f"thing{i}") for i in range(3)]
    teacher = np.arange(4 * DIM, dtype=np.float32).reshape(4, DIM)  # row 0 is the image
    batch = batch_of([item(regions, teacher=teacher, dropped=frozenset({"1"}))])
    assert [batch.texts[i] for i in batch.region_text.tolist()] == ["a thing0", "a thing2"]
    assert batch.teacher_image[0, 0] == 0
    assert batch.teacher_region[:, 0].tolist() == [1 * DIM, 3 * DIM]


def test_labelled_regions_come_first_when_there_are_too_many() -> None:
    regions = [region(i, (0, 0, 12, 12), (96, 96), f"thing{i}" if i % 2 else None) for i in range(10)]
    for seed in range(5):
        batch = batch_of([item(regions)], most=5, seed=seed)
        assert [batch.texts[i] for i in batch.region_text.tolist()] == [f"a thing{i}" for i in (1, 3, 5, 7, 9)]
    drawn = {tuple(batch_of([item(regions)], most=6, seed=seed).region_text.tolist()) for seed in range(20)}
    assert len(drawn) > 1, "the unlabelled one is drawn at random"
    assert {row.count(-1) for row in drawn} == {1}


def test_texts_are_distinct_and_shared() -> None:
    regions = [region(i, (0, 0, 12, 12), (96, 96), "dog") for i in range(2)]
    both = [item(regions, captions=say("a dog"), tags=say("dog", "owl")), item(regions, captions=say("an owl"))]
    batch = batch_of(both)
    assert max(Counter(batch.texts).values()) == 1
    assert sorted(batch.texts) == ["a dog", "an owl"]
    assert [batch.texts[i] for i in batch.caption.tolist()] == ["a dog", "an owl"]
    assert [batch.texts[i] for i in batch.tag_texts.tolist()] == ["a dog", "an owl"]
    assert batch.tag_targets.tolist() == [[True, True], [False, False]]


def test_a_region_caption_is_preferred_to_its_label() -> None:
    plain = region(0, (0, 0, 12, 12), (96, 96), "dog")
    batch = batch_of([item([plain.model_copy(update={"captions": say("my dog")})])])
    assert batch.texts[int(batch.region_text[0])] == "my dog"


def test_the_share_of_written_captions() -> None:
    captions = [*say("given", source="alt"), *say("written", source="model/1")]

    def drawn(written: float, captions: list[Text]) -> Counter[str]:
        batch = batch_of([item([], captions=captions) for _ in range(200)], written=written)
        return Counter(batch.texts[i] for i in batch.caption.tolist())

    assert drawn(0.0, captions) == {"given": 200}
    assert drawn(1.0, captions) == {"written": 200}
    assert 40 < drawn(0.3, captions)["written"] < 80
    assert drawn(0.0, captions[1:]) == {"written": 200}, "better than nothing"
    assert drawn(1.0, captions[:1]) == {"given": 200}


def test_teacher_rows_are_nan_without_a_teacher_or_with_one_of_another_space() -> None:
    regions = [region(0, (0, 0, 12, 12), (96, 96), "dog")]
    for teacher in (None, np.zeros((2, DIM + 1), np.float32)):
        batch = batch_of([item(regions, teacher=teacher)])
        assert batch.teacher_image.isnan().all()
        assert batch.teacher_region.isnan().all()
    known = batch_of([item(regions, teacher=np.array([[1.0] * DIM, [np.nan] * DIM], np.float32))])
    assert known.teacher_image.isfinite().all()
    assert known.teacher_region.isnan().all()


def test_the_teacher_as_stored() -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.full((2, DIM), 0.5, np.float16))
    assert read_teacher(None) is None
    stored = read_teacher(buffer.getvalue())
    assert stored is not None
    assert stored.dtype == np.float32
    assert stored.tolist() == [[0.5] * DIM] * 2


def test_the_generator_decides_everything() -> None:
    regions = [region(i, (12 * i, 0, 12 * i + 6, 12), (96, 96), None) for i in range(6)]
    one, same, other = (batch_of([item(regions)] * 6, flip=0.5, most=3, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one.boxes_xyxy, same.boxes_xyxy)
    assert not torch.equal(one.boxes_xyxy, other.boxes_xyxy)


@pytest.mark.parametrize("flip", [0.0, 1.0])
@pytest.mark.parametrize("size_hw", [(192, 384), (300, 100)])
def test_with_padding_image_box_and_mask_still_move_together(size_hw: tuple[int, int], flip: float) -> None:
    height, width = size_hw
    box = (width // 8, height // 4, width // 2, height)
    pixels = np.full((*size_hw, 3), 60, np.uint8)
    pixels[box[1] : box[3], box[0] : box[2]] = 255
    view = View(
        96, 8, 8, TextChoice(0.0), mirror_share=flip, resize="pad", preprocess=Preprocess((0.0,) * 3, (1.0,) * 3)
    )
    batch = collate([item([region(0, box, size_hw, "marker")], pixels=pixels)], view, DIM, np.random.default_rng(0))
    rows, columns = (4, 8) if width > height else (8, 3)
    inside = torch.zeros(8, 8, dtype=torch.bool)
    inside[:rows, :columns] = True
    assert torch.equal(batch.valid[0], inside)
    lit = batch.images[0, 0].reshape(8, 12, 8, 12).amax((1, 3)) > 0
    assert torch.equal(lit, inside), "black where there is no image"
    bright = batch.images[0, 0] > 0.6
    covered = bright.float().reshape(8, 12, 8, 12).mean((1, 3))
    torch.testing.assert_close(batch.masks[0], covered, atol=0.07, rtol=0)
    assert batch.masks[0][~inside].max() == 0
    assert set(batch.token_text.reshape(8, 8)[~inside].tolist()) == {-1}
    y, x = torch.nonzero(bright, as_tuple=True)
    tight = torch.stack([x.min(), y.min(), x.max() + 1, y.max() + 1]) / 96
    torch.testing.assert_close(batch.boxes_xyxy[0], tight, atol=0.015, rtol=0)


def test_without_padding_nothing_is_marked() -> None:
    assert batch_of([item([])]).valid is None


def test_a_view_follows_the_model(tiny: TowerParams) -> None:
    clip = files.build(files.tower_config(tiny))
    clip.visual.preprocess_cfg = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}
    tower = DenseClip(clip)
    view = view_of(TrainParams(resize="pad"), tower)
    assert (view.image_px, view.grid, view.resize, view.preprocess.mean[0]) == (96, 8, "pad", 0.5)
    assert view_of(TrainParams(image_px=144), tower).grid == 12
    with pytest.raises(InputError, match="train.image_px: expected a multiple of the model's patch of 12 px, got 100"):
        view_of(TrainParams(image_px=100), tower)
