"""What caching and the form of attention are worth, how a question grows with the scene, what the
stages of the referents cost, what a network of any size needs on this computer's device, and
whether the order of the objects matters. Scenes are random where only time counts.
"""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from spatial3d_ros.model.batch import SceneBatch
from spatial3d_ros.model.checkpoint import load_model, model_folder
from spatial3d_ros.model.config import ModelConfig, load_config, named_config
from spatial3d_ros.model.generation import score_questions
from spatial3d_ros.model.network import SpatialModel
from spatial3d_ros.model.psa import message_passing
from spatial3d_ros.model.quantize import Weights, place_model
from spatial3d_ros.model.sequence import EncodedScene
from spatial3d_ros.research.bench.operations import bench_sampling, room_scene
from spatial3d_ros.research.bench.timing import (
    least_ms,
    median_ms,
    run_times_ms,
    single_thread,
    summary_ms,
)
from spatial3d_ros.research.language.questions import make_questions
from spatial3d_ros.research.rooms.generator import generate_room
from spatial3d_ros.tasks.prompt import Prompt

QUESTION = "the red chair that is next to the round table"
VIEWS, OBJECTS = (4, 8, 16, 32), (10, 50, 100, 200)
DEVICE_OBJECTS = 50
MATRIX = 4096  # rows and columns of the product that measures the device's rate; a quarter on CPUs
FIRST_ROOM = 860_000
"""Seed of the first held-out room of `order_stability`."""
Result = TypeVar("Result")


class SceneQuestion:
    """A network, one scene, and one question about it."""

    def __init__(self, model: SpatialModel, prompt: Prompt, batch: SceneBatch) -> None:
        self.model, self.prompt = model.eval(), prompt
        self.device = batch.boxes.device
        self.prompt_tokens = prompt.tokens.to(self.device)
        self.batch = batch
        self.scene = self.encode()

    @classmethod
    def random(
        cls,
        model: SpatialModel,
        prompt: Prompt,
        views: int,
        objects: int,
        device: torch.device | str = "cpu",
    ) -> SceneQuestion:
        """On a random scene of so many views and objects."""
        return cls(model, prompt, random_scene(model.config, views, objects).to(device))

    def encode(self) -> EncodedScene:
        """Everything that a question does not change, from pixels on."""
        return self.model.encode_scene(self.batch, self.prompt_tokens)

    def ask(self, scene: EncodedScene, count: int = 1) -> Tensor:
        """The scores (count, N + 1) of the question, asked `count` times in one batch."""
        words = self.prompt.batch([self.prompt.grounding(QUESTION)] * count, [0] * count)
        return score_questions(self.model, scene, words.to(self.device), self.prompt_tokens).scores

    def warm(self) -> Tensor:
        """The question on the cached scene."""
        return self.ask(self.scene)

    def cold(self) -> Tensor:
        """The question without any cache: vision, structure, prefix, objects and words."""
        return self.ask(self.encode())


def bench_warm(
    model: str | Path, views: Sequence[int] = VIEWS, objects: int = 20, repeats: int = 5
) -> dict[str, object]:
    """Milliseconds of a warm question and of recomputing everything, for each number of views, and
    their ratio; and of a warm question by form of attention. One thread; least of all repeats,
    `ratio_of_medians` of the medians.

    `model`: shipped name or folder, or the YAML of a configuration for random weights.
    """
    network, prompt = _network(model)
    result: dict[str, object] = {"model": network.config.name, "objects": objects}
    with single_thread():
        for count in views:
            timed = SceneQuestion.random(network, prompt, count, objects)
            forms = {}
            for form in ("shared", "masked", "rows"):
                network.attention = form
                forms[form] = least_ms(timed.warm, 3 * repeats)
            network.attention = "auto"
            warm, cold = run_times_ms(timed.warm, 3 * repeats), run_times_ms(timed.cold, repeats)
            result[f"{count}_views"] = {
                "warm_ms": min(warm),
                "everything_ms": min(cold),
                "ratio": min(cold) / min(warm),
                "ratio_of_medians": statistics.median(cold) / statistics.median(warm),
                "eight_questions_ms": least_ms(lambda t=timed: t.ask(t.scene, 8), repeats),
                "warm_by_form_ms": forms,
            }
    return result


