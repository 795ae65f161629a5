"""The same tasks in other words."""

import contextlib
import random

import numpy as np
import pytest

from spatial3d_ros.errors import ConfigError, QueryError
from spatial3d_ros.research.evaluation.prompt_styles import (
    WORDINGS,
    hurried,
    split_of,
    worded,
    wordings_table,
)
from spatial3d_ros.research.language.layout_instructions import LAYOUT_FRAMES, make_layout_questions
from spatial3d_ros.research.language.qa_generator import make_open_questions
from spatial3d_ros.research.language.questions import make_questions
from spatial3d_ros.research.language.templates import TEMPLATE, of_split
from spatial3d_ros.research.rooms.generator import generate_room
from spatial3d_ros.tasks.distance_parser import parse_distance
from spatial3d_ros.tasks.layout_parser import parse_layout


def test_a_template_is_one_sentence_for_each_family():
    frames = of_split(LAYOUT_FRAMES, TEMPLATE)
    assert frames.keys() == LAYOUT_FRAMES["train"].keys()
    assert all(said == LAYOUT_FRAMES["train"][family][:1] for family, said in frames.items())
    objects = generate_room(3).objects
    rng = np.random.default_rng(0)
    for question in make_questions(objects, rng, 12, split=TEMPLATE, kinds=["distance"]):
        assert question.text.lower().startswith("how far is the ")
    for question in make_open_questions(objects, rng, 6, split=TEMPLATE, kinds=["color"]):
        assert question.text.lower().startswith("what colour is the ")
    for question in make_layout_questions(objects, rng, 8, split=TEMPLATE):
        assert question.text.lower().startswith(("move the ", "put ", "swap the ", "remove the ",
                                                 "turn the "))  # fmt: skip


def read(parse, texts):
    """The share that is understood; what slips make of the rest is refused by name."""
    understood = 0
    for text in texts:
        with contextlib.suppress(QueryError):
            understood += parse(text) is not None
    return understood / len(texts)


def test_in_a_hurry_the_task_is_still_told():
    objects, rng = generate_room(4).objects, np.random.default_rng(0)
    edits = [q.text for q in make_layout_questions(objects, rng, 40, split="test")]
    assert read(parse_layout, [hurried(t, random.Random(k)) for k, t in enumerate(edits)]) > 0.4
    far = make_questions(objects, rng, 20, split="test", kinds=["distance"])
    assert read(parse_distance, [worded(q.text, "hurried", k) for k, q in enumerate(far)]) > 0.7


def test_slips_are_drawn_from_the_seed_and_other_wordings_are_left_alone():
    text = "Where is the red chair next to the table?"
    assert worded(text, "hurried", 3) == worded(text, "hurried", 3) != text
    assert len({worded(text, "hurried", seed) for seed in range(20)}) > 5
    assert all(worded(text, wording, 3) == text for wording in ("train", "test", TEMPLATE))
    assert {split_of(wording) for wording in WORDINGS} == {"train", "test", TEMPLATE}
    with pytest.raises(ConfigError, match="wording: 'sung' is unknown; use template, train"):
        split_of("sung")


def test_the_table_shows_only_what_was_asked():
    told = {"scores": {"layout": {"right": 0.5}}}
    words = {"scores": {"layout": {"right": 0.25}}, "ask": {"overall": {"exact_match": 1.0}}}
    table = wordings_table({"template": told, "hurried": words})
    assert [column.header for column in table.columns] == ["wording", "layout", "ask"]
    assert [list(column.cells) for column in table.columns] == [
        ["template", "hurried"], ["50.0%", "25.0%"], ["", "100.0%"],
    ]  # fmt: skip
