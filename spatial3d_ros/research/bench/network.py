"""What caching and the form of attention are worth, how a question grows with the scene, and
whether the order of objects matters. Scenes are random boxes and points where only time counts.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from spatial3d_ros.model.attention import AttentionContext, attend
from spatial3d_ros.model.batch import SceneBatch
from spatial3d_ros.model.checkpoint import load_model, model_folder
from spatial3d_ros.model.config import ModelConfig, load_config
from spatial3d_ros.model.generation import read
from spatial3d_ros.model.network import SpatialModel
from spatial3d_ros.model.sequence import EncodedScene
from spatial3d_ros.research.language.questions import make_questions
from spatial3d_ros.research.rooms.generator import generate_room
from spatial3d_ros.tasks.prompt import Prompt

QUESTION = "the red chair that is next to the round table"
VIEWS, OBJECTS = (4, 8, 16, 32), (10, 50, 100, 200)
FIRST_ROOM = 860_000
"""Seed of the first held-out room of `order_stability`."""


class Timed:
    """A network, and one question on a random scene of so many views and objects."""

    def __init__(
        self,
        model: SpatialModel,
        prompt: Prompt,
        views: int,
        objects: int,
        device: torch.device | str = "cpu",
    ) -> None:
        self.model, self.prompt, self.device = model.eval(), prompt, torch.device(device)
        self.opening = prompt.opening.to(self.device)
        self.batch = random_scene(model.config, views, objects).to(self.device)
        self.scene = self.look()

    def look(self) -> EncodedScene:
        """Everything that a question does not change, from pixels on."""
        return self.model.encode_scene(self.batch, self.opening)

    def ask(self, scene: EncodedScene, count: int = 1) -> Tensor:
        """From words to scores."""
        words = self.prompt.batch([self.prompt.grounding(QUESTION)] * count, [0] * count)
        return read(self.model, scene, words.to(self.device), self.opening).scores

    def warm(self) -> Tensor:
        """A question on the cached scene."""
        return self.ask(self.scene)

    def everything(self) -> Tensor:
        """The same question without any cache: vision, structure, prefix, objects and words."""
        return self.ask(self.look())


def bench_warm(
    model: str | Path, views: Sequence[int] = VIEWS, objects: int = 20, repeats: int = 5
) -> dict[str, object]:
    """Milliseconds of a warm question, and of recomputing everything, for each number of views, and
    their ratio; with `shared` and `masked` attention. One thread, the two in turn; the least of
    all repeats, which other work on the machine disturbs least, and medians beside it.

    `model`: shipped name or folder, or the YAML of a configuration for random weights.
    """
    network, prompt = _network(model)
    result: dict[str, object] = {"model": network.config.name, "objects": objects}
    with _alone():
        for count in views:
            timed = Timed(network, prompt, count, objects)
            forms = {}
            for form in ("shared", "masked", "rows"):
                network.attention = form
                forms[form] = _least(timed.warm, 3 * repeats)[0]
            network.attention = "auto"
            warm, cold = [], []
            for _ in range(repeats):
                warm += [_seconds(timed.warm) for _ in range(3)]
                cold.append(_seconds(timed.everything))
            result[f"{count}_views"] = {
                "warm_ms": min(warm) * 1e3,
                "everything_ms": min(cold) * 1e3,
                "ratio": min(cold) / min(warm),
                "ratio_of_medians": statistics.median(cold) / statistics.median(warm),
                "eight_questions_ms": _least(lambda t=timed: t.ask(t.scene, 8), repeats)[0],
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
    and over objects at 16 views, all sizes in turn; `exponent`: slope of the medians in a
    log-log fit.
    """
    network, prompt = _network(model)

    def over(pairs: Sequence[tuple[int, int]], counts: Sequence[int], unit: str) -> dict:
        sizes = [Timed(network, prompt, *pair) for pair in pairs]
        times = np.array([[_seconds(t.warm) for t in sizes] for _ in range(repeats + 1)])[1:]
        rows = {
            f"{count}_{unit}": {
                "warm_ms": float(column.min() * 1e3),
                "warm_median_ms": float(np.median(column) * 1e3),
                "scene_mb": scene_bytes(timed.scene) / 2**20,
            }
            for count, timed, column in zip(counts, sizes, times.T, strict=True)
        }
        slope = np.polyfit(np.log(counts), np.log(np.median(times, 0)), 1)[0]
        return rows | {"exponent": float(slope)}

    with _alone():
        return {
            "model": network.config.name,
            "views": over([(v, 20) for v in views], views, "views"),
            "objects": over([(16, n) for n in objects], objects, "objects"),
        }


