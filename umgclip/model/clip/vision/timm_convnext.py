"""timm's ConvNeXt towers inside open_clip (convnext_base, ...): the final map goes through the head place by place.

Norm and projection act on each place alone, so the map is what the global embedding would be of a single place. It has
one cell for 32 x 32 pixels (FC-CLIP, Yu et al., NeurIPS 2023, reads the same map).
"""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F  # noqa: N812 - torch's own habit
from jaxtyping import Bool, Float
from timm.layers import ClassifierHead, NormMlpClassifierHead
from timm.models.convnext import ConvNeXt
from torch import Tensor, nn

from umgclip.errors import InputError
from umgclip.model.clip.vision.encoder import to_unit
from umgclip.model.clip.vision.token_grid import TokenGrid, run_block


class TimmConvNext:
    """The encoder of timm's ConvNeXt in open_clip."""

    def __init__(self, visual: Any) -> None:  # noqa: ANN401 - open_clip's TimmModel
        self._visual = visual
        stride = int(visual.trunk.feature_info[-1]["reduction"])
        self.patch_px: tuple[int, int] = (stride, stride)
        linears = [layer for layer in (*visual.trunk.head.modules(), *visual.head.modules()) if _is_linear(layer)]
        self.embed_dim = int(linears[-1].out_features) if linears else int(visual.trunk.num_features)

    @staticmethod
    def handles(visual: Any) -> bool:  # noqa: ANN401 - any image tower
        """Return whether a tower is a ConvNeXt that averages its map, projected linearly or by an MLP."""
        trunk = getattr(visual, "trunk", None)
        if not isinstance(trunk, ConvNeXt) or not isinstance(trunk.head, ClassifierHead | NormMlpClassifierHead):
            return False
        return trunk.head.global_pool.pool_type == "avg" and "pool" not in dict(visual.head.named_children())

    def __call__(
        self, images: Float[Tensor, "b 3 height width"], valid: Bool[Tensor, "b h w"] | None
    ) -> tuple[Float[Tensor, "b d"], Float[Tensor, "b d h w"]]:
        """Global and dense embeddings."""
        trunk = self._visual.trunk
        x = trunk.norm_pre(self._stages(trunk.stem(images), valid))
        if valid is None:
            mean = x.mean(dim=(2, 3))
        else:
            weight = valid[:, None].to(x.dtype)
            mean = (x * weight).sum(dim=(2, 3)) / weight.sum(dim=(2, 3))
        places = self._head(x.flatten(2).transpose(1, 2).flatten(0, 1))
        return self._head(mean), places.unflatten(0, (x.shape[0], -1)).transpose(1, 2).unflatten(2, x.shape[2:])

    def _stages(
        self, x: Float[Tensor, "b c h w"], valid: Bool[Tensor, "b gh gw"] | None
    ) -> Float[Tensor, "b out gh gw"]:
        """Run the stages; padding is reset to zero before every convolution, which is what lies beyond an edge."""
        stages = self._visual.trunk.stages
        recompute = any(bool(stage.grad_checkpointing) for stage in stages)
        for stage in stages:
            if valid is None and not recompute:
                x = stage(x)
                continue
            x = stage.downsample(_kept(x, valid))
            for block in stage.blocks:
                if valid is not None and not isinstance(getattr(block.mlp, "grn", nn.Identity()), nn.Identity):
                    raise InputError("train.resize: expected squash, ConvNeXt V2 looks at all of its map; got pad")
                grid = TokenGrid(x.shape[2], x.shape[3], 0, valid)
                x = run_block(block, _kept(x, valid), grid, recompute=recompute)
        return x

    def _head(self, rows: Float[Tensor, "n c"]) -> Float[Tensor, "n d"]:
        """Run what follows the trunk's pooling, then open_clip's projection."""
        return to_unit(self._visual.head(self._visual.trunk.head(rows[:, :, None, None])))


def _kept(x: Float[Tensor, "b c h w"], valid: Bool[Tensor, "b gh gw"] | None) -> Float[Tensor, "b c h w"]:
    if valid is None:
        return x
    return x * F.interpolate(valid[:, None].to(x.dtype), x.shape[2:], mode="nearest")


def _is_linear(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Linear)
