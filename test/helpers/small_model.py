"""A network of a few thousand random weights, and scenes for it; real classes, nothing faked."""

import torch

from spatial3d_ros.model.batch import SceneBatch
from spatial3d_ros.model.config import ModelConfig
from spatial3d_ros.model.network import SpatialModel
from spatial3d_ros.research.training.tokenizer import train_tokenizer
from spatial3d_ros.tasks.prompt import Prompt

SENTENCES = ["find: where is the red chair next to the table?", "the blue lamp on the shelf"] * 20


def small_config(**parts):
    values = {
        "name": "small",
        "vision": {
            "image_size": 32, "patch_size": 8, "width": 16, "mlp": 32,
            "layers": 1, "heads": 2, "resize": "stretch",
        },
        "text": {
            "width": 24, "mlp": 48, "layers": 2, "heads": 4, "kv_heads": 2, "vocab": 600,
            "rope_theta": 1e4, "max_positions": 2048, "tie_embeddings": True,
        },
        "s2": {"se": {"heads": 2, "init": "default"}, "mpe": {"ray_hidden": 8}},
        "objects": {"relation_layers": 1, "relation_hidden": 8, "member_fraction": 0.25},
        "head": {"object_source": "hidden", "relation_layers": 1},
        "names": {"classes": ["chair", "table"], "colors": ["red", "blue"]},
    }  # fmt: skip
    return ModelConfig(**(values | parts))


def small_tokenizer():
    return train_tokenizer(SENTENCES, 600)


def small_model(seed=0, **parts):
    torch.manual_seed(seed)
    model = SpatialModel(small_config(**parts)).eval()
    for weight in model.parameters():  # zero-initialised parts must not hide mistakes
        weight.data += 0.05 * torch.randn_like(weight)
    return model, Prompt(small_tokenizer())


def small_scene(seed=0, views=3, objects=5):
    generator = torch.Generator().manual_seed(seed)
    boxes = torch.rand(1, objects, 6, generator=generator) * 3
    return SceneBatch(
        boxes=boxes + torch.tensor([0.0, 0, 0, 0.3, 0.3, 0.3]),
        object_valid=torch.ones(1, objects, dtype=torch.bool),
        pixels=torch.rand(1, views, 3, 32, 32, generator=generator) * 2 - 1,
        points=torch.rand(1, views, 32, 32, 3, generator=generator) * 4,
        valid=torch.rand(1, views, 32, 32, generator=generator) > 0.1,
        rays=torch.nn.functional.normalize(
            torch.randn(1, views, 4, 3, generator=generator), dim=-1
        ),
        view_valid=torch.ones(1, views, dtype=torch.bool),
    )
