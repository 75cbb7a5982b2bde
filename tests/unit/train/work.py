"""Several trainings by the processes of one world; `torchrun work.py JOBS`, a JSON list of what `stage.run` takes."""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from torch.optim.optimizer import register_optimizer_step_pre_hook

from umgclip.learning.world import join_world
from umgclip.params import TrainParams
from umgclip.process_end import end_process
from umgclip.train import stage


def above_rounding(optimizer: Any, *_: object) -> None:
    """Let Adam divide by no less than 1e-6, as CLIP's authors do.

    It divides a gradient by its own size. So a weight whose gradients cancel moves by the whole rate in a direction
    that rounding chooses: at 1e-8 noise of 1e-7 of the gradients moves one weight of these trainings by 5e-4.
    """
    for group in optimizer.param_groups:
        group["eps"] = 1e-6


def main() -> None:
    register_optimizer_step_pre_hook(above_rounding)
    with join_world("cpu") as world:
        for job in json.loads(Path(sys.argv[1]).read_text()):

            def report(step: int, _values: dict[str, float], last: int | None = job.get("kill_at")) -> None:
                if step == last:
                    os.kill(os.getpid(), signal.SIGKILL)

            inputs = stage.TrainInputs(**{name: Path(path) for name, path in job["inputs"].items()})
            params = TrainParams.model_validate(job["params"])
            stage.run(params, inputs, Path(job["out"]), report=report, world=world)


if __name__ == "__main__":
    main()
    end_process(0)  # as the command line does
