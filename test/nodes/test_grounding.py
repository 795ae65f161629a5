"""The grounding node over real DDS with an engine that needs no network."""

from __future__ import annotations

import re
import time
from functools import partial

import numpy as np
import pytest
import torch
from action_msgs.msg import GoalStatus
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.srv import DescribeParameters, SetParameters
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo
from std_srvs.srv import Trigger

from helpers import ros_bench as bench
from helpers.fake_engine import STAGES, FakeEngine
from spatial3d_ros.action import Query
from spatial3d_ros.demo.nodes.action_client import SteadyActionClient
from spatial3d_ros.errors import CheckpointError
from spatial3d_ros.msg import Grounding, LayoutEdit, SceneObjects
from spatial3d_ros.nodes.grounding_node import GroundingNode, build_engine
from spatial3d_ros.srv import Ask, EditLayout, GetScene, Ground, MeasureDistance

MS = 1_000_000
STEP = 200 * MS


class SystemUnderTest:
    """A node under test with its engine, and a person who talks to it."""

    def __init__(self, *arguments, engine=None, build=None):
        self.bench = bench.Bench(*arguments)
        self.engine = engine or FakeEngine()
        self.node = GroundingNode(build or (lambda _: self.engine), context=self.bench.context)
        self.person = bench.LoadClient(self.bench.context)
        self.bench.add(self.node)
        self.bench.add(self.person)
        self.now = bench.EPOCH

    def ready(self):
        assert bench.eventually(lambda: self.person.listeners() == 1 and self.node._sensors)
        return self

    def play(self, until, parts=lambda at: {}):
        """Frames, each a little later and a metre further, until something shows."""

        def shown():
            if not until():
                self.now += STEP
                x = (self.now - bench.EPOCH) / STEP
                self.person.frame(self.now, x=x, **parts(self.now))
                time.sleep(0.02)
            return until()

        assert bench.eventually(shown)

    def see(self, more=1):
        """So many more frames reach the engine."""
        enough = len(self.engine.frames) + more
        self.play(lambda: len(self.engine.frames) >= enough)

    def seen(self):
        """A node that has seen something."""
        self.ready().see()
        return self

    def problem(self):
        return self.node._sensors.last_problem

    def state(self):
        return self.person.call(GetState, "get_state").current_state.label

    def change(self, transition):
        request = Transition(id=transition)
        return self.person.call(ChangeState, "change_state", transition=request).success


@pytest.fixture
def make_world():
    worlds = []

    def make(*arguments, **options):
        worlds.append(SystemUnderTest(*arguments, **options))
        return worlds[-1]

    yield make
    for world in worlds:
        assert world.bench.spinning, "an exception ended the executor"
        world.bench.close()


def test_frames_in_typed_answers_out(make_world):
    world = make_world().seen()
    listened = []
    world.person.create_subscription(
        Grounding, "grounding_node/groundings", listened.append, QoSProfile(depth=10)
    )
    reply = world.person.call(Ground, "ground", query="the red chair", max_objects=1)
    assert reply.success, reply.message
    (chair,) = reply.grounding.objects
    assert (chair.label, chair.color, chair.id) == ("chair", "red", 1)
    assert (chair.pose.position.x, chair.size.z) == (1.0, 1.0)
    assert chair.pose.orientation.z == pytest.approx(np.sin(0.05))
    assert reply.grounding.header.frame_id == "map"
    stamp = reply.grounding.header.stamp
    seen = [frame.stamp_ns for frame in world.engine.frames]
    assert stamp.sec * bench.SECOND + stamp.nanosec in seen
    assert (reply.grounding.query, reply.grounding.views_used > 0) == ("the red chair", True)
    assert reply.grounding.latency_ms > 0

    reply = world.person.call(
        MeasureDistance, "measure_distance", object_a="chair", object_b="table"
    )
    assert reply.success, reply.message
    assert reply.distance.distance == 5.0
    assert (reply.distance.object_a.label, reply.distance.object_b.label) == ("chair", "table")
    assert reply.distance.point_b.y == 6.0
    kind = MeasureDistance.Request.KIND_SURFACE
    reply = world.person.call(MeasureDistance, "measure_distance", query="how far", kind=kind)
    assert reply.distance.kind == reply.distance.SURFACE

    assert bench.eventually(lambda: listened)
    assert listened[0].text == "the red chair"


