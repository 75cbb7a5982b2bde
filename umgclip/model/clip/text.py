"""Text towers: CLIP's at the real length of its texts, any other as open_clip runs it; frozen ones from memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own habit
from jaxtyping import Float, Int
from torch import Tensor, nn

from umgclip.model.clip.attention import Attention
from umgclip.model.clip.long_text import LongText, long_text_of, takes_long_path
from umgclip.model.clip.placement import sent
from umgclip.model.clip.texts.shared_prefixes import attending_in, prefix_tree

_SHORT_TEXT = 8  # tokens, with both ends: names and tags; captions are longer


def text_module(clip: Any) -> Any:  # noqa: ANN401 - open_clip's models share no base class
    """Return the module with the text tower's parts: part of a `CustomTextCLIP`, or the `CLIP` itself."""
    return clip.text if hasattr(clip, "text") else clip


def text_parameters(clip: Any) -> list[nn.Parameter]:  # noqa: ANN401
    """Everything that text embeddings depend on."""
    path = long_text_of(clip)
    rows: list[nn.Parameter] = [] if path is None else list(path.parameters())
    if hasattr(clip, "text"):
        return rows + list(clip.text.parameters())
    names = ("transformer", "token_embedding", "positional_embedding", "ln_final", "text_projection")
    for part in (getattr(clip, name, None) for name in names):
        rows.extend(part.parameters() if isinstance(part, nn.Module) else [part] if part is not None else [])
    return rows


def is_causal(text: Any) -> bool:  # noqa: ANN401
    """Return whether padding after the end of a text cannot matter: causal, read at its end, projected by a matrix."""
    pool = getattr(text, "text_pool_type", getattr(text, "pool_type", None))
    return (
        pool == "argmax"
        and getattr(text, "attn_mask", None) is not None
        and isinstance(getattr(text, "text_projection", None), Tensor)
        and getattr(text, "cls_emb", None) is None
        and not getattr(text, "use_pad_mask", False)
    )


def encode_text(clip: Any, tokens: Int[Tensor, "t length"], embed_dim: int) -> Float[Tensor, "t d"]:  # noqa: ANN401
    """Encode texts to L2-normalised embeddings of the joint space.

    For a causal tower hardly any padding is computed: texts of similar length share a batch, and tokens after the
    end-of-text token have no effect, so the result is open_clip's own. Other towers (SigLIP) read their padding too.
    """
    if tokens.shape[0] == 0:
        return tokens.new_zeros((0, embed_dim), dtype=clip.logit_scale.dtype)
    path = long_text_of(clip)
    if path is None:
        return _encode_short(clip, tokens)
    is_long = takes_long_path(path, tokens, _pad_id(clip))
    groups = [rows for rows in ((~is_long).nonzero()[:, 0], is_long.nonzero()[:, 0]) if len(rows)]
    encoded = [
        _encode_long(clip, path, tokens[rows])
        if bool(is_long[rows[0]])
        else _encode_short(clip, tokens[rows][:, : path.short_length])
        for rows in groups
    ]
    return torch.cat(encoded)[torch.cat(groups).argsort()]


def encode_text_nodes(clip: Any, tokens: Int[Tensor, "t length"]) -> Float[Tensor, "t d"]:  # noqa: ANN401
    """Encode texts as `encode_text`, computing no padding, and what texts have in common at their beginning once.

    Args:
        clip: a model that `has_nodes`.
        tokens: at least one text; best on the CPU.
    """
    text = text_module(clip)
    tree = prefix_tree(tokens.cpu()).to(text.positional_embedding.device)
    x = text.token_embedding(tree.token) + text.positional_embedding.index_select(0, tree.position)
    with attending_in(tree):
        x = text.transformer(x[None], attn_mask=None)[0]
    return F.normalize(text.ln_final(x.index_select(0, tree.end)) @ text.text_projection, dim=-1)


def has_nodes(clip: Any) -> bool:  # noqa: ANN401
    """Return whether a tower can be computed on the distinct beginnings of its texts: causal, its attention ours."""
    text = text_module(clip)
    blocks = getattr(getattr(text, "transformer", None), "resblocks", ())
    return (
        is_causal(text)
        and long_text_of(clip) is None
        and all(isinstance(getattr(block, "attn", None), Attention) and not _is_compiled(block) for block in blocks)
    )


def _is_compiled(block: nn.Module) -> bool:
    return block._compiled_call_impl is not None  # it would be compiled again for every number of batches


