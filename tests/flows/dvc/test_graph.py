"""The order of stages is DVC's, and the flow's is the same."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from umgclip.__main__ import STAGES
from umgclip.errors import InputError
from umgclip.flows.dvc.graph import read_graph

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def graph():
    return read_graph(ROOT, os.environ)


def dvc(*words: str) -> str:
    command = [sys.executable, "-m", "dvc", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_the_order_is_that_of_the_command_line_and_of_dvc(graph):
    names = [stage.name for stage in graph.stages]
    assert names == list(STAGES)
    assert sorted(names) == sorted(dvc("stage", "list", "--names-only").split())
    edges = re.findall(r'"([^"]+)" -> "([^"]+)"', dvc("dag", "--dot"))
    assert edges
    position = {node.name: number for number, node in enumerate(graph.nodes)}
    assert all(position[before] < position[after] for before, after in edges)
    assert {(needed, node.name) for node in graph.nodes for needed in node.needs} == set(edges)


def test_what_a_stage_needs_and_what_follows_it(graph):
    assert [stage.name for stage in graph.up_to("train")] == ["base", "annotate", "validate", "train"]
    assert [stage.name for stage in graph.up_to(None)] == list(STAGES)
    assert graph.after(["train"]) == {"evaluate", "register"}
    with pytest.raises(InputError, match=r"target: expected one of base, annotate, .*, got 'trian'"):
        graph.up_to("trian")


def test_inputs_are_told_from_code(graph):
    train = graph.up_to("train")[-1]
    assert set(graph.cached_inputs(train)) == {
        "artifacts/annotate/train", "artifacts/base", "artifacts/validate/quarantine.parquet",
    }  # fmt: skip
    register = graph.stages[-1]
    assert register.always_changed
    assert graph.inputs_kept_by_git(register) == ("metrics/evaluate.json",)


def test_no_repository_is_said(tmp_path):
    with pytest.raises(InputError, match=r"expected a repository with valid stages in dvc\.yaml"):
        read_graph(tmp_path, os.environ)