def test_what_the_model_cannot_do_is_said(make_world):
    world = make_world().seen()
    reply = world.person.call(Ask, "ask", question="what is this")
    assert not reply.success
    assert "has no part for" in reply.message


def test_distances_tell_how_sure_they_are(make_world):
    world = make_world().seen()
    reply = world.person.call(MeasureDistance, "measure_distance", query="how far")
    distance = reply.distance
    assert (distance.route, distance.uncertainty) == ("geometry", 0.25)
    assert (distance.network_distance, distance.disagreement) == (4.5, 0.5)
    assert [thing.label for thing in distance.alternatives] == ["table"]


def test_edits_are_proposed_published_and_applied(make_world):
    world = make_world().seen()
    heard, objects = [], []
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    world.person.create_subscription(LayoutEdit, "grounding_node/layout_edits", heard.append, 10)
    world.person.create_subscription(
        SceneObjects, "grounding_node/objects", objects.append, latched
    )
    reply = world.person.call(EditLayout, "edit_layout", instruction="move the chair")
    edit = reply.edit
    assert reply.success and (edit.possible, edit.applied, edit.satisfied) == (True, False, True)
    assert (edit.action, edit.text) == (LayoutEdit.MOVE, "the chair moved")
    assert edit.query == "move the chair"
    (before,), (after,) = edit.before, edit.after
    assert (before.id, before.pose.position.x, after.pose.position.x) == (1, 1.0, 1.5)
    assert edit.header.frame_id == "map" and edit.latency_ms > 0
    assert bench.eventually(lambda: heard)

    reply = world.person.call(EditLayout, "edit_layout", instruction="impossible")
    assert reply.success and not reply.edit.possible
    assert (reply.edit.reason, list(reply.edit.after)) == ("the table is in the way", [])
    assert world.person.call(GetScene, "get_scene").scene.objects[0].pose.position.x == 1.0

    reply = world.person.call(EditLayout, "edit_layout", instruction="move it", apply=True)
    assert reply.edit.applied
    assert world.person.call(GetScene, "get_scene").scene.objects[0].pose.position.x == 1.5
    assert bench.eventually(lambda: objects and objects[-1].objects[0].pose.position.x == 1.5)


def test_scene_is_latched_listed_and_cleared(make_world):
    world = make_world().seen()
    late = []
    world.person.create_subscription(
        SceneObjects,
        "grounding_node/objects",
        late.append,
        QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL),
    )
    assert bench.eventually(lambda: late and late[-1].objects)
    assert [thing.label for thing in late[-1].objects] == ["chair", "table"]
    scene = world.person.call(GetScene, "get_scene").scene
    assert scene.views == scene.scene_version > 0
    assert scene.header.frame_id == "map"
    assert world.person.call(Trigger, "clear").success
    assert bench.eventually(lambda: late[-1].objects == [])
    reply = world.person.call(GetScene, "get_scene")
    assert not reply.success
    assert "nothing was seen yet" in reply.message


def test_questions_before_any_frame_name_the_silent_topics(make_world):
    world = make_world().ready()
    reply = world.person.call(Ground, "ground", query="the chair")
    assert not reply.success
    assert "/rgb/image" in reply.message
    assert "/pose" in reply.message
    world.see()
    assert world.person.call(Ground, "ground", query="the chair").success


@pytest.mark.parametrize(
    ("query", "says"),
    [("", "empty"), ("  ", "empty"), ("x" * 2000, "2000 characters")],
)
def test_impossible_questions_are_answered_with_the_reason(make_world, query, says):
    world = make_world().seen()
    reply = world.person.call(Ground, "ground", query=query)
    assert not reply.success
    assert says in reply.message
    assert world.person.call(Ground, "ground", query="der grüne Stuhl 椅子 🪑").success


