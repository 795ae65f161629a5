"""The network at work on one memory: views and boxes in, encoded scene and names out; phrases in,
scores out.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from spatial3d_ros.errors import ConfigError, NotAvailableError
from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.model.batch import SceneBatch, ViewInput, prepare_view, stack_views
from spatial3d_ros.model.budget import require_memory
from spatial3d_ros.model.checkpoint import CONFIG, load_model, model_folder
from spatial3d_ros.model.config import Task, load_config
from spatial3d_ros.model.generation import decode, prefill_answer, score_questions
from spatial3d_ros.model.network import SpatialModel
from spatial3d_ros.model.objects import label_embeddings
from spatial3d_ros.model.quantize import Weights, check_weights, place_model
from spatial3d_ros.model.sequence import EncodedScene
from spatial3d_ros.model.tokens import MAX_IDENTIFIERS, identifier
from spatial3d_ros.scene.buffer import Snapshot, View
from spatial3d_ros.scene.objects import SceneObject
from spatial3d_ros.tasks.answer_parser import read_metres
from spatial3d_ros.tasks.prompt import Prompt
from spatial3d_ros.tasks.question_router import letters_of
from spatial3d_ros.tasks.timing import timed

ANSWER_TOKENS = 32
_DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


class ModelRunner:
    """Holds the weights and, for each view in memory, the features that later views do not
    change.
    """

    def __init__(
        self,
        model: SpatialModel,
        tokenizer: Tokenizer,
        device: str,
        dtype: str,
        weights: Weights = "auto",
    ) -> None:
        self.device, self.dtype = _resolve(device, dtype)
        self.weights = weights
        self.model = place_model(model, self.device, self.dtype, weights).eval()
        self.prompt = Prompt(tokenizer, model.config.s2.category_mode)
        self.prompt_tokens = self.prompt.tokens.to(self.device)
        self._views: dict[int, tuple[ViewInput, Tensor]] = {}
        self.warm_up()

    @classmethod
    def load(
        cls,
        model: str,
        device: str = "auto",
        dtype: str = "auto",
        weights: Weights = "auto",
        max_views: int = 16,
    ) -> ModelRunner:
        """From a folder, or from a shipped model by its name.

        Raises CheckpointError, or ConfigError, also when the network with `max_views` would not fit
        into free memory; that is known before any weight is read.
        """
        folder = model_folder(model)
        place, number = _resolve(device, dtype)
        check_weights(weights, place, number)
        if (folder / CONFIG).is_file():
            require_memory(load_config(folder / CONFIG), place, number, weights, max_views)
        return cls(*load_model(folder, number), device, dtype, weights)

    @property
    def where(self) -> str:
        """Device and number format in words."""
        name = str(self.dtype).removeprefix("torch.")
        return f"{self.device}, {name}{f', {self.weights}' * (self.weights != 'auto')}"

    @property
    def gpu_bytes(self) -> int:
        """What this process holds on the GPU; 0 without one."""
        return torch.cuda.memory_reserved(self.device) if self.device.type == "cuda" else 0

    @torch.inference_mode()
    def warm_up(self) -> None:
        """Run everything once, so that the first question is as fast as the second."""
        side, grid = self.model.config.vision.image_size, self.model.config.pooled_grid
        with self._autocast():
            self.model.encode_views(torch.zeros(1, 3, side, side, device=self.device))
            boxes = torch.tensor([[[0.0, 0, 0, 1, 1, 1], [2, 0, 0, 1, 1, 1]]])
            batch = SceneBatch(
                boxes,
                torch.ones(1, 2, dtype=torch.bool),
                pixels=torch.zeros(1, 1, 3, side, side),
                points=torch.zeros(1, 1, side, side, 3),
                valid=torch.ones(1, 1, side, side, dtype=torch.bool),
                rays=torch.zeros(1, 1, grid * grid, 3),
                view_valid=torch.ones(1, 1, dtype=torch.bool),
            ).to(self.device)
            scene = self.model.encode_scene(batch, self.prompt_tokens)
        self.read_phrases(scene, ["the red chair"], ["the red chair"])

    @torch.inference_mode()
    def read_scene(
        self,
        snapshot: Snapshot,
        objects: Sequence[SceneObject],
        stages: dict[str, float] | None = None,
    ) -> tuple[tuple[SceneObject, ...], EncodedScene | None]:
        """Objects with their names, and the scene as the network keeps it (None without objects).

        Only views that are new since the last call pass the vision tower. The milliseconds of
        vision and prefix are written into `stages`.
        """
        stages = {} if stages is None else stages
        with timed(stages, "vision"):
            self._see_all(snapshot)
        objects = sorted(objects, key=lambda o: (-o.stamp_ns, -o.score))[
            : self.model.config.objects.max_objects
        ]
        objects = tuple(sorted(objects, key=lambda o: o.id))
        if not objects:
            return objects, None
        origin = _scene_origin([view for view, _ in self._views.values()])
        boxes = np.array([o.box.array() for o in objects])
        boxes[:, :3] -= origin
        newest = snapshot.views[-1].frame.stamp_ns
        labels, colors = self._remembered(objects, newest)
        batch = self._batch(boxes, origin, labels=labels[None], colors=colors[None])
        with timed(stages, "prefix"), self._autocast():
            scene = self.model.encode_scene(batch, self.prompt_tokens)
            return self._named(objects, scene, newest), scene

    @property
    def has_referents(self) -> bool:
        """Whether the network finds places of its own that can be objects."""
        return self.model.psa is not None

    @torch.inference_mode()
    def read_referents(self, snapshot: Snapshot) -> tuple[list[Box3D], list[float]]:
        """The boxes of the network's referents in the world of the views, and how likely each is an
        object, likeliest first. Raises ConfigError where the network has none.
        """
        self._see_all(snapshot)
        origin = _scene_origin([view for view, _ in self._views.values()])
        batch = self._batch(np.empty((0, 6)), origin)
        with self._autocast():
            found, likely = self.model.propose(batch)
        rows = found.boxes[0][found.object_valid[0]].float().cpu().numpy().astype(float)
        boxes = [Box3D(tuple(row[:3] + origin), tuple(row[3:])) for row in rows]
        return boxes, likely[0][found.object_valid[0]].float().cpu().tolist()

    @torch.inference_mode()
    def read_phrases(
        self, scene: EncodedScene, phrases: Sequence[str], names: Sequence[str] = ()
    ) -> Tensor:
        """Scores (Q, N + 1) of the objects for each phrase, "nothing" last; one pass for all of
        them. `names`, the true ones, are read in category mode `given` alone.

        Raises QueryError when a question is longer than the network can read.
        """
        known = names if self.prompt.category_mode == "given" and names else [""] * len(phrases)
        sentences = [self.prompt.grounding(*pair) for pair in zip(phrases, known, strict=True)]
        words = self.prompt.batch(sentences, [0] * len(phrases)).to(self.device)
        with self._autocast():
            return (
                score_questions(self.model, scene, words, self.prompt_tokens).scores.float().cpu()
            )

    def can(self, task: Task) -> bool:
        """Whether the weights were trained for a task (`tasks` in their config.yaml)."""
        return task in self.model.config.tasks

    @torch.inference_mode()
    def read_answer(
        self, scene: EncodedScene, question: str, task: Task = "ask", beams: int = 1
    ) -> tuple[str, Tensor]:
        """The network's own words, unread, and how likely the question is about each object (N,).
        Where only a number can answer, it writes the number that it holds for likeliest.

        Raises NotAvailableError where the weights were not trained for the task, QueryError when
        the question is longer than the network can read.
        """
        if not self.can(task):
            config = self.model.config
            raise NotAvailableError(
                f"the weights of '{config.name}' were not trained for '{task}', only for "
                f"{', '.join(config.tasks)} (tasks in {CONFIG})"
            )
        words = self.prompt.batch([self.prompt.asking(question)], [0]).to(self.device)
        prompt_tokens, new, letters = self.prompt_tokens, ANSWER_TOKENS, letters_of(question)
        spelling = self.prompt.spelling(letters).to(self.device) if letters else None
        with self._autocast():
            state, subject = prefill_answer(self.model, scene, words, prompt_tokens, new)
            told = decode(
                self.model,
                state,
                prompt_tokens,
                max_new_tokens=new,
                beams=beams,
                allowed_tokens=spelling,
            )
        return self.prompt.text(told[0]), subject.logits[0].sigmoid().float().cpu()

    def read_number(self, scene: EncodedScene, question: str) -> float | None:
        """The metres that the network itself writes to a question about a distance; None where the
        weights were not trained for it, or what it writes is no distance.
        """
        if not self.can("distance"):
            return None
        return read_metres(self.read_answer(scene, question, "distance")[0])

    def read_caption(self, scene: EncodedScene, slot: int, beams: int = 1) -> str:
        """What the network says of the object in a slot of the scene. Raises NotAvailableError."""
        question = f"describe {identifier(slot % MAX_IDENTIFIERS)}"
        return self.read_answer(scene, question, "caption", beams)[0]

    def forget_views(self) -> None:
        """Drop the features of all views: their places in the world have changed."""
        self._views.clear()

    def _see_all(self, snapshot: Snapshot) -> None:
        """The features of all views; only those that are new pass the vision tower."""
        self._views = {
            view.id: self._views.get(view.id) or self._see(view) for view in snapshot.views
        }

    def _batch(self, boxes: np.ndarray, origin: np.ndarray, **known: Tensor) -> SceneBatch:
        """The views, and boxes (N, 6) in their frame at `origin` with what is `known` of them."""
        return SceneBatch(
            boxes=torch.from_numpy(boxes).float()[None],
            object_valid=torch.ones(1, len(boxes), dtype=torch.bool),
            patches=torch.stack([patches for _, patches in self._views.values()])[None],
            **known,
            **stack_views([view for view, _ in self._views.values()], origin),
        ).to(self.device)

    def _see(self, view: View) -> tuple[ViewInput, Tensor]:
        frame, config = view.frame, self.model.config
        prepared = prepare_view(
            frame.rgb,
            frame.depth,
            frame.camera,
            frame.world_T_camera,
            config.vision,
            config.pooled_grid,
        )
        with self._autocast():
            patches = self.model.encode_views(prepared.pixels[None].to(self.device))[0]
        return prepared, patches.float()

    def _remembered(self, objects: Sequence[SceneObject], newest_ns: int) -> tuple[Tensor, Tensor]:
        """What is known of objects besides pixels: the words (N, T) of a detector, and of those
        that the newest look did not find again the words and the colour (N, 3).
        """
        old = [thing.stamp_ns < newest_ns and bool(thing.label) for thing in objects]
        known = [
            late or thing.label_from_detector for thing, late in zip(objects, old, strict=True)
        ]
        labels = self.prompt.name_ids(
            [thing.label if word else "" for thing, word in zip(objects, known, strict=True)]
        )
        colors = torch.tensor([thing.rgb for thing in objects], dtype=torch.float32) / 255
        return (
            labels.masked_fill(~torch.tensor(known)[:, None], -1),
            colors.masked_fill(~torch.tensor(old)[:, None], torch.nan),
        )

    def _named(
        self, objects: Sequence[SceneObject], scene: EncodedScene, newest_ns: int
    ) -> tuple[SceneObject, ...]:
        names, model = self.model.config.names, self.model
        if not names.classes:
            return tuple(objects)
        kinds, colors = (
            namer(
                scene.object_features,
                label_embeddings(self.prompt.name_ids(words).to(self.device), model.decoder.embed)[
                    1
                ],
            )[0].argmax(-1)
            for namer, words in (
                (model.name_class, names.classes),
                (model.name_color, names.colors),
            )
        )
        return tuple(
            thing
            if thing.label
            and thing.stamp_ns < newest_ns
            and (thing.color or not thing.label_from_detector)
            else replace(
                thing,
                label=thing.label if thing.label_from_detector else names.classes[kind],
                color=names.colors[color],
            )
            for thing, kind, color in zip(objects, kinds.tolist(), colors.tolist(), strict=True)
        )

    def _autocast(self) -> AbstractContextManager:
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)


def _scene_origin(views: Sequence[ViewInput]) -> np.ndarray:
    """Centre of the floor of what is seen (METHODS 3.3), on a coarse grid so that it seldom
    moves.
    """
    points = torch.cat([view.points[::4, ::4][view.valid[::4, ::4]] for view in views])
    if not len(points):
        return np.zeros(3)
    low, high = points.quantile(0.02, dim=0), points.quantile(0.98, dim=0)
    floor = points[:, 2].quantile(0.01)
    middle = ((low + high) / 2)[:2].round()
    return np.array([*middle.tolist(), round(float(floor), 1)])


def _resolve(device: str, dtype: str) -> tuple[torch.device, torch.dtype]:
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        place = torch.device(device)
    except RuntimeError as error:
        raise ConfigError(
            f"device: '{device}' is unknown; use auto, cpu, cuda or cuda:1"
        ) from error
    if place.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            f"device: '{device}' was asked for, but torch sees no CUDA device; use cpu or auto"
        )
    if dtype == "auto":
        dtype = "bfloat16" if place.type == "cuda" else "float32"
    if dtype not in _DTYPES:
        raise ConfigError(f"dtype: '{dtype}' is unknown; use auto, {', '.join(_DTYPES)}")
    return place, _DTYPES[dtype]
