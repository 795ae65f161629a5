"""Instructions that change the layout of a room, with their meaning (METHODS 3.4).

Objects are named by phrases that fit exactly one of them, as in `questions`; amounts are multiples
of 0.25 m. `edits` computes whether a change is possible, and its outcome. The templates of "train"
and "test" are disjoint.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from spatial3d_ros.categories import CATEGORIES
from spatial3d_ros.english import with_article
from spatial3d_ros.research.language.description_sampler import DescriptionSampler
from spatial3d_ros.research.language.descriptions import Description, ReferenceResolver
from spatial3d_ros.research.language.templates import SIDE_PHRASES, Realizer, templates_of_split
from spatial3d_ros.research.rooms.catalog import (
    FLOOR,
    SMALL,
    WALL,
    RoomObject,
    is_small,
    spec_of,
    support_surface,
)

LAYOUT_KINDS = {
    "towards": 0.14, "away": 0.08, "to_side": 0.08, "next_to": 0.16, "on": 0.1, "side": 0.12,
    "between": 0.06, "put": 0.1, "put_on": 0.06, "swap": 0.05, "remove": 0.05, "turn": 0.05,
}  # fmt: skip
# {a}: "the red chair"; {b}, {c}: the anchors; {v}: the viewpoint; {m}: "0.5 m"; {to}: "to the left
# of"; {way}: "to the left"; {new}: "a lamp"; {d}: "90 degrees".
LAYOUT_TEMPLATES: dict[str, dict[str, tuple[str, ...]]] = {
    "train": {
        "towards": ("move {a} {m} towards {b}", "push {a} {m} towards {b}",
                    "shift {a} by {m} towards {b}", "move {a} {m} in the direction of {b}"),
        "away": ("move {a} {m} away from {b}", "pull {a} {m} away from {b}",
                 "shift {a} by {m} away from {b}"),
        "to_side": ("move {a} {m} {way}, seen from {v}", "seen from {v}, move {a} {m} {way}",
                    "push {a} {m} {way} as seen from {v}"),
        "next_to": ("move {a} next to {b}", "put {a} next to {b}", "place {a} beside {b}",
                    "bring {a} over to {b}", "take {a} and put it next to {b}"),
        "on": ("put {a} on {b}", "place {a} on top of {b}", "move {a} onto {b}",
               "take {a} and put it on {b}"),
        "side": ("move {a} {to} {b}, seen from {v}", "put {a} {to} {b} as seen from {v}",
                 "seen from {v}, place {a} {to} {b}"),
        "between": ("move {a} between {b} and {c}", "put {a} in between {b} and {c}"),
        "put": ("put {new} next to {b}", "place {new} beside {b}", "add {new} next to {b}"),
        "put_on": ("put {new} on {b}", "place {new} on top of {b}", "add {new} on {b}"),
        "swap": ("swap {a} and {b}", "exchange {a} and {b}", "swap {a} with {b}"),
        "remove": ("remove {a}", "take {a} away", "get rid of {a}"),
        "turn": ("turn {a} by {d}", "rotate {a} by {d}", "turn {a} {d}"),
    },
    "test": {
        "towards": ("please move {a} by {m} towards {b}", "could you push {a} {m} closer to {b}?",
                    "slide {a} towards {b} by {m}"),
        "away": ("please move {a} away from {b} by {m}", "slide {a} {m} away from {b}"),
        "to_side": ("could you move {a} by {m} {way}, as seen from {v}?",
                    "slide {a} {m} {way} when seen from {v}"),
        "next_to": ("could you put {a} beside {b}?", "please move {a} over to {b}",
                    "i want you to place {a} right next to {b}"),
        "on": ("could you place {a} on {b}?", "please put {a} onto {b}",
               "take {a} and place it on top of {b}"),
        "side": ("could you place {a} {to} {b}, viewed from {v}?",
                 "please move {a} so that it stands {to} {b}, seen from {v}"),
        "between": ("could you place {a} between {b} and {c}?",
                    "please move {a} between {b} and {c}"),
        "put": ("could you put {new} beside {b}?", "please add {new} right next to {b}"),
        "put_on": ("could you put {new} on top of {b}?", "please place {new} on {b}"),
        "swap": ("could you swap {a} and {b}?", "please exchange {a} with {b}"),
        "remove": ("could you remove {a}?", "please take {a} away"),
        "turn": ("could you rotate {a} by {d}?", "please turn {a} through {d}"),
    },
}  # fmt: skip
_AMOUNTS = {
    0.25: ("0.25 m", "25 cm", "a quarter of a metre"),
    0.5: ("0.5 m", "50 cm", "half a metre", "0.5 metres"),
    0.75: ("0.75 m", "75 cm", "75 centimetres"),
    1.0: ("1 m", "one metre", "1.0 meters", "a metre"),
    1.25: ("1.25 m", "125 cm"),
    1.5: ("1.5 m", "one and a half metres", "150 cm"),
}
_WAYS = {"left": ("to the left", "left"), "right": ("to the right", "right")}
_TURNS = {
    90.0: ("90 degrees", "90 degrees counterclockwise"),
    -90.0: ("90 degrees clockwise", "90 degrees to the right"),
    180.0: ("180 degrees",),
}
_MAX_TOP = 1.3  # of furniture that objects are put on, m
_TRIES = 12


@dataclass(frozen=True)
class LayoutQuestion:
    """One instruction and its meaning.

    kind is "layout", `subkind` one of LAYOUT_KINDS; `relation` the goal: "towards", "away",
    "to_left", "to_right" (by `metres`), "next_to", "on", "left" to "behind", "between", "turn" (by
    `degrees`, counter-clockwise), "swap" or "remove". targets: the id of the object that changes,
    none for a new one, which has a `category` and, if given, a `size` (m); anchors, view: ids.
    """

    subkind: str
    text: str
    relation: str
    targets: tuple[int, ...] = ()
    anchors: tuple[int, ...] = ()
    view: tuple[int, ...] = ()
    metres: float | None = None
    degrees: float = 0.0
    category: str = ""
    size: tuple[float, float, float] | None = None
    kind: str = "layout"

    @property
    def action(self) -> Literal["move", "place", "swap", "remove", "turn"]:
        """The action on the target."""
        if not self.targets:
            return "place"
        return self.relation if self.relation in ("swap", "remove", "turn") else "move"  # type: ignore[return-value]


def make_layout_questions(
    objects: Sequence[RoomObject],
    rng: np.random.Generator,
    n: int,
    *,
    split: str = "train",
    sized: bool = False,
) -> list[LayoutQuestion]:
    """Draw up to `n` different instructions in the proportions of LAYOUT_KINDS; with `sized`, those
    for new objects contain the size.
    """
    fast_rng = random.Random(int(rng.integers(2**62)))
    instructions = _InstructionSampler(
        DescriptionSampler(ReferenceResolver(objects), fast_rng),
        Realizer(fast_rng, split),
        split,
        sized,
    )
    made: dict[str, LayoutQuestion] = {}
    for _ in range(_TRIES * n if objects else 0):
        if len(made) == n:
            break
        subkind = fast_rng.choices(list(LAYOUT_KINDS), list(LAYOUT_KINDS.values()))[0]
        question = instructions.draw(subkind)
        if question is not None:
            made.setdefault(question.text.lower(), question)
    return list(made.values())


class _InstructionSampler:
    def __init__(
        self, sampler: DescriptionSampler, realizer: Realizer, split: str, sized: bool
    ) -> None:
        self.sized = sized
        self.sampler, self.realizer, self.rng = sampler, realizer, realizer.rng
        self.objects = sampler.objects
        self.templates = templates_of_split(LAYOUT_TEMPLATES, split)
        self.known = [
            i for i in range(len(self.objects)) if sampler.by_attribute[i] or sampler.by_size[i]
        ]
        self.movable = [i for i in self.known if self.objects[i].support != WALL]
        self.floor = [i for i in self.known if self.objects[i].support == FLOOR]
        self.tops = [i for i in self.known if _top(self.objects[i])]

    def draw(self, subkind: str) -> LayoutQuestion | None:
        """One instruction of a kind, None where the room has none."""
        rng = self.rng
        chosen = self._choose(subkind)
        if chosen is None:
            return None
        target, anchors, view = chosen
        words = {}
        for name, i in zip("abc", (target, *anchors), strict=False):
            if i is not None:
                words[name] = self._phrase(i)
        if view is not None:
            words["v"] = self._phrase(view)
        metres, degrees, relation, category, size = None, 0.0, subkind, "", None
        if subkind in ("towards", "away", "to_side"):
            metres = rng.choice(list(_AMOUNTS))
            words["m"] = rng.choice(_AMOUNTS[metres])
        if subkind == "to_side":
            side = rng.choice(list(_WAYS))
            relation, words["way"] = f"to_{side}", rng.choice(_WAYS[side])
        elif subkind == "side":
            relation = rng.choice(list(SIDE_PHRASES))
            words["to"] = rng.choice(SIDE_PHRASES[relation])
        elif subkind == "turn":
            degrees = rng.choice(list(_TURNS))
            words["d"] = rng.choice(_TURNS[degrees])
        elif subkind.startswith("put"):
            relation = "on" if subkind == "put_on" else "next_to"
            small = [c for c in SMALL if c != "pillow"] + ["lamp", "plant"]
            large = ["lamp", "plant", "chair", "stool", "bin", "nightstand", "armchair", "box"]
            category = rng.choice(small if relation == "on" else large)
            noun = self.realizer.noun(category)
            words["new"] = with_article(noun)
            if self.sized:
                size = self._size(category, small=relation == "on")
                words["new"] += f" of {' x '.join(f'{side:.2f}' for side in size)} m"
        text = rng.choice(self.templates[subkind]).format(**words)
        ids = tuple(self.objects[i].id for i in anchors)
        return LayoutQuestion(
            subkind, self.realizer.finish(text), relation,
            () if target is None else (self.objects[target].id,), ids,
            () if view is None else (self.objects[view].id,), metres, degrees, category, size,
        )  # fmt: skip

    def _size(self, category: str, *, small: bool) -> tuple[float, float, float]:
        """Full extents (m) in whole centimetres, typical of the category; small: the lower half."""
        spec = CATEGORIES[category]
        share = 0.5 if small else 1.0
        spans = (spec.depth, spec.width, spec.height)
        x, y, z = (
            round(self.rng.uniform(low, low + share * (high - low)), 2) for low, high in spans
        )
        return x, y, z

    def _choose(self, subkind: str) -> tuple[int | None, tuple[int, ...], int | None] | None:
        """Indices of the target, of its anchors, and of the viewpoint."""
        viewpoints = [i for i in self.sampler.resolver.viewpoints.viewpoints if i in self.known]
        targets = {
            "on": [i for i in self.movable if self._is_small(i)],
            "turn": self.floor, "swap": self.floor, "next_to": self.floor, "side": self.floor,
            "between": self.floor, "put": [], "put_on": [],
        }.get(subkind, self.movable)  # fmt: skip
        anchors = {
            "on": self.tops, "put_on": self.tops, "towards": self.known, "away": self.known,
        }.get(subkind, self.floor)  # fmt: skip
        count = {"between": 2, "remove": 0, "turn": 0, "to_side": 0}.get(subkind, 1)
        views = viewpoints if subkind in ("side", "to_side") else []
        needed = [*([targets] if not subkind.startswith("put") else []), *[anchors] * count]
        needed += [views] if subkind in ("side", "to_side") else []
        for _ in range(_TRIES):
            if not all(needed):
                return None
            drawn = [self.rng.choice(group) for group in needed]
            if len(set(drawn)) == len(drawn) and self._has_direction(subkind, drawn):
                target = None if subkind.startswith("put") else drawn.pop(0)
                view = drawn.pop() if views else None
                return target, tuple(drawn), view
        return None

    def _is_small(self, i: int) -> bool:
        return is_small(self.objects[i].category, self.sampler.resolver.rich)

    def _has_direction(self, subkind: str, drawn: list[int]) -> bool:
        """Whether the direction between the last two is well defined."""
        if subkind in ("side", "to_side"):
            return self.sampler.resolver.viewpoints.is_valid(drawn[-1], drawn[-2])
        if subkind in ("towards", "away", "between"):
            return self.sampler.resolver.relations.distances[drawn[-2]][drawn[-1]] > 0.8
        return True

    def _phrase(self, i: int) -> str:
        description = self.sampler.short(i)
        assert isinstance(description, Description)  # `known` holds those that have one
        return self.realizer.definite(description)


def _top(item: RoomObject) -> bool:
    surface = support_surface(item)
    return surface is not None and surface[2] <= _MAX_TOP and bool(spec_of(item).surface)
