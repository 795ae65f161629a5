"""The services of the memory across sessions, and its events on `~/events`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from geometry_msgs.msg import Point32, Polygon
from rclpy.callback_groups import ReentrantCallbackGroup
from sensor_msgs.msg import CompressedImage

from spatial3d_ros import msg, srv
from spatial3d_ros.errors import FrameError, NotAvailableError, NotFoundError, QueryError
from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.geometry.quaternion import yaw_from_quaternion
from spatial3d_ros.memory.edits import MemoryEdit, apply_edit
from spatial3d_ros.memory.records import Event, MemoryObject
from spatial3d_ros.memory.regions import ANY_HEIGHT, Region
from spatial3d_ros.nodes import conversions, qos
from spatial3d_ros.runtime.runtime_stats import RateLimit
from spatial3d_ros.runtime.worker import Busy
from spatial3d_ros.scene.objects import NO_ID
from spatial3d_ros.tasks.frame_transform import OutputTransform

if TYPE_CHECKING:
    from rclpy.node import Node

    from spatial3d_ros.engine import Spatial3D
    from spatial3d_ros.memory.object_memory import ObjectMemory
    from spatial3d_ros.nodes.query_handler import QueryHandler

MAX_EVENTS = 1000
MAX_REGIONS = 1000


class MemoryServer:
    """Offers `~/save_map`, `~/load_map`, `~/edit_objects`, `~/set_regions`, `~/get_regions`,
    `~/get_history` and `~/get_pictures`, and publishes `~/events`. Boxes and regions of requests
    are in the frame of the answers, as replies are.

    `on_change(engine)` is called after another map was loaded.
    """

    def __init__(
        self, node: Node, handler: QueryHandler, on_change: Callable[[Spatial3D], None]
    ) -> None:
        self._handler = handler
        self._on_change = on_change
        self._node = node
        self._rate_limit = RateLimit()  # not that of the questions, which edits must not hold up
        self._events = node.create_publisher(msg.MemoryEvent, "~/events", qos.result())
        group = ReentrantCallbackGroup()
        for kind, name, callback in (
            (srv.NamedMap, "~/save_map", self._save_map),
            (srv.NamedMap, "~/load_map", self._load_map),
            (srv.EditObjects, "~/edit_objects", self._edit_objects),
            (srv.SetRegions, "~/set_regions", self._set_regions),
            (srv.GetRegions, "~/get_regions", self._get_regions),
            (srv.GetHistory, "~/get_history", self._get_history),
            (srv.GetPictures, "~/get_pictures", self._get_pictures),
        ):
            node.create_service(
                kind, name, callback, qos_profile=qos.requests(), callback_group=group
            )

    def attach(self, engine: Spatial3D) -> None:
        """Log and publish the events of this engine from now on."""
        engine.on_events = lambda events: self._publish(engine, events)

    def _check_rate(self) -> None:
        """Raises Busy in a flood of requests."""
        most = self._handler.parameters().max_questions_hz
        if not self._rate_limit(most):
            raise Busy(
                f"busy: more than {most:g} requests a second to the memory (parameter "
                "max_questions_hz). Ask again in a moment."
            )

    def _transform(self, memory: ObjectMemory) -> OutputTransform:
        """To the frame of the answers; the frame of the map while there is no transform."""
        try:
            return self._handler.output_transform(memory.frame_id)
        except (FrameError, NotAvailableError):
            return OutputTransform(memory.frame_id)

    def _to_memory(self, memory: ObjectMemory) -> OutputTransform:
        """From the frame of the answers, in which requests are, to that of the memory.

        Raises FrameError or NotAvailableError while there is no transform.
        """
        return self._handler.output_transform(memory.frame_id).inverse(memory.frame_id)

    def _publish(self, engine: Spatial3D, events: Sequence[Event]) -> None:
        for event in events:
            self._node.get_logger().info(event.text)
            if self._node.context.ok():  # a signal ends it before the memory is closed
                with suppress(NotAvailableError):  # the memory was closed since
                    memory = engine.memory
                    self._events.publish(event_message(event, memory, self._transform(memory)))

    def _save_map(self, request: Any, response: Any) -> Any:
        with self._handler.errors_as_reply(response):
            self._check_rate()
            folder = self._handler.engine().save_map(request.name)
            response.message = f"saved to {folder}"
        return response

    def _load_map(self, request: Any, response: Any) -> Any:
        with self._handler.errors_as_reply(response):
            self._check_rate()
            engine = self._handler.engine()
            engine.load_map(request.name)
            self._on_change(engine)
            count = sum(known.present for known in engine.memory.objects())
            response.message = f"loaded {count} objects from {engine.memory.folder}"
        return response

    def _edit_objects(self, request: Any, response: Any) -> Any:
        with self._handler.errors_as_reply(response):
            self._check_rate()
            if len(request.poses) != len(request.sizes):
                raise QueryError(
                    f"field sizes has {len(request.sizes)} entries, poses {len(request.poses)}; "
                    "give one size for each pose"
                )
            memory = self._handler.engine().memory
            given = self._to_memory(memory) if request.poses else OutputTransform(memory.frame_id)
            boxes = tuple(
                given.box(box_of(pose, size))
                for pose, size in zip(request.poses, request.sizes, strict=True)
            )
            edit = MemoryEdit(
                request.action, tuple(request.ids), request.label, boxes,
                request.author or "person",
            )  # fmt: skip
            transform = self._transform(memory)
            response.objects = [object_message(o, transform) for o in apply_edit(memory, edit)]
        return response

    def _set_regions(self, request: Any, response: Any) -> Any:
        with self._handler.errors_as_reply(response):
            self._check_rate()
            if len(request.regions) > MAX_REGIONS:
                raise QueryError(f"field regions: at most {MAX_REGIONS} are possible")
            regions = [region_of(message) for message in request.regions]
            memory = self._handler.engine().memory
            memory.set_regions(self._to_memory(memory).regions(regions))
        return response

    def _get_regions(self, _: Any, response: Any) -> Any:
        with self._handler.errors_as_reply(response):
            self._check_rate()
            memory = self._handler.engine().memory
            transform = self._transform(memory)
            response.regions = [region_message(r) for r in transform.regions(memory.regions)]
        return response

    def _get_history(self, request: Any, response: Any) -> Any:
        with self._handler.errors_as_reply(response):
            self._check_rate()
            memory = self._handler.engine().memory
            start, end = (
                stamp.sec * 10**9 + stamp.nanosec for stamp in (request.start, request.end)
            )
            number = None if request.id == NO_ID else int(request.id)
            events = memory.events(start, end or 2**62, number)
            transform = self._transform(memory)
            response.events = [event_message(e, memory, transform) for e in events[-MAX_EVENTS:]]
        return response

    def _get_pictures(self, request: Any, response: Any) -> Any:
        with self._handler.errors_as_reply(response):
            self._check_rate()
            memory = self._handler.engine().memory
            if request.id not in memory.known:
                raise NotFoundError(f"object {request.id} is not in the memory; list the objects")
            response.pictures = [
                CompressedImage(
                    header=conversions.header(memory.frame_id, picture.stamp_ns),
                    format="jpeg",
                    data=picture.jpeg,
                )
                for picture in memory.store.pictures(int(request.id))
            ]
        return response


def event_message(
    event: Event, memory: ObjectMemory, transform: OutputTransform
) -> msg.MemoryEvent:
    """The message of an event, in the frame of the answers."""
    known = memory.known.get(event.object_id)
    message = msg.MemoryEvent(
        header=conversions.header(transform.frame_id, event.stamp_ns),
        kind=event.kind,
        confidence=float(event.confidence),
        text=event.text,
    )
    message.object.id = NO_ID
    if known is not None:
        message.object = object_message(known, transform)
        if event.before is not None:
            message.has_before = True
            message.before = conversions.pose(transform.box(event.before))
    return message


def object_message(known: MemoryObject, transform: OutputTransform) -> msg.GroundedObject:
    """The message of an object of the memory, with the stamp at which it was last seen, in the
    frame of the answers.
    """
    (shown,) = transform.objects([known.as_scene_object(known.last_ns + 1)])
    return conversions.grounded_object(shown, known.score, transform.frame_id)


def box_of(pose: Any, size: Any) -> Box3D:
    """The box of a pose and a size. Raises FrameError if they are not finite."""
    p, q = pose.position, pose.orientation
    yaw = yaw_from_quaternion((q.x, q.y, q.z, q.w)) if (q.x, q.y, q.z, q.w) != (0,) * 4 else 0.0
    return Box3D((p.x, p.y, p.z), (size.x, size.y, size.z), yaw)


def region_of(message: msg.Region) -> Region:
    """The region of a message. Raises ConfigError."""
    low, high = float(message.low), float(message.high)
    if low == high == 0.0:
        low, high = -ANY_HEIGHT, ANY_HEIGHT
    corners = tuple((float(p.x), float(p.y)) for p in message.polygon.points)
    return Region(message.name, corners, low, high)


def region_message(region: Region) -> msg.Region:
    """The message of a region."""
    any_height = region.low == -ANY_HEIGHT and region.high == ANY_HEIGHT
    return msg.Region(
        name=region.name,
        polygon=Polygon(points=[Point32(x=x, y=y) for x, y in region.corners]),
        low=0.0 if any_height else region.low,
        high=0.0 if any_height else region.high,
    )
