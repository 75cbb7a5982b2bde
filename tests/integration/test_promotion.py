"""Promotion and rollback in a real SQLite store and on a real MLflow server, also by several processes at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tests.forks import Forks
from umgclip.cli import exits, promotion
from umgclip.errors import InputError, TrackingError
from umgclip.params import GateParams, RegisterParams
from umgclip.register import promotion_lock
from umgclip.register.download import resolve
from umgclip.register.force import Force
from umgclip.register.promotion import PromotionResult, promote, rollback
from umgclip.tracking import Store, store_from_env

GATES = GateParams(
    floors={"classification.top1": 0.5},
    max_regression={"retrieval.i2t_r1": 0.02},
    metrics=["region.mask_top1"],
    min_mean_gain=0.01,
    min_gain_over_base={},
)


class Shelf:
    """A registered model of a name of its own, whose versions are tags without files."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.client: MlflowClient = store.client()
        self.params = RegisterParams(name=f"model-{uuid.uuid4().hex[:8]}", gates=GATES)
        self.client.create_registered_model(self.params.name)

    def add(self, mask: float, i2t: float = 0.5, weights: str | None = None) -> str:
        """A new challenger with these numbers; gives its number."""
        tuned = {"classification.top1": 0.6, "retrieval.i2t_r1": i2t, "region.mask_top1": mask}
        tags = {
            "umgclip.adapter_sha256": weights or uuid.uuid4().hex,
            "umgclip.base_sha256": "base",
            "umgclip.benchmark_digest": "bench",
            "umgclip.protocol_digest": "protocol",
            "umgclip.metrics": json.dumps({"tuned": tuned, "base": {"retrieval.i2t_r1": 0.5}}),
        }
        made = self.client.create_model_version(self.params.name, source="s3://bucket/model", tags=tags)
        self.client.set_registered_model_alias(self.params.name, "challenger", made.version)
        return str(made.version)

    def promote(self, version: str | None = None, **options: object) -> PromotionResult:
        return promote(self.params, version, self.store, **options)

    def rollback(self, **options: bool) -> PromotionResult:
        return rollback(self.params, self.store, **options)

    def alias(self, name: str) -> str | None:
        found = self.client.get_registered_model(self.params.name).aliases.get(name)
        return None if found is None else str(found)

    def tags(self, version: str) -> dict[str, str]:
        return dict(self.client.get_model_version(self.params.name, version).tags)

    def all(self) -> object:
        versions = self.client.search_model_versions(f"name = '{self.params.name}'")
        model = self.client.get_registered_model(self.params.name)
        return model.aliases, model.tags, sorted((str(version.version), str(version.tags)) for version in versions)


