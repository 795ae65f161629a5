"""What a training run will cost, before it starts: memory of one GPU by part, time of a step, days.

Parameters, gradients and optimiser states are counted on the meta device and exact. Activations and
time are estimates, for B scenes a step and GPU, of V views with P patches, T positions of a scene,
and Q questions of L positions with the objects; C, D widths, M widths of the MLPs, b = 2 bytes:

    towers      with checkpointing, each layer keeps its input (positions * width * b) and one layer
                is computed again: positions (8 width + 3 M) b; without, all layers keep that
    structure   20 B V P C b;  projector and codes  6 B V P D b;  guidance  16 B V P width b a layer
    logits      labelled positions * vocabulary * 12

Time is the number of operations, 2 for each weight and position, once forward, once for gradients
of inputs, once for those of trained weights, and once more for checkpointed towers, divided by
UTILISATION of the card's peak.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from spatial3d_ros.errors import ConfigError
from spatial3d_ros.model.budget import GIB, QUESTION_LENGTH, view_tokens
from spatial3d_ros.model.config import ModelConfig, load_config
from spatial3d_ros.model.network import SpatialModel
from spatial3d_ros.research.training.config import TrainConfig
from spatial3d_ros.research.training.presets import apply_preset, load_preset
from spatial3d_ros.research.training.reconstruction import build_guidance

UTILISATION = 0.4
CARDS = {  # GiB, dense bf16 operations a second / 1e12, from the makers' data sheets
    "A100": (80, 312), "H100": (80, 989), "H200": (141, 989), "L40S": (48, 362),
    "RTX4090": (24, 165),
}  # fmt: skip
OBJECTS, ANSWER = 40, 8  # of a scene; labelled tokens of an answer
_HALF, _FLOAT = 2, 4


@dataclass(frozen=True)
class Plan:
    """bytes: of one GPU by part. seconds: of a step on `card`. days: of all steps."""

    card: str
    cards: int
    bytes: dict[str, int]
    operations: float
    seconds: float
    days: float

    @property
    def gib(self) -> float:
        """Memory of one GPU."""
        return sum(self.bytes.values()) / GIB

    @property
    def fits(self) -> bool:
        """Whether 92 % of the card, the rest being the CUDA context, are enough."""
        return self.gib <= 0.92 * CARDS[self.card][0]

    def json(self) -> dict[str, Any]:
        """Everything as plain data."""
        return asdict(self) | {"gib": self.gib, "fits": self.fits}


def plan(config: TrainConfig, card: str = "H100", cards: int = 1, sharded: bool = False) -> Plan:
    """The cost of a run on `cards` GPUs. sharded: weights, gradients and states are distributed
    (FSDP). Raises ConfigError for an unknown card and a run without views.
    """
    if card not in CARDS:
        raise ConfigError(f"card: '{card}' is unknown; use {', '.join(CARDS)}")
    views, rooms, questions = _work(config)
    scenes = -(-rooms // cards)
    recipe = load_preset(config.preset)
    shape = recipe.configure(load_config(config.model)).trained_for(config.tasks)
    with torch.device("meta"):
        parts = {"model": SpatialModel(shape), "guidance": build_guidance(shape)}
        network = nn.ModuleDict({name: part for name, part in parts.items() if part is not None})
        apply_preset(network, recipe)
    counts = _counts(network)
    split = cards if sharded else 1
    trained = sum(n for (_, learns), n in counts.items() if learns)
    # Public weights are read in bfloat16; trained tensors and the branch of guidance are float32.
    frozen = sum(
        n * (_FLOAT if part == "guidance" or config.init is None else _HALF)
        for (part, learns), n in counts.items()
        if not learns
    )
    state = 8 if config.optimizer_bits == 32 else 2
    micro = -(-scenes // config.accumulate)
    memory = {
        "frozen weights": frozen // split,
        "trained weights": trained * _FLOAT // split,
        "gradients": trained * _FLOAT // split,
        "optimiser states": trained * state // split,
        **_activations(config, shape, views, micro, questions),
    }
    operations = _operations(config, shape, counts, views, scenes, questions)
    seconds = operations / (CARDS[card][1] * 1e12 * UTILISATION)
    days = seconds * config.steps / 86400
    return Plan(card, cards, memory, operations, seconds, days)


def _work(config: TrainConfig) -> tuple[int, int, int]:
    """Views of a scene, scenes of a step, questions of a scene."""
    if config.scans.batch:
        answers = config.scans.questions * bool(config.scans.train.tasks)
        return config.scans.views, config.scans.batch, config.scans.questions + 2 * answers
    if config.rendered.batch:
        return config.rendered.views, config.rendered.batch, config.rendered.questions
    raise ConfigError("plan: the run has no scenes with views (scans.batch, rendered.batch)")


def _counts(network: nn.Module) -> dict[tuple[str, bool], int]:
    """Parameters by part and by whether they are trained."""
    counts: dict[tuple[str, bool], int] = defaultdict(int)
    for name, parameter in network.named_parameters():
        counts[_part(name), parameter.requires_grad] += parameter.numel()
    return counts


def _part(name: str) -> str:
    for part, pattern in {
        "guidance": r"guidance\.",
        "vision": r"model\.vision\.",
        "embeddings": r"model\.decoder\.(qwen\.embed_tokens|lm_head)",
        "decoder": r"model\.decoder\.",
        "structure": r"model\.(structure|projector)\.",
    }.items():
        if re.match(pattern, name):
            return part
    return "ours"


def _positions(shape: ModelConfig, views: int, scenes: int, questions: int) -> tuple[int, int]:
    """Positions of the scenes, and of the questions with their objects."""
    per_question = OBJECTS * shape.tokens_per_object + QUESTION_LENGTH
    return scenes * views * view_tokens(shape), scenes * questions * per_question


def _activations(
    config: TrainConfig, shape: ModelConfig, views: int, scenes: int, questions: int
) -> dict[str, int]:
    vision, text, sg = shape.vision, shape.text, shape.s2.sg
    patches = scenes * views * vision.grid**2
    bytes_ = _FLOAT if config.precision == "no" else _HALF
    scene, asked = _positions(shape, views, scenes, questions)
    only_guidance = config.preset == "guidance"

    def tower(positions: int, width: int, mlp: int, layers: int) -> int:
        whole = positions * (8 * width + 3 * mlp)
        kept = positions * width * layers + whole if config.checkpointing else whole * layers
        return kept * bytes_

    return {
        "vision": 0 if only_guidance else tower(patches, vision.width, vision.mlp, vision.layers),
        "structure and projector": patches * (20 * vision.width + 6 * text.width) * bytes_,
        "guidance": 16 * patches * sg.width * sg.layers * bytes_ if sg.enabled else 0,
        "decoder": 0 if only_guidance else tower(scene + asked, text.width, text.mlp, text.layers),
        "logits": 0 if only_guidance else 12 * scenes * questions * ANSWER * text.vocab,
    }


def _operations(
    config: TrainConfig,
    shape: ModelConfig,
    counts: dict[tuple[str, bool], int],
    views: int,
    scenes: int,
    questions: int,
) -> float:
    vision, text = shape.vision, shape.text
    patches = scenes * views * vision.grid**2
    scene, asked = _positions(shape, views, scenes, questions)
    recomputed = float(config.checkpointing)
    only_guidance = config.preset == "guidance"

    def dense(part: str, positions: int, again: float) -> float:
        whole = counts[part, True] + counts[part, False]
        if not whole or (only_guidance and part != "guidance"):
            return 2.0 * whole * positions * (part in ("vision", "structure"))
        return 2.0 * positions * (whole * (2 + again) + counts[part, True])

    length = views * view_tokens(shape)
    attention = 2.0 * scenes * length**2 * text.width * text.layers
    attention += 4.0 * asked * length * text.width * text.layers
    attention *= 0.0 if only_guidance else 3 + recomputed
    attention += 4.0 * patches * vision.grid**2 * vision.width * vision.layers * (3 + recomputed)
    return (
        attention
        + dense("vision", patches, recomputed)
        + dense("structure", patches, 0.0)
        + dense("guidance", patches, 0.0)
        + dense("decoder", scene + asked, recomputed)
    )
