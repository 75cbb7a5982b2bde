"""Too many samples that could not be annotated: what happened to them, how often, and one of each kind."""

from __future__ import annotations

from collections.abc import Mapping

from umgclip.errors import DataError

_SHOWN = 3
_LONGEST = 200  # characters of an example
# what to do about a reason, where that is more than looking at the sample itself
_ADVICE = {
    "unreadable": "`umgclip data verify` names every unreadable sample",
    "crashed": "smaller annotate.batch or fewer annotate.workers need less memory",
    "server_error": "`umgclip annotate` goes on where it stopped",
    "timeout": "annotate.models: timeout_s may be too short",
    "box_scale": "annotate.models: box_unit has to be the scale that the model answers in",
    "refusal": "annotate.roles may name another model",
}


def check_failures(lost: Mapping[str, int], examples: Mapping[str, str], total: int, limit: float) -> None:
    """End a run that lost too many of its training samples.

    Args:
        lost: samples by reason, those that a policy refused left out.
        examples: `KEY: what happened`, one for each reason.
        total: training samples.
        limit: `annotate.max_failed`.

    Raises:
        DataError: naming the most frequent reasons with their counts and an example each.
    """
    failed = sum(lost.values())
    if failed <= limit * total:
        return
    often = sorted(((count, reason) for reason, count in lost.items() if count > 0), key=lambda one: (-one[0], one[1]))
    shown = [f"{count} {reason}{_example(examples.get(reason))}" for count, reason in often[:_SHOWN]]
    if len(often) > _SHOWN:
        shown.append(f"{sum(count for count, _ in often[_SHOWN:])} of {len(often) - _SHOWN} other reasons")
    raise DataError(
        f"annotate: {failed} of {total} training samples could not be annotated, more than annotate.max_failed = "
        f"{limit}: {', '.join(shown)}{_advice([reason for _, reason in often[:_SHOWN]])}"
    )


def reasons_in_words(lost: Mapping[str, int]) -> str:
    """How many samples were lost, and by what."""
    total = sum(lost.values())
    often = sorted(lost.items(), key=lambda one: (-one[1], one[0]))
    return f"{total} ({', '.join(f'{count} {reason}' for reason, count in often)})" if total else "0"


def _example(said: str | None) -> str:
    if said is None:
        return ""
    line = " ".join(said.split())
    return f" (e.g. {line if len(line) <= _LONGEST else line[:_LONGEST] + '...'})"


def _advice(reasons: list[str]) -> str:
    """Reasons of roles are called `ROLE_reason`."""
    known = [advice for name, advice in _ADVICE.items() if any(r == name or r.endswith(f"_{name}") for r in reasons)]
    return "".join(f"; {one}" for one in known)
