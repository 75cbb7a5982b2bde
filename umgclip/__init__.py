"""umgclip: a CLIP that understands images, regions and pixels, and the pipeline that makes it."""

from typing import Any

__version__ = "0.1.0"
__all__ = ["Model", "__version__", "load"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - any attribute
    """Import `umgclip.load` and `umgclip.Model` on first use: they need torch, and most of this package does not."""
    if name in ("load", "Model"):
        from importlib import import_module

        return getattr(import_module("umgclip.api"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
