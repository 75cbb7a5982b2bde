"""What a tool gives back becomes corrections: confirmed, changed, removed and new parts, for each of the tools."""

import base64
import io
import json
import zipfile
import zlib
from dataclasses import replace

import numpy as np
import pytest

from umgclip.data.corrections import open_corrections
from umgclip.errors import DataError, InputError
from umgclip.geometry import masks as mask_ops
from umgclip.review.importing import run_import
from umgclip.review.shown import ASKED, read_shown
from umgclip.review.tools.brush import encode_brush

LABEL_STUDIO, FIFTYONE, CVAT = "label-studio", "fiftyone", "cvat"
WIDTH, HEIGHT = 64, 48


class LabelStudio:
    """A person at Label Studio: `change` gets the results of a task, under ids of the tool's own."""

    def __init__(self, folder, *, keep_ids=False):
        self.folder, self.keep_ids = folder, keep_ids

    def answer(self, change, submitted=lambda key: True):
        tasks = json.loads((self.folder / "tasks.json").read_text())
        for number, task in enumerate(tasks, 1):
            results = task["predictions"][0]["result"]
            if not self.keep_ids:  # Label Studio gives new ids to what it copies from a prediction
                for part in results:
                    part["id"] = f"new-{part['id']}"
            task["id"] = number
            done = {"id": 7, "completed_by": 3, "updated_at": "2026-01-02T03:04:05Z", "was_cancelled": False}
            key = task["data"]["key"]
            task["annotations"] = [{**done, "result": change(results)}] if submitted(key) else []
        return self.write(tasks)

    def write(self, tasks):
        path = self.folder / "export.json"
        path.write_text(json.dumps(tasks))
        return path


def named(results, label):
    """The result of the region with a label."""
    keys = ("rectanglelabels", "brushlabels")
    return next(part for part in results if any(part["value"].get(key) == [label] for key in keys))


def whole(results, name):
    return next(part for part in results if part["from_name"] == name)


def imported(answers, out, **options):
    run_import(answers, read_shown(answers if answers.is_dir() else answers.parent), out, **options)
    corrections = open_corrections(out)
    return {one.key: one for one in corrections.each()}


def fiftyone_answer(folder, change):
    content = json.loads((folder / "samples.json").read_text())
    for sample in content["samples"]:
        sample["tags"].append("reviewed")
        change(sample)
    (folder / "samples.json").write_text(json.dumps(content))
    return folder / "samples.json"


def cvat_answer(folder, change):
    content = json.loads((folder / "annotations" / "instances_default.json").read_text())
    for part in content["annotations"]:
        part["iscrowd"] = int(not part["segmentation"])  # it means nothing that comes back
    change(content)
    with zipfile.ZipFile(folder / "export.zip", "w") as archive:
        archive.writestr("annotations/instances_default.json", json.dumps(content))
    return folder / "export.zip"


def confirm(tool, folder):
    """All images, submitted as they were."""
    if tool == LABEL_STUDIO:
        return LabelStudio(folder).answer(lambda results: results)
    if tool == FIFTYONE:
        return fiftyone_answer(folder, lambda sample: None)
    return cvat_answer(folder, lambda content: None)


@pytest.mark.parametrize("tool", [LABEL_STUDIO, FIFTYONE, CVAT])
@pytest.mark.parametrize("masks", [True, False])
def test_what_was_left_as_it_was_is_confirmed_to_the_last_pixel(tool, masks, scenes, exported, tmp_path):
    record = scenes.scene(0)
    folder = exported([record], tool, masks=masks)
    (said,) = imported(confirm(tool, folder), tmp_path / "out", looked_at="all").values()
    shown = record.regions[:3]
    assert said.shown == ["0", "1", "2"]
    assert [one.id for one in said.regions] == ["0", "1", "2"]
    for region, before in zip(said.regions, shown, strict=True):
        assert (region.box_xyxy, region.mask, region.is_stuff) == (before.box_xyxy, before.mask, before.is_stuff)
        assert [(tag.text, tag.source, tag.score, tag.agreed_by) for tag in region.tags] == [
            (before.tags[0].text, "human", 1.0, ["clip_teacher"])
        ]
        assert (region.source, region.score) == ("human", 1.0)
        assert region.mask_source == ("human" if masks and before.mask is not None else None)
    assert (said.removed, said.negative_tags, said.removed_captions) == ([], [], [])
    if tool == CVAT:  # it asks for neither
        assert (said.tags, said.captions) == (None, None)
        assert said.regions[0].captions == record.regions[0].captions
    else:
        assert [(tag.text, tag.source) for tag in said.tags] == [("cat", "human"), ("dog", "human"), ("bird", "human")]
        assert [(one.text, one.source) for one in said.captions] == [("a cat & a dog", "human")]
        assert [(one.text, one.source) for one in said.regions[0].captions] == [("a cat; asleep", "human")]


