"""The markers of the visualizer node for objects, an answer, a distance and an edit."""

from __future__ import annotations

import pytest

pytest.importorskip("rclpy", reason="rclpy is not here: source ROS or scripts/ros_env.sh")

from rclpy.qos import DurabilityPolicy, QoSProfile
from visualization_msgs.msg import Marker, MarkerArray

from helpers import ros_bench as bench
from spatial3d_ros.msg import DistanceAnswer, GroundedObject, Grounding, LayoutEdit, SceneObjects
from spatial3d_ros.nodes.visualizer_node import VisualizerNode

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


def grounded_object(number, x, label="", color=""):
    made = GroundedObject(id=number, label=label, color=color, score=0.5)
    made.header.frame_id = "map"
    made.pose.position.x, made.pose.orientation.w = x, 1.0
    made.size.x, made.size.y, made.size.z = 0.4, 0.4, 0.8
    return made


@pytest.fixture
def show():
    world = bench.Bench("-p", "source:=robot/grounder")
    world.add(VisualizerNode(context=world.context))
    client = bench.LoadClient(world.context)
    received = []
    client.create_subscription(MarkerArray, "visualizer_node/markers", received.append, LATCHED)
    senders = {
        SceneObjects: client.create_publisher(SceneObjects, "robot/grounder/objects", LATCHED),
        Grounding: client.create_publisher(Grounding, "robot/grounder/groundings", 10),
        DistanceAnswer: client.create_publisher(DistanceAnswer, "robot/grounder/distances", 10),
        LayoutEdit: client.create_publisher(LayoutEdit, "robot/grounder/layout_edits", 10),
    }
    world.add(client)

    def send(message):
        sender = senders[type(message)]
        assert bench.eventually(sender.get_subscription_count)
        count = len(received)
        sender.publish(message)
        assert bench.eventually(lambda: len(received) > count)
        first, *markers = received[-1].markers
        assert first.action == Marker.DELETEALL
        return markers

    yield send
    assert world.spinning
    world.close()


def test_every_message_holds_all_markers(show):
    markers = show(
        SceneObjects(objects=[grounded_object(7, 1.0, "chair", "red"), grounded_object(9, 2.0)])
    )
    boxes = [marker for marker in markers if marker.type == Marker.CUBE]
    texts = [marker for marker in markers if marker.type == Marker.TEXT_VIEW_FACING]
    assert [(box.ns, box.id, box.pose.position.x) for box in boxes] == [
        ("objects", 7, 1.0),
        ("objects", 9, 2.0),
    ]
    assert [text.text for text in texts] == ["red chair", "#9"]
    assert texts[0].pose.position.z > 0.4
    assert {marker.header.frame_id for marker in markers} == {"map"}

    markers = show(
        Grounding(
            objects=[grounded_object(7, 1.0, "chair"), grounded_object(9, 2.0)], num_targets=1
        )
    )
    answers = [marker for marker in markers if marker.ns == "answer"]
    assert len(markers) == 8
    assert [box.pose.position.x for box in answers] == [1.0, 2.0]
    assert answers[0].color != answers[1].color

    message = DistanceAnswer(
        object_a=grounded_object(7, 1.0), object_b=grounded_object(9, 2.0), distance=1.5
    )
    message.header.frame_id = "map"
    message.point_a.x, message.point_b.x = 1.0, 2.5
    markers = show(message)
    (line,) = [marker for marker in markers if marker.type == Marker.LINE_STRIP]
    assert [end.x for end in line.points] == [1.0, 2.5]
    (text,) = [marker for marker in markers if marker.ns == "distance text"]
    assert (text.text, text.pose.position.x) == ("1.50 m", 1.75)


def test_answer_without_target_deletes_the_last_one(show):
    show(Grounding(objects=[grounded_object(7, 1.0)]))
    assert show(Grounding(no_target=True)) == []


def test_flat_boxes_have_a_thickness(show):
    flat = grounded_object(1, 0.0)
    flat.size.z = 0.0
    assert show(SceneObjects(objects=[flat]))[0].scale.z > 0


def test_edit_is_a_box_with_an_arrow_until_the_next_answer(show):
    show(SceneObjects(objects=[grounded_object(7, 1.0, "chair")]))
    edit = LayoutEdit(
        possible=True,
        before=[grounded_object(7, 1.0, "chair")],
        after=[grounded_object(7, 2.5, "chair")],
    )
    edit.header.frame_id = "map"
    markers = show(edit)
    (box,) = [marker for marker in markers if marker.ns == "edit"]
    (arrow,) = [marker for marker in markers if marker.type == Marker.ARROW]
    assert box.pose.position.x == 2.5 and 0 < box.color.a < 0.5
    assert [end.x for end in arrow.points] == [1.0, 2.5]
    assert [m.pose.position.x for m in markers if m.ns == "objects"] == [1.0]
    for after in (
        Grounding(no_target=True),
        LayoutEdit(possible=False, before=edit.before),
        LayoutEdit(possible=True, applied=True, before=edit.before, after=edit.after),
    ):
        assert any(marker.ns == "edit" for marker in show(edit))
        assert {marker.ns for marker in show(after)} == {"objects", "names"}


def test_removed_object_is_red_at_its_pose(show):
    (box, _) = show(
        LayoutEdit(possible=True, action=LayoutEdit.REMOVE, before=[grounded_object(7, 1.0)])
    )
    assert box.pose.position.x == 1.0 and box.color.r > box.color.b
