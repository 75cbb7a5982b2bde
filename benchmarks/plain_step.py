"""A step of open_clip's own training, the peer of ours: image and caption, `ClipLoss`, AdamW over all weights.

`train_throughput.py` and `gpu/` measure beside it.
"""

from __future__ import annotations

from collections.abc import Callable

import open_clip
import torch

from umgclip.train.batch import Batch
from umgclip.train.step import to_device

Tokenize = Callable[[list[str]], torch.Tensor]


def open_clip_step(
    clip: torch.nn.Module, batch: Batch, tokenize: Tokenize, dtype: torch.dtype | None, device: torch.device
) -> Callable[[], None]:
    """Prepare a step on the images and captions of a batch.

    Args:
        clip: open_clip's model, on the device.
        batch: of which regions and tags are left out.
        tokenize: turns captions into tokens, within the step.
        dtype: of autocast; None: float32.
        device: that computes.
    """
    clip.train()
    optimizer = torch.optim.AdamW(clip.parameters(), lr=1.0e-5, fused=True)
    loss, captions = open_clip.ClipLoss(), [batch.texts[index] for index in batch.caption.tolist()]

    def step() -> None:
        images, tokens = to_device(batch, device).images, tokenize(captions).to(device)
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device.type, dtype=dtype, enabled=dtype is not None):
            total = loss(*clip(images, tokens)[:3])
        total.backward()
        torch.nn.utils.clip_grad_norm_(clip.parameters(), 1.0)
        optimizer.step()
        total.item()

    return step
