"""Bags replayed with questions: the file of questions, when what is asked, judging, the report."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from helpers.small_model import small_model
from spatial3d_ros.__main__ import app
from spatial3d_ros.bags.options import RecordingOptions
from spatial3d_ros.bags.topics import POSE_TYPE, TF_TYPE, Topics
from spatial3d_ros.demo import node_queries as through_ros
from spatial3d_ros.errors import BagError, ConfigError, NotAvailableError
from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.geometry.camera import Camera
from spatial3d_ros.model.checkpoint import save_model
from spatial3d_ros.research.evaluation import replay as replay_module
from spatial3d_ros.research.evaluation.layout import layout_questions
from spatial3d_ros.research.evaluation.queries import QueryFile, read_queries
from spatial3d_ros.research.evaluation.replay import replay_bag
from spatial3d_ros.research.evaluation.reports.replay_report import ReplayReport, judge
from spatial3d_ros.research.evaluation.room_queries import draw_questions, write_queries
from spatial3d_ros.research.evaluation.settings import weights_version
from spatial3d_ros.research.rooms.recorded_rooms import load_recorded_room, record_room
from spatial3d_ros.tasks.reply import Reply

SECONDS, RATE_HZ = 2, 4
QUESTIONS = """
frame_id: map
queries:
  - {id: late, kind: ground, at: end, text: "the red chair", expect: {center: [0, 0, 0.5],
     size: [1, 1, 1]}}
  - {id: far, kind: distance, at: end, text: "how far is the chair from the table",
     expect: {distance: 2, measure: surface}}
  - {id: first, kind: ground, at: 0, text: "the chair"}
  - {id: second, kind: ground, at: 0.5, text: "the chair", expect: {no_target: true}}
  - {id: free, kind: ask, at: 1.1, text: "what colour is it", expect: {text: [red]}}
  - {id: edit, kind: layout, at: end, text: "put a lamp of 0.2 x 0.2 x 0.4 m next to the chair"}
