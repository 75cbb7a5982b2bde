"""Versions and aliases of one model in MLflow's registry."""

from __future__ import annotations

import json
from collections.abc import Mapping

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from umgclip.errors import InputError, TrackingError
from umgclip.register.force import Force
from umgclip.register.gates import FORCE, Evidence
from umgclip.tracking import Store, bounded, explained

CHALLENGER = "challenger"
CHAMPION = "champion"
PREVIOUS_CHAMPION = "previous_champion"
IDENTITY_TAG = "umgclip.identity"
METRICS_TAG = "umgclip.metrics"
GATES_TAG = "umgclip.gates"
PROTOCOLS_TAG = "umgclip.protocols"
ROLLED_BACK_TAG = "umgclip.rolled_back"
FORCED_BY_TAG, FORCED_AT_TAG, FORCED_REASON_TAG = (f"umgclip.forced_{what}" for what in ("by", "at", "reason"))
# MLflow answers a missing alias with the first, a missing model with the second
_MISSING = ("INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST")


class ChampionMovedError(TrackingError):
    """Somebody else moved the champion between the decision and the move of the alias."""


class Registry:
    """A registered model with its versions, tags and aliases."""

    def __init__(self, client: MlflowClient, name: str) -> None:
        self._client = client
        self.name = name

    def by_alias(self, alias: str) -> ModelVersion | None:
        """Return the version that an alias points to, None if there is no such alias or model."""
        try:
            return self._client.get_model_version_by_alias(self.name, alias)
        except MlflowException as error:
            if error.error_code in _MISSING:
                return None
            raise

    def by_identity(self, key: str) -> ModelVersion | None:
        """Return the newest version with this identity that is ready, None if there is none."""
        versions = self._client.search_model_versions(f"name = '{self.name}' and tags.`{IDENTITY_TAG}` = '{key}'")
        ready = [version for version in versions if version.status == "READY"]
        return max(ready, key=lambda version: int(version.version), default=None)

    def rolled_back(self, candidate: Evidence) -> list[ModelVersion]:
        """List versions that a rollback replaced and that are the candidate or have its weights."""
        marked = self._client.search_model_versions(f"name = '{self.name}' and tags.`{ROLLED_BACK_TAG}` != ''")
        return [
            version
            for version in marked
            if str(version.version) == candidate.version or candidate.same_weights(evidence_of(version))
        ]

    def create(self, model_id: str, run_id: str, tags: Mapping[str, str], description: str) -> ModelVersion:
        """Create a version of a logged model in the `active` store, together with its tags."""
        try:
            self._client.create_registered_model(self.name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        return self._client.create_model_version(
            self.name,
            source=f"models:/{model_id}",
            run_id=run_id,
            tags=dict(tags),
            description=description,
            model_id=model_id,
        )

    def update_tags(self, version: ModelVersion, tags: Mapping[str, str]) -> None:
        """Write those tags of a version whose values differ."""
        for name, value in tags.items():
            if version.tags.get(name) != value:
                self._client.set_model_version_tag(self.name, version.version, name, value)

    def note_force(self, version: ModelVersion, force: Force) -> None:
        """Record who promoted a version against its gates, when and why, as tags and in its description."""
        tags = {FORCED_BY_TAG: force.by, FORCED_AT_TAG: force.at, FORCED_REASON_TAG: force.reason}
        self.update_tags(version, tags)
        text = f"promoted against its gates by {force.by} at {force.at}: {force.reason}"
        described = "; ".join(part for part in (version.description, text) if part)
        self._client.update_model_version(self.name, version.version, described)

    def forget_rollback(self, candidate: Evidence) -> None:
        """Remove the mark that these weights were rolled back."""
        for version in self.rolled_back(candidate):
            self._client.delete_model_version_tag(self.name, version.version, ROLLED_BACK_TAG)

    def point(self, alias: str, version: str) -> bool:
        """Point an alias to a version and return whether that was a change.

        Raises:
            TrackingError: read back, the alias points to another version.
        """
        if self.version_of(alias) == version:
            return False
        self._client.set_registered_model_alias(self.name, alias, version)
        actual = self.version_of(alias)
        if actual != version:
            raise TrackingError(
                f"{self.name}@{alias}: expected version {version} after setting it, got {actual}; run it again"
            )
        return True

    def move_champion(self, version: str, instead_of: str | None) -> None:
        """Move `champion` to a version and `previous_champion` to the old one; call it inside `serialised`.

        `previous_champion` moves first: a process that dies in between leaves the champion as it was. Users who move
        aliases by hand are not serialised, so the champion is read again right before and after it is set.

        Raises:
            ChampionMovedError: the champion is not, or no longer, the one that the decision was made against; this
                call's changes are undone.
        """
        self._expect_champion(instead_of)
        before = self.version_of(PREVIOUS_CHAMPION)
        if instead_of is not None:
            self.point(PREVIOUS_CHAMPION, instead_of)
        try:
            self._expect_champion(instead_of)
            self._client.set_registered_model_alias(self.name, CHAMPION, version)
            self._expect_champion(version)
        except ChampionMovedError:
            if self.version_of(PREVIOUS_CHAMPION) == instead_of != before:
                self._restore_previous(before)
            raise

    def _restore_previous(self, version: str | None) -> None:
        if version is None:
            self._client.delete_registered_model_alias(self.name, PREVIOUS_CHAMPION)
        else:
            self.point(PREVIOUS_CHAMPION, version)

    def _expect_champion(self, version: str | None) -> None:
        actual = self.version_of(CHAMPION)
        if actual != version:
            raise ChampionMovedError(f"{self.name}@{CHAMPION}: expected version {version}, got {actual}")

    def aliases(self) -> dict[str, str]:
        """Return the version numbers of those of the pipeline's three aliases that exist."""
        versions = {alias: self.version_of(alias) for alias in (CHALLENGER, CHAMPION, PREVIOUS_CHAMPION)}
        return {alias: version for alias, version in versions.items() if version is not None}

    def version_of(self, alias: str) -> str | None:
        """Return the number of the version that an alias points to, None if it does not exist."""
        version = self.by_alias(alias)
        return None if version is None else str(version.version)


def find(store: Store, name: str, alias_or_version: str) -> ModelVersion:
    """Find a version by alias or number and return it with its tags.

    Args:
        store: MLflow store with the registry.
        name: the registered model.
        alias_or_version: an alias such as `champion`, or a number.

    Raises:
        InputError: no such model, alias or version.
        TrackingError: MLflow does not answer or refuses, or the version is not ready.
    """
    with explained(store), bounded():
        client = store.client()
        try:
            if alias_or_version.isdecimal():
                version = client.get_model_version(name, alias_or_version)
            else:
                version = client.get_model_version_by_alias(name, alias_or_version)
        except MlflowException as error:
            if error.error_code not in _MISSING:
                raise
            kind = "version" if alias_or_version.isdecimal() else "alias"
            raise InputError(
                f"{name} in {store.name}: expected a registered model with {kind} {alias_or_version!r}, found none; "
                f"{_advice(Registry(client, name), alias_or_version)}"
            ) from error
    if version.status != "READY":
        raise TrackingError(
            f"{name} v{version.version} in {store.name}: expected status READY, got {version.status}; "
            "try again later or register the model again"
        )
    return version


def _advice(registry: Registry, wanted: str) -> str:
    """Advise what to do about a missing alias or version; for a champion, say why the challenger is not one."""
    challenger = registry.by_alias(CHALLENGER)
    if wanted != CHAMPION or challenger is None:
        return "`umgclip register` creates versions, `umgclip promote` moves the alias champion"
    reason = json.loads(challenger.tags.get(GATES_TAG, "{}")).get("reason", "nothing so far")
    return (
        f"the challenger is v{challenger.version}, and the decision of its gates is: {reason}. `umgclip promote` "
        f"checks the gates again, for example after a change of register.gates; {FORCE} overrides them; "
        f"v{challenger.version} can be used by its number"
    )


def evidence_of(version: ModelVersion) -> Evidence:
    """Read the evidence from a version's tags, which are missing if another tool registered the version."""
    metrics = json.loads(version.tags.get(METRICS_TAG, "{}"))
    return Evidence(
        version=str(version.version),
        adapter_sha256=version.tags.get("umgclip.adapter_sha256", ""),
        base_sha256=version.tags.get("umgclip.base_sha256", ""),
        benchmark_digest=version.tags.get("umgclip.benchmark_digest", ""),
        protocol_digest=version.tags.get("umgclip.protocol_digest", ""),
        tuned=metrics.get("tuned", {}),
        base=metrics.get("base", {}),
        protocols=json.loads(version.tags.get(PROTOCOLS_TAG, "{}")),
    )
