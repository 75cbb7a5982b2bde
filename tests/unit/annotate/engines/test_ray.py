"""The engine on Ray Data: the local engine's bytes, whoever dies."""

import contextlib
import dataclasses
import fcntl
import importlib
import json
import os
import signal
import sys
import threading
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import psutil
import pyarrow.parquet as pq
import pytest

from umgclip.annotate import stage, vocabulary
from umgclip.annotate.engines import local, ray, ray_session
from umgclip.annotate.engines.ray_pools import chain, make_pools, others, sizes
from umgclip.annotate.engines.ray_rows import Counts
from umgclip.annotate.plan import jobs_of, make_recipe
from umgclip.annotate.progress import Tally
from umgclip.annotate.worker import ShardWorker
from umgclip.data.stream import read_raw
from umgclip.data.vocabulary import mine
from umgclip.errors import DataError, InputError, ParamsError
from umgclip.io.manifest import read_manifest
from umgclip.io.places import Folder
from umgclip.io.shards import read_shard
from umgclip.params import AnnotateParams, DataParams, LabelParams, load_section
from umgclip.records import parse_record
from umgclip.sources.demo.scenes import write_demo


def params_of(**changes):
    given = {"workers": 1, "batch": 4, "min_concept_count": 1, "max_failed": 0.2, "label": LabelParams(threshold=0.0)}
    return AnnotateParams(**{**given, **changes})


class Watch:
    """Adds up what is told, and does something after it."""

    def __init__(self, then=lambda watch: None):
        self.total, self.seen, self._then = Tally(), [], then

    def add(self, tally):
        assert threading.current_thread() is threading.main_thread()
        self.total.add(tally)
        self._then(self)

    def workers(self, alive):
        self.seen.append(alive)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Four shards of six images."""
    folder = tmp_path_factory.mktemp("ray") / "data"
    write_demo(DataParams(train_scenes=24, benchmark_scenes=1, benchmark_singles=1, shard_samples=6), folder)
    return folder / "train"


@pytest.fixture
def world(data, teacher_folder, tmp_path):
    """Jobs by the folder that they write to, and the recipe, with changes."""
    manifest = read_manifest(data)
    vocabulary = mine((parse_record(raw.json, where=raw.key).captions[0].text for _, raw in read_raw(data)), 1)

    def jobs(name):
        (tmp_path / name).mkdir()
        out = Folder(tmp_path / name)
        return [dataclasses.replace(job, out=out) for job in jobs_of(data, manifest, "train")]

    def recipe(**changes):
        params = params_of(engine="ray", **changes)
        return make_recipe(params, teacher_folder, vocabulary)

    return jobs, recipe


def bytes_of(jobs):
    folder = jobs[0].out.path
    assert len(list(folder.glob("*.done.json"))) == 4
    assert not list(folder.glob(".*.journal.json"))
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix in (".tar", ".parquet")}


def actors():
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if process.cmdline()[:1] and process.cmdline()[0].startswith("ray::MapWorker"):
                found.append(process.pid)
    return found


def test_the_bytes_of_the_local_engine_also_when_a_worker_is_killed(world):
    jobs, recipe = world
    local_jobs, ray_jobs = jobs("local"), jobs("ray")
    local.run_jobs(local_jobs, recipe(), Watch())
    killed = []

    def kill(watch):
        if watch.total.images > 0 and not killed:
            killed.append(actors()[0])
            os.kill(killed[0], signal.SIGKILL)

    watch = Watch(kill)
    ray.run_jobs(ray_jobs, recipe(ray={"workers": 1}), watch)
    assert killed
    assert watch.total.images == 24
    assert watch.total.asked["proposer"] >= 24
    assert watch.seen == [1, 0]
    assert bytes_of(ray_jobs) == bytes_of(local_jobs)


@pytest.mark.heavy
def test_models_with_pools_of_their_own_give_the_same_bytes(world, tmp_path):
    jobs, recipe = world
    alone, together = jobs("alone"), jobs("pools")
    local.run_jobs(alone, recipe(), Watch())
    small = {"workers": 1, "cpus": 0.5}
    params = {"workers": 1, "cpus": 0.5, "pools": {"segment_tree": small, "grabcut": small}}
    watch = Watch()
    ray.run_jobs(together, recipe(store=str(tmp_path / "answers"), ray=params), watch)
    assert watch.seen == [4, 0]
    assert watch.total.images == 24
    assert watch.total.asked["proposer"] == watch.total.asked["masker"] == 24  # once each, by whoever may
    assert bytes_of(together) == bytes_of(alone)
    # all is stored now: the first pool puts the shards together, and nothing is asked
    again, watch = jobs("again"), Watch()
    ray.run_jobs(again, recipe(store=str(tmp_path / "answers"), ray=params), watch)
    assert (watch.total.images, sum(watch.total.asked.values())) == (24, 0)
    assert bytes_of(again) == bytes_of(alone)


@pytest.fixture
def own_module(monkeypatch):
    """A module beside this one, that Ray's workers can import too."""
    here = str(Path(__file__).parent)
    monkeypatch.syspath_prepend(here)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([here, *sys.path]))
    return importlib.import_module


