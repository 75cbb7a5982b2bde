"""Versions and aliases of one model in MLflow's registry."""

from __future__ import annotations

import json
from collections.abc import Mapping

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from umgclip.errors import TrackingError
from umgclip.register.gates import Evidence

CHALLENGER = "challenger"
CHAMPION = "champion"
PREVIOUS_CHAMPION = "previous_champion"
IDENTITY_TAG = "umgclip.identity"
METRICS_TAG = "umgclip.metrics"
GATES_TAG = "umgclip.gates"
# MLflow answers a missing alias with the first, a missing model with the second
_MISSING = ("INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST")


class Registry:
    """One registered model."""

    def __init__(self, client: MlflowClient, name: str) -> None:
        self._client = client
        self.name = name

    def by_alias(self, alias: str) -> ModelVersion | None:
        """The version that an alias points at, None when there is no such alias or model."""
        try:
            return self._client.get_model_version_by_alias(self.name, alias)
        except MlflowException as error:
            if error.error_code in _MISSING:
                return None
            raise

    def by_identity(self, key: str) -> ModelVersion | None:
        """The newest usable version with this identity, None when there is none."""
        found = self._client.search_model_versions(f"name = '{self.name}' and tags.`{IDENTITY_TAG}` = '{key}'")
        ready = [version for version in found if version.status == "READY"]
        return max(ready, key=lambda version: int(version.version), default=None)

    def create(self, model_id: str, run_id: str, tags: Mapping[str, str], description: str) -> ModelVersion:
        """Make a version of a logged model of the `active` store; its tags are there from the first moment."""
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
        """Write the tags that differ."""
        for name, value in tags.items():
            if version.tags.get(name) != value:
                self._client.set_model_version_tag(self.name, version.version, name, value)

    def point(self, alias: str, version: str) -> bool:
        """Make an alias point at a version; says whether that was a change.

        Raises:
            TrackingError: read back, the alias points elsewhere.
        """
        if self._version_of(alias) == version:
            return False
        self._client.set_registered_model_alias(self.name, alias, version)
        found = self._version_of(alias)
        if found != version:
            raise TrackingError(f"{self.name}@{alias}: expected version {version} after setting it, got {found}")
        return True

    def promote(self, version: str, instead_of: str | None) -> None:
        """Move `champion` to a version, and `previous_champion` to the one before.

        MLflow has no compare-and-set: a second registration at the same moment is noticed only up to the last read,
        so whoever runs several serialises them.

        Raises:
            TrackingError: the champion is not, or no longer, the one that the decision was made against.
        """
        found = self._version_of(CHAMPION)
        if found != instead_of:
            raise TrackingError(
                f"{self.name}@{CHAMPION}: expected version {instead_of}, against which the gates were checked, got "
                f"{found}; register again"
            )
        if instead_of is not None:
            self.point(PREVIOUS_CHAMPION, instead_of)
        self.point(CHAMPION, version)

    def aliases(self) -> dict[str, str]:
        """Where our three aliases point, those that exist."""
        found = {alias: self._version_of(alias) for alias in (CHALLENGER, CHAMPION, PREVIOUS_CHAMPION)}
        return {alias: version for alias, version in found.items() if version is not None}

    def _version_of(self, alias: str) -> str | None:
        found = self.by_alias(alias)
        return None if found is None else str(found.version)


def evidence_of(version: ModelVersion) -> Evidence:
    """What a version's tags say about it; versions that others registered have none of them."""
    metrics = json.loads(version.tags.get(METRICS_TAG, "{}"))
    return Evidence(
        version=str(version.version),
        adapter_sha256=version.tags.get("umgclip.adapter_sha256", ""),
        base_sha256=version.tags.get("umgclip.base_sha256", ""),
        benchmark_digest=version.tags.get("umgclip.benchmark_digest", ""),
        protocol_digest=version.tags.get("umgclip.protocol_digest", ""),
        tuned=metrics.get("tuned", {}),
        base=metrics.get("base", {}),
    )
