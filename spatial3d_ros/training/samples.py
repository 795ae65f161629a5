"""Training samples: rooms with pixels and rooms without, many questions for each (shared scene,
methods 4).

Boxes are disturbed the way proposals are: shifted, cut, split, merged, missed. The sample of a step
depends on the seed and the step alone, so that a resumed run sees what it would have seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from spatial3d_ros.data.descriptions import Description, Meanings
from spatial3d_ros.data.language import Question, make_questions
from spatial3d_ros.data.relations import bits
from spatial3d_ros.data.rooms import RoomObject, generate_room
from spatial3d_ros.data.view_store import RoomViews, ViewStore
from spatial3d_ros.model.batch import SceneBatch, prepare_view, stack_views
from spatial3d_ros.model.config import ModelConfig
from spatial3d_ros.model.network import Words
from spatial3d_ros.tasks.prompt import Prompt
from spatial3d_ros.training.config import TrainConfig

MIN_PIXELS = 6
_LABELLED = (
    0.1  # objects with pixels that come with a label and a colour as well, as remembered ones do
)


@dataclass(frozen=True)
class Sample:
    """One batch: scenes, tokenised questions, targets (Q, N + 1) bool, roles (Q, N, 2), next-token
    labels (Q, L), and the class and colour of each object (B, N), -100 where a box is no object.
    kinds names the type of each question; partly tells those whose target no view shows whole.
    """

    scenes: SceneBatch
    words: Words
    targets: Tensor
    roles: Tensor
    labels: Tensor
    classes: Tensor
    colors: Tensor
    kinds: tuple[str, ...]
    partly: tuple[bool, ...]

    @property
    def origin(self) -> str:
        """Where its rooms come from: "rendered" or "boxes"."""
        return "rendered" if self.scenes.has_views else "boxes"


@dataclass(frozen=True, eq=False)
class _Room:
    """Boxes (n, 6) in slot order, the room object in each slot (None: a false box), questions about
    them, and the ids of objects that several views show but none as a whole.
    """

    boxes: np.ndarray
    owners: list[RoomObject | None]
    questions: list[Question]
    views: dict[str, Tensor] | None = None
    partly: frozenset[int] = frozenset()


class Samples(Dataset[list[Sample]]):
    """Item i = the samples of step i: rendered rooms, then boxes-only rooms.

    `share` is (process, processes): each takes its part of every batch.
    """

    def __init__(
        self,
        config: TrainConfig,
        model: ModelConfig,
        prompt: Prompt,
        store: ViewStore | None,
        *,
        start: int = 0,
        split: str = "train",
        share: tuple[int, int] = (0, 1),
    ) -> None:
        self.config, self.model, self.prompt, self.store = config, model, prompt, store
        self.start, self.split = start, split
        self.noisy = split == "train"
        self.rank, self.world = share

    def __len__(self) -> int:
        return self.config.steps - self.start

    def __getitem__(self, index: int) -> list[Sample]:
        step = index + self.start
        if index >= len(self):
            raise IndexError(index)
        rng = np.random.default_rng((self.config.seed, step, self.rank, 31))
        samples = []
        pictures = self.config.rendered.batch // self.world
        if self.store is not None and pictures and step >= self.config.rendered.start:
            chosen = rng.integers(len(self.store), size=pictures)
            most = self.config.rendered.views
            views = int(rng.integers(max(1, most // 2), most + 1))
            rooms = [self.rendered_room(self.store[int(i)], rng, views) for i in chosen]
            samples.append(self.collate(rooms, rng))
        plain = self.config.boxes.batch // self.world
        if plain:
            first = self.config.boxes.first + (step * self.world + self.rank) * plain
            rooms = [self.boxes_room(first + i, rng) for i in range(plain)]
            samples.append(self.collate(rooms, rng))
        return samples

    def boxes_room(self, seed: int, rng: np.random.Generator) -> _Room:
        """A room that is nothing but labelled, coloured boxes."""
        objects = list(generate_room(seed).objects)
        return self._questioned(objects, rng, self.config.boxes.questions, None)

    def rendered_room(self, stored: RoomViews, rng: np.random.Generator, views: int) -> _Room:
        """A room seen in `views` of its stored views; objects that none of them shows do not
        exist.
        """
        chosen = np.sort(
            rng.choice(len(stored.rgb), size=min(views, len(stored.rgb)), replace=False)
        )
        pixels = stored.seen[chosen].sum(0)
        objects = [o for o in stored.room.objects if pixels[o.id] >= MIN_PIXELS]
        gain = (
            rng.uniform(0.85, 1.15, size=3) * rng.uniform(0.85, 1.15) if self.noisy else np.ones(3)
        )
        inputs = [
            prepare_view(
                np.clip(stored.rgb[v] * gain, 0, 255).astype(np.uint8),
                stored.depth[v],
                stored.camera,
                stored.pose[v],
                self.model.vision,
                self.model.pooled_grid,
            )
            for v in chosen
        ]
        return self._questioned(
            objects,
            rng,
            self.config.rendered.questions,
            stack_views(inputs, np.zeros(3)),
            frozenset(o.id for o in objects if stored.cut_everywhere(o, chosen)),
        )

    def _questioned(
        self,
        objects: list[RoomObject],
        rng: np.random.Generator,
        count: int,
        views: dict[str, Tensor] | None,
        partly: frozenset[int] = frozenset(),
    ) -> _Room:
        questions = (
            make_questions(objects, rng, count, split=self.split) if len(objects) > 1 else []
        )
        owners: list[RoomObject | None] = list(objects)
        boxes = np.array([o.box.array() for o in objects]).reshape(-1, 6)
        if self.noisy and self.config.noise.boxes:
            boxes = disturb(boxes, rng)
            false = false_boxes(boxes, rng, self.config.noise.false_boxes)
            boxes, owners = np.concatenate([boxes, false]), owners + [None] * len(false)
        order = rng.permutation(len(boxes))
        boxes, owners = boxes[order], [owners[i] for i in order]
        turn = int(rng.integers(4)) if self.noisy else 0
        shift = np.append(rng.uniform(-1.5, 1.5, 2), 0.0) if self.noisy else np.zeros(3)
        return _Room(
            _turn_boxes(boxes, turn, shift),
            owners,
            questions,
            _turn_views(views, turn, shift),
            partly,
        )

    def collate(self, rooms: Sequence[_Room], rng: np.random.Generator) -> Sample:
        """Pad rooms into one batch and tokenise their questions."""
        count = max((len(r.boxes) for r in rooms), default=0)
        boxes = torch.zeros(len(rooms), count, 6)
        valid = torch.zeros(len(rooms), count, dtype=torch.bool)
        classes = torch.full((len(rooms), count), -100)
        colors = torch.full((len(rooms), count), -100)
        labels = torch.full((len(rooms), count, 4), -1)
        rgb = torch.full((len(rooms), count, 3), torch.nan)
        sentences, scene, targets, roles, kinds, partly = [], [], [], [], [], []
        for b, room in enumerate(rooms):
            boxes[b, : len(room.boxes)] = torch.from_numpy(room.boxes).float()
            valid[b, : len(room.boxes)] = True
            slot = {owner.id: i for i, owner in enumerate(room.owners) if owner is not None}
            for i, owner in enumerate(room.owners):
                if owner is not None:
                    classes[b, i] = self.model.names.classes.index(owner.category)
                    colors[b, i] = self.model.names.colors.index(owner.color)
                    if room.views is None or (self.noisy and rng.random() < _LABELLED):
                        ids = self.prompt.name_ids([owner.category])[0, :4]
                        labels[b, i, : len(ids)] = ids
                        shade = np.array(owner.rgb) / 255 * rng.uniform(0.6, 1.1) + rng.normal(
                            0, 0.04, 3
                        )
                        rgb[b, i] = torch.from_numpy(shade).clamp(0, 1)
            objects = [owner for owner in room.owners if owner is not None]
            meanings = Meanings(objects) if room.questions else None
            for question in room.questions:
                for text, wanted, meaning in _phrases(question):
                    answer = _answer(room.owners, slot, wanted)
                    target = torch.zeros(count + 1, dtype=torch.bool)
                    target[[slot[i] for i in wanted] or [count]] = True
                    role = torch.zeros(count, 2)
                    for column, mask in enumerate(meanings.roles(meaning)):
                        role[[slot[objects[i].id] for i in bits(mask)], column] = 1.0
                    sentences.append(self.prompt.grounding(text, answer))
                    scene.append(b)
                    targets.append(target)
                    roles.append(role)
                    kinds.append(f"{question.kind}/{question.subkind}")
                    partly.append(not room.partly.isdisjoint(wanted))
        words = self.prompt.batch(sentences, scene)
        if rooms[0].views is None:
            batch = SceneBatch(boxes, valid, labels=labels, colors=rgb)
        else:
            stacked = {k: torch.cat([r.views[k] for r in rooms]) for k in rooms[0].views}
            batch = SceneBatch(boxes, valid, labels=labels, colors=rgb, **stacked)
        return Sample(
            batch,
            words,
            torch.stack(targets),
            torch.stack(roles),
            self.prompt.labels(words, sentences),
            classes,
            colors,
            tuple(kinds),
            tuple(partly),
        )


def _phrases(question: Question) -> list[tuple[str, tuple[int, ...], Description]]:
    """What to ground: the question itself, or each of the two phrases of a distance question."""
    if question.kind != "distance":
        return [(question.text, question.targets, question.meaning[0])]
    ends = (question.targets, question.second)
    return list(zip(question.phrases, ends, question.meaning, strict=True))


def _answer(owners: list[RoomObject | None], slot: dict[int, int], wanted: tuple[int, ...]) -> str:
    if not wanted:
        return "nothing here fits"
    owner = owners[slot[wanted[0]]]
    return f"the {owner.color} {owner.category}"


def disturb(boxes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Shift and scale boxes (n, 6) as a segmentation would; one in six loses part of one side."""
    low, high = boxes[:, :3] - boxes[:, 3:] / 2, boxes[:, :3] + boxes[:, 3:] / 2
    strength = rng.choice([0.0, 0.5, 1.0, 2.0])
    sigma = strength * (0.01 + 0.03 * boxes[:, 3:])
    low, high = (
        low + rng.normal(0, 1, low.shape) * sigma,
        high + rng.normal(0, 1, low.shape) * sigma,
    )
    cut = (rng.random(len(boxes)) < 0.16 * (strength > 0))[:, None] & (
        np.arange(3) == rng.integers(3, size=(len(boxes), 1))
    )
    share = rng.uniform(0.1, 0.45, low.shape) * (high - low)
    upper = rng.random(low.shape) < 0.5
    low, high = np.where(cut & ~upper, low + share, low), np.where(cut & upper, high - share, high)
    size = np.maximum(high - low, 0.02)
    return np.concatenate([(low + high) / 2, size], axis=1)


