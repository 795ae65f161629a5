"""The grounding node over real DDS with a fake engine."""

from __future__ import annotations

import re
from functools import partial

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is not here: source ROS or scripts/ros_env.sh")

import torch
from action_msgs.msg import GoalStatus
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from rcl_interfaces.srv import DescribeParameters, SetParameters
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo
from std_srvs.srv import Trigger

from helpers import ros_bench as bench
from helpers.fake_engine import STAGES, FakeEngine
from helpers.grounding_system import MS
from spatial3d_ros.action import Query
from spatial3d_ros.errors import CheckpointError
from spatial3d_ros.msg import Grounding, LayoutEdit, SceneObjects
from spatial3d_ros.nodes.action_client import ThreadSafeActionClient
from spatial3d_ros.nodes.grounding_node import build_engine
from spatial3d_ros.srv import Ask, EditLayout, GetScene, Ground, MeasureDistance


def test_frames_in_answers_out(make_system):
    system = make_system().with_frame()
    groundings = []
    system.client.create_subscription(
        Grounding, "grounding_node/groundings", groundings.append, QoSProfile(depth=10)
    )
    reply = system.client.call(Ground, "ground", query="the red chair", max_objects=1)
    assert reply.success, reply.message
    (chair,) = reply.grounding.objects
    assert (chair.label, chair.color, chair.id) == ("chair", "red", 1)
    assert (chair.pose.position.x, chair.size.z) == (1.0, 1.0)
    assert chair.pose.orientation.z == pytest.approx(np.sin(0.05))
    assert reply.grounding.header.frame_id == "map"
    stamp = reply.grounding.header.stamp
    seen = [frame.stamp_ns for frame in system.engine.frames]
    assert stamp.sec * bench.SECOND + stamp.nanosec in seen
    assert (reply.grounding.query, reply.grounding.views_used > 0) == ("the red chair", True)
    assert reply.grounding.latency_ms > 0

    reply = system.client.call(
        MeasureDistance, "measure_distance", object_a="chair", object_b="table"
    )
    assert reply.success, reply.message
    assert reply.distance.distance == 5.0
    assert (reply.distance.object_a.label, reply.distance.object_b.label) == ("chair", "table")
    assert reply.distance.point_b.y == 6.0
    kind = MeasureDistance.Request.KIND_SURFACE
    reply = system.client.call(MeasureDistance, "measure_distance", query="how far", kind=kind)
    assert reply.distance.kind == reply.distance.SURFACE

    assert bench.eventually(lambda: groundings)
    assert groundings[0].text == "the red chair"


def test_unavailable_task_is_an_error_reply(make_system):
    system = make_system().with_frame()
    reply = system.client.call(Ask, "ask", question="what is this")
    assert not reply.success
    assert "has no part for" in reply.message


def test_distance_has_route_and_uncertainty(make_system):
    system = make_system().with_frame()
    reply = system.client.call(MeasureDistance, "measure_distance", query="how far")
    distance = reply.distance
    assert (distance.route, distance.uncertainty) == ("geometry", 0.25)
    assert (distance.network_distance, distance.disagreement) == (4.5, 0.5)
    assert [thing.label for thing in distance.alternatives] == ["table"]


