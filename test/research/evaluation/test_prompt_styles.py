"""Prompt styles: templates, splits of sentences, noisy typing."""

import random

import numpy as np
import pytest

from spatial3d_ros.errors import ConfigError
from spatial3d_ros.research.evaluation.prompt_styles import (
    PROMPT_STYLES,
    apply_style,
    noisy,
    split_of_style,
)
from spatial3d_ros.research.evaluation.style_comparison import styles_table
from spatial3d_ros.research.language.layout_instructions import (
    LAYOUT_TEMPLATES,
    make_layout_questions,
)
from spatial3d_ros.research.language.qa_generator import make_open_questions
from spatial3d_ros.research.language.questions import make_questions
from spatial3d_ros.research.language.templates import TEMPLATE_SPLIT, templates_of_split
from spatial3d_ros.research.rooms.generator import generate_room
from spatial3d_ros.resources import resource_path
from spatial3d_ros.tasks.query_network import load_reader
from spatial3d_ros.tasks.query_reader import parse_query


def test_a_template_is_one_sentence_for_each_family():
    frames = templates_of_split(LAYOUT_TEMPLATES, TEMPLATE_SPLIT)
    assert frames.keys() == LAYOUT_TEMPLATES["train"].keys()
    assert all(one == LAYOUT_TEMPLATES["train"][family][:1] for family, one in frames.items())
    objects = generate_room(3).objects
    rng = np.random.default_rng(0)
    for question in make_questions(objects, rng, 12, split=TEMPLATE_SPLIT, kinds=["distance"]):
        assert question.text.lower().startswith("how far is the ")
    for question in make_open_questions(objects, rng, 6, split=TEMPLATE_SPLIT, kinds=["color"]):
        assert question.text.lower().startswith("what colour is the ")
    for question in make_layout_questions(objects, rng, 8, split=TEMPLATE_SPLIT):
        assert question.text.lower().startswith(("move the ", "put ", "swap the ", "remove the ",
                                                 "turn the "))  # fmt: skip


def test_noisy_questions_are_still_read():
    reader = load_reader(resource_path("weights/reader.safetensors"))
    objects, rng = generate_room(4).objects, np.random.default_rng(0)
    edits = [q.text for q in make_layout_questions(objects, rng, 40, split="test")]
    far = [q.text for q in make_questions(objects, rng, 20, split="test", kinds=["distance"])]
    for texts, kind in ((edits, "edit"), (far, "distance")):
        read = [parse_query(noisy(t, random.Random(k)), reader) for k, t in enumerate(texts)]
        assert np.mean([query.intent.startswith(kind) for query in read]) > 0.7


def test_noise_depends_on_the_seed_and_other_styles_are_unchanged():
    text = "Where is the red chair next to the table?"
    assert apply_style(text, "hurried", 3) == apply_style(text, "hurried", 3) != text
    assert len({apply_style(text, "hurried", seed) for seed in range(20)}) > 5
    assert all(apply_style(text, style, 3) == text for style in ("train", "test", TEMPLATE_SPLIT))
    assert {split_of_style(style) for style in PROMPT_STYLES} == {"train", "test", TEMPLATE_SPLIT}
    with pytest.raises(ConfigError, match="prompt style 'sung' is unknown; use template, train"):
        split_of_style("sung")


def test_the_table_has_only_the_evaluated_tasks():
    one = {"scores": {"layout": {"right": 0.5}}}
    other = {"scores": {"layout": {"right": 0.25}}, "ask": {"overall": {"exact_match": 1.0}}}
    table = styles_table({"template": one, "hurried": other})
    assert [column.header for column in table.columns] == ["prompt style", "layout", "ask"]
    assert [list(column.cells) for column in table.columns] == [
        ["template", "hurried"], ["50.0%", "25.0%"], ["", "100.0%"],
    ]  # fmt: skip
