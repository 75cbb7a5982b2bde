"""Comparison of the code that a version was registered with and the code that is installed here."""

from __future__ import annotations

from pathlib import Path

from umgclip.provenance import DESCRIBING, same_code, sources

_ROOT = Path(__file__).parents[2]
_ANSWERS = "umgclip.inference.folder"  # this module and all that it imports decide the answers


def other_code(version: Path) -> tuple[str, ...]:
    """Return the modules that decide a version's answers and differ from those that it was registered with.

    For a version of an older layout of the package, which cannot be compared module by module, it returns `umgclip`.

    Args:
        version: folder of the version's files; one without code counts as equal.
    """
    registered_code = version / "code"
    if not registered_code.is_dir():
        return ()
    if _same_files(registered_code, _ROOT):  # the usual case, in a tenth of the time
        return ()
    then, now = (sources(root, _ANSWERS, DESCRIBING) for root in (registered_code, _ROOT))
    if not then:  # registered before these modules had their current names
        return ("umgclip",)
    return tuple(
        name for name in sorted({*then, *now}) if name not in then or name not in now or _differs(then[name], now[name])
    )


def _same_files(one: Path, other: Path) -> bool:
    """Check whether the package's modules are the same files in two places, without reading what they import."""
    package = _ANSWERS.partition(".")[0]
    names = [{path.relative_to(root) for path in (root / package).rglob("*.py")} for root in (one, other)]
    return names[0] == names[1] and all((one / name).read_bytes() == (other / name).read_bytes() for name in names[0])


def _differs(one: bytes, other: bytes) -> bool:
    try:
        return not same_code(one, other)
    except SyntaxError:  # code for another version of Python
        return True
