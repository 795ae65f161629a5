"""Typed queries about time and regions reach the memory, with the words of the reader."""

from __future__ import annotations

import pytest

from helpers.box_world import SECOND, THINGS, Robot
from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.memory.regions import Region
from spatial3d_ros.tasks.memory_answers import (
    answer_from_memory,
    is_for_memory,
    printed_points,
    scored,
)
from spatial3d_ros.tasks.query import Description, ParsedQuery, RelationPhrase
from spatial3d_ros.tasks.query_network import load_reader
from spatial3d_ros.tasks.query_reader import parse_query


@pytest.fixture(scope="module")
def memory(tmp_path_factory):
    folder = tmp_path_factory.mktemp("home")
    robot = Robot(folder, THINGS)
    robot.memory.set_regions([Region.from_box("kitchen", (-4, -4, 0), (0, 4, 2.5))])
    robot.tour(3)
    robot.stop()
    things = THINGS | {"sofa": ("sofa", Box3D((2.6, 0.5, 0.4), (0.9, 1.8, 0.8)))}
    del things["mug"]
    robot = Robot(folder, things, start_s=20_000)
    robot.tour(1)
    for step in range(3):
        robot.look((-0.5, 0.1 * step, 1.4), (-2.5, 0.3, 0.7))
    yield robot.memory
    robot.stop()


def ask(memory, intent, noun="", **fields):
    targets = (Description(noun, noun, **fields.pop("target", {})),) if noun or fields else ()
    query = ParsedQuery(f"{intent} {noun}", intent, targets, **fields)
    assert is_for_memory(query)
    return answer_from_memory(query, memory)


def test_each_intent_has_its_answer(memory):
    answer = ask(memory, "last_seen", "mug")
    assert "5 hours ago" in answer.text and "on the table" in answer.text
    assert len(printed_points(answer)) == 1
    (item,) = scored(answer, memory.newest_ns)
    assert item.object.label == "mug" and item.object.stamp_ns < 2000 * SECOND
    assert "first" in ask(memory, "when_seen", "table").text
    since = ask(memory, "changed", time="since i left")
    assert sorted(e.label for e in since.events) == ["mug", "sofa"]
    assert len(ask(memory, "changed", time="in the last second").events) == 1  # just missed
    anchor = RelationPhrase("in", (Description("table", "table"),))
    assert "mug" in ask(memory, "missing", target={"relations": (anchor,)}, region="").text
    assert ask(memory, "moved", "sofa").text.startswith("Yes")
    assert ask(memory, "region_of", "table").text == "The table is in the kitchen."
    assert len(ask(memory, "count", "table", region="kitchen").objects) == 1


def test_other_queries_are_not_for_the_memory():
    for intent in ("count", "locate", "distance", "edit.move"):
        assert not is_for_memory(ParsedQuery("", intent))


def test_the_shipped_reader_understands_these_sentences(memory):
    reader = load_reader()
    query = parse_query("Where did you last see the mug?", reader)
    assert query.intent == "last_seen" and query.targets[0].head == "mug"
    assert "on the table" in answer_from_memory(query, memory).text