def encode_text_whole(clip: Any, tokens: Int[Tensor, "t length"]) -> Float[Tensor, "t d"]:  # noqa: ANN401
    """Encode texts as `encode_text`, by shapes that do not depend on them, as a graph for export needs it."""
    path = long_text_of(clip)
    if path is None:
        return F.normalize(clip.encode_text(tokens), dim=-1)
    short = F.normalize(clip.encode_text(tokens[:, : path.short_length]), dim=-1)
    is_long = takes_long_path(path, tokens, _pad_id(clip))
    return torch.where(is_long[:, None], _encode_long(clip, path, tokens, cut=False), short)


def _pad_id(clip: Any) -> int | None:  # noqa: ANN401
    text = text_module(clip)
    return None if is_causal(text) else int(text.pad_id)


def _encode_short(clip: Any, tokens: Int[Tensor, "t length"]) -> Float[Tensor, "t d"]:  # noqa: ANN401
    text = text_module(clip)
    if not is_causal(text):
        return clip.encode_text(tokens, normalize=True)
    ends = tokens.argmax(dim=1)
    is_short = ends < _SHORT_TEXT
    groups = [rows for rows in (is_short.nonzero()[:, 0], (~is_short).nonzero()[:, 0]) if len(rows)]
    encoded = torch.cat([_encode_padded(text, tokens[rows], ends[rows]) for rows in groups])
    return encoded[torch.cat(groups).argsort()]


def _encode_padded(text: Any, tokens: Int[Tensor, "t length"], ends: Int[Tensor, "t"]) -> Float[Tensor, "t d"]:  # noqa: ANN401
    length = int(ends.max()) + 1
    x = text.token_embedding(tokens[:, :length]) + text.positional_embedding[:length]
    x = text.transformer(x, attn_mask=text.attn_mask[:length, :length])
    x = text.ln_final(x[torch.arange(len(x), device=x.device), ends])
    return F.normalize(x @ text.text_projection, dim=-1)


def _encode_long(
    clip: Any,  # noqa: ANN401
    path: LongText,
    tokens: Int[Tensor, "t length"],
    *,
    cut: bool = True,
) -> Float[Tensor, "t d"]:
    """Encode texts by the long path; `cut`: a causal tower computes no padding after the last text's end."""
    text = text_module(clip)
    if not is_causal(text):
        x = text.transformer(text.token_embedding(tokens) + path.positions, attn_mask=None)
        return F.normalize(path.projection(text.ln_final(x[:, -1])), dim=-1)
    ends = tokens.argmax(dim=1)
    length = int(ends.max()) + 1 if cut else path.length
    x = text.token_embedding(tokens[:, :length]) + path.positions[:length]
    mask = torch.full((length, length), float("-inf"), device=x.device, dtype=text.attn_mask.dtype).triu(1)
    x = text.transformer(x, attn_mask=mask)
    last = x.gather(1, ends[:, None, None].expand(-1, 1, x.shape[2]))[:, 0]
    return F.normalize(path.projection(text.ln_final(last)), dim=-1)


class TextFeatures:
    """Embeddings of a frozen text tower by token ids; forgets what was not asked for longest; safe between threads."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._rows: OrderedDict[bytes, Tensor] = OrderedDict()
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type[TextFeatures], tuple[int]]:
        """Copied or pickled it is an empty one: a lock is for one process, and embeddings are soon made again."""
        return TextFeatures, (self._size,)

    def __len__(self) -> int:
        return len(self._rows)

    @torch.no_grad()
    def __call__(self, clip: Any, tokens: Int[Tensor, "t length"], embed_dim: int) -> Float[Tensor, "t d"]:  # noqa: ANN401
        """Return the embeddings on the model's device, computing only those not known yet, without a graph."""
        keys, device = [row.tobytes() for row in tokens.cpu().numpy()], clip.logit_scale.device
        with self._lock:
            rows = {key: self._rows[key] for key in keys if key in self._rows}
            for key in rows:
                self._rows.move_to_end(key)
        missing = {key: i for i, key in enumerate(keys) if key not in rows}
        if missing:
            fresh = encode_text(clip, sent(tokens[list(missing.values())], device), embed_dim).float().cpu()
            rows.update(zip(missing, fresh.unbind(), strict=True))
            with self._lock:
                for key, row in zip(missing, fresh.unbind(), strict=True):
                    self._rows[key] = row.clone()
                while len(self._rows) > self._size:
                    self._rows.popitem(last=False)
        if not keys:
            return encode_text(clip, sent(tokens, device), embed_dim)
        return sent(torch.stack([rows[key] for key in keys]), device)
