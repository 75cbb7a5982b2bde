"""The groups in which `umgclip --help` lists the commands, in the order in which a newcomer meets them."""

from __future__ import annotations

PANELS: dict[str, tuple[str, ...]] = {
    "Project": ("init", "recipe", "follow", "code"),
    "Data": ("data", "review"),
    "Stages": ("base", "annotate", "validate", "train", "evaluate", "register", "segment"),
    "Model": ("report", "compare", "probe", "promote", "rollback", "export", "push"),
    "Use": ("predict", "detect", "index", "search", "serve"),
    "Diagnose": ("doctor", "sync"),
}
_OTHERS = "Others"


def panel_of(name: str) -> str:
    """Return the panel of a command of the first level."""
    return next((panel for panel, names in PANELS.items() if name in names), _OTHERS)


def ordered(names: list[str]) -> list[str]:
    """Return names of commands in the order of the panels; those of no panel come last."""
    places = [name for listed in PANELS.values() for name in listed]
    return sorted(names, key=lambda name: places.index(name) if name in places else len(places))
