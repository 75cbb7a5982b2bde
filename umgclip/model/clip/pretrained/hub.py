"""The Hugging Face hub where it cannot be reached: what is in its cache is taken, and what is not fails at once."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from huggingface_hub import constants

_ANSWER_S = 5.0
_PROXIES = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")


@contextmanager
def quick_without_hub() -> Iterator[bool]:
    """Use only the hub's cache if the hub does not answer; yield whether it answers.

    The hub's own client retries for more than a minute before it looks into its cache.
    """
    before = constants.HF_HUB_OFFLINE
    answers = not before and _answers()
    constants.HF_HUB_OFFLINE = before or not answers
    try:
        yield answers
    finally:
        constants.HF_HUB_OFFLINE = before


def _answers() -> bool:
    """Return whether the hub's address accepts connections; True behind a proxy, where this cannot be tested."""
    if any(os.environ.get(name) for name in _PROXIES):
        return True
    address = urlsplit(constants.ENDPOINT)
    port = address.port or (80 if address.scheme == "http" else 443)
    try:
        socket.create_connection((address.hostname or "", port), timeout=_ANSWER_S).close()
    except OSError:
        return False
    return True
