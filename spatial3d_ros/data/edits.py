"""Changes of a room with their exact outcome: move, place, remove, swap, rotate (methods 3.4).

Amounts come in steps of 0.25 m. An edit is given only where its outcome is possible: inside the
room, in no other object by more than 10 % of its volume, and standing where the thing can stand.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from spatial3d_ros.geometry.box import Box3D

from .catalog import CATEGORIES, COLORS, FLOOR, SMALL, Room, RoomObject, support_surface
from .descriptions import Meanings
from .drawing import Drawer
from .phrases import Speaker, nouns

Action = Literal["move", "place", "remove", "swap", "rotate"]
ACTIONS: dict[Action, float] = {
    "move": 0.4, "place": 0.25, "remove": 0.1, "swap": 0.1, "rotate": 0.15,
}  # fmt: skip
COLLISION, STEP = 0.1, 0.25
_STANDING = ("lamp", "plant", "bin", "stool", "chair")  # what is placed next to something
_GAPS = (0.05, 0.3)  # metres between a thing and what it is put next to

# {np}, {a}: "the red chair", "the lamp"; {new}: "a red chair"; {m}: "0.5 m"; {size}; {deg}
EDIT_FRAMES: dict[str, dict[str, tuple[str, ...]]] = {
    "train": {
        "towards": ("move {np} {m} towards {a}", "push {np} {m} towards {a}",
                    "move {np} by {m} towards {a}"),
        "away": ("move {np} {m} away from {a}", "pull {np} {m} away from {a}"),
        "next_to": ("move {np} next to {a}", "move {np} over to {a}"),
        "on": ("move {np} onto {a}", "put {np} on {a}"),
        "place next_to": ("put {new} of {size} next to {a}", "place {new} of {size} beside {a}"),
        "place on": ("put {new} of {size} on {a}", "place {new} of {size} on top of {a}"),
        "remove": ("remove {np}", "take {np} away", "delete {np}"),
        "swap": ("swap {np} and {a}", "exchange {np} and {a}"),
        "rotate": ("turn {np} by {deg} degrees", "rotate {np} by {deg} degrees"),
    },
    "test": {
        "towards": ("please shift {np} {m} towards {a}", "slide {np} {m} towards {a}"),
        "away": ("shift {np} {m} away from {a}", "please move {np} {m} away from {a}"),
        "next_to": ("please move {np} beside {a}", "shift {np} next to {a}"),
        "on": ("please put {np} onto {a}", "set {np} on {a}"),
        "place next_to": ("add {new} of {size} next to {a}",
                          "please put {new} of {size} beside {a}"),
        "place on": ("add {new} of {size} on {a}", "please place {new} of {size} on {a}"),
        "remove": ("please remove {np}", "get rid of {np}"),
        "swap": ("please swap {np} with {a}", "interchange {np} and {a}"),
        "rotate": ("please turn {np} by {deg} degrees", "spin {np} by {deg} degrees"),
    },
}  # fmt: skip


@dataclass(frozen=True)
class Edit:
    """One instruction and its outcome.

    kind: "towards", "away" (with metres), "next_to", "on" of move and place; the action otherwise.
    objects: ids of the things changed; anchor: of what they were put to, None without one.
    after: their boxes then, in the order of `objects`; of "place" that of the new thing; none of
        "remove". yaw: of "rotate", rad, counter-clockwise seen from above; its box holds the turn.
    """

    action: Action
    kind: str
    text: str
    objects: tuple[int, ...]
    anchor: int | None
    after: tuple[Box3D, ...]
    metres: float | None = None
    yaw: float | None = None
    category: str | None = None


def make_edits(room: Room, rng: np.random.Generator, n: int, *, split: str = "train") -> list[Edit]:
    """Up to `n` possible edits of a room, no two in the same words."""
    maker = _Maker(room, random.Random(int(rng.integers(2**62))), split)
    made: dict[str, Edit] = {}
    for _ in range(6 * n):
        if len(made) == n:
            break
        action = maker.rng.choices(list(ACTIONS), list(ACTIONS.values()))[0]
        edit = getattr(maker, action)()
        if edit is not None:
            made.setdefault(edit.text, edit)
    return list(made.values())


def possible(room: Room, box: Box3D, without: Sequence[int] = ()) -> bool:
    """Whether a box may be in the room: inside its walls, and in no object but those `without` by
    more than 10 % of its volume.
    """
    low, high = box.bounds()
    half = np.array(room.size) / 2
    walls_low, walls_high = np.array([-half[0], -half[1], 0.0]), np.array([*half[:2], room.size[2]])
    if (low < walls_low - 1e-6).any() or (high > walls_high + 1e-6).any():
        return False
    others = np.array([o.box.array() for o in room.objects if o.id not in without]).reshape(-1, 6)
    lows, highs = others[:, :3] - others[:, 3:] / 2, others[:, :3] + others[:, 3:] / 2
    shared = (np.minimum(highs, high) - np.maximum(lows, low)).clip(0).prod(1)
    return bool((shared <= COLLISION * max(box.volume, 1e-9)).all())


class _Maker:
    """Draws from one room; None where a draw fails. Things are meant by index."""

    def __init__(self, room: Room, rng: random.Random, split: str) -> None:
        self.room, self.rng, self.frames = room, rng, EDIT_FRAMES[split]
        self.meanings = Meanings(room.objects)
        self.drawer, self.speaker = Drawer(self.meanings, rng), Speaker(rng, split)
        carrying = {o.support for o in room.objects}
        self.movable = [
            i for i, o in enumerate(room.objects) if o.support >= FLOOR and o.id not in carrying
        ]

    def move(self) -> Edit | None:
        i, a = self._movable(), self.rng.randrange(len(self.room.objects))
        if i is None or i == a:
            return None
        kind = self.rng.choice(("towards", "away", "next_to", "on"))
        thing, anchor = self.room.objects[i], self.room.objects[a]
        metres = None
        if kind in ("towards", "away"):
            metres = STEP * self.rng.randint(1, 6)
            box = _shifted(thing.box, anchor.box, metres if kind == "towards" else -metres)
            if box is None or not self._stands(thing, box):
                return None
        else:
            box = self._put(thing.box.size, thing.category, anchor, kind, (thing.id,))
        if box is None or not possible(self.room, box, (thing.id, thing.support)):
            return None
        return self._edit("move", kind, (i,), a, (box,), metres=metres)

    def place(self) -> Edit | None:
        a, kind = self.rng.randrange(len(self.room.objects)), self.rng.choice(("next_to", "on"))
        anchor = self.room.objects[a]
        category = self.rng.choice(SMALL if kind == "on" else _STANDING)
        spec = CATEGORIES[category]
        size = tuple(
            round(self.rng.uniform(*side), 2) for side in (spec.depth, spec.width, spec.height)
        )
        box = self._put(size, category, anchor, kind)
        if box is None:
            return None
        color = self.rng.choice(spec.colors or tuple(COLORS))
        new = f"{'an' if color[0] in 'aeiou' else 'a'} {color} {nouns(category)[0]}"
        told = " x ".join(f"{side:.2f}" for side in size) + " m"
        return self._edit(
            "place", kind, (), a, (box,), frame=f"place {kind}", category=category, new=new,
            size=told,
        )  # fmt: skip

    def remove(self) -> Edit | None:
        i = self._movable()
        return None if i is None else self._edit("remove", "remove", (i,), None, ())

    def swap(self) -> Edit | None:
        i, j = self._movable(), self._movable()
        if i is None or j is None or i == j:
            return None
        one, two = self.room.objects[i], self.room.objects[j]
        if one.support != FLOOR or two.support != FLOOR:
            return None
        after = tuple(
            Box3D((*there.box.center[:2], thing.box.center[2]), thing.box.size)
            for thing, there in ((one, two), (two, one))
        )
        if not all(possible(self.room, box, (one.id, two.id)) for box in after):
            return None
        return self._edit("swap", "swap", (i, j), None, after)

    def rotate(self) -> Edit | None:
        i = self._movable()
        if i is None or self.room.objects[i].support != FLOOR:
            return None
        thing, degrees = self.room.objects[i], self.rng.choice((90, 180, 270))
        size = thing.box.size if degrees == 180 else (*thing.box.size[1::-1], thing.box.size[2])
        box = Box3D(thing.box.center, size)
        if not possible(self.room, box, (thing.id,)):
            return None
        return self._edit(
            "rotate", "rotate", (i,), None, (box,), yaw=math.radians(degrees), deg=str(degrees)
        )

    def _movable(self) -> int | None:
        return self.rng.choice(self.movable) if self.movable else None

    def _stands(self, thing: RoomObject, box: Box3D) -> bool:
        """Whether what stood on a thing still does after a shift."""
        if thing.support == FLOOR:
            return True
        below = next((o for o in self.room.objects if o.id == thing.support), None)
        top = None if below is None else support_surface(below)
        center = np.array(box.center[:2])
        return top is not None and bool((center >= top[0]).all() and (center <= top[1]).all())

    def _put(
        self, size: Sequence[float], category: str, anchor: RoomObject, kind: str,
        without: tuple[int, ...] = (),
    ) -> Box3D | None:  # fmt: skip
        """A place on an anchor, or on the floor next to it; None where it has none."""
        rng = self.rng
        if kind == "on":
            top = support_surface(anchor)
            if top is None or category not in SMALL or anchor.id in without:
                return None
            low, high = top[0] + np.array(size[:2]) / 2, top[1] - np.array(size[:2]) / 2
            if (low > high).any():
                return None
            x, y = (rng.uniform(a, b) for a, b in zip(low, high, strict=True))
            box = Box3D((x, y, top[2] + size[2] / 2), tuple(size))
            return box if possible(self.room, box, (*without, anchor.id)) else None
        if anchor.support != FLOOR:
            return None
        axis, side = rng.randrange(2), rng.choice((-1, 1))
        center = list(anchor.box.center[:2])
        center[axis] += side * ((anchor.box.size[axis] + size[axis]) / 2 + rng.uniform(*_GAPS))
        box = Box3D((*center, size[2] / 2), tuple(size))
        return box if possible(self.room, box, without) else None

    def _edit(
        self, action: Action, kind: str, things: tuple[int, ...], anchor: int | None,
        after: tuple[Box3D, ...], *, metres: float | None = None, yaw: float | None = None,
        category: str | None = None, frame: str = "", **words: str,
    ) -> Edit | None:  # fmt: skip
        named = [*things, *(() if anchor is None else (anchor,))]
        described = [self.drawer.short(i) for i in named]
        if None in described:
            return None
        said = [self.speaker.definite(one) for one in described]
        words |= {"np": said[0], "a": said[-1], "m": f"{metres:.2f} m" if metres else ""}
        text = self.speaker.finish(self.rng.choice(self.frames[frame or kind]).format(**words))
        ids = tuple(self.room.objects[i].id for i in things)
        to = None if anchor is None else self.room.objects[anchor].id
        return Edit(action, kind, text, ids, to, after, metres, yaw, category)


def _shifted(box: Box3D, anchor: Box3D, metres: float) -> Box3D | None:
    """The box moved over the floor towards the anchor's centre; None where it would pass it."""
    way = np.subtract(anchor.center, box.center)[:2]
    length = float(np.linalg.norm(way))
    if length < max(0.3, metres):
        return None
    x, y = np.array(box.center[:2]) + way / length * metres
    return Box3D((float(x), float(y), box.center[2]), box.size)
