"""What referents cost: sampling alone at the sizes of METHODS 3.2, and every stage of a network,
from pixels to a question, with random weights. Points lie on the surfaces of a room, where a camera
sees them.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor

from spatial3d_ros.model.batch import SceneBatch
from spatial3d_ros.model.checkpoint import load_model, model_folder
from spatial3d_ros.model.config import ModelConfig, named_config
from spatial3d_ros.model.generation import read
from spatial3d_ros.model.network import SpatialModel
from spatial3d_ros.model.point_encoder import RADII_M, SAMPLES
from spatial3d_ros.model.psa import BALL_M, BALL_VOTES, message_passing
from spatial3d_ros.model.sampling import ball_query, farthest_points, gather
from spatial3d_ros.model.sequence import EncodedScene
from spatial3d_ros.research.bench.masks import room_scene
from spatial3d_ros.research.bench.network import QUESTION
from spatial3d_ros.tasks.prompt import Prompt

POINTS, SEEDS, REFERENTS = 40_000, 1024, 256
OBJECTS = (10, 50, 100, 200)
Result = TypeVar("Result")


def bench_referents(
    model: str = "tiny",
    objects: Sequence[int] = OBJECTS,
    views: int = 16,
    repeats: int = 10,
    source: str | None = None,
) -> dict[str, object]:
    """Milliseconds on one thread: least and median of `repeats`, and the least time of the
    processor, which other work on the machine does not lengthen.

    `sampling`: 40,000 points to 1,024 seeds with their balls to 256 referents with theirs; the
    choice of seeds is compared with a plain loop. `stages`: those of `model`, a configuration's
    name or YAML file with `psa` switched on, for each number of objects; the rest of the network
    beside them, of which the question is what a person waits for.
    """
    config = named_config(model)
    psa = config.psa.model_dump() | {"enabled": True, "source": source or config.psa.source}
    config = ModelConfig(**(config.model_dump() | {"psa": psa}))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            result = {"model": config.name, "views": views, "sampling": bench_sampling(repeats)}
            stages = _Stages(config, views)
            result["stages"] = {
                f"{count}_objects": stages.times(count, repeats) for count in objects
            }
    finally:
        torch.set_num_threads(threads)
    return result


def bench_sampling(repeats: int) -> dict[str, object]:
    """The chain of farthest point sampling and ball queries of one scene."""
    points, _, _ = room_scene()
    order = torch.randperm(points[0, ..., 0].numel(), generator=torch.Generator().manual_seed(0))
    cloud = points.reshape(1, -1, 3)[:, order[:POINTS]].contiguous()
    real = torch.ones(cloud.shape[:2], dtype=torch.bool)
    index, found = farthest_points(cloud, real, SEEDS)
    if not torch.equal(index[0], plain_farthest(cloud[0], SEEDS)):
        raise AssertionError("the fast way and the plain loop choose other points: nothing to time")
    seeds = gather(cloud, index)
    centers, there = farthest_points(seeds, found, REFERENTS)
    steps: dict[str, Callable[[], object]] = {
        "seeds": lambda: farthest_points(cloud, real, SEEDS),
        "balls_of_seeds": lambda: ball_query(cloud, real, index, found, RADII_M[0], SAMPLES[0]),
        "referents": lambda: farthest_points(seeds, found, REFERENTS),
        "balls_of_referents": lambda: ball_query(seeds, found, centers, there, BALL_M, BALL_VOTES),
    }
    times = {name: _timed(work, repeats)[0] for name, work in steps.items()}
    return {
        **{f"{name}_ms": figures for name, figures in times.items()},
        "total_ms": {
            clock: sum(figures[clock] for figures in times.values())
            for clock in ("least", "median", "processor")
        },
    }


def plain_farthest(points: Tensor, count: int) -> Tensor:
    """Farthest point sampling by the book: (N, 3) -> (count,)."""
    near = torch.full((len(points),), torch.inf)
    chosen = [0]
    while len(chosen) < count:
        x, y, z = (points - points[chosen[-1]]).square().unbind(-1)
        near = torch.minimum(near, x + y + z)
        chosen.append(int(near.argmax()))
    return torch.tensor(chosen)


@dataclass(frozen=True)
class Network:
    """A network, and a question to it."""

    model: SpatialModel
    prompt: Prompt

    def ask(self, scene: EncodedScene) -> Tensor:
        """From words to scores."""
        words = self.prompt.batch([self.prompt.grounding(QUESTION)], [0])
        return read(self.model, scene, words, self.prompt.opening).scores


class _Stages:
    """The part of a network that makes referents, and a scene for it."""

    def __init__(self, config: ModelConfig, views: int) -> None:
        torch.manual_seed(0)
        self.config, self.views = config, views
        model = SpatialModel(config).eval()
        self.whole = Network(model, Prompt(load_model(model_folder("tiny"))[1]))
        self.psa = model.psa
        width = config.psa.width
        self.passing = {kind: message_passing(kind, width) for kind in ("gcn", "edgeconv")}

    def times(self, objects: int, repeats: int) -> dict[str, object]:
        batch = self._batch(objects)
        patches = self.config.vision.grid**2
        projected = torch.randn(1, self.views, patches, self.config.text.width)
        times: dict[str, object] = {}

        def timed(name: str, work: Callable[[], Result]) -> Result:
            times[f"{name}_ms"], result = _timed(work, repeats)
            return result

        psa = self.psa
        seeds = timed("seeds", lambda: psa.seeds(batch, projected))
        clusters = timed("intra", lambda: psa.intra(seeds))
        place = clusters.features, clusters.centers, clusters.centers.abs() + 0.1, clusters.found
        for kind, passing in self.passing.items():
            timed(f"inter_{kind}", lambda passing=passing: passing(*place))
        heard = clusters.features, clusters.centers, clusters.found, seeds
        timed("context", lambda: psa.context(*heard))
        referents = timed("all_stages", lambda: psa(batch, projected))
        timed("tokens", lambda: psa.tokens(referents))
        timed("beside_objects", lambda: psa.beside(batch.boxes, referents))
        whole, model = self.whole, self.whole.model
        batch = replace(batch, patches=timed("vision", lambda: model.encode_views(batch.pixels)))
        projected = timed("views_together", lambda: model.project_views(batch))
        scene = timed(
            "scene_with_referents",
            lambda: model.encode_scene(batch, whole.prompt.opening, projected),
        )
        timed("question", lambda: whole.ask(scene))
        return {"seeds": int(seeds.valid.sum()), "referents": int(clusters.found.sum()), **times}

    def _batch(self, objects: int) -> SceneBatch:
        size, side = self.config.vision.image_size, self.config.pooled_grid
        points, valid, boxes = room_scene(self.views, size, objects)
        return SceneBatch(
            boxes,
            torch.ones(1, objects, dtype=torch.bool),
            pixels=torch.zeros(1, self.views, 3, size, size),
            points=points,
            valid=valid,
            rays=torch.zeros(1, self.views, side * side, 3),
            view_valid=torch.ones(1, self.views, dtype=torch.bool),
        )


def _timed(work: Callable[[], Result], repeats: int) -> tuple[dict[str, float], Result]:
    result, times = work(), []
    for _ in range(repeats):
        start = time.perf_counter(), time.process_time()
        work()
        end = time.perf_counter(), time.process_time()
        times.append([(b - a) * 1e3 for a, b in zip(start, end, strict=True)])
    wall, processor = zip(*times, strict=True)
    figures = {"least": min(wall), "median": statistics.median(wall), "processor": min(processor)}
    return figures, result
