"""Where a robot stands before a thing: at its distance, facing it, free of everything else."""

from __future__ import annotations

import math

import pytest

from spatial3d_ros.errors import NotAvailableError, QueryError
from spatial3d_ros.geometry.box import Box3D, surface_distance
from spatial3d_ros.tasks.approach_pose import ApproachPose, find_approach_pose

CHAIR = Box3D((2.0, 1.0, 0.45), (0.5, 0.6, 0.9))


def apart(stance: ApproachPose, box: Box3D) -> float:
    return surface_distance(box, Box3D((stance.x, stance.y, box.center[2]), (0, 0, 0)))[0]


def faces(stance: ApproachPose, box: Box3D) -> float:
    """Angle between the view and the middle of the box."""
    way = math.atan2(box.center[1] - stance.y, box.center[0] - stance.x)
    return abs((stance.yaw - way + math.pi) % (2 * math.pi) - math.pi)


@pytest.mark.parametrize("robot", [(0.0, 1.0), (5.0, 1.0), (2.0, -4.0), (-3.0, 9.0)])
def test_pose_is_on_the_side_of_the_robot_and_faces_the_object(robot):
    stance = find_approach_pose(CHAIR, robot, distance_m=0.7)
    assert apart(stance, CHAIR) == pytest.approx(0.7, abs=1e-3)
    assert faces(stance, CHAIR) == pytest.approx(0, abs=1e-9)
    toward = (robot[0] - 2.0) * (stance.x - 2.0) + (robot[1] - 1.0) * (stance.y - 1.0)
    assert toward > 0


def test_pose_keeps_clear_of_obstacles():
    blocker = Box3D((0.9, 1.0, 0.5), (0.6, 3.0, 1.0))
    stance = find_approach_pose(CHAIR, (0.0, 1.0), [blocker], radius_m=0.35)
    assert apart(stance, blocker) >= 0.35 - 1e-6
    assert apart(stance, CHAIR) >= 0.6 - 1e-3


def test_objects_above_the_robot_and_flat_ones_are_no_obstacles():
    lamp = Box3D((1.0, 1.0, 2.0), (1.0, 1.0, 0.3))
    rug = Box3D((1.0, 1.0, 0.01), (2.0, 2.0, 0.02))
    assert find_approach_pose(CHAIR, (0.0, 1.0), [lamp, rug]) == find_approach_pose(
        CHAIR, (0.0, 1.0)
    )


def test_pose_for_a_mug_is_in_front_of_its_table():
    mug = Box3D((0.0, 0.0, 0.8), (0.1, 0.1, 0.1))
    table = Box3D((0.1, 0.0, 0.37), (1.6, 0.8, 0.75), yaw=0.3)
    stance = find_approach_pose(mug, (0.0, 3.0), [table], distance_m=0.3, radius_m=0.25)
    assert apart(stance, table) >= 0.25 - 1e-6
    assert apart(stance, mug) < 0.9
    assert faces(stance, mug) == pytest.approx(0, abs=1e-9)


def test_enclosed_objects_and_invalid_lengths_raise():
    walls = [
        Box3D((2.0 + dx, 1.0 + dy, 0.5), (6.0 if dy else 0.4, 6.0 if dx else 0.4, 1.0))
        for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1), (2, 0), (-2, 0), (0, 2), (0, -2))
    ]
    with pytest.raises(NotAvailableError, match="every side"):
        find_approach_pose(CHAIR, (0.0, 0.0), walls, radius_m=0.4)
    for lengths in ({"distance_m": 0.0}, {"radius_m": math.nan}, {"height_m": -1.0}):
        with pytest.raises(QueryError, match=next(iter(lengths))):
            find_approach_pose(CHAIR, **lengths)
