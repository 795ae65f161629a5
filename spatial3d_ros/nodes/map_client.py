"""The map of a running grounding node for the servers (`servers.map_queries.MapQueries`)."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np
import rclpy
from geometry_msgs.msg import Vector3
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import Image

from spatial3d_ros import msg, srv
from spatial3d_ros.action import Query
from spatial3d_ros.errors import NotAvailableError, NotFoundError, QueryError, Spatial3DError
from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.nodes import conversions, qos
from spatial3d_ros.nodes.action_client import ThreadSafeActionClient
from spatial3d_ros.nodes.executor import spin_in_thread, wait_for
from spatial3d_ros.nodes.map_records import change, event_key, map_object, point, region, seconds
from spatial3d_ros.nodes.memory_server import region_of
from spatial3d_ros.nodes.question_server import KINDS
from spatial3d_ros.scene.objects import NO_ID
from spatial3d_ros.servers.map_queries import MAX_EVENTS, change_question
from spatial3d_ros.servers.records import (
    Answered,
    Changes,
    Edit,
    Found,
    History,
    Layout,
    MapObject,
    Measured,
    News,
    Objects,
    Regions,
)

SERVICE_S = 3.0  # wait for a service to be there
REPLY_S = 60.0  # wait for its reply; the node has a time limit of its own
JPEG_QUALITY = 85
ABSENT = ("missing", "gone")
MEASURES = {name: kind for kind, name in KINDS.items()}
DISTANCES = {value: name for name, value in conversions.DISTANCE_KINDS.items()}
ACTIONS = {value: name for name, value in conversions.EDIT_ACTIONS.items()}


class MapClient:
    """`MapQueries` on the grounding node called `source`, through the services and topics of it.

    Methods block, and must not be called by the thread that spins `node`. Errors of the node are
    QueryError; NotAvailableError tells that it does not reply.
    """

    live = True

    def __init__(
        self,
        node: Node,
        source: str,
        on_close: Callable[[], None] = lambda: None,
    ) -> None:
        self._node, self._source, self._on_close = node, source, on_close
        self._lock, self._fill_lock = threading.Lock(), threading.Lock()
        self._shown: tuple[int, list[Any]] = (NO_ID, [])  # object of the last history, its pictures
        self._version = 0
        self._events: deque[Any] = deque(maxlen=MAX_EVENTS)
        self._count = -1  # of all events, -1 before those of the past were read
        self._image: Image | None = None
        self._view: Any = None  # the subscription
        group = ReentrantCallbackGroup()
        self._clients = {
            kind: node.create_client(
                kind, f"{source}/{name}", qos_profile=qos.requests(), callback_group=group
            )
            for kind, name in (
                (srv.Ground, "ground"),
                (srv.MeasureDistance, "measure_distance"),
                (srv.GetScene, "get_scene"),
                (srv.GetRegions, "get_regions"),
                (srv.GetHistory, "get_history"),
                (srv.GetPictures, "get_pictures"),
                (srv.EditObjects, "edit_objects"),
            )
        }
        self._query = ThreadSafeActionClient(node, Query, f"{source}/query", callback_group=group)
        node.create_subscription(
            msg.SceneObjects, f"{source}/objects", self._on_objects, qos.latched()
        )
        node.create_subscription(msg.MemoryEvent, f"{source}/events", self._on_event, qos.result())

    def find(self, phrase: str, max_objects: int = 5, conversation_id: str = "") -> Found:
        """See `MapQueries`."""
        reply = self._call(
            srv.Ground, query=phrase, max_objects=max_objects, conversation_id=conversation_id
        ).grounding
        return Found(
            text=reply.text, objects=self._objects(reply.objects), no_target=reply.no_target,
            confidence=reply.confidence, question_back=reply.question_back,
        )  # fmt: skip

    def measure(self, a: str, b: str, kind: str = "auto", conversation_id: str = "") -> Measured:
        """See `MapQueries`."""
        reply = self._call(
            srv.MeasureDistance, object_a=a, object_b=b, kind=MEASURES[kind],
            conversation_id=conversation_id,
        ).distance  # fmt: skip
        one, two = self._objects((reply.object_a, reply.object_b))
        return Measured(
            text=reply.text, metres=reply.distance, uncertainty_m=reply.uncertainty,
            kind=DISTANCES[reply.kind], a=one, b=two, point_a=point(reply.point_a),
            point_b=point(reply.point_b), question_back=reply.question_back,
        )  # fmt: skip

    def ask(self, question: str, conversation_id: str = "") -> Answered:
        """See `MapQueries`: through the action, which answers questions of every kind."""
        reply = self._answer(question, conversation_id)
        layout, value = None, ""
        if reply.kind == Query.Result.LAYOUT:
            answer, layout = reply.layout, self._layout(reply.layout)
            objects = answer.before
        elif reply.kind == Query.Result.DISTANCE:
            answer, value = reply.distance, f"{reply.distance.distance:.2f} m"
            objects = [answer.object_a, answer.object_b]
        elif reply.kind == Query.Result.GROUNDING:
            answer = reply.grounding
            objects = answer.objects[: max(answer.num_targets, answer.num_ties)]
        else:
            answer, value = reply.answer, reply.answer.value
            objects = answer.objects
        return Answered(
            text=answer.text, value=value, intent=answer.intent, objects=self._objects(objects),
            confidence=answer.confidence, question_back=answer.question_back, layout=layout,
        )  # fmt: skip

    def propose_layout(self, instruction: str, conversation_id: str = "") -> Layout:
        """See `MapQueries`: through the action, which never applies a change."""
        reply = self._answer(instruction, conversation_id)
        if reply.kind != Query.Result.LAYOUT:
            raise QueryError(
                f"'{instruction}' asks for no change; say e.g. 'move the chair to the left'"
            )
        return self._layout(reply.layout)

    def objects(self) -> Objects:
        """See `MapQueries`. Objects that are missing are known where the node has a memory."""
        scene = self._call(srv.GetScene).scene
        shown = list(scene.objects)
        known, frame = {item.id for item in shown}, scene.header.frame_id
        last = {event.object.id: event for event in self._all_events()}
        absent = [
            event.object for number, event in last.items()
            if number not in known and event.kind in ABSENT and event.header.frame_id == frame
        ]  # fmt: skip
        objects = self._objects(shown) + [
            found.model_copy(update={"state": last[found.id].kind})
            for found in self._objects(absent)
        ]
        return Objects(frame_id=frame, stamp_s=seconds(scene.header), objects=objects)

    def history(self, object_id: int) -> History:
        """See `MapQueries`."""
        found = [o for o in self.objects().objects if o.id == object_id]
        if not found:
            raise NotFoundError(f"object {object_id} is not in the map; list the objects again")
        events = self._memory(srv.GetHistory, id=object_id)
        return History(
            object=found[0],
            events=[change(event) for event in reversed(events.events)] if events else [],
            pictures=[seconds(picture.header) for picture in self._pictures(object_id)],
        )

    def what_changed(self, since: str = "", region: str = "") -> Changes:
        """See `MapQueries`."""
        answer = self.ask(change_question(since, region))
        changed = {known.id for known in answer.objects}
        last = {e.object.id: e for e in self._all_events() if e.kind != "edited"}
        events = [change(event) for number, event in last.items() if number in changed]
        return Changes(text=answer.text, events=sorted(events, key=lambda e: -e.stamp_s))

    def regions(self) -> Regions:
        """See `MapQueries`."""
        return Regions(regions=[region(m) for m in self._call(srv.GetRegions).regions])

    def edit(self, edit: Edit) -> Objects:
        """See `MapQueries`; boxes are in the frame of `objects`."""
        boxes = [Box3D(b.center, b.size, b.yaw) for b in edit.boxes]
        reply = self._call(
            srv.EditObjects, action=edit.action, ids=edit.objects, label=edit.label,
            poses=[conversions.pose(box) for box in boxes],
            sizes=[Vector3(**dict(zip("xyz", box.size, strict=True))) for box in boxes],
            author=edit.author,
        )  # fmt: skip
        frame = reply.objects[0].header.frame_id if reply.objects else ""
        return Objects(frame_id=frame, stamp_s=0.0, objects=self._objects(reply.objects))

    def picture(self, object_id: int, number: int) -> bytes:
        """See `MapQueries`."""
        shown, pictures = self._shown
        if shown != object_id:
            pictures = self._pictures(object_id)
        if not 0 <= number < len(pictures):
            raise NotFoundError(
                f"object {object_id} has {len(pictures)} pictures; they are kept with the "
                "parameter memory_pictures of the node"
            )
        return bytes(pictures[number].data)

    def view(self) -> bytes:
        """See `MapQueries`: the topic `~/annotated`, to which the first call subscribes."""
        with self._lock:
            if self._view is None:
                self._view = self._node.create_subscription(
                    Image, f"{self._source}/annotated", self._on_image, qos.sensor(1)
                )
            image = self._image
        if image is None:
            raise NotAvailableError("no view has arrived yet: is the camera running, and the node?")
        pixels = np.frombuffer(image.data, np.uint8).reshape(image.height, image.width, 3)
        bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
        return cv2.imencode(".jpg", bgr, (cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY))[1].tobytes()

    def news(self, after: int) -> News:
        """See `MapQueries`."""
        if not self._node.count_publishers(self._publisher_name()):
            raise self._absent()
        self._all_events()
        with self._lock:
            known = list(self._events)
            events = known[max(0, len(known) - self._count + after) :] if after >= 0 else []
            return News(version=self._version, last=self._count, events=[change(e) for e in events])

    def close(self) -> None:
        """See `MapQueries`."""
        self._on_close()

    def _publisher_name(self) -> str:
        return self._node.resolve_topic_name(f"{self._source}/objects")

    def _on_objects(self, _: Any) -> None:
        with self._lock:
            self._version += 1

    def _on_event(self, message: Any) -> None:
        with self._lock:
            self._events.append(message)
            if self._count >= 0:
                self._count += 1
            self._version += 1

    def _on_image(self, message: Image) -> None:
        self._image = message

    def _all_events(self) -> list[Any]:
        """The last events of all objects, oldest first."""
        with self._fill_lock:
            if self._count < 0:
                reply = self._memory(srv.GetHistory, id=NO_ID)
                with self._lock:
                    newer = {event_key(event) for event in self._events}
                    past = [e for e in (reply.events if reply else ()) if event_key(e) not in newer]
                    self._events.extendleft(reversed(past))
                    self._count = len(self._events)
        with self._lock:
            return list(self._events)

    def _memory(self, service: Any, **fields: Any) -> Any:
        """A reply about the memory; None where nothing is remembered."""
        try:
            return self._call(service, **fields)
        except QueryError:
            return None

    def _pictures(self, object_id: int) -> list[Any]:
        """The pictures of an object, best first; none where nothing is remembered."""
        reply = self._memory(srv.GetPictures, id=object_id)
        pictures = list(reply.pictures) if reply else []
        self._shown = object_id, pictures
        return pictures

    def _objects(self, messages: Sequence[Any]) -> list[MapObject]:
        """Objects with the regions that contain them."""
        reply = self._memory(srv.GetRegions)
        regions = [region_of(message) for message in reply.regions] if reply else []
        return [map_object(message, regions) for message in messages]

    def _layout(self, edit: Any) -> Layout:
        return Layout(
            text=edit.text, action=ACTIONS[edit.action], possible=edit.possible,
            satisfied=edit.satisfied, reason=edit.reason, before=self._objects(edit.before),
            after=self._objects(edit.after), question_back=edit.question_back,
        )  # fmt: skip

    def _answer(self, query: str, conversation_id: str) -> Any:
        """The result of the action."""
        if not self._query.wait_for_server(SERVICE_S):
            raise self._absent()
        goal = Query.Goal(query=query, conversation_id=conversation_id)
        name = f"{self._source}/query"
        handle = wait_for(self._query.send_goal_async(goal), name, REPLY_S)
        if not handle.accepted:
            raise QueryError("the node is busy; ask again in a moment")
        reply = wait_for(handle.get_result_async(), name, REPLY_S).result
        if not reply.success:
            raise QueryError(reply.message)
        return reply

    def _call(self, service: Any, /, **fields: Any) -> Any:
        client = self._clients[service]
        if not client.wait_for_service(SERVICE_S):
            raise self._absent()
        reply = wait_for(client.call_async(service.Request(**fields)), client.srv_name, REPLY_S)
        if not reply.success:
            raise QueryError(reply.message)
        return reply

    def _absent(self) -> Spatial3DError:
        return NotAvailableError(
            f"no grounding node called '{self._source}' replies: start it, or give its name"
        )


def connect(source: str) -> MapClient:
    """A client with a node and a thread of its own; `close` ends them."""
    context = rclpy.Context()
    context.init()
    node = Node("map_client", context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    thread = spin_in_thread(executor)

    def close() -> None:
        executor.shutdown(timeout_sec=1.0)
        context.try_shutdown()
        thread.join(2.0)

    return MapClient(node, source, close)