def test_an_error_nobody_thought_of_is_a_reply_too(make_world):
    world = make_world().seen()
    world.engine.failure = ZeroDivisionError("division by zero")
    reply = world.person.call(Ground, "ground", query="the chair")
    assert not reply.success
    assert "ZeroDivisionError" in reply.message
    world.engine.failure = None
    assert world.person.call(Ground, "ground", query="the chair").success


def test_an_object_map_that_cannot_be_updated_is_named_to_whoever_asks(make_world):
    world = make_world()
    world.engine.refresh_failure = ZeroDivisionError("division by zero")
    world.ready()
    assert bench.eventually(lambda: world.node._refresh_problem)
    reply = world.person.call(Ground, "ground", query="the chair")
    assert "object map could not be updated: ZeroDivisionError: division by zero" in reply.message
    world.engine.refresh_failure = None
    world.see()
    assert bench.eventually(lambda: world.person.call(Ground, "ground", query="chair").success)


def small_depth(_, at):
    return {"depth": bench.image(np.full((24, 32), 2000, np.uint16), "16UC1", at)}


def all_depth(value, _, at):
    array = np.full((bench.HEIGHT, bench.WIDTH), value, np.float32)
    return {"depth": bench.image(array, "32FC1", at)}


def unknown_encoding(_, at):
    plain = np.zeros((bench.HEIGHT, bench.WIDTH, 2), np.uint8)
    return {"color": bench.image(plain, "yuv422_yuy2", at)}


def no_focal_length(person, at):
    return {"info": person.info(at, focal=0.0)}


def quaternion(w, person, at):
    return {"pose": person.pose(at, w=w)}


