"""The engine with a real, small, untrained network: memory, versions, errors, threads."""

import math
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch

from helpers.engine_scene import labelled, proposals_in_a_row, wall_frame, with_scene
from helpers.small_model import small_model
from spatial3d_ros.engine import EngineConfig, Spatial3D
from spatial3d_ros.errors import (
    Cancelled,
    CheckpointError,
    ConfigError,
    FrameError,
    NoSceneError,
    NotAvailableError,
    NotFoundError,
    QueryError,
)
from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.geometry.pose import look_at
from spatial3d_ros.model.checkpoint import save_model
from spatial3d_ros.scene.detection_tracking import Detection3D
from spatial3d_ros.scene.objects import NO_ID


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("model")
    model, prompt = small_model()
    save_model(path, model, prompt.tokenizer, torch.float32)
    return path


@pytest.fixture
def engine(folder):
    made = Spatial3D(EngineConfig(model=str(folder), device="cpu", max_views=4))
    made.load()
    return made


NAMES = ("red chair", "brown table", "gray lamp")


@pytest.fixture
def named(engine, monkeypatch):
    """A chair, a table and a lamp in a row, of which the network has no opinion."""
    monkeypatch.setattr(engine._runner, "score_phrases", lambda _, p: torch.zeros(len(p), 4))
    return labelled(with_scene(engine), *NAMES)


def test_nothing_seen_yet(engine):
    for question in (engine.ground, engine.answer):
        with pytest.raises(NoSceneError, match="start the camera"):
            question("the red chair")
    with pytest.raises(NoSceneError):
        engine.scene()
    assert engine.refresh() == 0


def test_answers_say_what_they_rest_on(engine):
    answer = labelled(with_scene(engine), *NAMES).ground("the red chair", max_objects=2)
    assert answer.views_used == 3 and answer.scene_version == engine.scene().version
    assert answer.stamp_ns == 3 * 10**9 and answer.intent == "locate"
    assert 1 >= answer.objects[0].score == answer.confidence > 0
    before = {f"{stage} (before)" for stage in ("proposals", "vision", "prefix")}
    assert set(answer.stages_ms) == before | {"preprocess", "objects and words", "decode"}


def test_the_same_question_has_the_same_answer(engine):
    with_scene(engine)
    first, second = (engine.ground("the red chair") for _ in range(2))
    assert [o.object.id for o in first.objects] == [o.object.id for o in second.objects]
    assert first.objects[0].score == pytest.approx(second.objects[0].score, abs=1e-6)


def test_a_question_uses_the_newest_complete_version(engine):
    with_scene(engine)
    before = engine.ground("the red chair").scene_version
    engine.add_frame(wall_frame(9))
    assert engine.ground("the red chair").scene_version == before
    engine.refresh(proposals_in_a_row())
    assert engine.ground("the red chair").scene_version > before


def test_memory_is_bounded_and_old_features_are_dropped(engine):
    for number in range(1, 10):
        engine.add_frame(wall_frame(number))
        engine.refresh(proposals_in_a_row())
    assert engine.scene().views == 4
    assert len(engine._runner._views) == 4


def test_views_can_be_forgotten_without_the_objects(engine):
    with_scene(engine)
    engine.forget_views()
    assert len(engine.scene().objects) == 3
    assert engine.ground("the red chair").views_used
    assert engine.add_frame(wall_frame(1)).keyframe
    engine.clear()
    with pytest.raises(NoSceneError):
        engine.ground("the red chair")


def test_time_going_backwards_is_refused_and_nothing_is_lost(engine):
    with_scene(engine)
    with pytest.raises(FrameError):
        engine.add_frame(wall_frame(0))
    assert engine.ground("the red chair").views_used


def test_each_camera_has_its_own_keyframes(engine):
    def frame(number, source):
        seen = wall_frame(number)
        return replace(seen, stamp_ns=10**9 + number, source=source)

    assert engine.add_frame(frame(0, "front")).keyframe
    assert engine.add_frame(frame(9, "rear")).keyframe  # 2.7 m away
    assert not engine.add_frame(replace(frame(0, "front"), stamp_ns=2 * 10**9)).keyframe
    assert not engine.add_frame(replace(frame(9, "rear"), stamp_ns=2 * 10**9)).keyframe


def test_no_objects_is_an_answer(engine):
    with_scene(engine, objects=0)
    answer = engine.ground("the red chair")
    assert answer.no_target and answer.objects == ()
    with pytest.raises(NotFoundError):
        engine.measure_distance("how far is the chair from the table?")


