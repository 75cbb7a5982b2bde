"""An open_clip model that gives global, dense and text embeddings in one forward."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from umgclip.errors import InputError
from umgclip.model.clip.placement import sent
from umgclip.model.clip.preprocess import Preprocess
from umgclip.model.clip.text import TextFeatures, encode_text, encode_text_nodes, has_nodes, text_parameters
from umgclip.model.clip.tokenizer import Tokenizer
from umgclip.model.clip.vision.encoder import DensePath, repeat_edges
from umgclip.model.clip.vision.open_clip_vit import OpenClipVit
from umgclip.model.clip.vision.peers import Profile, dense_by, foveal
from umgclip.model.clip.vision.select import vision_encoder

_TEXTS_KEPT = 1 << 17


class ClipOutput(NamedTuple):
    """L2-normalised embeddings of one forward: images (b, d), their dense map (b, d, h, w), texts (t, d)."""

    image: Float[Tensor, "b d"]
    dense: Float[Tensor, "b d h w"]
    text: Float[Tensor, "t d"]


class DenseClip(nn.Module):
    """Wrap an open_clip model (bare or holding adapters) so that every learnable call is one `forward`.

    How each architecture gives dense features stands in `umgclip.model.clip.vision`. A text tower without anything to
    learn is not run twice on the same text.
    """

    def __init__(self, clip: nn.Module) -> None:
        """Take a model.

        Raises:
            InputError: its image tower has no dense features here, or it has no text tower; names what has.
        """
        super().__init__()
        self._vision = vision_encoder(getattr(clip, "visual", None))
        if hasattr(clip, "text_decoder") or not hasattr(clip, "encode_text"):
            raise InputError(
                f"model: expected open_clip's CLIP or CustomTextCLIP (ViT-B-32, ViT-B-16-SigLIP, ...), "
                f"got {type(clip).__name__}"
            )
        self.clip: Any = clip  # nn.Module types every submodule as Tensor | Module
        self._texts = TextFeatures(_TEXTS_KEPT)

    @property
    def patch_px(self) -> tuple[int, int]:
        """Height and width in pixels of what a cell of the dense map stands for."""
        return self._vision.patch_px

    @property
    def image_hw(self) -> tuple[int, int]:
        """Height and width in pixels of the images that the model was made for; others are taken too."""
        height, width = self.clip.visual.image_size
        return int(height), int(width)

    @property
    def context_length(self) -> int:
        """The length of the longest text in tokens."""
        return int(self.clip.context_length)

    @property
    def embed_dim(self) -> int:
        """The dimension of the joint embedding space."""
        return self._vision.embed_dim

    @property
    def preprocess(self) -> Preprocess:
        """Mean and deviation that images are normalised with."""
        return Preprocess.of(getattr(self.clip.visual, "preprocess_cfg", None))

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's own tokenizer, as `umgclip.model.clip.files` found it; CLIP's for a model made in memory."""
        return getattr(self.clip, "umgclip_tokenizer", None) or Tokenizer(self.context_length)

    @property
    def pairwise(self) -> Literal["softmax", "sigmoid"]:
        """The scoring of pairs: against each other by a softmax (CLIP), or each by a sigmoid (SigLIP)."""
        return "softmax" if self.clip.logit_bias is None else "sigmoid"

    def logit_scale(self) -> Float[Tensor, ""]:
        """Return the learned inverse temperature as a factor (already exponentiated).

        What a checkpoint says, as in open_clip. While a softmax learns it, it counts as 100 at most, as in CLIP.
        """
        scale = self.clip.logit_scale.exp()
        scale = scale if scale.ndim == 0 else scale.reshape(())
        learns = self.training and self.clip.logit_scale.requires_grad and self.clip.logit_bias is None
        return scale.clamp(max=100.0) if learns else scale

    def logit_bias(self) -> Float[Tensor, ""] | None:
        """Return what is added to every logit of a sigmoid; None for a softmax."""
        return None if self.clip.logit_bias is None else self.clip.logit_bias.reshape(())

    def forward(
        self,
        images: Float[Tensor, "b 3 height width"],
        tokens: Int[Tensor, "t length"],
        valid: Bool[Tensor, "b h w"] | None = None,
    ) -> ClipOutput:
        """Embed images and texts; see `ClipOutput` and `encode_image`."""
        image, dense = self.encode_image(images, valid)
        return ClipOutput(image, dense, self.encode_text(tokens))

    def encode_image(
        self, images: Float[Tensor, "b 3 height width"], valid: Bool[Tensor, "b h w"] | None = None
    ) -> tuple[Float[Tensor, "b d"], Float[Tensor, "b d h w"]]:
        """Global and dense embeddings, L2-normalised, of images whose sides are multiples of the patch.

        Args:
            images: normalised pixels.
            valid: which cells of the dense map hold image, for each image a rectangle from the top left; None: all.
                What stands elsewhere has no influence; the dense map repeats the image's edge there.

        Raises:
            InputError: a side is no multiple of the patch, or `valid` is not of the map's shape.
        """
        patch_h, patch_w = self.patch_px
        if images.shape[2] % patch_h or images.shape[3] % patch_w:
            raise InputError(f"images: expected sides in multiples of {self.patch_px}, got {tuple(images.shape[2:])}")
        if valid is None:
            return self._vision(images, None)
        expected = (images.shape[0], images.shape[2] // patch_h, images.shape[3] // patch_w)
        if tuple(valid.shape) != expected:
            raise InputError(f"valid: expected shape {expected}, got {tuple(valid.shape)}")
        image, dense = self._vision(images, valid)
        return image, repeat_edges(dense, valid)

    def encode_global(self, images: Float[Tensor, "b 3 height width"]) -> Float[Tensor, "b d"]:
        """Global embeddings of images as `encode_image` gives them, without the cost of their dense maps.

        The two differ by rounding (1e-6 in fp32): the last block computes fewer tokens at once.

        Raises:
            InputError: a side is no multiple of the patch.
        """
        patch_h, patch_w = self.patch_px
        if images.shape[2] % patch_h or images.shape[3] % patch_w or not isinstance(self._vision, OpenClipVit):
            return self.encode_image(images)[0]
        return self._vision.image_only(images)

    def encode_dense(
        self, images: Float[Tensor, "b 3 height width"], path: DensePath, valid: Bool[Tensor, "b h w"] | None = None
    ) -> Float[Tensor, "b d h w"]:
        """Dense embeddings by another path through the tower; see `umgclip.model.clip.vision.peers`.

        Raises:
            InputError: the tower has no such path.
        """
        dense = dense_by(self._vision, images, path, valid)
        return dense if valid is None else repeat_edges(dense, valid)

    def encode_foveal(
        self,
        images: Float[Tensor, "b 3 height width"],
        box_shares: Float[Tensor, "r xyxy"],
        image_of_box: Int[Tensor, "r"],
        peak: float,
        profile: Profile = "box",
    ) -> Float[Tensor, "r d"]:
        """Global embeddings of images that look at a box each; see `umgclip.model.clip.vision.peers`.

        Raises:
            InputError: the tower is not open_clip's own ViT.
        """
        return foveal(self._vision, images, box_shares, image_of_box, peak, profile)

    def encode_text(self, tokens: Int[Tensor, "t length"]) -> Float[Tensor, "t d"]:
        """Text embeddings, L2-normalised, the same as open_clip's; of a frozen tower in training from memory."""
        if self.training and not any(parameter.requires_grad for parameter in text_parameters(self.clip)):
            return self._texts(self.clip, tokens, self.embed_dim)
        if self.training and len(tokens) and has_nodes(self.clip):
            return encode_text_nodes(self.clip, tokens)
        return encode_text(self.clip, sent(tokens, self.clip.logit_scale.device), self.embed_dim)
