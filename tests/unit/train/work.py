"""Several trainings by the processes of one world; `torchrun work.py JOBS`, a JSON list of what `stage.run` takes."""

import json
import os
import signal
import sys
from pathlib import Path

from umgclip.learning.world import join_world
from umgclip.params import TrainParams
from umgclip.train import stage


def main() -> None:
    with join_world("cpu") as world:
        for job in json.loads(Path(sys.argv[1]).read_text()):

            def report(step: int, _values: dict[str, float], last: int | None = job.get("kill_at")) -> None:
                if step == last:
                    os.kill(os.getpid(), signal.SIGKILL)

            inputs = stage.TrainInputs(**{name: Path(path) for name, path in job["inputs"].items()})
            params = TrainParams.model_validate(job["params"])
            stage.run(params, inputs, Path(job["out"]), report=report, world=world)


main()