BAD = {
    "depth of another size": (small_depth, r"/depth/image: .*32x24, but /rgb/image is 64x48"),
    "unknown encoding": (unknown_encoding, r"/rgb/image: field encoding is 'yuv422_yuy2'.*rgb8"),
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
def test_bad_input_is_named_and_what_is_known_stays(make_world, case):
    world = make_world().seen()
    known = len(world.engine.frames)
    make, says = BAD[case]
    world.play(lambda: re.search(says, world.problem()), partial(make, world.person))
    assert len(world.engine.frames) <= known + 1, "only a good frame still on its way may follow"
    assert world.person.call(Ground, "ground", query="the chair").success
    world.see()


def test_missing_camera_info_is_named(make_world):
    world = make_world().ready()
    world.person.send("pose", world.person.pose(world.now))
    for name, kind, dtype, shape in (
        ("rgb/image", "rgb8", np.uint8, (bench.HEIGHT, bench.WIDTH, 3)),
        ("depth/image", "16UC1", np.uint16, (bench.HEIGHT, bench.WIDTH)),
    ):
        world.person.send(name, bench.image(np.full(shape, 99, dtype), kind, world.now))
    assert bench.eventually(world.problem)
    assert world.problem().startswith("/rgb/camera_info: no CameraInfo")
    reply = world.person.call(Ground, "ground", query="the chair")
    assert "/rgb/camera_info" in reply.message


def test_a_bag_that_starts_over_keeps_the_objects(make_world):
    world = make_world().seen()
    world.see(2)
    world.now = bench.EPOCH - 10_000 * MS
    world.see(2)
    assert world.engine.rewinds == 1
    assert world.person.call(Ground, "ground", query="the chair").success


def test_a_pose_gap_is_named(make_world):
    world = make_world().seen()
    at = world.now + 500 * MS
    world.person.frame(at, pose=world.person.pose(at + 400 * MS, 5.0))
    assert bench.eventually(lambda: "max_pose_gap_s" in world.problem())
    assert world.problem().startswith("/pose: ")
    assert at not in [frame.stamp_ns for frame in world.engine.frames]
    world.now = at + 400 * MS
    world.see()


def test_one_question_at_a_time_and_busy_beyond_the_queue(make_world):
    world = make_world("-p", "max_pending_questions:=1", engine=FakeEngine(gate=False)).seen()
    pending = [world.person.call_async(Ground, "ground", query=f"chair {n}") for n in range(5)]
    assert bench.eventually(lambda: sum(reply.future.done() for reply in pending) == 3)
    world.engine.gate.set()
    replies = [reply.wait() for reply in pending]
    busy = [reply for reply in replies if not reply.success]
    assert len(busy) == 3
    assert all("busy" in reply.message for reply in busy)
    assert all("max_pending_questions" in reply.message for reply in busy)


def test_a_question_that_takes_too_long_is_given_up(make_world):
    world = make_world("-p", "question_timeout_s:=0.3", engine=FakeEngine(gate=False)).seen()
    reply = world.person.call(Ground, "ground", query="the chair")
    assert not reply.success
    assert "question_timeout_s" in reply.message
    world.engine.gate.set()
    assert bench.eventually(lambda: world.person.call(Ground, "ground", query="chair").success)


def test_questions_never_stop_the_frames(make_world):
    world = make_world(engine=FakeEngine(gate=False)).seen()
    pending = world.person.call_async(Ground, "ground", query="the chair")
    assert bench.eventually(lambda: world.node._handler.runner.open)
    world.see(5)
    assert not pending.future.done()
    world.engine.gate.set()
    assert pending.wait().success


class QueryClient:
    """An action client with feedback."""

    def __init__(self, world):
        self.client = SteadyActionClient(world.person, Query, "grounding_node/query")
        assert self.client.wait_for_server(10.0)
        self.stages = []

    def send(self, query, timeout_s=0.0):
        goal = Query.Goal(query=query, timeout_s=timeout_s)
        sent = self.client.send_goal_async(goal, feedback_callback=self.hear)
        return bench.Pending(sent).wait()

    def hear(self, message):
        self.stages.append(message.feedback.stage)

    @staticmethod
    def result(handle):
        return bench.Pending(handle.get_result_async()).wait()


def test_the_action_tells_its_stages_and_routes_by_words(make_world):
    world = make_world(engine=FakeEngine(gate=False)).seen()
    asker = QueryClient(world)
    handle = asker.send("the red chair")
    assert bench.eventually(lambda: set(STAGES) <= set(asker.stages))
    world.engine.gate.set()
    reply = asker.result(handle)
    assert reply.status == GoalStatus.STATUS_SUCCEEDED
    assert (reply.result.success, reply.result.kind) == (True, Query.Result.GROUNDING)
    assert reply.result.grounding.objects[0].label == "chair"
    assert asker.stages[: len(STAGES) + 1] == ["waiting", *STAGES]
    reply = asker.result(asker.send("how far is the chair from the table"))
    assert (reply.result.kind, reply.result.distance.distance) == (Query.Result.DISTANCE, 5.0)
    reply = asker.result(asker.send("move the chair"))
    assert (reply.result.kind, reply.result.layout.possible) == (Query.Result.LAYOUT, True)
    assert not reply.result.layout.applied


def test_the_action_is_cancelled_running_and_waiting(make_world):
    world = make_world(engine=FakeEngine(gate=False)).seen()
    asker = QueryClient(world)
    running, waiting = asker.send("the chair"), asker.send("the table")
    for handle in (waiting, running):
        bench.Pending(handle.cancel_goal_async()).wait()
    for handle in (waiting, running):
        reply = asker.result(handle)
        assert reply.status == GoalStatus.STATUS_CANCELED
        assert "cancelled" in reply.result.message
    world.engine.gate.set()
    reply = asker.result(asker.send("the chair"))
    assert reply.status == GoalStatus.STATUS_SUCCEEDED


def test_the_action_has_its_own_time_limit_and_aborts_on_errors(make_world):
    world = make_world(engine=FakeEngine(gate=False)).seen()
    asker = QueryClient(world)
    reply = asker.result(asker.send("the chair", timeout_s=0.1))
    assert reply.status == GoalStatus.STATUS_ABORTED
    assert "no answer within 0.1 s" in reply.result.message
    reply = asker.result(asker.send(""))
    assert reply.status == GoalStatus.STATUS_ABORTED
    assert "empty" in reply.result.message


def test_running_out_of_memory_ends_one_question_and_the_node_goes_on(make_world):
    world = make_world().seen()
    world.engine.failure = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
    reply = world.person.call(Ground, "ground", query="the chair")
    assert not reply.success
    assert re.search("question ran out of memory .*max_views.*weights", reply.message)
    world.engine.failure = None
    assert world.person.call(Ground, "ground", query="the chair").success


def test_running_out_of_memory_in_an_update_keeps_the_scene(make_world):
    world = make_world().seen()
    known = len(world.person.call(GetScene, "get_scene").scene.objects)
    world.engine.refresh_failure = RuntimeError("DefaultCPUAllocator: can't allocate memory")
    world.play(
        lambda: "the update of the object map ran out of memory" in world.node._refresh_problem
    )
    assert "max_views" in world.node._refresh_problem
    assert len(world.person.call(GetScene, "get_scene").scene.objects) == known > 0
    assert world.person.call(Ground, "ground", query="the chair").success
    world.engine.refresh_failure = None
    world.play(lambda: not world.node._refresh_problem)


def test_a_model_that_does_not_fit_leaves_a_node_that_says_so(make_world):
    def build(_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    world = make_world(build=build)
    assert bench.eventually(lambda: world.node._failure)
    reply = world.person.call(Ground, "ground", query="the chair")
    assert "loading the model ran out of memory" in reply.message
    assert bench.eventually(lambda: world.state() == "unconfigured")


def test_lifecycle_by_hand_and_impossible_transitions_do_not_end_the_node(make_world):
    world = make_world("-p", "autostart:=false")
    assert world.state() == "unconfigured"
    reply = world.person.call(Ground, "ground", query="the chair")
    assert "ros2 lifecycle set /grounding_node configure" in reply.message
    assert not world.change(Transition.TRANSITION_ACTIVATE)
    assert not world.change(Transition.TRANSITION_CLEANUP)
    assert not world.change(99)
    assert world.state() == "unconfigured"
    assert world.change(Transition.TRANSITION_CONFIGURE)
    assert not world.change(Transition.TRANSITION_CONFIGURE)
    reply = world.person.call(Ground, "ground", query="the chair")
    assert "ros2 lifecycle set /grounding_node activate" in reply.message
    assert world.change(Transition.TRANSITION_ACTIVATE)
    world.seen()
    assert world.change(Transition.TRANSITION_DEACTIVATE)
    assert world.person.listeners() == 0 or bench.eventually(lambda: world.person.listeners() == 0)
    assert world.change(Transition.TRANSITION_ACTIVATE)
    assert world.ready().person.call(Ground, "ground", query="the chair").success
    assert world.change(Transition.TRANSITION_DEACTIVATE)
    assert world.change(Transition.TRANSITION_CLEANUP)
    assert world.state() == "unconfigured"


def test_deactivating_answers_the_questions_that_wait(make_world):
    world = make_world(engine=FakeEngine(gate=False)).seen()
    pending = [world.person.call_async(Ground, "ground", query="chair") for _ in range(3)]
    assert bench.eventually(lambda: world.node._handler.runner.open == 3)
    assert world.change(Transition.TRANSITION_DEACTIVATE)
    for reply in pending:
        assert "deactivated" in reply.wait().message


def test_weights_that_cannot_be_loaded_leave_a_node_that_says_so(make_world):
    ways = [CheckpointError("weights/tiny/model.safetensors is truncated: download it again")]

    def build(_):
        if ways:
            raise ways.pop()
        return FakeEngine()

    world = make_world(build=build)
    assert bench.eventually(lambda: world.node._failure)
    reply = world.person.call(Ground, "ground", query="the chair")
    assert "model.safetensors is truncated" in reply.message
    assert bench.eventually(lambda: world.state() == "unconfigured")
    assert world.change(Transition.TRANSITION_CONFIGURE)


def test_a_folder_without_weights_is_named(make_world, tmp_path):
    world = make_world("-p", f"model:={tmp_path}", build=build_engine)
    assert bench.eventually(lambda: world.node._failure, 60.0)
    reply = world.person.call(Ground, "ground", query="the chair")
    assert f"configure failed: {tmp_path}" in reply.message
    assert bench.eventually(lambda: world.state() == "unconfigured")


def test_bad_parameters_are_refused_by_name_and_range(make_world):
    world = make_world("-p", "max_views:=1000", "-p", "sync_slop_s:=0.03")

    def put(name, value):
        parameter = Parameter(name, value=value).to_parameter_msg()
        reply = world.person.call(SetParameters, "set_parameters", parameters=[parameter])
        return reply.results[0]

    assert bench.eventually(lambda: world.node._failure)
    reply = world.person.call(Ground, "ground", query="the chair")
    assert "parameter max_views is 1000; it must be between 1 and 256" in reply.message
    refused = put("pose_source", "gps")
    assert not refused.successful
    assert "parameter pose_source is 'gps'; it must be one of pose, odom" in refused.reason
    assert not put("max_pending_questions", -1).successful
    assert put("max_views", 8).successful
    assert world.change(Transition.TRANSITION_CONFIGURE)
    assert world.change(Transition.TRANSITION_ACTIVATE)
    locked = put("max_views", 9)
    assert not locked.successful
    assert "/grounding_node deactivate, cleanup" in locked.reason
    assert put("question_timeout_s", 3).successful


def test_former_parameter_names_fail_to_configure_with_the_new_names(make_world):
    world = make_world("-p", "silence_s:=0.5", "-p", "detection_min_sightings:=3")
    assert bench.eventually(lambda: world.node._failure)
    reply = world.person.call(Ground, "ground", query="the chair")
    assert "silence_s is now named topic_timeout_s" in reply.message
    assert "detection_min_sightings is now named detection_min_hits" in reply.message
    assert not world.node._table.unknown
    for name, value in (("topic_timeout_s", 0.5), ("detection_min_hits", 3)):
        parameter = Parameter(name, value=value).to_parameter_msg()
        assert world.person.call(SetParameters, "set_parameters", parameters=[parameter])
    assert world.change(Transition.TRANSITION_CONFIGURE)


def test_parameters_of_the_network_change_by_lifecycle_and_of_the_sensors_by_activation(make_world):
    built, engine = [], FakeEngine()

    def build(parameters):
        built.append(parameters)
        return engine

    world = make_world(engine=engine, build=build)

    def put(name, value):
        parameter = Parameter(name, value=value).to_parameter_msg()
        return world.person.call(SetParameters, "set_parameters", parameters=[parameter]).results[0]

    assert bench.eventually(lambda: world.node._sensors)
    for name, value in (("model", "other"), ("device", "cuda"), ("sync_slop_s", 0.1)):
        refused = put(name, value)
        assert not refused.successful
        assert f"parameter {name} is in use" in refused.reason
    assert world.change(Transition.TRANSITION_DEACTIVATE)
    assert put("sync_slop_s", 0.1).successful
    assert world.change(Transition.TRANSITION_ACTIVATE)
    assert world.node._sensors.pipeline.sync.slop == 100 * MS
    assert world.change(Transition.TRANSITION_DEACTIVATE)
    assert put("model", "other").successful
    assert "cleanup, then configure" in world.node._table.outdated()
    assert not world.change(Transition.TRANSITION_ACTIVATE)  # it would answer by the old one
    reply = world.person.call(Ground, "ground", query="the chair")
    assert "model is 'other' now, but was 'tiny' when the network was loaded" in reply.message
    for step in ("CLEANUP", "CONFIGURE", "ACTIVATE"):
        assert world.change(getattr(Transition, f"TRANSITION_{step}"))
    assert [parameters.model for parameters in built] == ["tiny", "other"]
    world.ready().see()


def test_parameters_are_described_with_range_and_when_they_take_effect(make_world):
    world = make_world("-p", "autostart:=false", "-p", "max_view:=3")
    names = ["model", "max_objects", "sync_slop_s"]
    reply = world.person.call(DescribeParameters, "describe_parameters", names=names)
    model, count, slop = reply.descriptors
    assert model.description.endswith(
        "folder with weights. Takes effect when the node is configured."
    )
    assert count.description.endswith("Takes effect at once.")
    assert (count.integer_range[0].from_value, count.integer_range[0].to_value) == (1, 100)
    assert slop.description.endswith("Takes effect when the node is activated.")
    assert slop.floating_point_range[0].to_value == 1.0
    assert world.node._table.unknown == ["parameter max_view is unknown: did you mean max_views?"]


def test_the_quality_of_service_of_a_topic_can_be_overridden_by_its_resolved_name(make_world):
    policy = "qos_overrides./cam/color.subscription.reliability:=reliable"
    world = make_world("-r", "rgb/image:=/cam/color", "-p", policy)
    assert bench.eventually(lambda: world.node._refresher)
    watched = world.node._sensors.watched
    asked = {name: watched[name].subscription.qos_profile.reliability for name in watched}
    assert asked["rgb/image"] == ReliabilityPolicy.RELIABLE
    assert asked["depth/image"] == ReliabilityPolicy.BEST_EFFORT
    assert not world.node._table.unknown


def test_diagnostics_tell_rates_and_the_silent_topic(make_world):
    world = make_world("-p", "topic_timeout_s:=0.5")
    heard = []
    world.person.create_subscription(DiagnosticArray, "/diagnostics", heard.append, 10)
    world.seen()

    def sensors():
        parts = [part for message in heard for part in message.status]
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
    names = {part.name for message in heard for part in message.status}
    assert {"grounding_node: memory", "grounding_node: questions"} <= names


def test_with_simulated_time_and_no_clock_the_node_starts_and_complains(make_world):
    world = make_world("-p", "use_sim_time:=true", "-p", "topic_timeout_s:=0.5")
    heard = []
    world.person.create_subscription(DiagnosticArray, "/diagnostics", heard.append, 10)
    assert bench.eventually(lambda: any("silent" in m.status[0].message for m in heard))


def test_depth_of_another_camera_is_registered_by_its_calibration(make_world):
    world = make_world("-p", "color_T_depth:=[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]")
    infos = world.person.create_publisher(CameraInfo, "depth/camera_info", 10)
    half = np.full((bench.HEIGHT // 2, bench.WIDTH // 2), 2000, np.uint16)

    def parts(at):
        info = CameraInfo(width=bench.WIDTH // 2, height=bench.HEIGHT // 2)
        info.k = [30.0, 0.0, bench.WIDTH / 4, 0.0, 30.0, bench.HEIGHT / 4, 0.0, 0.0, 1.0]
        infos.publish(bench.set_stamp(info, at, "depth_frame"))
        depth = bench.image(half, "16UC1", at)
        depth.header.frame_id = "depth_frame"
        return {"depth": depth}

    world.ready().play(lambda: world.engine.frames, parts)
    frame = world.engine.frames[0]
    assert frame.depth.shape == (bench.HEIGHT, bench.WIDTH)
    assert frame.valid_fraction > 0.9
    assert np.isclose(frame.depth[frame.depth > 0], 2.0).all()


def test_questions_are_limited_in_length_before_they_wait_and_in_rate(make_world):
    world = make_world("-p", "max_questions_hz:=1.0", engine=FakeEngine(gate=False)).seen()
    world.person.call_async(Ground, "ground", query="the chair")
    assert bench.eventually(lambda: world.node._handler.runner.open == 1)
    long = world.person.call(Ground, "ground", query="x" * 100_000)
    assert "100000 characters; at most 500" in long.message
    reply = world.person.call(Ground, "ground", query="the table")
    assert "max_questions_hz" in reply.message
    world.engine.gate.set()
