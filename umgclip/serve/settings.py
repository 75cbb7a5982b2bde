"""Settings of the server: plain values whose ranges the command line checks.

The API key is not among them: it is read only from `UMGCLIP_API_KEY`, so that it appears in no process list and no
file.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from umgclip.errors import InputError

API_KEY = "UMGCLIP_API_KEY"
MIB = 1 << 20


@dataclass(frozen=True)
class ModelSelection:
    """The registered model to serve, by alias or version.

    Attributes:
        name: name of the registered model.
        alias: alias to follow; unused with a version.
        version: a fixed version, None to follow the alias.
        poll_s: seconds between two checks of the alias.
    """

    name: str = "umgclip"
    alias: str = "champion"
    version: str | None = None
    poll_s: float = 10.0


@dataclass(frozen=True)
class Batching:
    """Settings for the forward passes that concurrent requests share.

    Attributes:
        max_images: images in one forward pass.
        max_wait_ms: milliseconds that the first image of a batch waits for others.
        queue_images: images accepted and not yet answered; further requests get status 503.
        decoders: processes that read requests and decode images; 0 for one per core. Half as many again are for large
            requests.
    """

    max_images: int = 16
    max_wait_ms: float = 5.0
    queue_images: int = 256
    decoders: int = 0


@dataclass(frozen=True)
class RequestLimits:
    """The most that one request may hold; a larger one gets status 413.

    Attributes:
        body_bytes: bytes of the whole body, base64 included.
        images: images in a list.
        pixels: pixels of a decoded image.
        texts: labels per image, and concepts in a vocabulary that a request brings.
        text_chars: characters of one text.
        regions: boxes and masks per image, together.
        total_pixels: pixels of all images; each mask counts as its image again.
        total_texts: distinct labels and concepts of all images together.
        answer_numbers: numbers in the answer: scores, embeddings and cells of maps.
    """

    body_bytes: int = 16 * MIB
    images: int = 32
    pixels: int = 32_000_000
    texts: int = 256
    text_chars: int = 300
    regions: int = 100
    total_pixels: int = 128_000_000
    total_texts: int = 512
    answer_numbers: int = 1_000_000


@dataclass(frozen=True)
class Timeouts:
    """Seconds after which the server gives up waiting.

    Attributes:
        body_s: for a body to arrive.
        answer_s: for an answer to be ready.
        shutdown_s: for open requests to finish after a request to stop.
        head_s: for a request's head to arrive, and for a silent connection.
        send_s: for a client to read some of its answer.
    """

    body_s: float = 30.0
    answer_s: float = 30.0
    shutdown_s: float = 30.0
    head_s: float = 10.0
    send_s: float = 30.0


@dataclass(frozen=True)
class Capacity:
    """The most that all requests together may hold; further requests get status 503.

    Attributes:
        connections: open connections.
        bodies_bytes: bytes of bodies that are being read or wait to be decoded.
        texts: labels and concepts that wait to be encoded.
    """

    connections: int = 512
    bodies_bytes: int = 256 * MIB
    texts: int = 2048


@dataclass(frozen=True)
class ServeSettings:
    """All settings of the server; `port` 0 chooses a free one."""

    host: str = "127.0.0.1"
    port: int = 8000
    selection: ModelSelection = field(default_factory=ModelSelection)
    batching: Batching = field(default_factory=Batching)
    limits: RequestLimits = field(default_factory=RequestLimits)
    timeouts: Timeouts = field(default_factory=Timeouts)
    capacity: Capacity = field(default_factory=Capacity)


def api_keys() -> tuple[str, ...]:
    """Read the keys for `/predict` and `/metrics` from the environment; without the variable both are open.

    It may hold several keys separated by commas, for the time in which one replaces another.

    Raises:
        InputError: the variable is set but holds no key, so it would protect nothing.
    """
    given = os.environ.get(API_KEY)
    keys = tuple(key.strip() for key in (given or "").split(",") if key.strip())
    if given is not None and not keys:
        raise InputError(
            f"{API_KEY}: expected a key, or several separated by commas, got {given!r}; set a key, or unset the "
            "variable to accept requests without one"
        )
    return keys
