"""Instruction data for every task, in the manner of MODLE: one JSON object a line (METHODS 3.4).

A room is generated, or read from a folder of rendered rooms; its questions and answers are exact.
The stream holds one room at a time; one seed always gives the same bytes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np

from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.research.language.edits import possible_edits
from spatial3d_ros.research.language.layout_instructions import make_layout_questions
from spatial3d_ros.research.language.location_text import LocationCodec
from spatial3d_ros.research.language.qa_generator import OpenQuestion, Task, make_open_questions
from spatial3d_ros.research.language.qa_templates import OBJECT_SLOT
from spatial3d_ros.research.language.questions import Question, make_questions
from spatial3d_ros.research.rooms.catalog import Room
from spatial3d_ros.research.rooms.generator import generate_room
from spatial3d_ros.research.rooms.view_store import ViewStore

DATASET = "spatial3d_rooms"
FAMILIES: dict[str, float] = {
    "vg": 0.25, "distance": 0.2, "vqa": 0.3, "densecap": 0.1, "layout": 0.15,
}  # fmt: skip
_OPEN: dict[str, Task] = {"distance": "distance", "vqa": "ask", "densecap": "caption"}
_GROUNDED = ("attribute", "size", "relation", "none", "view", "hop", "several")
_OVERSAMPLING = 3  # layout instructions drawn for each that is kept: some cannot be carried out
_TASK_NAMES = {"turn": "rotate"}  # layout actions whose task has another name
_MIN_PIXELS = 6  # in all views, for an object to exist in a rendered room
Item = dict[str, Any]


def instructions(
    *,
    rooms: int,
    seed: int = 0,
    first: int = 2_000_000,
    each: int = 40,
    split: str = "train",
    families: Sequence[str] = tuple(FAMILIES),
    codec: LocationCodec | None = None,
    store: ViewStore | None = None,
) -> Iterator[Item]:
    """Items about `rooms` rooms, up to `each` about one, in the proportions of FAMILIES.

    Rooms are generated from seeds `first` on, or taken from `store`; then `frames` names the views,
    and only objects that they show exist. `codec` writes boxes; its origin must be the middle of
    the floor, as in a generated room.
    """
    codec = LocationCodec() if codec is None else codec
    weights = np.array([FAMILIES[name] for name in families])
    for k in range(rooms if store is None else min(rooms, len(store))):
        views: tuple[int, ...] | None = None
        if store is None:
            room = generate_room(first + k)
        else:
            stored = store[k]
            shown = stored.seen.sum(0)
            objects = tuple(o for o in stored.room.objects if shown[o.id] >= _MIN_PIXELS)
            room = Room(stored.room.seed, stored.room.size, objects)
            views = tuple(range(len(stored.rgb)))
        rng = np.random.default_rng((seed, room.seed, 32452843))
        counts = rng.multinomial(each, weights / weights.sum())
        for name, count in zip(families, counts.tolist(), strict=True):
            for i, item in enumerate(_GENERATORS[name](room, rng, count, split, codec, name)):
                yield _common(room, views, f"{split}/{name}/{i}") | item


def line(item: Item) -> str:
    """An item as one line of JSON."""
    return json.dumps(item, ensure_ascii=False) + "\n"


def _common(room: Room, views: tuple[int, ...] | None, suffix: str) -> Item:
    scene = f"room_{room.seed}"
    common: Item = {"id": f"{scene}/{suffix}", "dataset": DATASET, "task": "", "scene_id": scene}
    return common if views is None else common | {"frames": list(views)}


def _grounding_items(
    room: Room, rng: np.random.Generator, n: int, split: str, codec: LocationCodec, _: str
) -> Iterator[Item]:
    for question in make_questions(room.objects, rng, n, split=split, kinds=_GROUNDED):
        yield _item("vg", question.text, _grounded(question, room, codec)) | {
            "meta": _meta(codec, question.kind, question.targets, subkind=question.subkind)
        }


def _grounded(question: Question, room: Room, codec: LocationCodec) -> str:
    boxes = [codec.box(o.box) for o in room.objects if o.id in question.targets]
    return " ".join([question.answer, "<ground>", *boxes])


def _answer_items(
    room: Room, rng: np.random.Generator, n: int, split: str, codec: LocationCodec, name: str
) -> Iterator[Item]:
    made = make_open_questions(room.objects, rng, n, split=split, tasks=(_OPEN[name],))
    for question in made:
        text = question.text
        if OBJECT_SLOT in text:
            box = next(o.box for o in room.objects if o.id == question.about[0])
            text = text.replace(OBJECT_SLOT, codec.box(box))
        meta = _meta(codec, question.kind, question.about, **_truth(question))
        yield _item(name, text, question.answers[0]) | {"meta": meta}


def _truth(question: OpenQuestion) -> Item:
    if question.metres is not None:
        return {"gt": round(question.metres, 4)}
    return {"answers": list(question.answers)} if len(question.answers) > 1 else {}


def _layout_items(
    room: Room, rng: np.random.Generator, n: int, split: str, codec: LocationCodec, _: str
) -> Iterator[Item]:
    made = make_layout_questions(room.objects, rng, _OVERSAMPLING * n, split=split, sized=True)
    for edit in islice(possible_edits(room, made), n):
        question, action = edit.question, _TASK_NAMES.get(edit.action, edit.action)
        answer = " ".join(codec.box(_axis_aligned(box)) for box in edit.after)
        if not edit.after:
            answer = f"object {edit.objects[0]} removed"
        meta = _meta(
            codec, question.relation, edit.objects, before=[codec.box(box) for box in edit.before]
        )
        details = {
            "anchors": list(question.anchors),
            "seen_from": list(question.view),
            "metres": question.metres,
            "yaw": math.radians(question.degrees),
            "category": question.category,
            "size": list(question.size or ()),
        }
        meta |= {key: value for key, value in details.items() if value}
        yield _item(f"layout_{action}", question.text, answer) | {"meta": meta}


def _axis_aligned(box: Box3D) -> Box3D:
    """The axis-aligned hull of a rotated box."""
    return Box3D.from_bounds(*box.bounds()) if box.yaw else box


def _item(task: str, question: str, answer: str) -> Item:
    return {"task": task, "question": question, "answer": answer}


def _meta(codec: LocationCodec, kind: str, ids: Sequence[int], **more: object) -> Item:
    return {"kind": kind, "object_ids": list(ids), "origin": list(codec.origin), **more}


_GENERATORS: dict[str, Callable[..., Iterator[Item]]] = {
    "vg": _grounding_items,
    "distance": _answer_items,
    "vqa": _answer_items,
    "densecap": _answer_items,
    "layout": _layout_items,
}
