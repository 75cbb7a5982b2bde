"""The data engine without a server: rounds, gate, resumption, lineage and what the workspace has in the end."""

import json
import os
import shutil
from pathlib import Path

import pytest
from mlflow import MlflowClient

from umgclip.errors import DataError, InputError, ParamsError
from umgclip.flows import engine as module
from umgclip.flows import runtime
from umgclip.flows.dvc.failures import StageFailed
from umgclip.flows.engine import engine
from umgclip.flows.rounds import STATE, GateResult, Round, judge, measures_of, read_probe, read_state, rows
from umgclip.io.locks import only_writer
from umgclip.io.manifest import MadeBy, Manifest, ShardInfo, write_manifest

PIPELINE = """\
stages:
  base:
    cmd: python stage.py base
    deps: [data, stage.py]
    outs: [artifacts/base]
  annotate:
    cmd: python stage.py annotate
    deps: [artifacts/base, stage.py]
    params: [annotate.teacher]
    outs: [artifacts/annotate]
  train:
    cmd: python stage.py train
    deps: [artifacts/annotate, stage.py]
    params: [train.steps]
    outs: [artifacts/train]
  evaluate:
    cmd: python stage.py evaluate
    deps: [artifacts/train, stage.py]
    outs: [artifacts/evaluate]
    metrics:
      - metrics/evaluate.json:
          cache: false
"""
ROUND = ["annotate", "train", "evaluate", "probe"]


@pytest.fixture
def rounds(project, monkeypatch):
    """The stand-in project, with stages that learn from a teacher."""
    shutil.copy(Path(__file__).with_name("rounds_stage.py"), project.root / "stage.py")
    (project.root / "dvc.yaml").write_text(PIPELINE)
    with (project.root / ".gitignore").open("a") as ignored:
        ignored.write("/artifacts\n/.umgclip\n/teacher\n")
    project.run("git add -A && git commit -q -m rounds")
    monkeypatch.setattr(module, "PROBE", ("stage.py", "probe"))
    return project


def knows(project) -> str:
    return (project.root / "artifacts" / "train" / "knows").read_text()


def teacher_param(project) -> str:
    return (project.root / "params.yaml").read_text().split("\n  teacher:")[1].split()[0]


@pytest.mark.heavy
def test_the_student_of_a_round_teaches_the_next(rounds, capsys):
    done = engine.fn(overrides={"train.steps": 7})
    assert rounds.ran() == ["base", *ROUND * 2]
    assert [(one["round"], one["teacher"], one["recall"], one["passed"]) for one in done["rounds"]] == [
        (1, False, 0.1, True),
        (2, True, 0.2, True),
    ]
    assert (done["stopped_by"], done["workspace"]) == ("all 2 rounds done", 2)
    assert "Rounds of rounds-" in capsys.readouterr().out
    # the workspace is the last round's, and DVC finds nothing to do
    assert (knows(rounds), teacher_param(rounds)) == ("2", "teacher")
    assert (rounds.root / "teacher" / "knows").read_text() == "1"
    assert "up to date" in rounds.run("dvc status")
    assert json.loads((rounds.root / "artifacts" / "rounds.json").read_text())["rounds"] == done["rounds"]
    assert not (rounds.root / STATE).exists()
    # each round is an experiment of DVC, and a run with stages under the engine's
    listed = rounds.run("dvc exp list --name-only").split()
    assert sorted(listed) == [f"{done['name']}-{number}" for number in (1, 2)]
    client = MlflowClient(os.environ["MLFLOW_TRACKING_URI"])
    parent = client.get_run(done["engine_run"])
    assert parent.data.params["overrides.train.steps"] == "7"
    for number, one in enumerate(done["rounds"], start=1):
        run = client.get_run(one["mlflow_run"])
        assert run.data.tags["mlflow.parentRunId"] == done["engine_run"]
        assert run.data.tags["umgclip.round"] == str(number)
        assert run.info.status == "FINISHED"
    gains = [entry.value for entry in client.get_metric_history(done["engine_run"], "slice.score")]
    assert gains == pytest.approx([0.105, 0.205])


