"""Annotate shards with Ray Data, on this machine or on a cluster.

The rows of the data set are jobs, a few hundred bytes each: images never go through Ray's object store. An actor holds
a `ShardWorker`, whose models are loaded once, and commits its shards as the local engine's processes do.
"""

from __future__ import annotations

import dataclasses
import logging
import math
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, cast

from umgclip.annotate.ray_session import session_folder, set_environment
from umgclip.annotate.tally import Report, Tally
from umgclip.annotate.work import Job, NotAnsweredError, Recipe, ShardWorker
from umgclip.errors import InputError, UmgclipError
from umgclip.io.places import Folder, placed
from umgclip.params import threads
from umgclip.ray_params import RayPoolParams

_OBJECT_STORE_BYTES = 80 * 2**20  # for jobs; Ray's least is 75 MiB
_POLL_S = 0.5
_TRIES = 100  # of one shard, when workers die or nodes are lost
_MOST_BYTES = 1 << 10
_SEEN = ".driver"  # written by the driver and looked for by workers, since they have to share folders


def run_jobs(jobs: Sequence[Job], recipe: Recipe, report: Report) -> None:
    """Annotate jobs.

    Args:
        jobs: shards that are not done.
        recipe: what a worker needs.
        report: told of all that is done; may end the run by raising.

    Raises:
        InputError: Ray is not installed, no cluster answers, or one of its machines does not see the folders.
        DataError: a shard is damaged.
        UmgclipError: there is no room for the workers, or they die again and again.
    """
    if not jobs:
        return
    for place in {str(job.out): job.out for job in jobs}.values():
        with placed(place, _SEEN) as temporary:
            temporary.write_text(recipe.run)
    pools = [Pool("annotate", recipe.params.ray, _shared(recipe))]
    needed = sum(pool.params.cpus * pool.params.fewest for pool in pools)
    with connected(recipe.params.ray.address, needed):
        counts = _counts()
        report.workers(sum(pool.params.fewest for pool in pools))
        _follow(_Ending(_dataset(jobs, pools, counts)), counts, report)
        report.workers(0)


@dataclasses.dataclass(frozen=True)
class Pool:
    """Actors of one kind."""

    name: str
    params: RayPoolParams
    recipe: Recipe

    def size(self, jobs: int, others: Sequence[Pool]) -> tuple[int, int]:
        """Fewest and most actors: as many as the cluster holds beside the others where params name no number."""
        import ray

        workers = self.params.workers
        if workers is None:
            there = ray.cluster_resources()
            room = [
                (there.get(kind, 0.0) - sum(getattr(o.params, own) * o.params.fewest for o in others)) / each
                for kind, own in (("CPU", "cpus"), ("GPU", "gpus"))
                if (each := getattr(self.params, own))
            ]
            workers = max(1, math.floor(min(room) + 1e-6))
        fewest, most = workers if isinstance(workers, list) else (workers, workers)
        return min(fewest, jobs), min(most, jobs)


class Worker:
    """What an actor does: annotate one job after the other. Models are loaded when the first job is there."""

    def __init__(self, recipe: Recipe, counts: Any, last: bool) -> None:  # noqa: ANN401 - an actor's handle
        self._recipe, self._counts, self._last = recipe, counts, last
        self._worker: ShardWorker | None = None

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Annotate the row's job, or go as far as its own models lead; an error is a value of the row."""
        job: Job = row["job"]
        if row["error"] is None and not job.is_done():
            try:
                self._annotate(job)
            except Exception as error:  # noqa: BLE001 - raised again by the driver
                return {"job": job, "error": error}
        return row

    def _annotate(self, job: Job) -> None:
        import ray

        _check_shared(job, self._recipe)
        if ray.get(self._counts.begin.remote(job.where)) > _TRIES:
            raise UmgclipError(f"annotate: workers died {_TRIES} times on {job.source}; run again to go on")
        if self._worker is None:
            self._worker = ShardWorker(self._recipe)
        so_far = Tally()

        def advance(tally: Tally) -> None:
            so_far.add(tally if self._last else dataclasses.replace(tally, images=0))
            self._counts.tell.remote(job.where, so_far)

        try:
            self._worker.annotate(job, advance)
        except NotAnsweredError:
            if self._last:
                raise
        self._counts.end.remote(job.where)


class Counts:
    """What all workers did, in an actor beside the driver. A job that is begun anew counts from 0 again."""

    def __init__(self) -> None:
        self._ended = Tally()
        self._in_work: dict[str, Tally] = {}
        self._tries: dict[str, int] = {}

    def begin(self, job: str) -> int:
        """A worker takes a job up; gives how often that happened since the job was ended."""
        self._in_work[job] = Tally()
        self._tries[job] = self._tries.get(job, 0) + 1
        return self._tries[job]

    def tell(self, job: str, so_far: Tally) -> None:
        """What a worker did of a job."""
        self._in_work[job] = so_far

    def end(self, job: str) -> None:
        """The worker is through with it."""
        self._ended.add(self._in_work.pop(job, Tally()))
        self._tries.pop(job, None)

    def total(self) -> Tally:
        """Of all jobs."""
        total = Tally()
        for tally in (self._ended, *self._in_work.values()):
            total.add(tally)
        return total