def test_images_that_nobody_submitted_stay_as_they_are(scenes, exported, tmp_path):
    folder = exported([scenes.scene(n) for n in range(3)], LABEL_STUDIO)
    person = LabelStudio(folder)
    answers = person.answer(lambda results: results, submitted=lambda key: key == "k001")
    tasks = json.loads(answers.read_text())
    skipped = next(task for task in tasks if task["data"]["key"] == "k002")
    skipped["annotations"] = [{"id": 1, "was_cancelled": True, "result": []}]
    assert list(imported(person.write(tasks), tmp_path / "out")) == ["k001"]


def test_of_two_people_at_one_task_the_later_one_wins(scenes, exported, tmp_path):
    person = LabelStudio(exported([scenes.scene(0)], LABEL_STUDIO))
    tasks = json.loads(person.answer(lambda results: results).read_text())
    (late,) = tasks[0]["annotations"]
    early = json.loads(json.dumps(late)) | {"id": 6, "completed_by": {"email": "bob"}, "updated_at": "2025-01-01"}
    whole(early["result"], "tags")["value"]["choices"] = ["fox"]
    tasks[0]["annotations"].append(early)
    (stated,) = imported(person.write(tasks), tmp_path / "out").values()
    assert [tag.text for tag in stated.tags] == ["cat", "dog", "bird"]
    assert [look.by for look in stated.looks] == ["bob", "3"]
    conflict = json.loads((tmp_path / "out" / "conflicts.jsonl").read_text())
    assert (conflict["differs"], conflict["replaced"]["tags"][0]["text"]) == (["tags"], "fox")


def test_an_export_of_cvat_tells_only_of_images_that_differ(scenes, exported, tmp_path):
    folder = exported([scenes.scene(n) for n in range(3)], CVAT)

    def remove_first(content):
        first = next(image["id"] for image in content["images"] if image["file_name"] == "k001.png")
        content["annotations"] = [one for one in content["annotations"] if one["image_id"] != first]

    answers = cvat_answer(folder, remove_first)
    said = imported(answers, tmp_path / "out")
    assert list(said) == ["k001"]
    assert said["k001"].regions == []
    assert [one.id for one in said["k001"].removed] == ["0", "1", "2"]
    # the alt text names cat and grass, so that they may be there; nobody was asked for tags
    assert [tag.text for tag in said["k001"].negative_tags] == ["dog"]
    assert list(imported(answers, tmp_path / "all", looked_at="all")) == ["k000", "k001", "k002"]


def test_an_image_that_stands_twice_in_an_export_of_cvat_is_not_used(scenes, exported, tmp_path):
    folder = exported([scenes.scene(n) for n in range(2)], CVAT)

    def repeat(content):
        content["images"].append({**content["images"][0], "id": 99})

    answers = cvat_answer(folder, repeat)
    key = json.loads((folder / "annotations" / "instances_default.json").read_text())["images"][0]["file_name"][:4]
    summary = dict(run_import(answers, read_shown(folder), tmp_path / "out", "all").rows)
    assert summary["not usable"].startswith("image_twice 1")
    assert [one.key for one in open_corrections(tmp_path / "out").each()] == [{"k000": "k001", "k001": "k000"}[key]]
    # the entries may be in two files
    with zipfile.ZipFile(folder / "two.zip", "w") as archive:
        for name in ("a", "b"):
            data = (folder / "annotations" / "instances_default.json").read_bytes()
            archive.writestr(f"{name}/annotations/instances_default.json", data)
    summary = dict(run_import(folder / "two.zip", read_shown(folder), tmp_path / "none", "all").rows)
    assert summary["not usable"].startswith("image_twice 2")
    assert summary["images that people looked at"].startswith("0,")


