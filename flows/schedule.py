"""Name `umgclip.flows.schedule` for `python -m flows.schedule`."""

import sys

from umgclip.flows.schedule import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