@pytest.mark.heavy
def test_a_cluster_reads_what_one_process_reads(data, tmp_path, monkeypatch):
    jobs, params = jobs_of(data, read_manifest(data), "train"), params_of(engine="ray", store=None)
    one = vocabulary.read_names(jobs, params)
    assert sum(one.chunks.seen.values()) > 24
    assert not ray.has_cluster(None)
    monkeypatch.setattr(vocabulary, "_FEW", 0)
    here = []
    monkeypatch.setattr(vocabulary, "worker_pool", here.append)
    with ray.connected(None, 2.0):
        assert ray.has_cluster(None)
        assert vocabulary.read_names(jobs, params) == one
        broken = tmp_path / "broken.tar"
        broken.write_bytes(Path(jobs[0].source).read_bytes()[:5000])
        with pytest.raises(DataError, match="broken.tar"):
            vocabulary.read_names([*jobs, dataclasses.replace(jobs[0], source=str(broken))], params)
    assert here == []


def test_an_image_that_ends_every_worker_is_put_aside(world, monkeypatch, own_module):
    deadly = own_module("deadly_worker")
    jobs, recipe = world
    out = jobs("poison")
    poison = [raw.key for raw in read_shard(Path(out[1].source))][2]
    monkeypatch.setenv("POISON", poison)
    monkeypatch.setattr(ray, "Worker", deadly.Deadly)
    watch = Watch()
    ray.run_jobs(out, recipe(attempts=1, ray={"workers": 2}), watch)
    rows = [row for path in out[0].out.path.glob("*.quarantine.parquet") for row in pq.read_table(path).to_pylist()]
    assert [(row["key"], row["reason"]) for row in rows] == [(poison, "crashed")]
    assert (watch.total.images, watch.total.failed["crashed"]) == (24, 1)
    assert len(bytes_of(out)) == 4 * 5


@pytest.mark.heavy
def test_what_failed_is_tried_again_with_the_bytes_of_the_local_engine(
    data, teacher_folder, tmp_path, monkeypatch, own_module
):
    module = own_module("failing_worker")
    keys = [raw.key for _, raw in read_raw(data)]
    monkeypatch.setenv("FAILING", str(tmp_path / "failing"))
    monkeypatch.setattr(ray, "Worker", module.FailingWorker)

    def run_here(jobs, recipe, report):
        worker = module.failing(ShardWorker(recipe))
        for job in jobs:
            worker.annotate(job, report.add)

    def run(engine, retry_failed=False):
        params = params_of(engine=engine, ray={"workers": 2})
        inputs = stage.AnnotateInputs(data.parent, teacher_folder, tmp_path / "metrics.json")
        with monkeypatch.context() as patched:
            if engine == "local":
                patched.setattr(stage, "_engine", lambda _: contextlib.nullcontext(run_here))
            stage.run(params, inputs, tmp_path / engine, retry_failed=retry_failed)
        found = (path for path in (tmp_path / engine).rglob("*") if path.is_file())
        return {str(path.relative_to(tmp_path / engine)): path.read_bytes() for path in found}

    (tmp_path / "failing").write_text(" ".join([keys[1], keys[2], keys[20]]))
    first = run("local")
    assert run("ray") == first
    (tmp_path / "failing").write_text(keys[20])
    second = run("local", retry_failed=True)
    assert run("ray", retry_failed=True) == second
    progress = json.loads((tmp_path / ".ray-progress.json").read_text())
    assert (progress["roles"]["tagger"]["rows"], progress["failed"]) == (3, {"tagger_busy": 1})
    written = [raw.key for _, raw in read_raw(tmp_path / "ray" / "train")]
    assert written == [key for key in keys if key != keys[20]]


@pytest.fixture
def worker(world):
    """A worker outside Ray, with somebody who counts, and a job."""
    jobs, recipe = world

    def make(folder, run):
        made = dataclasses.replace(recipe(), run=run)
        return ray.Worker(made, SimpleNamespace(), str(Path.cwd()), last=True), jobs(folder)[0]

    return make


def row(job, **changes):
    return {"job": job, "done": False, "error": None, **changes}


def test_a_folder_that_is_not_shared_is_named(worker):
    made, job = worker("alone", "one")
    with pytest.raises(InputError, match=str(job.out)):
        made._settle(job)
    (job.out.path / ".driver").write_text("another run")
    with pytest.raises(InputError, match="one folder for all machines"):
        made._settle(job)
    (job.out.path / ".driver").write_text("one")
    made._settle(job)


