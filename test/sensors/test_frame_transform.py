"""Poses from TF as it comes: chains, waiting, gaps, loops, and answers placed in the map."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import numpy as np
import pytest

from helpers import messages
from helpers.fake_engine import scene_object
from helpers.messages import CAMERA
from helpers.simulated_robot import EPOCH, MS, Robot
from spatial3d_ros.errors import FrameError
from spatial3d_ros.geometry.pose import pose_matrix
from spatial3d_ros.sensors import transforms
from spatial3d_ros.sensors.camera_poses import TransformPoses
from spatial3d_ros.sensors.transforms import UNREAD, TransformTree
from spatial3d_ros.tasks.frame_transform import OutputTransform
from spatial3d_ros.tasks.grounding import centers_of, object_at
from spatial3d_ros.tasks.results import Distance, Grounding, ScoredObject

QUARTER = (0.0, 0.0, math.sqrt(0.5), math.sqrt(0.5))  # a left turn about z


class Walk:
    """A robot whose base moves along x of odom, with a fixed camera, told by TF alone."""

    def __init__(self, *, mounted=True, world="odom", **options):
        self.tree = TransformTree(0.3, live=True)
        self.poses = TransformPoses(self.tree, world)
        self.robot = Robot(poses=self.poses, **options)
        if mounted:
            self.mount()

    def mount(self):
        link = ("base", CAMERA, 0, (0.1, 0.0, 0.5), QUARTER)
        self.tree.add(messages.transforms(link), fixed=True)

    def tf(self, milliseconds, x=None):
        x = 0.3 * milliseconds / 1000 if x is None else x
        link = ("/odom", "base", EPOCH + milliseconds * MS, (x, 0.0, 0.0))
        self.robot.add_pose(messages.transforms(link))

    def drive(self, start, end):
        for at in range(start, end, 33):
            self.tf(at - 10)
            self.robot.images(at)
            self.tf(at + 10)


def test_frames_stand_where_the_chain_puts_them_at_the_stamp_of_the_image():
    walk = Walk()
    walk.drive(0, 100)
    frame = walk.robot.frames[0]
    expected = pose_matrix((0.1, 0.0, 0.5), QUARTER)
    np.testing.assert_allclose(frame.world_T_camera, expected, atol=1e-9)
    assert frame.frame_id == "odom"
    assert walk.robot.problems == []
    assert walk.poses.hz == pytest.approx(60, abs=3)


def test_an_image_waits_for_its_transform_and_for_the_link_to_the_camera():
    walk = Walk(mounted=False)
    walk.tf(-10)
    walk.robot.images(0)
    assert (walk.robot.frames, walk.robot.pipeline.pending) == ([], 1)
    walk.mount()
    walk.tf(-5)
    assert walk.robot.pipeline.pending == 1  # nothing is extrapolated
    walk.tf(5)
    assert len(walk.robot.frames) == 1
    assert walk.robot.problems == []


def waited_in_vain(walk, feed):
    for at in range(0, 1500, 33):
        feed(at)
        walk.robot.images(at)
    assert walk.robot.frames == []
    return walk.robot.problems[0]


def test_a_chain_that_does_not_exist_is_named_with_the_parameter():
    walk = Walk(world="map")
    problem = waited_in_vain(walk, walk.tf)
    assert "no chain from 'map' to 'camera_optical_frame'" in problem
    assert "Known: base -> camera_optical_frame (fixed), odom -> base (moving" in problem
    assert "world_frame is 'map'" in problem


def test_a_link_that_stops_is_named_with_its_age():
    walk = Walk()
    walk.drive(0, 40)
    walk.robot.frames.clear()
    for at in range(300, 1800, 33):
        walk.robot.images(at)
    assert "TF odom -> base: the newest pose is 0.25" in walk.robot.problems[0]
    assert "nothing is extrapolated" in walk.robot.problems[0]


def test_a_gap_costs_its_images_only():
    walk = Walk()
    walk.drive(0, 200)
    walk.robot.images(400)
    walk.tf(700)
    assert "TF odom -> base: no pose for 0.4" in walk.robot.problems[-1]
    before = len(walk.robot.frames)
    walk.drive(720, 1200)
    assert len(walk.robot.frames) > before


def test_images_without_a_frame_are_refused_by_name():
    walk = Walk()
    walk.tf(-10)
    color = messages.image(np.zeros((6, 8, 3), np.uint8), "rgb8", at=EPOCH, frame_id="")
    walk.robot.images(0, color=color)
    walk.tf(10)
    assert "header.frame_id is empty" in walk.robot.problems[0]


@pytest.mark.parametrize("first", ["tf", "images"])
def test_a_loop_is_one_rewind_and_frames_go_on(first):
    walk = Walk()
    walk.drive(0, 3000)
    assert walk.robot.problems == []
    if first == "images":
        walk.robot.images(-60_000)
    walk.drive(-60_000 + 33, -58_000)
    assert walk.robot.rewinds == 1
    assert walk.robot.frames[-1].stamp_ns < EPOCH
    assert walk.robot.problems == []


def test_a_jump_of_the_world_is_named():
    walk = Walk(world="odom")
    walk.drive(0, 200)
    walk.tf(220, x=5.0)
    walk.robot.images(225)
    walk.tf(230, x=5.0)
    assert "the pose jumped by 4.9 m" in walk.robot.problems[0]
    assert "REP 105" in walk.robot.problems[0]


def test_a_frame_that_moves_to_another_parent_is_named_until_the_old_link_is_forgotten():
    tree = TransformTree(0.3, live=True)
    tree.add(messages.transforms(("shelf", "box", 10**9, (1, 0, 0))), fixed=False)
    tree.add(messages.transforms(("hand", "box", 2 * 10**9, (2, 0, 0))), fixed=False)
    assert not tree.linked("hand", "box")
    with pytest.raises(FrameError, match=r"'box' has several parents \(hand and shelf"):
        tree.latest("hand", "box")
    tree.add(messages.transforms(("hand", "box", 12 * 10**9, (3, 0, 0))), fixed=False)
    assert tree.latest("hand", "box")[0, 3] == 3.0


def test_links_that_nobody_asks_for_stay_unread_and_bounded():
    tree = TransformTree(0.3, live=True)
    for k in range(UNREAD + 50):
        finger = ("hand", "finger", k * MS, (0.1 * k, 0.0, 0.0))
        tree.add(messages.transforms(finger), fixed=False)
    link = tree._links["hand", "finger"]
    assert (len(link.unread), link.track.newest) == (UNREAD, None)
    assert tree.lookup("hand", "finger", (UNREAD + 49) * MS)[0, 3] == pytest.approx(104.9)
    assert not link.unread
    tree.add(messages.transforms(("hand", "finger", 2000 * MS, (7, 0, 0))), fixed=False)
    assert not link.unread


def test_a_publisher_that_makes_up_frames_is_refused_and_the_known_links_go_on(monkeypatch):
    monkeypatch.setattr(transforms, "MAX_LINKS", 3)
    tree = TransformTree(0.3, live=True)
    for k in range(3):
        tree.add(messages.transforms(("hand", f"finger_{k}", 1, (0, 0, 0))), fixed=False)
    with pytest.raises(FrameError, match=r"hand -> finger_3 is left out.*3 links"):
        tree.add(messages.transforms(("hand", "finger_3", 1, (0, 0, 0))), fixed=False)
    tree.add(messages.transforms(("hand", "finger_0", 10**9, (2, 0, 0))), fixed=False)
    assert tree.latest("hand", "finger_0")[0, 3] == 2.0


@pytest.mark.parametrize("turn", [(0.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0, math.nan)])
def test_what_is_no_rigid_transform_is_passed_over(turn):
    tree = TransformTree(0.3, live=True)
    tree.add(messages.transforms(("a", "b", 1, (0, 0, 0), turn)), fixed=False)
    tree.add(messages.transforms(("a", "b", 1, (math.inf, 0, 0))), fixed=True)
    assert str(tree) == "nothing"


def test_the_newest_of_every_link_is_what_answers_go_out_with():
    tree = TransformTree(0.3, live=True)
    tree.add(messages.transforms(("map", "odom", 10**9, (1, 0, 0), QUARTER)), fixed=False)
    tree.add(messages.transforms(("map", "odom", 9 * 10**9, (5, 0, 0), QUARTER)), fixed=False)
    np.testing.assert_allclose(tree.latest("map", "odom"), pose_matrix((5, 0, 0), QUARTER))
    with pytest.raises(FrameError, match="no chain from 'map' to 'base'"):
        tree.latest("map", "base")


PLACE = OutputTransform("map", pose_matrix((10.0, 0.0, 1.0), QUARTER))
CHAIR = ScoredObject(scene_object(1, (1.0, 2.0, 0.5), "chair", 7), 0.8)
TABLE = ScoredObject(scene_object(2, (4.0, 6.0, 0.5), "table", 7), 0.1)
TAIL = {"views_used": 1, "scene_version": 1, "stamp_ns": 7}


def test_answers_are_placed_words_included():
    both = (CHAIR.object.box.center, TABLE.object.box.center)
    grounding = Grounding("q", (CHAIR, TABLE), False, object_at(CHAIR), 1,
                          text_points=both[:1], **TAIL)  # fmt: skip
    placed = PLACE.result(grounding)
    box = placed.objects[0].object.box
    np.testing.assert_allclose(box.center, (8.0, 1.0, 1.5), atol=1e-12)
    assert box.yaw == pytest.approx(0.1 + math.pi / 2)
    assert placed.text == "the red chair at (8.00, 1.00, 1.50) m"
    said = "5.00 m; the phrases also match the red chair at (1.00, 2.00, 0.50) m"
    distance = PLACE.result(
        Distance("q", 5.0, "center", CHAIR, TABLE, *both, said, text_points=both[:1], **TAIL)
    )
    assert distance.metres == 5.0
    assert distance.text == said.replace("(1.00, 2.00, 0.50)", "(8.00, 1.00, 1.50)")
    np.testing.assert_allclose(distance.point_b, (4.0, 4.0, 1.5), atol=1e-12)


def test_all_rivals_are_told_in_the_other_frame_also_those_beyond_the_objects_asked_for():
    rivals = [replace(CHAIR, object=scene_object(k, (k, 2.0, 0.5), "chair", 7)) for k in range(3)]
    text = f"3 objects fit about equally well: {'; '.join(map(object_at, rivals))}"
    grounding = Grounding("the chair", tuple(rivals[:1]), False, text, 1, num_ties=3,
                          text_points=centers_of(rivals), **TAIL)  # fmt: skip
    placed = PLACE.result(grounding)
    assert placed.text.startswith(f"{placed.num_ties} objects fit about equally well: ")
    assert re.findall(r"\(.*?\)", placed.text) == [f"(8.00, {k:.2f}, 1.50)" for k in range(3)]
    assert placed.text_points[2] == pytest.approx((8.0, 2.0, 1.5))


def test_without_a_target_frame_answers_are_what_they_were():
    grounding = Grounding("q", (CHAIR,), False, "said", 1, **TAIL)
    assert OutputTransform("odom").result(grounding) is grounding
    assert OutputTransform("odom").objects([CHAIR.object]) == (CHAIR.object,)
