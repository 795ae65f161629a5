"""What the memory makes of several sessions in one home: things moved, taken and brought.

Homes of boxes with exact depth; the object map is simulated from what each view shows, with the
faults of a real one: boxes and labels with noise, objects that are overlooked or get a new id. So
the figures are those of the memory alone, given such a map.
"""

from __future__ import annotations

import math
import tempfile
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.memory.database import MemoryDatabase
from spatial3d_ros.memory.object_memory import ObjectMemory
from spatial3d_ros.memory.records import Event
from spatial3d_ros.memory.store import MemoryStore
from spatial3d_ros.research.evaluation.box_views import view_of_boxes
from spatial3d_ros.scene.buffer import View
from spatial3d_ros.scene.objects import SceneObject

SECOND = 10**9
ROOM_M, HEIGHT_M = 5.0, 2.6
MOVED_M, TOUR_M = 0.3, 0.7
FURNITURE = {
    "table": (1.2, 0.8, 0.74), "desk": (1.4, 0.7, 0.74), "sofa": (1.9, 0.9, 0.8),
    "shelf": (0.9, 0.35, 1.7), "bed": (2.0, 1.4, 0.5), "cabinet": (0.8, 0.5, 1.1),
}  # fmt: skip
THINGS = {
    "chair": (0.5, 0.5, 0.9), "stool": (0.4, 0.4, 0.5), "lamp": (0.35, 0.35, 1.4),
    "box": (0.4, 0.35, 0.35), "bin": (0.3, 0.3, 0.4), "plant": (0.4, 0.4, 0.8),
    "suitcase": (0.5, 0.25, 0.7), "fan": (0.35, 0.3, 0.6),
}  # fmt: skip
SMALL = {
    "mug": (0.12, 0.12, 0.14), "book": (0.25, 0.18, 0.08), "bottle": (0.12, 0.12, 0.3),
    "laptop": (0.34, 0.24, 0.22), "bowl": (0.2, 0.2, 0.12), "clock": (0.2, 0.12, 0.22),
}  # fmt: skip


@dataclass(frozen=True)
class Thing:
    """An object of the home: `number` is its true identity."""

    number: int
    label: str
    box: Box3D
    rgb: tuple[float, float, float]


class Home:
    """Rooms side by side, one robot visit at a time; everything follows from the seed."""

    def __init__(self, seed: int, rooms: int = 3) -> None:
        self.seed = seed
        self.rng = np.random.default_rng(seed)
        self.rooms = [
            Box3D((ROOM_M * i, 0.0, HEIGHT_M / 2), (ROOM_M, ROOM_M, HEIGHT_M)) for i in range(rooms)
        ]
        self.things: list[Thing] = []
        self._next = 0
        for room in self.rooms:
            for kinds, count in ((FURNITURE, 2), (THINGS, 4), (SMALL, 2)):
                for label in self.rng.choice(list(kinds), count, replace=False):
                    self.bring(str(label), room)

    def bring(self, label: str, room: Box3D) -> bool:
        """A new thing where there is space for it; returns whether there was."""
        box = self._free(label, room)
        if box is not None:
            color = self.rng.uniform(30, 220, 3)
            self.things.append(Thing(self._next, label, box, (color[0], color[1], color[2])))
            self._next += 1
        return box is not None

    def change(self, count: int) -> dict[str, set[int]]:
        """Moves, takes and brings `count` things each; returns their numbers by kind of change."""
        done: dict[str, set[int]] = {"moved": set(), "taken": set(), "brought": set()}
        loose = [t for t in self.things if t.label not in FURNITURE]
        chosen = self.rng.permutation(len(loose))[: 2 * count]
        for i in chosen[:count]:
            thing = loose[int(i)]
            self.things.remove(thing)
            box = self._free(thing.label, self.rooms[int(self.rng.integers(len(self.rooms)))])
            far = box and math.dist(box.center, thing.box.center) > MOVED_M
            self.things.append(replace(thing, box=box) if box and far else thing)
            if box and far:
                done["moved"].add(thing.number)
        for i in chosen[count:]:
            self.things.remove(loose[int(i)])
            done["taken"].add(loose[int(i)].number)
        for _ in range(count):
            label = str(self.rng.choice([*THINGS, *SMALL]))
            if self.bring(label, self.rooms[int(self.rng.integers(len(self.rooms)))]):
                done["brought"].add(self.things[-1].number)
        return done

    def _free(self, label: str, room: Box3D) -> Box3D | None:
        """A free place: small things on furniture of the room, others on its floor."""
        size = {**FURNITURE, **THINGS, **SMALL}[label]
        inside = [t.box for t in self.things if room.contains(np.array(t.box.center))]
        tops = [
            t.box for t in self.things
            if t.label in ("table", "desk", "cabinet", "bed") and t.box in inside
        ]  # fmt: skip
        for _ in range(60):
            if label in SMALL:
                if not tops:
                    return None
                base = tops[int(self.rng.integers(len(tops)))]
                area, low = (np.array(base.size[:2]) - size[:2]) * 0.45, base.bounds()[1][2]
                middle = base.center
            else:
                area, low = np.array((ROOM_M / 2 - 0.7,) * 2), 0.0
                middle = room.center
            x, y = np.array(middle[:2]) + self.rng.uniform(-area, area)
            box = Box3D((x, y, low + size[2] / 2), size)
            corridor = label not in SMALL and math.dist((x, y), room.center[:2]) < 1.0
            if not corridor and all(_apart(box, other) for other in inside):
                return box
        return None


