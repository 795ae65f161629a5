"""One measurement of a GPU, in minutes and without data: whether the shipped network answers there
as on the CPU, what the large one takes with random weights, and one training step of a preset.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from spatial3d_ros.errors import ConfigError
from spatial3d_ros.model.batch import SceneBatch, prepare_view, stack_views
from spatial3d_ros.model.budget import estimate
from spatial3d_ros.model.config import ModelConfig, named_config
from spatial3d_ros.model.quantize import Weights
from spatial3d_ros.research.bench.network import (
    DEVICE_OBJECTS,
    QUESTION,
    bench_device,
    prompt_of_shipped,
    random_network,
    random_scene,
)
from spatial3d_ros.research.language.questions import make_questions
from spatial3d_ros.research.rooms.catalog import catalog_of
from spatial3d_ros.research.rooms.view_store import render_room
from spatial3d_ros.research.training.activation_checkpointing import enable_activation_checkpointing
from spatial3d_ros.research.training.optimizer import make_optimizer
from spatial3d_ros.research.training.presets import apply_preset, load_preset
from spatial3d_ros.tasks.model_runner import ModelRunner

FIRST_ROOM = 850_100
PER_ROOM = 10
Say = Callable[[str], None]


def gpu_check(
    model: str = "llava_video_7b",
    views: Sequence[int] = (8, 16, 32),
    questions: int = 50,
    preset: str = "lite",
    device: str = "cuda",
    repeats: int = 5,
    say: Say = lambda text: None,
) -> dict[str, Any]:
    """All figures by part. Raises ConfigError if there is no such device.

    A part that fails, for want of memory or of a kernel, has its `error` in place of figures; the
    others still run.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device: no CUDA device is found; --device cpu tries the script itself")
    formats: tuple[Weights, ...] = ("auto", "int4") if device == "cuda" else ("auto",)
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "tiny": lambda: same_answers(device, questions),
        **{
            f"{model} {'bfloat16' if weights == 'auto' else weights}": lambda w=weights: _large(
                model, views, repeats, device, w
            )
            for weights in formats
        },
        f"training step {preset}": lambda: training_step(model, preset, views[0], device),
    }
    result: dict[str, Any] = {}
    for name, measure in parts.items():
        say(name)
        try:
            result[name] = measure()
        except (RuntimeError, ConfigError, ImportError) as error:
            result[name] = {"error": str(error).splitlines()[0]}
        if device == "cuda":
            torch.cuda.empty_cache()
    return result


def same_answers(device: str, count: int) -> dict[str, Any]:
    """Of `count` questions about rendered rooms, how many the shipped network answers on a device
    as on the CPU; milliseconds of a scene and of a question there (medians).
    """
    places = {
        name: ModelRunner.load("tiny", name, "float32" if name == "cpu" else "auto")
        for name in dict.fromkeys(("cpu", device))
    }
    config = places["cpu"].model.config
    same = asked = 0
    times: dict[str, list[float]] = {"scene_ms": [], "question_ms": []}
    for batch, texts in _rooms(config, count):
        chosen = {}
        for name, runner in places.items():
            began = time.perf_counter()
            with torch.inference_mode(), runner.autocast():
                scene = runner.model.encode_scene(batch.to(runner.device), runner.prompt_tokens)
            _wait(runner.device)
            encoded = time.perf_counter()
            chosen[name] = [int(runner.score_phrases(scene, [text])[0].argmax()) for text in texts]
            if name == device:
                times["scene_ms"].append(1e3 * (encoded - began))
                times["question_ms"].append(1e3 * (time.perf_counter() - encoded) / len(texts))
        same += sum(a == b for a, b in zip(chosen["cpu"], chosen[device], strict=True))
        asked += len(texts)
    return {"same_answers": same, "questions": asked} | {
        name: float(np.median(values)) for name, values in times.items()
    }


def _rooms(config: ModelConfig, count: int) -> Iterator[tuple[SceneBatch, list[str]]]:
    """Rendered rooms with true boxes, and some phrases for each."""
    for number in range(-(-count // PER_ROOM)):
        seed = FIRST_ROOM + number
        room = render_room(seed, views=6, catalog=catalog_of(config.names.classes))
        views = [
            prepare_view(rgb, depth, room.camera, pose, config.vision, config.pooled_grid)
            for rgb, depth, pose in zip(room.rgb, room.depth, room.pose, strict=True)
        ]
        boxes = np.array([item.box.array()[:6] for item in room.room.objects])
        batch = SceneBatch(
            torch.from_numpy(boxes).float()[None],
            torch.ones(1, len(boxes), dtype=torch.bool),
            **stack_views(views, np.zeros(3)),
        )
        wanted = min(PER_ROOM, count - number * PER_ROOM)
        kinds = ("attribute", "relation", "size")
        asked = make_questions(
            room.room.objects, np.random.default_rng(seed), wanted, split="test", kinds=kinds
        )
        yield batch, [one.phrases[0] for one in asked]


def _large(
    model: str, views: Sequence[int], repeats: int, device: str, weights: Weights
) -> dict[str, Any]:
    result = bench_device(model, views, repeats, device, weights)
    dtype = getattr(torch, str(result["dtype"]))
    for count in views:
        budget = estimate(
            named_config(model), views=count, dtype=dtype, weights=weights, objects=DEVICE_OBJECTS
        )
        row: Any = result[f"{count}_views"]
        row["estimated_gib"] = budget.total / 2**30
    return result


def training_step(model: str, preset: str, views: int, device: str) -> dict[str, Any]:
    """Seconds and peak memory of the second of two steps with one scene and one question."""
    recipe = load_preset(preset)
    config = recipe.configure(named_config(model))
    place = torch.device(device)
    dtype = torch.bfloat16 if place.type == "cuda" else torch.float32
    network = random_network(config, place, dtype).train()
    groups = apply_preset(network, recipe)
    enable_activation_checkpointing(network)
    optimizer = make_optimizer(groups, recipe.optimizer.lr, 32)
    prompt = prompt_of_shipped(config)
    tokens = prompt.tokens.to(place)
    batch = random_scene(config, views, DEVICE_OBJECTS).to(place)
    words = prompt.batch([prompt.grounding(QUESTION, "the chair")], [0]).to(place)
    if place.type == "cuda":
        torch.cuda.reset_peak_memory_stats(place)
    seconds = 0.0
    for _ in range(2):
        began = time.perf_counter()
        with torch.autocast(place.type, dtype, enabled=dtype != torch.float32):
            scores = network(network.encode_scene(batch, tokens), words, tokens).scores
            loss = -scores.float().log_softmax(-1)[:, 0].mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        _wait(place)
        seconds = time.perf_counter() - began
    result = {"views": views, "seconds": seconds, "loss": float(loss)}
    if place.type == "cuda":
        result["peak_gib"] = torch.cuda.max_memory_allocated(place) / 2**30
    return result


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
