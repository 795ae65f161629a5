"""Questions that only views answer: how look-alikes look, where one is in a picture, and parts of
an object that some views show and others do not; and relations in metres to compare with.

Each question has look-alikes in the sense of its noun: `candidates` fit the words without the part
that decides, so that 1 / candidates is what guessing reaches.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from spatial3d_ros.categories import COLORS
from spatial3d_ros.research.language.description_sampler import HOPS, DescriptionSampler
from spatial3d_ros.research.language.descriptions import Description, ReferenceResolver
from spatial3d_ros.research.language.questions import Question, draw_by_weight
from spatial3d_ros.research.language.relations import bits
from spatial3d_ros.research.language.templates import Realizer, answer_words
from spatial3d_ros.research.rooms.generator import RoomObject
from spatial3d_ros.research.rooms.view_store import RoomViews

SETS: Mapping[str, float] = MappingProxyType(
    {"appearance": 0.35, "metric": 0.2, "hops": 0.1, "picture": 0.2, "parts": 0.15}
)
"""Share of each set. appearance: a pattern, material, shape, state or part with another color;
metric: closest, farthest, next to, between, and (hop) to an anchor that has a relation itself;
hops: only chains of two (hop) and three (hop3) relations; picture: left or right in the first
picture; parts: a colored side that some views of the object show and others do not.
"""
SPECIAL = ("ambiguous", "absent")
"""Sets outside of SETS. ambiguous: several objects fit, and each is right; absent: none fits, as
where words contradict the scene, so that "nothing" is right.
"""
METRIC = ("closest", "farthest", "next_to", "between", "hop")
_RELATED = {"metric": METRIC, "hops": tuple(HOPS)}
_PICTURE = {"left": "on the left", "right": "on the right"}
_MARGIN = 0.1  # of the width of a picture, between an outermost object and the next
_LEAST_PIXELS = 4
_TRIES = 6


@dataclass(frozen=True)
class AskedViews:
    """What the chosen views of a room show: pixels (V, n) of each object, where (V, n) its middle
    is in the picture as a share of the width (NaN if it is not seen), and whether (V, n) a view
    shows the colored side of an object.
    """

    pixels: np.ndarray
    middle: np.ndarray
    side: np.ndarray

    @classmethod
    def of(cls, stored: RoomViews, views: Sequence[int] | np.ndarray) -> AskedViews:
        """Of some views in their order."""
        objects, instance = stored.room.objects, stored.instance[views].astype(int)
        color = stored.color[views]
        shape = len(views), len(objects)
        pixels, side = np.zeros(shape, int), np.zeros(shape, bool)
        middle = np.full(shape, np.nan)
        names = tuple(COLORS)
        for item in objects:
            seen = instance == item.id
            pixels[:, item.id] = seen.sum((1, 2))
            columns = seen.sum(1)
            found = columns.sum(1) > 0
            total = (columns * np.arange(columns.shape[1])).sum(1)[found]
            middle[found, item.id] = total / columns.sum(1)[found] / columns.shape[1]
            if item.look is not None and item.look.side:
                colored = seen & (color == names.index(item.look.side_color))
                side[:, item.id] = colored.sum((1, 2)) >= _LEAST_PIXELS
        return cls(pixels, middle, side)


def make_view_questions(
    objects: Sequence[RoomObject],
    seen: AskedViews,
    rng: np.random.Generator,
    n: int,
    *,
    split: str = "train",
    sets: Mapping[str, float] = SETS,
) -> list[tuple[Question, int]]:
    """Up to `n` different questions about objects of a room, in the proportions of `sets`, each
    with the number of its candidates. `kind` is the set, `subkind` the kind of feature, the
    relation, or the side.
    """
    fast = random.Random(int(rng.integers(2**62)))
    sampler, realizer = DescriptionSampler(ReferenceResolver(objects), fast), Realizer(fast, split)
    asked: set[object] = set()

    def draw(kind: str, failures: int) -> tuple[Question, int] | None:
        made = _draw(kind, sampler, realizer, seen)
        if made is None or made[1] < 2:
            return None
        key = made[0].meaning, made[0].subkind
        if key in asked and failures <= 3:
            return None
        asked.add(key)
        return made

    return draw_by_weight(n, sets, fast, draw)


def _draw(
    kind: str, sampler: DescriptionSampler, realizer: Realizer, seen: AskedViews
) -> tuple[Question, int] | None:
    if kind in SPECIAL:
        return _special(kind, sampler, realizer)
    if kind == "picture":
        return _in_picture(sampler, realizer, seen)
    resolver = sampler.resolver
    for _ in range(_TRIES):
        related = _RELATED.get(kind)
        drawn = sampler.relation(related) if related else sampler.appearance()
        if drawn is None:
            return None
        subkind, meaning = drawn
        target = sampler.objects[resolver.referent(meaning)]
        if not related and (subkind == "side") != (kind == "parts"):
            continue
        if kind == "parts" and not _sometimes_shown(seen, target):
            continue
        plain = meaning if related else replace(meaning, feature=None)
        candidates = resolver.base_of(plain)[1].bit_count()
        text, phrase = realizer.question(meaning)
        return _question(kind, subkind, text, phrase, target, meaning, realizer), candidates
    return None


def _special(
    kind: str, sampler: DescriptionSampler, realizer: Realizer
) -> tuple[Question, int] | None:
    drawn = sampler.absent() if kind == "absent" else sampler.several()
    if drawn is None or drawn[1].category is None:
        return None
    subkind, meaning = drawn
    fitting = bits(sampler.resolver.masks(meaning)[0])
    text, phrase = realizer.question(meaning)
    targets = tuple(sampler.objects[i].id for i in fitting)
    answer = phrase if targets else f"there is no {phrase.removeprefix('the ')}"
    question = Question(
        kind, subkind, realizer.finish(text), targets, answer, phrases=(phrase,), meaning=(meaning,)
    )
    # Guessing among all objects, and "nothing", is right this often.
    return question, round((len(sampler.objects) + 1) / max(1, len(targets)))


def _sometimes_shown(seen: AskedViews, item: RoomObject) -> bool:
    """Whether some of the views of an object show its colored side and others do not."""
    shown = seen.pixels[:, item.id] >= _LEAST_PIXELS
    return bool(seen.side[shown, item.id].any() and not seen.side[shown, item.id].all())


def _in_picture(
    sampler: DescriptionSampler, realizer: Realizer, seen: AskedViews
) -> tuple[Question, int] | None:
    """The one of several that is outermost in the first picture by a margin."""
    rng, objects = sampler.rng, sampler.objects
    groups = [base for base in sampler.groups if base.category is not None]
    if not groups:
        return None
    base = rng.choice(groups)
    fitting = [objects[i] for i in bits(sampler.resolver.base_of(base)[1])]
    shown = [o for o in fitting if seen.pixels[0, o.id] >= _LEAST_PIXELS]
    if len(shown) < 2:
        return None
    side = rng.choice(list(_PICTURE))
    order = sorted(shown, key=lambda o: seen.middle[0, o.id], reverse=side == "right")
    gap = abs(seen.middle[0, order[1].id] - seen.middle[0, order[0].id])
    if gap < _MARGIN:
        return None
    phrase = f"{realizer.definite(base)} {_PICTURE[side]} in the first picture"
    text = rng.choice(realizer.templates["any"]).format(np=phrase)
    return _question("picture", side, text, phrase, order[0], base, realizer), len(shown)


def _question(
    kind: str, subkind: str, text: str, phrase: str, target: RoomObject, meaning: Description,
    realizer: Realizer,
) -> Question:  # fmt: skip
    return Question(
        kind, subkind, realizer.finish(text), (target.id,),
        answer_words(target.color, target.category), phrases=(phrase,), meaning=(meaning,),
    )  # fmt: skip
