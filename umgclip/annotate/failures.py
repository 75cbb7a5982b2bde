"""End a run in which too many samples failed, with the reasons, their counts and an example of each."""

from __future__ import annotations

from collections.abc import Mapping

from umgclip.errors import DataError

_SHOWN = 3
_LONGEST = 200  # characters of an example
# advice for reasons that have another remedy than inspecting the sample
_ADVICE = {
    "unreadable": "`umgclip data verify` names every unreadable sample",
    "crashed": "smaller annotate.batch or fewer annotate.workers need less memory",
    "server_error": "`umgclip annotate` resumes where it stopped",
    "timeout": "annotate.models: timeout_s may be too short",
    "box_scale": "annotate.models: box_unit has to be the scale that the model answers in",
    "refusal": "annotate.roles may name another model",
}


def check_failures(lost: Mapping[str, int], examples: Mapping[str, str], total: int, limit: float) -> None:
    """Check that no more training samples failed than allowed.

    Args:
        lost: failed samples by reason, without those that a policy refused.
        examples: `KEY: what happened`, one for each reason.
        total: number of training samples.
        limit: `annotate.max_failed`.

    Raises:
        DataError: too many failed; names the most frequent reasons with their counts and an example each.
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
    """Return the number of failed samples with the count of each reason, as text."""
    total = sum(lost.values())
    often = sorted(lost.items(), key=lambda one: (-one[1], one[0]))
    return f"{total} ({', '.join(f'{count} {reason}' for reason, count in often)})" if total else "0"


def _example(text: str | None) -> str:
    if text is None:
        return ""
    line = " ".join(text.split())
    return f" (e.g. {line if len(line) <= _LONGEST else line[:_LONGEST] + '...'})"


def _advice(reasons: list[str]) -> str:
    """Return the advice for the reasons; those of a role have the form `ROLE_reason`."""
    known = [advice for name, advice in _ADVICE.items() if any(r == name or r.endswith(f"_{name}") for r in reasons)]
    return "".join(f"; {one}" for one in known)
