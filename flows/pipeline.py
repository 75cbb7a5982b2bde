"""Name `umgclip.flows.pipeline` for `python -m flows.pipeline` and for Prefect's `flows/pipeline.py:pipeline`."""

import sys

from umgclip.flows.pipeline import main, pipeline

__all__ = ["main", "pipeline"]

if __name__ == "__main__":
    sys.exit(main())
