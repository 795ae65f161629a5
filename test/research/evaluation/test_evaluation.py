"""Metrics, judging, reports and pictures."""

from __future__ import annotations

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from spatial3d_ros.demo import processes
from spatial3d_ros.demo.figures import FigureWriter, _figure, distinct
from spatial3d_ros.demo.question_file import read_questions
from spatial3d_ros.demo.report import Row, answers_table, write_answers, write_page
from spatial3d_ros.errors import BagError, ConfigError, NotAvailableError
from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.geometry.camera import Camera
from spatial3d_ros.geometry.pose import look_at
from spatial3d_ros.research.evaluation.metrics import judging as metrics
from spatial3d_ros.research.evaluation.room_queries import (
    draw_questions,
    judge,
    report_row,
    write_queries,
)
from spatial3d_ros.research.language.questions import Question
from spatial3d_ros.research.rooms.catalog import Room, RoomObject
from spatial3d_ros.research.rooms.recorded_rooms import load_recorded_room, record_room, truth_file
from spatial3d_ros.scene.frame import Frame
from spatial3d_ros.tasks.reply import Reply
from spatial3d_ros.visualization.plots import StyledBox, draw_floor, floor_plan, place_labels

CHAIR = Box3D((0.0, 0.0, 0.5), (1.0, 1.0, 1.0))
TABLE = Box3D((3.0, 0.0, 0.5), (2.0, 1.0, 1.0))
MUG = Box3D((3.0, 0.0, 1.05), (0.1, 0.1, 0.1))


def thing(number: int, category: str, box: Box3D) -> RoomObject:
    return RoomObject(number, category, "red", (200, 30, 30), box, -1, 0.0, "wood", 0)


ROOM = Room(
    7, (8.0, 4.0, 2.5), (thing(0, "chair", CHAIR), thing(1, "table", TABLE), thing(2, "mug", MUG))
)
WHERE = Question("attribute", "class", "where is the chair?", (0,), "the chair")
FAR = Question("distance", "center", "how far is it?", (0,), "3.00 m", (1,), 3.0)
NONE = Question("none", "class", "where is the piano?", (), "nothing")


def moved(box: Box3D, dx: float) -> Box3D:
    return Box3D((box.center[0] + dx, *box.center[1:]), box.size)


# ---- metrics ---------------------------------------------------------------------------------


def test_the_right_object_is_the_one_most_overlapped() -> None:
    truth = np.array([o.box.array() for o in ROOM.objects])
    exact = metrics.match_box(CHAIR, truth, [0])
    assert (exact.object_id, exact.iou, exact.target_iou) == (0, 1.0, 1.0)
    shifted = metrics.match_box(moved(CHAIR, 0.5), truth, [0])
    assert shifted.object_id == 0
    assert shifted.target_iou == pytest.approx(1 / 3)
    nowhere = metrics.match_box(moved(CHAIR, 50), truth, [0])
    assert (nowhere.object_id, nowhere.target_iou) == (-1, 0.0)
    # A box around table and mug is the table, not the mug.
    assert not metrics.judge_grounding("relation", TABLE, truth, [2]).right


def test_saying_that_nothing_fits() -> None:
    truth = np.array([CHAIR.array()])
    assert metrics.judge_grounding("none", None, truth, []).right
    assert not metrics.judge_grounding("none", CHAIR, truth, []).right
    assert not metrics.judge_grounding("none", None, truth, [], answered=False).right
    missed = metrics.judge_grounding("attribute", None, truth, [0])
    assert (missed.right, missed.iou) == (False, 0.0)


