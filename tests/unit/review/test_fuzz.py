"""Answers with anything in them are corrections, rows of the quarantine, or errors that say what is wrong."""

import copy
import json
import random
import zipfile

import pytest

from umgclip.data.corrections import open_corrections
from umgclip.errors import UmgclipError
from umgclip.review.importing import run_import
from umgclip.review.shown import read_shown

JUNK = (None, True, -1, 0, 1e308, 10**30, float("inf"), "", "x", "\ud800", [], {}, [[]], {"$oid": 1}, ["a", 1], 3.5)


def places(value, path=()):
    """Paths to all values within a value."""
    if path:
        yield path
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        if not (isinstance(value, list) and key > 40):  # bytes of a stroke are all alike
            yield from places(inner, (*path, key))


def mutated(value, every, draw):
    changed = copy.deepcopy(value)
    for _ in range(draw.choice((1, 1, 2, 4))):
        path = draw.choice(every)
        inner = changed
        try:
            for key in path[:-1]:
                inner = inner[key]
            if draw.random() < 0.25:
                del inner[path[-1]]
            else:
                inner[path[-1]] = copy.deepcopy(draw.choice(JUNK))
        except (KeyError, IndexError, TypeError):
            continue  # an earlier change took the place away
    return changed


def answered(tool, folder):
    """An answer of a tool, its name, and how to write it."""
    if tool == "label-studio":
        tasks = json.loads((folder / "tasks.json").read_text())
        for task in tasks:
            result = task.pop("predictions")[0]["result"]
            task |= {"id": 1, "annotations": [{"id": 1, "updated_at": "2026-01-01", "result": result}]}
        return tasks
    if tool == "fiftyone":
        samples = json.loads((folder / "samples.json").read_text())
        for sample in samples["samples"]:
            sample["tags"].append("reviewed")
        return samples
    return json.loads((folder / "annotations" / "instances_default.json").read_text())


@pytest.mark.parametrize("tool", ["label-studio", "fiftyone", "cvat"])
def test_mutated_answers(tool, scenes, exported, tmp_path):
    folder = exported([scenes.scene(n) for n in range(2)], tool)
    value, shown, draw = answered(tool, folder), read_shown(folder), random.Random(tool)
    every = list(places(value))
    outcomes = {"corrections": 0, "error": 0, "quarantine": 0}
    for number in range(60):
        path = tmp_path / "answers.json"
        path.write_text(json.dumps(mutated(value, every, draw)))
        out = tmp_path / f"out{number}"
        try:
            run_import(path, shown, out, "all")
        except UmgclipError:
            outcomes["error"] += 1
            continue
        outcomes["quarantine"] += (out / "quarantine.jsonl").exists()
        for one in open_corrections(out).each():  # each can be read again
            outcomes["corrections"] += 1
            assert one.sha256 in {record.sha256 for record in shown.records.values()}
    assert min(outcomes["corrections"], outcomes["quarantine"]) > 0, outcomes


def test_bytes_of_an_archive_changed_at_random(scenes, exported, tmp_path):
    folder = exported([scenes.scene(0)], "cvat")
    shown, draw = read_shown(folder), random.Random(0)
    data = (folder / "annotations.zip").read_bytes()
    assert zipfile.is_zipfile(folder / "annotations.zip")
    for number in range(40):
        damaged = bytearray(data)
        for _ in range(3):
            damaged[draw.randrange(len(damaged))] = draw.randrange(256)
        (tmp_path / "a.zip").write_bytes(bytes(damaged))
        try:
            run_import(tmp_path / "a.zip", shown, tmp_path / f"o{number}", "all")
        except UmgclipError:
            continue
        assert all(one.key == "k000" for one in open_corrections(tmp_path / f"o{number}").each())
