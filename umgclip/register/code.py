"""The code that a version was registered with, beside the code that is installed here."""

from __future__ import annotations

from pathlib import Path

from umgclip.provenance import DESCRIBING, same_code, sources

_ROOT = Path(__file__).parents[2]
_ANSWERS = "umgclip.inference.folder"  # from here on, what is imported decides the numbers


def other_code(version: Path) -> tuple[str, ...]:
    """Modules that decide a version's answers and do something else here than where it was registered.

    Args:
        version: folder of its files; those that bring no code are taken to be the same.
    """
    kept = version / "code"
    if not kept.is_dir():
        return ()
    then, now = (sources(root, _ANSWERS, DESCRIBING) for root in (kept, _ROOT))
    return tuple(
        name for name in sorted({*then, *now}) if name not in then or name not in now or _differs(then[name], now[name])
    )


def _differs(one: bytes, other: bytes) -> bool:
    try:
        return not same_code(one, other)
    except SyntaxError:  # of another Python
        return True
