"""Runs, curves and files in MLflow: one run a stage, under the pipeline's run when there is one.

Where they go is the environment's business (`MLFLOW_TRACKING_URI`, `MLFLOW_EXPERIMENT_NAME`); with nothing set, the
SQLite file `mlflow.db` and the folder `mlartifacts` in the repository, by absolute path. A server out of
reach ends the stage before its work begins; one that is lost later costs a warning: what it misses waits in
`.umgclip/spool` and is sent when it is back, by this run, the next one or `umgclip sync`.
"""

from umgclip.tracking.delivery import Delivery, deliver
from umgclip.tracking.experiment import experiment
from umgclip.tracking.journal import SPOOL, spool_folder
from umgclip.tracking.run import Run
from umgclip.tracking.stages import PARENT_RUN, finished_run, stage_run
from umgclip.tracking.store import Store, bounded, environment, explained, store_from_env

__all__ = [
    "Delivery",
    "PARENT_RUN",
    "Run",
    "SPOOL",
    "Store",
    "bounded",
    "deliver",
    "environment",
    "experiment",
    "explained",
    "finished_run",
    "spool_folder",
    "stage_run",
    "store_from_env",
]
