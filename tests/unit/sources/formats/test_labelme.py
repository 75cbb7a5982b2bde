"""labelme's JSON: polygons, rectangles, circles, masks, groups, and what is none of them."""

import base64
import json

import numpy as np

from umgclip.geometry import masks as mask_ops


def shape(label="cat", kind="polygon", points=((4, 4), (24, 4), (24, 20)), **more):
    return {"label": label, "points": [list(point) for point in points], "shape_type": kind, **more}


def write(kit, folder, name, *shapes, **more):
    kit.photo(folder / f"{name}.jpg", ord(name[0]))
    about = {"version": "5.4", "shapes": list(shapes), "imagePath": f"{name}.jpg", "imageWidth": 40, "imageHeight": 30}
    (folder / f"{name}.json").write_text(json.dumps(about | more))


def test_areas_become_regions(kit, tmp_path):
    piece = base64.b64encode(kit.encoded(np.full((4, 6), 255, np.uint8), "PNG")).decode()
    write(
        kit,
        tmp_path / "in",
        "a",
        shape(),
        shape("dog", "rectangle", ((30, 20), (10, 5))),
        shape("ball", "circle", ((20, 15), (25, 15))),
        shape("cup", "mask", ((2, 3), (7, 6)), mask=piece),
    )
    done = kit.bring("labelme", tmp_path / "in", tmp_path / "data")
    cat, dog, ball, cup = done.records["a.jpg"].regions
    assert (cat.tags[0].text, cat.tags[0].source, cat.mask is not None) == ("cat", "human", True)
    assert (dog.box_xyxy, dog.mask) == ((10, 5, 30, 20), None)
    assert abs(mask_ops.area(ball.mask) - 78.5) < 8
    assert (cup.box_xyxy, mask_ops.area(cup.mask)) == ((2, 3, 8, 7), 24)
    assert [tag.text for tag in done.records["a.jpg"].tags] == ["cat", "dog", "ball", "cup"]


def test_polygons_of_one_group_are_one_object(kit, tmp_path):
    apart = ((30, 20), (38, 20), (38, 28))
    write(
        kit, tmp_path / "in", "a", shape(group_id=1), shape(points=apart, group_id=1), shape(points=apart, group_id=2)
    )
    done = kit.bring("labelme", tmp_path / "in", tmp_path / "data")
    whole, other = done.records["a.jpg"].regions
    assert mask_ops.area(whole.mask) > mask_ops.area(other.mask) > 0
    assert whole.box_xyxy[2] > 37


def test_what_is_no_area_costs_itself(kit, tmp_path):
    folder = tmp_path / "in"
    write(
        kit,
        folder,
        "a",
        shape(),
        shape(kind="line", points=((1, 1), (5, 5))),
        shape(points=((1, 1), (2, 2))),
        shape(""),
        shape(points=((1, 1e300), (2, 2), (3, 3))),
        shape(kind="mask", points=((1, 1), (2, 2)), mask="AAAA"),
        5,
        shape(label=None),
        shape(points=((1, 1, 1), (2, 2), (3, 3))),
        flags={"blurred": True, "dark": False},
    )
    kit.photo(folder / "b.jpg", 1)
    (folder / "b.json").write_text("[" * 5000)
    kit.photo(folder / "c.jpg", 2)
    (folder / "c.json").write_text('{"caption": "another JSON"}')
    done = kit.bring("labelme", folder, tmp_path / "data")
    assert len(done.records["a.jpg"].regions) == 1
    assert sorted(reason for reason, name in done.reasons if name == "a.jpg") == [
        "bad_mask",
        "bad_mask",
        "bad_region",
        "bad_region",
        "bad_region",
        "no_class",
        "no_class",
        "no_class",
    ]
    assert [name for reason, name in done.reasons if reason == "bad_text"] == ["b.jpg", "c.jpg"]
    assert done.statistics["not_understood"] == {"flag blurred": 1}
