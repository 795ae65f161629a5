"""Typed results of the servers: pydantic models, so that MCP and JSON get a schema of them.

Metres and rad in the frame of the map, stamps in seconds of the clock of the camera.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

Point = tuple[float, float, float]
Presence = Literal["present", "missing", "gone"]


class Box(BaseModel):
    """An upright box."""

    center: Point
    size: Point = Field(description="full extents along the axes of the box")
    yaw: float = 0.0


class MapObject(Box):
    """An object of the map as a box."""

    id: int = Field(description="constant while the object is known; -1: the robot or a point")
    label: str = Field("", description='"" if unknown')
    color: str = ""
    score: float = Field(1.0, description="0..1; in an answer, how well it matches the question")
    state: Presence = Field(
        "present", description="missing: its place was seen empty; gone: missing for long"
    )
    region: str = Field("", description="the named region that contains it")
    first_seen_s: float | None = None
    last_seen_s: float = 0.0


class Change(BaseModel):
    """A change that the memory noticed."""

    kind: str = Field(description="new, moved, missing, returned, gone, edited, aligned or jump")
    stamp_s: float
    object_id: int = Field(description="-1 if it is about no object")
    label: str = ""
    text: str
    confidence: float = 1.0
    before: Point | None = Field(None, description="where the object was")
    after: Point | None = Field(None, description="where it is")


class Region(BaseModel):
    """A named polygon on the floor."""

    name: str
    corners: list[tuple[float, float]]
    low: float | None = Field(None, description="lowest height; null: any")
    high: float | None = None


class Found(BaseModel):
    """Objects that a phrase refers to, best first."""

    text: str
    objects: list[MapObject]
    no_target: bool = Field(description="true: nothing matches, and objects is empty")
    confidence: float = 0.0
    question_back: str = Field("", description="asked back where several objects fit")


class Measured(BaseModel):
    """The distance between two objects."""

    text: str
    metres: float
    uncertainty_m: float = Field(description="standard deviation")
    kind: Literal["center", "surface"]
    a: MapObject
    b: MapObject
    point_a: Point
    point_b: Point
    question_back: str = ""


class Layout(BaseModel):
    """A proposed change of the layout. Nothing moves: it is a proposal."""

    text: str
    action: str
    possible: bool
    satisfied: bool
    reason: str = Field("", description="why it is impossible")
    before: list[MapObject]
    after: list[MapObject]
    question_back: str = ""


class Answered(BaseModel):
    """An answer in words, and the objects that it is about."""

    text: str
    value: str = Field("", description='the answer alone: "3", "yes", "red"')
    intent: str = ""
    objects: list[MapObject] = []
    confidence: float = 0.0
    question_back: str = ""
    layout: Layout | None = Field(None, description="of an instruction: the proposed change")


class Objects(BaseModel):
    """Objects of the map."""

    frame_id: str
    stamp_s: float = Field(description="of the newest view")
    objects: list[MapObject]


class History(BaseModel):
    """What the memory holds of one object."""

    object: MapObject
    events: list[Change]
    pictures: list[float] = Field([], description="stamps of its pictures, best first")


class Changes(BaseModel):
    """What has changed, newest first."""

    text: str
    events: list[Change]


class Regions(BaseModel):
    """All named regions."""

    regions: list[Region]


class News(BaseModel):
    """What happened since the last look: `last` is the number to ask with the next time."""

    version: int = Field(description="changes when the map changes")
    last: int
    events: list[Change]


class Edit(BaseModel):
    """An edit of the memory, as in `~/edit_objects`."""

    action: Literal["rename", "merge", "split", "delete", "pin", "unpin", "add"]
    objects: list[int] = []
    label: str = ""
    boxes: list[Box] = Field([], description="for split, pin and add")
    author: str = "agent"