def bench_attention(
    prefixes: Sequence[int] = (120, 3360),
    objects: Sequence[int] = (20, 100),
    shapes: Sequence[tuple[int, int]] = ((192, 6), (1024, 16)),
    words: int = 16,
    repeats: int = 20,
) -> dict[str, object]:
    """Least milliseconds of one layer's attention in each form of attention.py, and eager, behind
    prefixes of so many places; (width, heads) of the decoder. Masks are built once, as for all
    layers of a pass.
    """
    result: dict[str, object] = {}
    with _alone():
        for width, heads in shapes:
            for prefix in prefixes:
                for count in objects:
                    name = f"width_{width}_prefix_{prefix}_objects_{count}"
                    result[name] = _layer(width, heads, prefix, count, words, repeats)
    return result


@torch.no_grad()
def order_stability(
    model: str | Path, rooms: int = 40, questions: int = 12, shuffles: int = 4
) -> dict[str, float]:
    """Share of questions on held-out rooms (boxes with their names and colours; one object is
    meant) whose chosen object stays the same when the objects are shuffled; `pairs` tells how many
    were compared.
    """
    network, prompt = _network(model)
    network.eval()
    same = total = 0
    for seed in range(FIRST_ROOM, FIRST_ROOM + rooms):
        random = np.random.default_rng(seed)
        things = generate_room(seed).objects
        asked = make_questions(things, random, questions, split="test")
        asked = [q.text for q in asked if q.kind != "distance" and len(q.targets) == 1]
        if not asked:
            continue
        count = len(things)
        orders = [np.arange(count), *(random.permutation(count) for _ in range(shuffles))]
        batch = SceneBatch(
            torch.tensor(np.array([t.box.array() for t in things]), dtype=torch.float32)[None],
            torch.ones(1, count, dtype=torch.bool),
            labels=prompt.name_ids([t.category for t in things])[None],
            colors=torch.tensor([t.rgb for t in things])[None] / 255,
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
        scene = network.encode_scene(batch, prompt.opening)
        scores = read(network, scene, prompt.batch(sentences, which), prompt.opening).scores
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
    """What is kept of a scene between questions."""
    tensors = [part for layer in scene.prefix for part in layer]
    parts = [scene, *([scene.referents, scene.referents.seeds] if scene.referents else [])]
    tensors += [value for part in parts for value in vars(part).values()]
    return sum(t.numel() * t.element_size() for t in tensors if isinstance(t, Tensor))


def _layer(
    width: int, heads: int, prefix: int, objects: int, words: int, repeats: int
) -> dict[str, float]:
    random = torch.Generator().manual_seed(0)
    size, length = width // heads, objects + words

    def draw(rows: int) -> Tensor:
        return torch.randn(1, heads, rows, size, generator=random)

    query, key, value, far = draw(length), draw(length), draw(length), (draw(prefix), draw(prefix))
    keep = torch.ones(1, length, length, dtype=torch.bool).tril()
    keep[:, :objects, :objects] = torch.rand(objects, objects, generator=random) < 0.5
    keep[:, :objects, objects : length - 1] = True
    keep |= torch.eye(length, dtype=torch.bool)
    bias = torch.randn(1, heads, objects, objects, generator=random)
    module = torch.nn.Module()
    module.layer_idx, scaling, sights = 0, size**-0.5, {}
    for form in ("masked", "rows", "shared"):
        sights[form] = AttentionContext(
            keep,
            (far,),
            torch.ones(1, prefix, dtype=torch.bool),
            torch.zeros(1, dtype=torch.long),
            bias=bias,
            objects=objects,
            form=form,
        )

    def eager() -> Tensor:
        keys, values = (torch.cat(pair, 2) for pair in zip(far, (key, value), strict=True))
        return (query @ keys.mT * scaling + sights["masked"].whole).softmax(-1) @ values

    expected = eager().transpose(1, 2)
    times = {"eager": _least(eager, repeats)[0]}
    for form, sight in sights.items():
        run = lambda s=sight: attend(module, query, key, value, s, scaling)[0]  # noqa: E731
        torch.testing.assert_close(run(), expected, atol=1e-4, rtol=1e-4)
        times[form] = _least(run, repeats)[0]
    return times


def _network(model: str | Path) -> tuple[SpatialModel, Prompt]:
    if not str(model).endswith(".yaml"):
        network, tokenizer = load_model(model_folder(model))
        return network, Prompt(tokenizer, network.config.s2.category_mode)
    torch.manual_seed(0)
    return SpatialModel(load_config(model)), Prompt(load_model(model_folder("tiny"))[1])


@contextmanager
def _alone() -> Iterator[None]:
    """One thread and no gradients, as on a robot that has other things to do."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            yield
    finally:
        torch.set_num_threads(threads)


def _least(work: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Least and median milliseconds, after one run that does not count."""
    work()
    times = [_seconds(work) * 1e3 for _ in range(repeats)]
    return min(times), statistics.median(times)


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