def test_an_export_of_cvat_without_any_annotation_is_an_error_unless_the_user_says_so(scenes, exported, tmp_path):
    folder = exported([scenes.scene(0)], CVAT)
    answers = cvat_answer(folder, lambda content: content["annotations"].clear())
    with pytest.raises(InputError, match="expected annotations, got none of 1 images.*--asked-for regions"):
        run_import(answers, read_shown(folder), tmp_path / "out")
    run_import(answers, replace(read_shown(folder), asked=frozenset({"regions"})), tmp_path / "out")
    assert next(open_corrections(tmp_path / "out").each()).regions == []


def test_every_kind_of_correction_in_label_studio(scenes, exported, tmp_path):
    record = scenes.scene(0)
    folder = exported([record], LABEL_STUDIO)
    drawn = scenes.disc((50, 40), 6)

    def change(results):
        named(results, "cat")["value"]["brushlabels"] = ["fox"]  # a new name, written by hand
        results.remove(named(results, "dog"))
        new = json.loads(json.dumps(named(results, "grass")))
        new |= {"id": "x", "value": {"format": "rle", "rle": encode_brush(drawn), "brushlabels": ["Bird "]}}
        box = {"x": 0, "y": 50, "width": 25, "height": 50, "rotation": 0, "rectanglelabels": ["grass"]}
        outline = {"points": [[50, 0], [75, 0], [75, 50], [50, 50]], "closed": True, "polygonlabels": ["dog"]}
        results += [
            new,
            {**new, "id": "y", "from_name": "box", "type": "rectanglelabels", "value": box},
            {**new, "id": "z", "from_name": "poly", "type": "polygonlabels", "value": outline},
        ]
        whole(results, "tags")["value"]["choices"] = ["bird", "fox"]
        whole(results, "captions")["value"]["text"] = ["a fox on grass"]
        return results

    answers = LabelStudio(folder).answer(change)
    (said,) = imported(answers, tmp_path / "out").values()
    regions = {one.id: one for one in said.regions}
    fox = regions["0"]
    assert (fox.tags[0].text, fox.tags[0].source) == ("fox", "human")
    assert (fox.box_xyxy, fox.mask) == (record.regions[0].box_xyxy, record.regions[0].mask)
    assert [text.text for text in fox.negatives] == ["cat"]
    bird, grass, dog = regions["human-0"], regions["human-1"], regions["human-2"]
    assert bird.tags[0].text == "bird"  # as it is written in the list
    assert (mask_ops.decode(bird.mask) == drawn).all()
    assert bird.box_xyxy == mask_ops.box_of(drawn)
    assert (grass.box_xyxy, grass.mask, grass.is_stuff) == ((0.0, 24.0, 16.0, 48.0), None, True)
    assert (dog.box_xyxy, mask_ops.area(dog.mask)) == ((32.0, 0.0, 48.0, 24.0), 16 * 24)
    assert [one.tags[0].text for one in said.removed] == ["cat", "dog"]
    assert [tag.text for tag in said.tags] == ["bird", "fox"]
    assert [tag.text for tag in said.negative_tags] == ["cat"]  # a dog was drawn elsewhere
    assert [text.text for text in said.removed_captions] == ["a cat & a dog"]
    assert said.looks[0].model_dump() == {
        "tool": "label-studio", "by": "3", "at": "2026-01-02T03:04:05Z", "task": "1/7",
    }  # fmt: skip


@pytest.mark.parametrize("tool", [LABEL_STUDIO, FIFTYONE])
def test_another_label_takes_the_captions_with_it_that_were_made_from_the_old_one(tool, scenes, exported, tmp_path):
    record = scenes.scene(0)
    cat, *others = record.regions
    texts = ["a cat; asleep", "two cats", "a civet cat", "a category"]
    cat = cat.model_copy(update={"captions": [scenes.text(words) for words in texts]})
    record = record.model_copy(update={"regions": [cat, *others]})
    folder = exported([record], tool)

    def in_label_studio(results):
        named(results, "cat")["value"]["brushlabels"] = ["civet cat"]
        whole(results, "region_caption")["value"]["text"].append("no house cat")
        return results

    def in_fiftyone(sample):
        sample["regions"]["detections"][0]["label"] = "civet cat"
        sample["regions"]["detections"][0]["caption"] += "\nno house cat"

    answers = (
        LabelStudio(folder).answer(in_label_studio) if tool == LABEL_STUDIO else fiftyone_answer(folder, in_fiftyone)
    )
    (stated,) = imported(answers, tmp_path / "out").values()
    civet = stated.regions[0]
    assert [tag.text for tag in civet.tags] == ["civet cat"]
    assert [text.text for text in civet.negatives] == ["cat"]
    # what names the old label goes, the rest is not confirmed, and the person's own text stands whatever it names
    assert [(text.text, text.source) for text in civet.captions] == [
        ("no house cat", "human"), ("a civet cat", "clip_teacher"), ("a category", "clip_teacher"),
    ]  # fmt: skip


