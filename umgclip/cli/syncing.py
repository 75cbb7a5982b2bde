"""`umgclip sync`: what an outage of MLflow held back is sent."""

from __future__ import annotations

from pathlib import Path

from umgclip.errors import TrackingError
from umgclip.stage import Summary
from umgclip.tracking import deliver, store_from_env


def sync(root: Path) -> Summary:
    """Send what waits in a checkout's spool.

    Raises:
        TrackingError: something waits still; names the files and why.
    """
    store = store_from_env(root)
    done = deliver(store, root)
    if done.waiting:
        said = "; ".join(f"{path}: {why}" for path, why in done.waiting)
        raise TrackingError(f"{len(done.sent)} runs sent, {len(done.waiting)} could not be: {said}")
    return Summary(f"sync: MLflow at {store.name}", (*done.sent, ("runs sent", str(len(done.sent)))))
