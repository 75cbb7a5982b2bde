"""The teacher of `umgclip annotate`: a folder stays one, a version of the registry is downloaded for the run."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from umgclip.errors import InputError

if TYPE_CHECKING:
    from umgclip.params import AnnotateParams

_REGISTRY = "models:/"
_NUMBERED = re.compile(r"models:/[^/@]+/\d+")


def is_version(teacher: str) -> bool:
    """Return whether a teacher is a version of the registry, rather than a folder."""
    return teacher.startswith(_REGISTRY)


@contextmanager
def local_teacher(params: AnnotateParams) -> Iterator[AnnotateParams]:
    """Yield the section with a folder as its teacher; a downloaded one is removed afterwards.

    Raises:
        InputError: there is no such model, alias or version; or DVC runs the stage and the address is an alias, which
            may move without DVC noticing.
        TrackingError: MLflow does not answer or refuses.
    """
    if params.teacher is None or not is_version(params.teacher):
        yield params
        return
    if os.environ.get("DVC_STAGE") and not _NUMBERED.fullmatch(params.teacher):
        raise InputError(
            f"annotate.teacher: expected a folder or the number of a version (models:/NAME/3) in a pipeline, got "
            f"{params.teacher}: DVC would not notice when an alias moves"
        )
    from umgclip.register.opening import downloaded_version

    with downloaded_version(params.teacher) as (folder, _):
        yield params.model_copy(update={"teacher": str(folder)})