def test_distance_scores() -> None:
    verdicts = [metrics.judge_distance(m, 2.0) for m in (2.0, 2.2, 1.6, None)]
    assert [v.right for v in verdicts] == [True, True, False, False]
    scores = metrics.distance_scores(verdicts)
    assert scores["n"] == 4
    assert scores["answered"] == 0.75
    assert scores["median_m"] == pytest.approx(0.2)
    assert scores["mean_m"] == pytest.approx(0.2)
    assert scores["within_0.1m"] == pytest.approx(1 / 3)
    # Relative errors 0, 0.1, 0.2 stay below 1 - theta for 10, 8 and 6 of the ten thresholds.
    assert scores["mra"] == pytest.approx((10 + 8 + 6) / 30)


def test_summary_counts_by_kind() -> None:
    verdicts = [
        metrics.Verdict("attribute", "color", True, True, 0.6),
        metrics.Verdict("relation", "on", True, True, 0.3),
        metrics.Verdict("relation", "closest", True, False, 0.0),
        metrics.Verdict("none", "", True, True),
        metrics.judge_distance(1.0, 1.1),
    ]
    scores = metrics.summarise(verdicts)
    assert list(scores)[:5] == ["grounding", "attribute", "relation", "none", "distance"]
    assert scores["grounding"] == {
        "n": 3, "right": pytest.approx(2 / 3), "acc@0.25": pytest.approx(2 / 3),
        "acc@0.5": pytest.approx(1 / 3),
    }  # fmt: skip
    assert scores["none"] == {"n": 1, "right": 1.0}
    assert scores["relation/on"]["right"] == 1.0


# ---- asking and judging ----------------------------------------------------------------------


def test_replies_are_judged() -> None:
    assert judge(WHERE, ROOM, Reply("", (CHAIR, TABLE))).right
    assert not judge(WHERE, ROOM, Reply("", (TABLE, CHAIR))).right
    assert not judge(WHERE, ROOM, Reply("", (CHAIR,), no_target=True)).right
    assert judge(NONE, ROOM, Reply("", (CHAIR,), no_target=True)).right
    assert judge(FAR, ROOM, Reply("", (CHAIR, TABLE), metres=3.2)).error_m == pytest.approx(0.2)
    assert not judge(FAR, ROOM, Reply("no scene", success=False)).answered


def test_a_row_needs_overlap_to_be_right() -> None:
    loose = Reply("the chair", (moved(CHAIR, 0.7),))
    assert judge(WHERE, ROOM, loose).right
    assert not report_row(WHERE, ROOM, loose).right
    row = report_row(FAR, ROOM, Reply("3.1 m", (CHAIR, TABLE), metres=3.1))
    assert row.right
    assert row.truth == "3.00 m"
    assert row.truth_boxes == (CHAIR, TABLE)
    assert row.score == "+0.10 m"


def test_reply_from_the_client_file() -> None:
    box = {"id": 4, "label": "mug", "center": [1, 2, 3], "size": [1, 1, 1], "yaw": 0.5}
    data = {
        "answer": "there", "message": "", "success": True, "no_target": False, "objects": [box],
        "latency_ms": 12.0,
    }  # fmt: skip
    reply = Reply.from_data(data)
    assert reply.boxes == (Box3D((1, 2, 3), (1, 1, 1), 0.5),) and reply.objects == ((4, "mug"),)
    failed = Reply.from_data({**data, "success": False, "message": "busy", "objects": []})
    assert (failed.text, failed.success) == ("busy", False)


def test_questions_about_a_room_are_reproducible(recorded) -> None:
    kinds = ["attribute", "none", "attribute", "distance"]
    questions = draw_questions(recorded.seen(), 5, kinds)
    assert [q.kind for q in questions] == kinds
    assert len({q.text for q in questions}) == 4
    assert questions == draw_questions(recorded.seen(), 5, kinds)


