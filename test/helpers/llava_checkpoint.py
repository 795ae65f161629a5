"""Small random checkpoints in the layouts of LLaVA-Video and LlavaOnevision."""

import json

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import LlavaOnevisionConfig, LlavaOnevisionForConditionalGeneration

from helpers.small_model import SENTENCES
from spatial3d_ros.model.config import ModelConfig
from spatial3d_ros.model.tokens import END, START

VISION = {"image_size": 40, "patch_size": 8}  # a grid of 5, pooled to 3, as 27 becomes 14
ROWS = 512  # the table is padded beyond the tokenizer, as the public one is


def config(**parts):
    return ModelConfig(
        **{
            "name": "llava_small",
            "vision": {**VISION, "width": 16, "mlp": 32, "layers": 2, "heads": 2},
            "text": {
                "width": 24, "mlp": 48, "layers": 2, "heads": 4, "kv_heads": 2, "vocab": 99,
                "rope_theta": 5e4, "max_positions": 2048,
            },
            "s2": {"se": {"heads": 2}, "mpe": {"coord": False, "ray": False}},
            "objects": {"relation_layers": 1, "relation_hidden": 8},
            "head": {"relation_layers": 1},
        }
        | parts
    )  # fmt: skip


def random_llava():
    """Transformers' own class with random weights."""
    torch.manual_seed(0)
    model = LlavaOnevisionForConditionalGeneration(
        LlavaOnevisionConfig(
            vision_config={
                "model_type": "siglip_vision_model", **VISION, "hidden_size": 16,
                "intermediate_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2,
                "vision_use_head": True,
            },
            text_config={
                "model_type": "qwen2", "hidden_size": 24, "intermediate_size": 48,
                "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
                "vocab_size": ROWS, "rope_parameters": {"rope_type": "default", "rope_theta": 5e4},
            },
            vision_feature_layer=-2, vision_feature_select_strategy="full",
            image_token_index=1, video_token_index=2, tie_word_embeddings=False,
        )
    ).eval()  # fmt: skip
    for weight in model.parameters():  # biases and norms too, so that no mix-up goes unseen
        weight.data += 0.1 * torch.randn_like(weight)
    return model


def tokenizer(specials=("<|endoftext|>", START, END)):
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(
        SENTENCES, trainers.BpeTrainer(vocab_size=320, initial_alphabet=alphabet)
    )
    made.add_special_tokens(list(specials))
    return made


def original_name(name):
    """Transformers' name -> that of the original release."""
    for theirs, original in (
        ("language_model.lm_head.", "lm_head."),
        ("language_model.model.", "model."),
        ("vision_tower.", "model.vision_tower.vision_tower.vision_model."),
        ("multi_modal_projector.linear_1.", "model.mm_projector.0."),
        ("multi_modal_projector.linear_2.", "model.mm_projector.2."),
        ("image_newline", "model.image_newline"),
    ):
        if name.startswith(theirs):
            return original + name[len(theirs) :]
    raise AssertionError(name)


def write_checkpoint(public, folder, layout):
    """Save it with a tokenizer: `transformers` in shards, `prefixed` with its inner names in one
    file, or the `original` layout of LLaVA-Video.
    """
    tokenizer().save(str(folder / "tokenizer.json"))
    public.save_pretrained(folder, max_shard_size="30KB" if layout == "transformers" else "1GB")
    if layout == "prefixed":
        save_file(public.state_dict(), folder / "model.safetensors")
    if layout == "original":
        tensors = load_file(folder / "model.safetensors")
        kept = {original_name(k): v for k, v in tensors.items() if ".encoder.layers.2." not in k}
        save_file(kept, folder / "model.safetensors")
        text = json.loads((folder / "config.json").read_text())["text_config"]
        (folder / "config.json").write_text(json.dumps(text | {"model_type": "llava_qwen"}))