def test_a_caption_of_the_image_that_names_what_was_removed_is_not_confirmed(scenes, exported, tmp_path):
    folder = exported([scenes.scene(0)], LABEL_STUDIO)

    def change(results):
        results.remove(named(results, "dog"))
        whole(results, "tags")["value"]["choices"] = ["cat", "bird"]
        whole(results, "captions")["value"]["text"].append("a cat without a dog")
        return results

    (stated,) = imported(LabelStudio(folder).answer(change), tmp_path / "out").values()
    assert [tag.text for tag in stated.negative_tags] == ["dog"]
    assert [(text.text, text.source) for text in stated.captions] == [("a cat without a dog", "human")]
    assert [text.text for text in stated.removed_captions] == ["a cat & a dog"]


def test_a_moved_box_loses_its_mask_and_its_old_place(scenes, exported, tmp_path):
    folder = exported([scenes.scene(0)], LABEL_STUDIO, masks=False)

    def change(results):
        named(results, "cat")["value"] |= {"x": 40, "y": 40}
        named(results, "dog")["value"]["x"] += 0.5  # a third of a pixel: as it was
        return results

    (said,) = imported(LabelStudio(folder, keep_ids=True).answer(change), tmp_path / "out").values()
    cat, dog, _ = said.regions
    assert cat.mask is None
    assert cat.box_xyxy == pytest.approx((25.6, 19.2, 44.6, 38.2))
    assert dog.box_xyxy == scenes.scene(0).regions[1].box_xyxy
    assert [one.id for one in said.removed] == ["0"]


def test_a_turned_rectangle_is_the_mask_of_its_outline(scenes, exported, tmp_path):
    folder = exported([scenes.scene(0)], LABEL_STUDIO, masks=False)

    def change(results):
        value = named(results, "dog")["value"]
        value |= {"x": 50, "y": 25, "width": 25, "height": 25, "rotation": 90}  # about (32, 12), to the left
        return results

    (said,) = imported(LabelStudio(folder).answer(change), tmp_path / "out").values()
    dog = next(one for one in said.regions if one.tags[0].text == "dog")
    assert dog.box_xyxy == (20.0, 12.0, 32.0, 28.0)
    assert mask_ops.area(dog.mask) == 12 * 16


def test_a_stroke_that_was_wiped_away_is_removed(scenes, exported, tmp_path):
    folder = exported([scenes.scene(0)], LABEL_STUDIO)

    def change(results):
        named(results, "cat")["value"]["rle"] = encode_brush(np.zeros((HEIGHT, WIDTH), bool))
        return results

    (said,) = imported(LabelStudio(folder).answer(change), tmp_path / "out").values()
    assert [one.id for one in said.removed] == ["0"]


def test_corrections_in_fiftyone(scenes, exported, tmp_path):
    folder = exported([scenes.scene(0)], FIFTYONE)

    def change(sample):
        cat, dog, grass = sample["regions"]["detections"]
        cat["label"] = "dog"
        dog["bounding_box"] = [0, 0, 0.5, 0.5]
        del sample["regions"]["detections"][2]
        half = np.zeros((24, 32), bool)
        half[:, 16:] = True
        buffer = io.BytesIO()
        np.save(buffer, half)
        mask = {"$binary": {"base64": base64.b64encode(zlib.compress(buffer.getvalue())).decode(), "subType": "00"}}
        # drawn by hand: no id, no caption
        sample["regions"]["detections"].append({"label": "moon", "bounding_box": [0.5, 0.5, 0.5, 0.5], "mask": mask})
        sample["image_tags"]["classifications"].pop()
        sample["captions"] = []
        assert grass["label"] == "grass"

    (said,) = imported(fiftyone_answer(folder, change), tmp_path / "out").values()
    cat, dog, moon = said.regions
    assert (cat.id, cat.tags[0].text, [text.text for text in cat.negatives]) == ("0", "dog", ["cat"])
    assert (dog.id, dog.box_xyxy, dog.mask) == ("1", (0.0, 0.0, 32.0, 24.0), None)
    assert (moon.id, moon.tags[0].text, moon.box_xyxy) == ("human-0", "moon", (32.0, 24.0, 64.0, 48.0))
    assert mask_ops.tight_box(moon.mask) == (48.0, 24.0, 64.0, 48.0)
    assert [one.id for one in said.removed] == ["0", "1", "2"]
    assert [tag.text for tag in said.negative_tags] == ["bird", "grass"]
    assert (said.captions, [text.text for text in said.removed_captions]) == ([], ["a cat & a dog"])


