"""Objects and events of other robots' grounding nodes, merged into the memory of this one."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup

from spatial3d_ros import msg
from spatial3d_ros.errors import FrameError, NotAvailableError, Spatial3DError
from spatial3d_ros.memory.peers import MAX_OBJECTS, Peer, PeerObject
from spatial3d_ros.nodes import conversions, qos

if TYPE_CHECKING:
    from rclpy.node import Node

    from spatial3d_ros.engine import Spatial3D


class PeerInput:
    """Subscribes to `objects` and `events` of the nodes `names`, until `close`."""

    def __init__(self, node: Node, names: Sequence[str], engine: Spatial3D) -> None:
        self._node, self._engine = node, engine
        self._problems: dict[str, str] = {}
        group = MutuallyExclusiveCallbackGroup()
        self._subscriptions: list[Any] = []
        for name in names:
            peer = Peer(name)
            for kind, topic, callback, profile in (
                (msg.SceneObjects, "objects", self._objects, qos.latched()),
                (msg.MemoryEvent, "events", self._event, qos.result()),
            ):
                self._subscriptions.append(
                    node.create_subscription(
                        kind, f"{name}/{topic}", partial(callback, peer), profile,
                        callback_group=group,
                    )
                )  # fmt: skip

    def close(self) -> None:
        """Unsubscribe."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions.clear()

    def _objects(self, peer: Peer, message: msg.SceneObjects) -> None:
        try:
            found = [_peer_object(known) for known in message.objects[:MAX_OBJECTS]]
            if found:
                peer.seen(self._engine.memory, found, message.header.frame_id)
            self._problems.pop(peer.name, None)
        except NotAvailableError:
            return  # the memory was closed since
        except Spatial3DError as error:
            self._tell(peer, str(error))

    def _event(self, peer: Peer, message: msg.MemoryEvent) -> None:
        if message.kind not in ("missing", "gone"):
            return
        try:
            peer.missed(self._engine.memory, message.object.id, conversions.stamp_ns(message))
        except Spatial3DError as error:
            self._tell(peer, str(error))

    def _tell(self, peer: Peer, problem: str) -> None:
        """Log a problem once, until it is another one."""
        if self._problems.get(peer.name) != problem:
            self._problems[peer.name] = problem
            self._node.get_logger().warning(f"memory_peers: {problem}")


def _peer_object(known: msg.GroundedObject) -> PeerObject:
    """Raises FrameError if it is not finite."""
    box = conversions.box(known)
    if not min(box.size) > 0:
        raise FrameError(f"object {known.id}: the size must be above 0")
    return PeerObject(
        int(known.id), box, known.label[:64], known.color[:64], float(known.score),
        conversions.stamp_ns(known),
    )  # fmt: skip