def test_distances_are_geometry(named):
    centers = named.measure_distance(a="the chair", b="the table")
    gap = named.measure_distance("what is the gap between the chair and the table?")
    assert (centers.a.object.id, centers.b.object.id) == (0, 1)
    assert centers.metres == pytest.approx(0.5) and centers.kind == "center"
    assert gap.metres == pytest.approx(0.1) and gap.kind == "surface"
    assert np.linalg.norm(np.subtract(gap.point_a, gap.point_b)) == pytest.approx(0.1)
    assert centers.text.startswith("0.50 m between the centers of")
    assert named.ask("how far is the chair from the table?").value == "0.50 m"


def test_a_distance_to_nothing_says_which_phrase(named):
    labelled(named, "red chair", "gray lamp", "gray lamp")
    with pytest.raises(NotFoundError, match="the table"):
        named.measure_distance("how far is the chair from the table?")


def test_bad_questions(named):
    for text in ("", " ", "x" * 2000, "12345 ???"):
        with pytest.raises(QueryError):
            named.ground(text)
    with pytest.raises(QueryError, match="two objects"):
        named.measure_distance("the chair")
    with pytest.raises(QueryError, match="asks for no change"):
        named.edit_layout("what is on the table?")


def test_distances_to_the_camera_and_to_a_point(named):
    pose = look_at((0.903, 0, 1), (0.903, 3, 1))
    here = replace(wall_frame(3), stamp_ns=4 * 10**9, world_T_camera=pose)
    assert not named.add_frame(here).keyframe  # but the camera is there
    mine = named.measure_distance("how far am I from the chair?")
    assert mine.metres == pytest.approx(math.dist((0.903, 0, 1), (0, 2, 1)))
    assert mine.a.object.label == "robot" and mine.a.object.id == NO_ID
    assert "the camera and the center of" in mine.text
    point = named.measure_distance(a="(0.0, 5.0, 1.0)", b="the chair", kind="surface")
    assert point.metres == pytest.approx(2.8) and point.point_a == (0, 5, 1)
    far = named.measure_distance(a="me", b="(0, 0, 0)")
    assert far.metres == pytest.approx(math.dist((0.903, 0, 1), (0, 0, 0)))


def test_a_distance_tells_its_doubt_and_its_routes(named, monkeypatch):
    clear = named.measure_distance(a="the chair", b="the table")
    assert 0.02 < clear.uncertainty_m < 0.4 and clear.alternatives == ()
    assert (clear.route, clear.network_m, clear.disagreement_m) == ("geometry", None, None)
    labelled(named, "red chair", "brown table", "brown table")
    doubtful = named.measure_distance(a="the chair", b="the table")
    assert len(doubtful.alternatives) == 1 and doubtful.question_back
    assert "the phrases also match" in doubtful.text
    assert doubtful.uncertainty_m > clear.uncertainty_m
    monkeypatch.setattr(named._runner, "generate_distance", lambda *_: 0.7)
    both = labelled(named, *NAMES).measure_distance(a="the chair", b="the table")
    assert both.metres == pytest.approx(0.5) and both.network_m == 0.7
    assert both.disagreement_m == pytest.approx(0.2)


def test_an_edit_is_a_proposal_until_it_is_applied(named):
    engine = named
    before = engine.scene()
    edit = engine.edit_layout("move the chair 0.2 m up")
    assert edit.action == "move" and edit.possible and edit.satisfied and not edit.applied
    assert edit.after[0].box.center == pytest.approx((0, 2, 1.2))
    assert engine.scene() is before and edit.scene_version == before.version
    assert engine.answer("move the chair 0.2 m up").after[0].id == 0

    applied = engine.edit_layout("move the chair 0.2 m up", apply=True)
    after = engine.scene()
    assert applied.applied and applied.scene_version == after.version > before.version
    assert after.objects[0].box.center == pytest.approx((0, 2, 1.2))
    assert after.objects[0].label == before.objects[0].label
    assert engine.refresh() == after.version  # nothing new was seen: it stays
    engine.add_frame(wall_frame(9))
    engine.refresh(proposals_in_a_row())
    assert engine.scene().objects[0].box.center == pytest.approx((0, 2, 1))


def test_new_things_get_ids_of_their_own_and_removed_ones_go(named, monkeypatch):
    edit = named.edit_layout("put a lamp of 0.1 x 0.1 x 0.3 m next to the chair")
    assert edit.action == "place"
    if edit.possible:
        assert edit.after[0].id == NO_ID
        applied = named.edit_layout(edit.query, apply=True)
        assert applied.after[0].id not in (0, 1, 2, NO_ID)
        assert applied.after[0].id in [o.id for o in named.scene().objects]
    count = len(named.scene().objects)
    monkeypatch.setattr(named._runner, "score_phrases", lambda _, p: torch.zeros(len(p), count + 1))
    labelled(named, "red chair", *["brown table"] * (count - 1))
    assert named.edit_layout("remove the chair", apply=True).after == ()
    left = [o.id for o in named.scene().objects]
    assert 0 not in left and len(left) == count - 1


