"""Memory that a network needs, computed before it is loaded from the shapes of its weights on the
meta device.

    weights     every parameter in the format of `model/quantize.py`: exact
    scene       keys and values of the scene prefix, exact, and the cached tensors of each view
    passes      largest number of bytes allocated during a pass: the formulas below, upper bounds

With V views of P patches and S x S pixels, vision width C, decoder width D and MLP width M, N
objects of c tokens, Q questions of L positions in all, prefix length T, b bytes a number:

    vision      one view:  P (8 C + 2 M_vision) 4 + 12 S^2, or with `stem: conv`
                S^2 C + 32 P C + 12 S^2
    structure   all views: 48 V P C
    place       all views: 32 V P D                        projector, coordinate code, their sum
    objects     40 V S^2 + 26 N V P + 8 V P D + 2^21       points and colors by patch; box by patch
                and with `objects.channels` 20 k V S^2 + 5120 N D, k - 1 color names
    prefix      T (6 D + 3 M) 4
    question    Q (L (6 D + 3 M) 4 + h L (T + L) (8 + b))  h heads
    referents   with `psa`; m seeds and R referents of width d, t of them in the sequence:
                patches   V P (5 d + 16) 4      or, with `source: points`,
                points    V S^2 64 + 128 m (2 d + 20) 4
                stages    (12 m d + R (100 d + 1000) + 60 R^2 + h R m) 4
                tokens    (4 N d + 6 (t + N) D) 4
              the larger of the first two and stages, and tokens

The prefix runs through the fused causal kernel, which never stores the attention scores; a question
may store its own, twice in float32 and once in b bytes. int8 adds M D b to both, because a layer's
weights are dequantised while it runs. A refresh and a question may run at the same time, and a
refresh builds a second prefix while the old one is in use: the total counts both.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import nn

from spatial3d_ros.errors import ConfigError
from spatial3d_ros.model.config import ModelConfig, named_config
from spatial3d_ros.model.network import SpatialModel
from spatial3d_ros.model.object_points import POINTS
from spatial3d_ros.model.quantize import Weights, is_quantised, stored_dtype, weight_bytes

GIB = 2**30
QUESTIONS = 2  # phrases in one pass: a distance has two
QUESTION_LENGTH = 64  # positions of a question before and after the objects
PROMPT_LENGTH = 40  # positions of the fixed text around the views
UNIFIED, CARD = 0.75, 0.9
"""Fraction of memory available to the network: unified memory also holds the operating system, ROS
and camera drivers; a graphics card also the display and the CUDA context.
"""
COMPUTERS = {
    "Orin Nano 8 GB": 8 * UNIFIED,
    "Orin AGX 64 GB": 64 * UNIFIED,
    "Thor 128 GB": 128 * UNIFIED,
    "desktop card 24 GB": 24 * CARD,
}
FORMATS: dict[str, Weights] = {"bfloat16": "auto", "int8": "int8", "int4": "int4"}


@dataclass(frozen=True)
class Budget:
    """Bytes by part: the network's `weights`, the cached `scene`, the peaks of the `passes`."""

    weights: dict[str, int]
    scene: dict[str, int]
    passes: dict[str, int]

    @property
    def working(self) -> int:
        """Bytes of the largest refresh, its second prefix, and a question at the same time."""
        refresh = max(value for name, value in self.passes.items() if name != "question")
        return refresh + self.scene["prefix"] + self.passes["question"]

    @property
    def total(self) -> int:
        """Peak number of bytes."""
        return sum(self.weights.values()) + sum(self.scene.values()) + self.working