@pytest.mark.heavy
def test_without_a_gain_the_workspace_gets_the_best_round_back(rounds):
    (rounds.desk / "forgets").touch()
    pipeline, params = (rounds.root / "dvc.yaml").read_text(), (rounds.root / "params.yaml").read_text()
    done = engine.fn(rounds=4)
    assert rounds.ran() == ["base", *ROUND * 2]
    assert done["stopped_by"].startswith("round 2: no gain: -0.1000 (standard error 0.0000) over round 1 on 2 images")
    assert done["workspace"] == 1
    assert (knows(rounds), teacher_param(rounds)) == ("1", "null")
    assert not (rounds.root / "teacher").exists()
    assert not (rounds.root / "teacher.dvc").exists()
    assert (rounds.root / "dvc.yaml").read_text() == pipeline
    assert (rounds.root / "params.yaml").read_text() == params.replace("leave_out: 0 ", "leave_out: 200 ")
    assert json.loads((rounds.root / "metrics" / "evaluate.json").read_text())["annotator"]["recall"] == 0.1


@pytest.mark.heavy
def test_a_killed_run_continues_after_its_last_finished_stage(rounds):
    (rounds.desk / "evaluate.exit").write_text("-\n4")
    before = (rounds.root / "params.yaml").read_text()
    with pytest.raises(StageFailed):
        engine.fn()
    assert len(read_state(rounds.root).rounds) == 1
    with pytest.raises(InputError, match="killed here after 1 rounds; expected its arguments again"):
        engine.fn(rounds=3)
    done = engine.fn()
    assert rounds.ran() == ["base", *ROUND, "annotate", "train", "evaluate", "evaluate", "probe"]
    assert [one["recall"] for one in done["rounds"]] == [0.1, 0.2]
    # a run that is given up leaves the files that were there before it
    (rounds.desk / "train.exit").write_text("4")
    rounds.run("git checkout -q params.yaml dvc.yaml && rm -f teacher.dvc")
    with pytest.raises(StageFailed):
        engine.fn(overrides={"train.steps": 9})
    assert (rounds.root / "params.yaml").read_text() != before
    engine.fn(rounds=1, restart=True)
    assert (rounds.root / "params.yaml").read_text() == before.replace("leave_out: 0 ", "leave_out: 200 ")


@pytest.mark.heavy
def test_rounds_in_a_clone_leave_the_checkout_and_its_experiments(rounds, monkeypatch, tmp_path):
    monkeypatch.setenv("UMGCLIP_WORKER_DIR", str(tmp_path / "work"))
    before = rounds.run("git status --porcelain")
    done = engine.fn(workspace="clone")
    assert rounds.run("git status --porcelain") == before
    assert rounds.run("dvc exp list --name-only").split() == [one["experiment"] for one in done["rounds"]]
    rounds.run(f"dvc exp apply -q {done['rounds'][1]['experiment']}")
    assert (knows(rounds), teacher_param(rounds)) == ("2", "teacher")


@pytest.mark.parametrize(
    ("asked", "error", "message"),
    [
        ({"rounds": 0}, InputError, "expected at least 1 round"),
        ({"leave_out": 0}, InputError, "1 image to leave out, got 2 and 0"),
        ({"min_gain": float("nan")}, InputError, "--min-gain: expected a finite number, got nan"),
        ({"min_gain": float("inf")}, InputError, "--min-gain: expected a finite number, got inf"),
        ({"overrides": {"train.stps": 1}}, ParamsError, "unknown key train.stps"),
    ],
)
def test_a_wrong_request_ends_before_the_first_round(rounds, asked, error, message):
    with pytest.raises(error, match=message):
        engine.fn(**asked)
    assert rounds.ran() == []
    assert not (rounds.root / STATE).exists()


def test_more_than_half_of_the_images_cannot_be_left_out(rounds):
    shards = [ShardInfo(path="0.tar", sha256="0" * 64, samples=61, bytes=1)]
    (rounds.root / "data" / "train").mkdir(parents=True)
    (rounds.root / "data" / "train" / "0.tar").write_bytes(b"x")
    write_manifest(rounds.root / "data" / "train", Manifest(made_by=MadeBy(stage="import"), shards=shards))
    with pytest.raises(InputError, match="--leave-out: expected at most 30, half of the 61 training images, got 31"):
        engine.fn(leave_out=31)
    assert rounds.ran() == []
    assert not (rounds.root / STATE).exists()