def test_polygons_of_cvat_are_masks_and_its_rectangles_are_boxes(scenes, exported, tmp_path):
    folder = exported([scenes.scene(0)], CVAT)

    def change(content):
        cat, dog, _ = content["annotations"]
        x, y, width, height = dog["bbox"]
        ring = [x, y, x + width, y, x + width, y + height, x, y + height]
        dog["segmentation"] = [[round(side, 2) for side in ring]]
        cat |= {"segmentation": [[8, 8, 40, 8, 8, 40]], "bbox": [8, 8, 32, 32], "iscrowd": 0}

    (said,) = imported(cvat_answer(folder, change), tmp_path / "out").values()
    cat, dog, _ = said.regions
    assert (dog.box_xyxy, dog.mask) == (scenes.scene(0).regions[1].box_xyxy, None)
    assert cat.mask == mask_ops.from_polygons([[8.0, 8.0, 40.0, 8.0, 8.0, 40.0]], (HEIGHT, WIDTH))


def refused(scenes, exported, tmp_path, tool=LABEL_STUDIO, **options):
    """Import answers that a test has broken; gives the reasons of the quarantine and the keys that came through."""
    out = tmp_path / "out"
    keys = list(imported(tmp_path / "review" / "export.json", out, **options))
    rows = [json.loads(line) for line in (out / "quarantine.jsonl").read_text().splitlines()]
    return [(row["key"], row["reason"]) for row in rows], keys


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda results: named(results, "dog")["value"].update(x=120), "bad_answer"),  # outside of the image
        (lambda results: named(results, "dog")["value"].update(x=None), "bad_region"),
        (lambda results: named(results, "dog").update(original_width=99), "wrong_size"),
        (lambda results: named(results, "dog").update(image_rotation=90), "bad_region"),
        (lambda results: named(results, "cat")["value"].update(rle=[1, 2]), "bad_region"),
        (lambda results: named(results, "cat")["value"].update(format="png"), "bad_region"),
        (lambda results: named(results, "cat").update(type="keypointlabels"), "bad_region"),
    ],
)
def test_a_bad_region_puts_its_image_into_the_quarantine_and_no_other(change, reason, scenes, exported, tmp_path):
    folder = exported([scenes.scene(n) for n in range(2)], LABEL_STUDIO)
    calls = iter(range(2))

    def break_first(results):
        if next(calls) == 0:
            change(results)
        return results

    LabelStudio(folder).answer(break_first)
    rows, keys = refused(scenes, exported, tmp_path)
    assert [one for _, one in rows] == [reason]
    assert len(keys) == 1
    assert rows[0][0] not in keys


def test_a_control_that_is_not_ours_and_an_image_that_was_not_shown_are_counted(scenes, exported, tmp_path):
    folder = exported([scenes.scene(n) for n in range(2)], LABEL_STUDIO)
    quality = {"id": "q", "from_name": "quality", "to_name": "image", "type": "choices", "value": {"choices": ["bad"]}}
    person = LabelStudio(folder)
    tasks = json.loads(person.answer(lambda results: [*results, quality]).read_text())
    tasks[0]["data"]["key"] = "other"
    tasks.append({"data": {"image": "x"}, "annotations": []})
    person.write(tasks)
    rows, keys = refused(scenes, exported, tmp_path)
    gone = tasks[0]["data"]["sha256"]
    assert sorted(rows, key=str) == sorted(
        [("other", "not_shown"), (keys[0], "unknown_control"), (None, "no_task")], key=str
    )
    assert [tag.text for tag in next(open_corrections(tmp_path / "out").each()).tags] == ["cat", "dog", "bird"]
    assert gone not in open_corrections(tmp_path / "out").starts


