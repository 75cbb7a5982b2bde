"""Maps of a frozen teacher on disk, found again by the teacher and the pixels that it saw."""

from __future__ import annotations

import hashlib
import io
import logging
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from umgclip.io.atomic import write_bytes
from umgclip.literals import read_npy

_log = logging.getLogger(__name__)


class TeacherMaps:
    """Teacher maps as float16 files, written whole or not at all; when the folder is full, no more are added.

    Several processes may share the folder: a map has one content, whoever writes it. Each of them counts what was
    there at the start and what it wrote itself, times the processes.

    Args:
        folder: made when the first map is written.
        teacher: digest of everything that a map depends on besides the pixels.
        most_bytes: size of the folder from which on nothing is added.
        processes: writers at once.
    """

    def __init__(self, folder: Path, teacher: str, most_bytes: float, processes: int = 1) -> None:
        self._folder, self._teacher, self._most, self._processes = folder, teacher, most_bytes, processes
        self._bytes = sum(path.stat().st_size for path in folder.glob("*/*.npy"))
        self._full = False

    def key(self, image: Float[Tensor, "3 height width"]) -> str:
        """Return the name of the map of these pixels."""
        digest = hashlib.sha256(f"{self._teacher} {tuple(image.shape)}".encode())
        digest.update(image.float().cpu().contiguous().numpy().data)
        return digest.hexdigest()

    def get(self, key: str) -> Float[Tensor, "d h w"] | None:
        """Return a stored map; None if there is none, or if it is damaged, so that it is written again."""
        path = self._path(key)
        try:
            return torch.from_numpy(read_npy(path.read_bytes()))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, OSError) as error:
            _log.warning("train.windows.cache: %s: not readable (%s); it is computed again", path, error)
            return None

    def put(self, key: str, value: Float[Tensor, "d h w"]) -> None:
        """Store a map, unless the folder is full.

        Raises:
            OutputError: the disk is full, or the folder may not be written.
        """
        buffer = io.BytesIO()
        np.save(buffer, value.numpy())
        size = buffer.tell()
        if self._bytes + size > self._most:
            if not self._full:
                _log.warning("train.windows.cache: %s is full: further maps are computed each time", self._folder)
            self._full = True
            return
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, buffer.getvalue())
        self._bytes += size * self._processes

    def _path(self, key: str) -> Path:
        return self._folder / key[:2] / f"{key}.npy"
