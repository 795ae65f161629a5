"""Every rendered kind has parts for all its shapes and states, fits its box, and shows its look."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from spatial3d_ros.categories import CLASSES, COLORS, MATERIALS, PATTERNS, SHAPES, STATES, VARIANTS
from spatial3d_ros.errors import ConfigError
from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.geometry.camera import Camera
from spatial3d_ros.geometry.pose import look_at
from spatial3d_ros.object_catalog import OBJECT_KINDS
from spatial3d_ros.research.rooms.appearance import mean_color
from spatial3d_ros.research.rooms.catalog import FLOOR, Look, Room, RoomObject
from spatial3d_ros.research.rooms.kinds import LOOK_ALIKES, Extents, kinds
from spatial3d_ros.research.rooms.meshes import object_mesh
from spatial3d_ros.research.rooms.part_table import parse_part
from spatial3d_ros.research.rooms.render import UNNAMED, Rendered, RoomRenderer

CAMERA = Camera(96, 96, 150.0, 150.0, 48.0, 48.0)
NAMES = tuple(COLORS)


def one(name: str, look: Look, size: float = 1.0, rgb=(200, 40, 40)) -> RoomObject:
    """An object of a kind in the middle of a room, with the middle of its sizes."""
    kind = kinds()[name]
    width, depth, height = (
        size * (low + high) / 2 for low, high in kind.extents(look.shape, look.state)
    )
    box = Box3D((0.0, 0.0, height / 2), (depth, width, height))
    return RoomObject(0, name, "red", rgb, box, FLOOR, 0.0, kind.materials[0], 0, look)


def seen(item: RoomObject, azimuth: float = 0.6) -> Rendered:
    center, reach = np.array(item.box.center), 1.8 * np.linalg.norm(item.box.size)
    eye = center + reach * np.array([np.cos(azimuth), np.sin(azimuth), 0.45])
    return RoomRenderer(Room(3, (9.0, 9.0, 4.0), (item,))).render(CAMERA, look_at(eye, center))


def first_look(name: str) -> Look:
    kind = kinds()[name]
    place = "hung" if kind.places[0] == "hung" else "top"
    return Look(shape=(*kind.shapes, "")[0], state=(*kind.states, "")[0], place=place)


def test_the_table_and_the_word_lists_agree() -> None:
    assert tuple(kinds()) == CLASSES and len(CLASSES) >= 120
    assert set(CLASSES) <= set(OBJECT_KINDS)
    for kind in kinds().values():
        assert set(kind.materials) <= set(MATERIALS) and set(kind.colors) <= set(COLORS)
        assert set(kind.shapes) <= set(SHAPES) and set(kind.states) <= set(STATES)
        assert set(kind.places) <= {"floor", "wall", "top", "hung", "door"}
        named = {line.name for line in kind.parts}
        assert set(kind.two_colored) <= named
        known = {*kind.shapes, *kind.states, "curved", "top", "hung"}
        for line in kind.parts:
            assert line.needs | line.forbids <= known, (kind.name, line)


def test_every_kind_fits_its_box_in_every_shape_and_state() -> None:
    for name, kind in kinds().items():
        for shape in kind.shapes or ("",):
            for state in kind.states or ("",):
                look = replace(first_look(name), shape=shape, state=state)
                item = one(name, look)
                points = object_mesh(item).triangles.reshape(-1, 3)
                lo, hi = item.box.bounds()
                np.testing.assert_allclose(points.min(0), lo, atol=1e-4, err_msg=name)
                np.testing.assert_allclose(points.max(0), hi, atol=1e-4, err_msg=name)


def test_the_color_of_an_object_is_seen_on_it() -> None:
    """Where a kind may have any color, that is the color of a part of its surface."""
    for name, kind in kinds().items():
        for state in kind.states or ("",):
            look = replace(first_look(name), state=state)
            dark, bright = (
                mean_color(one(name, look, rgb=rgb)) for rgb in ((40, 40, 40), (220, 220, 220))
            )
            assert kind.colors or (bright - dark).min() > 0.09 * 180, name


def test_shapes_and_states_change_the_picture() -> None:
    for name in ("table", "mirror", "bin", "bookshelf", "lamp", "door", "mug", "microwave"):
        kind = kinds()[name]
        pictures = [
            seen(one(name, replace(first_look(name), shape=shape, state=state))).rgb
            for shape in set(kind.shapes) & {"round", "square"} or ("",)
            for state in kind.states or ("",)
        ]
        for i, a in enumerate(pictures):
            for b in pictures[i + 1 :]:
                # Their shading alone differs by nothing: same room, same light, same color.
                assert (np.abs(a.astype(int) - b).max(-1) > 20).mean() > 0.01, name


@pytest.mark.parametrize("pattern", PATTERNS)
def test_half_of_a_patterned_surface_has_the_second_color(pattern: str) -> None:
    look = Look(pattern, "white", (240, 240, 236), 0.12, state="closed", place="top")
    view = seen(one("box", look, size=2.0))
    mine = view.instance == 0
    names = np.array(NAMES)[view.color[mine & (view.pattern == PATTERNS.index(pattern))]]
    white = (names == "white").mean()
    assert (mine & (view.pattern == PATTERNS.index(pattern))).sum() > 0.8 * mine.sum()
    assert white == 0 if pattern == "plain" else 0.4 < white < 0.6


def test_a_side_is_seen_from_its_side_only() -> None:
    look = Look(side="left", side_color="blue", side_rgb=(30, 70, 200), state="closed", place="top")
    for azimuth, visible in ((1.2, True), (-1.2, False)):
        view = seen(one("box", look), azimuth)
        blue = (view.color == NAMES.index("blue")) & (view.instance == 0)
        assert (blue.sum() > 0.2 * (view.instance == 0).sum()) == visible


def test_a_part_has_its_color() -> None:
    look = replace(first_look("chair"), part="seat", part_color="blue", part_rgb=(30, 70, 200))
    view = seen(one("chair", look))
    mine = view.instance == 0
    for color in ("red", "blue"):
        assert (view.color[mine] == NAMES.index(color)).mean() > 0.15


def test_shades_of_a_color_keep_its_name() -> None:
    orange = one("door", replace(first_look("door"), state="closed"), rgb=(238, 124, 24))
    view = seen(replace(orange, color="orange"), 0.3)
    names = np.array(NAMES)[view.color[view.instance == 0]]
    assert (names == "orange").mean() > 0.9


def test_materials_are_told_apart_by_their_texture() -> None:
    """The same box in two materials differs in contrast or in highlights."""
    pictures = {}
    for material in ("wood", "metal", "plastic", "fabric", "wicker"):
        item = replace(
            one("speaker", first_look("speaker"), rgb=(150, 150, 150)), material=material
        )
        view = seen(item, 1.2)
        assert (view.material[view.instance == 0] == MATERIALS.index(material)).mean() > 0.5
        pictures[material] = view.rgb[view.instance == 0].astype(float)
    for a, one_ in pictures.items():
        for b, other in pictures.items():
            assert a == b or np.abs(one_ - other).mean() > 2, (a, b)
    view = seen(one("lamp", replace(first_look("lamp"), state="on")))
    assert UNNAMED in view.material[view.instance == 0]  # light has no material


def test_look_alikes_share_their_sizes() -> None:
    """Of every two of a group, some pair of boxes agrees to 40 % in every side."""
    for family, names in LOOK_ALIKES.items():
        assert len(names) >= 3
        for a in names:
            alike = 0
            for b in names:
                alike += a != b and any(
                    all(
                        max(p[0], q[0]) <= 1.4 * min(p[1], q[1])
                        for p, q in zip(one_, other, strict=True)
                    )
                    for one_ in _sizes(a)
                    for other in _sizes(b)
                )
            assert alike >= 1, (family, a)


def _sizes(name: str) -> list[Extents]:
    kind = kinds()[name]
    return [(kind.width, kind.depth, kind.height), *kind.by_variant.values()]


def test_a_malformed_part_names_its_line() -> None:
    for line in ("slab 0 1 0 1 0 c", "slab 0 1 0 1 0 1 Z", "cyl 0 1 0 1 0 1 c velvet"):
        with pytest.raises(ConfigError, match=line):
            parse_part(line)


def test_states_and_shapes_are_those_of_the_rendered_kinds():
    for name, kind in kinds().items():
        assert VARIANTS[name] == {*kind.states, *kind.shapes}
