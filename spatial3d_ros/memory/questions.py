"""Questions about time and regions, answered from the memory: stamps, ages and places."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from spatial3d_ros.english import plural, singular
from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.memory.object_memory import NEW_HITS, ObjectMemory
from spatial3d_ros.memory.records import Event, EventKind, MemoryObject, named
from spatial3d_ros.memory.regions import Region, region_at
from spatial3d_ros.memory.time_words import age, clock
from spatial3d_ros.scene.objects import POSSIBLE

ON_GAP_M = 0.15  # largest gap between a surface and what lies on it
NEAR_M = 1.5
SURFACE_M = 3.0  # between the centres of a surface and of what lies on it, at most
CHANGES: tuple[EventKind, ...] = ("moved", "missing", "gone", "returned", "new", "edited")
"""Events that are changes, in the order in which they are told."""
_MAX_LISTED = 5  # changes and objects that a sentence lists


@dataclass(frozen=True)
class MemoryAnswer:
    """A sentence, and the objects and events that it is about. known: whether the memory has what
    was asked for.
    """

    text: str
    objects: tuple[MemoryObject, ...] = ()
    events: tuple[Event, ...] = ()
    known: bool = True


class MemoryQuestions:
    """Answers from one memory. Nouns are matched by their last words ("chair", "office chair");
    modifiers are words of the label or the colour.
    """

    def __init__(self, memory: ObjectMemory) -> None:
        self._memory = memory
        self._now = memory.newest_ns
        self._objects = [o for o in memory.objects() if o.state not in ("deleted", "merged")]
        self._regions = memory.regions

    def find(self, noun: str, modifiers: Sequence[str] = ()) -> list[MemoryObject]:
        """Objects of a noun, those with all modifiers if there are any; last seen first. Where no
        label is the noun, objects that may well be one: a look from elsewhere gives another label.
        """
        meant = {label for label in {o.label for o in self._objects} if named(label, noun)}
        found = [o for o in self._objects if o.label in meant] or [
            o for o in self._objects
            if not o.label_pinned
            and any(share >= POSSIBLE and named(label, noun) for label, share in o.labels)
        ]  # fmt: skip
        fitting = [
            o for o in found
            if all(m == o.color or m in o.label.split() for m in map(str.lower, modifiers))
        ]  # fmt: skip
        return sorted(fitting or found, key=lambda o: -o.last_ns)

    def last_seen(self, noun: str, modifiers: Sequence[str] = ()) -> MemoryAnswer:
        """Where and when an object was last seen."""
        found = self.find(noun, modifiers)
        if not found:
            return self._never(noun)
        known = found[0]
        text = f"I last saw the {known.label} {self._when(known.last_ns)} {self.place(known)}."
        if not known.present:
            text += f" It is {known.state}: its place was empty."
        if len(found) > 1:
            text += f" I know of {len(found)} of them."
        return MemoryAnswer(text, tuple(found[:_MAX_LISTED]))

    def when_seen(self, noun: str, modifiers: Sequence[str] = ()) -> MemoryAnswer:
        """When an object was last and first seen."""
        found = self.find(noun, modifiers)
        if not found:
            return self._never(noun)
        known = found[0]
        first = (
            f", and first {self._when(known.first_ns)}" if known.first_ns < known.last_ns else ""
        )
        return MemoryAnswer(
            f"I last saw the {known.label} {self._when(known.last_ns)}{first}.", (known,)
        )

    def changed(self, start_ns: int, end_ns: int, region: str = "") -> MemoryAnswer:
        """What moved, is missing or back, was brought or edited between two stamps, in this order;
        then how many things were noticed for the first time, which may have been there before.
        """
        events = [e for e in self._memory.events(start_ns, end_ns) if e.kind in CHANGES]
        noticed = [o for o in self._objects if o.present and start_ns < o.first_ns <= end_ns]
        if region:
            named_region = self._region(region)
            if named_region is None:
                return self._no_region(region)
            events = [e for e in events if self._event_in(e, named_region)]
            noticed = [o for o in noticed if named_region.contains(o.box.center)]
        latest = {e.object_id: e for e in events}  # an object that went and came back is back
        changes = sorted(latest.values(), key=lambda e: (CHANGES.index(e.kind), -e.stamp_ns))
        since = f"since {self._when(start_ns)}" if start_ns > 0 else "so far"
        count = sum(o.hits >= NEW_HITS and o.id not in latest for o in noticed)
        first = ""
        if start_ns > 0 and count:
            things = "1 thing" if count == 1 else f"{count} things"
            first = f" I noticed {things} for the first time, which may have been there before."
        if not changes:
            return MemoryAnswer(f"Nothing has changed {since}, as far as I saw.{first}")
        listed = "; ".join(f"{e.text} ({self._when(e.stamp_ns)})" for e in changes[:_MAX_LISTED])
        more = f"; and {len(changes) - _MAX_LISTED} more" if len(changes) > _MAX_LISTED else ""
        objects = [self._memory.known.get(e.object_id) for e in changes]
        text = f"{len(changes)} change{'s' * (len(changes) > 1)} {since}: {listed}{more}.{first}"
        return MemoryAnswer(text, tuple(o for o in objects if o), tuple(changes))

    def missing(self, anchor: str = "", start_ns: int = 0, region: str = "") -> MemoryAnswer:
        """What is missing, from a surface or a region if one is given."""
        gone = [
            o for o in self._objects
            if o.state in ("missing", "gone") and o.last_ns >= start_ns
        ]  # fmt: skip
        where = ""
        if anchor:
            anchors = self.find(anchor)
            if not anchors and self._region(anchor) is not None:
                return self.missing(start_ns=start_ns, region=anchor)
            if not anchors:
                return self._never(anchor)
            where = f" from the {anchors[0].label}"
            gone = [o for o in gone if any(_belongs(o.box, a.box) for a in anchors)]
        if region:
            named_region = self._region(region)
            if named_region is None:
                return self._no_region(region)
            where += f" from the {named_region.name}"
            gone = [o for o in gone if named_region.contains(o.box.center)]
        if not gone:
            return MemoryAnswer(f"Nothing is missing{where}, as far as I saw.")
        listed = ", ".join(
            f"the {o.label} (last seen {self._when(o.last_ns)})" for o in gone[:_MAX_LISTED]
        )
        verb = "is" if len(gone) == 1 else "are"
        return MemoryAnswer(f"{listed[0].upper()}{listed[1:]} {verb} missing{where}.", tuple(gone))

    def moved(self, noun: str, start_ns: int = 0, modifiers: Sequence[str] = ()) -> MemoryAnswer:
        """Whether an object has been moved, when and how far."""
        found = self.find(noun, modifiers)
        if not found:
            return self._never(noun)
        numbers = {o.id for o in found}
        events = [
            e for e in self._memory.events(start_ns)
            if e.object_id in numbers and e.kind in ("moved", "missing", "gone", "returned")
        ]  # fmt: skip
        if not events:
            known = found[0]
            seen = f"I last saw it {self._when(known.last_ns)} {self.place(known)}"
            if known.last_ns <= max(start_ns, self._memory.ended_ns):
                text = f"I do not know: I have not seen the {known.label} since. {seen}."
            else:
                text = f"No, the {known.label} is where it was; {seen}."
            return MemoryAnswer(text, (known,))
        event = events[-1]
        known = self._memory.known[event.object_id]
        leads = {"moved": "Yes", "returned": "It was away and is back"}
        lead = leads.get(event.kind, "I do not see it at its place")
        return MemoryAnswer(
            f"{lead}: {event.text}, {self._when(event.stamp_ns)}. "
            f"It was last seen {self.place(known)}.",
            (known,),
            (event,),
        )

    def region_of(self, noun: str, modifiers: Sequence[str] = ()) -> MemoryAnswer:
        """Which region an object is in."""
        found = [o for o in self.find(noun, modifiers) if o.present] or self.find(noun, modifiers)
        if not found:
            return self._never(noun)
        if not self._regions:
            return MemoryAnswer(
                "I know no rooms or regions; set some with ~/set_regions or a YAML file.",
                known=False,
            )
        places: dict[str, list[MemoryObject]] = {}
        for known in found:
            region = region_at(self._regions, known.box.center)
            places.setdefault(region.name if region else "", []).append(known)
        listed = " and ".join(
            f"{len(group)} {'are' if len(group) > 1 else 'is'} "
            + (f"in the {name}" if name else "in no named region")
            for name, group in places.items()
        )
        label = found[0].label
        if len(found) == 1:
            name = next(iter(places))
            text = f"The {label} is {f'in the {name}' if name else 'in no named region'}."
        else:
            text = f"Of {len(found)} objects ({label}), {listed}."
        return MemoryAnswer(text, tuple(found))

    def objects_in_region(self, region: str, noun: str = "") -> MemoryAnswer:
        """The objects that are in a region, of a noun or all."""
        named_region = self._region(region)
        if named_region is None:
            return self._no_region(region)
        found = [
            o for o in (self.find(noun) if noun else self._objects)
            if o.present and named_region.contains(o.box.center)
        ]  # fmt: skip
        one = len(found) == 1
        what = singular(noun or "object") if one else plural(noun or "object")
        text = f"There {'is' if one else 'are'} {len(found)} {what} in the {named_region.name}"
        if found and not noun:
            text += ": " + ", ".join(f"the {o.label or f'#{o.id}'}" for o in found[:_MAX_LISTED])
        return MemoryAnswer(f"{text}.", tuple(found))

    def place(self, known: MemoryObject) -> str:
        """Where the object is or was: what it stands on or near, its region, its position."""
        close = self._memory.index.near(np.array([known.box.center]), SURFACE_M)
        others = [
            o for o in map(self._memory.known.get, close)
            if o and o.id != known.id and o.present and o.label
        ]  # fmt: skip
        under = [o for o in others if _is_on(known.box, o.box)]
        parts = []
        if under:
            parts.append(f"on the {min(under, key=lambda o: o.box.volume).label}")
        elif others:
            near = min(others, key=lambda o: _distance(o, known))
            if _distance(near, known) < NEAR_M:
                parts.append(f"near the {near.label}")
        region = region_at(self._regions, known.box.center)
        if region:
            parts.append(f"in the {region.name}")
        parts.append("at ({:.2f}, {:.2f}, {:.2f})".format(*known.box.center))
        return " ".join(parts)

    def _when(self, stamp_ns: int) -> str:
        written = clock(stamp_ns)
        return age((self._now - stamp_ns) / 1e9) + (f" ({written})" if written else "")

    def _region(self, name: str) -> Region | None:
        wanted = " ".join(name.lower().split()).removeprefix("the ")
        return next((r for r in self._regions if r.name == wanted), None)

    def _event_in(self, event: Event, region: Region) -> bool:
        return any(box and region.contains(box.center) for box in (event.before, event.after))

    def _never(self, noun: str) -> MemoryAnswer:
        return MemoryAnswer(f"I have never seen a thing called '{noun}'.", known=False)

    def _no_region(self, name: str) -> MemoryAnswer:
        names = ", ".join(r.name for r in self._regions) or "none"
        return MemoryAnswer(
            f"I know no region called '{name}' (known: {names}); set it with ~/set_regions.",
            known=False,
        )


def _distance(a: MemoryObject, b: MemoryObject) -> float:
    return float(np.linalg.norm(np.subtract(a.box.center, b.box.center)))


def _is_on(box: Box3D, surface: Box3D) -> bool:
    bottom = box.center[2] - box.size[2] / 2
    top = surface.center[2] + surface.size[2] / 2
    above = (*box.center[:2], surface.center[2])
    smaller = box.size[0] * box.size[1] < surface.size[0] * surface.size[1]
    return smaller and abs(bottom - top) < ON_GAP_M and bool(surface.contains(np.array(above)))


def _belongs(box: Box3D, anchor: Box3D) -> bool:
    """Whether a box lies on or in another."""
    return _is_on(box, anchor) or bool(anchor.contains(np.array(box.center), margin=0.05))
