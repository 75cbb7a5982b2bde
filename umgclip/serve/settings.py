"""What an operator may set: plain values, whose ranges the command line checks.

The API key is no setting: it is read from `UMGCLIP_API_KEY` alone, so that it stands in no list of processes and no
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
    """Which model to serve.

    Attributes:
        name: the registered model.
        alias: followed when it moves; unused with a version.
        version: a fixed version, None to follow the alias.
        poll_s: seconds between two looks at the alias.
    """

    name: str = "umgclip"
    alias: str = "champion"
    version: str | None = None
    poll_s: float = 10.0


@dataclass(frozen=True)
class Batching:
    """How concurrent requests share forwards.

    Attributes:
        max_images: images in one forward.
        max_wait_ms: how long the first image of a batch waits for others.
        queue_images: images accepted and not yet answered; above it requests are turned away with 503.
        decoders: processes that read requests and decode images; 0 for one a core. Half as many again are for large
            requests.
    """

    max_images: int = 16
    max_wait_ms: float = 5.0
    queue_images: int = 256
    decoders: int = 0


@dataclass(frozen=True)
class RequestLimits:
    """The most that one request may hold; above it the answer is 413.

    Attributes:
        body_bytes: of the whole body, base64 included.
        images: in a list.
        pixels: of a decoded image.
        texts: labels of an image, and concepts of a vocabulary of its own.
        text_chars: of one text.
        regions: boxes and masks of an image together.
        total_pixels: of all images; a mask counts as much as its image.
        total_texts: different labels and concepts of all images.
        answer_numbers: scores, embeddings and cells of maps in the answer.
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
    """Seconds after which the server gives up.

    Attributes:
        body_s: on a body that does not arrive.
        answer_s: on an answer that does not come.
        shutdown_s: on requests still open when it is told to stop.
        head_s: on a request whose head does not arrive, and on connections that are silent.
        send_s: on a client that does not read its answer.
    """

    body_s: float = 30.0
    answer_s: float = 30.0
    shutdown_s: float = 30.0
    head_s: float = 10.0
    send_s: float = 30.0


@dataclass(frozen=True)
class Capacity:
    """The most that all requests together may hold; above it the answer is 503.

    Attributes:
        connections: open ones.
        bodies_bytes: bodies that are being read or wait to be decoded.
        texts: labels and concepts that wait to be encoded.
    """

    connections: int = 512
    bodies_bytes: int = 256 * MIB
    texts: int = 2048


@dataclass(frozen=True)
class ServeSettings:
    """Everything together; `port` 0 takes a free one."""

    host: str = "127.0.0.1"
    port: int = 8000
    selection: ModelSelection = field(default_factory=ModelSelection)
    batching: Batching = field(default_factory=Batching)
    limits: RequestLimits = field(default_factory=RequestLimits)
    timeouts: Timeouts = field(default_factory=Timeouts)
    capacity: Capacity = field(default_factory=Capacity)


def api_keys() -> tuple[str, ...]:
    """The keys that open `/predict` and `/metrics`, from the environment; unset, they are open.

    Several, divided by commas, are for the time in which one replaces another.

    Raises:
        InputError: the variable is set and holds no key, so that it would lock nothing.
    """
    given = os.environ.get(API_KEY)
    keys = tuple(key.strip() for key in (given or "").split(",") if key.strip())
    if given is not None and not keys:
        raise InputError(f"{API_KEY}: expected a key, or several divided by commas, got {given!r}; unset, all may ask")
    return keys
