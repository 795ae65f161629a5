"""The services and events of the memory over DDS.

With a fake engine that has a memory, and with the real engine, whose map outlives the node.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

pytest.importorskip("rclpy", reason="rclpy is not here: source ROS or scripts/ros_env.sh")

from geometry_msgs.msg import Point32, Polygon, Pose, Vector3

from helpers import ros_bench as bench
from helpers.box_world import THINGS, Robot, move
from helpers.engine_scene import proposals_in_a_row, wall_frame
from helpers.fake_engine import FakeEngine
from helpers.grounding_system import GroundingSystem
from helpers.small_model import small_model
from spatial3d_ros.errors import FrameError, NotAvailableError
from spatial3d_ros.memory.edits import MemoryEdit, apply_edit
from spatial3d_ros.memory.records import Event
from spatial3d_ros.model.checkpoint import save_model
from spatial3d_ros.msg import MemoryEvent, Region
from spatial3d_ros.nodes.grounding_node import build_engine
from spatial3d_ros.nodes.memory_server import event_message
from spatial3d_ros.srv import Ask, EditObjects, GetHistory, GetRegions, NamedMap, SetRegions
from spatial3d_ros.tasks.frame_transform import OutputTransform


class EngineWithMemory(FakeEngine):
    def __init__(self, robot):
        super().__init__()
        self.memory = robot.memory
        self.robot = robot
        self.closed = False

    def attach(self):
        self.memory.on_events = lambda events: self.on_events(events)

    def save_map(self, name=""):
        if name == "full":
            raise NotAvailableError("the disk is full")
        return self.memory.folder / name

    def load_map(self, name=""):
        self.memory.start_over()

    def close(self):
        self.closed = True


def subscribe(system, events):
    system.client.create_subscription(MemoryEvent, "grounding_node/events", events.append, 10)
    publisher = system.node._memory_server._events
    assert bench.eventually(lambda: publisher.get_subscription_count() == 1)


def drive(engine, objects, start=1):
    """Three views with this many objects in a row."""
    for number in range(start, start + 3):
        engine.add_frame(wall_frame(number))
        engine.refresh(proposals_in_a_row(objects))


@pytest.fixture
def robot(tmp_path):
    robot = Robot(tmp_path, THINGS)
    robot.tour(1)
    yield robot
    robot.stop()


def test_memory_is_edited_asked_and_told_over_dds(make_system, robot):
    engine = EngineWithMemory(robot)
    system = make_system(engine=engine).with_frame()
    engine.attach()
    events = []
    subscribe(system, events)
    (sofa,) = [o.id for o in robot.memory.objects() if o.label == "sofa"]
    call = system.client.call

    reply = call(EditObjects, "edit_objects", action="rename", ids=[sofa], label="couch")
    assert reply.success and reply.objects[0].label == "couch", reply.message
    reply = call(
        EditObjects, "edit_objects", action="add", label="charger", author="agent",
        poses=[Pose()], sizes=[Vector3(x=0.2, y=0.2, z=0.2)],
    )  # fmt: skip
    assert reply.success and reply.objects[0].label == "charger", reply.message
    for action, arguments, error in (
        ("rename", {"ids": [999], "label": "x"}, "object 999"),
        ("paint", {}, "one of rename"),
        ("add", {"label": "x", "poses": [Pose()]}, "one size for each pose"),
        ("add", {"label": "x", "poses": [Pose()], "sizes": [Vector3(x=-1.0)]}, "negative"),
    ):
        reply = call(EditObjects, "edit_objects", action=action, **arguments)
        assert not reply.success and error in reply.message
    assert bench.eventually(lambda: len(events) == 2)
    assert events[0].kind == "edited" and events[0].object.id == sofa
    assert "rename" in events[0].text and events[0].header.frame_id == "map"

    square = Polygon(points=[Point32(x=x, y=y) for x, y in ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0))])
    assert call(SetRegions, "set_regions", regions=[Region(name="hall", polygon=square)]).success
    bowtie = Polygon(points=[*square.points[:2], Point32(x=0.0, y=1.0), Point32(x=1.0, y=1.0)])
    reply = call(SetRegions, "set_regions", regions=[Region(name="tie", polygon=bowtie)])
    assert not reply.success and "cross" in reply.message
    (hall,) = call(GetRegions, "get_regions").regions
    assert (hall.name, len(hall.polygon.points), hall.low) == ("hall", 3, 0.0)

    history = call(GetHistory, "get_history", id=sofa).events
    assert [event.kind for event in history] == ["edited"]
    assert len(call(GetHistory, "get_history", id=2**32 - 1).events) == 2
    assert "saved to" in call(NamedMap, "save_map", name="a").message
    assert not call(NamedMap, "save_map", name="full").success
    robot.tour(1)
    robot.things["chair"] = move(THINGS["chair"], 1.2, 0.0)
    robot.tour(4)
    assert bench.eventually(lambda: "moved" in [event.kind for event in events])
    (moved,) = [event for event in events if event.kind == "moved"]
    assert moved.has_before and moved.before.position.x == pytest.approx(0.2)
    assert moved.object.label == "chair" and moved.object.pose.position.x == pytest.approx(1.4)
    assert "loaded" in call(NamedMap, "load_map").message
    system.node.close()
    assert engine.closed


def test_a_map_outlives_the_node_over_dds(tmp_path):
    network, prompt = small_model()
    save_model(tmp_path / "model", network, prompt.tokenizer, torch.float32)
    values = {"model": tmp_path / "model", "device": "cpu", "memory_folder": tmp_path / "memory"}
    arguments = [part for key, value in values.items() for part in ("-p", f"{key}:={value}")]
    events = []

    first = GroundingSystem(*arguments, build=build_engine).ready()
    subscribe(first, events)
    call = first.client.call
    drive(first.node._engine, 3)
    square = Polygon(points=[Point32(x=x, y=y) for x, y in ((-1.0, 0.0), (3.0, 0.0), (3.0, 4.0))])
    assert call(SetRegions, "set_regions", regions=[Region(name="hall", polygon=square)]).success
    ids = [known.id for known in first.node._engine.memory.objects()]
    reply = call(EditObjects, "edit_objects", action="rename", ids=ids[:1], label="safe")
    assert reply.success, reply.message
    assert bench.eventually(
        lambda: [(e.kind, e.object.label) for e in events] == [("edited", "safe")]
    )
    assert call(NamedMap, "save_map", name="home").success
    reply = call(NamedMap, "save_map", name="../home")
    assert not reply.success and "field name" in reply.message
    reply = call(EditObjects, "edit_objects", action="delete", ids=ids[1:2])
    assert reply.success, reply.message
    first.bench.close()

    second = GroundingSystem(*arguments, build=build_engine).ready()
    subscribe(second, events)
    call = second.client.call
    known = {o.id: (o.label, o.state) for o in second.node._engine.memory.objects()}
    assert set(known) == set(ids) and known[ids[0]] == ("safe", "remembered")
    assert known[ids[1]][1] == "deleted"
    assert [r.name for r in call(GetRegions, "get_regions").regions] == ["hall"]
    history = call(GetHistory, "get_history", id=2**32 - 1).events
    assert [(e.kind, e.object.id) for e in history] == [("edited", ids[0]), ("edited", ids[1])]
    reply = call(NamedMap, "load_map", name="home")
    assert reply.success and "loaded 3 objects" in reply.message, reply.message
    reply = call(NamedMap, "load_map", name="nowhere")
    assert not reply.success and "no such map" in reply.message
    drive(second.node._engine, 1, start=100)
    assert [o.id for o in second.node._engine.scene().objects] == ids
    reply = call(Ask, "ask", question="where did you last see the safe?")
    assert reply.success and "I last saw the safe" in reply.answer.text, reply.message
    frame = second.node._engine.scene().frame_id
    assert frame and reply.answer.header.frame_id == frame
    assert [o.header.frame_id for o in reply.answer.objects] == [frame]
    assert call(EditObjects, "edit_objects", action="delete", ids=ids[2:]).success
    assert bench.eventually(lambda: events[-1].object.id == ids[2])
    second.bench.close()


def test_without_a_folder_the_reply_names_the_parameter(make_system):
    class Without(FakeEngine):
        @property
        def memory(self):
            raise NotAvailableError("set the parameter memory_folder")

    system = make_system(engine=Without()).with_frame()
    for kind, name in ((EditObjects, "edit_objects"), (GetHistory, "get_history")):
        reply = system.client.call(kind, name)
        assert not reply.success and "memory_folder" in reply.message


def test_an_edit_outlives_the_next_look(robot):
    (sofa,) = [o.id for o in robot.memory.objects() if o.label == "sofa"]
    apply_edit(robot.memory, MemoryEdit("delete", (sofa,)))
    assert sofa not in robot.tour(1)


def test_a_flood_of_requests_is_refused_and_the_node_stays(make_system, robot):
    system = make_system("-p", "max_questions_hz:=1.0", engine=EngineWithMemory(robot)).with_frame()
    asked = [system.client.call_async(GetRegions, "get_regions") for _ in range(30)]
    replies = [pending.wait() for pending in asked]
    refused = [reply for reply in replies if not reply.success]
    assert 1 <= len(replies) - len(refused) < 30
    assert all("max_questions_hz" in reply.message for reply in refused)
    assert bench.eventually(lambda: system.client.call(GetRegions, "get_regions").success)


TURNED = np.array([[0.0, -1, 0, 5], [1, 0, 0, 0], [0, 0, 1, 2], [0, 0, 0, 1]])


def test_regions_and_boxes_are_in_the_frame_of_the_answers(make_system, robot):
    system = make_system(engine=EngineWithMemory(robot)).with_frame()
    handler = system.node._memory_server._handler
    handler.output_transform = lambda _: OutputTransform("hall", TURNED)
    call, memory = system.client.call, robot.memory
    corners = [Point32(x=x, y=y) for x, y in ((4.0, 0.0), (5.0, 0.0), (5.0, 2.0))]
    hall = Region(name="hall", polygon=Polygon(points=corners), low=2.0, high=3.0)
    reply = call(SetRegions, "set_regions", regions=[hall])
    assert reply.success, reply.message
    (kept,) = memory.regions  # in the frame of the memory
    assert np.allclose(kept.corners, [(0, 1), (0, 0), (2, 0)]) and (kept.low, kept.high) == (0, 1)
    (shown,) = call(GetRegions, "get_regions").regions
    found = [(p.x, p.y) for p in shown.polygon.points]
    assert np.allclose(found, [(p.x, p.y) for p in corners]) and shown.low == 2.0
    pose = Pose()
    pose.position.x = 5.0
    added = {
        "action": "add",
        "label": "lamp",
        "poses": [pose],
        "sizes": [Vector3(x=0.2, y=0.2, z=0.2)],
    }
    reply = call(EditObjects, "edit_objects", **added)
    assert reply.objects[0].header.frame_id == "hall", reply.message
    assert reply.objects[0].pose.position.x == pytest.approx(5.0)
    assert memory.known[reply.objects[0].id].box.center == pytest.approx((0, 0, -2))

    def unknown(_):
        raise FrameError("no transform")

    handler.output_transform = unknown
    assert not call(SetRegions, "set_regions").success and memory.regions
    assert not call(EditObjects, "edit_objects", **added).success
    assert call(GetRegions, "get_regions").regions[0].low == 0.0


def test_events_are_told_in_the_frame_of_the_answers(robot):
    (sofa,) = robot.named("sofa")
    event = Event("moved", 7, sofa.id, "sofa", before=sofa.box)
    message = event_message(event, robot.memory, OutputTransform("odom", TURNED))
    x, y, _ = sofa.box.center
    for pose in (message.before, message.object.pose):
        assert (pose.position.x, pose.position.y) == pytest.approx((5 - y, x))
    assert message.header.frame_id == message.object.header.frame_id == "odom"
