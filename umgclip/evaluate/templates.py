"""Named sets of class prompts, besides those written out in `params.yaml`."""

from __future__ import annotations

from collections.abc import Sequence

from umgclip.errors import InputError
from umgclip.model.clip.light_open_clip import open_clip


def template_set(field: str, wanted: str | Sequence[str], of_benchmark: Sequence[str]) -> tuple[str, ...]:
    """Return the prompts of a set, with `{}` for the name.

    Args:
        field: key of the section `evaluate`, for the error.
        wanted: `simple` (open_clip's seven), `openai80` (the eighty that CLIP was published with), `manifest` (those of
            the benchmark), or the prompts themselves.
        of_benchmark: the prompts that the benchmark provides, possibly none.

    Raises:
        InputError: the set is `manifest`, and the benchmark provides no prompts.
    """
    if not isinstance(wanted, str):
        return tuple(wanted)
    if wanted == "manifest":
        if not of_benchmark:
            raise InputError(
                f"evaluate.{field}: expected simple, openai80 or a list, because the benchmark provides no templates; "
                f"got manifest"
            )
        return tuple(of_benchmark)
    templates = {"simple": open_clip.SIMPLE_IMAGENET_TEMPLATES, "openai80": open_clip.OPENAI_IMAGENET_TEMPLATES}[wanted]
    return tuple(template("{}") for template in templates)
