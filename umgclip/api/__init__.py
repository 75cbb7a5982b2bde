"""The model alone, for people who want embeddings and no pipeline: `umgclip.load(...)`."""

from umgclip.api.loading import load
from umgclip.api.model import Model

__all__ = ["Model", "load"]
