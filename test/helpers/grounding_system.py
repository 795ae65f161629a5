"""A grounding node with a fake engine over real DDS, and a client, for the tests of the node."""

from __future__ import annotations

import time

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState

from helpers import ros_bench as bench
from helpers.fake_engine import FakeEngine
from spatial3d_ros.nodes.grounding_node import GroundingNode

MS = 1_000_000
STEP = 200 * MS


class GroundingSystem:
    """A grounding node with its engine, and a client that publishes frames and asks questions."""

    def __init__(self, *arguments, engine=None, build=None):
        self.bench = bench.Bench(*arguments)
        self.engine = engine or FakeEngine()
        self.node = GroundingNode(build or (lambda _: self.engine), context=self.bench.context)
        self.client = bench.LoadClient(self.bench.context)
        self.bench.add(self.node)
        self.bench.add(self.client)
        self.now = bench.EPOCH

    def ready(self):
        assert bench.eventually(lambda: self.client.listeners() == 1 and self.node._sensors)
        return self

    def publish_until(self, condition, parts=lambda at: {}):
        """Publish frames, each 0.2 s later and one metre further, until the condition holds."""

        def step():
            if not condition():
                self.now += STEP
                x = (self.now - bench.EPOCH) / STEP
                self.client.frame(self.now, x=x, **parts(self.now))
                time.sleep(0.02)
            return condition()

        assert bench.eventually(step)

    def publish_frames(self, count=1):
        """Publish until `count` more frames have reached the engine."""
        target = len(self.engine.frames) + count
        self.publish_until(lambda: len(self.engine.frames) >= target)

    def with_frame(self):
        """The system after its first frame."""
        self.ready().publish_frames()
        return self

    def problem(self):
        return self.node._sensors.cameras[0].last_problem

    def state(self):
        return self.client.call(GetState, "get_state").current_state.label

    def change(self, transition):
        request = Transition(id=transition)
        return self.client.call(ChangeState, "change_state", transition=request).success
