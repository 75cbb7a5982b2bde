"""ImageNet: folders by synset or by number, open_clip's names in the synsets' order, OpenAI's templates."""

import pytest

from umgclip.errors import DataError
from umgclip.sources.formats.imagenet import imagenet_classes


def test_names_stand_in_the_order_of_the_synsets():
    from open_clip import IMAGENET_CLASSNAMES

    labels, templates = imagenet_classes()
    synsets = [key for key in labels if key.startswith("n")]
    assert len(synsets) == 1000
    assert synsets == sorted(synsets)
    assert [labels[synset].names[0] for synset in synsets] == list(IMAGENET_CLASSNAMES)
    assert len({label.label for label in labels.values()}) == 1000  # "missile" and "sunglasses" are two classes each
    assert (labels["n01440764"].label, labels["657"].label) == ("tench", "missile (n03773504)")
    assert len(templates) == 80
    assert "a bad photo of a {}." in templates


@pytest.mark.parametrize("folders", [("n01440764", "n03773504", "n04008634"), ("0", "657", "744")])
def test_a_benchmark_has_the_classes_that_have_a_folder(kit, tmp_path, folders):
    for number, folder in enumerate(folders):
        kit.photo(tmp_path / "val" / folder / f"ILSVRC2012_val_{number:08d}.jpg", number)
    kit.photo(tmp_path / "val" / "other" / "x.jpg", 7)
    done = kit.bring("imagenet", tmp_path / "val", tmp_path / "data", "benchmark")
    classes = done.manifest.classes
    assert classes.things == ["tench", "missile (n03773504)", "missile (n04008634)"]
    assert classes.names == dict.fromkeys(classes.things[1:], ["missile"])
    assert len(classes.templates) == 80
    record = done.records[f"{folders[1]}/ILSVRC2012_val_00000001.jpg"]
    assert [tag.text for tag in record.tags] == ["missile (n03773504)"]
    assert record.source.dataset == "test/singles"
    assert done.reasons == [("no_class", "other/x.jpg")]
    assert set(kit.measure(tmp_path / "data" / "benchmark")) == {"classification"}


def test_a_table_tells_the_classes_of_images_without_folders(kit, tmp_path):
    for number in range(3):
        kit.photo(tmp_path / "val" / f"ILSVRC2012_val_{number:08d}.jpg", number)
    table = kit.write_text(
        tmp_path / "LOC_val_solution.csv", "ImageId,PredictionString", "ILSVRC2012_val_00000000,n03773504 85 1 499 272",
        "ILSVRC2012_val_00000001,n01440764 1 2 3 4 n01440764 5 6 7 8", "ILSVRC2012_val_00000009,n01440764 1 2 3 4",
    )  # fmt: skip
    done = kit.bring("imagenet", tmp_path / "val", tmp_path / "data", "benchmark", annotations=(str(table),))
    assert done.manifest.classes.things == ["tench", "missile (n03773504)"]
    tags = {name[-5:-4]: [tag.text for tag in record.tags] for name, record in done.records.items()}
    assert tags == {"0": ["missile (n03773504)"], "1": ["tench"]}
    assert done.reasons == [("no_class", "ILSVRC2012_val_00000002.jpg"), ("no_image", "ILSVRC2012_val_00000009, ...")]


def test_folders_of_other_classes_are_no_imagenet(kit, photos, tmp_path):
    with pytest.raises(DataError, match=r"photos: expected folders named by synset.* ImageNet is at https://image-net"):
        kit.bring("imagenet", photos, tmp_path / "data", "benchmark")
