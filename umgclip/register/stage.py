"""The stage `register`: the tuned model becomes a version in MLflow, and the champion if the gates let it.

It has effects outside its files, so it runs every time and must be harmless when repeated: a version with the same
hashes of weights, data and benchmark is looked up first and used again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow.entities.model_registry import ModelVersion

from umgclip.errors import DataError
from umgclip.io.atomic import fresh_folder, sha256_json, write_bytes, write_json
from umgclip.params import RegisterParams
from umgclip.provenance import git_state
from umgclip.register import registry as names
from umgclip.register.bundle import active, log_bundle
from umgclip.register.card import model_card
from umgclip.register.gates import Decision, Evidence, decide, flatten_metrics
from umgclip.register.identity import Identity, identify, read_json
from umgclip.register.registry import Registry, evidence_of
from umgclip.summary import Summary
from umgclip.tracking import Store, bounded, explained, stage_run, store_from_env

REPORT = "register.json"
CARD = "model_card.md"


@dataclass(frozen=True)
class RegisterInputs:
    """Where the stage reads.

    Attributes:
        base: folder of the stage `base`.
        adapter: folder of the stage `train`, which holds the adapter.
        metrics: the file `metrics/evaluate.json`.
        data: folder with the datasets `train` and `benchmark`.
        repo: the repository: its commit is recorded, and the embedded MLflow store lies there.
    """

    base: Path
    adapter: Path
    metrics: Path
    data: Path
    repo: Path


@dataclass(frozen=True)
class _Outcome:
    version: ModelVersion
    created: bool
    decision: Decision
    aliases: dict[str, str]


def run(params: RegisterParams, inputs: RegisterInputs, out: Path) -> Summary:
    """Register the tuned model; writes `register.json` and `model_card.md` into `out`.

    Args:
        params: the section `register`.
        inputs: what to read.
        out: the folder to make; an old one is replaced.

    Raises:
        DataError: an input is missing or is not what its report says.
        TrackingError: MLflow does not answer or refuses.
        OutputError: a result cannot be written.
    """
    identity = identify(inputs.base, inputs.adapter, inputs.data, inputs.repo)
    candidate = _evidence(read_json(inputs.metrics), identity, inputs.metrics)
    card = model_card(params, candidate, identity, inputs.data)
    store = store_from_env(inputs.repo)
    with fresh_folder(out) as working:
        write_bytes(working / CARD, card.encode())
        outcome = _register(params, inputs, store, (identity, candidate), working / CARD)
        write_json(working / REPORT, _report(params, store, identity, outcome))
    return _summary(params, store, outcome)


def _register(
    params: RegisterParams, inputs: RegisterInputs, store: Store, subject: tuple[Identity, Evidence], card: Path
) -> _Outcome:
    identity, candidate = subject
    with explained(store), bounded():
        registry = Registry(store.client(), params.name)
        found = registry.by_identity(identity.key)
        champion = registry.by_alias(names.CHAMPION)
    known = Evidence(**{**vars(candidate), "version": str(found.version) if found else None})
    decision = decide(known, evidence_of(champion) if champion else None, params.gates)
    tags = _tags(identity, candidate, decision)
    version = found or _create(params, inputs, registry, tags, (candidate, card))
    with explained(store), bounded():
        if found and champion and str(found.version) == str(champion.version):
            tags.pop(names.GATES_TAG)  # keeps the gates that made it champion
        registry.update_tags(version, tags)
        registry.point(names.CHALLENGER, str(version.version))
        if decision.promote and params.promote:
            registry.promote(str(version.version), str(champion.version) if champion else None)
        return _Outcome(version, found is None, decision, registry.aliases())


def _create(
    params: RegisterParams,
    inputs: RegisterInputs,
    registry: Registry,
    tags: Mapping[str, str],
    documents: tuple[Evidence, Path],
) -> ModelVersion:
    candidate, card = documents
    git = git_state(inputs.repo)
    made_by = {"umgclip.git_commit": git.commit or "unknown", "umgclip.git_dirty": str(git.dirty).lower()}
    with stage_run("register", params.model_dump(), root=inputs.repo) as opened, explained(opened.store):
        for model, numbers in (("base", candidate.base), ("tuned", candidate.tuned)):
            opened.log_metrics({f"{model}.{name}": value for name, value in numbers.items()})
        opened.log_artifact(card)
        described = f"LoRA-tuned CLIP; benchmark {candidate.benchmark_digest[:12]}; see {CARD} of the run"
        with active(opened):
            model_id = log_bundle(params, inputs.base, inputs.adapter)
            return registry.create(model_id, opened.run_id, {**tags, **made_by}, described)


def _evidence(report: Mapping[str, Any], identity: Identity, path: Path) -> Evidence:
    """Read the metrics and refuse those of other weights or another benchmark.

    Raises:
        DataError: no numbers of both models, or numbers about something else.
    """
    for part in ("base", "tuned", "protocol"):
        if not isinstance(report.get(part), dict):
            raise DataError(f"{path}: expected an object {part!r}, got {sorted(report)}")
    measured = {
        "inputs.adapter_sha256": identity.adapter_sha256,
        "inputs.base_sha256": identity.base_sha256,
        "benchmark.sha256": identity.benchmark_digest,
    }
    for field, wanted in measured.items():
        part, name = field.split(".")
        got = report["protocol"].get(part, {}).get(name)
        if got != wanted:
            raise DataError(f"{path}: protocol.{field}: expected {wanted}, got {got}; run evaluate again")
    return Evidence(
        version=None,
        adapter_sha256=identity.adapter_sha256,
        base_sha256=identity.base_sha256,
        benchmark_digest=identity.benchmark_digest,
        protocol_digest=sha256_json(report["protocol"].get("settings", {})),
        tuned=flatten_metrics(report["tuned"]),
        base=flatten_metrics(report["base"]),
    )


def _tags(identity: Identity, candidate: Evidence, decision: Decision) -> dict[str, str]:
    metrics = {"base": dict(candidate.base), "tuned": dict(candidate.tuned)}
    return {
        names.IDENTITY_TAG: identity.key,
        **{f"umgclip.{name}": value for name, value in vars(identity).items()},
        "umgclip.protocol_digest": candidate.protocol_digest,
        names.METRICS_TAG: json.dumps(metrics, sort_keys=True),
        names.GATES_TAG: json.dumps(decision.to_json(), sort_keys=True),
    }


def _report(params: RegisterParams, store: Store, identity: Identity, outcome: _Outcome) -> dict[str, Any]:
    return {
        "name": params.name,
        "version": str(outcome.version.version),
        "created": outcome.created,
        "run_id": outcome.version.run_id,
        "tracking_uri": store.name,
        "aliases": outcome.aliases,
        "gates": outcome.decision.to_json(),
        "promote": params.promote,
        "identity": vars(identity),
    }


def _summary(params: RegisterParams, store: Store, outcome: _Outcome) -> Summary:
    number = str(outcome.version.version)
    champion = outcome.aliases.get(names.CHAMPION)
    said = "new" if outcome.created else "registered before with the same weights, data and benchmark; nothing created"
    rows = [("model", f"{params.name} in {store.name}"), ("version", f"{number} ({said})")]
    if outcome.decision.promote and not params.promote:
        rows.append(("champion", f"{champion or 'none'} (register.promote is false; the gates would move it)"))
    else:
        rows.append(("champion", champion or "none"))
    rows.append(("gates", outcome.decision.reason))
    return Summary(f"register: {params.name} v{number}", tuple(rows))
