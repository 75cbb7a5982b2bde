"""The wrapper for FiftyOne, with stand-ins for its classes; the real package is in the heavy tests."""

import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

import umgclip.fiftyone
from umgclip.errors import InputError


class Sample(dict):
    has_field = dict.__contains__


@pytest.fixture
def fiftyone(monkeypatch):
    models, labels = ModuleType("fiftyone.core.models"), ModuleType("fiftyone.core.labels")
    for name in ("Model", "SamplesMixin", "EmbeddingsMixin", "PromptMixin"):
        setattr(models, name, type(name, (), {}))
    for name in ("Classification", "Detection", "Detections"):
        setattr(labels, name, SimpleNamespace)
    for name, module in {"fiftyone": ModuleType("fiftyone"), "fiftyone.core": ModuleType("fiftyone.core"),
                         models.__name__: models, labels.__name__: labels}.items():  # fmt: skip
        monkeypatch.setitem(sys.modules, name, module)
    return models


class Stand:
    """A model that sees how bright a picture or a box is."""

    def classify(self, image, labels, boxes_xyxy=None):
        boxes = [[0, 0, image.shape[1], image.shape[0]]] if boxes_xyxy is None else np.asarray(boxes_xyxy).astype(int)
        light = np.array([image[y0:y1, x0:x1].mean() / 255 for x0, y0, x1, y1 in boxes])
        return np.stack([1 - light, light], axis=1)

    def detector(self, labels, settings):
        boxes = np.array([[2.0, 1.0, 6.0, 5.0]], np.float32)
        masks = np.zeros((1, 10, 8), bool)
        masks[:, 1:3, 2:6] = True
        ids, scores = np.array([1]), np.array([0.75], np.float32)
        regions = SimpleNamespace(boxes_xyxy=boxes, masks=masks, scores=scores, label_ids=ids)
        return SimpleNamespace(find=lambda pixels: [regions] * len(pixels))

    def embed_images(self, images):
        return np.stack([image.mean(axis=(0, 1)) for image in images])

    def embed_texts(self, texts):
        return np.ones((1 if isinstance(texts, str) else len(texts), 3), np.float32)


IMAGE = np.zeros((10, 8, 3), np.uint8)
IMAGE[:, 4:] = 255
LABELS = ["dark", "light"]


def test_regions_are_detections_with_masks_in_their_box(fiftyone):
    model = umgclip.fiftyone.as_fiftyone(Stand(), LABELS)
    assert isinstance(model, fiftyone.SamplesMixin) and isinstance(model, fiftyone.Model)  # noqa: PT018
    (one,) = model.predict(IMAGE).detections
    assert (one.label, one.confidence) == ("light", 0.75)
    assert one.bounding_box == [2 / 8, 1 / 10, 4 / 8, 4 / 10]
    assert one.mask.tolist() == [[True] * 4] * 2 + [[False] * 4] * 2


def test_boxes_of_a_field_are_named(fiftyone):
    model = umgclip.fiftyone.as_fiftyone(Stand(), LABELS, task="boxes", boxes="truth")
    model.needs_fields = {}
    assert model.needs_fields == {"boxes": "truth"}
    boxes = [
        SimpleNamespace(bounding_box=[0.5, 0, 0.5, 1], mask=None),
        SimpleNamespace(bounding_box=[0, 0, 0.5, 1], mask=1),
    ]
    sample = Sample(truth=SimpleNamespace(detections=boxes))
    named = model.predict_all([IMAGE, IMAGE], samples=[sample, Sample(truth=None)])
    assert [(one.label, one.mask) for one in named[0].detections] == [("light", None), ("dark", 1)]
    assert named[1].detections == []
    with pytest.raises(InputError, match="boxes: expected the field 'truth' in every sample"):
        model.predict(IMAGE, sample=Sample())


def test_images_are_named_and_embedded_in_any_form(fiftyone):
    model = umgclip.fiftyone.as_fiftyone(Stand(), LABELS, task="image")
    grey, alpha = IMAGE[..., 0], np.dstack([IMAGE, IMAGE[..., :1]])
    assert [one.label for one in model.predict_all([grey, alpha])] == ["dark"] * 2
    assert model.embed_all([grey, alpha]).tolist() == [[127.5] * 3] * 2
    assert model.get_embeddings().shape == (2, 3)
    assert (model.embed(grey).shape, model.embed_prompt("x").shape, model.embed_prompts("ab").shape) == (
        (3,),
        (3,),
        (2, 3),
    )
    assert (model.media_type, model.has_embeddings, model.can_embed_prompts) == ("image", True, True)


def test_wrong_arguments(fiftyone, monkeypatch):
    with pytest.raises(InputError, match="task: expected one of regions, boxes, image, got 'crops'"):
        umgclip.fiftyone.as_fiftyone(Stand(), LABELS, task="crops")
    for options in ({"task": "boxes"}, {"boxes": "truth"}):
        with pytest.raises(InputError, match='boxes: expected the field of detections with task="boxes" alone'):
            umgclip.fiftyone.as_fiftyone(Stand(), LABELS, **options)
    with pytest.raises(InputError, match="labels: expected names to choose from, got none"):
        umgclip.fiftyone.as_fiftyone(Stand()).predict(IMAGE)
    monkeypatch.setitem(sys.modules, "fiftyone.core.models", None)
    with pytest.raises(InputError, match="FiftyOne, which is not installed; run: pip install fiftyone"):
        umgclip.fiftyone.as_fiftyone(Stand(), LABELS)
