from __future__ import annotations

import pytest

from umgclip.serve.turns import Turns


def served(turns: Turns[int], count: int) -> str:
    said = ""
    for _ in range(count):
        client = turns.next()
        turns.take(client)
        turns.charge(client, 1)
        said += client
    return said


def test_clients_take_turns_whatever_they_ask_for():
    turns: Turns[int] = Turns()
    for client, items in (("a", 6), ("b", 2), ("c", 1)):
        for item in range(items):
            turns.put(client, item)
    assert served(turns, 9) == "cbabaaaaa"
    assert len(turns) == 0
    with pytest.raises(LookupError):
        turns.next()


def test_each_line_keeps_its_order():
    turns: Turns[int] = Turns()
    for item in range(3):
        turns.put("a", item)
    assert [turns.take("a") for _ in range(3)] == [0, 1, 2]


def test_who_asks_again_and_again_waits_for_one_turn_of_the_greedy_and_no_more():
    turns: Turns[int] = Turns()
    for item in range(100):
        turns.put("greedy", item)
    assert served(turns, 10) == "greedy" * 10
    said = ""
    for item in range(5):
        turns.put("a", item)
        said += served(turns, 2)
    assert said == "agreedy" * 5, "and the greedy goes on"


def test_work_counts_and_not_the_number_of_turns():
    turns: Turns[int] = Turns()
    for item in range(9):
        turns.put("a", item)
        turns.put("b", item)
    turns.charge("a", 3)
    assert served(turns, 5) == "bbbba"


def test_who_was_away_has_saved_up_nothing():
    turns: Turns[int] = Turns()
    for item in range(50):
        turns.put("a", item)
    served(turns, 40)
    for item in range(9):
        turns.put("b", item)
    assert served(turns, 6) == "bbabab"


def test_clients_are_forgotten():
    turns: Turns[int] = Turns()
    for client in range(5000):
        turns.put(str(client), 0)
        served(turns, 1)
    assert len(turns._served) < 2000