def test_a_task_of_another_image_of_the_same_key_is_refused(scenes, exported, tmp_path):
    person = LabelStudio(exported([scenes.scene(0)], LABEL_STUDIO))
    tasks = json.loads(person.answer(lambda results: results).read_text())
    tasks[0]["data"]["sha256"] = "0" * 64
    person.write(tasks)
    rows, keys = refused(scenes, exported, tmp_path)
    assert (rows, keys) == ([("k000", "bad_answer")], [])


@pytest.mark.parametrize("images", [1, 6])
@pytest.mark.parametrize("name", ["tags", "captions", "region_caption"])
def test_a_control_that_no_answer_has_was_not_asked_for_unless_the_user_says_so(
    name, images, scenes, exported, tmp_path
):
    folder = exported([scenes.scene(n) for n in range(images)], LABEL_STUDIO)
    answers = LabelStudio(folder).answer(lambda results: [one for one in results if one["from_name"] != name])
    option = "region-captions" if name == "region_caption" else name

    def lists(one):
        regions = [text.text for text in one.regions[0].captions]
        return {"tags": one.tags, "captions": one.captions, "region_caption": regions}

    shown = read_shown(folder)
    summary = dict(run_import(answers, shown, tmp_path / "out").rows)
    assert summary["not asked for (images)"].startswith(f"{option} ({images}), left as they are; `--asked-for")
    before = "a cat; asleep"
    for one in open_corrections(tmp_path / "out").each():
        assert lists(one)[name] == ([before] if name == "region_caption" else None)
        assert (one.negative_tags, one.removed_captions) == ([], [])
    asked = replace(shown, asked=frozenset({option}))
    summary = dict(run_import(answers, asked, tmp_path / "all").rows)
    assert "not asked for (images)" not in summary
    for one in open_corrections(tmp_path / "all").each():
        assert lists(one)[name] == []
        assert [tag.text for tag in one.negative_tags] == (["bird"] if name == "tags" else [])


def test_no_region_in_any_answer_removes_none(scenes, exported, tmp_path):
    folder = exported([scenes.scene(n) for n in range(2)], LABEL_STUDIO)
    answers = LabelStudio(folder).answer(lambda results: [one for one in results if "original_width" not in one])
    for one in imported(answers, tmp_path / "out").values():
        assert (one.regions, one.removed, one.shown) == (None, [], [])
        assert len(one.tags) == 3


def test_answers_without_anything_are_no_removals_unless_the_user_says_so(scenes, exported, tmp_path):
    folder = exported([scenes.scene(0)], LABEL_STUDIO)
    answers = LabelStudio(folder).answer(lambda results: [])
    assert imported(answers, tmp_path / "out") == {}
    assert "says_nothing" in (tmp_path / "out" / "quarantine.jsonl").read_text()
    run_import(answers, replace(read_shown(folder), asked=frozenset(ASKED)), tmp_path / "all")
    (one,) = open_corrections(tmp_path / "all").each()
    assert (one.regions, one.tags, one.captions) == ([], [], [])
    folder = exported([scenes.scene(0)], FIFTYONE, name="fiftyone")
    emptied = fiftyone_answer(folder, lambda sample: sample.update(regions=None, image_tags=None, captions=None))
    assert imported(emptied, tmp_path / "fiftyone-out") == {}


def test_a_relation_between_regions_is_counted_and_costs_nothing(scenes, exported, tmp_path):
    folder = exported([scenes.scene(0)], LABEL_STUDIO)
    relation = {"from_id": "region-0", "to_id": "region-1", "type": "relation", "direction": "right"}
    LabelStudio(folder).answer(lambda results: [*results, relation])
    rows, keys = refused(scenes, exported, tmp_path)
    assert (rows, keys) == ([("k000", "unknown_control")], ["k000"])
    assert [one.id for one in next(open_corrections(tmp_path / "out").each()).regions] == ["0", "1", "2"]


def test_images_in_the_quarantine_are_not_those_that_nobody_looked_at(scenes, exported, tmp_path):
    folder = exported([scenes.scene(n) for n in range(4)], LABEL_STUDIO)
    person = LabelStudio(folder)
    tasks = json.loads(person.answer(lambda results: results, submitted=lambda key: key != "k003").read_text())
    by_key = {task["data"]["key"]: task for task in tasks}
    by_key["k000"]["annotations"][0]["result"][0]["image_rotation"] = 90
    by_key["k001"]["annotations"] *= 2  # two people
    summary = dict(run_import(person.write(tasks), read_shown(folder), tmp_path / "out").rows)
    assert summary["images nobody looked at"] == "1, left as they are"
    assert summary["images whose answers are not usable"] == "1, left as they are"


