"""A stage of the stand-in project: `python stage.py NAME`. What else it does is asked for by files in $STAND_IN.

`NAME.exit` holds exit codes, one a line: each run takes the first, if any. `NAME.sleep`: start two processes more, one
of them in a session of its own, and wait. Every run that computes adds a line to `ran.log`. `tracked`: open a run in
MLflow as real stages do.
"""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

name = sys.argv[1]
desk = Path(os.environ["STAND_IN"])
with (desk / "ran.log").open("a") as log:
    log.write(f"{name} {os.getpid()} {Path.cwd()}\n")
sys.stdout.write(f"{name}: starting\n")
sys.stdout.flush()


def work() -> None:
    """Do what is asked for, then write the outputs."""
    exits = desk / f"{name}.exit"
    if exits.is_file() and exits.read_text().split():
        first, *rest = exits.read_text().split()
        exits.write_text("\n".join(rest))
        sys.stderr.write(f"umgclip {name}: asked to end with {first}\n")
        sys.exit(int(first))
    if (desk / f"{name}.sleep").is_file():
        sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
        others = [subprocess.Popen(sleep), subprocess.Popen(sleep, start_new_session=True)]
        pids = [os.getpid(), *(process.pid for process in others)]
        (desk / f"{name}.pids").write_text("\n".join(map(str, pids)))
        time.sleep(600)
    sys.stdout.write(f"{name}: 1/2 (50 %) in 00:01\n")
    # the sections of params.yaml are read by hand: every run of this file should take milliseconds
    section = Path("params.yaml").read_text().split(f"\n{name}:")[1].split("\n\n")[0]
    rank = int(section.split("rank:")[1].split()[0]) if "rank:" in section else 0
    made = Path("artifacts") / name
    made.mkdir(parents=True, exist_ok=True)
    (made / "result.txt").write_text(f"{name} {rank}\n")
    if name in ("train", "evaluate"):
        Path("metrics").mkdir(exist_ok=True)
        before = int((Path("artifacts/train/result.txt")).read_text().split()[1])
        value = 1 - abs(before - 8) / 100
        content = {"base": {"region": {"mask_top1": 0.5}}, "tuned": {"region": {"mask_top1": value}}, "rank": before}
        Path(f"metrics/{name}.json").write_text(json.dumps(content))
    if name == "register":
        content = {"name": "umgclip", "version": "3", "aliases": {"challenger": "3"}, "gates": {"reason": "none asked"}}
        (made / "register.json").write_text(json.dumps(content))


def tracked() -> AbstractContextManager:
    """Open an MLflow run if one is requested; the import takes seconds."""
    if not (desk / "tracked").is_file():
        return nullcontext()
    from umgclip.tracking import stage_run

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the run is closed, as on Ctrl-C
    return stage_run(name, {"stand_in": True})


with tracked():
    work()