def test_queries_file(tmp_path: Path) -> None:
    path = tmp_path / "room.queries.yaml"
    write_queries(path, [WHERE, FAR, NONE], ROOM)
    assert read_questions(path) == [WHERE.text, FAR.text, NONE.text]
    text = path.read_text()
    assert "expect: {distance: 3.0, measure: center}" in text
    assert "center: [0.0, 0.0, 0.5]" in text


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("q.yaml", "a: b", "q.yaml: expected `queries:`"),
        ("q.yaml", "{{", "q.yaml: cannot be read as YAML"),
        ("q.txt", "\n# nothing\n", "q.txt: no questions"),
    ],
)
def test_bad_question_files(tmp_path: Path, name: str, text: str, words: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match=re.escape(words)):
        read_questions(tmp_path / name)
    with pytest.raises(ConfigError, match="no such file"):
        read_questions(tmp_path / "other.txt")


# ---- recorded rooms --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    bag = tmp_path_factory.mktemp("rooms") / "room.mcap"
    camera = Camera(160, 120, 131.0, 131.0, 79.5, 59.5)
    return record_room(bag, 900_003, seconds=2, rate_hz=4, camera=camera, processes=1)


def test_recorded_room_comes_back(recorded) -> None:
    again = load_recorded_room(recorded.bag)
    assert again.room == recorded.room
    np.testing.assert_array_equal(again.pixels, recorded.pixels)
    assert again.stamps_ns == recorded.stamps_ns
    assert len(recorded.pixels) == 8
    assert recorded.seen_in([], 1) == []
    seen = {item.id for item in recorded.seen(1)}
    assert seen == {
        k for k in range(len(recorded.room.objects)) if recorded.pixels[:, k].max() >= 150
    }


def test_processes_do_not_change_the_recording(recorded, tmp_path: Path) -> None:
    from spatial3d_ros.bags.reader import read_bag

    camera = Camera(160, 120, 131.0, 131.0, 79.5, 59.5)
    other = record_room(
        tmp_path / "b.mcap", 900_003, seconds=2, rate_hz=4, camera=camera, processes=2
    )
    np.testing.assert_array_equal(other.pixels, recorded.pixels)
    pairs = zip(read_bag(other.bag), read_bag(recorded.bag), strict=True)
    for mine, theirs in pairs:
        np.testing.assert_array_equal(mine.rgb, theirs.rgb)
        np.testing.assert_array_equal(mine.depth, theirs.depth)


def test_missing_or_damaged_truth(recorded, tmp_path: Path) -> None:
    with pytest.raises(BagError, match="spatial3d synth room"):
        load_recorded_room(tmp_path / "none.mcap")
    bag = tmp_path / "x.mcap"
    bag.write_bytes(b"")
    good = json.loads(truth_file(recorded.bag).read_text())
    for damage in ("{", "[]", json.dumps({**good, "version": 0}), json.dumps({"version": 1})):
        truth_file(bag).write_text(damage)
        with pytest.raises(BagError, match=r"x\.truth\.json"):
            load_recorded_room(bag)


# ---- pictures and reports --------------------------------------------------------------------


def view() -> list[Frame]:
    """A wall two metres before a camera, from two places."""
    camera = Camera(80, 60, 60.0, 60.0, 39.5, 29.5)
    depth = np.full((60, 80), 2.0, np.float32)
    rgb = np.full((60, 80, 3), (200, 120, 40), np.uint8)
    return [
        Frame(10**9 * (k + 1), rgb, depth, camera, look_at((0, 0.2 * k, 1), (2, 0.2 * k, 1)))
        for k in range(2)
    ]


def test_floor_plan_shows_the_highest_point_in_its_place() -> None:
    plan = floor_plan(view(), cell_m=0.05)
    left, right, bottom, top = plan.extent
    assert left < 0 < 2 < right
    rows, columns = np.nonzero(plan.image[..., 3])
    x = left + (columns + 0.5) * 0.05
    assert np.abs(x - 2.0).max() < 0.06  # the wall, a line from above
    color = plan.image[rows[0], columns[0], :3]
    assert color.argmax() == 0
    assert bottom < 0 < top


