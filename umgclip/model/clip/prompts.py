"""Prompts around the name of a class: templates and the English article."""

from __future__ import annotations


def with_article(name: str) -> str:
    """Put "a" or "an" before a name: "an apple", "a dog"."""
    return ("an " if name[:1] in "aeiou" else "a ") + name


def fill_template(template: str, name: str) -> str:
    """Write a class name into a prompt template, for example "an apple" from "{a} {}".

    Args:
        template: text in which `{}` stands for the name and `{a}` for its article.
        name: class name or label.
    """
    article = with_article(name).partition(" ")[0]
    return template.replace("{a}", article).replace("{}", name)
