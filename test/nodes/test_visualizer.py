"""The visualiser: what a viewer gets for objects, an answer, and a distance."""

from __future__ import annotations

import pytest
from rclpy.qos import DurabilityPolicy, QoSProfile
from visualization_msgs.msg import Marker, MarkerArray

from helpers import ros_bench as bench
from spatial3d_ros.msg import DistanceAnswer, GroundedObject, Grounding, LayoutEdit, SceneObjects
from spatial3d_ros.nodes.visualizer_node import VisualizerNode

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


def thing(number, x, label="", color=""):
    made = GroundedObject(id=number, label=label, color=color, score=0.5)
    made.header.frame_id = "map"
    made.pose.position.x, made.pose.orientation.w = x, 1.0
    made.size.x, made.size.y, made.size.z = 0.4, 0.4, 0.8
    return made


@pytest.fixture
def show():
    world = bench.Bench("-p", "source:=robot/grounder")
    world.add(VisualizerNode(context=world.context))
    person = bench.LoadClient(world.context)
    heard = []
    person.create_subscription(MarkerArray, "visualizer_node/markers", heard.append, LATCHED)
    senders = {
        SceneObjects: person.create_publisher(SceneObjects, "robot/grounder/objects", LATCHED),
        Grounding: person.create_publisher(Grounding, "robot/grounder/groundings", 10),
        DistanceAnswer: person.create_publisher(DistanceAnswer, "robot/grounder/distances", 10),
        LayoutEdit: person.create_publisher(LayoutEdit, "robot/grounder/layout_edits", 10),
    }
    world.add(person)

    def send(message):
        sender = senders[type(message)]
        assert bench.eventually(sender.get_subscription_count)
        count = len(heard)
        sender.publish(message)
        assert bench.eventually(lambda: len(heard) > count)
        first, *markers = heard[-1].markers
        assert first.action == Marker.DELETEALL
        return markers

    yield send
    assert world.spinning
    world.close()


def test_the_picture_is_whole_after_every_message(show):
    markers = show(SceneObjects(objects=[thing(7, 1.0, "chair", "red"), thing(9, 2.0)]))
    boxes = [marker for marker in markers if marker.type == Marker.CUBE]
    texts = [marker for marker in markers if marker.type == Marker.TEXT_VIEW_FACING]
    assert [(box.ns, box.id, box.pose.position.x) for box in boxes] == [
        ("objects", 7, 1.0),
        ("objects", 9, 2.0),
    ]
    assert [text.text for text in texts] == ["red chair", "#9"]
    assert texts[0].pose.position.z > 0.4
    assert {marker.header.frame_id for marker in markers} == {"map"}

    markers = show(Grounding(objects=[thing(7, 1.0, "chair"), thing(9, 2.0)], num_targets=1))
    answers = [marker for marker in markers if marker.ns == "answer"]
    assert len(markers) == 8
    assert [box.pose.position.x for box in answers] == [1.0, 2.0]
    assert answers[0].color != answers[1].color

    message = DistanceAnswer(object_a=thing(7, 1.0), object_b=thing(9, 2.0), distance=1.5)
    message.header.frame_id = "map"
    message.point_a.x, message.point_b.x = 1.0, 2.5
    markers = show(message)
    (line,) = [marker for marker in markers if marker.type == Marker.LINE_STRIP]
    assert [end.x for end in line.points] == [1.0, 2.5]
    (text,) = [marker for marker in markers if marker.ns == "distance text"]
    assert (text.text, text.pose.position.x) == ("1.50 m", 1.75)


def test_an_answer_without_target_takes_the_old_one_away(show):
    show(Grounding(objects=[thing(7, 1.0)]))
    assert show(Grounding(no_target=True)) == []


def test_flat_boxes_get_a_thickness(show):
    flat = thing(1, 0.0)
    flat.size.z = 0.0
    assert show(SceneObjects(objects=[flat]))[0].scale.z > 0


def test_an_edit_is_a_ghost_with_an_arrow_until_the_next_answer(show):
    show(SceneObjects(objects=[thing(7, 1.0, "chair")]))
    edit = LayoutEdit(
        possible=True, before=[thing(7, 1.0, "chair")], after=[thing(7, 2.5, "chair")]
    )
    edit.header.frame_id = "map"
    markers = show(edit)
    (ghost,) = [marker for marker in markers if marker.ns == "ghost"]
    (arrow,) = [marker for marker in markers if marker.type == Marker.ARROW]
    assert ghost.pose.position.x == 2.5 and 0 < ghost.color.a < 0.5
    assert [end.x for end in arrow.points] == [1.0, 2.5]
    assert [m.pose.position.x for m in markers if m.ns == "objects"] == [1.0]
    for after in (
        Grounding(no_target=True),
        LayoutEdit(possible=False, before=edit.before),
        LayoutEdit(possible=True, applied=True, before=edit.before, after=edit.after),
    ):
        assert any(marker.ns == "ghost" for marker in show(edit))
        assert {marker.ns for marker in show(after)} == {"objects", "names"}


def test_what_would_go_is_marked_where_it_stands(show):
    (box, _) = show(LayoutEdit(possible=True, action=LayoutEdit.REMOVE, before=[thing(7, 1.0)]))
    assert box.pose.position.x == 1.0 and box.color.r > box.color.b
