"""Messages of a grounding node as the typed results of the servers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from spatial3d_ros.memory.regions import Region as MemoryRegion
from spatial3d_ros.memory.regions import region_at
from spatial3d_ros.nodes import conversions
from spatial3d_ros.nodes.memory_server import region_of
from spatial3d_ros.scene.objects import NO_ID
from spatial3d_ros.servers.records import Change, MapObject, Point, Region


def map_object(message: Any, regions: Sequence[MemoryRegion]) -> MapObject:
    """An object, with the region that contains it."""
    box = conversions.box(message)
    inside = region_at(regions, box.center)
    return MapObject(
        id=-1 if message.id == NO_ID else message.id, label=message.label, color=message.color,
        center=box.center, size=box.size, yaw=box.yaw, score=message.score,
        region=inside.name if inside else "", last_seen_s=seconds(message.header),
    )  # fmt: skip


def change(message: Any) -> Change:
    """An event."""
    known = message.object
    about = known.id != NO_ID
    return Change(
        kind=message.kind, stamp_s=seconds(message.header),
        object_id=known.id if about else -1, label=known.label, text=message.text,
        confidence=message.confidence,
        before=point(message.before.position) if message.has_before else None,
        after=point(known.pose.position) if about else None,
    )  # fmt: skip


def region(message: Any) -> Region:
    """A region; low and high 0 mean any height."""
    any_height = message.low == message.high == 0.0
    return Region(
        name=message.name, corners=list(region_of(message).corners),
        low=None if any_height else message.low, high=None if any_height else message.high,
    )  # fmt: skip


def event_key(message: Any) -> tuple[str, int, float]:
    """Tells events apart."""
    return message.kind, message.object.id, seconds(message.header)


def seconds(header: Any) -> float:
    """The stamp of a header."""
    return header.stamp.sec + header.stamp.nanosec / 1e9


def point(message: Any) -> Point:
    """A point as numbers, metres."""
    return message.x, message.y, message.z