def estimate(
    config: ModelConfig,
    *,
    views: int,
    dtype: torch.dtype,
    weights: Weights = "auto",
    objects: int | None = None,
    questions: int = QUESTIONS,
    question_length: int = QUESTION_LENGTH,
    prompt_length: int = PROMPT_LENGTH,
) -> Budget:
    """Memory of the network with this number of `views` and `objects` (None: its maximum).

    `question_length` and `prompt_length` are positions in the sequence, of one question and of the
    fixed text around the views.
    """
    objects = config.objects.max_objects if objects is None else objects
    referents = config.psa.max_tokens if config.psa.enabled else 0
    length = prompt_length + views * view_tokens(config) + referents
    prefix = length * _prefix_bytes(config, dtype)
    vision, text, item = config.vision, config.text, dtype.itemsize
    patches, pixels, float32 = vision.grid**2, vision.image_size**2, torch.float32.itemsize
    block = 6 * text.width + 3 * text.mlp
    positions = objects * config.tokens_per_object + question_length
    dequantised = text.mlp * text.width * item if weights == "int8" else 0
    scores = text.heads * (length + positions) * (2 * float32 + item)
    return Budget(
        weights=_weights(config, dtype, weights),
        scene={
            "prefix": prefix,
            "views": views * (patches * vision.width * float32 + pixels * (6 * float32 + 1)),
            "referents": _kept_referents(config, objects),
        },
        passes={
            "vision": _vision(config),
            "structure": 12 * views * patches * vision.width * float32,
            "place": 8 * views * patches * text.width * float32,
            "objects": views * (40 * pixels + 26 * objects * patches)
            + 2 * views * patches * text.width * float32
            + _channels(config, views, objects)
            + 2**21,
            "referents": _referents(config, views, objects),
            "prefix": length * block * float32 + dequantised,
            "question": questions * positions * (block * float32 + scores) + dequantised,
        },
    )


