"""A tiny model with random weights and a processor of every kind, as transformers writes real ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import transformers as hf
from transformers.models.sam2 import configuration_sam2 as sam2
from transformers.models.sam3 import configuration_sam3 as sam3

from benchmarks.real_size.words import NUMERALS, bert_words, byte_level, clip_bpe, qwen_chat

Made = tuple[Any, Any]


def _florence2() -> Made:
    tokenizer = byte_level(
        ["<s>", "<pad>", "</s>", "<unk>", "<image>", *NUMERALS],
        bos_token="<s>", pad_token="<pad>", eos_token="</s>", unk_token="<unk>",
        extra_special_tokens={"image_token": "<image>"},
    )  # fmt: skip
    images = hf.CLIPImageProcessor(size={"height": 64, "width": 64}, do_center_crop=False)
    images.image_seq_length = 5
    parsing = {"phrase_grounding": {"banned_grounding_tokens": ["it"]}}
    kinds = ("ocr", "pure_text", "polygons", "bboxes", "description_with_bboxes", "description_with_polygons",
             "description_with_bboxes_or_polygons")  # fmt: skip
    processor = hf.Florence2Processor(images, tokenizer, post_processor_config=parsing | {kind: {} for kind in kinds})
    text = dict(
        model_type="bart", vocab_size=len(tokenizer), max_position_embeddings=256, encoder_layers=1, decoder_layers=1,
        encoder_ffn_dim=16, decoder_ffn_dim=16, encoder_attention_heads=1, decoder_attention_heads=1, d_model=16,
        bos_token_id=0, pad_token_id=1, eos_token_id=2, decoder_start_token_id=2, forced_eos_token_id=2,
    )  # fmt: skip
    vision = dict(
        depths=[1], patch_size=[7], patch_stride=[32], patch_padding=[3], patch_prenorm=[False], embed_dim=[16],
        num_heads=[1], num_groups=[1], window_size=12, projection_dim=16,
    )  # fmt: skip
    config = hf.Florence2Config(
        text_config=text, vision_config=vision, image_token_id=tokenizer.convert_tokens_to_ids("<image>")
    )
    return hf.Florence2ForConditionalGeneration(config), processor


def _grounding(prefix: str) -> Made:
    images = hf.GroundingDinoImageProcessor(size={"shortest_edge": 96, "longest_edge": 128})
    config = getattr(hf, prefix + "Config")(
        d_model=32, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4, decoder_attention_heads=4,
        encoder_ffn_dim=16, decoder_ffn_dim=16, num_queries=10, num_feature_levels=4, encoder_n_points=2,
        decoder_n_points=2, max_text_len=24,
        backbone_config=hf.SwinConfig(
            window_size=7, embed_dim=8, depths=[1] * 4, num_heads=[1] * 4, image_size=96, out_indices=[2, 3, 4]
        ),
        text_config=dict(
            model_type="bert", vocab_size=1200, hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
            intermediate_size=8, max_position_embeddings=64,
        ),
    )  # fmt: skip
    return getattr(hf, prefix + "ForObjectDetection")(config), hf.GroundingDinoProcessor(images, bert_words())


def _owlv2() -> Made:
    layer = dict(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2)
    config = hf.Owlv2Config(
        text_config=dict(vocab_size=49408, max_position_embeddings=16, **layer),
        vision_config=dict(image_size=64, patch_size=16, **layer),
        projection_dim=16,
    )
    images = hf.Owlv2ImageProcessor(size={"height": 64, "width": 64})
    model = hf.Owlv2ForObjectDetection(config)
    with torch.no_grad():  # or random boxes are far outside of the image
        model.box_head.dense2.weight.mul_(1.0e-3)
    return model, hf.Owlv2Processor(images, clip_bpe(model_max_length=16, pad_token="!"))


def _sam2() -> Made:
    backbone = sam2.Sam2HieraDetConfig(
        hidden_size=12, num_channels=3, image_size=[128, 128], patch_kernel_size=[7, 7], patch_stride=[4, 4],
        patch_padding=[3, 3], blocks_per_stage=[1, 2, 7, 2], embed_dim_per_stage=[12, 24, 48, 96],
        num_attention_heads=1, num_attention_heads_per_stage=[1, 2, 4, 8],
        window_positional_embedding_background_size=[7, 7], window_size_per_stage=[8, 4, 14, 7],
        global_attention_blocks=[5, 7, 9],
    )  # fmt: skip
    vision = sam2.Sam2VisionConfig(
        backbone_config=backbone, backbone_channel_list=[96, 48, 24, 12],
        backbone_feature_sizes=[[32, 32], [16, 16], [8, 8]], fpn_hidden_size=32,
    )  # fmt: skip
    config = sam2.Sam2Config(
        vision_config=vision,
        prompt_encoder_config=sam2.Sam2PromptEncoderConfig(
            hidden_size=32, image_size=128, patch_size=16, mask_input_channels=16
        ),
        mask_decoder_config=sam2.Sam2MaskDecoderConfig(
            hidden_size=32, mlp_dim=32, num_hidden_layers=2, num_attention_heads=2, iou_head_hidden_dim=32
        ),
        memory_attention_hidden_size=32, memory_encoder_hidden_size=32, image_size=128,
    )  # fmt: skip
    images = hf.Sam2ImageProcessor(size={"height": 128, "width": 128}, mask_size={"height": 32, "width": 32})
    return hf.Sam2Model(config), hf.Sam2Processor(images)


def _sam3() -> Made:
    layer = dict(hidden_size=32, intermediate_size=64, num_attention_heads=4)
    backbone = sam3.Sam3ViTConfig(
        num_hidden_layers=2, image_size=112, patch_size=14, window_size=4, global_attn_indexes=[1],
        pretrain_image_size=56, **layer,
    )  # fmt: skip
    config = sam3.Sam3Config(
        vision_config=sam3.Sam3VisionConfig(
            backbone_config=backbone, fpn_hidden_size=32, backbone_feature_sizes=[[32, 32], [16, 16], [8, 8]]
        ),
        text_config=dict(
            vocab_size=49408, projection_dim=32, num_hidden_layers=1, max_position_embeddings=32, hidden_act="gelu",
            **layer,
        ),
        geometry_encoder_config=sam3.Sam3GeometryEncoderConfig(num_layers=1, **layer),
        detr_encoder_config=sam3.Sam3DETREncoderConfig(num_layers=1, **layer),
        detr_decoder_config=sam3.Sam3DETRDecoderConfig(num_layers=1, num_queries=5, **layer),
        mask_decoder_config=sam3.Sam3MaskDecoderConfig(hidden_size=32, num_attention_heads=4),
    )  # fmt: skip
    images = hf.Sam3ImageProcessor(size={"height": 112, "width": 112}, mask_size={"height": 32, "width": 32})
    model = hf.Sam3Model(config)
    with torch.no_grad():  # or all words and queries would get nearly the same answer
        for weight in model.parameters():
            weight.mul_(4.0 if weight.ndim > 1 else 1.0)
    return model, hf.Sam3Processor(images, clip_bpe(model_max_length=32))


def _blip2() -> Made:
    tokenizer = byte_level(
        ["<pad>", "<s>", "</s>", "<unk>", "<image>"],
        bos_token="<s>", pad_token="<pad>", eos_token="</s>", unk_token="<unk>",
    )  # fmt: skip
    images = hf.BlipImageProcessor(size={"height": 32, "width": 32})
    layer = dict(hidden_size=16, intermediate_size=16, num_attention_heads=2)
    config = hf.Blip2Config(
        vision_config=dict(num_hidden_layers=1, image_size=32, patch_size=16, **layer),
        qformer_config=dict(
            vocab_size=300, num_hidden_layers=2, encoder_hidden_size=16, cross_attention_frequency=1, **layer
        ),
        text_config=dict(model_type="opt", vocab_size=len(tokenizer) + 8, hidden_size=16, num_hidden_layers=1,
             num_attention_heads=2, ffn_dim=16, max_position_embeddings=64, word_embed_proj_dim=16, pad_token_id=0,
             bos_token_id=1, eos_token_id=2),
        num_query_tokens=4, image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
    )  # fmt: skip
    return hf.Blip2ForConditionalGeneration(config), hf.Blip2Processor(images, tokenizer, num_query_tokens=4)


def _qwen3_vl() -> Made:
    tokenizer, template = qwen_chat()
    processor = hf.Qwen3VLProcessor(
        image_processor=hf.Qwen2VLImageProcessor(
            patch_size=16, temporal_patch_size=2, merge_size=2, min_pixels=32 * 32, max_pixels=64 * 64
        ),
        tokenizer=tokenizer,
        video_processor=hf.Qwen3VLVideoProcessor(patch_size=16, temporal_patch_size=2, merge_size=2),
        chat_template=template,
    )
    rope = {"rope_type": "default", "mrope_section": [2, 1, 1], "mrope_interleaved": True, "rope_theta": 10000.0}
    config = hf.Qwen3VLConfig(
        text_config=dict(vocab_size=len(tokenizer) + 16, hidden_size=32, intermediate_size=32, num_hidden_layers=2,
             num_attention_heads=4, num_key_value_heads=2, head_dim=8, max_position_embeddings=512,
             rope_parameters=rope, pad_token_id=0, eos_token_id=2),
        vision_config=dict(depth=2, hidden_size=32, intermediate_size=32, num_heads=4, patch_size=16,
             temporal_patch_size=2,
             spatial_merge_size=2, out_hidden_size=32, num_position_embeddings=16, deepstack_visual_indexes=[0, 1]),
        image_token_id=5, video_token_id=6, vision_start_token_id=3, vision_end_token_id=4,
    )  # fmt: skip
    return hf.Qwen3VLForConditionalGeneration(config), processor


def _mask2former() -> Made:
    names = {0: "cat", 1: "dog", 2: "wall-other-merged", 3: "sand"}
    config = hf.Mask2FormerConfig(
        backbone_config=hf.SwinConfig(
            embed_dim=16, depths=[1] * 4, num_heads=[1] * 4, window_size=4, image_size=64,
            out_features=["stage1", "stage2", "stage3", "stage4"],
        ),
        hidden_dim=32, feature_size=32, mask_feature_size=32, encoder_layers=1, decoder_layers=2,
        num_attention_heads=2, dim_feedforward=16, encoder_feedforward_dim=16, num_queries=5, id2label=names,
        label2id={name: i for i, name in names.items()},
    )  # fmt: skip
    images = hf.Mask2FormerImageProcessor(size={"height": 64, "width": 64}, ignore_index=255)
    return hf.Mask2FormerForUniversalSegmentation(config), images


NAMES = {"id2label": {0: "cat", 1: "dog"}, "label2id": {"cat": 0, "dog": 1}}


def _detr() -> Made:
    backbone = hf.ResNetConfig(
        num_channels=3, embedding_size=8, hidden_sizes=[8] * 4, depths=[1] * 4, out_features=["stage4"]
    )
    config = hf.DetrConfig(
        backbone_config=backbone, d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=16, decoder_ffn_dim=16, num_queries=6, **NAMES,
    )  # fmt: skip
    return hf.DetrForObjectDetection(config), hf.DetrImageProcessor(size={"shortest_edge": 64, "longest_edge": 96})


def _rt_detr_v2() -> Made:
    backbone = hf.RTDetrResNetConfig(
        embedding_size=8, hidden_sizes=[8, 8, 16, 16], depths=[1] * 4, layer_type="basic",
        out_features=["stage2", "stage3", "stage4"], out_indices=[2, 3, 4],
    )  # fmt: skip
    config = hf.RTDetrV2Config(
        backbone_config=backbone, encoder_hidden_dim=16, encoder_in_channels=[8, 16, 16], feat_strides=[8, 16, 32],
        encoder_ffn_dim=16, encoder_attention_heads=2, d_model=16, num_queries=6, decoder_in_channels=[16, 16, 16],
        decoder_ffn_dim=16, decoder_layers=2, decoder_attention_heads=2, num_denoising=0, **NAMES,
    )  # fmt: skip
    return hf.RTDetrV2ForObjectDetection(config), hf.RTDetrImageProcessor(size={"height": 64, "width": 64})


def _clip() -> Made:
    layer = dict(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2)
    text = dict(vocab_size=49408, max_position_embeddings=77, eos_token_id=49407, bos_token_id=49406, **layer)
    config = hf.CLIPConfig(
        text_config=text, vision_config=dict(image_size=32, patch_size=16, **layer), projection_dim=16
    )
    images = hf.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    return hf.CLIPModel(config), hf.CLIPProcessor(images, clip_bpe(model_max_length=77))


def _siglip2() -> Made:
    layer = dict(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2)
    text = dict(vocab_size=300, max_position_embeddings=64, projection_size=16, **layer)
    config = hf.Siglip2Config(text_config=text, vision_config=dict(patch_size=16, num_patches=16, **layer))
    tokenizer = byte_level(
        ["<pad>", "<eos>", "<unk>"], pad_token="<pad>", eos_token="<eos>", unk_token="<unk>", model_max_length=64
    )
    images = hf.Siglip2ImageProcessor(patch_size=16, max_num_patches=16)
    return hf.Siglip2Model(config), hf.Siglip2Processor(images, tokenizer)


def _vit() -> Made:
    names = {0: "normal", 1: "nsfw"}
    layer = dict(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2)
    config = hf.ViTConfig(
        image_size=32, patch_size=16, id2label=names, label2id={name: i for i, name in names.items()}, **layer
    )
    return hf.ViTForImageClassification(config), hf.ViTImageProcessor(size={"height": 32, "width": 32})


MAKERS: dict[str, Callable[[], Made]] = {
    "florence2": _florence2, "grounding_dino": lambda: _grounding("GroundingDino"),
    "mm_grounding_dino": lambda: _grounding("MMGroundingDino"), "owlv2": _owlv2, "sam2": _sam2, "sam3": _sam3,
    "blip2": _blip2, "qwen3_vl": _qwen3_vl, "mask2former": _mask2former, "detr": _detr, "rt_detr_v2": _rt_detr_v2,
    "clip": _clip, "siglip2": _siglip2, "vit": _vit,
}  # fmt: skip
