"""Layout edits: the places that are found can be stood at, by checks of the tests' own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spatial3d_ros.categories import find_category
from spatial3d_ros.errors import QueryError
from spatial3d_ros.geometry.box import Box3D, iou
from spatial3d_ros.geometry.camera import Camera
from spatial3d_ros.geometry.pose import look_at
from spatial3d_ros.research.language.edits import scene_objects, true_bounds
from spatial3d_ros.research.rooms.generator import generate_room
from spatial3d_ros.resources import resource_path
from spatial3d_ros.scene.bounds import Bounds, room_bounds
from spatial3d_ros.scene.frame import Frame
from spatial3d_ros.scene.free_space import Body, FreeSpace, moving_with
from spatial3d_ros.scene.objects import NO_ID, SceneObject
from spatial3d_ros.tasks.descriptions import is_fixed
from spatial3d_ros.tasks.edit_query import Instruction, instruction_of, view_of
from spatial3d_ros.tasks.edit_scene import EditScene
from spatial3d_ros.tasks.furniture import body, usual_size
from spatial3d_ros.tasks.layout import change
from spatial3d_ros.tasks.query_network import load_reader
from spatial3d_ros.tasks.query_reader import parse_query

BOUNDS = Bounds.from_corners((-3, -2, 0), (3, 2, 2.5))


def thing(number, label, center, size, yaw=0.0, color="red"):
    none = np.empty((0, 3), np.float32)
    box = Box3D((*center[:2], center[2] + size[2] / 2), size, yaw)
    return SceneObject(number, box, (200, 30, 30), 1.0, 3, 5, none, label, color)


CHAIR = thing(0, "chair", (0, 0, 0), (0.5, 0.5, 0.9))
SOFA = thing(1, "sofa", (2.4, 0, 0), (0.9, 2.0, 0.8))
TABLE = thing(2, "table", (-2, 1.2, 0), (1.2, 0.8, 0.7))
MUG = thing(3, "mug", (-2, 1.2, 0.7), (0.1, 0.1, 0.1))
DOOR = thing(4, "door", (0, -1.97, 0), (0.9, 0.06, 2.0))
LAMP = thing(5, "lamp", (-2.6, -1.6, 0), (0.4, 0.4, 1.5))
ALL = (CHAIR, SOFA, TABLE, MUG, DOOR, LAMP)
NAMES = {o.label: o for o in ALL}
READER = load_reader(resource_path("weights/reader.safetensors"))


def read(text):
    """The instruction, and its phrases that refer to known objects."""
    query = parse_query(text, READER)
    instruction = instruction_of(query)
    named = [*(query.targets[1:] if instruction.action == "place" else query.targets)]
    named += [view_of(query)] if view_of(query) else []
    return instruction, [d.text for d in named if not is_fixed(d)]


def edit(text, objects=ALL, bounds=BOUNDS, robot=(0.0, -1.5, 1.0), heading=0.0):
    instruction, phrases = read(text)
    by_id = {o.id: o for o in objects}
    named = {phrase: by_id[NAMES[phrase.split()[-1]].id] for phrase in phrases}
    where = None if robot is None else np.array(robot)
    return change(instruction, EditScene(objects, named, bounds, where, heading))


def center(made, k=0):
    return np.array(made.after[k].box.center)


def test_a_shift_is_as_long_as_told():
    made = edit("move the chair 0.5 m towards the sofa")
    assert made.satisfied and not made.reason
    np.testing.assert_allclose(center(made) - CHAIR.box.center, (0.5, 0, 0), atol=1e-9)
    np.testing.assert_allclose(
        center(edit("move the chair 0.5 m away from the door")), (0, 0.5, 0.45), atol=1e-9
    )
    for words, wanted in (
        ("to the left", (-0.5, 0, 0.45)), ("to the right, seen from the sofa", (0, 0.5, 0.45)),
        ("along -x", (-0.5, 0, 0.45)), ("towards me", (0, -0.5, 0.45)),
    ):  # fmt: skip
        np.testing.assert_allclose(center(edit(f"move the chair 0.5 m {words}")), wanted, atol=1e-9)


def test_what_is_in_the_way_is_named_and_how_far_it_goes():
    made = edit("move the chair 2 m towards the sofa")
    assert made.after == () and [o.id for o in made.before] == [CHAIR.id]
    assert made.reason.startswith("the red sofa is in the way; 1.7")
    assert "cannot move" in made.text
    assert "out of the room" in edit("move the lamp 1 m away from the table").reason
    assert "nothing under it" in edit("move the chair 1 m up").reason


def test_between_the_robot_and_an_object():
    x, y, _ = center(edit("move the lamp between me and the sofa", robot=(-2, 0, 1)))
    assert abs(x - 0.2) < 1.2 and abs(y) < 0.8


def test_relations_hold_and_the_nearest_place_is_taken():
    made = edit("move the chair next to the sofa")
    gap = SOFA.box.bounds()[0][0] - made.after[0].box.bounds()[1][0]
    assert 0 < gap < 0.35 and abs(center(made)[1]) < 1
    assert center(edit("move the chair to the left of the sofa"))[1] > 1
    x, y, _ = center(edit("move the chair behind the table, seen from the sofa"))
    assert x < -2.6 and y > 0
    made = edit("move the chair 0.5 m to the right of the table", robot=(-2, -1.5, 1))
    gap = made.after[0].box.bounds()[0][0] - TABLE.box.bounds()[1][0]
    assert gap == pytest.approx(0.5, abs=0.1)
    assert abs(center(edit("move the lamp between the table and the sofa"))[0] - 0.2) < 1.2


def test_objects_are_put_on_and_under_others():
    made = edit("put the mug on the sofa")
    assert (
        made.after[0].box.bounds()[0][2] == pytest.approx(0.52 * 0.8)
        and "on the red sofa" in made.text
    )
    made = edit("put a lamp on the table")
    assert made.before == () and made.after[0].id == NO_ID and made.after[0].label == "lamp"
    assert made.after[0].box.bounds()[0][2] == pytest.approx(0.7)
    assert iou(made.after[0].box, MUG.box) == 0
    low_table = replace(CHAIR, box=Box3D((0, 0, 0.15), (0.3, 0.3, 0.3)))
    made = edit("move the chair under the table", (low_table, *ALL[1:]))
    assert abs(center(made) - TABLE.box.center)[:2].max() < 0.5 and made.satisfied
    with pytest.raises(QueryError, match="no room under"):
        edit("move the lamp under the table")
    with pytest.raises(QueryError, match="nothing can stand on the red lamp"):
        edit("put the mug on the lamp")


def test_carried_objects_move_along():
    made = edit("move the table 0.5 m towards the sofa")
    assert [o.id for o in made.before] == [o.id for o in made.after] == [2, 3]
    np.testing.assert_allclose(
        center(made, 1) - MUG.box.center, center(made) - TABLE.box.center, atol=1e-9
    )
    assert "with the red mug" in made.text
    assert [o.id for o in edit("remove the table").before] == [2, 3]
    assert edit("remove the table").after == ()


def test_swapping_and_turning():
    made = edit("swap the chair and the lamp")
    assert np.linalg.norm((center(made) - LAMP.box.center)[:2]) < 0.3
    assert np.linalg.norm((center(made, 1) - CHAIR.box.center)[:2]) < 0.3
    assert center(made, 1)[2] == pytest.approx(0.75)
    turned = edit("turn the sofa by 90 degrees")
    assert turned.after[0].box.yaw == pytest.approx(np.pi / 2)
    assert turned.after[0].box.bounds()[1][0] <= 3.02 and "so that it fits" in turned.text
    assert "cannot swap" in edit("swap the mug and the sofa").text


def test_contradictory_instructions_raise():
    with pytest.raises(QueryError, match="both the object to change and a reference"):
        edit("move the chair next to the chair")
    with pytest.raises(QueryError, match="is the robot"):
        change(
            Instruction("move", "me", "next_to", ("the sofa",)), EditScene(ALL, {}, BOUNDS, None)
        )
    with pytest.raises(QueryError, match="no pose arrived"):
        edit("move the chair 0.5 m to the left", robot=None)
    with pytest.raises(QueryError, match="usual size of 'piano' is not known"):
        edit("put a piano next to the sofa")
    assert edit("put a piano of 1 x 0.5 x 1.2 m next to the sofa").satisfied


def test_a_map_that_is_not_parallel_to_the_walls():
    heading = np.deg2rad(30)
    objects = tuple(replace(o, box=o.box.rotated(heading)) for o in ALL)
    robot = Box3D((0, -1.5, 1), (0, 0, 0)).rotated(heading).center
    for text in ("move the chair next to the sofa", "turn the sofa by 90 degrees",
                 "put a lamp on the table"):  # fmt: skip
        plain, made = edit(text), edit(text, objects, robot=robot, heading=heading)
        for one, other in zip(plain.after, made.after, strict=True):
            assert iou(one.box.rotated(heading), other.box) > 0.999
    made = edit("move the chair 0.5 m along x", objects, robot=robot, heading=heading)
    np.testing.assert_allclose(center(made) - objects[0].box.center, (0.5, 0, 0), atol=1e-9)


def test_usual_sizes():
    assert usual_size("big chair", ALL) == CHAIR.box.size
    assert usual_size("couch", ()) == pytest.approx((0.875, 1.95, 0.815))
    assert usual_size("mug", (), small=True) == (0.09, 0.09, 0.09)
    giant = thing(9, "mug", (0, 0, 0), (2, 2, 2))
    assert usual_size("mug", (giant,))[0] < 0.2
    assert find_category("the potted plant next to the couch") == "plant"
    assert find_category("the gizmo") is None
    assert body(thing(1, "", (0, 0, 0), (1, 1, 1))).top == pytest.approx(1.0)
    assert body(thing(1, "lamp", (0, 0, 0), (1, 1, 1)), "the table").top == pytest.approx(1.0)


# ---- free space ----------------------------------------------------------------------------------


def test_an_existing_collision_is_no_obstacle():
    rival = Body(Box3D((0.1, 0, 0.4), (0.5, 0.5, 0.8)))
    free_space = FreeSpace(BOUNDS, [rival], CHAIR.box)
    assert free_space.problem(CHAIR.box) == ""
    assert "in the way" in FreeSpace(BOUNDS, [rival]).problem(CHAIR.box)
    assert moving_with(body(CHAIR), [rival], 0.0) == [0]  # another box of the same object


def test_another_box_of_the_carrier_is_not_in_the_way():
    seat, rival = body(SOFA), Body(Box3D((2.4, 0, 0.42), (0.85, 1.9, 0.84)), 0.84)
    mug = Box3D((2.4, 0, seat.top + 0.05), (0.1, 0.1, 0.1))
    assert FreeSpace(BOUNDS, [seat, rival]).problem(mug) == ""
    assert FreeSpace(BOUNDS, [seat, rival]).nearest(mug, np.array([mug.center]))[0] == mug
    assert FreeSpace(BOUNDS, [rival]).problem(mug) != ""


def test_what_is_as_high_as_a_table_is_not_under_it():
    table = Body(Box3D((0, 0, 0.4), (1, 1, 0.8)), 0.8, hollow=True)
    assert FreeSpace(BOUNDS, [table]).problem(Box3D((0, 0, 0.3), (0.3, 0.3, 0.6))) == ""
    assert "in the way" in FreeSpace(BOUNDS, [table]).problem(Box3D((0, 0, 0.4), (0.3, 0.3, 0.8)))
    half_over = Box3D((0.45, 0, 0.9), (1.4, 1.4, 0.2))
    assert "nothing under" in FreeSpace(BOUNDS, [table]).problem(half_over)


def test_a_picture_needs_no_floor_but_what_stood_does():
    picture = Box3D((0, 1.9, 1.5), (0.6, 0.04, 0.4))
    assert FreeSpace(BOUNDS, [], picture).problem(replace(picture, center=(0.3, 1.9, 1.5))) == ""
    assert "nothing under" in FreeSpace(BOUNDS, []).problem(picture)


TEXTS = (
    "move the chair next to the table",
    "put the chair on the table",
    "move the chair to the left of the table",
    "move the chair behind the table seen from the sofa",
    "move the chair between the table and the sofa",
    "move the chair 0.5 m towards the table",
    "move the chair 25 cm away from the table",
    "swap the chair and the table",
    "turn the chair by 90 degrees",
    "turn the chair by 30 degrees",
    "put a lamp next to the table",
    "put a box on the table",
    "remove the chair",
    "move the chair 0.3 m from the table",
)


@settings(derandomize=True, deadline=None, max_examples=80)
@given(st.integers(0, 400), st.sampled_from(TEXTS), st.randoms(use_true_random=False))
def test_what_is_called_possible_is(seed, text, random):
    """Whatever the room: sizes stay, boxes are inside, clear of all others, and stand."""
    room = generate_room(seed)
    objects = scene_objects(room.objects)
    if len(objects) < 3:
        return
    instruction, phrases = read(text)
    named = dict(zip(phrases, random.sample(objects, len(phrases)), strict=True))
    scene = EditScene(objects, named, true_bounds(room), np.array([0.1, 0.2, 1.0]))
    try:
        made = change(instruction, scene)
    except QueryError:
        return
    again = change(instruction, scene)
    assert [o.box for o in made.after] == [o.box for o in again.after]  # deterministic
    assert bool(made.reason) == (not made.after and instruction.action != "remove")
    if made.reason or not made.after:
        return
    assert made.satisfied
    for old, new in zip(made.before, made.after, strict=False):
        assert (old.id, old.box.size) == (new.id, new.box.size)
    changed = {o.id for o in made.before}
    rest = [o for o in objects if o.id not in changed]
    size = np.array(room.size)
    for new in made.after[:1]:
        old = made.before[0].box if made.before else None
        corners = new.box.corners()
        grown = 0.021 if old is None else 0.021 + np.abs(old.corners()[:, :2]).max(0) * 1e-6
        assert (np.abs(corners[:, :2]) <= size[:2] / 2 + grown).all()
        for other in rest:
            if rests_on(new.box, other) or under(new.box, other):
                continue
            before = 0.0 if old is None else sampled_share(old, other.box)
            assert sampled_share(new.box, other.box) <= 0.13 + before, (text, other.label)
            if old is None:
                assert sampled_share(other.box, new.box) <= 0.13, (text, other.label)
        stood = old is None or stands(old, [o for o in objects if o.id not in changed])
        assert not stood or stands(new.box, rest)


def sampled_share(box, other):
    """Share of a box inside another, by points: another way than the one under test."""
    grid = np.stack(np.meshgrid(*[np.linspace(-0.475, 0.475, 12)] * 3), -1).reshape(-1, 3)
    turn = np.array([[np.cos(box.yaw), -np.sin(box.yaw)], [np.sin(box.yaw), np.cos(box.yaw)]])
    points = grid * box.size
    points[:, :2] = points[:, :2] @ turn.T
    return other.contains(points + box.center).mean()


def bottom(box):
    return box.center[2] - box.size[2] / 2


def rests_on(box, other):
    top = body(other).top
    flat = (*box.center[:2], other.box.center[2])
    over = other.box.contains(np.array(flat))
    return top is not None and abs(bottom(box) - top) <= 0.0501 and over


def under(box, other):
    flat = (*box.center[:2], other.box.center[2])
    below = box.center[2] + box.size[2] / 2 <= other.box.center[2] + other.box.size[2] / 2 - 0.0499
    return body(other).hollow and below and other.box.contains(np.array(flat))


def stands(box, others):
    return bottom(box) <= 0.0501 or any(rests_on(box, other) for other in others)


# ---- bounds ----------------------------------------------------------------------------------


def test_walls_and_floor_end_the_room():
    """A camera turns in the middle of a box of 4 x 3 m; two sides of the depth are exact."""
    camera = Camera(160, 120, 80.0, 80.0, 79.5, 59.5)
    frames = []
    for k in range(8):
        angle = k * np.pi / 4
        pose = look_at((0, 0, 1.2), (np.cos(angle), np.sin(angle), 0.9))
        rgb = np.full((120, 160, 3), 120, np.uint8)
        frames.append(Frame(k + 1, rgb, depth(camera, pose), camera, pose))
    bounds = room_bounds(frames)
    np.testing.assert_allclose(bounds.low, (-2, -1.5, 0), atol=0.03)
    np.testing.assert_allclose(bounds.high[:2], (2, 1.5), atol=0.03)
    assert bounds.high[2] == pytest.approx(2.5, abs=0.03) or bounds.high[2] == np.inf


def depth(camera, pose):
    """Of an empty room from -2, -1.5, 0 to 2, 1.5, 2.5."""
    v, u = np.mgrid[: camera.height, : camera.width]
    rays = np.stack([(u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, np.ones_like(u)], -1)
    rays = rays @ pose[:3, :3].T
    low, high = (np.array(c) - pose[:3, 3] for c in ((-2, -1.5, 0), (2, 1.5, 2.5)))
    with np.errstate(divide="ignore"):
        reach = np.maximum(low / rays, high / rays)
    return reach.min(-1).astype(np.float32)


def test_without_views_the_objects_are_all_there_is():
    bounds = room_bounds([], [CHAIR.box, SOFA.box])
    np.testing.assert_allclose(bounds.low, (-0.25, -1, 0))
    np.testing.assert_allclose(bounds.high[:2], (2.85, 1))
    assert (room_bounds([]).high == 0).all()
