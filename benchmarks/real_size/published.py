"""The architectures of published weights, written from their configurations, with processors of the same sizes.

A maker returns a configuration and a processor, no weights. What a configuration does not say is the default of
transformers, which is that of the model named in `WEIGHTS`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import transformers as hf
from transformers.models.sam2 import configuration_sam2 as sam2

from benchmarks.real_size.words import NUMERALS, bert_words, byte_level, clip_bpe, qwen_chat

WEIGHTS = {
    "florence2": "Florence-2-base, 768 px",
    "grounding_dino": "Grounding DINO, Swin-T, 800 px",
    "mm_grounding_dino": "MM Grounding DINO, Swin-T, 800 px",
    "owlv2": "OWLv2, B/16, 960 px",
    "detr": "DETR, R50, 800 px",
    "rt_detr_v2": "RT-DETRv2, R50, 640 px",
    "mask2former": "Mask2Former, Swin-T, COCO panoptic, 800 px",
    "sam2": "SAM 2.1, Hiera-L, 1024 px",
    "sam3": "SAM 3, 1008 px",
    "clip": "CLIP, ViT-B/16, 224 px",
    "blip2": "BLIP-2, OPT-2.7b, 224 px",
    "qwen3_vl": "Qwen3-VL-2B",
    "nsfw": "ViT-B/16 with two labels, 224 px",
}
"""The published weights that a kind is measured as."""


def _florence2() -> tuple[Any, Any]:
    tokenizer = byte_level(
        ["<s>", "<pad>", "</s>", "<unk>", "<image>", *NUMERALS],
        bos_token="<s>", pad_token="<pad>", eos_token="</s>", unk_token="<unk>",
        extra_special_tokens={"image_token": "<image>"},
    )  # fmt: skip
    images = hf.CLIPImageProcessor(size={"height": 768, "width": 768}, do_center_crop=False)
    images.image_seq_length = 577
    kinds = ("ocr", "pure_text", "polygons", "bboxes", "description_with_bboxes", "description_with_polygons",
             "description_with_bboxes_or_polygons")  # fmt: skip
    parsing: dict[str, Any] = {"phrase_grounding": {"banned_grounding_tokens": []}, **{kind: {} for kind in kinds}}
    text = dict(
        model_type="bart", vocab_size=51290, d_model=768, encoder_layers=6, decoder_layers=6, encoder_ffn_dim=3072,
        decoder_ffn_dim=3072, encoder_attention_heads=12, decoder_attention_heads=12, max_position_embeddings=1024,
        bos_token_id=0, pad_token_id=1, eos_token_id=2, decoder_start_token_id=2, forced_eos_token_id=2,
    )  # fmt: skip
    config = hf.Florence2Config(
        text_config=text,
        vision_config={"projection_dim": 768},
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
    )
    return config, hf.Florence2Processor(images, tokenizer, post_processor_config=parsing)


def _owlv2() -> tuple[Any, Any]:
    images = hf.Owlv2ImageProcessor(size={"height": 960, "width": 960})
    processor = hf.Owlv2Processor(images, clip_bpe(model_max_length=16, pad_token="!"))
    return hf.Owlv2Config(vision_config={"image_size": 960}), processor


def _detr() -> tuple[Any, Any]:
    config = hf.DetrConfig(backbone_config=hf.ResNetConfig(out_features=["stage4"]), num_labels=91)
    return config, hf.DetrImageProcessor()


def _mask2former() -> tuple[Any, Any]:
    backbone = hf.SwinConfig(out_features=["stage1", "stage2", "stage3", "stage4"])
    config = hf.Mask2FormerConfig(backbone_config=backbone, num_labels=133)
    return config, hf.Mask2FormerImageProcessor(size={"shortest_edge": 800, "longest_edge": 1333})


def _sam2() -> tuple[Any, Any]:
    backbone = sam2.Sam2HieraDetConfig(
        hidden_size=144, num_attention_heads=2, blocks_per_stage=[2, 6, 36, 4],
        embed_dim_per_stage=[144, 288, 576, 1152], num_attention_heads_per_stage=[2, 4, 8, 16],
        window_size_per_stage=[8, 4, 16, 8], global_attention_blocks=[23, 33, 43],
    )  # fmt: skip
    vision = sam2.Sam2VisionConfig(backbone_config=backbone, backbone_channel_list=[1152, 576, 288, 144])
    return sam2.Sam2Config(vision_config=vision), hf.Sam2Processor(hf.Sam2ImageProcessor())


def _blip2() -> tuple[Any, Any]:
    tokenizer = byte_level(
        ["<pad>", "<s>", "</s>", "<unk>", "<image>"],
        bos_token="<s>", pad_token="<pad>", eos_token="</s>", unk_token="<unk>",
    )  # fmt: skip
    text = dict(
        model_type="opt", vocab_size=50304, hidden_size=2560, num_hidden_layers=32, num_attention_heads=32,
        ffn_dim=10240, word_embed_proj_dim=2560, pad_token_id=0, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    config = hf.Blip2Config(text_config=text, image_token_index=tokenizer.convert_tokens_to_ids("<image>"))
    images = hf.BlipImageProcessor(size={"height": 224, "width": 224})
    return config, hf.Blip2Processor(images, tokenizer, num_query_tokens=32)


def _qwen3_vl() -> tuple[Any, Any]:
    tokenizer, template = qwen_chat()
    processor = hf.Qwen3VLProcessor(
        image_processor=hf.Qwen2VLImageProcessor(patch_size=16, min_pixels=65_536, max_pixels=16_777_216),
        tokenizer=tokenizer,
        video_processor=hf.Qwen3VLVideoProcessor(patch_size=16),
        chat_template=template,
    )
    rope = {"rope_type": "default", "mrope_section": [24, 20, 20], "mrope_interleaved": True, "rope_theta": 5_000_000.0}
    text = dict(
        vocab_size=151_936, hidden_size=2048, intermediate_size=6144, num_hidden_layers=28, num_attention_heads=16,
        num_key_value_heads=8, head_dim=128, rope_parameters=rope, pad_token_id=0, eos_token_id=2,
        tie_word_embeddings=True,
    )  # fmt: skip
    vision = dict(
        depth=24, hidden_size=1024, num_heads=16, intermediate_size=4096, out_hidden_size=2048,
        deepstack_visual_indexes=[5, 11, 17],
    )  # fmt: skip
    config = hf.Qwen3VLConfig(
        text_config=text, vision_config=vision, tie_word_embeddings=True, image_token_id=5, video_token_id=6,
        vision_start_token_id=3, vision_end_token_id=4,
    )  # fmt: skip
    return config, processor


MAKERS: dict[str, Callable[[], tuple[Any, Any]]] = {
    "florence2": _florence2,
    "grounding_dino": lambda: (
        hf.GroundingDinoConfig(), hf.GroundingDinoProcessor(hf.GroundingDinoImageProcessor(), bert_words())
    ),
    "mm_grounding_dino": lambda: (
        hf.MMGroundingDinoConfig(), hf.GroundingDinoProcessor(hf.GroundingDinoImageProcessor(), bert_words())
    ),
    "owlv2": _owlv2,
    "detr": _detr,
    "rt_detr_v2": lambda: (hf.RTDetrV2Config(num_labels=80), hf.RTDetrImageProcessor()),
    "mask2former": _mask2former,
    "sam2": _sam2,
    "sam3": lambda: (hf.Sam3Config(), hf.Sam3Processor(hf.Sam3ImageProcessor(), clip_bpe(model_max_length=32))),
    "clip": lambda: (
        hf.CLIPConfig(vision_config={"patch_size": 16}),
        hf.CLIPProcessor(hf.CLIPImageProcessor(), clip_bpe(model_max_length=77)),
    ),
    "blip2": _blip2,
    "qwen3_vl": _qwen3_vl,
    "nsfw": lambda: (
        hf.ViTConfig(id2label={0: "normal", 1: "nsfw"}, label2id={"normal": 0, "nsfw": 1}), hf.ViTImageProcessor()
    ),
}  # fmt: skip
