"""What the class of a thing tells about it: its usual size, and what can stand on or under it.

Sizes and surfaces are those of the catalogue of generated rooms, which were chosen after real
furniture. A thing of an unknown class carries others on the top of its box.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from spatial3d_ros.categories import CATEGORIES, COLORS, nouns
from spatial3d_ros.errors import QueryError
from spatial3d_ros.scene.free_space import Body
from spatial3d_ros.scene.objects import SceneObject
from spatial3d_ros.tasks.grounding import name

Size = tuple[float, float, float]

_CATEGORY = {noun: category for category in CATEGORIES for noun in nouns(category)}
_NOUN = re.compile(rf"\b(?:{'|'.join(sorted(_CATEGORY, key=len, reverse=True))})(?=s?\b)")
_TABLE_TOP: dict[str, Size] = {"lamp": (0.24, 0.24, 0.45), "plant": (0.25, 0.25, 0.4)}
_LIKELY = 1.5  # a box further off the usual sizes than this is not what its label says


def category(words: str) -> str | None:
    """The class that a phrase is about: of "the mug on the table" a mug; None if not known."""
    match = _NOUN.search(words)
    return _CATEGORY[match.group()] if match else None


def color(words: str) -> str:
    """The first colour in a phrase, "" without one."""
    said = words.replace("grey", "gray").split()
    return next((word for word in said if word in COLORS), "")


def body(thing: SceneObject, phrase: str = "") -> Body:
    """The thing as an obstacle and a support; a `phrase` that names it says its class for sure."""
    spec = CATEGORIES.get(category(phrase) or thing.label)
    low, high = thing.box.bounds()
    share = 1.0 if spec is None else spec.surface
    top = float(low[2] + share * (high[2] - low[2])) if share else None
    return Body(thing.box, top, bool(spec and spec.hollow), name(thing))


def usual_size(phrase: str, objects: Sequence[SceneObject], *, small: bool = False) -> Size:
    """Full extents (m) of a new thing: those of the middle one of its class in the scene, else the
    middle of the usual ones. `small` asks for one that stands on furniture: the smallest.

    Raises QueryError for a class that is not known and not in the scene.
    """
    kind = category(phrase)
    label = kind or phrase.split()[-1]
    sizes = sorted((o.box.size for o in objects if o.label == label), key=_volume)
    spec = CATEGORIES.get(label)
    if spec is not None:
        least, most = (
            _volume(tuple(span[end] for span in (spec.depth, spec.width, spec.height)))
            for end in (0, 1)
        )
        sizes = [s for s in sizes if least / _LIKELY <= _volume(s) <= most * _LIKELY]
    if sizes and not (small and label in _TABLE_TOP):
        return sizes[0 if small else len(sizes) // 2]
    if spec is None:
        raise QueryError(
            f"query: the usual size of '{phrase}' is not known; say it, e.g. "
            f"'put a {phrase} of 0.4 x 0.4 x 1 m next to the sofa'"
        )
    if small:
        return _TABLE_TOP.get(label, (spec.depth[0], spec.width[0], spec.height[0]))
    return tuple(sum(span) / 2 for span in (spec.depth, spec.width, spec.height))  # type: ignore[return-value]


def _volume(size: Size) -> float:
    return size[0] * size[1] * size[2]
