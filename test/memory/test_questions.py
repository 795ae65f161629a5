"""Questions about time and regions: stamps, ages, places, and what is not known."""

from __future__ import annotations

from datetime import datetime

import pytest

from helpers.box_world import SECOND, THINGS, Robot
from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.memory.questions import MemoryQuestions
from spatial3d_ros.memory.regions import Region
from spatial3d_ros.memory.time_words import age, clock, time_range

KITCHEN = Region.from_box("kitchen", (-4, -4, 0), (0, 4, 2.5))
LOUNGE = Region.from_box("lounge", (0, -4, 0), (4, 4, 2.5))


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """Two days: the mug is taken from the table, the sofa moved, a box brought."""
    folder = tmp_path_factory.mktemp("home")
    robot = Robot(folder, THINGS)
    robot.memory.set_regions([KITCHEN, LOUNGE])
    robot.tour(3)
    robot.stop()
    things = {name: thing for name, thing in THINGS.items() if name != "mug"}
    things["sofa"] = ("sofa", Box3D((2.6, 0.5, 0.4), (0.9, 1.8, 0.8)))
    things["box"] = ("cardboard box", Box3D((0.6, 1.2, 0.2), (0.4, 0.4, 0.4)))
    robot = Robot(folder, things, start_s=90_000)
    robot.tour(3)
    for step in range(3):
        robot.look((-0.5, 0.1 * step, 1.4), (-2.5, 0.3, 0.7))
    yield MemoryQuestions(robot.memory)
    robot.stop()


def test_where_and_when_was_it_last_seen(asked):
    answer = asked.last_seen("mug")
    assert "25 hours ago" in answer.text and "It is missing" in answer.text
    assert "on the table in the kitchen at (-2.30" in answer.text
    assert answer.objects[0].label == "mug"
    assert "now" in asked.last_seen("table").text
    assert "and first 25 hours ago" in asked.when_seen("tables").text
    unknown = asked.last_seen("unicorn")
    assert not unknown.known and "never seen" in unknown.text


def test_what_has_changed(asked):
    answer = asked.changed(1500 * SECOND, 2**62)
    assert sorted((e.kind, e.label) for e in answer.events) == [
        ("missing", "mug"), ("moved", "sofa"), ("new", "cardboard box"),
    ]  # fmt: skip
    assert "3 changes" in answer.text and "moved by 0.5" in answer.text
    assert [e.label for e in asked.changed(1500 * SECOND, 2**62, "Kitchen").events] == ["mug"]
    assert "Nothing has changed" in asked.changed(200_000 * SECOND, 2**62).text
    assert not asked.changed(0, 1, "attic").known


def test_what_is_missing(asked):
    assert [o.label for o in asked.missing("table").objects] == ["mug"]
    assert [o.label for o in asked.missing(region="kitchen").objects] == ["mug"]
    assert [o.label for o in asked.missing("kitchen").objects] == ["mug"]
    assert "Nothing is missing from the sofa" in asked.missing("sofa").text
    assert not asked.missing("unicorn").known


def test_has_it_been_moved(asked):
    assert asked.moved("sofa").text.startswith("Yes: the sofa")
    assert asked.moved("chair").text.startswith("No, the chair is where it was")
    assert asked.moved("mug").text.startswith("I do not see it")
    assert asked.moved("chair", 200_000 * SECOND).text.startswith("I do not know")


def test_which_room_and_how_many_in_a_room(asked):
    assert asked.region_of("sofa").text == "The sofa is in the lounge."
    found = asked.objects_in_region("the lounge", "chairs")
    assert len(found.objects) == 1 and found.text == "There is 1 chair in the lounge."
    assert len(asked.objects_in_region("the lounge", "cardboard boxes").objects) == 1
    assert "4 objects in the lounge" in asked.objects_in_region("lounge").text
    assert not asked.objects_in_region("attic").known


def test_times_in_words():
    now = round(datetime(2026, 5, 20, 15, 30).astimezone().timestamp()) * SECOND
    hour = 3600 * SECOND

    def since(words):
        begin, end = time_range(words, now, left_ns=now - 7 * hour)
        assert end <= now
        return round((now - begin) / hour, 2)

    assert since("since this morning") == 10.5
    assert since("since i left") == 7
    assert since("in the last two hours") == 2 and since("within 90 minutes") == 1.5
    assert since("since yesterday") == 39.5 and since("today") == 15.5
    assert time_range("yesterday", now)[1] == now - round(15.5 * hour)
    assert since("last night") == 17.5
    assert time_range("", now) == (0, now)
    assert clock(now) == "2026-05-20 15:30" and clock(5 * SECOND) == ""
    ages = [age(s) for s in (1, 40, 100, 4000, 7200, 200_000)]
    assert ages == [
        "now",
        "40 s ago",
        "2 minutes ago",
        "67 minutes ago",
        "2 hours ago",
        "2 days ago",
    ]
