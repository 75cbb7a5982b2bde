"""Named sets of class prompts beside those that are written out in `params.yaml`."""

from __future__ import annotations

from collections.abc import Sequence

from open_clip import OPENAI_IMAGENET_TEMPLATES, SIMPLE_IMAGENET_TEMPLATES

from umgclip.errors import InputError


def template_set(field: str, wanted: str | Sequence[str], of_benchmark: Sequence[str]) -> tuple[str, ...]:
    """The prompts of a set, with `{}` for the name.

    Args:
        field: of the section `evaluate`, for the error.
        wanted: `simple` (open_clip's seven), `openai80` (the eighty that CLIP was published with), `manifest` (the
            benchmark's own), or the prompts themselves.
        of_benchmark: the prompts that the benchmark brings, none if it brings none.

    Raises:
        InputError: the benchmark's own are asked for, and it has none.
    """
    if not isinstance(wanted, str):
        return tuple(wanted)
    if wanted == "manifest":
        if not of_benchmark:
            raise InputError(
                f"evaluate.{field}: expected simple, openai80 or a list, for the benchmark brings no templates of its "
                f"own; got manifest"
            )
        return tuple(of_benchmark)
    templates = {"simple": SIMPLE_IMAGENET_TEMPLATES, "openai80": OPENAI_IMAGENET_TEMPLATES}[wanted]
    return tuple(template("{}") for template in templates)
