"""Rooms of the full catalog: possible, reproducible, with pairs that only a camera tells apart."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from spatial3d_ros.categories import CLASSES, COLORS
from spatial3d_ros.geometry.camera import Camera
from spatial3d_ros.research.rooms.appearance import alike_in_size, mean_color
from spatial3d_ros.research.rooms.catalog import FLOOR, WALL, Room, spec_of, support_surface
from spatial3d_ros.research.rooms.color_names import color_name, difference
from spatial3d_ros.research.rooms.crops import object_crops
from spatial3d_ros.research.rooms.generator import generate_room
from spatial3d_ros.research.rooms.render import RoomRenderer
from spatial3d_ros.research.rooms.sensor import ColorNoise
from spatial3d_ros.research.rooms.views import choose_views, training_views

SEEDS = range(850_000, 850_024)


@pytest.fixture(scope="module")
def rooms() -> list[Room]:
    return [generate_room(seed, catalog="full") for seed in SEEDS]


def test_same_seed_same_room(rooms: list[Room]) -> None:
    assert generate_room(SEEDS[0], catalog="full") == rooms[0]
    assert rooms[0] != rooms[1]


def test_objects_stand_hang_and_have_names(rooms: list[Room]) -> None:
    for room in rooms:
        assert 6 <= len(room.objects) <= 25
        half = np.array(room.size[:2]) / 2 + 1e-6
        for index, item in enumerate(room.objects):
            assert item.id == index and item.category in CLASSES and item.look is not None
            assert color_name(np.array(item.rgb)) == item.color in COLORS
            lo, hi = (np.array(bound) for bound in item.box.bounds())
            assert (lo[:2] >= -half).all() and (hi[:2] <= half).all()
            assert lo[2] > -1e-6 and hi[2] < room.size[2]
            if item.support == FLOOR:
                assert lo[2] == pytest.approx(0, abs=1e-6)
            elif item.support == WALL:
                assert (half - np.maximum(hi[:2], -lo[:2])).min() == pytest.approx(0, abs=1e-5)
            else:
                low, high, z = support_surface(room.objects[item.support])
                assert lo[2] == pytest.approx(z)
                assert (lo[:2] >= low - 1e-6).all() and (hi[:2] <= high + 1e-6).all()


def test_boxes_do_not_cut(rooms: list[Room]) -> None:
    for room in rooms:
        for a in room.objects:
            for b in room.objects[a.id + 1 :]:
                (alo, ahi), (blo, bhi) = a.box.bounds(), b.box.bounds()
                if (np.array(alo) < np.array(bhi) - 1e-5).all() and (
                    np.array(blo) < np.array(ahi) - 1e-5
                ).all():
                    under = (np.array(blo[:2]) >= alo[:2]).all() and spec_of(a).hollow
                    assert b.support == a.id or under, (room.seed, a.category, b.category)


def test_things_stand_on_furniture(rooms: list[Room]) -> None:
    items = [item for room in rooms for item in room.objects]
    carried = [item for item in items if item.support >= 0]
    assert 0.08 < len(carried) / len(items) < 0.6
    assert len({item.category for item in carried}) > 15


def test_kinds_and_looks_are_many(rooms: list[Room]) -> None:
    items = [item for room in rooms for item in room.objects]
    assert len({item.category for item in items}) > 80
    assert max(Counter(item.category for item in items).values()) < 0.12 * len(items)
    for name in ("pattern", "shape", "state", "part", "side"):
        assert len({getattr(item.look, name) for item in items}) >= 3, name


def test_most_rooms_have_a_pair_that_only_looks_tell_apart(rooms: list[Room]) -> None:
    with_pair = 0
    for room in rooms:
        for a in room.objects:
            twins = [
                b
                for b in room.objects[a.id + 1 :]
                if b.category == a.category
                and alike_in_size(a, b)
                and difference(mean_color(a), mean_color(b)) <= 5
            ]
            if twins:
                with_pair += 1
                break
    assert with_pair > 0.7 * len(rooms)


def test_views_carry_the_truth_of_every_pixel_and_crops(rooms: list[Room]) -> None:
    room = rooms[2]
    made = training_views(room, np.random.default_rng(0), 3, size=(56, 56), crops=2)
    again = training_views(room, np.random.default_rng(0), 3, size=(56, 56), crops=2)
    for name, value in made.items():
        np.testing.assert_array_equal(value, again[name])
    for name in ("color", "material", "pattern"):
        assert made[name].shape == (3, 56, 56) and made[name].dtype == np.uint8
    count = len(room.objects)
    assert made["crops"].shape == (count, 2, 64, 64, 3) and made["crop_views"].shape == (count, 2)
    present = made["crop_views"] >= 0
    assert present[:, 0].mean() > 0.7
    assert (made["crops"][~present] == 0).all()
    for item in room.objects:
        for view in made["crop_views"][item.id][present[item.id]]:
            assert (made["instance"][view] == item.id).any()


def test_a_crop_shows_its_object(rooms: list[Room]) -> None:
    """The crop of a red thing is redder than the room."""
    room = rooms[2]
    renderer = RoomRenderer(room)
    camera = Camera(640, 480, 520.0, 520.0, 320.0, 240.0)
    rng = np.random.default_rng(1)
    poses = choose_views(room, renderer, camera.scaled(56, 56), rng, 4)
    small = [renderer.render(camera.scaled(56, 56), pose) for pose in poses]
    crops, views = object_crops(
        room, renderer, camera, poses, np.stack([v.instance for v in small]), rng,
        noise=ColorNoise(sigma=0.0, exposure=0.0),
    )  # fmt: skip
    errors = []
    for item in room.objects:
        view = views[item.id, 0]
        if view < 0:
            continue
        shown = small[view].rgb[small[view].instance == item.id].mean(0)
        errors.append(np.abs(crops[item.id, 0].mean((0, 1)) - shown).mean())
    assert np.median(errors) < 45
