"""What the category of an object implies: its usual size, and what it can support."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from spatial3d_ros.categories import CATEGORIES, Size, find_category
from spatial3d_ros.errors import QueryError
from spatial3d_ros.scene.free_space import Body
from spatial3d_ros.scene.objects import SceneObject
from spatial3d_ros.tasks.grounding import object_name

_TABLE_TOP: dict[str, Size] = {"lamp": (0.24, 0.24, 0.45), "plant": (0.25, 0.25, 0.4)}
_SIZE_TOLERANCE = 1.5  # ratio of volumes; a box further off the usual sizes has a wrong label


def label_of(phrase: str) -> str:
    """The label of a new object: the category of its phrase, or its last word if none is known."""
    return find_category(phrase) or phrase.split()[-1]


def body(known: SceneObject, phrase: str = "") -> Body:
    """The object as an obstacle and a support; the category of a `phrase` for it overrides its
    label. An object of an unknown category supports others on the top of its box.
    """
    spec = CATEGORIES.get(find_category(phrase) or known.label)
    low, high = known.box.bounds()
    surface = 1.0 if spec is None else spec.surface
    top = float(low[2] + surface * (high[2] - low[2])) if surface else None
    return Body(known.box, top, bool(spec and spec.hollow), object_name(known))


def usual_size(phrase: str, objects: Sequence[SceneObject], *, small: bool = False) -> Size:
    """Full extents (m) of a new object: the median of its category in the scene, else the middle of
    the usual sizes. `small`: the smallest one, for an object that stands on furniture.

    Raises QueryError for a category that is neither known nor in the scene.
    """
    label = label_of(phrase)
    spec = CATEGORIES.get(label)
    sizes = sorted((known.box.size for known in objects if known.label == label), key=prod)
    if spec is not None:
        least, most = prod(spec.smallest) / _SIZE_TOLERANCE, prod(spec.largest) * _SIZE_TOLERANCE
        sizes = [size for size in sizes if least <= prod(size) <= most]
    if sizes and not (small and label in _TABLE_TOP):
        return sizes[0 if small else len(sizes) // 2]
    if spec is None:
        raise QueryError(
            f"query: the usual size of '{phrase}' is not known; give it, e.g. "
            f"'put a {phrase} of 0.4 x 0.4 x 1 m next to the sofa'"
        )
    return _TABLE_TOP.get(label, spec.smallest) if small else spec.middle
