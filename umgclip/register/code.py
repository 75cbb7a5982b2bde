"""The code that a version was registered with, beside the code that is installed here."""

from __future__ import annotations

from pathlib import Path

from umgclip.provenance import DESCRIBING, same_code, sources

_ROOT = Path(__file__).parents[2]
_ANSWERS = "umgclip.inference.folder"  # from here on, what is imported decides the numbers


def other_code(version: Path) -> tuple[str, ...]:
    """Return the modules that decide a version's answers and differ from those that it was registered with.

    A version of an older layout of the package, which cannot be compared module by module, gives `umgclip`.

    Args:
        version: folder of its files; those that bring no code are taken to be the same.
    """
    kept = version / "code"
    if not kept.is_dir():
        return ()
    then, now = (sources(root, _ANSWERS, DESCRIBING) for root in (kept, _ROOT))
    if not then:  # registered before these modules had their present names
        return ("umgclip",)
    return tuple(
        name for name in sorted({*then, *now}) if name not in then or name not in now or _differs(then[name], now[name])
    )


def _differs(one: bytes, other: bytes) -> bool:
    try:
        return not same_code(one, other)
    except SyntaxError:  # of another Python
        return True