def test_layout_edits_are_proposed_published_and_applied(make_system):
    system = make_system().with_frame()
    edits, objects = [], []
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    system.client.create_subscription(LayoutEdit, "grounding_node/layout_edits", edits.append, 10)
    system.client.create_subscription(
        SceneObjects, "grounding_node/objects", objects.append, latched
    )
    reply = system.client.call(EditLayout, "edit_layout", instruction="move the chair")
    edit = reply.edit
    assert reply.success and (edit.possible, edit.applied, edit.satisfied) == (True, False, True)
    assert (edit.action, edit.text) == (LayoutEdit.MOVE, "the chair moved")
    assert edit.query == "move the chair"
    (before,), (after,) = edit.before, edit.after
    assert (before.id, before.pose.position.x, after.pose.position.x) == (1, 1.0, 1.5)
    assert edit.header.frame_id == "map" and edit.latency_ms > 0
    assert bench.eventually(lambda: edits)

    reply = system.client.call(EditLayout, "edit_layout", instruction="impossible")
    assert reply.success and not reply.edit.possible
    assert (reply.edit.reason, list(reply.edit.after)) == ("the table is in the way", [])
    assert system.client.call(GetScene, "get_scene").scene.objects[0].pose.position.x == 1.0

    reply = system.client.call(EditLayout, "edit_layout", instruction="move it", apply=True)
    assert reply.edit.applied
    assert system.client.call(GetScene, "get_scene").scene.objects[0].pose.position.x == 1.5
    assert bench.eventually(lambda: objects and objects[-1].objects[0].pose.position.x == 1.5)


def test_object_map_is_latched_listed_and_cleared(make_system):
    system = make_system().with_frame()
    late = []
    system.client.create_subscription(
        SceneObjects,
        "grounding_node/objects",
        late.append,
        QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL),
    )
    assert bench.eventually(lambda: late and late[-1].objects)
    assert [thing.label for thing in late[-1].objects] == ["chair", "table"]
    scene = system.client.call(GetScene, "get_scene").scene
    assert scene.views == scene.scene_version > 0
    assert scene.header.frame_id == "map"
    assert system.client.call(Trigger, "clear").success
    assert bench.eventually(lambda: late[-1].objects == [])
    reply = system.client.call(GetScene, "get_scene")
    assert not reply.success
    assert "nothing was seen yet" in reply.message


def test_questions_before_any_frame_name_the_silent_topics(make_system):
    system = make_system().ready()
    reply = system.client.call(Ground, "ground", query="the chair")
    assert not reply.success
    assert "/rgb/image" in reply.message
    assert "/pose" in reply.message
    system.publish_frames()
    assert system.client.call(Ground, "ground", query="the chair").success


@pytest.mark.parametrize(
    ("query", "expected"),
    [("", "empty"), ("  ", "empty"), ("x" * 2000, "2000 characters")],
)
def test_invalid_questions_are_error_replies(make_system, query, expected):
    system = make_system().with_frame()
    reply = system.client.call(Ground, "ground", query=query)
    assert not reply.success
    assert expected in reply.message
    assert system.client.call(Ground, "ground", query="der grüne Stuhl 椅子 🪑").success


def test_unexpected_exception_is_an_error_reply(make_system):
    system = make_system().with_frame()
    system.engine.failure = ZeroDivisionError("division by zero")
    reply = system.client.call(Ground, "ground", query="the chair")
    assert not reply.success
    assert "ZeroDivisionError" in reply.message
    system.engine.failure = None
    assert system.client.call(Ground, "ground", query="the chair").success


def test_error_of_the_map_update_is_in_the_reply(make_system):
    system = make_system()
    system.engine.refresh_failure = ZeroDivisionError("division by zero")
    system.ready()
    assert bench.eventually(lambda: system.node._refresh_problem)
    reply = system.client.call(Ground, "ground", query="the chair")
    assert "object map could not be updated: ZeroDivisionError: division by zero" in reply.message
    system.engine.refresh_failure = None
    system.publish_frames()
    assert bench.eventually(lambda: system.client.call(Ground, "ground", query="chair").success)


def small_depth(_, at):
    return {"depth": bench.image(np.full((24, 32), 2000, np.uint16), "16UC1", at)}


def all_depth(value, _, at):
    array = np.full((bench.HEIGHT, bench.WIDTH), value, np.float32)
    return {"depth": bench.image(array, "32FC1", at)}


def unknown_encoding(_, at):
    plain = np.zeros((bench.HEIGHT, bench.WIDTH, 2), np.uint8)
    return {"color": bench.image(plain, "rgb555", at)}


