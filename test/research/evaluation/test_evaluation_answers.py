"""How answers in words are judged: exact match, captions, the network's own metres."""

from types import SimpleNamespace

import pytest
import torch

from helpers.small_model import small_model
from spatial3d_ros.errors import ConfigError, UnreadableError
from spatial3d_ros.geometry.camera import Camera
from spatial3d_ros.model.checkpoint import save_model
from spatial3d_ros.research.evaluation import answers as judged
from spatial3d_ros.research.evaluation import rooms
from spatial3d_ros.research.evaluation.answers import (
    AnswersReport,
    ask_room,
    judge_caption,
    matches,
)
from spatial3d_ros.research.language.qa_templates import caption
from spatial3d_ros.research.rooms.generator import generate_room
from spatial3d_ros.research.rooms.recorded_rooms import record_room

ROOM = generate_room(900_001).objects


class Oracle:
    """Answers as it is told, about a map that holds every object."""

    tasks = ("ground", "ask", "distance", "caption")

    def __init__(self, monkeypatch, wrong=()):
        self.right, self.wrong = {}, wrong
        made = judged.make_open_questions

        def remembered(*args, **options):
            questions = made(*args, **options)
            self.right.update({q.text: q.answers[-1] for q in questions})
            return questions

        monkeypatch.setattr(judged, "make_open_questions", remembered)

    def ask(self, text):
        if self.wrong == "unreadable":
            raise UnreadableError("the network wrote '#'")
        value = self.right[text] if not self.wrong else "9.99 m"
        return SimpleNamespace(text=f"{value}, I say", value=value)

    def measure_distance(self, text):
        if self.wrong == "unreadable":
            raise UnreadableError("the network wrote '#'")
        metres = 99.9 if self.wrong else float(self.right[text].removesuffix(" m"))
        return SimpleNamespace(network_m=metres)

    def caption(self, number):
        held_object = next(o for o in ROOM if o.id == number)
        color = "pink" if self.wrong else held_object.color
        return SimpleNamespace(text=caption(color, held_object.category))

    def scene(self):
        return SimpleNamespace(objects=[SimpleNamespace(id=o.id, box=o.box) for o in ROOM])


def asked(monkeypatch, wrong=(), tasks=("ask", "number", "caption")):
    report = AnswersReport()
    ask_room(Oracle(monkeypatch, wrong), ROOM, 1, tasks, report)
    return report.json()


def test_right_answers_score_one(monkeypatch):
    scores = asked(monkeypatch)
    assert scores["ask"]["overall"]["exact_match"] == 1 and scores["ask"]["overall"]["n"] == 16
    assert scores["caption"]["class_and_color"] == 1 and scores["caption"]["relation"] is None
    for kind in scores["number"].values():
        assert kind["overall"]["mae"] < 0.006 and kind["overall"]["parse_rate"] == 1
    assert scores["unanswered"] == 0


def test_wrong_answers_score_nothing_and_unread_ones_are_counted(monkeypatch):
    scores = asked(monkeypatch, "wrong")
    assert scores["ask"]["overall"]["exact_match"] == 0
    assert scores["caption"]["class"] == 1 and scores["caption"]["color"] == 0
    assert all(kind["overall"]["mae"] > 1 for kind in scores["number"].values())
    scores = asked(monkeypatch, "unreadable", ("ask", "number"))
    assert scores["unanswered"] == 22 and scores["ask"]["overall"]["exact_match"] == 0
    assert all(kind["overall"]["parse_rate"] == 0 for kind in scores["number"].values())


def test_what_was_not_trained_is_not_asked(monkeypatch):
    engine = Oracle(monkeypatch)
    engine.tasks = ("ground",)
    report = AnswersReport()
    ask_room(engine, ROOM, 1, ("number", "caption"), report)
    assert report.json() == {"not_trained": ["number", "caption"]}
    assert AnswersReport().json() == {}


@pytest.mark.parametrize(
    ("text", "right"),
    [("2", True), ("two", True), ("3", False), ("", False), ("2 chairs", False)],
)
def test_number_words_and_articles_do_not_count_and_nothing_else_is_forgiven(text, right):
    assert matches(text, ("2",)) == right
    assert matches("the red chair", ("a red chair",))


def test_a_relation_of_a_caption_has_to_hold():
    held = [o for o in ROOM if any(o.support == other.id for other in ROOM)]
    held_object = held[0]
    below = next(o for o in ROOM if o.id == held_object.support)
    alike = {(x.color, x.category) for x in (held_object, below)}
    away = next(
        o
        for o in ROOM
        if (o.color, o.category) not in alike
        and abs(o.box.center[0] - held_object.box.center[0]) > 1.5
    )
    for anchor, holds in ((below, True), (away, False)):
        text = caption(
            held_object.color, held_object.category, f"on {caption(anchor.color, anchor.category)}"
        )
        verdict = judge_caption(text, held_object, ROOM)
        assert verdict.named and verdict.color and verdict.relation == holds
    assert judge_caption("a pink elephant on a moon", held_object, ROOM).relation is False
    assert not judge_caption("", held_object, ROOM).named


def test_questions_are_those_kept_for_tests(monkeypatch):
    splits = []
    monkeypatch.setattr(
        judged, "make_open_questions", lambda *a, split, **_: splits.append(split) or []
    )
    ask_room(Oracle(monkeypatch), ROOM, 1, ("ask",), AnswersReport())
    assert set(splits) == {"test"}


def test_a_room_is_asked_for_words_besides(tmp_path, monkeypatch):
    """The whole way, with an untrained network: every question is asked and judged."""
    camera = Camera(96, 72, 80.0, 80.0, 47.5, 35.5)
    bag = tmp_path / "room_900003.mcap"
    made = record_room(bag, 900_003, seconds=2, rate_hz=4, camera=camera, processes=1)
    made.pixels[made.pixels > 4] = 500  # well in sight, small as the pictures are
    monkeypatch.setattr(rooms, "load_or_record", lambda folder, seed, *_: made)
    model, prompt = small_model(tasks=("ground", "distance", "ask", "caption"))
    save_model(tmp_path / "model", model, prompt.tokenizer, torch.float32)
    options = {"rooms": 1, "seed": 900_003, "true_boxes": True, "model": str(tmp_path / "model")}
    scores = rooms.evaluate_rooms(**options, tasks="grounding,ask,number,caption").json()
    assert scores["ask"]["overall"]["n"] > 5 and scores["caption"]["n"] > 3
    assert scores["number"] and scores["scores"]["grounding"]["n"]
    assert "ask" not in rooms.evaluate_rooms(**options).json()
    with pytest.raises(ConfigError, match="through-ros"):
        rooms.evaluate_rooms(**options | {"through_ros": True}, tasks="ask")
