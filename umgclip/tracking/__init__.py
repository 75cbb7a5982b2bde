"""Runs, curves and files in MLflow: one run a stage, under the pipeline's run when there is one.

Where they go is the environment's business (`MLFLOW_TRACKING_URI`, `MLFLOW_EXPERIMENT_NAME`); with nothing set, the
SQLite file `mlflow.db` and the folder `mlartifacts` in the repository, by absolute path. A server out of
reach ends the stage before its work begins; one that is lost later costs curves and a warning, never the work.
"""

from umgclip.tracking.run import Run
from umgclip.tracking.stages import PARENT_RUN, finished_run, stage_run
from umgclip.tracking.store import Store, bounded, environment, explained, store_from_env

__all__ = [
    "PARENT_RUN",
    "Run",
    "Store",
    "bounded",
    "environment",
    "explained",
    "finished_run",
    "stage_run",
    "store_from_env",
]
