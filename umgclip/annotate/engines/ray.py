"""Annotate shards with Ray Data, on this machine or on a cluster.

The rows of the data set are jobs, a few hundred bytes each: images never go through Ray's object store. An actor holds
a `ShardWorker`, whose models are loaded once, and commits its shards as the local engine's processes do. Models with a
pool of their own leave their answers in the store; the last pool reads them there and finishes the shards.
"""

from __future__ import annotations

import logging
import math
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from umgclip import extras
from umgclip.annotate.engines.ray_pools import ActorPool, make_pools, sizes
from umgclip.annotate.engines.ray_rows import Counts, call_on_row, enter_folder, error_value
from umgclip.annotate.engines.ray_session import session_folder, set_environment
from umgclip.annotate.engines.ray_watch import ClusterWatch
from umgclip.annotate.job import Job, Recipe
from umgclip.annotate.progress import Report, Tally
from umgclip.errors import InputError, UmgclipError
from umgclip.io.places import Folder
from umgclip.params import threads

if TYPE_CHECKING:
    from umgclip.annotate.worker import ShardWorker

_OBJECT_STORE_BYTES = 80 * 2**20  # for jobs; Ray's minimum is 75 MiB
_POLL_S = 0.5
_LOOK_S = 5.0  # between looks at the resources of the cluster
_SEEN = ".driver"  # a file that the driver writes and workers look for: they have to share folders


def run_jobs(jobs: Sequence[Job], recipe: Recipe, report: Report) -> None:
    """Annotate the shards of some jobs with Ray Data.

    Args:
        jobs: shards that are not done.
        recipe: what a worker needs.
        report: receives the counts of all work; may end the run by raising an exception.

    Raises:
        InputError: Ray is not installed, no cluster answers, or one of its machines does not see the folders.
        DataError: a shard is damaged.
        UmgclipError: the cluster has no room for the workers, or they keep dying.
    """
    if not jobs:
        return
    for folder in {job.out for job in jobs if isinstance(job.out, Folder)}:
        (folder.path / _SEEN).write_text(recipe.run)
    pools = make_pools(recipe)
    with connected(recipe.params.ray.address, sum(pool.params.cpus * pool.params.fewest for pool in pools)) as alone:
        there = _resources()
        if alone and (gpus := sum(pool.params.gpus * pool.params.fewest for pool in pools)) > there.get("GPU", 0):
            raise InputError(f"annotate.ray: expected {gpus:g} GPUs for its workers, found {there.get('GPU', 0):g}")
        counts, actors = _counts(), sizes(pools, len(jobs), there)
        report.workers(sum(fewest for fewest, _ in actors))
        try:
            watch = ClusterWatch([pool.params for pool in pools], recipe.params.ray.start_timeout_s)
            _follow(_Ending(_dataset(jobs, pools, actors, counts)), counts, report, watch)
        finally:
            report.workers(0)


def has_cluster(address: str | None) -> bool:
    """Return whether the work goes to a cluster, instead of this machine alone."""
    if address or os.environ.get("RAY_ADDRESS"):
        return True
    ray = sys.modules.get("ray")
    return ray is not None and bool(ray.is_initialized())


def each_job(jobs: Sequence[Job], address: str | None, work: Callable[[Job], Any]) -> Iterator[Any]:
    """Call a function with each job, anywhere on the cluster, and yield the results in any order.

    Args:
        jobs: the jobs; each is a block of its own, so that a lost machine costs no other job.
        address: address of the cluster; None: that of RAY_ADDRESS.
        work: a function that can be pickled; its results need not fit Arrow.

    Raises:
        InputError: Ray is not installed, or no cluster answers.
        UmgclipError: `work` raised it, or Ray gave up.
    """
    with connected(address, 1.0):
        import ray.data
        from ray.exceptions import RayError

        ray.data.DataContext.get_current().enable_progress_bars = False
        shards: Any = ray.data.from_items([{"job": job} for job in jobs], override_num_blocks=len(jobs))
        shards = shards.map(cast(Any, call_on_row), fn_kwargs={"work": work, "folder": str(Path.cwd())}, num_cpus=1)
        try:
            for row in shards.iter_rows():
                if row["error"] is not None:
                    raise row["error"]
                yield pickle.loads(row["result"])  # noqa: S301 - our own workers wrote it
        except RayError as error:
            raise UmgclipError(f"annotate: Ray gave up, run it again to continue ({error})") from error