def false_boxes(boxes: np.ndarray, rng: np.random.Generator, share: float) -> np.ndarray:
    """Boxes that are no object (k, 6), at most `share` for each true one: a part of one, two in
    one, or a piece of empty room.
    """
    made = []
    most = round(share * len(boxes))
    for _ in range(int(rng.integers(0, most + 1)) if len(boxes) > 1 else 0):
        i, j = rng.choice(len(boxes), 2, replace=False)
        roll = rng.random()
        if roll < 0.65:
            box = boxes[i].copy()
            axis = int(rng.integers(3))
            box[3 + axis] *= rng.uniform(0.2, 0.45)
            box[axis] += rng.choice([-1, 1]) * box[3 + axis] * 0.6
        elif roll < 0.85:
            low = np.minimum(boxes[i, :3] - boxes[i, 3:] / 2, boxes[j, :3] - boxes[j, 3:] / 2)
            high = np.maximum(boxes[i, :3] + boxes[i, 3:] / 2, boxes[j, :3] + boxes[j, 3:] / 2)
            box = np.concatenate([(low + high) / 2, high - low])
        else:
            box = np.concatenate(
                [boxes[:, :3].mean(0) + rng.normal(0, 1, 3), rng.uniform(0.1, 0.8, 3)]
            )
        made.append(box)
    return np.array(made).reshape(-1, 6)


def _turn_boxes(boxes: np.ndarray, quarter: int, shift: np.ndarray) -> np.ndarray:
    turned = boxes.copy()
    turned[:, :3] = boxes[:, :3] @ _quarter_turn(quarter).T + shift
    if quarter % 2:
        turned[:, 3:5] = boxes[:, [4, 3]]
    return turned


def _turn_views(
    views: dict[str, Tensor] | None, quarter: int, shift: np.ndarray
) -> dict[str, Tensor] | None:
    if views is None:
        return None
    rotation = torch.from_numpy(_quarter_turn(quarter)).float().T
    points = views["points"] @ rotation + torch.from_numpy(shift).float()
    points = torch.where(views["valid"][..., None], points, 0.0)
    motion = torch.eye(4)
    motion[:3, :3], motion[:3, 3] = rotation.T, torch.from_numpy(shift).float()
    rays, poses = views["rays"] @ rotation, motion @ views["poses"]
    return {**views, "points": points, "rays": rays, "poses": poses}


def _quarter_turn(quarter: int) -> np.ndarray:
    cos, sin = ((1, 0), (0, 1), (-1, 0), (0, -1))[quarter % 4]
    return np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]], dtype=np.float64)