def _vision(config: ModelConfig) -> int:
    """Bytes of the pass of one view through the tower."""
    vision, float32 = config.vision, torch.float32.itemsize
    patches, pixels = vision.grid**2, vision.image_size**2
    if vision.stem == "conv":  # the first convolution has a quarter of the pixels
        return (vision.width * pixels // 4 + 8 * patches * vision.width + 3 * pixels) * float32
    return (patches * (8 * vision.width + 2 * vision.mlp) + 3 * pixels) * float32


def _channels(config: ModelConfig, views: int, objects: int) -> int:
    """Bytes of color names of all pixels, points of objects and their encoder."""
    if not config.objects.channels:
        return 0
    shades, pixels = len(config.names.colors) + 1, views * config.vision.image_size**2
    points = objects * POINTS * 5 * config.text.width
    return (5 * shades * pixels + points) * torch.float32.itemsize


def _kept_referents(config: ModelConfig, objects: int) -> int:
    """Bytes of the referents of a scene, their seeds, and the objects' referent tokens."""
    psa, float32 = config.psa, torch.float32.itemsize
    if not psa.enabled:
        return 0
    tokens = config.object_tokens == "object+referent" and config.objects.identifier == "token"
    seeds = psa.seeds * ((psa.width + 6) * float32 + 1)
    referents = psa.referents * ((psa.width + 10) * float32 + 1) + psa.context * psa.width * float32
    return seeds + referents + tokens * objects * config.text.width * float32


def _referents(config: ModelConfig, views: int, objects: int) -> int:
    """Bytes of the pass from patches or points to referents and their tokens."""
    psa, vision, wide = config.psa, config.vision, config.text.width
    if not psa.enabled:
        return 0
    if psa.source == "patches":
        source = views * vision.grid**2 * (5 * psa.width + 16)
    else:
        source = views * vision.image_size**2 * 16 + 128 * psa.seeds * (2 * psa.width + 20)
    stages = 12 * psa.seeds * psa.width + psa.referents * (100 * psa.width + 1000)
    stages += psa.referents * (60 * psa.referents + psa.heads * psa.seeds)
    tokens = 4 * objects * psa.width + 6 * (psa.max_tokens + objects) * wide
    return (max(source, stages) + tokens) * torch.float32.itemsize


def view_tokens(config: ModelConfig) -> int:
    """Tokens of one view in the sequence: its pooled tokens and a newline token after each row."""
    return config.pooled_grid * (config.pooled_grid + 1)


def _prefix_bytes(config: ModelConfig, dtype: torch.dtype) -> int:
    """Bytes of the keys and values of one position in all layers."""
    text = config.text
    return 2 * text.layers * text.kv_heads * (text.width // text.heads) * dtype.itemsize


@cache
def _weights(config: ModelConfig, dtype: torch.dtype, weights: Weights) -> dict[str, int]:
    with torch.device("meta"):
        model = SpatialModel(config)
    layers = {
        f"{name}.weight": module
        for name, module in model.named_modules()
        if is_quantised(name, module)
    }
    parts: dict[str, int] = defaultdict(int)
    for name, weight in model.named_parameters():
        stored = stored_dtype(name, weight, dtype)
        layer: nn.Linear | None = layers.get(name)
        parts[_part(name)] += (
            weight.numel() * stored.itemsize
            if layer is None
            else weight_bytes(layer, weights, stored.itemsize)
        )
    return dict(parts)


def _part(name: str) -> str:
    if re.search(r"embed_tokens|lm_head", name):
        return "vocabulary"
    tower = name.split(".")[0]
    return tower if tower in ("vision", "decoder") else "our parts"


def free_bytes(device: torch.device) -> int | None:
    """Free bytes on a device; None if unknown.

    With memory shared between GPU and CPU, pages of the file cache count as free.
    """
    if device.type == "cuda":
        free = torch.cuda.mem_get_info(device)[0]
        shared = torch.cuda.get_device_properties(device).is_integrated
        return max(free, _available() or 0) if shared else free
    return _available() if device.type == "cpu" else None


def _available() -> int | None:
    try:
        found = re.search(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text())
    except OSError:
        return None
    return int(found[1]) * 1024 if found else None


def require_memory(
    config: ModelConfig, device: torch.device, dtype: torch.dtype, weights: Weights, views: int
) -> None:
    """Raise ConfigError if the network does not fit into the free memory of the device. The message
    lists required and free memory, and settings that fit.
    """
    free = free_bytes(device)
    required = estimate(config, views=views, dtype=dtype, weights=weights)
    if free is None or required.total <= free:
        return
    remedies = [f"{(required.total - free) / GIB:.1f} GiB more free"]
    for text, tried_weights, tried_views in (
        (f"max_views: {max(1, views // 2)}", weights, max(1, views // 2)),
        ("weights: int8", "int8", views),
        ("weights: int4", "int4", views),
        ("weights: int4 with max_views: 8", "int4", 8),
    ):
        supported = tried_weights != "int4" or (device.type == "cuda" and dtype == torch.bfloat16)
        tried = estimate(config, views=tried_views, dtype=dtype, weights=tried_weights)
        if supported and tried.total <= free:
            remedies.append(f"{text} ({tried.total / GIB:.1f} GiB)")
    name = str(dtype).removeprefix("torch.")
    raise ConfigError(
        f"model '{config.name}' needs {required.total / GIB:.1f} GiB on {device} ({name}, weights: "
        f"{weights}, {views} views: weights {sum(required.weights.values()) / GIB:.1f}, scene "
        f"{sum(required.scene.values()) / GIB:.1f}, work {required.working / GIB:.1f}), but "
        f"{free / GIB:.1f} GiB are free. Options: {', '.join(remedies)}, or a smaller model"
    )


def memory_table(model: str, views: tuple[int, ...] = (8, 16, 32)) -> dict[str, Any]:
    """Memory of a configuration (a name or a YAML file) for each weight format and number of views,
    in GiB, and the computers on which it fits.
    """
    config = named_config(model)
    rows = []
    for name, weights in FORMATS.items():
        for count in views:
            budget = estimate(config, views=count, dtype=torch.bfloat16, weights=weights)
            total = budget.total / GIB
            rows.append(
                {
                    "weights": name,
                    "views": count,
                    "gib": {
                        "weights": sum(budget.weights.values()) / GIB,
                        "scene": sum(budget.scene.values()) / GIB,
                        "work": budget.working / GIB,
                        "total": total,
                    },
                    "parts_bytes": asdict(budget),
                    "fits": {computer: total <= usable for computer, usable in COMPUTERS.items()},
                }
            )
    return {"model": config.name, "usable_gib": COMPUTERS, "rows": rows}