def test_errors_and_finished_shards_pass_through_the_pools_that_follow(worker):
    made, job = worker("passed", "one")
    error = DataError("damaged")
    assert made(row(job, error=error)) == row(job, error=error)
    assert made(row(job, done=True)) == row(job, done=True)


def test_a_job_that_is_begun_anew_counts_once():
    counts = Counts()
    assert counts.begin("a") == 1
    counts.tell("a", Tally(5, Counter(unreadable=1), asked=Counter(proposer=5)))
    assert counts.news().images == 5
    assert counts.begin("a") == 1  # something was done since the last time
    news = counts.news()
    assert (news.images, news.failed["unreadable"], news.asked["proposer"]) == (-5, -1, 0)
    assert counts.begin("a") == 2
    assert counts.news().images == 0
    counts.tell("a", Tally(6))
    counts.end("a")
    assert counts.news().images == 6
    assert counts.begin("a") == 1  # Ray did not hear of the end
    assert counts.news().images == -6


@pytest.mark.parametrize(
    ("given", "there", "found"),
    [
        ({}, {"CPU": 8.0}, [(8, 8)]),
        ({}, {"CPU": 200.0}, [(20, 20)]),  # no more than shards
        ({"cpus": 2.0, "gpus": 0.25}, {"CPU": 64.0, "GPU": 2.0}, [(8, 8)]),
        ({"cpus": 0.1}, {"CPU": 1.0}, [(10, 10)]),
        ({"cpus": 4.0}, {"CPU": 2.0}, [(1, 1)]),
        ({"workers": [2, 6]}, {"CPU": 1.0}, [(2, 6)]),
        # what is left of eight is shared by the pool of all others before grabcut and after it
        ({"pools": {"grabcut": {"workers": 2}}}, {"CPU": 8.0}, [(3, 3), (2, 2), (3, 3)]),
    ],
)
def test_pools_fill_what_is_there(world, given, there, found):
    _, recipe = world
    pools = make_pools(recipe(store="answers", ray=given))
    assert sizes(pools, 20, there) == found


@pytest.mark.parametrize(
    ("own", "order"),
    [
        (["grabcut"], [None, "grabcut", None]),
        (["segment_tree"], ["segment_tree", None]),
        (["clip_teacher"], [None, "clip_teacher", None, "clip_teacher", None]),
        (["segment_tree", "grabcut"], ["segment_tree", None, "grabcut", None]),
    ],
)
def test_pools_stand_in_the_order_of_the_roles(own, order):
    pools = {name: {"workers": 1} for name in own}
    params = params_of(store="answers", ray={"pools": pools})
    assert chain(params) == order
    assert others(params) == {"segment_tree", "grabcut", "clip_teacher"} - set(own)


def test_folders_of_killed_runs_go_and_those_in_use_stay(tmp_path, monkeypatch):
    monkeypatch.setattr(ray_session.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(ray_session, "_LONGEST", 1000)
    for name in ("umgclip-ray-dead", "umgclip-ray-used"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "lock").touch()
    with (tmp_path / "umgclip-ray-used" / "lock").open("w") as used:
        fcntl.flock(used, fcntl.LOCK_EX)
        with ray_session.session_folder() as folder:
            assert folder.parent == tmp_path
            assert sorted(tmp_path.iterdir()) == sorted([folder, tmp_path / "umgclip-ray-used"])
        assert not folder.exists()


def test_what_is_set_in_the_environment_stays(monkeypatch):
    monkeypatch.setattr(os, "environ", {"RAY_AUTH_MODE": "disabled"})
    ray_session.set_environment(alone=True)
    assert os.environ["RAY_AUTH_MODE"] == "disabled"
    assert os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] == "0"
    assert len(os.environ["RAY_AUTH_TOKEN"]) == 64


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("ray: {workers: [3, 2]}", "expected [fewest, most], got [3, 2]"),
        ("ray: {workers: 0}", "workers"),
        ("ray: {cpus: 0.0, gpus: 0.0}", "expected one of them above 0"),
        ("ray: {pools: {grabcut: {workers: null}}}", "pools.grabcut.workers: expected a number"),
        ("ray: {pools: {grabcut: {}}}", "expected annotate.store"),
        ("ray: {pools: {sam: {}}}", "expected names of models that roles ask, got sam"),
    ],
)
def test_params_that_make_no_pool_are_refused(tmp_path, given, said):
    (tmp_path / "params.yaml").write_text(f"annotate:\n  {given}\n")
    with pytest.raises(ParamsError) as refused:
        load_section(tmp_path / "params.yaml", AnnotateParams)
    assert said in str(refused.value)
