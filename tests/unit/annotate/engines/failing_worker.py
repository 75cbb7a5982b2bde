"""Workers whose tagger fails on some images for a while; a module of its own, which actors can import."""

import os
from pathlib import Path

from umgclip.annotate.annotator import Annotator
from umgclip.annotate.engines.ray import Worker
from umgclip.annotate.rejected import Failure
from umgclip.annotate.worker import ShardWorker


def failing(worker: ShardWorker) -> ShardWorker:
    """It fails on the images whose keys stand in the file `FAILING`."""
    worker._annotator = _Failing(worker._annotator)
    return worker


class _Failing(Annotator):
    def __init__(self, annotator):
        self.__dict__.update(annotator.__dict__)

    def __call__(self, samples):
        found = super().__call__(samples)
        keys = Path(os.environ["FAILING"]).read_text().split()
        for one in found:
            if one.record.key in keys:
                one.failures["tagger"] = Failure("busy", "later")
        return found


class FailingWorker(Worker):
    def _load(self):
        return failing(super()._load())
