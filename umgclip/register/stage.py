"""The stage `register`: make the tuned model a version in MLflow, and the champion if it passes the gates.

It has effects outside its files, so it runs every time and must be harmless when repeated: it first looks for a
version with the same hashes of weights, data and benchmark, and uses that one again. A DVC experiment creates a
version but moves no alias.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from umgclip.errors import DataError
from umgclip.inference.folder import CARD, VOCABULARY, interface_sha256, read_vocabulary
from umgclip.io.atomic import fresh_folder, sha256_json, write_bytes, write_json
from umgclip.io.json_file import read_report
from umgclip.model.clip.layout import ADAPTER, BASE_REPORT, TRAIN_REPORT
from umgclip.params import RegisterParams
from umgclip.provenance import git_state
from umgclip.register import registry as names
from umgclip.register.card import CardFacts, model_card
from umgclip.register.gates import Decision, Evidence, flatten_metrics
from umgclip.register.identity import Identity, identify
from umgclip.register.promotion import judge, promote, rollback_refusal
from umgclip.register.registry import Registry, evidence_of
from umgclip.stage import Summary, begin
from umgclip.tracking import Store, bounded, deliver, experiment, explained, stage_run, store_from_env

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

REPORT = "register.json"


@dataclass(frozen=True)
class RegisterInputs:
    """Paths of the files and folders that the stage reads.

    Attributes:
        base: folder of the stage `base`.
        adapter: folder of the stage `train`, which holds the adapter.
        metrics: the file `metrics/evaluate.json`.
        data: folder with the datasets `train` and `benchmark`.
        repo: the repository, whose commit is recorded and which holds the embedded MLflow store.
        vocabulary: the file of concepts that `annotate` wrote; tags are chosen from it. May be missing.
        protocols: the file in which `evaluate` describes its protocols, for the card. May be missing.
    """

    base: Path
    adapter: Path
    metrics: Path
    data: Path
    repo: Path
    vocabulary: Path | None = None
    protocols: Path | None = None


@dataclass(frozen=True)
class _Outcome:
    version: ModelVersion
    created: bool
    decision: Decision
    aliases: dict[str, str]
    trial: str | None = None  # name of the DVC experiment that runs the stage


@dataclass(frozen=True)
class _Subject:
    """The model to register: its hashes, its metrics, the metrics file that they come from, and its concepts."""

    identity: Identity
    evidence: Evidence
    report: Mapping[str, Any]
    vocabulary: tuple[str, ...]


def run(params: RegisterParams, inputs: RegisterInputs, out: Path) -> Summary:
    """Register the tuned model; write `register.json`, `model_card.md` and the vocabulary into `out`.

    Args:
        params: the section `register`.
        inputs: paths to read.
        out: the folder to create; an existing one is replaced.

    Raises:
        DataError: an input is missing or does not match its report.
        TrackingError: MLflow does not answer or refuses.
        OutputError: a result cannot be written.
    """
    begin("reading models, data and metrics")
    subject = _subject(params, inputs)
    store = store_from_env(inputs.repo)
    with fresh_folder(out) as working:
        if subject.vocabulary and inputs.vocabulary:
            write_bytes(working / VOCABULARY, inputs.vocabulary.read_bytes())
        begin("asking MLflow, and checking the gates")
        outcome = _register(params, inputs, store, subject, working)
        write_json(working / REPORT, _report(params, store, subject.identity, outcome))
    return _summary(params, store, outcome)


def _subject(params: RegisterParams, inputs: RegisterInputs) -> _Subject:
    vocabulary: tuple[str, ...] = ()
    if inputs.vocabulary is not None and inputs.vocabulary.is_file():
        vocabulary = read_vocabulary(inputs.vocabulary)
    interface = interface_sha256(params.template, params.box_share, vocabulary)
    identity = identify(inputs.base, inputs.adapter, inputs.data, inputs.repo, interface)
    report = read_report(inputs.metrics)
    return _Subject(identity, _evidence(report, identity, inputs.metrics), report, vocabulary)


def _register(
    params: RegisterParams, inputs: RegisterInputs, store: Store, subject: _Subject, documents: Path
) -> _Outcome:
    with explained(store), bounded():
        client = store.client()
        deliver(store, inputs.repo, client)
        registry = Registry(client, params.name)
        existing = registry.by_identity(subject.identity.key)
        champion = registry.by_alias(names.CHAMPION)
        known = replace(subject.evidence, version=str(existing.version) if existing else None)
        refusal = rollback_refusal(registry, known)
    latency = cache(partial(_latency_ratio, params, inputs, store, subject))
    decision = refusal or judge(params.gates, known, evidence_of(champion) if champion else None, latency)
    is_champion = existing is not None and champion is not None and str(existing.version) == str(champion.version)
    gates = _gates_of(existing, decision) if existing and is_champion else decision
    write_bytes(documents / CARD, _card(params, inputs, subject, gates).encode())
    tags = _tags(subject, gates)
    version = existing or _create(params, inputs, registry, (subject, tags), documents)
    trial = experiment()
    with explained(store), bounded():
        registry.update_tags(version, tags)
        if trial is None:
            registry.point(names.CHALLENGER, str(version.version))
    if decision.promote and params.promote and trial is None:
        decision = promote(params, str(version.version), store, latency_ratio=latency).decision
    with explained(store), bounded():
        return _Outcome(version, existing is None, decision, registry.aliases(), trial)


def _latency_ratio(
    params: RegisterParams, inputs: RegisterInputs, store: Store, subject: _Subject, champion: str
) -> float:
    from umgclip.inference.answerer import Answerer
    from umgclip.model.clip.placement import placement  # imports torch and open_clip, which are seldom needed here
    from umgclip.register.download import fetch
    from umgclip.register.latency import ratio_of

    device, dtype = placement(params, "register")
    candidate = Answerer.load(
        inputs.base,
        inputs.adapter / ADAPTER,
        template=params.template,
        box_share=params.box_share,
        vocabulary=subject.vocabulary,
        device=str(device),
    )
    with tempfile.TemporaryDirectory() as folder:
        other = fetch(store, params.name, champion, Path(folder), device=str(device))
    return ratio_of(candidate.computing_in(dtype), other.computing_in(dtype))


def _gates_of(champion: ModelVersion, decision: Decision) -> Decision:
    """Return the decision that made a version champion, from its tags; it stays with the version."""
    written = champion.tags.get(names.GATES_TAG)
    return Decision.from_json(json.loads(written)) if written else decision


def _card(params: RegisterParams, inputs: RegisterInputs, subject: _Subject, decision: Decision) -> str:
    has_protocols = inputs.protocols is not None and inputs.protocols.is_file()
    facts = CardFacts(
        identity=subject.identity,
        evidence=subject.evidence,
        decision=decision,
        data=inputs.data,
        base=read_report(inputs.base / BASE_REPORT),
        training=read_report(inputs.adapter / TRAIN_REPORT),
        settings=subject.report["protocol"].get("settings", {}),
        protocols=read_report(inputs.protocols) if inputs.protocols is not None and has_protocols else {},
        concepts=len(subject.vocabulary),
    )
    return model_card(params, facts)


def _create(
    params: RegisterParams,
    inputs: RegisterInputs,
    registry: Registry,
    subject_and_tags: tuple[_Subject, Mapping[str, str]],
    documents: Path,
) -> ModelVersion:
    from umgclip.register.bundle import active, log_bundle

    subject, tags = subject_and_tags
    git = git_state(inputs.repo)
    made_by = {"umgclip.git_commit": git.commit or "unknown", "umgclip.git_dirty": str(git.dirty).lower()}
    if (trial := experiment()) is not None:
        made_by["dvc.exp_name"] = trial
    with stage_run("register", params.model_dump(), root=inputs.repo) as opened, explained(opened.store):
        for model, numbers in (("base", subject.evidence.base), ("tuned", subject.evidence.tuned)):
            opened.log_metrics({f"{model}.{name}": value for name, value in numbers.items()})
        opened.log_artifact(documents / CARD)
        benchmark = subject.identity.benchmark_digest[:12]
        described = f"LoRA-tuned CLIP; benchmark {benchmark}; see {CARD} of the run, or artifacts/{CARD} of the model"
        with active(opened):
            model_id = log_bundle(params, inputs.base, inputs.adapter, documents)
            return registry.create(model_id, opened.run_id, {**tags, **made_by}, described)


def _evidence(report: Mapping[str, Any], identity: Identity, path: Path) -> Evidence:
    """Read the metrics and refuse those of other weights or another benchmark.

    Raises:
        DataError: the metrics of a model are missing, or belong to other weights or another benchmark.
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
        protocols=report.get("protocols", {}),
    )