def no_focal_length(client, at):
    return {"info": client.info(at, focal=0.0)}


def quaternion(w, client, at):
    return {"pose": client.pose(at, w=w)}


BAD = {
    "depth of another size": (small_depth, r"/depth/image: .*32x24, but /rgb/image is 64x48"),
    "unknown encoding": (unknown_encoding, r"/rgb/image: field encoding is 'rgb555'.*rgb8"),
    "NaN depth": (partial(all_depth, np.nan), r"/depth/image: field data .*NaN"),
    "infinite depth": (partial(all_depth, np.inf), r"/depth/image: field data .*infinite"),
    "zero focal length": (no_focal_length, r"/rgb/camera_info: field fx is 0\.0.*K"),
    "zero quaternion": (
        partial(quaternion, 0.0),
        r"/pose: field pose\.orientation .*unit quaternion",
    ),
    "non-unit quaternion": (partial(quaternion, 2.0), r"/pose: field pose\.orientation .*length 2"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_reported_and_the_map_stays(make_system, case):
    system = make_system().with_frame()
    known = len(system.engine.frames)
    make, expected = BAD[case]
    system.publish_until(
        lambda: re.search(expected, system.problem()), partial(make, system.client)
    )
    assert len(system.engine.frames) <= known + 1, "only a frame published before may follow"
    assert system.client.call(Ground, "ground", query="the chair").success
    system.publish_frames()


def test_missing_camera_info_is_reported(make_system):
    system = make_system().ready()
    system.client.send("pose", system.client.pose(system.now))
    for name, kind, dtype, shape in (
        ("rgb/image", "rgb8", np.uint8, (bench.HEIGHT, bench.WIDTH, 3)),
        ("depth/image", "16UC1", np.uint16, (bench.HEIGHT, bench.WIDTH)),
    ):
        system.client.send(name, bench.image(np.full(shape, 99, dtype), kind, system.now))
    assert bench.eventually(system.problem)
    assert system.problem().startswith("/rgb/camera_info: no CameraInfo")
    reply = system.client.call(Ground, "ground", query="the chair")
    assert "/rgb/camera_info" in reply.message


def test_looping_bag_keeps_the_objects(make_system):
    system = make_system().with_frame()
    system.publish_frames(2)
    system.now = bench.EPOCH - 10_000 * MS
    system.publish_frames(2)
    assert system.engine.rewinds == 1
    assert system.client.call(Ground, "ground", query="the chair").success


def test_pose_gap_is_reported(make_system):
    system = make_system().with_frame()
    at = system.now + 500 * MS
    system.client.frame(at, pose=system.client.pose(at + 400 * MS, 5.0))
    assert bench.eventually(lambda: "max_pose_gap_s" in system.problem())
    assert system.problem().startswith("/pose: ")
    assert at not in [frame.stamp_ns for frame in system.engine.frames]
    system.now = at + 400 * MS
    system.publish_frames()


def test_one_question_runs_at_a_time_and_a_full_queue_is_busy(make_system):
    system = make_system(
        "-p", "max_pending_questions:=1", engine=FakeEngine(gate=False)
    ).with_frame()
    pending = [system.client.call_async(Ground, "ground", query=f"chair {n}") for n in range(5)]
    assert bench.eventually(lambda: sum(reply.future.done() for reply in pending) == 3)
    system.engine.gate.set()
    replies = [reply.wait() for reply in pending]
    busy = [reply for reply in replies if not reply.success]
    assert len(busy) == 3
    assert all("busy" in reply.message for reply in busy)
    assert all("max_pending_questions" in reply.message for reply in busy)


def test_question_timeout_is_an_error_reply(make_system):
    system = make_system(
        "-p", "question_timeout_s:=0.3", engine=FakeEngine(gate=False)
    ).with_frame()
    reply = system.client.call(Ground, "ground", query="the chair")
    assert not reply.success
    assert "question_timeout_s" in reply.message
    system.engine.gate.set()
    assert bench.eventually(lambda: system.client.call(Ground, "ground", query="chair").success)


def test_questions_do_not_block_frames(make_system):
    system = make_system(engine=FakeEngine(gate=False)).with_frame()
    pending = system.client.call_async(Ground, "ground", query="the chair")
    assert bench.eventually(lambda: system.node._handler.runner.open)
    system.publish_frames(5)
    assert not pending.future.done()
    system.engine.gate.set()
    assert pending.wait().success


class QueryClient:
    """An action client with feedback."""

    def __init__(self, system):
        self.client = ThreadSafeActionClient(system.client, Query, "grounding_node/query")
        assert self.client.wait_for_server(10.0)
        self.stages = []

    def send(self, query, timeout_s=0.0):
        goal = Query.Goal(query=query, timeout_s=timeout_s)
        sent = self.client.send_goal_async(goal, feedback_callback=self.on_feedback)
        return bench.Pending(sent).wait()

    def on_feedback(self, message):
        self.stages.append(message.feedback.stage)

    @staticmethod
    def result(handle):
        return bench.Pending(handle.get_result_async()).wait()


def test_action_publishes_stages_and_routes_by_wording(make_system):
    system = make_system(engine=FakeEngine(gate=False)).with_frame()
    client = QueryClient(system)
    handle = client.send("the red chair")
    assert bench.eventually(lambda: set(STAGES) <= set(client.stages))
    system.engine.gate.set()
    reply = client.result(handle)
    assert reply.status == GoalStatus.STATUS_SUCCEEDED
    assert (reply.result.success, reply.result.kind) == (True, Query.Result.GROUNDING)
    assert reply.result.grounding.objects[0].label == "chair"
    assert client.stages[: len(STAGES) + 1] == ["waiting", *STAGES]
    reply = client.result(client.send("how far is the chair from the table"))
    assert (reply.result.kind, reply.result.distance.distance) == (Query.Result.DISTANCE, 5.0)
    reply = client.result(client.send("move the chair"))
    assert (reply.result.kind, reply.result.layout.possible) == (Query.Result.LAYOUT, True)
    assert not reply.result.layout.applied


def test_action_is_cancelled_while_running_and_waiting(make_system):
    system = make_system(engine=FakeEngine(gate=False)).with_frame()
    client = QueryClient(system)
    running, waiting = client.send("the chair"), client.send("the table")
    for handle in (waiting, running):
        bench.Pending(handle.cancel_goal_async()).wait()
    for handle in (waiting, running):
        reply = client.result(handle)
        assert reply.status == GoalStatus.STATUS_CANCELED
        assert "cancelled" in reply.result.message
    system.engine.gate.set()
    reply = client.result(client.send("the chair"))
    assert reply.status == GoalStatus.STATUS_SUCCEEDED


def test_action_has_its_own_timeout_and_aborts_on_errors(make_system):
    system = make_system(engine=FakeEngine(gate=False)).with_frame()
    client = QueryClient(system)
    reply = client.result(client.send("the chair", timeout_s=0.1))
    assert reply.status == GoalStatus.STATUS_ABORTED
    assert "no answer within 0.1 s" in reply.result.message
    reply = client.result(client.send(""))
    assert reply.status == GoalStatus.STATUS_ABORTED
    assert "empty" in reply.result.message


def test_out_of_memory_fails_one_question_only(make_system):
    system = make_system().with_frame()
    system.engine.failure = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
    reply = system.client.call(Ground, "ground", query="the chair")
    assert not reply.success
    assert re.search("question ran out of memory .*max_views.*weights", reply.message)
    system.engine.failure = None
    assert system.client.call(Ground, "ground", query="the chair").success


def test_out_of_memory_in_a_map_update_keeps_the_map(make_system):
    system = make_system().with_frame()
    known = len(system.client.call(GetScene, "get_scene").scene.objects)
    system.engine.refresh_failure = RuntimeError("DefaultCPUAllocator: can't allocate memory")
    system.publish_until(
        lambda: "the update of the object map ran out of memory" in system.node._refresh_problem
    )
    assert "max_views" in system.node._refresh_problem
    assert len(system.client.call(GetScene, "get_scene").scene.objects) == known > 0
    assert system.client.call(Ground, "ground", query="the chair").success
    system.engine.refresh_failure = None
    system.publish_until(lambda: not system.node._refresh_problem)


def test_out_of_memory_while_loading_is_in_the_reply(make_system):
    def build(_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    system = make_system(build=build)
    assert bench.eventually(lambda: system.node._failure)
    reply = system.client.call(Ground, "ground", query="the chair")
    assert "loading the model ran out of memory" in reply.message
    assert bench.eventually(lambda: system.state() == "unconfigured")


def test_impossible_lifecycle_transitions_do_not_end_the_node(make_system):
    system = make_system("-p", "autostart:=false")
    assert system.state() == "unconfigured"
    reply = system.client.call(Ground, "ground", query="the chair")
    assert "ros2 lifecycle set /grounding_node configure" in reply.message
    assert not system.change(Transition.TRANSITION_ACTIVATE)
    assert not system.change(Transition.TRANSITION_CLEANUP)
    assert not system.change(99)
    assert system.state() == "unconfigured"
    assert system.change(Transition.TRANSITION_CONFIGURE)
    assert not system.change(Transition.TRANSITION_CONFIGURE)
    reply = system.client.call(Ground, "ground", query="the chair")
    assert "ros2 lifecycle set /grounding_node activate" in reply.message
    assert system.change(Transition.TRANSITION_ACTIVATE)
    system.with_frame()
    assert system.change(Transition.TRANSITION_DEACTIVATE)
    assert system.client.listeners() == 0 or bench.eventually(
        lambda: system.client.listeners() == 0
    )
    assert system.change(Transition.TRANSITION_ACTIVATE)
    assert system.ready().client.call(Ground, "ground", query="the chair").success
    assert system.change(Transition.TRANSITION_DEACTIVATE)
    assert system.change(Transition.TRANSITION_CLEANUP)
    assert system.state() == "unconfigured"


def test_deactivate_answers_waiting_questions(make_system):
    system = make_system(engine=FakeEngine(gate=False)).with_frame()
    pending = [system.client.call_async(Ground, "ground", query="chair") for _ in range(3)]
    assert bench.eventually(lambda: system.node._handler.runner.open == 3)
    assert system.change(Transition.TRANSITION_DEACTIVATE)
    for reply in pending:
        assert "deactivated" in reply.wait().message


def test_checkpoint_error_is_in_the_reply_and_configure_can_be_repeated(make_system):
    ways = [CheckpointError("weights/tiny/model.safetensors is truncated: download it again")]

    def build(_):
        if ways:
            raise ways.pop()
        return FakeEngine()

    system = make_system(build=build)
    assert bench.eventually(lambda: system.node._failure)
    reply = system.client.call(Ground, "ground", query="the chair")
    assert "model.safetensors is truncated" in reply.message
    assert bench.eventually(lambda: system.state() == "unconfigured")
    assert system.change(Transition.TRANSITION_CONFIGURE)


def test_model_folder_without_weights_is_named(make_system, tmp_path):
    system = make_system("-p", f"model:={tmp_path}", build=build_engine)
    assert bench.eventually(lambda: system.node._failure, 60.0)
    reply = system.client.call(Ground, "ground", query="the chair")
    assert f"configure failed: {tmp_path}" in reply.message
    assert bench.eventually(lambda: system.state() == "unconfigured")


def test_invalid_parameters_are_refused_by_name_and_range(make_system):
    system = make_system("-p", "max_views:=1000", "-p", "sync_slop_s:=0.03")

    def put(name, value):
        parameter = Parameter(name, value=value).to_parameter_msg()
        reply = system.client.call(SetParameters, "set_parameters", parameters=[parameter])
        return reply.results[0]

    assert bench.eventually(lambda: system.node._failure)
    reply = system.client.call(Ground, "ground", query="the chair")
    assert "parameter max_views is 1000; it must be between 1 and 256" in reply.message
    refused = put("pose_source", "gps")
    assert not refused.successful
    assert "parameter pose_source is 'gps'; it must be one of pose, odom" in refused.reason
    assert not put("max_pending_questions", -1).successful
    assert put("max_views", 8).successful
    assert system.change(Transition.TRANSITION_CONFIGURE)
    assert system.change(Transition.TRANSITION_ACTIVATE)
    locked = put("max_views", 9)
    assert not locked.successful
    assert "/grounding_node deactivate, cleanup" in locked.reason
    assert put("question_timeout_s", 3).successful


def test_former_parameter_names_fail_to_configure_with_the_new_names(make_system):
    system = make_system("-p", "silence_s:=0.5", "-p", "detection_min_sightings:=3")
    assert bench.eventually(lambda: system.node._failure)
    reply = system.client.call(Ground, "ground", query="the chair")
    assert "silence_s is now named topic_timeout_s" in reply.message
    assert "detection_min_sightings is now named detection_min_hits" in reply.message
    assert not system.node._table.unknown
    for name, value in (("topic_timeout_s", 0.5), ("detection_min_hits", 3)):
        parameter = Parameter(name, value=value).to_parameter_msg()
        assert system.client.call(SetParameters, "set_parameters", parameters=[parameter])
    assert system.change(Transition.TRANSITION_CONFIGURE)


def test_network_parameters_need_configure_and_sensor_parameters_activate(make_system):
    built, engine = [], FakeEngine()

    def build(parameters):
        built.append(parameters)
        return engine

    system = make_system(engine=engine, build=build)

    def put(name, value):
        parameter = Parameter(name, value=value).to_parameter_msg()
        return system.client.call(SetParameters, "set_parameters", parameters=[parameter]).results[
            0
        ]

    assert bench.eventually(lambda: system.node._sensors)
    for name, value in (("model", "other"), ("device", "cuda"), ("sync_slop_s", 0.1)):
        refused = put(name, value)
        assert not refused.successful
        assert f"parameter {name} is in use" in refused.reason
    assert system.change(Transition.TRANSITION_DEACTIVATE)
    assert put("sync_slop_s", 0.1).successful
    assert system.change(Transition.TRANSITION_ACTIVATE)
    assert system.node._sensors.cameras[0].pipeline.sync.slop == 100 * MS
    assert system.change(Transition.TRANSITION_DEACTIVATE)
    assert put("model", "other").successful
    assert "cleanup, then configure" in system.node._table.outdated()
    assert not system.change(Transition.TRANSITION_ACTIVATE)  # it would answer by the old one
    reply = system.client.call(Ground, "ground", query="the chair")
    assert "model is 'other' now, but was 'tiny' when the network was loaded" in reply.message
    for step in ("CLEANUP", "CONFIGURE", "ACTIVATE"):
        assert system.change(getattr(Transition, f"TRANSITION_{step}"))
    assert [parameters.model for parameters in built] == ["tiny", "other"]
    system.ready().publish_frames()


def test_parameter_descriptors_have_range_and_time_of_effect(make_system):
    system = make_system("-p", "autostart:=false", "-p", "max_view:=3")
    names = ["model", "max_objects", "sync_slop_s"]
    reply = system.client.call(DescribeParameters, "describe_parameters", names=names)
    model, count, slop = reply.descriptors
    assert model.description.endswith(
        "folder with weights. Takes effect when the node is configured."
    )
    assert count.description.endswith("Takes effect at once.")
    assert (count.integer_range[0].from_value, count.integer_range[0].to_value) == (1, 100)
    assert slop.description.endswith("Takes effect when the node is activated.")
    assert slop.floating_point_range[0].to_value == 1.0
    assert system.node._table.unknown == ["parameter max_view is unknown: did you mean max_views?"]


def test_qos_overrides_use_the_resolved_topic_name(make_system):
    policy = "qos_overrides./cam/color.subscription.reliability:=reliable"
    system = make_system("-r", "rgb/image:=/cam/color", "-p", policy)
    assert bench.eventually(lambda: system.node._refresher)
    watched = system.node._sensors.cameras[0].watched
    asked = {name: watched[name].subscription.qos_profile.reliability for name in watched}
    assert asked["rgb/image"] == ReliabilityPolicy.RELIABLE
    assert asked["depth/image"] == ReliabilityPolicy.BEST_EFFORT
    assert not system.node._table.unknown


def test_diagnostics_have_rates_and_name_a_silent_topic(make_system):
    system = make_system("-p", "topic_timeout_s:=0.5")
    received = []
    system.client.create_subscription(DiagnosticArray, "/diagnostics", received.append, 10)
    system.with_frame()

    def sensors():
        parts = [part for message in received for part in message.status]
        return [
            part for part in parts if part.name.endswith("sensors") and "silent" in part.message
        ]

    assert bench.eventually(sensors)
    status = sensors()[-1]
    assert "/rgb/image: silent for" in status.message
    assert "1 publisher(s) (reliable, volatile)" in status.message
    facts = {value.key: value.value for value in status.values}
    assert int(facts["received./rgb/image"]) >= int(facts["frames.keyframes"]) >= 1
    assert "p99" in facts["callback"]
    names = {part.name for message in received for part in message.status}
    assert {"grounding_node: memory", "grounding_node: questions"} <= names


def test_sim_time_without_clock_still_publishes_diagnostics(make_system):
    system = make_system("-p", "use_sim_time:=true", "-p", "topic_timeout_s:=0.5")
    received = []
    system.client.create_subscription(DiagnosticArray, "/diagnostics", received.append, 10)
    assert bench.eventually(lambda: any("silent" in m.status[0].message for m in received))


def test_depth_of_another_camera_is_registered_by_its_camera_info(make_system):
    system = make_system("-p", "color_T_depth:=[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]")
    infos = system.client.create_publisher(CameraInfo, "depth/camera_info", 10)
    half = np.full((bench.HEIGHT // 2, bench.WIDTH // 2), 2000, np.uint16)

    def parts(at):
        info = CameraInfo(width=bench.WIDTH // 2, height=bench.HEIGHT // 2)
        info.k = [30.0, 0.0, bench.WIDTH / 4, 0.0, 30.0, bench.HEIGHT / 4, 0.0, 0.0, 1.0]
        infos.publish(bench.set_stamp(info, at, "depth_frame"))
        depth = bench.image(half, "16UC1", at)
        depth.header.frame_id = "depth_frame"
        return {"depth": depth}

    system.ready().publish_until(lambda: system.engine.frames, parts)
    frame = system.engine.frames[0]
    assert frame.depth.shape == (bench.HEIGHT, bench.WIDTH)
    assert frame.valid_fraction > 0.9
    assert np.isclose(frame.depth[frame.depth > 0], 2.0).all()


def test_questions_are_limited_in_length_and_rate(make_system):
    system = make_system("-p", "max_questions_hz:=1.0", engine=FakeEngine(gate=False)).with_frame()
    system.client.call_async(Ground, "ground", query="the chair")
    assert bench.eventually(lambda: system.node._handler.runner.open == 1)
    long = system.client.call(Ground, "ground", query="x" * 100_000)
    assert "100000 characters; at most 500" in long.message
    reply = system.client.call(Ground, "ground", query="the table")
    assert "max_questions_hz" in reply.message
    system.engine.gate.set()
