"""How a model is called in what it wrote: kind, id, revision, and the prompt or its hash."""

from __future__ import annotations

import hashlib
import re

from umgclip.params import AnnotateParams

_SHORT = re.compile(r"^[^\s#]{1,40}$")  # such as <CAPTION>; anything else is named by its hash


def source_name(kind: str, model_id: str, revision: str | None) -> str:
    """`florence2/florence-community/Florence-2-base@0123456789ab`; twelve digits of the revision."""
    return f"{kind}/{model_id}@{(revision or 'unknown')[:12]}"


def with_prompt(name: str, prompt: str) -> str:
    """A source with the prompt that it was asked with: itself where it is one short word, its hash otherwise."""
    return f"{name}#{prompt_key(prompt)}" if prompt else name


def prompt_key(prompt: str) -> str:
    """What stands for a prompt in a source."""
    return prompt if _SHORT.match(prompt) else f"sha256:{hashlib.sha256(prompt.encode()).hexdigest()[:12]}"


def describe(params: AnnotateParams) -> dict[str, object]:
    """All that sources stand for: roles, models with revisions, thresholds and prompts, rules, and prompts by key."""
    prompts = {
        prompt_key(value): value
        for model in params.models.values()
        for name, value in model.model_dump().items()
        if (name == "prompt" or name.endswith("_prompt") or name == "template") and value
    }
    return {
        "roles": params.roles.model_dump(),
        "models": {name: model.model_dump() for name, model in params.models.items()},
        "rules": params.rules.model_dump(),
        "prompts": prompts,
    }