def test_labels_do_not_overlap() -> None:
    figure = _figure(6, 6)
    axes = figure.add_subplot()
    draw_floor(axes, floor_plan(view()))
    boxes = [Box3D((0.5 + 0.05 * k, 0.1 * k, 0.5), (0.3, 0.3, 0.3)) for k in range(6)]
    place_labels(axes, [StyledBox(box, label=f"{k} brown armchair") for k, box in enumerate(boxes)])
    renderer = figure.canvas.get_renderer()
    extents = [text.get_window_extent(renderer) for text in axes.texts]
    assert len(extents) >= 4
    for k, one in enumerate(extents):
        assert not any(one.overlaps(other) for other in extents[k + 1 :])


def test_pictures_leave_out_rival_boxes() -> None:
    rival = Box3D((3.0, 0.1, 0.5), (1.5, 1.0, 1.0))
    kept = distinct([StyledBox(box) for box in (TABLE, rival, CHAIR, MUG)])
    assert [item.box for item in kept] == [TABLE, CHAIR, MUG]


def test_pictures_and_page(tmp_path: Path) -> None:
    box = Box3D((2.0, 0.0, 1.0), (0.2, 0.6, 0.6))
    rows = [
        Row("where is <it>?", "attribute", "there", "there", True, 0.7, boxes=(box,),
            truth_boxes=(moved(box, 0.1),)),
        Row("how far?", "distance", "1 m", "1.2 m", True, None, -0.2,
            boxes=(box, moved(box, -1.0))),
        Row("the piano?", "none", "nothing fits", "nothing", True),
    ]  # fmt: skip
    album = FigureWriter(view(), [(box, "0 red box", (200, 0, 0))], [box])
    overview = album.overview(tmp_path / "map.png")
    pictures = [album.question(tmp_path / f"{k}.png", row) for k, row in enumerate(rows)]
    for picture in (overview, *pictures):
        image = cv2.imread(str(picture))
        assert image.shape[0] > 400
        assert image.std() > 5
    green = np.array([0x58, 0x9D, 0x0A])  # the colour of answers, blue first
    shown = np.abs(cv2.imread(str(pictures[0])).astype(int) - green).max(2) < 12
    assert shown.sum() > 200
    page = tmp_path / "index.html"
    write_page(page, rows, pictures, overview, title="a room", facts={"views": "2"})
    text = page.read_text()
    assert text.count("data:image/jpeg;base64,") == 4
    assert "http" not in text.replace("http-equiv", "")
    assert "where is &lt;it&gt;?" in text
    assert "3 of 3" in text
    write_answers(tmp_path / "answers.json", rows)
    first, second, _ = json.loads((tmp_path / "answers.json").read_text())
    assert {"question", "kind", "answer", "truth", "iou", "latency_ms"} <= set(first)
    assert second["error"] == -0.2
    assert answers_table(rows).row_count == 3


# ---- processes -------------------------------------------------------------------------------


def test_a_node_that_dies_is_reported_with_its_log(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(processes, "RUN", "print('about {node}'); raise SystemExit(3)")
    with processes.NodeGroup(tmp_path) as nodes:
        nodes.start("some_node")
        with pytest.raises(
            NotAvailableError, match=r"some_node (failed|ended)[\s\S]*about some_node"
        ):
            nodes.wait("some_node", 90)


def test_nodes_are_interrupted_when_the_group_ends(tmp_path: Path, monkeypatch) -> None:
    code = (
        "import time, sys\n"
        "try:\n    print('I am ready', flush=True); time.sleep(60)\n"
        "except KeyboardInterrupt:\n    print('interrupted', flush=True)"
    )
    monkeypatch.setattr(processes, "RUN", code)
    with processes.NodeGroup(tmp_path) as nodes:
        process = nodes.start("sleeper")
        while "I am ready" not in nodes.tail("sleeper"):
            nodes.check()
    assert process.returncode == 0
    assert "interrupted" in (tmp_path / "sleeper.log").read_text()
