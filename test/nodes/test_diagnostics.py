"""Diagnostics while a signal ends the node: no traceback then, but one for every other error."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

pytest.importorskip("rclpy", reason="rclpy is not here: source ROS or scripts/ros_env.sh")

from builtin_interfaces.msg import Time

from spatial3d_ros.nodes import diagnostics


@pytest.mark.parametrize(("running", "logged"), [(True, 1), (False, 0)])
def test_an_error_is_logged_unless_the_context_has_been_shut_down(running, logged):
    errors, timers = [], []

    def publish(_):
        raise RuntimeError("publisher's context is invalid")

    now = SimpleNamespace(to_msg=Time)
    node = SimpleNamespace(
        context=SimpleNamespace(ok=lambda: running),
        create_publisher=lambda *_: SimpleNamespace(publish=publish),
        create_timer=lambda _, callback, **options: timers.append(callback),
        get_clock=lambda: SimpleNamespace(now=lambda: now),
        get_logger=lambda: SimpleNamespace(error=errors.append),
    )
    diagnostics.publish_regularly(node, list)
    timers[0]()
    assert len(errors) == logged


@pytest.mark.parametrize(
    ("update", "unstored", "level"),
    [("", "", b"\0"), ("", "full", b"\1"), ("failed", "full", b"\2")],
)
def test_a_memory_that_cannot_be_written_is_a_warning(update, unstored, level):
    engine = SimpleNamespace(stats=lambda: {"views": 3, "lasting": {"problem": unstored}})
    told = diagnostics.memory_status("node", engine, update)
    assert (told.level, told.message) == (level, update or unstored)
    assert {pair.key: pair.value for pair in told.values}["lasting.problem"] == unstored
    assert diagnostics.memory_status("node", SimpleNamespace(stats=dict), "").level == b"\0"