class Worker:
    """An actor that annotates one job after the other. Models are loaded when they are needed."""

    def __init__(self, recipe: Recipe, counts: Any, folder: str, last: bool) -> None:  # noqa: ANN401 - actor handle
        """Prepare a worker without loading a model.

        Args:
            recipe: what a worker needs.
            counts: the actor that counts.
            folder: the working folder, which paths in params are relative to.
            last: whether this worker finishes shards, so that no answer may be missing.
        """
        self._recipe, self._counts, self._folder, self._last = recipe, counts, folder, last
        self._worker: ShardWorker | None = None

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Annotate the row's job as far as its own models can; an error becomes a value of the row."""
        import torch

        from umgclip.annotate.worker import LOST_DEVICE

        if row["done"] or row["error"] is not None:
            return row
        try:
            return {**row, "done": self._annotate(row["job"])}
        except torch.AcceleratorError:
            os._exit(LOST_DEVICE)  # this process can no longer use its device; the next process resumes
        except Exception as error:  # noqa: BLE001 - raised again by the driver
            return {**row, "error": error_value(error)}

    def _annotate(self, job: Job) -> bool:
        """Annotate a shard, and return whether it is complete."""
        import ray

        from umgclip.annotate.cache.lazy_model import NotAnsweredError

        key = job.where
        deaths = ray.get(self._counts.begin.remote(key)) - 1
        # the first death counts against no sample, later ones against a batch, then against its first image
        if deaths > 2 * self._recipe.params.attempts + 1:
            raise UmgclipError(f"annotate: {deaths} workers died over {job.source} before any image of it was done")
        if self._worker is None:
            self._settle(job)
            self._worker = self._load()
        samples = Tally()  # reported at the end, since other pools may have to continue

        def advance(tally: Tally) -> None:
            if not self._last:
                samples.add(Tally(tally.images, tally.failed, tally.lost, tally.examples))
                tally = Tally(seconds=tally.seconds, asked=tally.asked, regions=tally.regions)
            self._counts.tell.remote(key, tally)

        complete = True
        try:
            self._worker.annotate(job, advance)
            self._counts.tell.remote(key, samples)
        except NotAnsweredError:
            if self._last:
                raise
            complete = False
        self._counts.end.remote(key)
        return complete

    def _load(self) -> ShardWorker:
        from umgclip.annotate.worker import ShardWorker

        return ShardWorker(self._recipe)

    def _settle(self, job: Job) -> None:
        """Check that this machine shares folders with the driver's.

        Raises:
            InputError: it does not, or the base is missing on it.
        """
        here = os.uname().nodename
        enter_folder(self._folder)
        seen = job.out.path / _SEEN if isinstance(job.out, Folder) else None
        if seen is not None and not (seen.is_file() and seen.read_text() == self._recipe.run):
            raise InputError(
                f"annotate.engine: expected {job.out} to be one folder for all machines, {here} sees another or none; "
                "put data and artifacts on a disk that all share, or set annotate.output to s3://..."
            )
        if not self._recipe.base.is_dir():
            raise InputError(
                f"annotate.engine: expected {self._recipe.base.absolute()} on all machines, {here} has none"
            )


def _counts() -> Any:  # noqa: ANN401 - an actor's handle
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return ray.remote(Counts).options(num_cpus=0, scheduling_strategy=here).remote()


