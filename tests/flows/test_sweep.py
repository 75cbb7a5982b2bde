"""A sweep: trials as experiments of DVC, ranked, the checkout untouched."""

import os

import pytest
from mlflow import MlflowClient

from umgclip.errors import DataError, InputError, ParamsError
from umgclip.flows.sweep import sweep
from umgclip.flows.trials import Range

pytestmark = pytest.mark.usefixtures("forked")


@pytest.mark.slow
def test_trials_are_ranked_and_the_best_can_be_taken_over(project, capsys):
    project.run("dvc repro -q evaluate && git add -A && git commit -q -m results")
    (project.desk / "train.exit").write_text("")
    before = project.run("git status --porcelain; cat dvc.lock params.yaml")
    done = sweep.fn({"train.lora.rank": [4, 9]})
    # the stage's number is best at 8
    assert done["values"] == {"train.lora.rank": 9}
    assert done["tuned.region.mask_top1"] == pytest.approx(0.99)
    assert project.ran()[3:] == ["train", "evaluate"] * 2
    assert project.run("git status --porcelain; cat dvc.lock params.yaml") == before
    shown = capsys.readouterr().out
    assert shown.index("0.99") < shown.index("0.96")
    run = MlflowClient(os.environ["MLFLOW_TRACKING_URI"]).get_run(done["mlflow_run"])
    assert run.data.tags["umgclip.best_trial"] == done["best"]
    project.run(f"dvc exp apply {done['best']}")
    assert "rank: 9" in (project.root / "params.yaml").read_text()


@pytest.mark.slow
def test_a_stage_that_only_looks_each_time_may_be_in_a_trial(project):
    """Check a stage like `code` of projects created by `umgclip init`."""
    pipeline = (project.root / "dvc.yaml").read_text()
    looks = (
        "  code:\n    cmd: echo 1 > code.sha256\n    always_changed: true\n    outs: [{code.sha256: {cache: false}}]\n"
    )
    pipeline = pipeline.replace("stages:\n", f"stages:\n{looks}", 1)
    (project.root / "dvc.yaml").write_text(
        pipeline.replace("deps: [data, stage.py]", "deps: [data, stage.py, code.sha256]")
    )
    project.run("echo code.sha256 >> .gitignore; dvc repro -q base && git add -A && git commit -q -m results")
    done = sweep.fn({"train.lora.rank": [9]})
    assert done["tuned.region.mask_top1"] == pytest.approx(0.99)


@pytest.mark.slow
def test_a_trial_that_fails_is_a_row_and_the_others_go_on(project, capsys):
    project.run("dvc repro -q base && git add -A && git commit -q -m results")
    (project.desk / "train.exit").write_text("3")
    done = sweep.fn({"train.lora.rank": Range(low=2, high=100)}, trials=2, seed=1)
    assert done["tuned.region.mask_top1"] < 1
    errors = [line.split("│")[-2].strip() for line in capsys.readouterr().out.splitlines() if line.startswith("│")]
    assert "exit code 3" in " ".join(errors)
    (project.desk / "train.exit").write_text("3")
    with pytest.raises(DataError, match="expected a successful trial, but all 1 failed, e.g. trial sweep-"):
        sweep.fn({"train.lora.rank": [5]})


@pytest.mark.parametrize(
    ("asked", "error", "message"),
    [
        ({"space": {"train.lora.rnk": [1]}}, ParamsError, "unknown key train.lora.rnk"),
        ({"space": {"train.steps": [1, 0]}}, ParamsError, "train.steps: Input should be greater than 0, got 0"),
        (
            {"space": {"evaluate.batch": [1]}, "target": "train"},
            ParamsError,
            "is not a parameter of any stage up to train",
        ),
        ({"space": {"train.steps": [1]}, "target": "register"}, InputError, "but register has some"),
        ({"space": {"annotate.held_out": [["fox"]]}}, ParamsError, "true, false or null, got ['fox']"),
    ],
)
def test_a_wrong_request_ends_before_the_first_trial(project, asked, error, message):
    with pytest.raises(error) as caught:
        sweep.fn(**asked)
    assert message in str(caught.value)
    assert project.ran() == []


def test_a_shallow_clone_is_refused_before_the_first_trial(project, tmp_path, monkeypatch):
    project.run("git commit -q --allow-empty -m more")
    project.run(f"git clone -q --depth 1 file://{project.root} {tmp_path / 'shallow'}")
    monkeypatch.chdir(tmp_path / "shallow")
    with pytest.raises(InputError, match="expected a complete clone, .* run git fetch --unshallow"):
        sweep.fn({"train.lora.rank": [4]})
    assert project.ran() == []
