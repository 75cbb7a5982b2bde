"""The record of token clustering on a model: written by `train`, read wherever the tuned model is loaded.

`train.json` has the settings that a tower was trained with, and `umgclip_preprocess.json` those of an exported adapter;
open_clip's config file has them for a whole model. On a loaded model they stand on its image tower.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from umgclip.errors import DataError, InputError
from umgclip.params import ClusteringParams

KEY = "clustering"


def set_clustering(clip: Any, clustering: ClusteringParams | None) -> None:  # noqa: ANN401 - open_clip's models
    """Write down on a model how its tokens are clustered; None: not.

    Raises:
        InputError: its image tower has no blocks of tokens, or too few of them.
    """
    if clustering is not None:
        blocks = _blocks(clip.visual)
        if clustering.after_block > len(blocks) - 2:
            raise InputError(
                f"train.clustering.after_block: expected at most {len(blocks) - 2}, so that a block between it and the "
                f"last of the model's {len(blocks)} runs on clusters; got {clustering.after_block}"
            )
    clip.visual.umgclip_clustering = clustering


def _blocks(visual: Any) -> list[Any]:  # noqa: ANN401 - open_clip's towers share no base class
    trunk = getattr(visual, "trunk", None)
    stack = visual.transformer.resblocks if hasattr(visual, "transformer") else getattr(trunk, "blocks", None)
    if stack is None:
        name = type(visual if trunk is None else trunk).__name__
        raise InputError(f"train.clustering: expected null, only a ViT has tokens and the image tower is a {name}")
    return list(stack)


def read_clustering(content: Mapping[str, Any], path: Path) -> ClusteringParams | None:
    """Read the settings from the content of a file; None where it has none.

    Raises:
        DataError: they are none that there are; names the key.
    """
    recorded = content.get(KEY)
    if recorded is None:
        return None
    try:
        return ClusteringParams.model_validate(recorded)
    except ValidationError as error:
        first = error.errors()[0]
        raise DataError(f"{path}: {'.'.join([KEY, *map(str, first['loc'])])}: {first['msg']}") from error
