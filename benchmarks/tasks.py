"""Tasks of a new user: each one's commands are run in a scratch folder and timed.

    python benchmarks/tasks.py                          # minutes on two idle cores; most of it is `train`
    python benchmarks/tasks.py --only search fiftyone

Data are small and models have random weights: the times are what commands cost before images and models do. The tasks
and their commands are those of docs/tasks.md, which also counts pages that have to be read. Correcting labels ends with
the files for the labelling tool, pushing with the files for the hub.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from ruamel.yaml import YAML

from umgclip.model.clip import files
from umgclip.params import TowerParams

PORT = 8123
TASKS: Mapping[str, Sequence[str]] = {
    "classify": ["umgclip predict photos --labels dog,key,apple --model clip"],
    "search": [
        "umgclip index data/benchmark --model clip --out index",
        "umgclip search 'a red mug on a table' --index index --out mugs",
    ],
    "compare": ["umgclip compare a=clip b=other --images photos --instances boxes.json"],
    "fiftyone": ["umgclip data export data/benchmark --to fiftyone --out for-fiftyone --model tuned=clip"],
    "correct": ["umgclip review export data/train --to label-studio --budget 50 --by random --out review"],
    "push": ["umgclip push alice/birds --model clip --dry-run --out repository"],
    "train": [
        "umgclip init mine --pretrained clip --model tiny --name mine",
        "umgclip data import coco photos --instances boxes.json --captions captions.json --hold-out 0.3"
        " --license CC0 --out mine/data",
        "dvc --cd mine add --quiet data",
        "dvc --cd mine repro",
    ],
    "serve": [f"umgclip serve --model mine --alias challenger --port {PORT}"],
}
"""The commands of each task in the order in which they are typed; `serve` needs the model of `train`."""
_TOWER = TowerParams(width=64, heads=2, layers=2, text_width=64, text_heads=2, text_layers=1, embed_dim=64)
_SMALL = {
    "annotate": {"min_concept_count": 1, "workers": 1},
    "validate": {"labelled_image_share_min": 0.0, "label_score_mean_min": 0.0, "tolerance": 1.0},
    "train": {"steps": 3, "batch": 8},
    "evaluate": {"resamples": 0, "pictures": 1},
}


def prepare(root: Path) -> None:
    """Write photographs with COCO's files, a data set of them, and two CLIPs with random weights."""
    for seed, name in enumerate(("clip", "other")):
        (root / name).mkdir()
        torch.manual_seed(seed)
        files.save(root / name, files.build(files.tower_config(_TOWER)), files.tower_config(_TOWER))
    YAML().dump(
        {"data": {"train_scenes": 60, "benchmark_scenes": 40, "benchmark_singles": 8, "shard_samples": 30}},
        root / "params.yaml",
    )
    run("umgclip data demo", root)
    run("umgclip data export data/benchmark --to coco --out coco", root)
    (root / "coco" / "images").rename(root / "photos")
    for name, short in (("instances", "boxes"), ("captions", "captions")):
        (root / "coco" / "annotations" / f"{name}.json").rename(root / f"{short}.json")


def run(command: str, root: Path) -> float:
    """Run a command and return its seconds; one that fails ends the script with what it said."""
    started = time.perf_counter()
    done = subprocess.run(shlex.split(command), cwd=root, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise SystemExit(f"{command}: exit code {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return time.perf_counter() - started


def answers(command: str, root: Path, address: str) -> float:
    """Start a server, return the seconds until it answers, and end it."""
    started = time.perf_counter()
    with subprocess.Popen(shlex.split(command), cwd=root, stdout=subprocess.DEVNULL) as server:  # noqa: S603
        try:
            while time.perf_counter() - started < 120 and server.poll() is None:
                try:
                    with urllib.request.urlopen(address, timeout=2):  # noqa: S310 - http on loopback
                        return time.perf_counter() - started
                except OSError:  # nobody listens yet, or listens and is not ready
                    time.sleep(0.05)
            raise SystemExit(f"{command}: expected an answer within two minutes, got none")
        finally:
            server.send_signal(signal.SIGINT)


def measure(name: str, root: Path) -> list[float]:
    """Run the commands of a task and return the seconds of each."""
    if name == "serve":
        return [answers(TASKS[name][0], root / "mine", f"http://127.0.0.1:{PORT}/health")]
    seconds = []
    for number, command in enumerate(TASKS[name]):
        if name == "train" and number == 2:
            change_parameters(root / "mine" / "params.yaml")
        seconds.append(run(command, root))
    return seconds


def change_parameters(path: Path) -> None:
    """Make a run small: steps, workers, and gates that a model of random weights passes."""
    yaml = YAML()
    params = yaml.load(path)
    for section, values in _SMALL.items():
        params[section].update(values)
    yaml.dump(params, path)


def main() -> None:
    """Run the tasks, and print a table and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(TASKS), default=list(TASKS))
    arguments = parser.parse_args()
    if "serve" in arguments.only and "train" not in arguments.only:
        parser.error("--only serve: expected train before it, whose model it serves")
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    results = {}
    with tempfile.TemporaryDirectory(prefix="umgclip-tasks-") as folder:
        root = Path(folder)
        prepare(root)
        for name in arguments.only:
            seconds = measure(name, root)
            results[name] = {"seconds": [round(each, 1) for each in seconds], "load": round(os.getloadavg()[0], 1)}
            print(f"{name}: {sum(seconds):.1f} s, {len(seconds)} commands", file=sys.stderr, flush=True)
    print(json.dumps(results))


if __name__ == "__main__":
    main()
