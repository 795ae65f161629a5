"""Subscriptions of sensors: one message at a time, timed, and none after `close`."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from rclpy.callback_groups import CallbackGroup
from rclpy.qos import QoSProfile

from spatial3d_ros.nodes import qos
from spatial3d_ros.nodes.watchdog import Watched
from spatial3d_ros.runtime.runtime_stats import Durations, Throttle

if TYPE_CHECKING:
    from rclpy.node import Node

REPEAT_PROBLEM_S = 5.0  # bad data of one topic is logged once in this time
MAX_DRAINED = 100

Take = Callable[[Any], None]


class SensorSubscriptions:
    """Creates subscriptions whose callbacks never raise; an exception would end the node.

    `lock` is held while a message is taken, so that what it made ready is handled in order.
    """

    def __init__(self, node: Node) -> None:
        self.callback_ms = Durations()
        self.lock = threading.Lock()
        self._node = node
        self._logger = node.get_logger()
        self._may_log = Throttle(REPEAT_PROBLEM_S)
        self._all: list[Watched] = []
        self._closed = False

    def add(
        self,
        name: str,
        kind: type,
        take: Take,
        profile: QoSProfile,
        group: CallbackGroup,
        *,
        drain: bool = False,
        rename: str = "",
    ) -> Watched:
        """Subscribe; `take` gets each message while the lock is held.

        With `drain` all that waits is taken at once, not one message per round of the executor:
        poses come more often than images, and on a busy machine would fall behind them until every
        image is refused. `rename` is how a person gives the topic another name.
        """

        def receive(message: Any) -> None:
            if not self._closed:
                watched.rate.add()
                self.timed(self.callback_ms, name, partial(self._take, take, message))
                if drain:
                    self.timed(self.callback_ms, name, partial(self._drain, watched, take))

        subscription = self._node.create_subscription(
            kind,
            name,
            receive,
            profile,
            callback_group=group,
            event_callbacks=qos.no_events(),
            qos_overriding_options=qos.overridable(),
        )
        watched = Watched(subscription, rename=rename or f"remap {name}")
        self._all.append(watched)
        return watched

    def close(self) -> None:
        """End the subscriptions."""
        self._closed = True
        for watched in self._all:
            self._node.destroy_subscription(watched.subscription)

    def timed(self, durations: Durations, name: str, work: Callable[[], Any]) -> None:
        """Do the work and note how long it took [ms]; what it raises is reported."""
        started = time.perf_counter()
        try:
            work()
        except Exception as error:
            self.report(name, f"{type(error).__name__}: {error}")
        durations.add((time.perf_counter() - started) * 1e3)

    def report(self, topic: str, problem: str) -> str:
        """Log the problem of a topic, not too often; returns the line."""
        text = f"{topic}: {problem}"
        if self._may_log(topic):
            self._logger.error(text)
        return text

    def _take(self, take: Take, message: Any) -> None:
        with self.lock:
            take(message)

    def _drain(self, watched: Watched, take: Take) -> None:
        subscription = watched.subscription
        for _ in range(MAX_DRAINED):
            with subscription.handle:
                taken = subscription.handle.take_message(subscription.msg_type, subscription.raw)
            if taken is None:
                return
            watched.rate.add()
            self._take(take, taken[0])
