"""Open Images: verified labels, those that are there and those that are not."""

import pytest

from umgclip.errors import DataError, InputError

ROWS = (
    "000a,verification,/m/01,1", "000a,verification,/m/02,0", "000a,crowdsource,/m/03,1.0",
    "000b,verification,/m/02,0", "000b,verification,/m/04,1", "000b,verification,/m/01,0.7",
    "000c,verification,/m/01,1", "000c,crowdsource,/m/01,0",
    "ffff,verification,/m/01,1", "fffe,verification,/m/01,1",
)  # fmt: skip


@pytest.fixture
def source(kit, tmp_path):
    for number, name in enumerate(("000a", "000b", "000c", "000d")):
        kit.photo(tmp_path / "validation" / f"{name}.jpg", number)
    kit.write_text(tmp_path / "labels.csv", "ImageID,Source,LabelName,Confidence", *ROWS)
    kit.write_text(
        tmp_path / "names.csv", "LabelName,DisplayName", "/m/01,Dog", "/m/02,Crane", '/m/03,"Crane"', "/m/09,Unused"
    )
    return tmp_path


def bring(kit, source, **options):
    given = {"annotations": (str(source / "labels.csv"),), "class_names": str(source / "names.csv"), **options}
    return kit.bring("open_images", source / "validation", source / "data", "benchmark", **given)


def test_positive_and_negative_labels(kit, source):
    done = bring(kit, source)
    classes = done.manifest.classes
    assert classes.things == ["Dog", "Crane (/m/02)", "Crane (/m/03)"]
    assert classes.names == {"Crane (/m/02)": ["Crane"], "Crane (/m/03)": ["Crane"]}
    told = {
        name: ([t.text for t in record.tags], [t.text for t in record.negative_tags])
        for name, record in done.records.items()
    }
    assert set(kit.measure(source / "data" / "benchmark")) == {"tagging"}
    assert told == {"000a.jpg": (["Dog", "Crane (/m/03)"], ["Crane (/m/02)"]), "000b.jpg": ([], ["Crane (/m/02)"])}


def test_what_cannot_be_used_is_quarantined(kit, source):
    done = bring(kit, source)
    details = {(row["shard"], row["reason"]): row["detail"] for row in done.quarantine}
    assert details["fffe, ...", "no_image"] == "2 annotations of 2 images that are not here"
    assert [row["detail"] for row in done.quarantine if row["shard"] == "000b.jpg"] == [
        "/m/04: expected a description of the label, got none", "Dog: expected confidence 0 or 1, got '0.7'"
    ]  # fmt: skip
    assert {shard for _, shard in done.reasons} == {"000b.jpg", "000c.jpg", "000d.jpg", "fffe, ..."}


def test_the_same_image_again_adds_what_is_said_of_it(kit, source):
    (source / "validation" / "000d.jpg").write_bytes((source / "validation" / "000a.jpg").read_bytes())
    with (source / "labels.csv").open("a") as table:
        table.write("000d,verification,/m/01,1\n000d,verification,/m/03,0\n000d,verification,/m/02,0\n")
    record = bring(kit, source).records["000a.jpg"]
    assert [tag.text for tag in record.tags] == ["Dog", "Crane (/m/03)"]
    assert [tag.text for tag in record.negative_tags] == ["Crane (/m/02)", "Crane (/m/03)"]


def test_what_is_missing_is_named_with_its_home(kit, source):
    with pytest.raises(DataError, match=r"nothing\.csv: expected verified labels .*storage.googleapis.com/openimages"):
        bring(kit, source, annotations=(str(source / "nothing.csv"),))
    with pytest.raises(DataError, match=r"nothing\.csv: expected descriptions .*storage.googleapis.com/openimages"):
        bring(kit, source, class_names=str(source / "nothing.csv"))
    with pytest.raises(InputError, match="expected --annotations, a table of verified image labels, and --class-names"):
        bring(kit, source, class_names=None)
    with pytest.raises(InputError, match="expected the columns ImageID, LabelName, Confidence"):
        bring(kit, source, annotations=(str(source / "names.csv"),))
