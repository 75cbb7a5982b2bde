"""Prompts of class names."""

import pytest

from umgclip.model.clip.prompts import fill_template, with_article


def test_the_article_follows_the_first_letter():
    assert [with_article(name) for name in ("dog", "apple", "red apple")] == ["a dog", "an apple", "a red apple"]


@pytest.mark.parametrize(
    ("template", "name", "prompt"),
    [
        ("{a} {}", "apple", "an apple"),
        ("{a} {}", "dog", "a dog"),
        ("a photo of {a} {}.", "owl", "a photo of an owl."),
        ("on {}", "grass", "on grass"),
    ],
)
def test_prompts_get_the_article_of_the_name(template, name, prompt):
    assert fill_template(template, name) == prompt
