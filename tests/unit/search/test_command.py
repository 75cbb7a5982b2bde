"""`umgclip index` and `umgclip search` as a user runs them, a killed process, the page, and S3."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from umgclip.__main__ import app
from umgclip.errors import InputError
from umgclip.io.locks import only_writer as lock
from umgclip.io.storage import Storage
from umgclip.model.clip import files
from umgclip.search import RegionIndex, SearchFilter, store, writing
from umgclip.search.answering import SearchTab
from umgclip.search.state import read_state

pytest.importorskip("lancedb")


@pytest.fixture(scope="module")
def base(tiny, tmp_path_factory):
    import torch

    folder = tmp_path_factory.mktemp("model") / "base"
    folder.mkdir()
    torch.manual_seed(0)
    config = files.tower_config(tiny)
    files.save(folder, files.build(config), config)
    return folder


@pytest.fixture(scope="module")
def project(base, demo, tmp_path_factory):
    """A folder with an index of the demo at its default place."""
    folder = tmp_path_factory.mktemp("project")
    before = Path.cwd()
    os.chdir(folder)
    try:
        done = CliRunner().invoke(app, ["index", str(demo), "--model", str(base)])
    finally:
        os.chdir(before)
    assert done.exit_code == 0, done.exception
    assert "56" in done.stdout
    return folder


def search(project, monkeypatch, *words):
    monkeypatch.chdir(project)
    done = CliRunner().invoke(app, ["search", *map(str, words)])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.stdout


def test_a_table_and_json(project, monkeypatch):
    table = search(project, monkeypatch, "a red apple", "--top", 3)
    assert "search: a red apple" in table
    document = json.loads(search(project, monkeypatch, "a red apple", "--top", 3, "--json"))
    results = document["results"]
    assert [result["similarity"] for result in results] == sorted((r["similarity"] for r in results), reverse=True)
    assert all(result["key"] in table and len(result["box_xyxy"]) == 4 for result in results)
    single = json.loads(search(project, monkeypatch, "dog", "--what", "images", "--split", "train", "--json"))
    assert {(r["kind"], r["split"], r["region_id"]) for r in single["results"]} == {("image", "train", None)}
    assert "nothing in the index fulfils" in search(project, monkeypatch, "dog", "--label", "unicorn")


def test_an_index_without_regions_says_so(kit, base, tmp_path, monkeypatch):
    data = kit.write(tmp_path / "raw" / "train", {"a.tar": [kit.sample("one", 0), kit.sample("two", 0)]})
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(app, ["index", str(data), "--model", str(base)]).exit_code == 0
    for words in ([], ["--label", "mug"]):
        shown = search(tmp_path, monkeypatch, "a red mug", *words, "--out", "found")
        assert "the index holds no regions: search its images with --what images" in " ".join(shown.split())
        page = (tmp_path / "found" / "index.html").read_text(encoding="utf-8")
        assert "<li>The index holds no regions: search its images with --what images" in page
    images = json.loads(search(tmp_path, monkeypatch, "a red mug", "--what", "images", "--json"))["results"]
    assert len(images) == 2
    tab = SearchTab(RegionIndex.open("artifacts/index"), "")
    assert b"<li>The index holds no regions" in tab.answer("/search?text=mug&what=regions").body


def test_the_page_shows_boxes_and_is_found_again_by_its_pictures(project, monkeypatch):
    search(project, monkeypatch, "<b>a dog</b>", "--top", 4, "--out", "found")
    page = (project / "found" / "index.html").read_text(encoding="utf-8")
    assert "&lt;b&gt;a dog&lt;/b&gt;" in page
    assert "<b>" not in page
    assert page.count("<rect class='box'") == 4
    assert "<script" not in page
    for file in re.findall(r"(?:href|src)='([^']+)'", page):
        assert (project / "found" / file).stat().st_size > 100
    results = json.loads((project / "found" / "results.json").read_text(encoding="utf-8"))["results"]
    first = results[0]
    box = ",".join(map(str, first["box_xyxy"]))
    words = ["--image", project / "found" / "images" / "0000.jpg", "--box", box, "--json", "-n", 1]
    (again,) = json.loads(search(project, monkeypatch, *words))["results"]
    assert again["key"] in {result["key"] for result in results}
    search(project, monkeypatch, "another", "--out", "found")  # ours, so it is replaced


def test_a_moved_dataset_is_named_and_found_with_data(project, demo, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    state = read_state(project / "artifacts" / "index")
    assert state.dataset == str(demo)
    assert sorted(state.parts) == ["benchmark", "train"]
    (tmp_path / "moved").symlink_to(demo)
    search(project, monkeypatch, "dog", "--data", tmp_path / "moved", "--out", tmp_path / "page", "-n", 2)
    assert len(list((tmp_path / "page" / "images").glob("crop-*.jpg"))) == 2
    out = search(project, monkeypatch, "dog", "--data", tmp_path / "none", "--out", tmp_path / "page", "-n", 2)
    assert "pictures that cannot be shown" in out
    assert (tmp_path / "page" / "index.html").read_text().count("No picture") == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "expected a text or --image"),
        (("dog", "--image", "a.jpg"), "expected a text or --image"),
        (("dog", "--image", "a.jpg"), "--image mug.jpg, got both, 'dog' and a.jpg"),
        (("dog", "--box", "1,2,3,4"), "--box: expected with --image"),
        (("--image", "a.jpg", "--box", "1,2,3"), "--box: expected x0,y0,x1,y1, got '1,2,3'"),
        (("--image", "none.jpg"), "none.jpg"),
        (("dog", "--what", "boxes"), "what: expected one of regions, images, both"),
        (("dog", "--index", "nowhere"), "make one: umgclip index DATASET --out nowhere"),
        (["dog", "--split", "trian"], "--split: expected one of benchmark, train, got 'trian'; did you mean 'train'?"),
    ],
)
def test_bad_words_are_refused(project, monkeypatch, words, message):
    with pytest.raises(InputError, match=re.escape(message)):
        search(project, monkeypatch, *words)


def test_a_second_writer_is_told_who_is_at_work(project, demo, base, monkeypatch):
    monkeypatch.chdir(project)
    with lock(project / "artifacts" / "index"):
        done = CliRunner().invoke(app, ["index", str(demo), "--model", str(base)])
    assert isinstance(done.exception, InputError)
    assert f"process {os.getpid()} is at work on artifacts/index" in str(done.exception)


@pytest.mark.heavy
def test_a_killed_run_continues(kit, base, tmp_path):
    folder = kit.write(tmp_path / "data", {f"{n}.tar": [kit.sample(f"{n}-{i}") for i in range(40)] for n in range(3)})
    script = "from umgclip.search import building; building._GROUP_ROWS = 90; import umgclip.__main__ as m; m.main()"
    command = [sys.executable, "-c", script, "index", str(folder), "--model", str(base), "--out", str(tmp_path / "ix")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=tmp_path)
    until = time.monotonic() + 120
    while time.monotonic() < until and process.poll() is None:
        if len(list((tmp_path / "ix" / "rows.lance" / "_versions").glob("*.manifest"))) > 2:
            break
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert read_state(tmp_path / "ix").table_version is None
    runs = [
        subprocess.run([*command[:-1], str(tmp_path / out)], capture_output=True, text=True, cwd=tmp_path, check=True)
        for out in ("ix", "whole")
    ]
    done = [re.search(r"([\d,]+) images; 0 moved, ([\d,]+) as before", run.stdout) for run in runs]
    assert int(done[0][1]) + int(done[0][2]) == 120
    assert int(done[0][2]) > 0
    tables = [store.open_table(tmp_path / out, store.ROWS) for out in ("ix", "whole")]
    places = [
        sorted(
            (r["shard"], r["position"], r["region_id"] or "") for r in store.scan(t, ["shard", "position", "region_id"])
        )
        for t in tables
    ]
    assert places[0] == places[1]
    assert len(set(places[0])) == len(places[0]) == 360


def test_an_index_and_its_dataset_in_s3(kit, model, s3, tmp_path, monkeypatch):
    from umgclip.io.manifest import read_manifest_at
    from umgclip.io.places import place_at
    from umgclip.search.building import DatasetParts, build_index
    from umgclip.search.pictures import parts_of, read_images

    folder = kit.write(tmp_path / "data", {"0.tar": [kit.sample(f"ü{i}") for i in range(3)]})
    for path in folder.iterdir():
        Storage().put(path, s3 / f"data/{path.name}")
    where, out = "s3://bucket/data", "s3://bucket/some/index"
    dataset = DatasetParts(where, {"data": (place_at(where), read_manifest_at(where))})
    with writing.only_writer(out):
        build_index(dataset, model, "tiny", out, lambda _: None)
        told = rf"process {os.getpid()} of .* is at work on s3://bucket/some/index"
        with pytest.raises(InputError, match=told), writing.only_writer(out):
            pass
    with writing.only_writer(out):
        build_index(dataset, model, "tiny", out, lambda _: None)
    index = RegionIndex.open(out, model)
    assert len(index) == 9
    hits = index.search(image=kit.sample("ü1").image, top=1, only=SearchFilter(what="images"))
    assert [hit.key for hit in hits] == ["ü1"]
    (pictured,) = read_images(hits, parts_of(index.state))
    assert pictured.pixels.shape == (60, 80, 3)


def test_the_lock_of_a_dead_process_in_s3_is_taken_over(s3, monkeypatch):
    with writing.only_writer("s3://bucket/index"):
        monkeypatch.setattr(writing, "_ALIVE_S", -1.0)
        with writing.only_writer("s3://bucket/index"):
            assert Storage().exists(s3 / "index/writer.json")
    assert not Storage().exists(s3 / "index/writer.json")


GUIDE = (Path(__file__).parents[3] / "docs" / "search.md").read_text(encoding="utf-8")


def test_commands_of_the_guide_are_understood():
    from typer.main import get_command

    lines = [
        line
        for block in re.findall(r"^```sh\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
        for line in block.splitlines()
    ]
    commands = [shlex.split(line)[1:] for line in lines if line.startswith("umgclip ")]
    assert len(commands) == 6
    for words in commands:
        group = get_command(app)
        if words[0] == "data":
            group, words = group.commands["data"], words[1:]
        group.commands[words[0]].make_context(words[0], words[1:])


def test_the_python_of_the_guide_runs(project, base, monkeypatch):
    monkeypatch.chdir(project)
    search(project, monkeypatch, "grass", "--out", "found", "-n", 1)
    (project / "crop.jpg").write_bytes((project / "found" / "images" / "0000.jpg").read_bytes())
    (label,) = json.loads(search(project, monkeypatch, "grass", "--json", "-n", 1, "--min-size", 40))["results"][0][
        "tags"
    ]
    (block,) = re.findall(r"^```python\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
    names: dict = {}
    exec(block.replace('"mug"', repr(label)), names)
    assert names["hits"]
    assert names["more"][0].key == names["hits"][0].key
