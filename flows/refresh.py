"""Name `umgclip.flows.refresh` for `python -m flows.refresh` and for Prefect's `flows/refresh.py:refresh`."""

import sys

from umgclip.flows.refresh import main, refresh

__all__ = ["main", "refresh"]

if __name__ == "__main__":
    sys.exit(main())