def _tags(subject: _Subject, decision: Decision) -> dict[str, str]:
    metrics = {"base": dict(subject.evidence.base), "tuned": dict(subject.evidence.tuned)}
    return {
        names.IDENTITY_TAG: subject.identity.key,
        **{f"umgclip.{name}": value for name, value in vars(subject.identity).items()},
        "umgclip.protocol_digest": subject.evidence.protocol_digest,
        names.METRICS_TAG: json.dumps(metrics, sort_keys=True),
        names.GATES_TAG: json.dumps(decision.to_json(), sort_keys=True),
        names.PROTOCOLS_TAG: json.dumps(subject.evidence.protocols, sort_keys=True),
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
        "experiment": outcome.trial,
        "identity": vars(identity),
    }


def _summary(params: RegisterParams, store: Store, outcome: _Outcome) -> Summary:
    number = str(outcome.version.version)
    champion = outcome.aliases.get(names.CHAMPION)
    state = "new" if outcome.created else "registered before with the same weights, data and benchmark; nothing created"
    rows = [("model", f"{params.name} in {store.name}"), ("version", f"{number} ({state})")]
    if outcome.trial is not None:
        moves = f"experiment {outcome.trial} moves no alias; run `umgclip promote {number}` to check the gates"
        rows.append(("champion", f"{champion or 'none'} ({moves})"))
    elif outcome.decision.promote and not params.promote:
        rows.append(("champion", f"{champion or 'none'} (register.promote is false; the gates would move it)"))
    else:
        rows.append(("champion", champion or "none"))
    rows.append(("gates", outcome.decision.reason))
    return Summary(f"register: {params.name} v{number}", tuple(rows))
