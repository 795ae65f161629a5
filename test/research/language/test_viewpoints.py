"""View-dependent relations: small hand-made rooms, and rotated and mirrored rooms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.geometry.relations import SIDES
from spatial3d_ros.research.language.descriptions import Description, Link, ReferenceResolver
from spatial3d_ros.research.language.relations import bits
from spatial3d_ros.research.rooms.catalog import FLOOR, WALL, RoomObject
from spatial3d_ros.research.rooms.generator import generate_room

OPPOSITE = {"left": "right", "right": "left", "front": "behind", "behind": "front"}


def make_object(i, category, x, y, *, color="white", size=(0.4, 0.4, 0.8), support=FLOOR):
    box = Box3D((x, y, size[2] / 2), size)
    return RoomObject(i, category, color, (255, 255, 255), box, support, 0.0, "wood", 0)


def room(*chairs):
    """A table at the origin between a door in the west and a sofa in the east, and some chairs."""
    walls = (
        make_object(0, "door", -3, 0, size=(0.06, 0.9, 2.0), support=WALL),
        make_object(1, "table", 0, 0),
        make_object(2, "sofa", 3, 0, size=(0.9, 1.6, 0.8)),
    )
    return ReferenceResolver(
        [*walls, *(make_object(3 + i, "chair", *at) for i, at in enumerate(chairs))]
    )


def resolve(resolver, relation, viewpoint="door", anchor="table", category="chair"):
    """(strict, loose) ids."""
    link = Link(relation, (Description(anchor), Description(viewpoint)))
    return tuple(bits(mask) for mask in resolver.masks(Description(category, links=(link,))))


CROSS = room((0, 1), (0, -1), (-1, 0), (1, 0))


def test_four_sides_from_the_door_and_from_across():
    for side, chair in zip(("left", "right", "front", "behind"), (3, 4, 5, 6), strict=True):
        assert resolve(CROSS, side) == ([chair], [chair])
        assert resolve(CROSS, OPPOSITE[side], viewpoint="sofa") == ([chair], [chair])


@pytest.mark.parametrize(
    ("at", "strict", "loose"),
    [
        ((0.9, 1), True, True),  # 42 degrees
        ((1.1, 1), False, True),
        ((3, 1), False, True),  # 72 degrees
        ((3.5, 0.9), False, False),
        ((0, 0.25), False, True),  # within the margin
        ((0, 2.6), False, True),  # too far
        ((0, 4.1), False, False),
    ],
)
def test_how_clearly_left(at, strict, loose):
    assert resolve(room(at), "left") == ([3] * strict, [3] * loose)


def test_objects_along_a_long_anchor_are_not_beside_it():
    resolver = room((3, 0.7), (3, 1.2))
    assert resolve(resolver, "left", anchor="sofa") == ([4], [3, 4])


def test_nothing_is_behind_a_door():
    assert resolve(room((-3, 0.5)), "behind", "sofa", "door") == ([], [])
    assert resolve(room((-3.4, 0.1)), "behind", "sofa", "door") == ([], [3])
    assert resolve(room((-2, 0)), "front", "sofa", "door") == ([3], [3])


def test_a_second_loose_fit_leaves_no_referent():
    link = Link("left", (Description("table"), Description("door")))
    chair = Description("chair", links=(link,))
    assert room((0, 1), (0, -1)).referent(chair) == 3
    assert room((0, 1), (1.5, 1)).referent(chair) == -1


def test_no_relation_from_an_invalid_viewpoint():
    mug = make_object(3, "mug", -3, 1, size=(0.1, 0.1, 0.1))
    resolver = ReferenceResolver(
        [*room().objects, mug, make_object(4, "chair", 0, 1), make_object(5, "bin", 0.9, 0)]
    )
    assert resolver.viewpoints.viewpoints == [0, 1, 2, 4, 5]
    for viewpoint in ("mug", "bin", "table"):  # too small, too near, the same object
        for relation in ("left", "leftmost"):
            assert resolve(resolver, relation, viewpoint)[0] == []


def test_outermost_needs_a_clear_and_whole_view():
    resolver = room((0, 1), (0, -1), (-1, 0), (1, 0))
    assert resolve(resolver, "leftmost") == ([3], [3])
    assert resolve(resolver, "rightmost") == ([4], [4])
    assert resolve(resolver, "leftmost", viewpoint="sofa") == ([4], [4])
    assert resolve(room((0, 1), (0.3, 0.9)), "leftmost") == ([], [3, 4])
    assert resolve(room((0, 1)), "leftmost") == ([], [3])  # nothing to choose
    behind = room((0, 1), (0, -1), (-3.5, 1))
    assert resolve(behind, "rightmost") == ([], [3, 4, 5])


def test_roles_of_a_view():
    link = Link("left", (Description("table"), Description("door")))
    nouns, anchors = CROSS.roles(Description("chair", links=(link,)))
    assert (bits(nouns), bits(anchors)) == ([3, 4, 5, 6], [0, 1])


def changed(objects, matrix):
    """The objects with centres (x, y) and sizes taken through a signed permutation."""
    made = []
    for o in objects:
        x, y = matrix @ o.box.center[:2]
        w, d = np.abs(matrix) @ o.box.size[:2]
        box = Box3D((x, y, o.box.center[2]), (w, d, o.box.size[2]), o.box.yaw)
        made.append(replace(o, box=box))
    return ReferenceResolver(made).viewpoints


@pytest.mark.parametrize("seed", range(8))
def test_rotation_keeps_sides_and_mirroring_swaps_left_and_right(seed):
    objects = generate_room(seed).objects
    views = ReferenceResolver(objects).viewpoints
    turned = changed(objects, np.array([[0, -1], [1, 0]]))
    mirrored = changed(objects, np.array([[1, 0], [0, -1]]))
    for name in SIDES:
        strict, loose = views.side(name)
        assert strict.any() and not (strict & ~loose).any()
        swapped = OPPOSITE[name] if name in ("left", "right") else name
        for k in (0, 1):
            assert np.array_equal(views.side(name)[k], turned.side(name)[k])
            assert np.array_equal(views.side(name)[k], mirrored.side(swapped)[k])
