"""Instruction data for every task, in the manner of MODLE: one JSON object a line (METHODS 3.4).

A room is drawn, or read from a folder of rendered rooms; its questions and answers are exact. The
stream never holds more than a room; one seed always gives the same bytes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np

from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.geometry.locations import LocationCodec
from spatial3d_ros.research.language.edits import possible_edits
from spatial3d_ros.research.language.layout_instructions import make_layout_questions
from spatial3d_ros.research.language.qa_generator import OpenQuestion, Task, make_open_questions
from spatial3d_ros.research.language.qa_templates import THING
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
_DRAWN = 3  # instructions for one that is told: there is no room for some
_LAYOUT = {"turn": "rotate"}  # actions whose task has another name
_MIN_PIXELS = 6  # in all views, for a thing to exist in a rendered room
Item = dict[str, Any]


def instructions(
    *,
    rooms: int,
    seed: int = 0,
    first: int = 2_000_000,
    each: int = 40,
    split: str = "train",
    families: Sequence[str] = tuple(FAMILIES),
    frame: LocationCodec | None = None,
    store: ViewStore | None = None,
) -> Iterator[Item]:
    """Items about `rooms` rooms, up to `each` about one, in the proportions of FAMILIES.

    Rooms are made from seeds `first` on, or taken from `store`; there, `frames` names the views and
    only what they show exists. `frame` writes places; its origin must be the middle of the floor,
    which is that of a made room.
    """
    frame = LocationCodec() if frame is None else frame
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
            for i, item in enumerate(_MAKERS[name](room, rng, count, split, frame, name)):
                yield _common(room, views, f"{split}/{name}/{i}") | item


def line(item: Item) -> str:
    """An item as one line of JSON."""
    return json.dumps(item, ensure_ascii=False) + "\n"


def _common(room: Room, views: tuple[int, ...] | None, place: str) -> Item:
    scene = f"room_{room.seed}"
    common: Item = {"id": f"{scene}/{place}", "dataset": DATASET, "task": "", "scene_id": scene}
    return common if views is None else common | {"frames": list(views)}


def _places(
    room: Room, rng: np.random.Generator, n: int, split: str, frame: LocationCodec, _: str
) -> Iterator[Item]:
    for question in make_questions(room.objects, rng, n, split=split, kinds=_GROUNDED):
        yield _item("vg", question.text, _grounded(question, room, frame)) | {
            "meta": _meta(frame, question.kind, question.targets, subkind=question.subkind)
        }


def _grounded(question: Question, room: Room, frame: LocationCodec) -> str:
    boxes = [frame.box(o.box) for o in room.objects if o.id in question.targets]
    return " ".join([question.answer, "<ground>", *boxes])


def _words(
    room: Room, rng: np.random.Generator, n: int, split: str, frame: LocationCodec, name: str
) -> Iterator[Item]:
    made = make_open_questions(room.objects, rng, n, split=split, tasks=(_OPEN[name],))
    for question in made:
        text = question.text
        if THING in text:
            box = next(o.box for o in room.objects if o.id == question.about[0])
            text = text.replace(THING, frame.box(box))
        meta = _meta(frame, question.kind, question.about, **_truth(question))
        yield _item(name, text, question.answers[0]) | {"meta": meta}


def _truth(question: OpenQuestion) -> Item:
    if question.metres is not None:
        return {"gt": round(question.metres, 4)}
    return {"answers": list(question.answers)} if len(question.answers) > 1 else {}


def _changes(
    room: Room, rng: np.random.Generator, n: int, split: str, frame: LocationCodec, _: str
) -> Iterator[Item]:
    made = make_layout_questions(room.objects, rng, _DRAWN * n, split=split, sized=True)
    for edit in islice(possible_edits(room, made), n):
        question, action = edit.question, _LAYOUT.get(edit.action, edit.action)
        answer = " ".join(frame.box(_upright(box)) for box in edit.after)
        if not edit.after:
            answer = f"object {edit.objects[0]} removed"
        meta = _meta(
            frame, question.relation, edit.objects, before=[frame.box(box) for box in edit.before]
        )
        told = {
            "anchors": list(question.anchors),
            "seen_from": list(question.view),
            "metres": question.metres,
            "yaw": math.radians(question.degrees),
            "category": question.category,
            "size": list(question.size or ()),
        }
        meta |= {key: value for key, value in told.items() if value}
        yield _item(f"layout_{action}", question.text, answer) | {"meta": meta}


def _upright(box: Box3D) -> Box3D:
    """The box along the axes around one that is turned."""
    return Box3D.from_bounds(*box.bounds()) if box.yaw else box


def _item(task: str, question: str, answer: str) -> Item:
    return {"task": task, "question": question, "answer": answer}


def _meta(frame: LocationCodec, kind: str, ids: Sequence[int], **more: object) -> Item:
    return {"kind": kind, "object_ids": list(ids), "origin": list(frame.origin), **more}


_MAKERS: dict[str, Callable[..., Iterator[Item]]] = {
    "vg": _places, "distance": _words, "vqa": _words, "densecap": _words, "layout": _changes,
}  # fmt: skip