def _dataset(jobs: Sequence[Job], pools: Sequence[ActorPool], actors: Sequence[tuple[int, int]], counts: Any) -> Any:  # noqa: ANN401 - Ray's types
    """Return jobs that stream through the pools; each is a block of its own, so that it is retried alone."""
    import ray.data

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = context.print_on_execution_start = False
    context.wait_for_min_actors_s = math.ceil(pools[-1].recipe.params.ray.start_timeout_s)
    rows = [{"job": job, "done": False, "error": None} for job in jobs]
    shards: Any = ray.data.from_items(rows, override_num_blocks=len(rows))
    for pool, (fewest, most) in zip(pools, actors, strict=True):
        shards = shards.map(
            cast(Any, Worker),
            fn_constructor_args=(pool.recipe, counts, str(Path.cwd()), pool is pools[-1]),
            # one at a time: a shard that queues behind another would be last while other workers are idle
            compute=ray.data.ActorPoolStrategy(min_size=fewest, max_size=most, max_tasks_in_flight_per_actor=1),
            num_cpus=pool.params.cpus,
            num_gpus=pool.params.gpus,
        )  # Ray replaces dead actors and retries their jobs without end: `Counts` and the journal limit that
    return shards


class _Ending(threading.Thread):
    """A thread that takes the rows from the last pool, until all have come or one of them is an error."""

    def __init__(self, shards: Any) -> None:  # noqa: ANN401 - a data set of Ray
        super().__init__(daemon=True, name="ray-rows")
        self.error: BaseException | None = None
        self._shards = shards

    def run(self) -> None:
        try:
            self.error = next((row["error"] for row in self._shards.iter_rows() if row["error"] is not None), None)
        except BaseException as error:  # noqa: BLE001 - raised again by the main thread
            self.error = error


def _follow(ending: _Ending, counts: Any, report: Report, watch: ClusterWatch) -> None:  # noqa: ANN401 - an actor's handle
    """Report counts until all jobs are done, or the cluster has had no room for the workers for too long."""
    import ray
    from ray.exceptions import GetTimeoutError, RayError

    ending.start()
    done, look_s = False, time.monotonic()
    while ending.is_alive():
        ending.join(_POLL_S)
        news = ray.get(counts.news.remote())
        report.add(news)
        done = done or news.images > 0
        if (now := time.monotonic()) >= look_s:
            watch.check(now, _resources(), ray.available_resources(), news=done)
            done, look_s = False, now + _LOOK_S
    if isinstance(ending.error, GetTimeoutError):
        there = _resources()
        raise UmgclipError(
            f"annotate.ray: expected processors and GPUs for all workers within start_timeout_s; the cluster has "
            f"{there.get('CPU', 0):g} CPUs and {there.get('GPU', 0):g} GPUs; set fewer workers or a longer timeout"
        ) from ending.error
    if isinstance(ending.error, RayError):
        raise UmgclipError(f"annotate: Ray gave up, run it again to continue ({ending.error})") from ending.error
    if ending.error is not None:
        raise ending.error


def _resources() -> Mapping[str, float]:
    import ray

    there: dict[str, float] = ray.cluster_resources()
    return there


@contextmanager
def connected(address: str | None, cpus: float) -> Iterator[bool]:
    """Connect to Ray: as this process already has it, or a cluster, or this machine alone until the block ends.

    Args:
        address: address of the cluster; None: that of RAY_ADDRESS, or this machine.
        cpus: least number of processors that this machine offers, whether it has them or not.

    Yields:
        Whether Ray runs on this machine alone.

    Raises:
        InputError: Ray is not installed, or no cluster answers.
    """
    address = address or os.environ.get("RAY_ADDRESS") or None
    set_environment(alone=address is None)
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise InputError(f"annotate.engine: ray needs Ray Data; run: {extras.install('ray')}") from error
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    if ray.is_initialized():
        yield False
        return
    with ExitStack() as stack:
        settings: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
        if address is None:
            settings |= {
                "num_cpus": max(threads(), math.ceil(cpus)),
                "object_store_memory": _OBJECT_STORE_BYTES,
                "include_dashboard": False,
                "_temp_dir": str(stack.enter_context(session_folder())),
            }
        stop = signal.getsignal(signal.SIGTERM)
        try:
            ray.init(address or "local", **settings)
        except ConnectionError as error:
            raise InputError(
                f"annotate.ray.address: expected a cluster at {address}, none answers; start one there"
            ) from error
        stack.callback(ray.shutdown)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, stop)  # Ray replaces the handler
        yield address is None
