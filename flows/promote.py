"""Name `umgclip.flows.promote` for `python -m flows.promote` and for both flows of Prefect's `flows/promote.py`."""

import sys

from umgclip.flows.promote import main, promote, rollback

__all__ = ["main", "promote", "rollback"]

if __name__ == "__main__":
    sys.exit(main())
