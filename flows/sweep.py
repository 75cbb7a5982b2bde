"""Name `umgclip.flows.sweep` for `python -m flows.sweep` and for Prefect's `flows/sweep.py:sweep`."""

import sys

from umgclip.flows.sweep import main, sweep

__all__ = ["main", "sweep"]

if __name__ == "__main__":
    sys.exit(main())