@dataclass
class Tally:
    """Counts of one or several homes; `report` has the figures."""

    counts: Counter[str]

    def share(self, right: str, of: str) -> float:
        """A share in per cent; 100 of nothing."""
        return 100.0 * self.counts[right] / self.counts[of] if self.counts[of] else 100.0

    @property
    def report(self) -> dict[str, float]:
        """Shares in per cent; ghosts and objects are counts at the ends of sessions."""
        return {
            "kept_ids": self.share("kept", "stayed"),
            "moved": self.share("moved_told", "moved"),
            "missing_precision": self.share("missing_right", "missing_told"),
            "missing_recall": self.share("taken_told", "taken"),
            "occluded_missing": self.share("missing_wrong", "present") * bool(
                self.counts["missing_wrong"]
            ),
            "ghosts": float(self.counts["ghosts"]),
            "ghosts_after_jump": float(self.counts["ghosts_after_jump"]),
            "objects": float(self.counts["present"]),
        }  # fmt: skip


class Visit:
    """One session of the robot in the home."""

    def __init__(self, home: Home, folder: Path, start_ns: int) -> None:
        self.home, self.now = home, start_ns
        # Apart from the changes of the home, which a change of the memory leaves as they are.
        self.rng = np.random.default_rng((home.seed, start_ns))
        self.database = MemoryDatabase(folder)
        self.events: list[Event] = []
        self.memory = ObjectMemory(MemoryStore(self.database), on_events=self.events.extend)
        self.memory.new_id = self._new_id
        self._next_id = self.memory.next_id
        self._map: dict[int, SceneObject] = {}  # by true number
        self._old: list[SceneObject] = []  # of the map, from before a jump
        self.of: dict[int, int] = {}  # true number of an id of the memory
        self.views: list[View] = []
        self.pose = np.eye(4)  # from the true world to that of the poses
        self.scene: tuple[SceneObject, ...] = ()

    def tour(self, turns: int = 3) -> None:
        """Turns round in every room, each time at another place near its middle, with a view every
        15 degrees, as the gate of keyframes keeps them.
        """
        for room in self.home.rooms:
            for turn in range(turns):
                place = 2 * math.pi * turn / 3
                x, y = np.array(room.center[:2]) + TOUR_M * np.array(
                    [math.cos(place), math.sin(place)]
                )
                for angle in np.arange(24) * (math.pi / 12):
                    target = (x + math.cos(angle), y + math.sin(angle), 0.75)
                    self.look(room, (x, y, 1.3), target)

    def look(self, room: Box3D, eye: tuple, target: tuple) -> None:
        """One view, an object map with the usual faults, and what the memory makes of it."""
        self.now += SECOND
        rng = self.rng
        things = [t for t in self.home.things if room.contains(np.array(t.box.center))]
        frame, owner = view_of_boxes([t.box for t in things], room, eye, target, self.now)
        frame = replace(frame, world_T_camera=self.pose @ frame.world_T_camera)
        world = frame.points_world()
        for index, thing in enumerate(things):
            points = world[owner == index]
            if len(points) < 60 or rng.random() < 0.1:
                continue
            old = self._map.get(thing.number)
            box = self._noisy(thing.box)
            fresh = old is None or rng.random() < 0.02
            same = old is not None and math.dist(old.box.center, box.center) < 0.15
            number = self._new_id() if fresh or not same else old.id  # type: ignore[union-attr]
            label = thing.label if rng.random() > 0.03 else str(rng.choice([*THINGS]))
            self._map[thing.number] = SceneObject(
                number, box, self._lit(thing.rgb), 0.9, 3, self.now, points, label, "", 0.8
            )
        if self.views and self._old and self.now - self._old[0].stamp_ns > 40 * SECOND:
            self._old = []
        here = {t.number for t in self.home.things}
        self._map = {k: v for k, v in self._map.items() if k in here}
        self.views = [*self.views[-7:], View(self.now, frame)]
        items = [*self._map.values(), *self._old]
        self.scene = self.memory.update(items, self.views, "map")
        self.memory.record(self.scene)

    def jump(self, metres: float, degrees: float) -> None:
        """From now on the poses are off by this; the map keeps what it had for a while."""
        turn = math.radians(degrees)
        self.pose = np.eye(4)
        self.pose[:2, :2] = [[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]]
        self.pose[0, 3] = metres
        self._old, self._map = list(self._map.values()), {}

    def identities(self) -> dict[int, int]:
        """Id of the memory for each true number, at the end of the visit."""
        found = {}
        for thing in self.home.things:
            for item in self.scene:
                if self.is_at(item, thing):
                    found[thing.number] = item.id
        return found

    def ghosts(self) -> set[int]:
        """Ids of objects shown where there is none."""
        return {o.id for o in self.scene if not any(self.is_at(o, t) for t in self.home.things)}

    def is_at(self, item: SceneObject, thing: Thing) -> bool:
        """Whether an object of the scene is this thing: within 0.25 m of it."""
        true = self.pose[:3, :3] @ thing.box.center + self.pose[:3, 3]
        return math.dist(true, item.box.center) < 0.25

    def close(self) -> None:
        """Ends the session."""
        self.memory.save(now=True)
        self.database.close()

    def _new_id(self) -> int:
        self._next_id += 1
        return self._next_id - 1

    def _lit(self, rgb: tuple[float, float, float]) -> tuple[float, float, float]:
        """A colour in the light of one view."""
        seen = np.array(rgb) * self.rng.normal(1, 0.1) + self.rng.normal(0, 5, 3)
        r, g, b = seen.clip(0, 255).tolist()
        return r, g, b

    def _noisy(self, box: Box3D) -> Box3D:
        rng = self.rng
        center = np.array(box.center) + rng.normal(0, 0.02, 3)
        placed = self.pose[:3, :3] @ center + self.pose[:3, 3]
        size = np.array(box.size) * rng.normal(1, 0.04, 3).clip(0.85, 1.15)
        return Box3D(tuple(placed), tuple(size))


