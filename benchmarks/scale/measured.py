"""Measured GPU times of roles in the place of published ones, where `benchmarks/roles.py` has stored some."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def with_measured(roles: Mapping[str, Any], figures: Mapping[str, Any]) -> dict[str, Any]:
    """Return the assumed roles, with seconds, GPU and source of those that were measured.

    Args:
        roles: of `costs.yaml`; `measured` lists the KIND.ROLE whose seconds add up to a role's.
        figures: of `benchmarks/roles.json`, by device.
    """
    gpu = figures.get("cuda")
    if gpu is None:
        return dict(roles)
    rows = {f"{row['kind']}.{row['role']}": row for one in gpu["kinds"] for row in one.get("rows", [])}
    models = {one["kind"]: one.get("model") for one in gpu["kinds"]}
    result = dict(roles)
    for name, role in roles.items():
        parts = role.get("measured", [])
        if not parts or any(part not in rows for part in parts):
            continue
        seconds = sum(rows[part]["seconds_per_image"] for part in parts)
        batch = rows[parts[0]]["batch"]
        result[name] = {
            **role,
            "model": models[parts[0].partition(".")[0]],
            "seconds": [seconds, seconds],
            "gpu": gpu["device"]["name"],
            "source": f"measured by benchmarks/roles.py with random weights, batch {batch}",
        }
    return result
