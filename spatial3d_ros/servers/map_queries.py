"""What the servers ask of a map, be it saved or that of a running node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from spatial3d_ros.memory.records import named
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

MAX_EVENTS = 1000  # of one reply


class MapQueries(Protocol):
    """One map. Methods may be called from any thread, and raise Spatial3DError with the reason.

    `live`: whether it is that of a running node, which has views of its camera.
    `conversation_id`: a name; "it" is the last answer of its conversation, for a minute.
    """

    live: bool

    def find(self, phrase: str, max_objects: int = 5, conversation_id: str = "") -> Found:
        """The objects that a phrase or question refers to, best first."""
        ...

    def measure(self, a: str, b: str, kind: str = "auto", conversation_id: str = "") -> Measured:
        """The distance between two objects, `kind` auto, center or surface."""
        ...

    def ask(self, question: str, conversation_id: str = "") -> Answered:
        """The answer to any question in words; to an instruction, the proposed layout."""
        ...

    def propose_layout(self, instruction: str, conversation_id: str = "") -> Layout:
        """The layout after an instruction; nothing moves."""
        ...

    def objects(self) -> Objects:
        """All objects, missing ones included."""
        ...

    def history(self, object_id: int) -> History:
        """One object, its events and the stamps of its pictures."""
        ...

    def what_changed(self, since: str = "", region: str = "") -> Changes:
        """Changes since a time in words ("this morning"), of a region or of all."""
        ...

    def regions(self) -> Regions:
        """All named regions."""
        ...

    def edit(self, edit: Edit) -> Objects:
        """Change objects of the memory; returns them as they are now."""
        ...

    def picture(self, object_id: int, number: int) -> bytes:
        """A stored picture of an object, JPEG; 0 is the best."""
        ...

    def view(self) -> bytes:
        """The newest view of the camera with boxes, JPEG."""
        ...

    def news(self, after: int) -> News:
        """Events with a number larger than `after`; -1: none, only the newest number."""
        ...

    def close(self) -> None:
        """Release the map. Idempotent."""
        ...


def select(
    objects: Sequence[MapObject], label: str = "", region: str = "", state: str = ""
) -> list[MapObject]:
    """Those of a noun ("chairs"), in a region and in a state; "" means all."""
    wanted = " ".join(region.lower().split()).removeprefix("the ")
    return [
        o for o in objects
        if (not label or named(o.label, label))
        and (not wanted or o.region == wanted)
        and (not state or o.state == state)
    ]  # fmt: skip


def change_question(since: str, region: str) -> str:
    """The question about changes, for a time in words: "this morning", "since I left"."""
    words = " ".join(since.split())
    if words and not words.lower().startswith(("since ", "in ", "yesterday", "today")):
        words = f"since {words}"
    place = f" in the {region.removeprefix('the ')}" if region else ""
    return f"what has changed{place}{f' {words}' if words else ''}?"
