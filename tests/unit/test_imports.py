"""What each command imports: libraries that take seconds, only where they are used."""

import json
import subprocess
import sys

import pytest

HEAVY = {
    "boto3", "cv2", "dvc", "fastapi", "great_expectations", "matplotlib", "mlflow", "onnxruntime", "open_clip",
    "pandas", "peft", "prefect", "pyarrow", "ray", "scipy", "sqlalchemy", "sympy", "timm", "torch", "torchvision",
    "transformers",
}  # fmt: skip
PIXELS = {"cv2"}
TABLES = {"cv2", "pyarrow"}
VALIDATION = {"boto3", "great_expectations", "pandas", "pyarrow", "scipy", "sqlalchemy"}
MLFLOW = {"boto3", "fastapi", "mlflow", "pandas", "pyarrow", "scipy", "sqlalchemy"}
# neither peft and transformers nor torch's compiler, which needs sympy
OPEN_CLIP = {"cv2", "open_clip", "timm", "torch", "torchvision"}
# what a command imports before its work begins -> what may be there then
ALLOWED = {
    "umgclip.__main__": set(),
    "umgclip.cli.session": set(),
    "umgclip.cli.report": set(),
    "umgclip.cli.syncing": set(),
    "umgclip.cli.project.create": set(),
    "umgclip.cli.data.importing": set(),
    "umgclip.cli.doctor.machine": TABLES,
    "umgclip.cli.doctor.data": TABLES,
    "umgclip.cli.data.datasets": TABLES,
    "umgclip.browse.gallery": TABLES,
    "umgclip.serve.decoder": PIXELS,
    "umgclip.sources.demo.scenes": PIXELS,
    "umgclip.annotate.stage": TABLES,
    "umgclip.cli.promotion": MLFLOW,
    "umgclip.register.stage": MLFLOW,
    "umgclip.register.bundle": MLFLOW,
}
# those that compute, each after the ones before it in one process, since most of what they need is the same
COMPUTING = {
    "umgclip.base.stage": OPEN_CLIP,
    "umgclip.api": OPEN_CLIP,
    "umgclip.evaluate.stage": OPEN_CLIP | {"matplotlib", "pyarrow"},
    "umgclip.serve.server": OPEN_CLIP | MLFLOW | {"matplotlib"},
    "umgclip.train.stage": OPEN_CLIP | MLFLOW | {"matplotlib", "sympy"},
    "umgclip.segment.stage": OPEN_CLIP | MLFLOW | {"matplotlib", "sympy"},
}
IN_FORKS = """
import importlib, json, os, sys
for module in sys.argv[1:]:
    sys.stdout.flush()
    if (child := os.fork()) == 0:
        importlib.import_module(module)
        print(json.dumps([module, sorted({name.partition(".")[0] for name in sys.modules})]), flush=True)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0, module
"""
IN_ORDER = """
import importlib, json, sys
for module in sys.argv[1:]:
    importlib.import_module(module)
    print(json.dumps([module, sorted({name.partition(".")[0] for name in sys.modules})]))
"""


def imported(code: str, modules: list[str]) -> dict[str, set[str]]:
    """The heavy libraries that are there after each import."""
    done = subprocess.run([sys.executable, "-c", code, *modules], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('["umgclip')]
    assert [module for module, _ in lines] == modules
    return {module: HEAVY & set(names) for module, names in lines}


def test_commands_that_compute_nothing_start_without_torch():
    found = imported(IN_FORKS, list(ALLOWED))

    assert {module: names - ALLOWED[module] for module, names in found.items() if names - ALLOWED[module]} == {}


@pytest.mark.heavy
def test_commands_that_compute_import_what_they_use():
    found = imported(IN_ORDER, list(COMPUTING)) | imported(IN_FORKS, ["umgclip.validate.stage"])

    allowed = COMPUTING | {
        "umgclip.validate.stage": {"boto3", "great_expectations", "pandas", "pyarrow", "scipy", "sqlalchemy"}
    }
    assert {module: names - allowed[module] for module, names in found.items() if names - allowed[module]} == {}
