"""Pools of Ray workers: their models, the order in which shards go through them, and their sizes."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence

from umgclip.annotate.job import Recipe
from umgclip.params import AnnotateParams
from umgclip.params.ray import RayPoolParams

_EMBEDDER = "clip_teacher"
_NOBODY = ("none", "given")


@dataclasses.dataclass(frozen=True)
class ActorPool:
    """Actors with the same models, and what each of them needs."""

    params: RayPoolParams
    recipe: Recipe


def make_pools(recipe: Recipe) -> list[ActorPool]:
    """Return one pool, or several in the order in which shards go through them."""
    params = recipe.params.ray
    if not params.pools:
        return [ActorPool(params, recipe)]
    pools = []
    for name in chain(recipe.params):
        loads = others(recipe.params) if name is None else frozenset([name])
        pools.append(
            ActorPool(params if name is None else params.pools[name], dataclasses.replace(recipe, loads=loads))
        )
    return pools


def sizes(pools: Sequence[ActorPool], jobs: int, there: Mapping[str, float]) -> list[tuple[int, int]]:
    """Return the fewest and most actors of each pool.

    Args:
        pools: all pools.
        jobs: number of shards to annotate.
        there: `CPU` and `GPU` of the cluster. Pools whose params set no number share what the others leave.
    """
    unnamed = sum(pool.params.workers is None for pool in pools)
    cpus = there.get("CPU", 0.0) - sum(p.params.cpus * p.params.fewest for p in pools if p.params.workers)
    gpus = there.get("GPU", 0.0) - sum(p.params.gpus * p.params.fewest for p in pools if p.params.workers)
    actors = []
    for params in (pool.params for pool in pools):
        workers = params.workers
        if workers is None:
            room = [left / each for left, each in ((cpus, params.cpus), (gpus, params.gpus)) if each]
            workers = max(1, math.floor(min(room) / unnamed + 1e-6))
        fewest, most = workers if isinstance(workers, list) else (workers, workers)
        actors.append((min(fewest, jobs), min(most, jobs)))
    return actors


def chain(params: AnnotateParams) -> list[str | None]:
    """Return the names of pools in the order in which the annotator calls their models.

    None is the pool of all other models, which is always last. A model that is called at two points has a pool at each,
    since its later answers depend on the answers of the models in between.
    """
    owners = [name if name in params.ray.pools else None for name in _asked(params)]
    return [owner for owner, _ in itertools.groupby([*owners, None])]


def others(params: AnnotateParams) -> frozenset[str]:
    """Return the models without a pool of their own, built-ins included."""
    return frozenset(_asked(params)) - frozenset(params.ray.pools)


def _asked(params: AnnotateParams) -> list[str]:
    roles = params.roles
    filters = roles.of("filter")
    names = [
        *roles.of("policy"),
        *roles.of("proposer"),
        *roles.of("region_tagger"),
        *roles.of("masker"),
        *roles.of("region_captioner"),
        *(filters if params.rules.region_caption_threshold is not None else []),
        _EMBEDDER,
        *roles.of("tagger"),
        *roles.of("captioner"),
        *filters,
        *(roles.of("negator") if params.rules.negatives is not None else []),
    ]
    return [name for name in names if name not in _NOBODY]
