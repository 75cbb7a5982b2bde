"""The best few, whatever the order they come in."""

import random

import pytest

from umgclip.evaluate.report.ranking import Ranking


@pytest.mark.parametrize("size", [1, 3, 50])
def test_it_keeps_what_sorting_everything_would(size):
    scores = [random.Random(number).randrange(9) / 8 for number in range(40)]
    ranking = Ranking(size)
    for number, score in enumerate(scores):
        if ranking.accepts(score):
            ranking.add(score, number)
    # sorting is stable: of equal scores the first that came stays
    assert ranking.entries() == sorted(zip(scores, range(40), strict=True), key=lambda entry: -entry[0])[:size]
