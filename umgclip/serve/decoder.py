"""The process that reads untrusted requests: JSON, base64, image files and masks.

It holds no model and no secret, and its parent may kill it at any moment. The two exchange pickles, each preceded by
its length in 8 bytes.
"""

from __future__ import annotations

import gc
import logging
import os
import pickle  # noqa: S403 - between two of our own processes
import resource
import signal
import socket
import struct
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import cv2
from pydantic_core import from_json

from umgclip.errors import InputError, UmgclipError
from umgclip.inference.request import LimitError, Limits, Prepared, Target, pixels_to_decode, prepare
from umgclip.inference.request_values import is_list
from umgclip.serve.settings import RequestLimits

LENGTH = struct.Struct(">Q")
_SIDE_PX = 65_535  # limit of JPEG; Pillow's resampling reserves memory in proportion to the longer side
_RUN_LENGTH_CHARS = 1 << 20
_BYTES_PER_PIXEL = 32  # memory for an image while it is decoded, turned upright and resized
_LEAST_MEMORY = 512 << 20
_NICE = 10
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class DecodePlan:
    """The model and the limits that a request is read for.

    Attributes:
        version: version of the model.
        target: the input that the model takes.
        embed_dim: dimension of the model's embeddings.
        limits: the most that a request may hold.
    """

    version: str
    target: Target
    embed_dim: int
    limits: RequestLimits


class ReadRequest(NamedTuple):
    """A body to read; the plan is sent with the first body of a model version, and None after that."""

    body: bytes
    version: str
    plan: DecodePlan | None
    most_pixels: int | None


class Read(NamedTuple):
    """A valid request: its prepared images, and whether they came as a list, so that the answer is a list too."""

    images: list[Prepared]
    listed: bool


class Refused(NamedTuple):
    """The refusal of a request, as an HTTP status and a text."""

    status: int
    detail: str


class TooLarge(NamedTuple):
    """A request with more pixels than this process should decode, for the processes with larger requests."""

    pixels: int


Reply = Read | Refused | TooLarge


def read(request: ReadRequest, plan: DecodePlan) -> Reply:
    """Check a request and prepare it for a forward pass; return a `Refused` if anything is wrong with it."""
    try:
        return _read(request.body, plan, request.most_pixels)
    except _RefusedError as error:
        return error.refused
    except (LimitError, MemoryError) as error:
        return Refused(413, str(error) or "body: expected smaller images and masks, got some that exceed the memory")
    except UmgclipError as error:
        return Refused(422, str(error))


def _read(body: bytes, plan: DecodePlan, most_pixels: int | None) -> Reply:
    rows, listed = _rows(body, plan.limits)
    names = [f"body[{index}]" if listed else "body" for index in range(len(rows))]
    _check_texts(rows, plan.limits)
    _check_answer(rows, plan)
    pixels = sum(_guarded(pixels_to_decode, row, name) for row, name in zip(rows, names, strict=True))
    if pixels > plan.limits.total_pixels:
        raise LimitError(
            f"body: expected at most {plan.limits.total_pixels} pixels of images and masks together, got {pixels}"
        )
    if most_pixels is not None and pixels > most_pixels:
        return TooLarge(pixels)
    limits = Limits(
        pixels=plan.limits.pixels,
        side_px=_SIDE_PX,
        texts=plan.limits.texts,
        text_chars=plan.limits.text_chars,
        regions=plan.limits.regions,
        counts_chars=_RUN_LENGTH_CHARS,
    )
    ready = [
        _guarded(lambda row, name: prepare(row, plan.target, limits, name), row, name)
        for row, name in zip(rows, names, strict=True)
    ]
    # the parent has the registered vocabulary already
    images = [
        one if row.get("vocabulary") else replace(one, vocabulary=()) for one, row in zip(ready, rows, strict=True)
    ]
    return Read(images, listed)


class _RefusedError(Exception):
    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.refused = Refused(status, detail)


