"""Moves the alias `champion`: to a version that passes its gates, or back to the previous champion."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from functools import partial

from umgclip.errors import TrackingError
from umgclip.params import GateParams, RegisterParams
from umgclip.register import registry as names
from umgclip.register.force import Force
from umgclip.register.gates import Decision, Evidence, decide
from umgclip.register.promotion_lock import serialised
from umgclip.register.registry import ChampionMovedError, Registry, evidence_of, find
from umgclip.tracking import Store, bounded, explained

_ATTEMPTS = 5
LatencyRatio = Callable[[str], float]
"""Measures a candidate's time to answer, divided by that of the champion with the given number."""


@dataclass(frozen=True)
class PromotionResult:
    """The outcome of a promotion or a rollback.

    Attributes:
        name: the registered model.
        version: the version that was to become champion; "" if a rollback has no version to restore.
        moved: whether the alias moved; False in a dry run.
        decision: the checks of the gates, and whether the version passed.
        champion_before: number of the champion that the decision was made against, None if there was none.
        champion_after: number of the champion now; unchanged in a dry run.
        dry_run: whether this was a dry run, which moves nothing.
        reason: the decision in words.
    """

    name: str
    version: str
    moved: bool
    decision: Decision
    champion_before: str | None
    champion_after: str | None
    dry_run: bool
    reason: str

    @property
    def accepted(self) -> bool:
        """True if the version is the champion now or, in a dry run, would become it."""
        return self.decision.promote or (self.version != "" and self.version == self.champion_after)


def promote(
    params: RegisterParams,
    version: str | None,
    store: Store,
    *,
    dry_run: bool = False,
    latency_ratio: LatencyRatio | None = None,
    force: Force | None = None,
) -> PromotionResult:
    """Make a version the champion if it passes the gates; the old champion becomes `previous_champion`.

    The decision is written into the version's tags even if it is a refusal. A version that was rolled back is
    promoted again only by its number, or by force.

    Args:
        params: the section `register`.
        version: number or alias; None for the challenger.
        store: MLflow store with the registry.
        dry_run: only report what would happen and write nothing.
        latency_ratio: measures the latency; None fetches and times both versions. It is called only if
            `gates.max_latency_ratio` is set.
        force: who promotes it although gates fail, and why; written into tags and description. It has no effect if
            the gates hold.

    Raises:
        InputError: no such version.
        TrackingError: MLflow does not answer or refuses, or others moved the champion again and again.
        DataError: the latency is needed, and the files of a version are not those of a model of this package.
    """
    candidate = find(store, params.name, names.CHALLENGER if version is None else version)
    number, known = str(candidate.version), evidence_of(candidate)
    measure = latency_ratio or partial(_measured, store, params, number)
    registry = Registry(store.client(), params.name)
    for _ in range(_ATTEMPTS):
        with explained(store), bounded():
            champion = registry.by_alias(names.CHAMPION)
            refusal = rollback_refusal(registry, known) if version is None else None
        before = None if champion is None else str(champion.version)
        verdict = refusal or judge(params.gates, known, evidence_of(champion) if champion else None, measure)
        decision = verdict if force is None else apply_force(verdict, force, is_champion=before == number)
        result = partial(PromotionResult, params.name, number, decision=decision, champion_before=before)
        if dry_run or before == number:
            return result(moved=False, champion_after=before, dry_run=dry_run, reason=decision.reason)
        written = {names.GATES_TAG: json.dumps(decision.to_json(), sort_keys=True)}
        if not decision.promote:
            with explained(store), bounded():
                registry.update_tags(candidate, written)
            return result(moved=False, champion_after=before, dry_run=False, reason=decision.reason)
        with suppress(ChampionMovedError):  # then decide again, against the new champion
            with serialised(store, params.name), explained(store), bounded():
                registry.move_champion(number, before)
                registry.update_tags(candidate, written)
                if force is not None and decision.forced:
                    registry.note_force(candidate, force)
                registry.forget_rollback(known)
            return result(moved=True, champion_after=number, dry_run=False, reason=decision.reason)
    raise TrackingError(
        f"{params.name}@{names.CHAMPION}: expected a stable alias, but others moved it {_ATTEMPTS} times; run it again"
    )


def apply_force(decision: Decision, force: Force, *, is_champion: bool) -> Decision:
    """Turn a refusal into a forced promotion whose reason names the user and the gates; keep other decisions."""
    if decision.promote or is_champion:
        return decision
    reason = f"forced by {force.by} at {force.at}: {force.reason}; the gates said: {decision.reason}"
    return Decision(promote=True, reason=reason, checks=decision.checks, forced=True)


def rollback(params: RegisterParams, store: Store, *, dry_run: bool = False) -> PromotionResult:
    """Make `previous_champion` the champion again, without gates; the current champion becomes `previous_champion`.

    The replaced version is marked: neither `register` nor a promotion of the challenger brings it back.

    Args:
        params: the section `register`.
        store: MLflow store with the registry.
        dry_run: only report what would happen and write nothing.

    Raises:
        TrackingError: MLflow does not answer or refuses, or others moved the champion at the same moment.
    """
    registry = Registry(store.client(), params.name)
    with nullcontext() if dry_run else serialised(store, params.name), explained(store), bounded():
        champion, previous = registry.by_alias(names.CHAMPION), registry.by_alias(names.PREVIOUS_CHAMPION)
        before = None if champion is None else str(champion.version)
        if previous is None or champion is None or str(previous.version) == before:
            missing = names.CHAMPION if champion is None else names.PREVIOUS_CHAMPION
            decision = Decision(promote=False, reason=f"{params.name} has no {missing} to roll back")
            return PromotionResult(params.name, "", False, decision, before, before, dry_run, decision.reason)
        number = str(previous.version)
        decision = Decision(promote=True, reason=f"v{number} was champion before v{before}")
        if not dry_run:
            registry.move_champion(number, before)
            registry.update_tags(champion, {names.ROLLED_BACK_TAG: number})
            registry.forget_rollback(evidence_of(previous))
        after = before if dry_run else number
        return PromotionResult(params.name, number, not dry_run, decision, before, after, dry_run, decision.reason)


def judge(gates: GateParams, candidate: Evidence, champion: Evidence | None, latency_ratio: LatencyRatio) -> Decision:
    """Call `decide` with a measurement of the latency against this champion, for gates that need it."""
    number = None if champion is None else champion.version
    return decide(candidate, champion, gates, None if number is None else partial(latency_ratio, number))


def _measured(store: Store, params: RegisterParams, candidate: str, champion: str) -> float:
    from umgclip.register.latency import ratio_of_versions  # imports torch, which most promotions do not need

    return ratio_of_versions(store, params, candidate, champion)


def rollback_refusal(registry: Registry, candidate: Evidence) -> Decision | None:
    """Refuse weights that were rolled back, so that no run of the pipeline undoes a rollback; None for others."""
    marked = registry.rolled_back(candidate)
    if not marked:
        return None
    version, instead = marked[0].version, marked[0].tags[names.ROLLED_BACK_TAG]
    again = "" if candidate.version == str(version) else "these are the weights of "
    return Decision(
        promote=False,
        reason=f"{again}v{version}, which was rolled back to v{instead}; to promote it anyway, give its number: "
        f"`umgclip promote {candidate.version or 'VERSION'}`",
    )
