"""peft's LoRA around a linear layer, computed in fewer passes over the tokens.

Under autocast peft's own forward casts every input to float32, which autocast casts back, and writes the base's result,
the delta, the scaled delta and their sum one after the other. Here the delta is added by the product that computes it.
Parameters, names, files, merging and everything unusual stay peft's.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from peft.tuners import lora
from torch import Tensor


class LoraLinear(lora.Linear):
    """`base(x) + scaling * B(A(dropout(x)))`, in float32 equal to peft's layer."""

    def forward(self, x: Float[Tensor, "*rows in"], *others: Any, **options: Any) -> Float[Tensor, "*rows out"]:  # noqa: ANN401 - peft's
        """Compute the layer; hand to peft what is more than one plain adapter."""
        if others or options or self.disable_adapters or self.merged or self.lora_variant or len(self.lora_A) != 1:
            result: Tensor = super().forward(x, *others, **options)
            return result
        (name,) = self.lora_A
        rows, kind = x.reshape(-1, x.shape[-1]), x.device.type
        if torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind):  # once for both products
            rows = rows.to(torch.get_autocast_dtype(kind))
        low = self.lora_A[name](self.lora_dropout[name](rows))
        base = self.base_layer(rows)
        up = self.lora_B[name].weight.to(base.dtype)
        return base.addmm_(low, up.T, alpha=self.scaling[name]).view(*x.shape[:-1], -1)
