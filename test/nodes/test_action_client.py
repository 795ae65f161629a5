"""Our action client receives responses that arrive before the request is recorded."""

from __future__ import annotations

import time

from helpers import ros_bench as bench
from helpers.fake_engine import FakeEngine
from spatial3d_ros.action import Query
from spatial3d_ros.nodes.action_client import ThreadSafeActionClient
from spatial3d_ros.nodes.grounding_node import GroundingNode


class SlowDict(dict):
    """Delays the recording of a request after it was sent."""

    def __contains__(self, key):
        time.sleep(0.3)
        return super().__contains__(key)


def test_response_before_the_request_is_recorded_is_received():
    world = bench.Bench()
    world.add(GroundingNode(lambda _: FakeEngine(), context=world.context))
    client_node = world.add(bench.LoadClient(world.context))
    client = ThreadSafeActionClient(client_node, Query, "grounding_node/query")
    assert client.wait_for_server(10.0)
    client._pending_goal_requests = SlowDict()
    client._pending_result_requests = SlowDict()
    handle = bench.Pending(client.send_goal_async(Query.Goal(query="the chair"))).wait(5.0)
    assert handle.accepted
    assert bench.Pending(handle.get_result_async()).wait(5.0).result.message
    world.close()