def bench_scale(
    model: str | Path,
    views: Sequence[int] = VIEWS,
    objects: Sequence[int] = OBJECTS,
    repeats: int = 100,
) -> dict[str, object]:
    """Milliseconds of a warm question, and megabytes kept of the scene, over views at 20 objects
    and over objects at 16 views; `exponent`: slope of the medians in a log-log fit.
    """
    network, prompt = _network(model)

    def over(pairs: Sequence[tuple[int, int]], counts: Sequence[int], unit: str) -> dict:
        rows, medians = {}, []
        for count, pair in zip(counts, pairs, strict=True):
            timed = SceneQuestion.random(network, prompt, *pair)
            times = run_times_ms(timed.warm, repeats)
            medians.append(statistics.median(times))
            rows[f"{count}_{unit}"] = {
                "warm_ms": min(times),
                "warm_median_ms": medians[-1],
                "scene_mb": scene_bytes(timed.scene) / 2**20,
            }
        return rows | {"exponent": float(np.polyfit(np.log(counts), np.log(medians), 1)[0])}

    with single_thread():
        return {
            "model": network.config.name,
            "views": over([(v, 20) for v in views], views, "views"),
            "objects": over([(16, n) for n in objects], objects, "objects"),
        }


def bench_device(
    model: str,
    views: Sequence[int] = (8, 16, 32),
    repeats: int = 5,
    device: str = "auto",
    weights: Weights = "auto",
) -> dict[str, object]:
    """A network with random weights on a device: bfloat16 on CUDA, float32 elsewhere.

    `model`: a configuration's name or YAML file. For each number of views: `scene_ms` from pixels
    to the cached prefix and `question_ms` after it (medians), `scene_share` of the device's matrix
    rate that the scene's operations reach, and the most memory allocated (CUDA) or resident
    (elsewhere, of the whole process so far).
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    place = torch.device(device)
    dtype = torch.bfloat16 if place.type == "cuda" else torch.float32
    config = named_config(model)
    began = time.perf_counter()
    network = random_network(config, place, dtype, weights)
    result: dict[str, object] = {
        "model": config.name,
        "device": torch.cuda.get_device_name(place) if place.type == "cuda" else "cpu",
        "dtype": str(dtype).removeprefix("torch."),
        "parameters_million": sum(p.numel() for p in network.parameters()) / 1e6,
        "build_s": time.perf_counter() - began,
    }
    prompt = prompt_of_shipped(config)
    with torch.inference_mode(), torch.autocast(place.type, dtype, dtype != torch.float32):
        rate = matrix_rate(place, dtype, repeats)
        result["matrix_tflops"] = rate / 1e12
        for count in views:
            if place.type == "cuda":
                torch.cuda.reset_peak_memory_stats(place)
            timed = SceneQuestion.random(network, prompt, count, DEVICE_OBJECTS, place)
            with FlopCounterMode(display=False) as counter:
                timed.encode()
            operations, scene_ms = counter.get_total_flops(), median_ms(timed.encode, repeats)
            result[f"{count}_views"] = {
                "scene_ms": scene_ms,
                "question_ms": median_ms(timed.warm, 3 * repeats),
                "scene_tflop": operations / 1e12,
                "scene_share": operations / (scene_ms / 1e3) / rate,
                "memory_gib": _memory_bytes(place) / 2**30,
            }
    return result


def random_network(
    config: ModelConfig, device: torch.device, dtype: torch.dtype, weights: Weights = "auto"
) -> SpatialModel:
    """A network with random weights, built in its number format on its device."""
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with device:
            network = SpatialModel(config)
    finally:
        torch.set_default_dtype(before)
    return place_model(network, device, dtype, weights).eval()


def matrix_rate(device: torch.device, dtype: torch.dtype, repeats: int) -> float:
    """Operations per second of a large matrix product."""
    size = MATRIX if device.type == "cuda" else MATRIX // 4
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    return 2 * size**3 / (median_ms(lambda: a @ b, repeats) / 1e3)


def _memory_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def bench_referents(
    model: str = "tiny",
    objects: Sequence[int] = OBJECTS,
    views: int = 16,
    repeats: int = 10,
    source: str | None = None,
) -> dict[str, object]:
    """Sampling at the sizes of METHODS 3.2, and with random weights every stage of the referents
    and of the network around them, from pixels to a question, on one thread: least and median
    milliseconds of `repeats`, and the least processor time.

    `model`: a configuration's name or YAML file; `psa` is switched on. `source`: patches or points.
    """
    config = named_config(model)
    psa = config.psa.model_dump() | {"enabled": True, "source": source or config.psa.source}
    config = ModelConfig(**(config.model_dump() | {"psa": psa}))
    torch.manual_seed(0)
    network, prompt = SpatialModel(config).eval(), prompt_of_shipped(config)
    passing = {kind: message_passing(kind, config.psa.width) for kind in ("gcn", "edgeconv")}
    with single_thread():
        return {
            "model": config.name,
            "views": views,
            "sampling": bench_sampling(repeats),
            "stages": {
                f"{count}_objects": _referent_stages(
                    network, prompt, passing, _room_batch(config, views, count), repeats
                )
                for count in objects
            },
        }


def _referent_stages(
    model: SpatialModel,
    prompt: Prompt,
    passing: dict[str, torch.nn.Module],
    batch: SceneBatch,
    repeats: int,
) -> dict[str, object]:
    psa, config = model.psa, model.config
    times: dict[str, object] = {}

    def timed(name: str, work: Callable[[], Result]) -> Result:
        times[f"{name}_ms"] = summary_ms(work, repeats)
        return work()

    projected = torch.randn(1, batch.pixels.shape[1], config.vision.grid**2, config.text.width)
    seeds = timed("seeds", lambda: psa.seeds(batch, projected))
    clusters = timed("intra", lambda: psa.intra(seeds))
    graph = clusters.features, clusters.centers, clusters.centers.abs() + 0.1, clusters.found
    for kind, layers in passing.items():
        timed(f"inter_{kind}", lambda layers=layers: layers(*graph))
    context = clusters.features, clusters.centers, clusters.found, seeds
    timed("context", lambda: psa.context(*context))
    referents = timed("all_stages", lambda: psa(batch, projected))
    timed("tokens", lambda: psa.sequence_tokens(referents))
    timed("beside_objects", lambda: psa.referent_tokens(batch.boxes, referents))
    batch = replace(batch, patches=timed("vision", lambda: model.encode_views(batch.pixels)))
    projected = timed("views_together", lambda: model.project_views(batch))
    timed("scene_with_referents", lambda: model.encode_scene(batch, prompt.tokens, projected))
    timed("question", SceneQuestion(model, prompt, batch).warm)
    return {"seeds": int(seeds.valid.sum()), "referents": int(clusters.found.sum()), **times}


def _room_batch(config: ModelConfig, views: int, objects: int) -> SceneBatch:
    """Points on the surfaces of a room, where a camera sees them, and black pixels."""
    size, side = config.vision.image_size, config.pooled_grid
    points, valid, boxes = room_scene(views, size, objects)
    return SceneBatch(
        boxes,
        torch.ones(1, objects, dtype=torch.bool),
        pixels=torch.zeros(1, views, 3, size, size),
        points=points,
        valid=valid,
        rays=torch.zeros(1, views, side * side, 3),
        view_valid=torch.ones(1, views, dtype=torch.bool),
    )


@torch.no_grad()
def order_stability(
    model: str | Path, rooms: int = 40, questions: int = 12, shuffles: int = 4
) -> dict[str, float]:
    """Share of questions with one target whose chosen object stays the same when the objects are
    shuffled, on held-out rooms of labelled, colored boxes; `pairs`: how many were compared.
    """
    network, prompt = _network(model)
    network.eval()
    same = total = 0
    for seed in range(FIRST_ROOM, FIRST_ROOM + rooms):
        random = np.random.default_rng(seed)
        objects = generate_room(seed).objects
        asked = make_questions(objects, random, questions, split="test")
        asked = [q.text for q in asked if q.kind != "distance" and len(q.targets) == 1]
        if not asked:
            continue
        count = len(objects)
        orders = [np.arange(count), *(random.permutation(count) for _ in range(shuffles))]
        batch = SceneBatch(
            torch.tensor(np.array([t.box.array() for t in objects]), dtype=torch.float32)[None],
            torch.ones(1, count, dtype=torch.bool),
            labels=prompt.name_ids([t.category for t in objects])[None, :, None],
            colors=torch.tensor([t.rgb for t in objects])[None] / 255,
        )
        batch = replace(
            batch,
            **{
                name: torch.cat([getattr(batch, name)[:, order] for order in orders])
                for name in ("boxes", "object_valid", "labels", "colors")
            },
        )
        sentences = [prompt.grounding(text) for _ in orders for text in asked]
        which = [i for i in range(len(orders)) for _ in asked]
        scene = network.encode_scene(batch, prompt.tokens)
        scores = score_questions(
            network, scene, prompt.batch(sentences, which), prompt.tokens
        ).scores
        chosen = scores.argmax(-1).reshape(len(orders), len(asked)).numpy()
        named = [np.append(order, count)[row] for order, row in zip(orders, chosen, strict=True)]
        same += sum(int((row == named[0]).sum()) for row in named[1:])
        total += shuffles * len(asked)
    return {"same": same / total, "pairs": total}


def random_scene(config: ModelConfig, views: int, objects: int) -> SceneBatch:
    """One scene of random pixels, points and boxes in a room of 4 x 4 x 2.5 metres."""
    random = torch.Generator().manual_seed(0)
    size, side = config.vision.image_size, config.pooled_grid
    room = torch.tensor([4.0, 4.0, 2.5])

    def draw(*shape: int) -> Tensor:
        return torch.rand(1, *shape, generator=random)

    return SceneBatch(
        boxes=torch.cat([draw(objects, 3) * room, 0.1 + draw(objects, 3)], -1),
        object_valid=torch.ones(1, objects, dtype=torch.bool),
        pixels=draw(views, 3, size, size) * 2 - 1,
        points=draw(views, size, size, 3) * room,
        valid=draw(views, size, size) > 0.1,
        rays=F.normalize(draw(views, side * side, 3) - 0.5, dim=-1),
        view_valid=torch.ones(1, views, dtype=torch.bool),
    )


def scene_bytes(scene: EncodedScene) -> int:
    """Bytes that the engine keeps of a scene between questions."""
    tensors = [part for layer in scene.prefix for part in layer]
    parts = [scene, *([scene.referents, scene.referents.seeds] if scene.referents else [])]
    tensors += [value for part in parts for value in vars(part).values()]
    return sum(t.numel() * t.element_size() for t in tensors if isinstance(t, Tensor))


def _network(model: str | Path) -> tuple[SpatialModel, Prompt]:
    if not str(model).endswith(".yaml"):
        network, tokenizer = load_model(model_folder(model))
        return network, Prompt(tokenizer, network.config.s2.category_mode)
    torch.manual_seed(0)
    network = SpatialModel(load_config(model))
    return network, prompt_of_shipped(network.config)


def prompt_of_shipped(config: ModelConfig) -> Prompt:
    """A prompt with the tokenizer of the shipped weights."""
    return Prompt(load_model(model_folder("tiny"))[1], config.s2.category_mode)
