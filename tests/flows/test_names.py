"""The names that a checkout has for the flows of the package: one module behind each, and what Prefect loads."""

import ast
import importlib
import sys
from pathlib import Path

import pytest
from prefect.utilities.importtools import import_object
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
NAMES = sorted(path.stem for path in (ROOT / "flows").glob("*.py") if path.stem != "__init__")
ENTRYPOINTS = sorted(
    {each["entrypoint"] for each in YAML(typ="safe").load(ROOT / "infra" / "prefect.yaml")["deployments"]}
)


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_of_what_the_package_has(name):
    named, module = importlib.import_module(f"flows.{name}"), importlib.import_module(f"umgclip.flows.{name}")
    assert {one: getattr(named, one) for one in named.__all__} == {one: getattr(module, one) for one in named.__all__}


@pytest.mark.parametrize("name", [*NAMES, "__init__"])
def test_names_have_no_logic(name):
    tree = ast.parse((ROOT / "flows" / f"{name}.py").read_text(encoding="utf-8"))
    assert {type(node) for node in tree.body} <= {ast.Expr, ast.Import, ast.ImportFrom, ast.Assign, ast.If}


@pytest.mark.parametrize("entrypoint", ENTRYPOINTS)
def test_prefect_loads_the_flow_of_the_package(entrypoint, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "path", list(sys.path))
    file, flow = entrypoint.split(":")
    module = importlib.import_module(f"umgclip.flows.{Path(file).stem}")
    assert import_object(entrypoint) is getattr(module, flow)