def evaluate_sessions(homes: int, seed: int, sessions: int = 5, changes: int = 2) -> Tally:
    """Sessions in generated homes; in the last one the pose jumps by 0.5 m and 10 degrees."""
    tally = Tally(Counter())
    for number in range(seed, seed + homes):
        with tempfile.TemporaryDirectory() as folder:
            _one_home(Home(number), Path(folder), sessions, changes, tally.counts)
    return tally


def _one_home(home: Home, folder: Path, sessions: int, changes: int, counts: Counter[str]) -> None:
    known: dict[int, int] = {}
    for session in range(sessions):
        change = home.change(changes) if session else {k: set() for k in ("moved", "taken")}
        visit = Visit(home, folder, (session + 1) * 86_400 * SECOND)
        visit.tour()
        now = visit.identities()
        if session:
            _count_session(visit, known, now, change, counts)
        ghosts = visit.ghosts()
        counts["ghosts"] += len(ghosts)
        counts["present"] += len(home.things)
        if session == sessions - 1:
            visit.jump(0.5, 10.0)
            visit.tour(1)
            counts["ghosts_after_jump"] += len(visit.ghosts() - ghosts)
        visit.close()
        known = now


def _count_session(
    visit: Visit,
    known: dict[int, int],
    now: dict[int, int],
    change: dict[str, set[int]],
    counts: Counter[str],
) -> None:
    told = {kind: {e.object_id for e in visit.events if e.kind == kind} for kind in ("moved",)}
    absent = {o.id for o in visit.memory.objects() if o.state in ("missing", "gone")}
    newly = {e.object_id for e in visit.events if e.kind == "missing"} & absent
    stayed = [k for k in known if k not in change["taken"]]
    counts["stayed"] += len(stayed)
    counts["kept"] += sum(now.get(k) == known[k] for k in stayed)
    moved = [k for k in change["moved"] if k in known]
    counts["moved"] += len(moved)
    counts["moved_told"] += sum(known[k] in told["moved"] for k in moved)
    taken = {known[k] for k in change["taken"] if k in known}
    counts["taken"] += len(taken)
    counts["taken_told"] += len(taken & absent)
    counts["missing_told"] += len(newly)
    # Right also of what was taken in an earlier session: only what is still there is wrong.
    counts["missing_right"] += len(newly - {known[k] for k in stayed})
    wrong = newly & {known[k] for k in stayed} - {known[k] for k in moved}
    counts["missing_wrong"] += len(wrong)


def _apart(a: Box3D, b: Box3D) -> bool:
    gap = np.abs(np.subtract(a.center, b.center)) - (np.array(a.size) + b.size) / 2
    return bool(gap.max() > -1e-6 and (gap[2] > -1e-6 or gap[:2].max() > 0.15))
