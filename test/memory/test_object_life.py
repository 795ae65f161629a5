"""The life of objects in the memory: remembered, moved, missing, never because of occlusion."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest

from helpers.box_world import THINGS, Robot, move, render, thing
from spatial3d_ros.errors import NotFoundError, QueryError
from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.memory.alignment import align
from spatial3d_ros.memory.association import alike, has_moved
from spatial3d_ros.memory.edits import MemoryEdit, apply_edit
from spatial3d_ros.memory.jumps import Jump
from spatial3d_ros.memory.object_memory import moved_by
from spatial3d_ros.memory.presence import kept_points, look_at_places
from spatial3d_ros.memory.regions import Region
from spatial3d_ros.memory.resting import RestingPlaces
from spatial3d_ros.scene.buffer import View
from spatial3d_ros.scene.objects import SceneObject


@pytest.fixture(scope="module")
def first_session(tmp_path_factory):
    robot = Robot(tmp_path_factory.mktemp("first"), THINGS)
    robot.tour(3)
    ids = {o.label: o.id for o in robot.memory.objects()}
    assert sorted(ids) == sorted(THINGS) and robot.events == []
    robot.stop()
    return robot.database.folder, ids


@pytest.fixture
def lived_in(first_session, tmp_path):
    """A folder with a first session in the room, and the ids by label."""
    folder, ids = first_session
    return shutil.copytree(folder, tmp_path / "memory"), ids


def test_the_next_session_keeps_ids_and_answers_before_it_has_seen_anything(lived_in):
    folder, ids = lived_in
    robot = Robot(folder, THINGS, start_s=90_000)
    scene = robot.look((0, 0, 1.4), (1, 0, 1.0))  # sees the sofa only
    assert {item.label: item.id for item in scene.values()} == ids
    states = {o.label: o.state for o in robot.memory.objects()}
    assert states["sofa"] == "confirmed" and states["lamp"] == "remembered"
    scene = robot.tour()
    assert {item.label: item.id for item in scene.values()} == ids
    assert robot.events == []
    robot.stop()


def test_a_thing_carried_elsewhere_is_moved_and_keeps_id_and_history(lived_in):
    folder, ids = lived_in
    things = THINGS | {"mug": ("mug", Box3D((2.6, 0.3, 0.9), (0.16, 0.16, 0.2)))}
    robot = Robot(folder, things, start_s=90_000)
    robot.look((0, 0, 1.4), (1, 0, 1.0))  # the new place first: two mugs are possible
    robot.tour(1)
    for step in range(3):
        scene = robot.look((-0.5, 0.1 * step, 1.4), (-2.5, 0.3, 0.7))
    (mug,) = [item for item in scene.values() if item.label == "mug"]
    assert mug.id == ids["mug"] and mug.box.center[0] == pytest.approx(2.6)
    assert [k for k in robot.kinds() if k[0] in ("moved", "new")] == [("moved", "mug")]
    robot.stop()
    robot = Robot(folder, things, start_s=180_000)
    history = robot.memory.store.observations(ids["mug"])
    assert {o.session for o in history} == {1, 2}
    assert len(robot.named("mug")) == 1
    robot.stop()


def test_a_thing_pushed_a_little_further_is_moved_too(lived_in):
    folder, ids = lived_in
    robot = Robot(folder, THINGS | {"sofa": move(THINGS["sofa"], 0.0, 0.4)}, start_s=90_000)
    robot.tour()
    assert robot.kinds() == [("moved", "sofa")]
    assert robot.named("sofa")[0].id == ids["sofa"]
    robot.stop()


def test_a_box_that_grows_at_one_side_has_not_moved():
    rest = Box3D((0.0, 0.0, 0.5), (1.0, 0.4, 1.0))
    longer = Box3D((0.35, 0.0, 0.5), (1.7, 0.4, 1.0))
    assert not has_moved(rest, longer, longer), "the other side stayed"
    cut = Box3D((0.0, 0.0, 0.5), (1.0, 0.4, 1.0))
    assert not has_moved(longer, cut, cut)
    pushed = Box3D((0.35, 0.05, 0.5), (0.95, 0.42, 1.0))
    assert has_moved(rest, rest, pushed) and not has_moved(rest, longer, pushed)
    assert not has_moved(rest, rest, Box3D((0.2, 0.1, 0.5), (1.0, 0.4, 1.0)))


def test_a_box_that_grows_step_by_step_has_not_moved():
    places, known = RestingPlaces(), thing(1, "shelf", 0.0, size=1.0)
    for length in np.arange(1.1, 2.6, 0.15):
        box = Box3D(((length - 1.0) / 2, 0.0, 0.5), (length, 1.0, 1.0))
        seen, left = places.follow(known, replace(known, box=box))
        assert left is None
        known = seen
    assert known.place[0] > 0.5
    box = replace(known.box, center=(known.box.center[0] + 0.5, 0.0, 0.5))
    seen, left = places.follow(known, replace(known, box=box))
    assert left is not None and left.center == known.place and seen.place == box.center


def test_what_is_behind_a_thing_that_was_taken_is_not_that_thing(lived_in):
    folder, ids = lived_in
    things = {name: thing for name, thing in THINGS.items() if name != "lamp"}
    wall = Box3D((1.0, -3.2, 0.8), (0.8, 1.2, 1.6))  # the map takes a part of the wall for a lamp
    things["wall"] = ("lamp", replace(wall, size=(0.02,) * 3))
    robot = Robot(folder, things, start_s=90_000, empty_looks=3)
    points = np.full((50, 3), (1.0, -3.8, 0.8), np.float32)
    for turn in range(4):
        stamp = robot.now + 10**9
        robot.map["wall"] = SceneObject(
            900, wall, (120.0, 60.0, 60.0), 0.5, 3, stamp, points, "lamp", "red", 0.9
        )
        robot.look((0.05 * turn, 0, 1.4), (1.0, -2.8, 0.7), dropped=("wall",))
    assert robot.memory.known[ids["lamp"]].state == "missing"
    robot.stop()


def test_a_thing_taken_away_is_missing_after_some_looks_then_gone(lived_in):
    folder, ids = lived_in
    things = {name: thing for name, thing in THINGS.items() if name != "lamp"}
    robot = Robot(folder, things, start_s=90_000, empty_looks=3, gone_after_s=100_000)
    for looks in range(1, 3):
        robot.look((0.05 * looks, 0, 1.4), (1.0, -2.8, 0.7))
        assert robot.named("lamp")[0].state == "remembered"
    scene = robot.look((0.15, 0, 1.4), (1.0, -2.8, 0.7))
    assert ids["lamp"] not in scene and robot.kinds() == [("missing", "lamp")]
    assert robot.events[0].confidence > 0.95
    robot.now += 200_000 * 10**9
    robot.look((0, 0, 1.4), (1, 0, 1.0))
    assert robot.kinds()[-1] == ("gone", "lamp")
    robot.things["lamp"] = THINGS["lamp"]  # it is brought back
    for _ in range(4):
        robot.look((0.15, 0, 1.4), (1.0, -2.8, 0.7))
    assert robot.kinds()[-1] == ("returned", "lamp")
    assert robot.named("lamp")[0].id == ids["lamp"]
    robot.stop()


def test_a_hidden_thing_is_never_missing(lived_in):
    folder, ids = lived_in
    things = THINGS | {"shelf": ("shelf", Box3D((0.6, -1.6, 0.9), (1.4, 0.2, 1.8)))}
    del things["lamp"]  # it is gone, but nobody can see that behind the shelf
    robot = Robot(folder, things, start_s=90_000)
    for step in range(12):
        scene = robot.look((0.02 * step, 0, 1.4), (1.0, -2.8, 0.7))
    assert ids["lamp"] in scene and "missing" not in dict(robot.kinds())
    robot.stop()


def test_people_never_become_furniture(tmp_path):
    robot = Robot(
        tmp_path, THINGS | {"person": ("person", Box3D((1.5, 1.5, 0.9), (0.5, 0.5, 1.8)))}
    )
    scene = robot.tour()
    assert "person" in {item.label for item in scene.values()}
    del robot.things["person"]
    scene = robot.tour(1)
    assert "person" not in {item.label for item in scene.values()}
    assert not robot.named("person") and robot.events == []
    robot.stop()


def test_what_the_map_takes_back_after_one_look_leaves_no_ghost(tmp_path):
    robot = Robot(tmp_path, THINGS)
    robot.tour(1)
    robot.things["ghost"] = ("box", Box3D((1.5, 1.5, 0.3), (0.5, 0.5, 0.6)))
    robot.look((0, 0, 1.4), (1.5, 1.5, 0.3))
    assert robot.named("box")
    del robot.things["ghost"]
    scene = robot.look((0.1, 0, 1.4), (1.5, 1.5, 0.3))
    assert not robot.named("box") and "box" not in {o.label for o in scene.values()}
    robot.stop()


def test_a_jump_of_the_pose_leaves_no_ghosts_and_keeps_ids(lived_in):
    folder, ids = lived_in
    robot = Robot(folder, THINGS, start_s=90_000)
    robot.tour(2)
    jump = np.eye(4)
    cos, sin = np.cos(np.deg2rad(10)), np.sin(np.deg2rad(10))
    jump[:2, :2], jump[:2, 3] = [[cos, -sin], [sin, cos]], (0.5, 0.0)
    robot.jump(jump)
    scene = robot.tour(2)
    assert {item.label: item.id for item in scene.values()} == ids
    for item in scene.values():
        true = jump[:3, :3] @ THINGS[item.label][1].center + jump[:3, 3]
        assert np.allclose(item.box.center, true, atol=0.05)
    assert "jump" in dict(robot.kinds()) and "new" not in dict(robot.kinds())
    robot.stop()


def test_a_jump_that_only_new_objects_show_moves_nothing(tmp_path, monkeypatch):
    robot = Robot(tmp_path, THINGS)
    robot.look((0, 0, 1.4), (1, 0, 1.0))
    jump = Jump(np.eye(4), robot.now)
    monkeypatch.setattr(robot.memory._jumps, "find", lambda *_: jump)
    scene = robot.look((0.1, 0, 1.4), (1, 0, 1.0))
    assert [item.label for item in scene.values()] == ["sofa"] and robot.events == []
    robot.stop()


def test_alignment_by_objects_tells_its_residual_and_refuses_symmetry(lived_in):
    folder, _ = lived_in
    robot = Robot(folder, THINGS)
    known = robot.memory.objects()
    pose = np.eye(4)
    pose[:2, :2], pose[:3, 3] = [[0, -1], [1, 0]], (3.0, -2.0, 0.1)
    found = align(known, [moved_by(o, pose) for o in known])
    assert found.objects == 5 and found.residual_m < 0.01 and not found.reason
    assert np.allclose(found.world_T_memory, pose, atol=1e-6)
    assert "fewer than 3" in align(known, known[:2]).reason
    square = [
        moved_by(known[0], np.array([[1, 0, 0, x], [0, 1, 0, y], [0, 0, 1, 0], [0, 0, 0, 1.0]]))
        for x, y in ((0, 0), (2, 0), (0, 2), (2, 2))
    ]
    assert "several alignments" in align(square, square).reason
    robot.stop()


def test_a_map_with_another_origin_is_aligned_when_three_objects_are_seen(lived_in):
    folder, ids = lived_in
    shifted = {name: move(thing, 0.7, -0.6) for name, thing in THINGS.items()}
    robot = Robot(folder, shifted, start_s=90_000, same_origin=False)
    robot.memory.set_regions([Region.from_box("den", (0.0, 0.0, 0.0), (1.0, 1.0, 3.0))])
    scene = robot.look((0.7, -0.6, 1.4), (1.7, -0.6, 1.0))
    assert len(scene) == 1  # the remembered ones cannot be placed yet
    robot.memory._align_at = 0.0
    for _ in range(2):
        scene = robot.tour(1)
        robot.memory._align_at = 0.0
    assert [k for k, _ in robot.kinds()] == ["aligned"]
    assert {item.label: item.id for item in scene.values()} == ids
    assert np.mean(robot.memory.regions[0].corners, axis=0) == pytest.approx((1.2, -0.1), abs=0.1)
    robot.stop()


def test_edits_outlive_later_looks_and_the_session(lived_in):
    folder, ids = lived_in
    robot = Robot(folder, THINGS, start_s=90_000)
    robot.tour(1)
    edits = (
        MemoryEdit("rename", (ids["sofa"],), "blue couch"),
        MemoryEdit("delete", (ids["lamp"],), author="agent"),
        MemoryEdit("merge", (ids["table"], ids["mug"])),
        MemoryEdit("add", label="charger", boxes=(Box3D((3.5, 3.5, 0.2), (0.2, 0.2, 0.2)),)),
    )
    for edit in edits:
        apply_edit(robot.memory, edit)
    for _ in range(2):
        scene = robot.tour(1)
        labels = sorted(item.label for item in scene.values())
        assert labels == ["blue couch", "chair", "charger", "table"]
        (table,) = [item for item in scene.values() if item.label == "table"]
        assert table.box.bounds()[1][2] == pytest.approx(0.9, abs=0.02)  # with the mug
        robot.stop()
        robot = Robot(folder, THINGS, start_s=180_000)
        robot.tour(1)
    assert [edit[1:3] for edit in robot.memory.store.edits()][1] == ("agent", "delete")
    with pytest.raises(NotFoundError, match="was deleted"):
        apply_edit(robot.memory, MemoryEdit("rename", (ids["lamp"],), "light"))
    with pytest.raises(NotFoundError, match="object 999"):
        apply_edit(robot.memory, MemoryEdit("delete", (999,)))
    with pytest.raises(QueryError, match="rename needs"):
        apply_edit(robot.memory, MemoryEdit("rename", (ids["sofa"],)))
    with pytest.raises(QueryError, match="one of"):
        apply_edit(robot.memory, MemoryEdit("explode", (ids["sofa"],)))
    robot.stop()


def test_split_and_pin_keep_what_the_person_said(lived_in):
    folder, ids = lived_in
    robot = Robot(folder, THINGS, start_s=90_000)
    robot.tour(1)
    halves = [Box3D((2.6, y, 0.4), (0.9, 0.9, 0.8)) for y in (-0.45, 0.45)]
    apply_edit(robot.memory, MemoryEdit("split", (ids["sofa"],), "armchair", tuple(halves)))
    apply_edit(robot.memory, MemoryEdit("pin", (ids["chair"],), "throne"))
    robot.things["chair"] = move(THINGS["chair"], 0.05, 0.0)
    scene = robot.tour()
    labels = sorted(item.label for item in scene.values())
    assert labels == ["armchair", "armchair", "lamp", "mug", "table", "throne"]
    assert scene[ids["chair"]].box == THINGS["chair"][1]
    robot.stop()


def test_looks_need_depth_and_a_view_of_the_place(lived_in):
    folder, _ = lived_in
    robot = Robot(folder, THINGS)
    robot.look((0, 0, 1.4), (1, 0, 1.0))
    frame = robot.views[-1].frame
    objects = robot.memory.objects()
    empty, occupied, _ = look_at_places(objects, frame)
    assert [o.label for o, seen in zip(objects, occupied, strict=True) if seen] == ["sofa"]
    assert not empty.any()
    robot.stop()


def test_after_the_clock_was_set_back_changes_are_noticed_and_it_is_told(lived_in):
    folder, ids = lived_in
    things = THINGS | {"chair": move(THINGS["chair"], 1.4, -0.3)}
    robot = Robot(folder, things, start_s=10)
    assert robot.memory.trouble == ""
    robot.tour(4)
    assert ("moved", "chair") in robot.kinds()
    (chair,) = robot.named("chair")
    assert chair.id == ids["chair"]
    assert "clock is" in robot.memory.trouble and "behind" in robot.memory.trouble
    robot.stop()


def test_a_map_of_another_frame_is_not_used_and_it_is_told(lived_in):
    folder, _ = lived_in
    robot = Robot(folder, THINGS, start_s=90_000)
    robot.look((0, 0, 1.4), (1, 0, 1.0))
    item = next(iter(robot.map.values()))
    before = robot.memory.objects()
    frame = View(1, robot.views[-1].frame)
    assert robot.memory.update([item], [frame], "odom") == (item,)
    assert "'odom'" in robot.memory.trouble and "memory_origin" in robot.memory.trouble
    assert robot.memory.objects() == before
    robot.stop()


def on_the_table(size):
    """A record of a thing on the table, seen from its front."""
    x, y, z = THINGS["table"][1].center
    top = z + THINGS["table"][1].size[2] / 2
    box = Box3D((x + 0.2, y, top + size[2] / 2), size)
    frame, owner = render([THINGS["table"][1], box], (-1.0, y, 1.4), (x, y, top), 1)
    points = frame.points_world()[owner == 1]
    return replace(thing(1, "mug", x, y), box=box, points=kept_points(points)), box


@pytest.mark.parametrize("height, tells", [(0.14, True), (0.03, False)])
def test_a_mug_is_seen_to_be_gone_and_a_sheet_of_paper_is_too_flat_for_that(height, tells):
    known, box = on_the_table((0.15, 0.15, height))
    table = THINGS["table"][1]
    there, gone = ([table, box], [table])
    eye, target = (-1.0, box.center[1] - 0.3, 1.4), box.center
    empty, occupied, _ = look_at_places([known], render(there, eye, target, 2)[0])
    assert not empty[0] and occupied[0] == tells
    empty, occupied, whole = look_at_places([known], render(gone, eye, target, 3)[0])
    assert empty[0] == tells and not occupied[0]
    assert whole[0] == (not tells)  # its place is in view, and nothing else is there


def test_of_two_that_fit_the_one_of_the_colour_is_back():
    red, gray = (thing(k, "mug", 1.0, state="missing") for k in (1, 2))
    red, gray = replace(red, rgb=(200.0, 40.0, 40.0)), replace(gray, rgb=(130.0, 130.0, 130.0))
    darker = replace(thing(3, "mug", 1.0), rgb=(165.0, 30.0, 36.0))  # the red one in less light
    assert alike(red, darker) and not alike(gray, darker)


def test_a_piece_of_a_known_object_is_not_new(lived_in):
    folder, _ = lived_in
    robot = Robot(folder, THINGS, start_s=90_000)
    robot.tour(1)
    (sofa,) = robot.named("sofa")
    half = Box3D(sofa.box.center, (*sofa.box.size[:2], sofa.box.size[2] / 2))
    robot.memory._births.add(999)
    for label in ("sofa", "box"):
        assert not robot.memory._is_new(replace(sofa, id=999, box=half, label=label))
    robot.stop()


def test_what_comes_to_a_place_that_was_seen_empty_is_new_and_what_was_overlooked_is_not(lived_in):
    folder, _ = lived_in
    brought = ("box", Box3D((1.6, -1.6, 0.3), (0.5, 0.5, 0.6)))
    robot = Robot(folder, THINGS | {"box": brought}, start_s=90_000)
    overlooked = [o.id for o in robot.memory.objects() if o.label == "table"]
    robot.memory.forget(overlooked)
    robot.tour(4)
    assert robot.named("table") and robot.kinds() == [("new", "box")]
    robot.stop()
    robot = Robot(folder, THINGS | {"box": brought}, start_s=180_000)
    robot.memory.forget([o.id for o in robot.memory.objects() if o.label == "box"])
    robot.tour(4)
    assert robot.named("box") and robot.events == [], "it had been there since yesterday"
    robot.stop()


def test_a_thing_brought_in_the_first_session_is_new_too(tmp_path):
    robot = Robot(tmp_path, THINGS)
    robot.tour(1)
    robot.things["box"] = ("box", Box3D((1.6, -1.6, 0.3), (0.5, 0.5, 0.6)))
    robot.tour(4)
    assert robot.kinds() == [("new", "box")]
    robot.stop()


def test_a_thing_carried_to_an_empty_place_is_known_by_its_looks_under_another_name(lived_in):
    folder, ids = lived_in
    other = ("crate", move(THINGS["chair"], 1.4, -0.3)[1])
    robot = Robot(folder, {k: t for k, t in THINGS.items() if k != "chair"}, start_s=90_000)
    robot.things["crate"] = other
    robot.tour(4)
    assert [k for k in robot.kinds() if k[0] in ("moved", "new")][-1] == ("moved", "chair")
    assert robot.memory.known[ids["chair"]].box.center[0] == pytest.approx(1.6, abs=0.05)
    assert dict(robot.memory.known[ids["chair"]].labels).keys() == {"chair", "crate"}
    robot.stop()
