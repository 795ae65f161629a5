"""Training samples: rooms with and without pixels, many questions for each (shared scene,
METHODS 4). home_samples.py adds rooms with the labels and expressions of real homes.

Each room is drawn from the seed, the step, its origin and its index in the step alone: a resumed
run gets the same samples, and any number of processes share the same step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from spatial3d_ros.categories import nouns
from spatial3d_ros.errors import ConfigError
from spatial3d_ros.geometry.box import Box3D, vector
from spatial3d_ros.model.batch import SceneBatch, prepare_view, stack_views
from spatial3d_ros.model.config import ModelConfig
from spatial3d_ros.research.language.descriptions import Description, ReferenceResolver
from spatial3d_ros.research.language.location_text import LocationCodec
from spatial3d_ros.research.language.qa_generator import OpenQuestion
from spatial3d_ros.research.language.questions import Question, make_questions
from spatial3d_ros.research.language.relations import bits
from spatial3d_ros.research.language.view_questions import AskedViews, make_view_questions
from spatial3d_ros.research.rooms.generator import Room, RoomObject, generate_room
from spatial3d_ros.research.rooms.look_alikes import swapped
from spatial3d_ros.research.rooms.view_store import TRUTH_STRIDE, RoomViews, ViewStore
from spatial3d_ros.research.training.answers import (
    collate_answers,
    draw_open_questions,
    with_turned_box,
)
from spatial3d_ros.research.training.augmentation import (
    disturb,
    false_boxes,
    split_boxes,
    turn_boxes,
    turn_views,
)
from spatial3d_ros.research.training.config import TrainConfig
from spatial3d_ros.research.training.home_samples import home_fields, make_home_sample
from spatial3d_ros.research.training.label_noise import MAX_LABELS, Labels, draw_labels
from spatial3d_ros.research.training.object_crops import cut_crops
from spatial3d_ros.research.training.patch_truth import (
    UNKNOWN,
    asked_looks,
    object_names,
    unknown_names,
)
from spatial3d_ros.research.training.planar import DEPTH, mask_corners, planar_boxes
from spatial3d_ros.research.training.room_features import RoomFeatures
from spatial3d_ros.research.training.sample import QuestionedRoom, Sample
from spatial3d_ros.research.training.scan_samples import ScanSamples, scan_fields
from spatial3d_ros.tasks.prompt import Prompt

MIN_PIXELS = 6
_TRIES = 50
_REMEMBERED_SHARE = 0.1  # objects with pixels that also have a mean color, as remembered ones
_LABEL_TOKENS = 6


class Samples(Dataset[list[list[Sample]]]):
    """Item i: step i as `accumulate` micro-batches of rendered, boxes-only and home samples.

    `share` is (process p, processes): room j of a step belongs to process j modulo processes.
    Raises ConfigError when a batch has too few rooms for every micro-batch of every process.
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
        parts = self.world * config.accumulate
        self.scans: ScanSamples | None = None
        if config.scans.batch and self.noisy:
            self.scans = ScanSamples(config.scans, model, config.scans.train, config.noise.boxes)
        for name in ("rendered", "boxes", "homes", "scans"):
            batch = getattr(config, name).batch
            if self.noisy and 0 < batch < parts:
                raise ConfigError(
                    f"{name}.batch: {batch} rooms for {self.world} processes x accumulate "
                    f"{config.accumulate}; give at least {parts}, or 0"
                )

    def __len__(self) -> int:
        return self.config.steps - self.start

    def __getitem__(self, index: int) -> list[list[Sample]]:
        if index >= len(self):
            raise IndexError(index)
        return [self._micro_batch(index + self.start, i) for i in range(self.config.accumulate)]

    def _micro_batch(self, step: int, micro_batch: int) -> list[Sample]:
        rendered, boxes, homes = self.config.rendered, self.config.boxes, self.config.homes
        mine = slice(
            self.rank + micro_batch * self.world, None, self.world * self.config.accumulate
        )
        samples = []
        if self.store is not None and rendered.batch and step >= rendered.start:
            most = rendered.views
            views = rendered.shown or int(self._rng(step).integers(max(1, most // 2), most + 1))
            draws = [self._rng(step, 0, i) for i in range(rendered.batch)[mine]]
            samples.append(self.collate([self._some_room(rng, views) for rng in draws]))
        if boxes.batch:
            first = boxes.first + step * boxes.batch
            indices = range(boxes.batch)[mine]
            rooms = [self.boxes_room(first + i, self._rng(step, 1, i)) for i in indices]
            samples.append(self.collate(rooms))
        if homes.batch:
            first = homes.first + step * homes.batch
            indices = range(homes.batch)[mine]
            made = [make_home_sample(first + i, self._rng(step, 2, i), homes) for i in indices]
            samples.append(Sample(**home_fields(made, self.prompt, self.model.names)))
        if self.scans is not None:
            draws = [self._rng(step, 3, i) for i in range(self.config.scans.batch)[mine]]
            scenes = [self.scans.draw(rng) for rng in draws]
            samples.append(Sample(**scan_fields(scenes, self.prompt, self.model.names)))
        return samples

    def _rng(self, step: int, *index: int) -> np.random.Generator:
        return np.random.default_rng((self.config.seed, step, 31, *index))

    def _some_room(self, rng: np.random.Generator, views: int) -> QuestionedRoom:
        """A stored room whose views show enough objects for a question."""
        for _ in range(_TRIES):
            room = self.rendered_room(self.store[int(rng.integers(len(self.store)))], rng, views)
            if room.questions:
                return room
        raise ConfigError(f"{self.store.folder}: {_TRIES} rooms drawn, no room shows two objects")

    def boxes_room(self, seed: int, rng: np.random.Generator) -> QuestionedRoom:
        """A room of labelled, colored boxes without pixels."""
        objects = list(generate_room(seed, catalog=self.config.boxes.catalog).objects)
        return self.questioned(objects, rng, self.config.boxes.questions, None)

    def rendered_room(
        self, stored: RoomViews, rng: np.random.Generator, views: int
    ) -> QuestionedRoom:
        """A room in `views` of its stored views, without objects that none of them shows."""
        chosen = np.sort(
            rng.choice(len(stored.rgb), size=min(views, len(stored.rgb)), replace=False)
        )
        pixels = stored.seen[chosen].sum(0)
        objects = [o for o in stored.room.objects if pixels[o.id] >= MIN_PIXELS]
        config, patches = self.config.rendered, None
        if config.cache is not None:
            patches = RoomFeatures(Path(config.cache)).read(stored.room.seed)[None, chosen]
        relit = self.noisy and patches is None
        gain = rng.uniform(0.85, 1.15, size=3) * rng.uniform(0.85, 1.15) if relit else np.ones(3)
        flat, camera = config.flat, stored.camera
        depth = np.full_like(stored.depth[:1], DEPTH) if flat else stored.depth
        images = [np.clip(stored.rgb[v] * gain, 0, 255).astype(np.uint8) for v in chosen]
        inputs = [
            prepare_view(
                image,
                depth[0] if flat else depth[v],
                camera,
                np.eye(4) if flat else stored.pose[v],
                self.model.vision,
                self.model.pooled_grid,
            )
            for image, v in zip(images, chosen, strict=True)
        ]
        views_of = stack_views(inputs, np.zeros(3))
        asked = None
        if config.sets is not None:
            seen = AskedViews.of(stored, chosen)
            asked = make_view_questions(
                objects, seen, rng, config.questions, split=self.split, sets=config.sets
            )
        boxes = None
        if flat:
            ids = [o.id for o in objects]
            corners = mask_corners(stored.instance[chosen[0]], ids, TRUTH_STRIDE)
            boxes = planar_boxes(corners, camera)
        made = self.questioned(
            objects,
            rng,
            config.questions,
            views_of if patches is None else views_of | {"patches": patches},
            frozenset(o.id for o in objects if stored.truncated_everywhere(o, chosen)),
            images,
            asked,
            stored.room,
            boxes,
        )
        if self.noisy:
            return made
        marks = {"occluded": frozenset(o.id for o in objects if stored.hidden(o, chosen))}
        if config.catalog == "changing":
            marks["moved"] = frozenset(swapped(stored.room))
        return replace(made, marks=marks)

    def questioned(
        self,
        objects: list[RoomObject],
        rng: np.random.Generator,
        count: int,
        views: dict[str, Tensor] | None,
        partly: frozenset[int] = frozenset(),
        images: Sequence[np.ndarray] = (),
        asked: Sequence[tuple[Question, int]] | None = None,
        room: Room | None = None,
        planar: np.ndarray | None = None,
    ) -> QuestionedRoom:
        """A room of these objects in random slot order, with up to `count` questions, or those
        `asked` with their numbers of candidates. images: the camera images of the views, from which
        crops are cut. room: the room itself, for edits. planar: boxes (n, 6) of the objects in a
        picture in place of their own.
        """
        favour = self.config.rendered.favour if views is not None and self.noisy else {}
        questions = (
            make_questions(objects, rng, count, split=self.split, favour=favour)
            if len(objects) > 1 and asked is None
            else [question for question, _ in asked or ()]
        )
        open_questions = draw_open_questions(objects, rng, self.config.answers, self.split, room)
        noise = self.config.noise
        place = {o.id: k for k, o in enumerate(objects)}
        if self.noisy and noise.missed:
            objects, questions, open_questions = _missed(
                objects, questions, open_questions, noise.missed, rng
            )
        owners: list[RoomObject | None] = list(objects)
        boxes = np.array([o.box.array() for o in objects]).reshape(-1, 6)
        if planar is not None:
            boxes = planar[[place[o.id] for o in objects]]
        if self.noisy and noise.split:
            boxes, parts, _ = split_boxes(boxes, noise.split, rng)
            boxes, owners = np.concatenate([boxes, parts]), owners + [None] * len(parts)
        if self.noisy and noise.boxes:
            boxes = disturb(boxes, rng)
            false = false_boxes(boxes, rng, noise.false_boxes)
            boxes, owners = np.concatenate([boxes, false]), owners + [None] * len(false)
        labelled = {
            o.id: _shade(o, rng)
            for o in objects
            if views is None or (self.noisy and rng.random() < _REMEMBERED_SHARE)
        }
        labels: dict[int, Labels] = {}
        if views is None:
            labels = {o.id: [(nouns(o.category)[0], 1.0)] for o in objects}
        elif self.noisy:
            drawn = draw_labels(objects, rng)
            labels = {o.id: found for o, found in zip(objects, drawn, strict=True)}
        order = rng.permutation(len(boxes))
        boxes, owners = boxes[order], [owners[i] for i in order]
        crops = {}
        if images and views is not None and "crops" in self.model.objects.channels:
            crops = cut_crops(images, views, boxes, self.model.vision)
        moves = self.noisy and planar is None
        turn = int(rng.integers(4)) if moves else 0
        shift = np.append(rng.uniform(-1.5, 1.5, 2), 0.0) if moves else np.zeros(3)
        return QuestionedRoom(
            turn_boxes(boxes, turn, shift),
            owners,
            questions,
            turn_views(views, turn, shift),
            partly,
            labelled,
            labels,
            crops,
            [with_turned_box(question, turn, shift) for question in open_questions],
            tuple(candidates for _, candidates in asked or ()),
        )

    def _answer(self, room: QuestionedRoom, slot: dict[int, int], wanted: tuple[int, ...]) -> str:
        """The text of an answer; none where nothing is learnt from it, which saves its tokens."""
        s2 = self.model.s2
        if s2.category_mode == "none" and not s2.lang.weight:
            return ""
        return _answer(room, slot, wanted, self.config.rendered.answer)

    def collate(self, rooms: Sequence[QuestionedRoom]) -> Sample:
        """Pad rooms into one batch and tokenise their questions."""
        count = max((len(r.boxes) for r in rooms), default=0)
        boxes = torch.zeros(len(rooms), count, 6)
        valid = torch.zeros(len(rooms), count, dtype=torch.bool)
        names = unknown_names(self.model.names, len(rooms), count)
        labels = torch.full((len(rooms), count, MAX_LABELS, _LABEL_TOKENS), -1)
        shares = torch.zeros(len(rooms), count, MAX_LABELS)
        rgb = torch.full((len(rooms), count, 3), torch.nan)
        sentences, scene, targets, roles, kinds, partly = [], [], [], [], [], []
        open_questions, meant = [], []
        for b, room in enumerate(rooms):
            boxes[b, : len(room.boxes)] = torch.from_numpy(room.boxes).float()
            valid[b, : len(room.boxes)] = True
            slot = {owner.id: i for i, owner in enumerate(room.owners) if owner is not None}
            open_questions.append((slot, room.open_questions))
            for i, owner in enumerate(room.owners):
                if owner is not None and owner.id in room.labelled:
                    rgb[b, i] = torch.from_numpy(room.labelled[owner.id])
                found = room.labels.get(owner.id, []) if owner is not None else []
                for k, (text, share) in enumerate(found):
                    ids = self.prompt.name_ids([text])[0, :_LABEL_TOKENS]
                    labels[b, i, k, : len(ids)], shares[b, i, k] = ids, share
            real = torch.tensor([i for i, owner in enumerate(room.owners) if owner is not None])
            known = [owner for owner in room.owners if owner is not None]
            for head, ids in object_names(known, self.model.names).items():
                found = torch.from_numpy(ids)
                names[head][b, real] = found.masked_fill(found < 0, UNKNOWN)
            objects = [owner for owner in room.owners if owner is not None]
            meanings = ReferenceResolver(objects) if room.questions else None
            for question in room.questions:
                for text, wanted, meaning in _phrases(question):
                    answer = self._answer(room, slot, wanted)
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
                    meant.append(meaning)
                    partly.append(not room.partly.isdisjoint(wanted))
        words = self.prompt.batch(sentences, scene)
        given = {"labels": labels, "label_shares": shares, "colors": rgb}
        if rooms[0].views is None:
            batch = SceneBatch(boxes, valid, **given)
        else:
            stacked = {k: torch.cat([r.views[k] for r in rooms]) for k in rooms[0].views}
            for name in rooms[0].crops:
                parts = [room.crops[name] for room in rooms]
                stacked[name] = torch.nn.utils.rnn.pad_sequence(parts, batch_first=True)
            batch = SceneBatch(boxes, valid, **given, **stacked)
        return Sample(
            batch,
            words,
            torch.stack(targets),
            torch.stack(roles),
            self.prompt.labels(words, sentences),
            names,
            asked_looks(meant, self.model.names),
            tuple(kinds),
            tuple(partly),
            collate_answers(self.prompt, open_questions, count),
        )


def _missed(
    objects: list[RoomObject],
    questions: list[Question],
    written: list[OpenQuestion],
    share: float,
    rng: np.random.Generator,
) -> tuple[list[RoomObject], list[Question], list[OpenQuestion]]:
    """A room without that share of its objects, and the questions about the others; all where no
    question would be left.
    """
    gone = {o.id for o in objects if rng.random() < share}
    left = [q for q in questions if gone.isdisjoint((*q.targets, *q.second))]
    if not left:
        return objects, questions, written
    kept = [o for o in objects if o.id not in gone]
    return kept, left, [q for q in written if gone.isdisjoint(q.about)]


def _phrases(question: Question) -> list[tuple[str, tuple[int, ...], Description]]:
    """The phrases to ground: the question itself, or the two phrases of a distance question."""
    if question.kind != "distance":
        return [(question.text, question.targets, question.meaning[0])]
    ends = (question.targets, question.second)
    return list(zip(question.phrases, ends, question.meaning, strict=True))


def _answer(room: QuestionedRoom, slot: dict[int, int], wanted: tuple[int, ...], kind: str) -> str:
    if not wanted:
        return "nothing here fits"
    owner = room.owners[slot[wanted[0]]]
    if kind == "box":
        box = room.boxes[slot[wanted[0]]]
        return LocationCodec().box(Box3D(vector(box[:3]), vector(box[3:])))
    return f"the {owner.color} {owner.category}"


def _shade(item: RoomObject, rng: np.random.Generator) -> np.ndarray:
    """The object's color under random light, (3,) in [0, 1]."""
    light, noise = rng.uniform(0.6, 1.1), rng.normal(0, 0.04, 3)
    return np.clip(np.array(item.rgb) / 255 * light + noise, 0, 1)
