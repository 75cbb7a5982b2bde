"""The engine on Ray Data: the local engine's bytes, whoever dies."""

import contextlib
import dataclasses
import fcntl
import os
import pickle
import signal
import threading
from collections import Counter

import psutil
import pytest
import torch

from umgclip.annotate import engine_local, engine_ray, ray_session
from umgclip.annotate.tally import Tally
from umgclip.annotate.work import Job, Recipe
from umgclip.data.concepts import mine
from umgclip.data.stream import read_raw
from umgclip.errors import DataError, InputError, ParamsError
from umgclip.io.places import Folder
from umgclip.manifest import read_manifest
from umgclip.model import files
from umgclip.params import AnnotateParams, DataParams, LabelParams, TowerParams, load_section
from umgclip.records import parse_record
from umgclip.sources.demo import write_demo

TOWER = TowerParams(
    width=24, layers=2, heads=2, text_width=24, text_layers=1, text_heads=2, embed_dim=16, context_length=32
)
PARAMS = AnnotateParams(workers=1, engine="ray", min_concept_count=1, label=LabelParams(threshold=0.0))


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
def world(tmp_path_factory):
    """Jobs of four shards, by the folder that they write to, and the recipe."""
    root = tmp_path_factory.mktemp("ray")
    write_demo(DataParams(train_scenes=24, benchmark_scenes=1, benchmark_singles=1, shard_samples=6), root / "data")
    torch.manual_seed(0)
    (root / "base").mkdir()
    cfg = files.tower_config(TOWER)
    files.save(root / "base", files.build(cfg), cfg)
    train = root / "data" / "train"
    captions = (parse_record(raw.json, where=raw.key).captions[0].text for _, raw in read_raw(train))
    recipe = Recipe(PARAMS, root / "base", mine(captions, 1, []), run="one")

    def jobs(out):
        (root / out).mkdir()
        place = Folder(root / out)
        return [Job(str(train / s.path), s, s.path, place) for s in read_manifest(train).shards]

    return jobs, recipe


def files_of(folder):
    assert len(list(folder.glob("*.done.json"))) == 4
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
    local, ray = jobs("local"), jobs("ray")
    engine_local.run_jobs(local, recipe, Watch())
    killed = []

    def kill(watch):
        if watch.total.images > 0 and not killed:
            killed.append(actors()[0])
            os.kill(killed[0], signal.SIGKILL)

    params = PARAMS.model_copy(update={"ray": PARAMS.ray.model_copy(update={"workers": 1})})
    watch = Watch(kill)
    engine_ray.run_jobs(ray, dataclasses.replace(recipe, params=params), watch)
    assert killed
    assert watch.total.images == 24
    assert watch.seen == [1, 0]
    assert files_of(ray[0].out.path) == files_of(local[0].out.path)
    # nothing is left to do, and Ray does not even start
    assert all(job.is_done() for job in ray)
    engine_ray.run_jobs([], recipe, Watch())


@pytest.fixture
def worker(world):
    """A worker outside Ray, with the shard annotated by a stand-in."""
    jobs, recipe = world

    class Remote:
        def __init__(self, told):
            self.told = told

        def remote(self, *args):
            return self.told.append(args)

    class Handle:
        def __init__(self):
            self.begin, self.tell, self.end = Remote([]), Remote([]), Remote([])

    def make(folder, last=True, run="one"):
        return engine_ray.Worker(dataclasses.replace(recipe, run=run), Handle(), last), jobs(folder)[0]

    return make


def test_a_folder_that_is_not_shared_is_named(worker):
    made, job = worker("alone")
    answer = made({"job": job, "error": None})
    assert isinstance(answer["error"], InputError)
    assert str(job.out) in str(answer["error"])
    (job.out.path / ".driver").write_text("another run")
    assert isinstance(made({"job": job, "error": None})["error"], InputError)


def test_an_error_passes_through_the_pools_that_follow(worker):
    made, job = worker("passed")
    error = DataError("damaged")
    assert made({"job": job, "error": error})["error"] is error


def test_a_job_that_is_begun_anew_counts_once():
    counts = engine_ray.Counts()
    assert counts.begin("a") == 1
    counts.tell("a", Tally(5, Counter(unreadable=1)))
    assert counts.total().images == 5
    assert counts.begin("a") == 2
    assert counts.total().images == 0
    counts.tell("a", Tally(6))
    counts.end("a")
    counts.begin("b")
    counts.tell("b", Tally(1))
    assert counts.total() == Tally(7)
    assert counts.begin("a") == 1  # the next pool's tries are its own


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
        ("workers: [3, 2]", "expected [fewest, most], got [3, 2]"),
        ("workers: 0", "workers"),
        ("{cpus: 0.0, gpus: 0.0}", "expected one of them above 0"),
        ("{pools: {sam: {workers: null}}}", "pools.sam.workers: expected how many"),
    ],
)
def test_params_that_make_no_pool_are_refused(tmp_path, given, said):
    inner = given if given.startswith("{") else f"{{{given}}}"
    (tmp_path / "params.yaml").write_text(f"annotate:\n  ray: {inner}\n")
    with pytest.raises(ParamsError) as refused:
        load_section(tmp_path / "params.yaml", AnnotateParams)
    assert said in str(refused.value)


def test_jobs_travel(worker):
    _, job = worker("travels")
    assert pickle.loads(pickle.dumps(job)) == job
