"""Promotion as a flow: what was seen is what moves, a person may say no, nobody moves at the same time."""

import threading
import time
from dataclasses import dataclass, replace

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import StateType
from prefect.flow_runs import resume_flow_run

from umgclip.errors import InputError, PromotionError
from umgclip.flows import promote as flows
from umgclip.flows.promote import promote, rollback
from umgclip.register.force import Force
from umgclip.register.gates import Check, Decision
from umgclip.register.promotion import PromotionResult

YES = Decision(
    promote=True, reason="against champion v1: all 1 gates hold", checks=(Check("floors", "m", 0.1, 0.2, True),)
)
NO = Decision(promote=False, reason="against champion v1: 1 of 1 gates fail")


@dataclass
class Registry:
    """Stands in for MLflow's: remembers what was asked and when."""

    champion: str = "1"
    decision: Decision = YES
    movers: int = 1  # flows that have to have looked before one of them moves

    def __post_init__(self) -> None:
        self.asked: list[tuple[str, str | None, bool]] = []
        self.spans: list[tuple[float, float]] = []
        self.forces: list[Force | None] = []

    def promote(self, _params, version, store, *, dry_run=False, force=None) -> PromotionResult:
        assert store is not None
        self.forces.append(force)
        return self._move("promote", version, version or "2", dry_run)

    def rollback(self, _params, _store, *, dry_run=False) -> PromotionResult:
        return self._move("rollback", None, "0", dry_run)

    def _move(self, what: str, asked: str | None, version: str, dry_run: bool) -> PromotionResult:
        self.asked.append((what, asked, dry_run))
        before = self.champion
        moved = self.decision.promote and not dry_run
        if moved:
            began = time.monotonic()
            while len({one for _, one, dry in self.asked if dry}) < self.movers and time.monotonic() < began + 120:
                time.sleep(0.05)
            time.sleep(0.5)
            self.champion = version
            self.spans.append((began, time.monotonic()))
        return PromotionResult(
            "umgclip", version, moved, self.decision, before, self.champion, dry_run, self.decision.reason
        )


@pytest.fixture
def registry(project, monkeypatch):
    stand_in = Registry()
    monkeypatch.setattr(flows, "promotion", stand_in)
    return stand_in


def test_a_dry_run_moves_nothing(registry):
    assert promote.fn(dry_run=True)["moved"] is False
    assert registry.asked == [("promote", None, True)]


def test_what_was_seen_is_what_moves(registry):
    done = promote.fn()
    assert (done["moved"], done["champion"]) == (True, "2")
    # looked at by alias, then, by number, looked at again and moved
    assert registry.asked == [("promote", None, True), ("promote", "2", True), ("promote", "2", False)]


def test_a_version_may_come_as_a_number(registry):
    """Check a number as from `prefect deployment run promote/promote --param version=3`, which parses JSON."""
    given = promote.validate_parameters({"version": 3, "dry_run": True})
    assert promote.fn(**given)["champion"] == "1"
    assert registry.asked == [("promote", "3", True)]


def test_a_forced_promotion_keeps_its_reason_from_the_look_to_the_move(registry):
    promote.fn(force=True, reason="the benchmark changed")
    assert [force.reason for force in registry.forces] == ["the benchmark changed"] * 3
    assert len({force.at for force in registry.forces}) == 1


def test_a_forced_promotion_without_a_reason_does_not_begin(registry):
    with pytest.raises(InputError, match="--force: expected --reason TEXT"):
        promote.fn(force=True)
    assert registry.asked == []


def test_gates_that_do_not_hold_end_the_flow(registry):
    registry.decision = NO
    with pytest.raises(PromotionError, match="1 of 1 gates fail"):
        promote.fn()
    assert registry.champion == "1"


def test_a_rollback_goes_back(registry):
    assert rollback.fn()["champion"] == "0"
    assert registry.asked[-1] == ("rollback", None, False)


def test_a_champion_that_moved_meanwhile_is_judged_anew(registry, monkeypatch):
    looks = iter(("1", "5"))
    original = registry.promote

    def look(params, version, store, **options):
        return replace(original(params, version, store, **options), champion_before=next(looks))

    monkeypatch.setattr(registry, "promote", look)
    with pytest.raises(PromotionError, match=r"expected umgclip: champion v1 -> v2, but it would now be .* v5 -> v2"):
        promote.fn()
    assert registry.champion == "1"


def test_approval_needs_somebody_to_ask(registry):
    with pytest.raises(InputError, match="expected a Prefect server or a terminal for the question"):
        promote.fn(approval=True)


def test_the_form_says_what_each_field_does():
    fields = flows._form("**umgclip: champion v1 -> v2**").model_json_schema()["properties"]
    assert {name: field["description"] for name, field in fields.items()} == {
        "approve": "approve moving the alias champion", "approver": "name of the person who decides",
        "reason": "stored with the flow run",
    }  # fmt: skip
    assert fields["approve"]["default"] is False


def answer(values: dict) -> threading.Thread:
    """Resume the flow run that waits, as the form in the UI does."""

    def wait_and_resume() -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with get_client(sync_client=True) as client:
                for run in client.read_flow_runs():
                    if run.state.type == StateType.PAUSED:
                        resume_flow_run(run.id, run_input=values)
                        return
            time.sleep(0.2)

    thread = threading.Thread(target=wait_and_resume)
    thread.start()
    return thread


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(flows, "_POLL_S", 1)


def test_a_persons_yes_is_waited_for(server, registry, impatient):
    thread = answer({"approve": True, "approver": "ada", "reason": "looks good"})
    assert promote(approval=True)["moved"] is True
    thread.join()


def test_a_persons_no_keeps_the_champion(server, registry, impatient):
    thread = answer({"approve": False, "approver": "ada", "reason": "too early"})
    state = promote(approval=True, return_state=True)
    thread.join()
    assert state.is_failed()
    assert "refused by ada: too early" in state.message
    assert registry.champion == "1"


def test_no_answer_keeps_the_champion(server, registry, impatient, tmp_path):
    (tmp_path / "settings.yaml").write_text("promotion: {approval: true, approval_timeout_s: 2.0}\n")
    state = promote(return_state=True)
    assert state.is_failed()
    assert "never resumed" in state.message  # the server's own words; ours are in the log
    assert registry.champion == "1"


def test_moves_are_one_at_a_time(server, registry):
    """Run two flows at once: the second waits, sees a different champion and does not move the alias."""
    registry.movers = 2
    states = []
    threads = [
        threading.Thread(target=lambda v=version: states.append(promote(v, return_state=True)))
        for version in ("2", "3")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(registry.spans) == 1
    assert sorted(state.is_completed() for state in states) == [False, True]
