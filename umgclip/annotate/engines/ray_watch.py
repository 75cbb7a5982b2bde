"""Notice that a cluster has lost the machines that the work needs, instead of waiting for them without end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from umgclip.errors import UmgclipError
from umgclip.params.ray import RayPoolParams

_UNITS = ("CPU", "GPU")


@dataclass
class ClusterWatch:
    """A watch over a run on a cluster; no import of Ray.

    Ray waits for machines that may come back, and starts the workers of lost ones elsewhere if there is room. Without
    room nothing would ever happen again. Until the first worker has begun, Ray watches its own time limit.

    Attributes:
        pools: the workers of the run.
        wait_s: longest wait for machines: `annotate.ray.start_timeout_s`.
    """

    pools: Sequence[RayPoolParams]
    wait_s: float
    _alive_s: float | None = None
    _moved_s: float = 0.0

    def check(self, now_s: float, total: Mapping[str, float], free: Mapping[str, float], *, news: bool) -> None:
        """Compare the resources of the cluster with what the workers need.

        Args:
            now_s: the time, in seconds.
            total: `CPU` and `GPU` of all machines that Ray counts as alive.
            free: those that no worker holds.
            news: whether any image was done since the last call.

        Raises:
            UmgclipError: no worker has held any resource, or workers of one pool have had no room and no image was
                done, for longer than `wait_s`.
        """
        alive = any(total.get(unit, 0.0) > free.get(unit, 0.0) for unit in _UNITS)
        if self._alive_s is None and not alive and not news:
            return
        if self._alive_s is None or alive or news:
            self._alive_s = now_s
        if not self._moved_s or news or len(self.pools) == 1 or self._has_room(total):
            self._moved_s = now_s
        if now_s - min(self._alive_s, self._moved_s) > self.wait_s:
            raise UmgclipError(
                f"annotate.ray: the cluster has lost machines and has had no room for the workers for "
                f"{self.wait_s:g} s (start_timeout_s); {self._needs()}, found {_shown(total)}; add machines or set "
                "fewer workers, and run it again to continue"
            )

    def _has_room(self, total: Mapping[str, float]) -> bool:
        needed = self._fewest()
        return all(total.get(unit, 0.0) >= needed[unit] - 1e-6 for unit in _UNITS)

    def _fewest(self) -> dict[str, float]:
        return {
            "CPU": sum(pool.cpus * pool.fewest for pool in self.pools),
            "GPU": sum(pool.gpus * pool.fewest for pool in self.pools),
        }

    def _needs(self) -> str:
        return f"expected {_shown(self._fewest())}"


def _shown(units: Mapping[str, float]) -> str:
    return f"{units.get('CPU', 0.0):g} CPUs and {units.get('GPU', 0.0):g} GPUs"
