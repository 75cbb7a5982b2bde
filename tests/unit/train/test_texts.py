"""Which texts a step looks at: of regions, wrong ones, captions short and long."""

import numpy as np
import pytest

from umgclip.params import LossWeights, TrainParams
from umgclip.records import Region, Text
from umgclip.train.texts import NO_TEXT, TextChoice, Texts, captions, negatives, region_text, text_choice

FIRST, RANDOM = TextChoice(0.0), TextChoice(0.0, of_region="random")


def say(*texts: str, source: str = "human") -> list[Text]:
    return [Text(text=text, source=source) for text in texts]


def region(texts: tuple[str, ...] = (), tags: tuple[str, ...] = (), wrong: tuple[str, ...] | None = None) -> Region:
    return Region(
        id="r", box_xyxy=(0, 0, 4, 4), captions=say(*texts), tags=say(*tags),
        negatives=None if wrong is None else say(*wrong),
    )  # fmt: skip


def drawn(choice: TextChoice, what: Region, times: int = 200) -> list[str]:
    texts, rng = Texts(), np.random.default_rng(0)
    places = [region_text(what, choice, rng, texts) for _ in range(times)]
    names = [*texts.place, "-"]
    return [names[place] for place in places]


def test_the_first_caption_or_else_the_first_tag_names_a_region() -> None:
    assert set(drawn(FIRST, region(("a red cup", "a cup"), ("mug",)))) == {"a red cup"}
    assert set(drawn(FIRST, region((), ("owl", "bird")))) == {"an owl"}
    assert set(drawn(FIRST, region())) == set(drawn(RANDOM, region())) == {"-"}


def test_a_random_one_is_each_caption_and_tag_as_often() -> None:
    counts = [drawn(RANDOM, region(("a red cup", "a cup"), ("mug",))).count(t) for t in ("a red cup", "a cup", "a mug")]
    assert sum(counts) == 200
    assert min(counts) > 45


def test_the_first_text_takes_no_random_number() -> None:
    rng = np.random.default_rng(0)
    region_text(region(("a", "b")), FIRST, rng, Texts())
    region_text(region(("a",)), RANDOM, rng, Texts())
    assert rng.random() == np.random.default_rng(0).random()


def wrong_ones(what: Region, most: int = 10, seed: int = 0) -> list[str]:
    texts = Texts()
    places = negatives(what, TextChoice(0.0, most_negatives=most), np.random.default_rng(seed), texts)
    assert len(texts.place) == len(places)
    return [list(texts.place)[place] for place in places]


def test_wrong_texts_are_distinct_and_never_right() -> None:
    what = region(
        ("a red cup", "A mug"), ("owl",), ("a blue cup", "a  mug", "An Owl", "owl", " ", "A Blue cup", "a jug")
    )
    assert wrong_ones(what) == ["a blue cup", "a jug"]
    assert wrong_ones(region((), (), ("a blue cup",))) == [], "nothing to tell them from"
    assert wrong_ones(region(("a",))) == wrong_ones(region(("a",), (), ())) == []


def test_of_many_wrong_texts_some_are_drawn_in_their_order() -> None:
    names = tuple(f"no {number:02d}" for number in range(30))
    some = [wrong_ones(region(("yes",), (), names), seed=seed) for seed in range(20)]
    assert all(len(chosen) == 10 and chosen == sorted(chosen) for chosen in some)
    assert {name for chosen in some for name in chosen} == set(names)


def test_wrong_texts_are_not_read_if_no_term_looks_at_them() -> None:
    texts = Texts()
    assert negatives(region(("a",), (), ("b",)), FIRST, np.random.default_rng(0), texts) == []
    assert texts.place == {}


SHORT, LONG, LONGER = "a cup", "a red cup on a table", "a red cup on a table by the window"


def both(given: list[Text], long_words: int | None, times: int = 50) -> set[tuple[str, str]]:
    texts, rng = Texts(), np.random.default_rng(0)
    places = [captions(given, TextChoice(0.0, long_words=long_words), rng, texts) for _ in range(times)]
    names = [*texts.place, "-"]
    return {(names[caption], names[long]) for caption, long in places}


def test_long_captions_have_a_place_of_their_own() -> None:
    assert both(say(SHORT, LONG), None) == {(SHORT, "-"), (LONG, "-")}
    assert both(say(SHORT, LONG), 6) == {(SHORT, LONG)}
    assert both(say(SHORT, LONG, LONGER), 6) == {(SHORT, LONG), (SHORT, LONGER)}
    assert both(say(SHORT), 6) == {(SHORT, "-")}
    assert both(say(LONG), 6) == {(LONG, LONG)}, "an image without a short caption learns from the long one"
    assert both(say(" "), 6) == both([], 6) == {("-", "-")}


@pytest.mark.parametrize("name", ["hard_negatives", "cmr"])
def test_only_what_a_term_looks_at_is_read(name: str) -> None:
    assert text_choice(TrainParams()) == TextChoice(0.3)
    assert text_choice(TrainParams(weights=LossWeights(**{name: 0.1}))).most_negatives == 10
    params = TrainParams(weights=LossWeights(long_text=1.0), text_of_region="random", long_caption_words=7)
    assert text_choice(params) == TextChoice(0.3, "random", 0, 7)
    assert NO_TEXT == -1
