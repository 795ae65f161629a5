"""What the memory holds of an object, of an event and of a session."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from spatial3d_ros.english import singular
from spatial3d_ros.geometry.box import Box3D, Vector
from spatial3d_ros.scene.label_distribution import Labels
from spatial3d_ros.scene.objects import SceneObject

State = Literal["confirmed", "remembered", "missing", "gone", "deleted", "merged"]
"""Life of an object.

confirmed: seen in this session. remembered: from an earlier session, not yet seen in this one.
missing: its place was in view and empty. gone: missing for longer than `gone_after_s`. deleted, and
merged into another: by a person or an agent; they stay, so that a later look does not undo it.
"""

EventKind = Literal["new", "moved", "missing", "returned", "gone", "edited", "aligned", "jump"]

PRESENT: tuple[State, ...] = ("confirmed", "remembered")
"""States of objects that are believed to be at their place."""

_PEOPLE = ("person", "people", "man", "woman", "child", "boy", "girl", "baby", "human")
_PETS = ("pet", "dog", "cat", "puppy", "kitten", "bird", "robot")
DYNAMIC = frozenset((*_PEOPLE, *_PETS))
"""Labels of what moves by itself: never remembered, never missing."""


@dataclass(frozen=True, eq=False)
class MemoryObject:
    """One object of the memory; world frame, metres, nanoseconds.

    box: the last one seen. place: centre where it was when it last came to rest; a distance from it
        is a move. points (n, 3) float32, at most 64, of its surface.
    hits: updates that saw it. empty_looks: healthy looks at its empty place since then.
    session: the last one that saw it. pinned: a person set its box, label_pinned: its label.
    merged_into: the object that it is part of, in state merged; -1 otherwise.
    labels: the likeliest ones with their probabilities, most probable first; () if unknown.
    appearance (64,) float16 and the first digits of its weights (INTERFACES 4), if a map has them.
    source: "seen", or who added it.
    """

    id: int
    box: Box3D
    label: str
    points: np.ndarray
    place: Vector
    first_ns: int
    last_ns: int
    session: int
    state: State = "confirmed"
    label_score: float = 0.0
    color: str = ""
    rgb: Vector = (128.0, 128.0, 128.0)
    score: float = 1.0
    views: int = 0
    hits: int = 1
    empty_looks: int = 0
    pinned: bool = False
    label_pinned: bool = False
    merged_into: int = -1
    source: str = "seen"
    labels: Labels = ()
    appearance: np.ndarray | None = None
    weights: str = ""

    @property
    def present(self) -> bool:
        """Whether it is believed to be at its place."""
        return self.state in PRESENT

    @property
    def dynamic(self) -> bool:
        """Whether it moves by itself."""
        return is_dynamic(self.label)

    def as_scene_object(self, newest_ns: int) -> SceneObject:
        """As an object of the map that the newest view, at `newest_ns`, did not update."""
        # At most `newest_ns` - 1: the network then uses the stored label, not pixels at its place.
        stamp_ns = min(self.last_ns, newest_ns - 1)
        return SceneObject(
            self.id, self.box, self.rgb, self.score, self.views, stamp_ns, self.points, self.label,
            self.color, self.label_score, self.labels,
        )  # fmt: skip


@dataclass(frozen=True)
class Event:
    """A change: what happened to which object, when, and how sure (0 .. 1) that is.

    before, after: boxes, where they differ. detail: numbers of the event, as JSON types.
    """

    kind: EventKind
    stamp_ns: int
    object_id: int = -1
    label: str = ""
    confidence: float = 1.0
    before: Box3D | None = None
    after: Box3D | None = None
    session: int = 0
    detail: dict[str, Any] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The event as a sentence."""
        name = f"the {self.label or 'object'} (#{self.object_id})"
        match self.kind:
            case "moved" if self.before and self.after:
                metres = float(np.linalg.norm(np.subtract(self.after.center, self.before.center)))
                return f"{name} moved by {metres:.2f} m"
            case "missing":
                return f"{name} is missing: its place is empty"
            case "gone":
                return f"{name} is gone"
            case "returned":
                return f"{name} is back at its place"
            case "new":
                return f"{name} is new"
            case "edited":
                who = self.detail.get("author", "")
                return f"{name}: {self.detail.get('action', 'edit')}{f' by {who}' if who else ''}"
            case "aligned":
                return (
                    f"the remembered map was aligned by {self.detail.get('objects', 0)} objects, "
                    f"residual {self.detail.get('residual_m', 0.0):.2f} m"
                )
            case _:
                return f"the pose jumped by {self.detail.get('metres', 0.0):.2f} m"


@dataclass(frozen=True)
class Observation:
    """One look at an object that is kept in its history."""

    object_id: int
    stamp_ns: int
    session: int
    box: Box3D
    label: str
    score: float
    view: int = -1


@dataclass(frozen=True)
class Picture:
    """A JPEG of an object in one view.

    score: how well the view shows it: its side in pixels times the visible share. bearing: of the
    camera from the object in the map, radians. nbytes: of the JPEG, which a list leaves out.
    """

    object_id: int
    stamp_ns: int
    score: float
    bearing: float
    nbytes: int
    jpeg: bytes = b""


@dataclass(frozen=True)
class Session:
    """A run of the node: stamps of its first and last view (0: none), wall-clock start."""

    id: int
    started_ns: int
    first_ns: int
    last_ns: int


def is_dynamic(label: str) -> bool:
    """Whether a label names what moves by itself: a person, a pet."""
    return bool(label) and label.split()[-1].lower() in DYNAMIC


def named(label: str, phrase: str) -> bool:
    """Whether a label ("office chair") is meant by a noun ("chair", "chairs")."""
    words, noun = label.lower(), phrase.lower().strip()
    return bool(words) and any(
        words == n or words.endswith(f" {n}") or n.endswith(f" {words}")
        for n in (noun, singular(noun))
    )
