"""Which object of the memory a newly seen one is: at the same place, or moved."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Sequence

import numpy as np

from spatial3d_ros.geometry.box import Box3D, iou_matrix
from spatial3d_ros.memory.records import MemoryObject
from spatial3d_ros.scene.association import assign
from spatial3d_ros.scene.label_distribution import noun_of
from spatial3d_ros.scene.objects import SceneObject

STILL_M = 0.1  # motion of a centre by noise
MIN_MOVE_M = 0.3  # centres closer than this are one place
MIN_SIDE_M = 0.15  # by which each side of a box moves with it
SIMILAR_SIZE, SIZE_NOISE_M = 0.2, 0.06  # share, and metres, by which sizes of one object differ
SIMILAR_COLOR = 30.0  # mean difference of the channels, 0 .. 255, after the light is compensated
LIGHT = (0.75, 1.33)  # factor between the light of two places
MIN_COSINE = 0.8  # of two appearance vectors of one object
MIN_SHARED = 0.3  # of two distributions over labels of one object
MISNAMED = 0.5  # of the tolerances of size and colour, for one object under two names
_MIN_PLACE = 0.25
_IMPOSSIBLE = -1.0


def same_place(
    known: Sequence[MemoryObject], seen: Sequence[MemoryObject]
) -> list[tuple[int, int]]:
    """Pairs (index in known, index in seen) of one object at one place.

    Overlap counts most; labels of detectors and people more than those of the network, which
    differ between two views of one object.
    """
    if not known or not seen:
        return []
    a, b = (np.array([o.box.hull().array() for o in part]) for part in (known, seen))
    offset = np.abs(a[:, None, :3] - b[None, :, :3])
    inside = (offset < a[:, None, 3:] / 2).all(2) | (offset < b[None, :, 3:] / 2).all(2)
    volume_a, volume_b = (np.maximum(x[:, 3:], 0.01).prod(1) for x in (a, b))
    ratio = np.minimum(volume_a[:, None], volume_b) / np.maximum(volume_a[:, None], volume_b)
    near = iou_matrix(a, b) + 0.4 * inside * ratio
    # Small things: two looks at a mug may not overlap at all.
    size = np.minimum(a[:, None, 3:].max(2), b[None, :, 3:].max(2))
    distance = np.linalg.norm(a[:, None, :3] - b[None, :, :3], axis=2)
    near = np.maximum(near, 0.4 * (distance < 0.5 * size) * ratio)
    affinity = np.full(near.shape, _IMPOSSIBLE)
    for i, j in zip(*np.nonzero(near > 0.05), strict=True):
        affinity[i, j] = near[i, j] + _label_term(known[i], seen[j])
    return assign(affinity, _MIN_PLACE)


def moved(
    known: Sequence[MemoryObject], seen: Sequence[MemoryObject], brought: Container[int] = ()
) -> list[tuple[int, int]]:
    """Pairs (index in known, index in seen) of one object at two places.

    Labels agree, sizes and colours are similar, appearance vectors of the same weights too, and
    the second place was first seen after the first one was last seen occupied. Labels may differ
    where sizes and colours are very similar and the second place had been seen empty before (ids
    in `brought`). Of several the nearest is taken.
    """
    affinity = np.array(
        [[_moved_affinity(a, b, b.id in brought) for b in seen] for a in known], dtype=np.float64
    ).reshape(len(known), len(seen))
    return assign(affinity, 0.0)


def has_moved(rest: Box3D, before: Box3D, box: Box3D) -> bool:
    """Whether a box is another place of an object that came to rest in `rest`: of the size of the
    box `before`, with its centre and both its sides elsewhere. A box that grew, or was cut, at one
    side is another look at the same place.
    """
    shift = np.subtract(box.center, rest.center)
    if np.linalg.norm(shift) < MIN_MOVE_M or not similar_size(before, box):
        return False
    axis = int(np.abs(shift).argmax())
    sides = np.subtract(box.bounds(), rest.bounds())[:, axis]
    return bool((np.sign(shift[axis]) * sides).min() >= MIN_SIDE_M)


def outside(points: np.ndarray, box: Box3D) -> np.ndarray:
    """The points (n, 3) that are not in a box, nor within `STILL_M` of it."""
    return points[~box.contains(points, margin=STILL_M)]


def grew(before: Box3D, now: Box3D) -> bool:
    """Whether a box is a better look at the same object: much larger than before."""
    return now.volume > 1.3 * before.volume


def shows_less(item: SceneObject, known: MemoryObject) -> bool:
    """Whether a look at an object at its place shows less of its height than an earlier one."""
    if not len(item.points) or not len(known.points):
        return not len(item.points)
    rest = max(np.abs(np.subtract(item.box.center, known.box.center))) < STILL_M
    return bool(rest and np.ptp(item.points[:, 2]) < 0.8 * np.ptp(known.points[:, 2]))


def similar_size(a: Box3D, b: Box3D, tolerance: float = 1.0) -> bool:
    """Whether the sizes are within 20 % or 6 cm, times `tolerance`; a turn by 90 degrees changes
    nothing.
    """
    one, two = (np.array([*sorted(box.hull().size[:2]), box.size[2]]) for box in (a, b))
    margin = np.maximum(SIMILAR_SIZE * np.maximum(one, two), SIZE_NOISE_M)
    return bool((np.abs(one - two) <= tolerance * margin).all())


def alike(known: MemoryObject, seen: MemoryObject) -> bool:
    """Whether label and colour allow that an object is back at its place."""
    similar = color_distance(known.rgb, seen.rgb) <= SIMILAR_COLOR
    return similar and same_kind(known, seen)


def color_distance(a: Sequence[float], b: Sequence[float]) -> float:
    """Mean difference of the channels of two colours, 0 .. 255, the second one in the light of the
    first: all channels times one factor.
    """
    one, two = np.array(a, float), np.array(b, float)
    factor = np.clip(one @ two / max(float(two @ two), 1e-6), *LIGHT)
    return float(np.abs(one - factor * two).mean())


def labels_agree(a: MemoryObject, b: MemoryObject) -> bool:
    """Whether two labels name one kind of thing ("chair", "office chair"); unknown ones do not."""
    one, two = a.label.lower(), b.label.lower()
    return bool(one and two) and (one == two or one.split()[-1] == two.split()[-1])


def same_kind(a: MemoryObject, b: MemoryObject) -> bool:
    """Whether labels agree, or the distributions over them share enough."""
    if labels_agree(a, b):
        return True
    shares: list[defaultdict[str, float]] = [defaultdict(float), defaultdict(float)]
    for kinds, known in zip(shares, (a, b), strict=True):
        for label, share in known.labels:
            kinds[noun_of(label)] += share
    one, two = shares
    return sum(min(one[kind], two[kind]) for kind in one.keys() & two.keys()) >= MIN_SHARED


def _moved_affinity(known: MemoryObject, seen: MemoryObject, brought: bool) -> float:
    # Sessions follow each other even if the clock was set back between them.
    if seen.session == known.session and seen.first_ns <= known.last_ns:
        return _IMPOSSIBLE
    agree = same_kind(known, seen)
    if not agree and (not brought or known.label_pinned):
        return _IMPOSSIBLE
    tolerance = 1.0 if agree else MISNAMED
    if not similar_size(known.box, seen.box, tolerance):
        return _IMPOSSIBLE
    color = color_distance(known.rgb, seen.rgb)
    if color > tolerance * SIMILAR_COLOR:
        return _IMPOSSIBLE
    likeness = 1.0 - 0.5 * color / SIMILAR_COLOR
    if (
        known.appearance is not None
        and seen.appearance is not None
        and known.weights == seen.weights
    ):
        cosine = float(known.appearance.astype(float) @ seen.appearance.astype(float))
        if cosine < MIN_COSINE:
            return _IMPOSSIBLE
        likeness += cosine
    distance = float(np.linalg.norm(np.subtract(known.box.center, seen.box.center)))
    return likeness + 0.3 * agree + 0.2 / (1.0 + distance)


def _label_term(known: MemoryObject, seen: MemoryObject) -> float:
    if not known.label or not seen.label:
        return 0.0
    given = known.label_score > 0 or known.label_pinned
    if labels_agree(known, seen):
        return 0.3
    return -0.3 if given and seen.label_score > 0 and not known.label_pinned else -0.05