def _rows(body: bytes, limits: RequestLimits) -> tuple[list[Mapping[str, Any]], bool]:
    try:
        content = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise _RefusedError(400, f"body: expected JSON, got {len(body)} bytes that are not JSON: {error}") from error
    listed = isinstance(content, list)
    rows = content if listed else [content]
    if len(rows) > limits.images:
        raise LimitError(f"body: expected a list of at most {limits.images} images, got {len(rows)}")
    if not rows:
        raise InputError("body: expected an object or a list of at least one object, got an empty list")
    for index, row in enumerate(rows):
        if not isinstance(row, dict):
            name, value = f"body[{index}]" if listed else "body", f"{type(row).__name__} {str(row)[:40]!r}"
            raise InputError(f"{name}: expected an object with the field image, got {value}")
    return rows, listed


def _check_texts(rows: Sequence[Mapping[str, Any]], limits: RequestLimits) -> None:
    """Check the number of distinct texts, each of which is encoded once for all images."""
    fields: list[Any] = [row.get(name) for row in rows for name in ("labels", "vocabulary")]
    texts = {text for field in fields if is_list(field) for text in field if isinstance(text, str)}
    if len(texts) > limits.total_texts:
        raise LimitError(
            f"body: expected at most {limits.total_texts} different labels and concepts together, got {len(texts)}"
        )


def _check_answer(rows: Sequence[Mapping[str, Any]], plan: DecodePlan) -> None:
    """Check how many numbers the answer will hold: even a small request could ask for very many."""
    rows_hw = plan.target.grid_hw
    numbers = 0
    for row in rows:
        labels, boxes, masks = (len(row[n]) if is_list(row.get(n)) else 0 for n in ("labels", "boxes", "masks"))
        numbers += plan.embed_dim + labels * (1 + boxes + masks)
        numbers += (boxes + masks) * plan.embed_dim if row.get("region_embeddings") else 0
        numbers += labels * rows_hw[0] * rows_hw[1] if row.get("similarity_map") else 0
    if numbers > plan.limits.answer_numbers:
        raise LimitError(f"body: expected an answer of at most {plan.limits.answer_numbers} numbers, got {numbers}")


def _guarded(do: Any, row: Mapping[str, Any], where: str) -> Any:  # noqa: ANN401 - of either of two kinds
    try:
        return do(row, where)
    except (UmgclipError, MemoryError):
        raise
    except Exception as error:  # on untrusted bytes, libraries can raise anything
        _logger.warning("%s: refused after an unexpected error: %r", where, error)
        raise InputError(f"{where}: expected fields that can be read, got {type(error).__name__}") from error


def main(connection: socket.socket, limits: RequestLimits, *, heavy: bool) -> None:
    """Read requests from the parent until it closes the connection.

    Args:
        connection: connection to the parent.
        limits: the most that a request may hold; they decide how much memory this process may take.
        heavy: whether this process reads large requests, which have a lower priority.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # on Ctrl-C the parent closes the connection
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    warnings.filterwarnings("ignore", module="PIL")  # a line on stderr for every image with odd metadata
    cv2.setNumThreads(1)
    gc.freeze()
    if heavy:
        os.nice(_NICE)
    _bound_memory(_LEAST_MEMORY + _BYTES_PER_PIXEL * limits.pixels + 16 * limits.body_bytes)
    plan: DecodePlan | None = None
    with connection, connection.makefile("rwb") as stream:
        while (message := _receive(stream.read)) is not None:
            request: ReadRequest = pickle.loads(message)  # noqa: S301 - from the parent
            plan = request.plan or plan
            if plan is None or plan.version != request.version:
                raise RuntimeError(f"expected a plan for version {request.version}")
            reply = pickle.dumps(read(request, plan), pickle.HIGHEST_PROTOCOL)
            del request, message
            stream.write(LENGTH.pack(len(reply)) + reply)
            stream.flush()


def _receive(read_bytes: Callable[[int], bytes]) -> bytes | None:
    head = read_bytes(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    [size] = LENGTH.unpack(head)
    message = read_bytes(size)
    return message if len(message) == size else None


def _bound_memory(more: int) -> None:
    """Limit this process to so many more bytes of memory; beyond that Python raises MemoryError."""
    status = Path("/proc/self/status")
    if sys.platform != "linux" or not status.is_file():
        return
    [used_kib] = [int(line.split()[1]) for line in status.read_text(encoding="ascii").splitlines() if "VmData" in line]
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = (used_kib << 10) + more
    resource.setrlimit(resource.RLIMIT_DATA, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))
