"""The benchmarks of public files on the command line: from files in their layouts to scores."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from helpers.dataset_files import scannet_folder, situated
from helpers.small_model import small_model
from spatial3d_ros.__main__ import app
from spatial3d_ros.bags.bag import bag_topics
from spatial3d_ros.errors import ConfigError, NotAvailableError
from spatial3d_ros.model.checkpoint import save_model
from spatial3d_ros.research.datasets.boxes_only import read_box_rooms

CHAIR, DARK, TABLE = [0, 0, 0.5, 1, 1, 1], [3, 0, 0.5, 1, 1, 1], [0, 4, 0.5, 2, 1, 1]


def write(path: Path, data: object, lines: bool = False) -> Path:
    path.write_text("\n".join(map(json.dumps, data)) if lines else json.dumps(data))
    return path


@pytest.fixture
def rooms(tmp_path: Path) -> Path:
    """A scene with two chairs and a table."""
    objects = [
        {"id": k, "label": label, "center": box[:3], "size": box[3:]}
        for k, (label, box) in enumerate((("chair", CHAIR), ("chair", DARK), ("table", TABLE)))
    ]
    return write(tmp_path / "rooms.jsonl", [{"scene_id": "s", "objects": objects}], lines=True)


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("weights")
    model, prompt = small_model(tasks=("ground", "distance", "ask", "caption"))
    save_model(folder, model, prompt.tokenizer, torch.float32)
    return str(folder)


def invoke(*arguments: object):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def evaluate(*arguments: object) -> dict:
    result = invoke("evaluate", *arguments, "--json")
    assert result.exit_code == 0, (result.output, result.exception)
    return json.loads(result.stdout)


def described(ann: int, ids: list[int], kind: str, scene: str = "s") -> dict:
    return {"scene_id": scene, "object_ids": ids, "object_name": "chair", "ann_id": ann,
            "description": "the chairs", "eval_type": kind}  # fmt: skip


def test_multi3drefer(tmp_path: Path, rooms: Path, weights: str) -> None:
    entries = [
        described(0, [0, 1], "mt"), described(1, [0], "st_w_d"), described(2, [], "zt_w_d"),
        described(3, [7], "st_wo_d"), described(4, [], "zt_wo_d", scene="elsewhere"),
    ]  # fmt: skip
    asked = ("multi3drefer", "--objects", rooms,
             "--descriptions", write(tmp_path / "m.json", entries))  # fmt: skip
    given = [
        {"id": "s/0-1/0", "boxes": [CHAIR, [9, 9, 9, 1, 1, 1]]},  # one of two: F1 0.5
        {"id": "s/0/1", "boxes": [CHAIR]},
        {"id": "s/0/99", "boxes": []},
    ]
    answers = write(tmp_path / "a.jsonl", given, lines=True)
    data = evaluate(*asked, "--answers", answers)
    assert data["samples"]["evaluated"] == 3
    assert data["samples"]["absent"] == {
        "count": 2, "what": {"s: object 7": 1, "elsewhere": 1},
    }  # fmt: skip
    assert data["samples"]["unanswered"] == 1  # the third, where no box is right
    assert data["samples"]["of_no_question"] == {"count": 1, "what": ["s/0/99"]}
    assert data["scores"]["overall"]["f1@0.5"] == pytest.approx((0.5 + 1 + 1) / 3)
    assert data["scores"]["mt"] == {"n": 1, "f1@0.25": 0.5, "f1@0.5": 0.5}
    table = invoke("evaluate", *asked, "--answers", answers).stdout
    words = " ".join(table.split())
    assert "about absent scenes or objects: 2 (s: object 7, elsewhere)" in words
    assert "answers to no question: 1 (s/0/99)" in words
    network = evaluate(*asked, "--model", weights)
    assert network["samples"]["evaluated"] == 3
    assert 0 <= network["scores"]["overall"]["f1@0.25"] <= 1
    assert evaluate(*asked, "--model", weights) == network


def test_scanqa(tmp_path: Path, rooms: Path, weights: str) -> None:
    questions = [
        {"scene_id": scene, "question_id": f"val-{k}", "question": "what colour is the chair",
         "answers": answers}
        for k, (scene, answers) in enumerate((("s", ["brown", "dark brown"]), ("s", ["two"]),
                                              ("t", ["red"]), ("s", [])))
    ]  # fmt: skip
    asked = ("scanqa", "--questions", write(tmp_path / "q.json", questions))
    answers_given = [{"id": "val-0", "text": "Brown."}, {"id": "val-1", "text": "2"}]
    answers = write(tmp_path / "a.jsonl", answers_given, lines=True)
    data = evaluate(*asked, "--answers", answers)
    assert data["scores"]["overall"]["em"] == pytest.approx(2 / 3)  # the third has no answer
    assert data["samples"]["unanswered"] == 1
    assert data["samples"]["without_known_answers"] == 1
    raw = evaluate(*asked, "--answers", answers, "--norm", "raw")
    assert raw["scores"]["overall"]["em"] == 0  # "Brown" is not "brown", "2" is not "two"
    network = evaluate(*asked, "--objects", rooms, "--model", weights)
    assert network["samples"]["absent"] == {"count": 1, "what": {"t": 1}}
    assert network["scores"]["overall"]["n"] == 2
    for wrong, words in (
        ((), "give --answers, or --scans or --objects"),
        (("--answers", answers, "--norm", "mine"), "use leo or raw"),
    ):
        with pytest.raises(ConfigError, match=words):
            raise invoke("evaluate", *asked, *wrong).exception


def test_sqa3d(tmp_path: Path, rooms: Path, weights: str) -> None:
    questions, annotations = situated(tmp_path)
    asked = ("sqa3d", "--questions", questions, "--annotations", annotations)
    answers = write(tmp_path / "answers.jsonl", [{"id": "7", "text": "Yes!"}], lines=True)
    data = evaluate(*asked, "--answers", answers)
    assert data["scores"]["is"] == {"n": 1, "em": 1.0, "em_refined": 1.0}
    assert evaluate(*asked, "--objects", rooms, "--model", weights)["scores"]["overall"]["n"] == 1


def test_scan2cap(tmp_path: Path, rooms: Path, weights: str) -> None:
    texts = {0: "a light chair beside the table", 1: "the dark chair", 2: "a long wooden table"}
    entries = [
        {"scene_id": "s", "object_id": str(k), "object_name": "chair", "ann_id": "0",
         "description": text, "token": text.split()}
        for k, text in texts.items()
    ]  # fmt: skip
    asked = ("scan2cap", "--objects", rooms,
             "--descriptions", write(tmp_path / "d.json", entries))  # fmt: skip
    moved = [0.45, *DARK[1:]]  # no overlap with the true box
    answers_given = [
        {"id": f"s/{k}", "text": texts[k], "boxes": [box]}
        for k, box in ((0, CHAIR), (1, moved), (2, TABLE))
    ]
    perfect = [one | {"boxes": [DARK]} if one["id"] == "s/1" else one for one in answers_given]
    scores = [
        evaluate(*asked, "--answers", write(tmp_path / "c.jsonl", some, lines=True))["scores"]
        for some in (perfect, answers_given)
    ]
    best, less = (one["overall"] for one in scores)
    assert best["bleu1@0.5"] == pytest.approx(100)
    assert less["rouge_l@0.5"] < best["rouge_l@0.5"]
    assert evaluate(*asked, "--model", weights)["scores"]["overall"]["n"] == 3


def test_distances(tmp_path: Path) -> None:
    answers_given = [
        {"id": "a", "text": "about 2.05 m", "truth": 2},
        {"id": "b", "text": "I cannot tell", "truth": 1.5},
        {"id": "c", "text": "80 cm", "truth": 0.5},
    ]
    data = evaluate("distance", "--answers", write(tmp_path / "d.jsonl", answers_given, lines=True))
    overall = data["scores"]["overall"]
    assert overall["parse_rate"] == pytest.approx(2 / 3)
    assert overall["mae"] == pytest.approx((0.05 + 0.3) / 2)
    assert data["scores"]["under 1 m"]["acc@0.25m"] == 0


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([{"id": "a", "text": "1 m"}], r"a\.jsonl: a: truth is missing"),
        ([{"id": "a", "text": "1 m", "truth": -1}], r"line 1: truth: .*greater"),
        ([{"id": "a", "text": "1 m", "truth": float("nan")}], r"line 1: truth: .*finite"),
        ([{"text": "1 m"}], r"line 1: id: .*nothing"),
        (2 * [{"id": "a", "truth": 1}], "duplicate id a"),
        ([], "the file has no answers"),
        ([{"id": "a", "truth": 1, "boxes": [[0, 0, 0, 1, 1]]}], r"line 1: boxes\.0"),
        ([{"id": "a", "truth": 1, "boxes": [[0, 0, float("inf"), 1, 1, 1]]}], r"boxes\.0\.2"),
    ],
)
def test_wrong_answers_are_named(tmp_path: Path, lines: list, words: str) -> None:
    answers = write(tmp_path / "a.jsonl", lines, lines=True)
    with pytest.raises(ConfigError, match=words):
        raise invoke("evaluate", "distance", "--answers", answers).exception


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("field", ["center", "size", "front_point"])
def test_boxes_that_are_not_finite(tmp_path: Path, value: float, field: str) -> None:
    record = {"id": 0, "label": "chair", "center": [0, 0, 0], "size": [1, 1, 1]}
    room = {"scene_id": "s", "objects": [record | {field: [0, value, 1]}]}
    objects = write(tmp_path / "rooms.jsonl", [room], lines=True)
    asked = write(tmp_path / "m.json", [described(0, [0], "st_wo_d")])
    with pytest.raises(
        ConfigError, match=rf"rooms\.jsonl: line 1: objects\.0\.{field}\.1: .*finite"
    ):
        raise invoke(
            "evaluate", "multi3drefer", "--objects", objects, "--descriptions", asked
        ).exception


def test_files_that_do_not_belong_together(tmp_path: Path, rooms: Path) -> None:
    questions = [{"scene_id": "s", "question_id": "q", "question": "what", "answers": ["a"]}]
    asked = ("evaluate", "scanqa", "--questions", write(tmp_path / "q.json", questions))
    answers = write(tmp_path / "a.jsonl", [{"id": "other", "text": "a"}], lines=True)
    with pytest.raises(ConfigError, match="no answer has the id of a question, such as q"):
        raise invoke(*asked, "--answers", answers).exception
    elsewhere = write(tmp_path / "m.json", [described(0, [], "zt_w_d", scene="t")])
    with pytest.raises(ConfigError, match="no entry is about the 1 scenes"):
        raise invoke(
            "evaluate", "multi3drefer", "--objects", rooms, "--descriptions", elsewhere
        ).exception


def test_weights_that_do_not_answer(tmp_path: Path, rooms: Path) -> None:
    model, prompt = small_model()
    save_model(tmp_path / "mute", model, prompt.tokenizer, torch.float32)
    questions = [{"scene_id": "s", "question_id": "q", "question": "what", "answers": ["a"]}]
    asked = ("evaluate", "scanqa", "--questions", write(tmp_path / "q.json", questions))
    with pytest.raises(NotAvailableError, match="were not trained for 'ask'"):
        raise invoke(*asked, "--objects", rooms, "--model", tmp_path / "mute").exception


def test_a_scannet_scene_becomes_a_bag_and_a_file_of_boxes(tmp_path: Path) -> None:
    scene = scannet_folder(tmp_path / "scene0000_00")
    assert invoke("convert", scene, tmp_path / "scene.mcap").exit_code == 0
    assert any(n == 1 for _, n in bag_topics(tmp_path / "scene.mcap").values())
    assert invoke("scannet-boxes", scene, "--out", tmp_path / "rooms.jsonl").exit_code == 0
    room = read_box_rooms(tmp_path / "rooms.jsonl")["scene0000_00"]
    assert room.labels == ("sofa", "floor lamp")
    assert np.isfinite(room.boxes).all()