@pytest.mark.parametrize(
    ("text", "params", "told"),
    [
        ('{"x', "changed", "put back: none; not put back"),
        ('{"start": {"params.yaml": "as before", "../other": "x"}, "asked": 3}', "as before", "put back: params.yaml;"),
        ('{"start": [1]}', "changed", "put back: none; not put back"),
        ("[" * 100_000, "changed", "put back: none; not put back"),
        ("\x00", "changed", "put back: none; not put back"),
    ],
)
def test_a_restart_gets_past_a_damaged_state_and_says_what_stays(tmp_path, caplog, text, params, told):
    (tmp_path / STATE).parent.mkdir()
    (tmp_path / STATE).write_text(text)
    (tmp_path / "params.yaml").write_text("changed")
    with caplog.at_level("WARNING"):
        module._forget(tmp_path, ["params.yaml", "dvc.lock"])
    assert (tmp_path / "params.yaml").read_text() == params
    assert not (tmp_path.parent / "other").exists()
    assert told in caplog.text
    assert "rounds.json" in caplog.text


def test_two_runs_in_one_checkout_are_refused(rounds):
    with only_writer(rounds.root / STATE), pytest.raises(InputError, match=r"flows.engine: process \d+ is at work on"):
        engine.fn()
    assert rounds.ran() == []


def finished(scores: dict[str, float], guards: dict[str, float]) -> Round:
    return Round(
        number=1, teacher=False, files={}, measures={}, slice={}, scores=scores, guards=guards, verdict=GateResult(),
        experiment="x-1", mlflow_run="r",
    )  # fmt: skip


def test_the_table_of_rounds_has_whole_headings_on_80_columns(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    measures = dict.fromkeys(("precision", "recall", "box_top1", "mask_top1"), 0.12345)
    verdict = GateResult(gain=-0.12345, error=0.1, passed=False)
    one = finished({}, {}).model_copy(update={"measures": measures, "slice": {"score": 0.12345}, "verdict": verdict})
    runtime.table("umgclip-rounds", rows([one]), "Rounds")
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    for name, value in rows([one])[0].items():
        assert name in lines[2]
        assert str(value) in lines[4]


def test_the_gate_compares_image_by_image():
    even = {"a": 0.5, "b": 0.5}
    best = finished({"a": 0.5, "b": 0.1, "c": 0.9}, even)
    verdict = judge({"a": 0.6, "b": 0.4, "d": 0.0}, even, best, 0.1)
    assert verdict.gain == pytest.approx(0.2)
    # gains .1 and .3: deviation .1414, over the root of 2
    assert verdict.error == pytest.approx(0.1)
    assert (verdict.passed, verdict.retrieval_gain) == (True, 0.0)
    assert not judge({"a": 0.6, "b": 0.4}, even, best, 0.21).passed
    assert judge({"a": 0.5}, {"a": 0.5}, None, 9.0) == GateResult()
    with pytest.raises(DataError, match="expected images that both rounds put aside, got none"):
        judge({"z": 1.0}, {"z": 1.0}, best, 0.0)


def test_a_gain_does_not_pay_for_retrieval_that_is_lost():
    scores = {"a": 0.5, "b": 0.5}
    best = finished(scores, {"a": 0.8, "b": 0.8})
    better = {"a": 0.9, "b": 0.9}
    # losses of .1 and .2: mean .15, standard error .05, so three of these
    lost = judge(better, {"a": 0.7, "b": 0.6}, best, 0.0)
    assert not lost.passed
    assert "but retrieval lost 0.1500 (standard error 0.0500)" in lost.reason
    # losses of 0 and .2: mean .1, standard error .1, which may be chance
    assert judge(better, {"a": 0.8, "b": 0.6}, best, 0.0).passed


def test_a_damaged_report_or_state_is_refused(tmp_path):
    (tmp_path / "probe.json").write_text('{"scores": [1]}')
    with pytest.raises(DataError, match="expected the report of `umgclip probe`"):
        read_probe(tmp_path / "probe.json")
    (tmp_path / "probe.json").write_text('{"scores": {"a": 1}, "guards": {"a": NaN}}')
    with pytest.raises(DataError, match=r"guards.a: expected a finite number, got nan"):
        read_probe(tmp_path / "probe.json")
    assert measures_of({"annotator.recall": float("nan"), "annotator.precision": 0.5}) == {"precision": 0.5}
    (tmp_path / STATE).parent.mkdir()
    (tmp_path / STATE).write_text('{"name": 3}')
    with pytest.raises(DataError, match=r"rounds.json: name: .*start again with --restart"):
        read_state(tmp_path)