def test_an_impossible_edit_is_not_applied(named):
    edit = named.edit_layout("move the chair 0.4 m towards the table", apply=True)
    assert not edit.possible and not edit.applied and edit.after == ()
    assert "in the way" in edit.reason and edit.reason in edit.text


def test_a_cancel_takes_effect_between_stages_and_frees_the_engine(engine):
    with_scene(engine)

    stages = []

    class Stop:
        def stage(self, name, progress):
            stages.append(name)
            if len(stages) == 2:
                raise Cancelled("enough")

    with pytest.raises(Cancelled):
        engine.ground("the red chair", monitor=Stop())
    assert stages == ["preprocess", "objects and words"]
    assert engine.ground("the red chair").objects


def test_frames_questions_and_refreshes_from_many_threads(engine):
    with_scene(engine)
    failures = []

    def guard(work):
        try:
            work()
        except Exception as error:
            failures.append(error)

    def film():
        for number in range(4, 24):
            engine.add_frame(wall_frame(number))

    def look():
        for _ in range(5):
            engine.refresh(proposals_in_a_row())

    def ask():
        for _ in range(8):
            engine.ground("the red chair")

    threads = [threading.Thread(target=guard, args=(work,)) for work in (film, look, ask, ask)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures


def test_unusable_settings(folder, tmp_path):
    with pytest.raises(CheckpointError, match="missing"):
        Spatial3D(EngineConfig(model=str(tmp_path))).load()
    with pytest.raises(ConfigError, match="not part of this installation"):
        Spatial3D(EngineConfig(model="no_such_model")).load()
    with pytest.raises(ConfigError, match="device"):
        Spatial3D(EngineConfig(model=str(folder), device="abacus")).load()
    with pytest.raises(ConfigError, match="dtype"):
        Spatial3D(EngineConfig(model=str(folder), device="cpu", dtype="float8")).load()
    with pytest.raises(NotAvailableError, match="load"):
        Spatial3D().ground("the chair")


def test_a_map_that_is_not_parallel_to_the_walls(engine):
    """Boxes given in the world come back in the world, however the room lies in it."""
    wall = wall_frame(1)
    tilted = np.eye(4)
    angle = np.deg2rad(25)
    tilted[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    for number in (1, 2, 3):
        view = wall_frame(number)
        engine.add_frame(replace(view, world_T_camera=tilted @ view.world_T_camera))
    engine.refresh(proposals_in_a_row())
    assert abs(np.rad2deg(engine._memory.scene.heading)) == pytest.approx(25, abs=1)
    centers = [o.box.center for o in engine.scene().objects]
    np.testing.assert_allclose(centers, [b.box.center for b in proposals_in_a_row()], atol=1e-9)
    assert wall.frame_id == engine.scene().frame_id


def sightings(label="zorbik", x=0.5, stamp=10**9, score=0.8):
    box = Box3D((x, 2.0, 1.0), (0.4, 0.4, 0.4))
    return [Detection3D(box, label, score, stamp)]


def test_a_detectors_word_is_found_where_it_saw_it(engine):
    for number in (1, 2, 3):
        engine.add_frame(wall_frame(number))
    before = engine.refresh(proposals_in_a_row())
    assert engine.add_detections(sightings())
    after = engine.refresh(proposals_in_a_row())
    assert after > before
    found = engine.ground("where is the zorbik?")
    assert not found.no_target and found.objects[0].object.label == "zorbik"
    assert found.objects[0].object.box.center == pytest.approx((0.5, 2.0, 1.0), abs=0.1)
    assert found.objects[0].object.label_from_detector and "zorbik" in found.text
    others = [o.label for o in engine.scene().objects if not o.label_from_detector]
    assert len(others) == 2 and all(others)


def test_a_label_stays_when_the_detector_falls_silent_and_goes_with_the_memory(engine):
    for number in (1, 2):
        engine.add_frame(wall_frame(number))
    engine.add_detections(sightings("赤い箱"))
    engine.refresh(proposals_in_a_row())
    assert engine.ground("赤い箱").objects[0].object.label == "赤い箱"
    engine.forget_views()
    for number in (3, 4):
        engine.add_frame(wall_frame(number))
    engine.refresh(proposals_in_a_row())
    assert "赤い箱" in {o.label for o in engine.scene().objects}
    engine.clear()
    engine.add_frame(wall_frame(9))
    engine.refresh(proposals_in_a_row())
    assert not any(o.label_from_detector for o in engine.scene().objects)
    with pytest.raises(QueryError, match="Latin"):
        engine.ground("赤い箱")


def test_what_a_detector_repeats_is_no_reason_to_refresh(engine):
    engine.add_frame(wall_frame(1))
    assert engine.add_detections(sightings())
    version = engine.refresh(proposals_in_a_row())
    assert not engine.add_detections(sightings(stamp=2 * 10**9))
    assert engine.refresh() == version
