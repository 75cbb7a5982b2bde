from __future__ import annotations

import gc
import time
import weakref

import pytest
import torch

from umgclip.errors import DataError, InputError, TrackingError
from umgclip.model.clip.prompts import fill_template
from umgclip.serve.current import Current
from umgclip.serve.settings import ModelSelection


def test_the_first_model_has_answered_once_before_it_serves(current, registry):
    assert current.served.version == "1"
    assert current.served.answerer.batches == [1]
    answerer = current.served.answerer
    known = [fill_template(answerer.template, text) for text in (*answerer.target.vocabulary, "thing")]
    assert answerer.lacks([*known, "a zebra"]) == 1
    assert not any(folder.exists() for folder in registry.folders)


def test_a_first_model_that_cannot_be_had_is_an_error(registry):
    registry.alias = InputError("umgclip: expected an alias 'champion', found none")
    with pytest.raises(InputError, match="expected an alias"):
        Current(ModelSelection(), registry.store())


def test_while_the_alias_stays_nothing_is_loaded(current, registry):
    before = current.served
    current.check()
    assert current.served is before
    assert registry.fetched == ["1"]


def test_when_the_alias_moves_the_new_version_takes_over_and_the_old_one_is_freed(current, registry):
    old = weakref.ref(current.served.answerer)
    registry.alias = "2"

    current.check()

    assert current.served.version == "2"
    assert current.swaps == 1
    assert current.problem is None
    gc.collect()
    assert old() is None


def test_a_version_that_cannot_be_loaded_leaves_the_old_one_and_says_so(current, registry, caplog):
    def damaged():
        raise DataError("weights: expected sha256 1, got 2")

    registry.models["2"] = damaged
    registry.alias = "2"
    before = current.served

    current.check()

    assert current.served is before
    assert (current.problem.version, current.problem.message) == (
        "2",
        "its files are damaged or do not belong together; see the server's log for the reason",
    )
    assert current.failures == 1
    assert "umgclip: version 1 keeps answering: weights: expected sha256 1, got 2" in caplog.text


def test_a_version_whose_first_forward_fails_never_answers(current, registry, make_answerer):
    def broken():
        model = make_answerer(2)
        model.answer = lambda *_: (_ for _ in ()).throw(RuntimeError("out of memory"))
        return model

    registry.models["2"] = broken
    registry.alias = "2"

    current.check()

    assert current.served.version == "1"
    assert current.problem.message == "it cannot be loaded; see the server's log for the reason"


def test_a_version_whose_first_answer_is_no_number_never_answers(current, registry, make_answerer, caplog):
    def damaged():
        model = make_answerer(2)
        with torch.no_grad():
            model._tower.clip.visual.conv1.weight.view(-1)[0] = torch.nan
        return model

    registry.models["2"] = damaged
    registry.alias = "2"

    current.check()

    assert current.served.version == "1"
    assert current.problem.message.startswith("its files are damaged or do not belong together")
    assert "the model answers with numbers that are infinite or none" in caplog.text


def test_the_problem_ends_when_the_alias_comes_back(current, registry):
    registry.models["2"] = lambda: (_ for _ in ()).throw(DataError("damaged"))
    registry.alias = "2"
    current.check()
    registry.alias = "1"
    current.check()
    assert current.problem is None
    assert registry.fetched == ["1", "2"]


def test_a_failed_version_is_tried_again_after_longer_and_longer_pauses(registry, monkeypatch):
    current = Current(ModelSelection(poll_s=10.0), registry.store())
    registry.models["2"] = lambda: (_ for _ in ()).throw(DataError("damaged"))
    registry.alias = "2"
    tried = []
    for second in range(100):
        monkeypatch.setattr(time, "monotonic", lambda now=second: 1000.0 + now)
        before = len(registry.fetched)
        current.check()
        tried += [second] * (len(registry.fetched) - before)
    assert tried == [0, 10, 30, 70]
    assert set(registry.fetched[1:]) == {"2"}
    assert current.problem.since < current.checked_at


def test_another_version_is_tried_at_once(current, registry, make_answerer):
    registry.models["2"] = lambda: (_ for _ in ()).throw(DataError("damaged"))
    registry.models["3"] = lambda: make_answerer(3)
    registry.alias = "2"
    current.check()
    registry.alias = "3"
    current.check()
    assert current.served.version == "3"
    assert current.problem is None


def test_a_registry_out_of_reach_leaves_the_model_and_is_asked_again(current, registry):
    registry.alias = TrackingError("MLflow cannot be reached")
    current.check()
    assert (current.problem.version, current.problem.message) == (
        None,
        "the registry does not answer; see the server's log for the reason",
    )
    registry.alias = "2"
    current.check()
    assert (current.served.version, current.problem) == ("2", None)


def test_a_running_watch_swaps_by_itself_and_survives_failures(current, registry):
    registry.alias = OSError("whatever")
    current.start()
    try:
        time.sleep(0.2)
        registry.alias = "2"
        until = time.monotonic() + 30
        while current.served.version != "2" and time.monotonic() < until:
            time.sleep(0.02)
    finally:
        current.close()
    assert current.served.version == "2"


def test_a_fixed_version_is_not_watched(registry):
    current = Current(ModelSelection(version="1", poll_s=0.05), registry.store())
    current.start()
    registry.alias = "2"
    time.sleep(0.3)
    current.close()
    assert current.served.version == "1"