"""


@pytest.fixture(scope="module")
def here(tmp_path_factory) -> Path:
    """A folder with a bag, a model of random weights, and questions."""
    path = tmp_path_factory.mktemp("replay")
    camera = Camera(160, 120, 131.0, 131.0, 79.5, 59.5)
    record_room(
        path / "room.mcap", 900_003, seconds=SECONDS, rate_hz=RATE_HZ, camera=camera, processes=1
    )
    model, prompt = small_model()
    save_model(path / "model", model, prompt.tokenizer, torch.float32)
    (path / "q.yaml").write_text(QUESTIONS)
    return path


def run(here: Path, queries: str | None = "q.yaml", **options) -> ReplayReport:
    asked = here / queries if queries else None
    made = replay_bag(here / "room.mcap", asked, model=str(here / "model"), device="cpu", **options)
    return ReplayReport.of(made)


@pytest.fixture(scope="module")
def report(here: Path) -> ReplayReport:
    return run(here)


def without_time(data):
    if isinstance(data, dict):
        timed = ("latency_ms", "timing")
        return {key: without_time(value) for key, value in data.items() if key not in timed}
    return [without_time(value) for value in data] if isinstance(data, list) else data


def test_names_alone_compare_the_map_with_the_true_objects(
    here: Path, report: ReplayReport
) -> None:
    truth = load_recorded_room(here / "room.mcap").room.objects[:3]
    lines = [
        f"  - {{label: {o.category}, center: {list(o.box.center)}, size: {list(o.box.size)}}}"
        for o in truth
    ]
    (here / "names.yaml").write_text("\n".join(["frame_id: map", "objects:", *lines]))
    compared = run(here, None, names=here / "names.yaml").json()
    assert compared["answers"] == [] and len(compared["object_map"]["objects"]) == 3
    assert compared["object_map"]["objects_mapped"] == len(compared["scene"]["objects"]) > 0
    assert "object_map" not in report.json()
    with pytest.raises(ConfigError, match="--queries, --names"):
        run(here, None)
    (here / "bad.yaml").write_text("frame_id: map\nobjects: [{label: sofa, center: [1, 2, 3]}]")
    with pytest.raises(ConfigError, match=r"bad.yaml: sofa: size: is missing"):
        run(here, None, names=here / "bad.yaml")


# ---- the replay ------------------------------------------------------------------------------


def test_two_runs_agree_to_the_digit(here: Path, report: ReplayReport) -> None:
    first, second = report.json(), run(here).json()
    assert json.dumps(without_time(first)) == json.dumps(without_time(second))
    assert first["scene"]["objects"]  # there was something to disagree about
    timed = {a["id"]: len(a["latency_ms"]) > 1 for a in first["answers"]}
    assert timed["late"] and timed["first"] and timed["second"] and not timed["free"]


def test_a_question_sees_what_was_recorded_until_then(report: ReplayReport) -> None:
    answers = {a["id"]: a for a in report.json()["answers"]}
    assert list(answers) == ["late", "far", "first", "second", "free", "edit"]  # as in the file
    views = {name: answers[name]["answer"]["views"] for name in ("first", "second", "late")}
    assert views["first"] == 1
    assert views["second"] <= 3  # at 0, 0.25 and exactly 0.5 s
    assert views["late"] == report.replay.recording["keyframes"] > 3
    versions = [answers[n]["answer"]["version"] for n in ("first", "second", "late")]
    assert versions == sorted(versions)


def test_every_answer_is_reported(report: ReplayReport) -> None:
    data = report.json()
    late, far, first, second, free, edit = data["answers"]
    assert (edit["right"], edit["iou"], edit["truth"]) == (None, None, None)
    if edit["answer"]:  # random weights may say that there is no chair
        assert edit["answer"]["action"] == "place" and edit["answer"]["objects"] == []
        assert len(edit["answer"]["after"]) == edit["answer"]["possible"]
    assert late["truth"]["size"] == [1.0, 1.0, 1.0]
    assert 0 <= late["iou"] <= 1
    assert (far["error_m"] is None) == (far["error"] is not None)
    if far["answer"]:
        assert far["answer"]["measure"] == "surface"
        assert far["error_m"] == pytest.approx(far["answer"]["metres"] - 2, abs=2e-4)
    assert (first["truth"], first["right"], first["iou"]) == (None, None, None)
    assert second["right"] == second["answer"]["no_target"]
    assert (free["answer"], free["right"]) == (None, False)
    assert "refers to no earlier answer" in free["error"]
    assert {kind: scores["n"] for kind, scores in data["scores"].items()} == {
        "ground": 2, "distance": 1, "ask": 1,
    }  # fmt: skip
    assert data["recording"]["frames"] == SECONDS * RATE_HZ
    assert data["settings"]["weights"] == weights_version(data["settings"]["model"])
    assert re.fullmatch(r"sha256 [0-9a-f]{16}", data["settings"]["weights"])
    engine = data["settings"]["engine"]
    assert (engine["model"], engine["dtype"], engine["max_bytes"]) == (
        data["settings"]["model"], "auto", 512 * 2**20,
    )  # fmt: skip
    assert engine["runs_on"].startswith("cpu")


def test_the_files_of_a_report(report: ReplayReport, tmp_path: Path) -> None:
    assert report.write(tmp_path / "quick", pictures=False).name == "report.json"
    assert [p.name for p in (tmp_path / "quick").iterdir()] == ["report.json"]
    some = slice(3, 5)
    two = ReplayReport(
        report.replay, report.rows[some], report.verdicts[some], report.results[some]
    )
    page = two.write(tmp_path).read_text()
    assert json.loads((tmp_path / "report.json").read_text()) == two.json()
    assert len(list(tmp_path.glob("question_*.png"))) == 2
    for words in ("second · ground · at 0.5 s", ">failed<", "/camera/pose", 'href="#q2"', "sha256"):
        assert words in page
    assert page.count("data:image/jpeg") == 3
    whole = report.write(tmp_path / "whole").read_text()
    assert 'href="why/explanation.html"' in whole
    assert (tmp_path / "whole/why/explanation.html").stat().st_size > 10_000


def test_rooms_come_with_questions_that_can_be_replayed(here: Path, tmp_path: Path) -> None:
    recorded = load_recorded_room(here / "room.mcap")
    asked = draw_questions(recorded.room.objects, 3, ("attribute", "none", "distance"))
    edits = layout_questions(recorded.room, recorded.room.objects, 3, 12)
    write_queries(tmp_path / "room.queries.yaml", asked, recorded.room, edits)
    queries = read_queries(tmp_path / "room.queries.yaml").queries
    assert [q.text for q in queries] == [q.text for q in (*asked, *(edit for edit, _ in edits))]
    for query, (edit, outcome) in zip(queries[3:], edits, strict=True):
        before = tuple(recorded.room.objects[i].box for i in edit.targets)
        after = () if edit.action == "remove" else (outcome,)
        assert judge(query, Reply("", before, after=after)).right, query
        definite = edit.metres is not None or edit.action in ("swap", "turn")
        assert (query.expect.after is not None) == definite
    assert queries[0].expect.box == Box3D(*map(tuple, (queries[0].expect.center,
                                                       queries[0].expect.size)))  # fmt: skip
    assert queries[1].expect.no_target
    assert queries[2].expect.distance == pytest.approx(asked[2].metres, abs=1e-4)


def test_at_after_the_end_is_refused_before_anything_runs(here: Path) -> None:
    (here / "after.yaml").write_text(QUESTIONS.replace("at: 1.1", "at: 99"))
    with pytest.raises(ConfigError, match=r"after.yaml: free: at: 99 is after the end .* 1\.75"):
        run(here, "after.yaml")


def test_a_frame_that_is_not_the_bags(here: Path) -> None:
    (here / "odom.yaml").write_text(QUESTIONS.replace("frame_id: map", "frame_id: odom"))
    with pytest.raises(BagError, match="in frame 'map', not in 'odom'"):
        run(here, "odom.yaml")


def test_named_topics(here: Path) -> None:
    with pytest.raises(BagError, match=r"no messages on /nope \(depth\)"):
        run(here, options=RecordingOptions(depth="/nope"))


def test_through_ros(here: Path, tmp_path: Path, monkeypatch) -> None:
    """The nodes are played up to each time of asking; what they say is judged alike."""
    calls, measures = [], []

    def ask_nodes(bag, asked, out, say, model, *, options, seconds):
        calls.append((out.name, [a["text"] for a in asked], round(seconds, 2)))
        measures.extend(a["measure"] for a in asked if a["kind"] == "distance")
        if seconds == 0:
            raise NotAvailableError("no scene after 120 s")
        thing = {"id": 4, "label": "chair", "color": "red", "score": 0.9,
                 "center": [0.0, 0.0, 0.5], "size": [1.0, 1.0, 1.0], "yaw": 0.0}  # fmt: skip
        replies = [
            {
                **question, "success": True, "message": "", "answer": "there", "no_target": False,
                "objects": [thing, thing], "latency_ms": 20.0, "server_ms": 15.0, "views": 3,
                "version": 5, "metres": 2.1 if question["kind"] == "distance" else None,
            }
            | ({"after": [thing | {"center": [1.0, 0.0, 0.5]}], "possible": True}
               if question["kind"] == "layout" else {})
            for question in asked
        ]  # fmt: skip
        return replies, {"views": 3, "version": 5, "objects": [thing]}

    monkeypatch.setattr(replay_module, "ask_nodes", ask_nodes)
    monkeypatch.setattr(replay_module, "node_parameters", lambda folder: {"folder": folder.name})
    monkeypatch.setattr(replay_module, "require_ros", lambda: None)
    data = run(here, through_ros=tmp_path).json()
    late_text, edit_text = (data["answers"][k]["question"] for k in (0, 5))
    assert calls == [
        ("nodes_0", ["the chair"], 0.0),
        ("nodes_1", ["the chair"], 0.5),
        ("nodes_2", ["what colour is it"], 1.1),
        ("nodes_3", [late_text, "how far is the chair from the table", edit_text], 1.75),
    ]
    assert measures == ["surface"]
    late, far, first, _, free, edit = data["answers"]
    assert (late["iou"], late["right"]) == (1.0, True)
    assert far["error_m"] == pytest.approx(0.1)
    assert "no scene" in first["error"]
    assert (free["answer"]["text"], free["right"]) == ("there", False)
    assert edit["answer"]["after"][0]["center"] == [1.0, 0.0, 0.5]
    assert data["settings"]["node"] == {"folder": "nodes_3"}
    assert late["latency_ms"] == {"total": 20.0, "in the node": 15.0, "on the way": 5.0}


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [("b.bag", POSE_TYPE, "a bag of ROS 1"), ("b.mcap", TF_TYPE, r"poses as TF \(/pose\)")],
)
def test_what_the_nodes_cannot_take(monkeypatch, name: str, kind: str, words: str) -> None:
    class Opened:
        topics = {"/pose": (kind, 9)}  # noqa: RUF012
        is_ros1 = name.endswith(".bag")
        __enter__ = lambda self: self  # noqa: E731
        __exit__ = lambda self, *_: None  # noqa: E731

    monkeypatch.setattr(through_ros, "Bag", lambda path: Opened())
    monkeypatch.setattr(through_ros.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BagError, match=words):
        through_ros.require_playable(Path(name), Topics(pose="/pose"))


# ---- judging ---------------------------------------------------------------------------------

BOX = Box3D((1.0, 2.0, 0.5), (1.0, 1.0, 1.0))


def question(kind: str, expect: dict | None):
    entry = {"id": "q", "kind": kind, "text": "x", "expect": expect}
    return QueryFile.model_validate({"frame_id": "map", "queries": [entry]}).queries[0]


def test_boxes_are_judged_by_exact_overlap() -> None:
    truth = question("ground", {"center": [1.0, 2.0, 0.5], "size": [1.0, 1.0, 1.0]})
    assert judge(truth, Reply("", (BOX,))).iou == 1.0
    turned = judge(truth, Reply("", (Box3D(BOX.center, BOX.size, 0.785398),)))
    assert turned.iou == pytest.approx(0.7071, abs=1e-3)  # two squares at 45 degrees
    far = judge(truth, Reply("", (Box3D((9.0, 2.0, 0.5), BOX.size),)))
    assert (far.iou, far.right) == (0.0, False)
    assert judge(truth, Reply("", (BOX,), no_target=True)).iou == 0.0
    nothing = question("ground", {"no_target": True})
    assert judge(nothing, Reply("", (BOX,), no_target=True)).right
    assert not judge(nothing, Reply("", (BOX,))).right
    assert not judge(nothing, Reply("busy", success=False)).right
    assert judge(question("ground", None), Reply("", (BOX,))) is None


def test_distances_and_words_are_judged() -> None:
    metres = question("distance", {"distance": 2.0})
    assert judge(metres, Reply("", metres=1.8)).right
    assert judge(metres, Reply("", metres=1.7)).error_m == pytest.approx(-0.3)
    assert not judge(metres, Reply("no lamp", success=False)).answered
    words = question("ask", {"text": ["dark blue", "Navy"]})
    for text, right in (("It is navy.", True), ("a dark  Blue lamp", True), ("blue", False),
                        ("navyish", False)):  # fmt: skip
        assert judge(words, Reply(text)).right is right
    assert not judge(words, Reply("navy is unknown to me", success=False)).right


def test_edits_are_judged_by_what_is_told() -> None:
    here, there = ({"center": [x, 2.0, 0.5], "size": [1.0, 1.0, 1.0]} for x in (1.0, 3.0))
    moved = Box3D((3.1, 2.0, 0.5), BOX.size)
    whole = question("layout", {"before": here, "after": there})
    done = judge(whole, Reply("", (BOX,), after=(moved,)))
    assert (done.kind, done.right) == ("layout", True) and done.iou == pytest.approx(0.9 / 1.1)
    assert not judge(whole, Reply("", (BOX,), after=(BOX,))).right
    assert not judge(whole, Reply("", (moved,), after=(moved,))).right
    refused = Reply("no room", (BOX,), possible=False)
    assert not judge(whole, refused).right and judge(whole, refused).iou == 0.0
    assert judge(question("layout", {"possible": False}), refused).right
    assert not judge(question("layout", {"possible": False}), Reply("", success=False)).right
    assert judge(question("layout", {"before": here}), Reply("", (BOX,))).right  # a removal
    assert judge(question("layout", None), refused) is None


# ---- the file of questions -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("kind: distance, expect: {distance: 2.31 m}", "q1: expect.distance: '2.31 m' is not a nu"),
        ("kind: distance, expect: {distance: 231}", "231 is more than 100 m; .* not centimetres"),
        ("kind: distance, expect: {distance: 2, unit: cm}", "q1: expect.unit: unknown key"),
        ("kind: distance, expect: {distance: -1}", "q1: expect.distance: -1: .*greater than"),
        ("kind: distance, expect: {distance: .nan}", "q1: expect.distance: nan: .*finite"),
        ("kind: distance, expect: {measure: centre, distance: 1}", "expect.measure: 'centre'"),
        ("kind: ground, at: 12 s", "q1: at: '12 s' is neither seconds"),
        ("kind: ground, at: -1", "q1: at: -1 is neither seconds"),
        ("kind: ground, expects: 1", "q1: expects: unknown key"),
        ("kind: ground, expect: {center: [1, 2], size: [1, 1, 1]}", "expect.center: .*3 items"),
        ("kind: ground, expect: {center: [1, 2, 3], size: [1, 0, 1]}", r"expect.size.1: 0: "),
        ("kind: ground, expect: {center: [1, 2, 3], size: [30 cm, 1, 1]}", "'30 cm' is not a num"),
        ("kind: ground, expect: {center: [1, 2, 3]}", "needs center and size, or no_target"),
        ("kind: ground, expect: {distance: 1}", "q1: expect.distance: unknown key"),
        ("kind: find", "q1: kind must be ground, distance, ask or layout"),
        ("at: end", "q1: kind must be ground, distance, ask or layout"),
        ("kind: layout, expect: {}", "q1: expect: is empty; give some"),
        ("kind: layout, expect: {after: {center: [1, 2, 3]}}", "q1: expect.after.size: is missing"),
        (
            "kind: layout, expect: {after: {center: [1, 2 m, 3], size: [1, 1, 1]}}",
            "q1: expect.after.center.1: '2 m' is not a number; give metres",
        ),
        (
            "kind: layout, expect: {possible: false, after: {center: [1, 2, 3], size: [1, 1, 1]}}",
            "possible: false has no after",
        ),
        ("kind: ask, expect: {text: [yes]}", "q1: expect.text.0: True is not text; put it in quo"),
        ("kind: ask, expect: {text: blue}", "q1: expect.text: 'blue' is not a list"),
    ],
)
def test_wrong_keys_and_units_are_named(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "q.yaml"
    path.write_text(f'frame_id: map\nqueries:\n  - {{id: q1, text: "x", {text}}}\n')
    with pytest.raises(ConfigError, match=rf"q\.yaml: .*{words}"):
        read_queries(path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("frame_id: map\nqueries: []", "queries: .*at least 1"),
        ("queries:\n  - {id: a, kind: ground, text: x}", "frame_id: is missing"),
        ("frame_id: map\nqueries:\n  - {kind: ground, text: x}", "question 1: id: is missing"),
        ("frame_id: map\nqueries:\n  - {id: 1, kind: ground, text: x}", "1: id: 1 is not text"),
        ("frame_id: map\nqueries:\n  - {id: a, kind: ground, text: ' '}", "a: text: ' '"),
        (
            "frame_id: map\nqueries:\n" + 2 * "  - {id: a, kind: ground, text: x}\n",
            "id a is used more",
        ),
        ("frame_id: map\nqueries:\n  - where?", "question 1: 'where\\?' is not keys"),
        ("[1, 2]", r"\[1, 2\] is not keys"),
        ("", "None is not keys"),
        ("{{", "cannot be read as YAML"),
    ],
)
def test_wrong_files_are_named(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "q.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=rf"q\.yaml: .*{words}"):
        read_queries(path)
    with pytest.raises(ConfigError, match="no such file"):
        read_queries(tmp_path / "other.yaml")


def test_questions_are_asked_in_time() -> None:
    entries = [
        {"id": name, "kind": "ground", "at": at, "text": "x"}
        for name, at in (("a", "end"), ("b", 2), ("c", 0.5), ("d", 2.0), ("e", "end"))
    ]
    made = QueryFile.model_validate({"frame_id": "map", "queries": entries})
    assert [query.id for query in made.by_time()] == ["c", "b", "d", "a", "e"]


# ---- the command -----------------------------------------------------------------------------


def command(*arguments: object):
    return CliRunner().invoke(app, ["evaluate", *map(str, arguments)])


def test_the_command_prints_the_report(here: Path, tmp_path: Path) -> None:
    options = ("--queries", here / "q.yaml", "--model", here / "model", "--out", tmp_path,
               "--no-pictures")  # fmt: skip
    result = command(here / "room.mcap", *options, "--json")  # "bag" may be left out
    assert result.exit_code == 0, result.output
    data = json.loads(result.stdout)
    assert data == json.loads((tmp_path / "report.json").read_text())
    assert len(data["answers"]) == 6


@pytest.mark.parametrize("arguments", [("bag",), (), ("--no-pictures", "--queries", "nowhere")])
def test_a_bag_in_place_of_a_command(here: Path, arguments: tuple[str, ...]) -> None:
    queries = () if "--queries" in arguments else ("--queries", "nowhere")
    result = command(*arguments, here / "room.mcap", *queries)
    assert isinstance(result.exception, ConfigError), result.output
    assert "nowhere: no such file" in str(result.exception)


def test_other_words_are_still_commands(tmp_path: Path) -> None:
    wrong = command("romos")
    assert wrong.exit_code == 2
    assert "romos" in wrong.output
    gone = command(tmp_path / "gone.mcap", "--queries", "q.yaml")
    assert isinstance(gone.exception, (BagError, ConfigError))
    for arguments in (("--help",), ("rooms", "--help"), ("bag", "--help")):
        assert command(*arguments).exit_code == 0