def test_new_names_are_taken_or_refused_as_asked(scenes, exported, tmp_path):
    folder = exported([scenes.scene(0)], LABEL_STUDIO)

    def change(results):
        named(results, "cat")["value"]["brushlabels"] = ["okapi"]
        return results

    answers = LabelStudio(folder).answer(change)
    summary = run_import(answers, read_shown(folder), tmp_path / "a")
    assert ("names that are new", "okapi 1") in summary.rows
    run_import(answers, read_shown(folder), tmp_path / "b", new_names=False)
    assert json.loads((tmp_path / "b" / "quarantine.jsonl").read_text())["reason"] == "unknown_name"
    assert len(open_corrections(tmp_path / "b")) == 0


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (
            lambda tasks: json.dumps([{**t, "annotations": []} for t in tasks]),
            InputError,
            "predictions of models alone",
        ),
        (lambda tasks: json.dumps([{"data": {"key": "k000"}}]), InputError, "1 tasks that nobody submitted"),
        (lambda tasks: json.dumps([{"image": "x", "annotation_id": 1}]), InputError, "got JSON-MIN"),
        (lambda tasks: json.dumps(tasks)[:-40], DataError, "export.json"),
        (lambda tasks: "x0,y0\n1,2\n", DataError, "export.json"),
    ],
)
def test_another_export_and_half_a_file_are_clear_errors(content, error, message, scenes, exported, tmp_path):
    folder = exported([scenes.scene(0)], LABEL_STUDIO)
    answers = LabelStudio(folder).answer(lambda results: results)
    answers.write_text(content(json.loads(answers.read_text())))
    with pytest.raises(error, match=message):
        run_import(answers, read_shown(folder), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_fiftyone_without_the_tag_and_cvat_without_instances_are_clear_errors(scenes, exported, tmp_path):
    folder = exported([scenes.scene(0)], FIFTYONE)
    with pytest.raises(InputError, match="tag 'reviewed'.* found none among 1"):
        run_import(folder, read_shown(folder), tmp_path / "out")
    folder = exported([scenes.scene(0)], CVAT, name="cvat")
    with zipfile.ZipFile(folder / "empty.zip", "w") as archive:
        archive.writestr("readme.txt", "x")
    with pytest.raises(InputError, match="expected annotations/instances_default.json"):
        run_import(folder / "empty.zip", read_shown(folder), tmp_path / "out")
    (folder / "cut.zip").write_bytes((folder / "annotations.zip").read_bytes()[:200])
    with pytest.raises(DataError, match="damaged or cut off"):
        run_import(folder / "cut.zip", read_shown(folder), tmp_path / "out")


def test_bad_images_of_fiftyone_and_cvat_are_counted(scenes, exported, tmp_path):
    folder = exported([scenes.scene(n) for n in range(3)], FIFTYONE)

    def change(sample):
        if sample["key"] == "k000":
            sample["metadata"]["width"] = 1
        elif sample["key"] == "k001":
            sample["regions"]["detections"][0]["mask"] = {"$binary": {"base64": "eJw="}}
        else:
            sample["key"] = "gone"

    said = imported(fiftyone_answer(folder, change), tmp_path / "out")
    rows = [json.loads(line) for line in (tmp_path / "out" / "quarantine.jsonl").read_text().splitlines()]
    assert said == {}
    assert sorted((row["key"], row["reason"]) for row in rows) == [
        ("gone", "not_shown"), ("k000", "bad_region"), ("k001", "bad_region"),
    ]  # fmt: skip
    folder = exported([scenes.scene(n) for n in range(3)], CVAT, name="cvat")

    def spoil(content):
        content["images"][0]["width"] = 1
        content["images"][1]["file_name"] = "elsewhere/gone.png"
        content["annotations"][-1]["category_id"] = 99

    said = imported(cvat_answer(folder, spoil), tmp_path / "out2")
    rows = [json.loads(line) for line in (tmp_path / "out2" / "quarantine.jsonl").read_text().splitlines()]
    assert said == {}
    assert sorted(row["reason"] for row in rows) == ["bad_region", "not_shown", "wrong_size"]
