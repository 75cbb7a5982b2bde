"""`umgclip sync`: send the data that an outage of MLflow held back."""

from __future__ import annotations

from pathlib import Path

from umgclip.errors import TrackingError
from umgclip.stage import Summary
from umgclip.tracking import deliver, store_from_env


def sync(root: Path) -> Summary:
    """Send the data that is queued in a checkout's spool.

    Raises:
        TrackingError: something could not be sent; the message names the files and the reasons.
    """
    store = store_from_env(root)
    done = deliver(store, root)
    if done.waiting:
        reasons = "; ".join(f"{path}: {why}" for path, why in done.waiting)
        raise TrackingError(f"{len(done.sent)} runs sent, {len(done.waiting)} could not be sent: {reasons}")
    return Summary(
        f"sync: MLflow at {store.name}", (*done.sent, ("runs sent", str(len(done.sent)))), {"sent": dict(done.sent)}
    )
