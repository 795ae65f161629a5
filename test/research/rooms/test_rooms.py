"""Generated rooms are possible: nothing floats or cuts anything, and they are hard enough."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from spatial3d_ros.categories import CATEGORIES, COLORS
from spatial3d_ros.research.rooms.catalog import is_round_table
from spatial3d_ros.research.rooms.generator import (
    FLOOR,
    WALL,
    Room,
    RoomObject,
    generate_room,
    support_surface,
)

SEEDS = range(80)


@pytest.fixture(scope="module")
def rooms() -> list[Room]:
    return [generate_room(seed) for seed in SEEDS]


def bounds(item: RoomObject) -> tuple[np.ndarray, np.ndarray]:
    center, size = np.array(item.box.center), np.array(item.box.size)
    return center - size / 2, center + size / 2


def test_same_seed_same_room() -> None:
    assert generate_room(5) == generate_room(5)
    assert generate_room(5) != generate_room(6)


def test_sizes_counts_and_names(rooms: list[Room]) -> None:
    for room in rooms:
        assert 6 <= len(room.objects) <= 25
        assert all(3 <= side <= 7 for side in room.size[:2]) and 2.4 <= room.size[2] <= 3.0
        for index, item in enumerate(room.objects):
            assert item.id == index
            assert item.category in CATEGORIES and item.color in COLORS
            assert item.material in CATEGORIES[item.category].materials
            assert item.box.yaw == 0 and min(item.box.size) > 0.01
            quarter = item.heading / (np.pi / 2)
            assert quarter == pytest.approx(round(quarter))
    seen = Counter(item.category for room in rooms for item in room.objects)
    assert set(seen) == set(CATEGORIES) and len(CATEGORIES) >= 18
    assert {item.color for room in rooms for item in room.objects} == set(COLORS)


def test_object_count_can_be_chosen() -> None:
    for seed in range(20):
        assert len(generate_room(seed, min_objects=10, max_objects=12).objects) in (10, 11, 12)


def test_everything_is_inside_the_room(rooms: list[Room]) -> None:
    for room in rooms:
        half = np.array(room.size[:2]) / 2 + 1e-6
        for item in room.objects:
            lo, hi = bounds(item)
            assert (lo[:2] >= -half).all() and (hi[:2] <= half).all()
            assert lo[2] >= -1e-6 and hi[2] <= room.size[2]


def test_nothing_floats(rooms: list[Room]) -> None:
    for room in rooms:
        for item in room.objects:
            lo, hi = bounds(item)
            if item.support == FLOOR:
                assert lo[2] == pytest.approx(0, abs=1e-6)
            elif item.support == WALL:
                gap = np.array(room.size[:2]) / 2 - np.maximum(hi[:2], -lo[:2])
                assert gap.min() == pytest.approx(0, abs=1e-6)
            else:
                assert item.support < item.id
                low, high, z = support_surface(room.objects[item.support])
                assert lo[2] == pytest.approx(z)
                assert (lo[:2] >= low - 1e-6).all() and (hi[:2] <= high + 1e-6).all()


def test_boxes_cut_only_where_one_lies_in_the_other(rooms: list[Room]) -> None:
    """A pillow lies below the top of a sofa, a bin may stand below a table: nothing else."""
    for room in rooms:
        for a in room.objects:
            for b in room.objects[a.id + 1 :]:
                (alo, ahi), (blo, bhi) = bounds(a), bounds(b)
                if not ((alo < bhi - 1e-5) & (blo < ahi - 1e-5)).all():
                    continue
                if b.support == a.id:
                    assert CATEGORIES[a.category].surface < 1
                    continue
                assert CATEGORIES[a.category].hollow and not is_round_table(a)
                assert (blo[:2] >= alo[:2]).all() and (bhi[:2] <= ahi[:2]).all()
                assert bhi[2] < 0.85 * ahi[2]


def test_doors_can_be_walked_through(rooms: list[Room]) -> None:
    for room in rooms:
        for door in (item for item in room.objects if item.category == "door"):
            front = np.array([np.cos(door.heading), np.sin(door.heading), 0])
            way = np.array(door.box.center) + 0.5 * front
            assert not any(item.box.contains(way) for item in room.objects if item is not door)


def test_rooms_are_hard_enough(rooms: list[Room]) -> None:
    """Without look-alikes a question is answered by its noun alone."""
    alike = total = 0
    for room in rooms:
        count = Counter(item.category for item in room.objects)
        alike += sum(count[item.category] > 1 for item in room.objects)
        total += len(room.objects)
    assert alike / total > 0.35
    volumes = {name: [] for name in ("table", "cabinet", "box", "plant", "chair")}
    for item in (item for room in rooms for item in room.objects if item.category in volumes):
        volumes[item.category].append(item.box.volume)
    for sizes in volumes.values():
        assert np.quantile(sizes, 0.9) > 1.5 * np.quantile(sizes, 0.1)
