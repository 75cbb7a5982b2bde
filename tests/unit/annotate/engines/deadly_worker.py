"""A worker of Ray that dies of one image, as native code does; a module of its own, which actors can import."""

import os
import signal

from umgclip.annotate.engines.ray import Worker


class Deadly(Worker):
    """`POISON` is the key of the image."""

    def _load(self):
        worker = super()._load()
        annotate = worker._annotator

        def ask(samples):
            if any(sample.record.key == os.environ["POISON"] for sample in samples):
                os.kill(os.getpid(), signal.SIGKILL)
            return annotate(samples)

        worker._annotator = ask
        return worker
