"""`python -m infra.costs`: measured durations times given prices."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from infra.costs import Cost, app, costs, durations, read_prices
from umgclip.cli import exits
from umgclip.errors import InputError
from umgclip.tracking import Store, store_from_env

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, empty_store: bytes) -> Store:
    """Create two runs of train (100 s and 200 s), one of base (30 s), a failed one and one of no stage."""
    root = tmp_path_factory.mktemp("mlflow")
    (root / "mlflow.db").write_bytes(empty_store)
    store = store_from_env(root)
    client = store.client()
    experiment = client.create_experiment(store.experiment)
    for stage, seconds, status in (
        ("train", 100, "FINISHED"),
        ("train", 200, "FINISHED"),
        ("base", 30, "FINISHED"),
        ("train", 9000, "FAILED"),
        ("pipeline", 500, "FINISHED"),
    ):
        run = client.create_run(experiment, start_time=1_000_000, tags={"umgclip.stage": stage})
        client.set_terminated(run.info.run_id, status, end_time=1_000_000 + seconds * 1000)
    return store


def _command(store: Store, *options: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "MLFLOW_TRACKING_URI": store.uri, "COLUMNS": "120"}
    command = [sys.executable, "-m", "infra.costs", *options]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def _refused(store: Store, options: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    """Return the exit code of the command, run in this process."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store.uri)
    return exits.run(lambda: app(options), "costs")


def test_durations_are_those_of_finished_runs_of_stages(store: Store):
    assert {stage: sorted(seconds) for stage, seconds in durations(store).items()} == {
        "train": [100.0, 200.0],
        "base": [30.0],
    }


def test_a_cost_is_the_median_and_the_overhead_by_the_hour():
    lines = costs({"train": [100.0, 200.0], "base": [30.0]}, {"train": 3.6, "default": 0.36}, overhead_s=50.0)

    assert lines == [Cost("base", 1, 30.0, 0.36, 50.0), Cost("train", 2, 150.0, 3.6, 50.0)]
    assert [line.cost for line in lines] == pytest.approx([0.008, 0.2])


def test_without_a_price_there_is_no_cost():
    (line,) = costs({"base": [30.0]}, {}, overhead_s=0.0)

    assert line.cost is None


def test_the_table_has_the_prices_their_date_and_the_sum(store: Store):
    done = _command(
        store,
        "--price",
        "train=3.6",
        "--price",
        "default=0.36",
        "--on",
        "2026-11-22",
        "--overhead-s",
        "50",
        "--runs",
        "10",
    )

    assert done.returncode == 0, done.stderr
    assert "(median + 50 s) / 3600 x USD an hour, prices of 2026-11-22" in done.stdout
    assert "0.2080" in done.stdout
    assert "2.08" in done.stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--price", "train=3.6"], "--on: expected the date of the prices"),
        (
            ["--price", "train=3.6", "--on", "2026-11-22"],
            "--price: expected one for every stage, or default=..., got none for base",
        ),
        (["--price", "tune=3.6", "--on", "2026-11-22"], "--price: expected a stage (base, annotate,"),
        (
            ["--price", "train=cheap", "--on", "2026-11-22"],
            "--price: expected a price per hour as in train=1.20, got 'train=cheap'",
        ),
    ],
)
def test_what_is_missing_or_wrong_is_named(
    store: Store,
    options: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    assert _refused(store, options, monkeypatch) == 2
    assert message in capsys.readouterr().err


def test_a_negative_price_is_refused():
    with pytest.raises(InputError, match=r"--price: expected 0 or more, got 'train=-1'"):
        read_prices(["train=-1"])


def test_a_store_without_runs_is_named(
    tmp_path: Path, empty_store: bytes, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "mlflow.db").write_bytes(empty_store)

    assert _refused(store_from_env(tmp_path), [], monkeypatch) == 2
    assert "expected finished runs of stages, found none" in capsys.readouterr().err