def _counts() -> Any:  # noqa: ANN401 - an actor's handle
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return ray.remote(Counts).options(num_cpus=0, scheduling_strategy=here).remote()


def _dataset(todo: Sequence[Job], pools: Sequence[Pool], counts: Any) -> Any:  # noqa: ANN401 - Ray's types
    """Jobs that stream through the pools; each is a block of its own, so that nothing else is redone with it."""
    import ray.data

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = context.print_on_execution_start = False
    context.wait_for_min_actors_s = math.ceil(pools[-1].recipe.params.ray.start_timeout_s)
    rows = [{"job": _anywhere(job), "error": None} for job in todo]
    shards: Any = ray.data.from_items(rows, override_num_blocks=len(rows))
    for pool in pools:
        fewest, most = pool.size(len(todo), [other for other in pools if other is not pool])
        shards = shards.map(
            cast(Any, Worker),
            fn_constructor_args=(pool.recipe, counts, pool is pools[-1]),
            # one at a time: a shard that queues behind another would come last while other workers idle
            compute=ray.data.ActorPoolStrategy(min_size=fewest, max_size=most, max_tasks_in_flight_per_actor=1),
            num_cpus=pool.params.cpus,
            num_gpus=pool.params.gpus,
        )  # Ray starts actors that died again, and gives them their job again, without end: `_TRIES` is the end
    return shards


class _Ending(threading.Thread):
    """Takes the rows as they come out of the last pool, until all are there or one of them is an error."""

    def __init__(self, shards: Any) -> None:  # noqa: ANN401 - a data set of Ray
        super().__init__(daemon=True, name="ray-rows")
        self.error: BaseException | None = None
        self._shards = shards

    def run(self) -> None:
        try:
            self.error = next((row["error"] for row in self._shards.iter_rows() if row["error"] is not None), None)
        except BaseException as error:  # noqa: BLE001 - raised again by the main thread
            self.error = error


def _follow(ending: _Ending, counts: Any, report: Report) -> None:  # noqa: ANN401 - an actor's handle
    """Tell `report` what is done until all is."""
    import ray
    from ray.exceptions import GetTimeoutError, RayError

    shown = Tally()
    ending.start()
    while ending.is_alive():
        ending.join(_POLL_S)
        total = ray.get(counts.total.remote())
        report.add(total.less(shown))
        shown = total
    if isinstance(ending.error, GetTimeoutError):
        raise UmgclipError(
            f"annotate.ray: expected processors and GPUs for all workers within start_timeout_s; "
            f"the cluster has {_resources()}"
        ) from ending.error
    if isinstance(ending.error, RayError):
        raise UmgclipError(f"annotate: Ray gave up, run again to go on ({ending.error})") from ending.error
    if ending.error is not None:
        raise ending.error


def _resources() -> str:
    import ray

    there = ray.cluster_resources()
    return f"{there.get('CPU', 0):g} CPUs and {there.get('GPU', 0):g} GPUs"


def _anywhere(job: Job) -> Job:
    """The job with paths that hold in other working folders too."""
    out = Folder(job.out.path.absolute()) if isinstance(job.out, Folder) else job.out
    return dataclasses.replace(job, source=_absolute(job.source), out=out)


def _shared(recipe: Recipe) -> Recipe:
    """The same of a recipe."""
    store = recipe.params.store
    params = recipe.params.model_copy(update={"store": None if store is None else _absolute(store)})
    return dataclasses.replace(recipe, base=recipe.base.absolute(), params=params)


def _absolute(where: str) -> str:
    return where if where.startswith("s3://") else str(Path(where).absolute())


def _check_shared(job: Job, recipe: Recipe) -> None:
    if not job.out.exists(_SEEN) or job.out.read(_SEEN, _MOST_BYTES).decode() != recipe.run:
        raise InputError(
            f"annotate.engine: expected {job.out} to be the same folder on all machines of the cluster, "
            f"{os.uname().nodename} sees another or none; put data and artifacts on a shared disk"
        )


@contextmanager
def connected(address: str | None, cpus: float) -> Iterator[None]:
    """Ray as this process has it, or a cluster, or one of this machine alone, which ends with the block.

    Args:
        address: of the cluster; None: that of RAY_ADDRESS, or this machine.
        cpus: processors that this machine is to offer at least, whether it has them or not.

    Raises:
        InputError: Ray is not installed, or no cluster answers.
    """
    address = address or os.environ.get("RAY_ADDRESS") or None
    set_environment(alone=address is None)
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise InputError("annotate.engine: expected Ray Data, which is not installed: umgclip[ray]") from error
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    if ray.is_initialized():
        yield
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
            raise InputError(f"annotate.ray.address: expected a cluster at {address}, none answers") from error
        stack.callback(ray.shutdown)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, stop)  # Ray takes it for itself
        yield
