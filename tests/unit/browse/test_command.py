"""`umgclip data browse`: what it takes and what it says."""

from __future__ import annotations

import json
import re

import pytest

from umgclip.cli.data.browsing import browse
from umgclip.errors import DataError, InputError
from umgclip.io import tables


@pytest.fixture
def run(capsys, monkeypatch):
    """Run it and give what it prints."""
    monkeypatch.setenv("COLUMNS", "200")

    def command(where, out, **options) -> str:
        browse(str(where), out, **options)
        return capsys.readouterr().out

    return command


@pytest.fixture
def annotations(kit, tmp_path):
    return kit.dataset(tmp_path / "artifacts" / "annotate" / "train", [[kit.sample(f"k{n}", n) for n in range(6)]])


def test_it_says_what_it_wrote(run, annotations, tmp_path):
    output = run(annotations, tmp_path / "g", count=4)
    assert re.search(r"images +│ 4 of 6: 4 accepted", output)
    assert json.loads((tmp_path / "g" / "gallery.json").read_text())["selection"]["count"] == 4


def test_its_numbers_of_images_add_up(run, kit, annotations, quarantine, tmp_path):
    rows = [("k1", "caption_clean"), ("k2", "box_order", "0"), ("gone", "unreadable"), ("never", "truncated")]
    output = run(annotations, tmp_path / "g", quarantine=[str(quarantine(*(kit.row(*row) for row in rows)))])
    assert re.search(r"images +│ 6 of 6: 4 accepted, 1 accepted in part, 1 quarantined +│", output)
    assert re.search(r"quarantined besides +│ 2, not in the shards that were read", output)


@pytest.mark.parametrize("name", ["validate/quarantine.parquet", "data_docs/failed_quarantine.parquet"])
def test_annotations_bring_the_quarantine_of_validate(run, kit, annotations, tmp_path, name):
    (tmp_path / "artifacts" / name).parent.mkdir()
    tables.write_table(tmp_path / "artifacts" / name, [kit.row("k1", "image_caption_clean")], tables.QUARANTINE)
    assert "image_caption_clean 1" in run(annotations, tmp_path / "g")


def test_a_quarantine_that_is_named_comes_instead(run, kit, annotations, quarantine, tmp_path):
    named = quarantine(kit.row("k2", "of my own"))
    assert "of my own 1" in run(annotations, tmp_path / "g", quarantine=[str(named)])


def test_a_folder_with_one_dataset_is_that_dataset(run, kit, tmp_path):
    kit.dataset(tmp_path / "data" / "train", [[kit.sample("a")]])
    assert "1 of 1: 1 accepted" in run(tmp_path / "data", tmp_path / "g")
    kit.dataset(tmp_path / "data" / "benchmark", [[kit.sample("a")]])
    with pytest.raises(InputError, match="expected one dataset, found .*benchmark, .*train; give one of them"):
        run(tmp_path / "data", tmp_path / "g")


def test_inputs_are_not_replaced(run, annotations, tmp_path):
    with pytest.raises(InputError, match="--out: expected a folder for this output alone"):
        run(annotations, tmp_path / "artifacts")
    with pytest.raises(DataError, match="expected a file, found none"):
        run(annotations, tmp_path / "g", quarantine=[str(tmp_path / "none.parquet")])
