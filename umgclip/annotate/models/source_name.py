"""The names of sources in records: kind, id and revision of a model, and its prompt or the hash of it."""

from __future__ import annotations

import hashlib
import re

from umgclip.params import AnnotateParams

_SHORT = re.compile(r"^[^\s#]{1,40}$")  # such as <CAPTION>; any other prompt is named by its hash


def source_name(kind: str, model_id: str, revision: str | None) -> str:
    """Return a source such as `florence2/ORG/NAME@0123456789ab`, with twelve digits of the revision."""
    return f"{kind}/{model_id}@{(revision or 'unknown')[:12]}"


def with_prompt(name: str, prompt: str) -> str:
    """Return a source with its prompt appended: the prompt itself if it is one short word, its hash otherwise."""
    return f"{name}#{prompt_key(prompt)}" if prompt else name


def prompt_key(prompt: str) -> str:
    """Return the key that replaces a prompt in a source."""
    return prompt if _SHORT.match(prompt) else f"sha256:{hashlib.sha256(prompt.encode()).hexdigest()[:12]}"


def describe(params: AnnotateParams) -> dict[str, object]:
    """Return all that sources refer to: roles, models with revisions, thresholds and prompts, rules, prompts by key."""
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
