"""Name `umgclip.flows.engine` for `python -m flows.engine` and for Prefect's `flows/engine.py:engine`."""

import sys

from umgclip.flows.engine import engine, main

__all__ = ["engine", "main"]

if __name__ == "__main__":
    sys.exit(main())
