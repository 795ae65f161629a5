"""Inference with the network: views and boxes to an encoded scene and labels, phrases to scores."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from spatial3d_ros.errors import ConfigError, NotAvailableError
from spatial3d_ros.geometry.box import Box3D, vector
from spatial3d_ros.model.batch import SceneBatch, ViewInput, prepare_view, stack_views
from spatial3d_ros.model.budget import require_memory
from spatial3d_ros.model.checkpoint import CONFIG, load_model, model_folder
from spatial3d_ros.model.config import Task, load_config
from spatial3d_ros.model.generation import decode, prefill_answer, score_questions
from spatial3d_ros.model.network import SpatialModel
from spatial3d_ros.model.objects import pixel_shades
from spatial3d_ros.model.quantize import Weights, check_weights, place_model
from spatial3d_ros.model.sequence import EncodedScene
from spatial3d_ros.model.tokens import MAX_IDENTIFIERS, identifier
from spatial3d_ros.scene.buffer import Snapshot, View
from spatial3d_ros.scene.label_distribution import KEPT
from spatial3d_ros.scene.objects import SceneObject
from spatial3d_ros.tasks.answer_parser import read_metres
from spatial3d_ros.tasks.object_crops import ObjectCrops
from spatial3d_ros.tasks.object_names import name_objects
from spatial3d_ros.tasks.prompt import Prompt
from spatial3d_ros.tasks.timing import timed

MAX_NEW_TOKENS = 32
_METRES = "0123456789. m"  # the characters of a distance
_DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


class _EncodedView(NamedTuple):
    """A view, its patch features (P, C), and the color names of its pixels (K, S, S), which only a
    network with `objects.channels` reads.
    """

    view: ViewInput
    patches: Tensor
    shades: Tensor | None


class ModelRunner:
    """Holds the weights, and caches the patch features of each view in memory.

    `device` and `dtype` are resolved from "auto"; `weights` is auto, int8 or int4. Not thread-safe
    for `encode_scene` and `propose_referents`, which share the cache.
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
        self._views: dict[int, _EncodedView] = {}
        self._crops = ObjectCrops(model.config, self._encode_crops)
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

        Raises CheckpointError, or ConfigError, also if the network with `max_views` does not fit
        into free memory, which is checked before any weight is read.
        """
        folder = model_folder(model)
        resolved = _resolve(device, dtype)
        check_weights(weights, *resolved)
        if (folder / CONFIG).is_file():
            require_memory(load_config(folder / CONFIG), *resolved, weights, max_views)
        return cls(*load_model(folder, resolved[1]), device, dtype, weights)

    @property
    def runs_on(self) -> str:
        """Device, dtype and quantization, as "cuda:0, bfloat16, int8"."""
        parts = [str(self.device), str(self.dtype).removeprefix("torch.")]
        return ", ".join([*parts, *([] if self.weights == "auto" else [self.weights])])

    @cached_property
    def appearance_weights(self) -> str:
        """The first digits of the SHA-256 of what makes appearance vectors: tower and head."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.model.state_dict().items()):
            if name.startswith(("vision.", "objects.appearance.")) and not tensor.is_meta:
                digest.update(tensor.detach().float().cpu().numpy().tobytes())
        return digest.hexdigest()[:16]

    @property
    def gpu_bytes(self) -> int:
        """Bytes that torch has reserved on the GPU; 0 on the CPU."""
        return torch.cuda.memory_reserved(self.device) if self.device.type == "cuda" else 0

    @torch.inference_mode()
    def warm_up(self) -> None:
        """Run each part once, so that the first question is as fast as the second."""
        side, grid = self.model.config.vision.image_size, self.model.config.pooled_grid
        with self.autocast():
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
        self.score_phrases(scene, ["the red chair"], ["the red chair"])

    @torch.inference_mode()
    def encode_scene(
        self,
        views: Snapshot,
        objects: Sequence[SceneObject],
        stages: dict[str, float] | None = None,
    ) -> tuple[tuple[SceneObject, ...], EncodedScene | None]:
        """Objects (by id) with labels and colors, and the encoded prefix (None without objects).

        If there are more objects than the network takes, the newest and then the best-scored stay.
        Only views that are new since the last call pass the vision tower. The durations of vision
        and prefix are stored in `stages` [ms].
        """
        stages = {} if stages is None else stages
        with timed(stages, "vision"):
            self._encode_views(views)
        newest_first = sorted(objects, key=lambda o: (-o.stamp_ns, -o.score))
        limit = self.model.config.objects.max_objects
        kept = tuple(sorted(newest_first[:limit], key=lambda o: o.id))
        if not kept:
            return kept, None
        origin = self._scene_origin()
        boxes = np.array([known.box.array() for known in kept])
        boxes[:, :3] -= origin
        newest_ns = views.views[-1].frame.stamp_ns
        labels, shares, colors = self.known_attributes(kept, newest_ns)
        crops = self._object_crops(kept, boxes + np.append(origin, np.zeros(3)), views)
        batch = self._batch(
            boxes, origin, labels=labels, label_shares=shares, colors=colors[None], **crops
        )
        with timed(stages, "prefix"), self.autocast():
            scene = self.model.encode_scene(batch, self.prompt_tokens)
            scene = replace(scene, origin=vector(origin))
            return name_objects(self.model.config, kept, scene, newest_ns), scene

    @property
    def has_referents(self) -> bool:
        """Whether the network proposes objects itself."""
        return self.model.psa is not None

    @torch.inference_mode()
    def propose_referents(self, views: Snapshot) -> tuple[list[Box3D], list[float]]:
        """Boxes of the referents in the world frame of the views, and the probability of each to be
        an object, most probable first. Raises ConfigError if the network has none.
        """
        self._encode_views(views)
        origin = self._scene_origin()
        batch = self._batch(np.empty((0, 6)), origin)
        with self.autocast():
            found, objectness = self.model.propose(batch)
        valid = found.object_valid[0]
        rows = found.boxes[0][valid].float().cpu().numpy().astype(float)
        boxes = [Box3D(tuple(row[:3] + origin), tuple(row[3:])) for row in rows]
        return boxes, objectness[0][valid].float().cpu().tolist()

    @torch.inference_mode()
    def score_phrases(
        self, scene: EncodedScene, phrases: Sequence[str], names: Sequence[str] = ()
    ) -> Tensor:
        """Logits (Q, N + 1) of the objects for each phrase, "no target" last, in one pass.

        `names`, the true categories, are used in category mode `given` only. Raises QueryError if
        a question is longer than the network can read.
        """
        given = names if self.prompt.category_mode == "given" and names else [""] * len(phrases)
        sentences = [self.prompt.grounding(*pair) for pair in zip(phrases, given, strict=True)]
        questions = self.prompt.batch(sentences, [0] * len(phrases)).to(self.device)
        with self.autocast():
            output = score_questions(self.model, scene, questions, self.prompt_tokens)
            return output.scores.float().cpu()

    @property
    def names(self) -> tuple[str, ...]:
        """The classes that the network names; empty for one that names nothing."""
        return tuple(self.model.config.names.classes)

    def supports(self, task: Task) -> bool:
        """Whether the weights were trained for a task (`tasks` in their config.yaml)."""
        return task in self.model.config.tasks

    @torch.inference_mode()
    def generate_answer(
        self,
        scene: EncodedScene,
        question: str,
        task: Task = "ask",
        beams: int = 1,
        characters: str = "",
    ) -> tuple[str, Tensor]:
        """The generated text, unchecked, and the probability (N,) that it refers to each object.

        With `characters`, decoding is restricted to these. Raises
        NotAvailableError if the weights were not trained for the task, QueryError if the question
        is longer than the network can read.
        """
        if not self.supports(task):
            config = self.model.config
            raise NotAvailableError(
                f"the weights of '{config.name}' were not trained for '{task}', only for "
                f"{', '.join(config.tasks)} (tasks in {CONFIG})"
            )
        questions = self.prompt.batch([self.prompt.free_form(question)], [0]).to(self.device)
        allowed = self.prompt.allowed_tokens(characters).to(self.device) if characters else None
        with self.autocast():
            state, context = prefill_answer(
                self.model, scene, questions, self.prompt_tokens, MAX_NEW_TOKENS
            )
            ids = decode(
                self.model, state, self.prompt_tokens, max_new_tokens=MAX_NEW_TOKENS, beams=beams,
                allowed_tokens=allowed,
            )  # fmt: skip
        return self.prompt.text(ids[0]), context.logits[0].sigmoid().float().cpu()

    def generate_distance(self, scene: EncodedScene, question: str) -> float | None:
        """The metres that the network generates; None if the weights were not trained for it, or
        the text is no distance.
        """
        if not self.supports("distance"):
            return None
        text = self.generate_answer(scene, question, "distance", characters=_METRES)[0]
        return read_metres(text)

    def generate_caption(self, scene: EncodedScene, index: int, beams: int = 1) -> str:
        """The generated description of the object at an index. Raises NotAvailableError."""
        question = f"describe {identifier(index % MAX_IDENTIFIERS)}"
        return self.generate_answer(scene, question, "caption", beams)[0]

    def view_batch(self, origin: Sequence[float]) -> SceneBatch:
        """The views of the last scene without objects, in the frame at `origin` (3,) metres."""
        return self._batch(np.empty((0, 6)), np.asarray(origin, dtype=float))

    def clear_view_features(self) -> None:
        """Drop the cached features of all views: the world frame has changed."""
        self._views.clear()
        self._crops.clear()

    def _encode_views(self, views: Snapshot) -> None:
        """Bring the cache to these views; only new ones pass the vision tower."""
        self._views = {
            view.id: self._views.get(view.id) or self._encode_view(view) for view in views.views
        }

    def _batch(self, boxes: np.ndarray, origin: np.ndarray, **attributes: Tensor) -> SceneBatch:
        """The views relative to `origin`, and boxes (N, 6) with their known `attributes`."""
        views = [*self._views.values()]
        shades = [encoded.shades for encoded in views if encoded.shades is not None]
        return SceneBatch(
            boxes=torch.from_numpy(boxes).float()[None],
            object_valid=torch.ones(1, len(boxes), dtype=torch.bool),
            patches=torch.stack([encoded.patches for encoded in views])[None],
            shades=torch.stack(shades)[None] if shades else None,
            **attributes,
            **stack_views([encoded.view for encoded in views], origin),
        ).to(self.device)

    def _encode_view(self, view: View) -> _EncodedView:
        frame, config = view.frame, self.model.config
        prepared = prepare_view(
            frame.rgb,
            frame.depth,
            frame.camera,
            frame.world_T_camera,
            config.vision,
            config.pooled_grid,
        )
        with self.autocast():
            patches = self.model.encode_views(prepared.pixels[None].to(self.device))[0]
        shades = pixel_shades(prepared.pixels, config) if config.objects.channels else None
        return _EncodedView(prepared, patches.float(), shades)

    def _object_crops(
        self, objects: Sequence[SceneObject], boxes: np.ndarray, views: Snapshot
    ) -> dict[str, Tensor]:
        """The crops of the batch, if the network reads them: boxes (N, 6) in the world frame."""
        if "crops" not in self.model.config.objects.channels:
            return {}
        newest_ns = views.views[-1].frame.stamp_ns
        prepared = [(view, self._views[view.id].view) for view in views.views]
        crops, valid = self._crops.update(objects, boxes, prepared, newest_ns)
        return {"crops": crops[None], "crop_valid": valid[None]}

    def _encode_crops(self, pixels: Tensor) -> Tensor:
        with self.autocast():
            return self.model.encode_crops(pixels.to(self.device)).float().cpu()

    def known_attributes(
        self, objects: Sequence[SceneObject], newest_ns: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Label tokens (1, N, L, T), -1 if unknown, their probabilities (1, N, L), and colors (N,
        3), NaN if unknown.

        The labels of a recogniser are known; of an object that the newest view did not update, its
        label and color are.
        """
        outdated = [known.stamp_ns < newest_ns and bool(known.label) for known in objects]
        rows = [
            (known.labels or ((known.label, 1.0),)) if old or known.label_from_detector else ()
            for known, old in zip(objects, outdated, strict=True)
        ]
        padded = [(*row, *[("", 0.0)] * (KEPT - len(row)))[:KEPT] for row in rows]
        given = torch.tensor([[bool(label) for label, _ in row] for row in padded])
        labels = self.prompt.name_ids([label for row in padded for label, _ in row])
        labels = labels.unflatten(0, (-1, KEPT)).masked_fill(~given[..., None], -1)
        shares = torch.tensor([[share for _, share in row] for row in padded])
        colors = torch.tensor([known.rgb for known in objects], dtype=torch.float32) / 255
        colors = colors.masked_fill(~torch.tensor(outdated)[:, None], torch.nan)
        return labels[None], shares[None], colors

    def _scene_origin(self) -> np.ndarray:
        """Origin (3,) of the network's frame: center of the observed floor (METHODS 3.3), rounded
        to 1 m and 0.1 m of height so that it seldom changes.
        """
        views = [encoded.view for encoded in self._views.values()]
        every = torch.cat([view.points[::4, ::4][view.valid[::4, ::4]] for view in views])
        if not len(every):
            return np.zeros(3)
        points = every.numpy()  # whose quantiles cost less than torch's
        low, high = np.quantile(points[:, :2], (0.02, 0.98), axis=0)
        middle = ((low + high) / 2).round()
        return np.array([*middle.tolist(), round(float(np.quantile(points[:, 2], 0.01)), 1)])

    def autocast(self) -> AbstractContextManager:
        """The context of every pass of the network: its number format."""
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)


def _resolve(device: str, dtype: str) -> tuple[torch.device, torch.dtype]:
    """The device and dtype that "auto" stands for. Raises ConfigError for unknown ones."""
    cuda = torch.cuda.is_available()
    name = ("cuda" if cuda else "cpu") if device == "auto" else device
    try:
        resolved = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"device: '{name}' is unknown; use auto, cpu, cuda or cuda:1") from error
    if resolved.type == "cuda" and not cuda:
        raise ConfigError(
            f"device: '{name}' is set, but torch sees no CUDA device; use cpu or auto"
        )
    if dtype == "auto":
        dtype = "bfloat16" if resolved.type == "cuda" else "float32"
    if dtype not in _DTYPES:
        raise ConfigError(f"dtype: '{dtype}' is unknown; use auto, {', '.join(_DTYPES)}")
    return resolved, _DTYPES[dtype]