@pytest.fixture(params=["sqlite", "server"])
def shelf(request: pytest.FixtureRequest, tmp_path: Path, empty_store: bytes, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    if request.param == "sqlite":
        (tmp_path / "mlflow.db").write_bytes(empty_store)
        return Shelf(store_from_env(tmp_path))
    monkeypatch.setattr(promotion_lock, "SETTLE_S", 0.05)
    return Shelf(Store(request.getfixturevalue("mlflow_server"), "umgclip", None))


def test_the_challenger_becomes_champion_and_the_old_one_is_kept(shelf: Shelf) -> None:
    first = shelf.add(mask=0.3)
    assert shelf.promote().champion_after == first
    second = shelf.add(mask=0.4)

    result = shelf.promote()

    assert (result.version, result.moved, result.accepted) == (second, True, True)
    assert (result.champion_before, result.champion_after) == (first, second)
    assert (shelf.alias("champion"), shelf.alias("previous_champion")) == (second, first)
    assert json.loads(shelf.tags(second)["umgclip.gates"]) == result.decision.to_json()
    assert result.reason == f"against champion v{first}: all 3 gates hold"
    assert resolve(shelf.store, shelf.params.name, "champion") == second
    assert shelf.client.get_registered_model(shelf.params.name).tags == {}


def test_a_champion_of_another_benchmark_is_passed_by_with_a_reason_that_stays(shelf: Shelf) -> None:
    first = shelf.add(mask=0.9)
    shelf.promote()
    second = shelf.add(mask=0.1)
    shelf.client.set_model_version_tag(shelf.params.name, second, "umgclip.benchmark_digest", "mine")
    assert "was measured by another benchmark (bench, now mine)" in shelf.promote().reason
    force = Force("me", "own photographs now", "2026-01-31T12:00:00Z")
    assert not shelf.promote(dry_run=True, force=force).moved

    result = shelf.promote(force=force)

    assert (result.moved, result.champion_after, shelf.alias("previous_champion")) == (True, second, first)
    assert result.reason.startswith(
        "forced by me at 2026-01-31T12:00:00Z: own photographs now; the gates said: champion v1 was measured by another"
    )
    tags = shelf.tags(second)
    assert {name: tags[f"umgclip.forced_{name}"] for name in ("by", "at", "reason")} == vars(force)
    assert json.loads(tags["umgclip.gates"])["reason"] == result.reason
    described = shelf.client.get_model_version(shelf.params.name, second).description
    assert described == "promoted against its gates by me at 2026-01-31T12:00:00Z: own photographs now"


def test_force_where_the_gates_hold_leaves_no_trace(shelf: Shelf) -> None:
    first = shelf.add(mask=0.9)

    result = shelf.promote(force=Force("me", "to be sure", "now"))

    assert (result.champion_after, result.reason) == (first, "no champion yet: all 2 gates hold")
    assert "umgclip.forced_by" not in shelf.tags(first)


def test_no_champion_names_the_challenger_what_its_gates_said_and_what_to_do(shelf: Shelf) -> None:
    shelf.add(mask=0.9, i2t=0.1)
    refused = shelf.promote()
    with pytest.raises(InputError) as caught:
        resolve(shelf.store, shelf.params.name, "champion")
    assert "the challenger is v1, and the decision of its gates is: " + refused.reason in str(caught.value)
    assert "`umgclip promote --force --reason TEXT`" in str(caught.value)


def test_gates_that_fail_keep_the_champion_and_are_written_down(shelf: Shelf) -> None:
    first = shelf.add(mask=0.3)
    shelf.promote()
    second = shelf.add(mask=0.9, i2t=0.4)

    result = shelf.promote(second)

    assert (result.moved, result.accepted) == (False, False)
    assert "max_regression retrieval.i2t_r1: expected at least -0.020, got -0.100" in result.reason
    assert (shelf.alias("champion"), shelf.alias("previous_champion")) == (first, None)
    assert json.loads(shelf.tags(second)["umgclip.gates"])["promote"] is False


@pytest.mark.parametrize("mask", [0.1, 0.4])
def test_a_dry_run_writes_nothing(shelf: Shelf, mask: float) -> None:
    first = shelf.add(mask=0.3)
    shelf.promote()
    shelf.add(mask=mask)
    before = shelf.all()

    result = shelf.promote(dry_run=True)

    assert (result.dry_run, result.moved, result.champion_after) == (True, False, first)
    assert result.accepted is (mask > 0.3)
    assert shelf.all() == before


def test_the_champion_is_left_alone(shelf: Shelf) -> None:
    first = shelf.add(mask=0.3)
    shelf.promote()
    before = shelf.all()

    result = shelf.promote(first)

    assert (result.moved, result.accepted, result.reason) == (False, True, f"champion v{first} is this version")
    assert shelf.all() == before


def test_a_version_is_found_by_its_alias_and_a_wrong_one_is_named(shelf: Shelf) -> None:
    first = shelf.add(mask=0.3)

    assert shelf.promote("challenger").version == first
    with pytest.raises(InputError, match=f"{shelf.params.name} in .*: expected a registered model with version '7'"):
        shelf.promote("7")
    with pytest.raises(InputError, match="expected a registered model with alias 'best'"):
        shelf.promote("best")
    with pytest.raises(InputError, match="expected a registered model with alias 'challenger'"):
        promote(RegisterParams(name="nobody"), None, shelf.store)


def test_a_rollback_changes_places_and_a_second_one_takes_it_back(shelf: Shelf) -> None:
    first = shelf.add(mask=0.3)
    shelf.promote()
    second = shelf.add(mask=0.4)
    shelf.promote()

    back = shelf.rollback()

    assert (back.version, back.moved, back.accepted) == (first, True, True)
    assert back.reason == f"v{first} was champion before v{second}"
    assert (shelf.alias("champion"), shelf.alias("previous_champion")) == (first, second)
    assert shelf.tags(second)["umgclip.rolled_back"] == first

    again = shelf.rollback()

    assert (again.champion_before, again.champion_after) == (first, second)
    assert (shelf.alias("champion"), shelf.alias("previous_champion")) == (second, first)
    assert "umgclip.rolled_back" not in shelf.tags(second)
    assert shelf.tags(first)["umgclip.rolled_back"] == second


def test_a_dry_rollback_writes_nothing(shelf: Shelf) -> None:
    first = shelf.add(mask=0.3)
    shelf.promote()
    second = shelf.add(mask=0.4)
    shelf.promote()
    before = shelf.all()

    result = shelf.rollback(dry_run=True)

    assert (result.version, result.moved, result.accepted, result.champion_after) == (first, False, True, second)
    assert shelf.all() == before


def test_there_is_nothing_to_roll_back_to_at_first(shelf: Shelf) -> None:
    assert shelf.rollback().reason == f"{shelf.params.name} has no champion to roll back"
    first = shelf.add(mask=0.3)
    shelf.promote()

    result = shelf.rollback()

    assert (result.moved, result.accepted, result.champion_after) == (False, False, first)
    assert result.reason == f"{shelf.params.name} has no previous_champion to roll back"


def test_what_was_rolled_back_comes_back_only_by_its_number(shelf: Shelf) -> None:
    first = shelf.add(mask=0.3)
    shelf.promote()
    second = shelf.add(mask=0.4, weights="w")
    shelf.promote()
    shelf.rollback()

    refused = shelf.promote()
    third = shelf.add(mask=0.4, weights="w")
    refused_too = shelf.promote()

    assert refused.reason.startswith(f"v{second}, which was rolled back to v{first}; to promote it anyway")
    assert refused_too.reason.startswith(f"these are the weights of v{second}, which was rolled back to v{first}")
    assert f"`umgclip promote {third}`" in refused_too.reason
    assert shelf.alias("champion") == first
    assert shelf.promote(second).moved
    assert "umgclip.rolled_back" not in shelf.tags(second)
    assert shelf.promote(third).reason == f"the weights of champion v{second}, registered anew"


@pytest.mark.parametrize(("ratio", "moves"), [(1.5, True), (1.6, False)])
def test_latency_is_measured_against_the_champion(shelf: Shelf, ratio: float, moves: bool) -> None:
    shelf.params = shelf.params.model_copy(update={"gates": GATES.model_copy(update={"max_latency_ratio": 1.5})})
    first = shelf.add(mask=0.3)
    asked: list[str] = []

    def measure(champion: str) -> float:
        asked.append(champion)
        return ratio

    shelf.promote(latency_ratio=measure)
    second = shelf.add(mask=0.4)
    result = shelf.promote(latency_ratio=measure)

    assert asked == [first]
    assert result.moved is moves
    assert shelf.alias("champion") == (second if moves else first)
    written = json.loads(shelf.tags(second)["umgclip.gates"])["checks"][-1]
    assert (written["gate"], written["got"], written["at_most"]) == ("max_latency_ratio", ratio, 1.5)


def test_a_champion_moved_by_hand_while_it_is_decided_is_compared_with(shelf: Shelf) -> None:
    shelf.params = shelf.params.model_copy(update={"gates": GATES.model_copy(update={"max_latency_ratio": 2.0})})
    shelf.add(mask=0.3)
    shelf.promote()
    by_hand = shelf.add(mask=0.6)
    shelf.add(mask=0.5)

    def measure(_champion: str) -> float:
        shelf.client.set_registered_model_alias(shelf.params.name, "champion", by_hand)
        return 1.0

    result = shelf.promote(latency_ratio=measure)

    assert not result.moved
    assert result.reason.startswith(f"against champion v{by_hand}: 1 of 4 gates fail: min_mean_gain")
    assert (shelf.alias("champion"), shelf.alias("previous_champion")) == (by_hand, None)


def test_a_champion_that_never_holds_still_ends_the_promotion(shelf: Shelf) -> None:
    gates = GateParams(max_regression={}, metrics=[], min_gain_over_base={}, max_latency_ratio=2.0)
    shelf.params = shelf.params.model_copy(update={"gates": gates})
    shelf.add(mask=0.3)
    shelf.promote()
    others = [shelf.add(mask=0.1), shelf.add(mask=0.2)]
    shelf.add(mask=0.5)

    def measure(champion: str) -> float:
        other = next(number for number in others if number != champion)
        shelf.client.set_registered_model_alias(shelf.params.name, "champion", other)
        return 1.0

    with pytest.raises(TrackingError, match="expected a stable alias, but others moved it 5 times"):
        shelf.promote(latency_ratio=measure)
    assert shelf.alias("previous_champion") is None


PROMOTE = """
import sys, time, pathlib
from umgclip.params import GateParams, RegisterParams
from umgclip.register import promotion_lock
from umgclip.register.promotion import promote
from umgclip.tracking import Store
uri, name, gates, version, go = sys.argv[1:]
params = RegisterParams(name=name, gates=GateParams.model_validate_json(gates))
pathlib.Path(go + version).touch()
while not pathlib.Path(go).exists():
    time.sleep(0.005)
result = promote(params, version, Store(uri, "umgclip", None))
print(int(result.moved), result.reason)
"""


@pytest.mark.slow
@pytest.mark.parametrize("own_machines", [False, True])
def test_promotions_at_the_same_moment_come_one_after_the_other(
    shelf: Shelf, forks: Forks, tmp_path: Path, own_machines: bool
) -> None:
    if own_machines and shelf.store.database is not None:
        pytest.skip("a SQLite file is on one machine")
    first = shelf.add(mask=0.3)
    shelf.promote()
    good, best = shelf.add(mask=0.4), shelf.add(mask=0.5)
    started, outs = [], []
    for version in (good, best):
        temporary = tmp_path / f"tmp-{version if own_machines else 'shared'}"  # another machine, another lock file
        temporary.mkdir(exist_ok=True)
        words = ["-c", PROMOTE, shelf.store.uri, shelf.params.name, GATES.model_dump_json(), version]
        outs.append(tmp_path / f"out{version}")
        with outs[-1].open("wb") as out, Path(os.devnull).open("rb") as nothing:
            variables = {**os.environ, "TMPDIR": str(temporary)}
            started.append(forks.popen([*words, str(tmp_path / "go")], Path.cwd(), variables, nothing, out, out))
    deadline = time.monotonic() + 250
    while not all((tmp_path / f"go{version}").exists() for version in (good, best)) and time.monotonic() < deadline:
        time.sleep(0.05)
    (tmp_path / "go").touch()
    codes = [process.wait(280) for process in started]
    said = [out.read_text().strip() for out in outs]
    assert codes == [0, 0], said

    assert shelf.alias("champion") == best
    if said[0].startswith("1"):  # good came first, best was judged against it
        assert said[1] == f"1 against champion v{good}: all 3 gates hold"
        assert shelf.alias("previous_champion") == good
    else:
        assert said[0].startswith(f"0 against champion v{best}: 1 of 3 gates fail: min_mean_gain")
        assert said[1] == f"1 against champion v{first}: all 3 gates hold"
        assert shelf.alias("previous_champion") == first
    assert shelf.client.get_registered_model(shelf.params.name).tags == {}


@dataclass
class Done:
    code: int
    out: str
    err: str


@pytest.fixture
def umgclip(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """The commands without their start-up, which takes seconds."""

    def run(shelf: Shelf, command: str, *version: str | None, dry_run: bool = False) -> Done:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", shelf.store.uri)
        monkeypatch.setenv("COLUMNS", "160")
        capsys.readouterr()
        work = partial(getattr(promotion, command), shelf.params, *version, dry_run=dry_run)
        code = exits.run(work, f"umgclip {command}")
        said = capsys.readouterr()
        return Done(code, said.out, said.err)

    return run


def test_the_command_line_shows_every_gate_and_says_by_its_exit_code_how_it_went(
    shelf: Shelf, umgclip: Callable[..., Done]
) -> None:
    shelf.add(mask=0.3)
    shelf.promote()
    bad, good = shelf.add(mask=0.9, i2t=0.4), shelf.add(mask=0.4)

    refused = umgclip(shelf, "promote", bad)
    assert refused.code == 7
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in refused.out.splitlines() if "│" in line]
    assert ["floors", "classification.top1", "at least 0.500", "0.600", "yes"] in rows
    assert ["max_regression", "retrieval.i2t_r1", "at least -0.020", "-0.100", "NO"] in rows
    assert ["min_mean_gain", "mean of 1", "at least 0.010", "0.600", "yes"] in rows
    assert refused.err.startswith("umgclip promote: against champion v1: 1 of 3 gates fail: max_regression")

    looked = umgclip(shelf, "promote", None, dry_run=True)
    assert looked.code == 0
    assert f"v1; would be v{good} (dry run, nothing was moved)" in looked.out
    assert shelf.alias("champion") == "1"

    moved = umgclip(shelf, "promote", None)
    assert moved.code == 0
    assert f"v{good}; v1 is previous_champion" in moved.out
    assert umgclip(shelf, "promote", None).code == 0

    assert umgclip(shelf, "rollback").code == 0
    assert shelf.alias("champion") == "1"

    unknown = umgclip(shelf, "promote", "9")
    assert unknown.code == 2
    assert "expected a registered model with version '9', found none" in unknown.err


def test_a_rollback_without_a_previous_champion_is_exit_code_7(shelf: Shelf, umgclip: Callable[..., Done]) -> None:
    shelf.add(mask=0.3)
    shelf.promote()

    done = umgclip(shelf, "rollback")

    assert done.code == 7
    assert done.err == f"umgclip rollback: {shelf.params.name} has no previous_champion to roll back\n"


def test_a_server_that_does_not_answer_is_exit_code_6(
    tmp_path: Path, umgclip: Callable[..., Done], shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    shelf.store = Store("http://127.0.0.1:9", "umgclip", None)

    for command, version in (("promote", [None]), ("rollback", [])):
        done = umgclip(shelf, command, *version)
        assert done.code == 6
        assert "http://127.0.0.1:9 (MLFLOW_TRACKING_URI) cannot be reached" in done.err


@pytest.mark.slow
@pytest.mark.parametrize("shelf", ["sqlite"], indirect=True)
def test_the_commands_are_there_for_a_shell(shelf: Shelf, forks: Forks, tmp_path: Path) -> None:
    first = shelf.add(mask=0.3)
    params = {"register": json.loads(shelf.params.model_dump_json())}
    (tmp_path / "params.yaml").write_text(json.dumps(params), encoding="utf-8")

    environment = {**os.environ, "MLFLOW_TRACKING_URI": shelf.store.uri}

    def run(*arguments: str) -> int:
        return forks.execute(["-m", "umgclip", *arguments], tmp_path, environment).returncode

    command = [sys.executable, "-m", "umgclip", "promote", "--dry-run"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, timeout=250, check=False)
    assert (done.returncode, shelf.alias("champion")) == (0, None)
    assert (run("promote", first), shelf.alias("champion")) == (0, first)
    assert (run("rollback", "--dry-run"), shelf.alias("champion")) == (7, first)
