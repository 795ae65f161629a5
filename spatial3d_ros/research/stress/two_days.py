"""Two days of a robot in one room: killed on the first, asked about the changes on the second.

A generated room is recorded twice, on the second day without one object and with another one moved.
The bags are played into a grounding node with a memory folder; it is killed with SIGKILL after the
first day. On the second day a client in a process of its own asks the seven kinds of questions
about time and regions. Which objects change is decided after the first day, among those that the
memory knows by their right names.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from spatial3d_ros.bags.bag import Bag
from spatial3d_ros.bags.reader import DEFAULTS
from spatial3d_ros.demo.node_queries import node_arguments
from spatial3d_ros.demo.processes import DEMO, NodeGroup, require_ros
from spatial3d_ros.errors import NotFoundError
from spatial3d_ros.geometry.box import Box3D, shared_volume
from spatial3d_ros.geometry.camera import Camera
from spatial3d_ros.memory.maps import change_map, read_map
from spatial3d_ros.memory.records import MemoryObject
from spatial3d_ros.memory.regions import Region
from spatial3d_ros.model.checkpoint import CONFIG, model_folder
from spatial3d_ros.model.config import load_config
from spatial3d_ros.research.rooms.catalog import Room, RoomObject, catalog_of
from spatial3d_ros.research.rooms.generator import generate_room
from spatial3d_ros.research.rooms.recorded_rooms import record_room
from spatial3d_ros.visualization import plots

CAMERA = Camera(320, 240, 262.5, 262.5, 159.5, 119.5)
REGION = "living room"
NEAR_M = 0.5
WAIT_S = 600.0  # for the node, on an overloaded computer
MIN_MOVE_M = 1.0


@dataclass(frozen=True)
class Asked:
    """A question, its answer and whether it is right."""

    kind: str
    text: str
    answer: str
    right: bool


@dataclass(frozen=True)
class Story:
    """What happened: objects known after the first day and at the start of the second one, which
    were taken and moved, and the questions.
    """

    known: int
    remembered: int
    taken: str
    moved: str
    asked: tuple[Asked, ...]

    def to_dict(self) -> dict[str, object]:
        """As JSON types, with the number of right answers."""
        return {**asdict(self), "right": sum(question.right for question in self.asked)}


def run_two_days(
    folder: Path,
    seed: int = 850_035,
    *,
    seconds: float = 16.0,
    rate_hz: float = 4.0,
    speed: float = 0.5,
    model: str = "tiny",
    say: Callable[[str], None] = print,
) -> Story:
    """Runs both days; recordings, logs, `day1.png`, `day2.png` and answers go to `folder`.

    speed: of playing the bags.

    Raises NotAvailableError without ROS, NotFoundError if the memory knows too few objects.
    """
    require_ros()
    memory = folder / "memory"
    shutil.rmtree(memory, ignore_errors=True)
    catalog = catalog_of(load_config(model_folder(model) / CONFIG).names.classes)
    room = generate_room(seed, catalog=catalog)
    day = [folder / "day1.mcap", folder / "day2.mcap"]

    def record(number: int, content: Room) -> None:
        say(f"recording day {number + 1}")
        record_room(
            day[number], seed, seconds=seconds, rate_hz=rate_hz, room=content, camera=CAMERA,
            processes=1, overwrite=True,
        )  # fmt: skip

    folder.mkdir(parents=True, exist_ok=True)
    record(0, room)
    say("day 1: the robot looks around and is killed")
    greeting = [{"text": "how many things are there?", "kind": "ask"}]
    _visit(folder, day[0], memory, model, speed, greeting)
    first = [o for o in read_map(memory).objects() if o.present]
    taken, moved = _changes(room, first)
    second = _second_day(room, taken, moved)
    low, high = (np.array([*room.size[:2]]) * side for side in (-0.5, 0.5))
    _add_region(memory, Region.from_box(REGION, (*low, -1.0), (*high, 4.0)))
    remembered = sum(o.present for o in read_map(memory).objects())
    record(1, second)
    questions = _questions(taken[0], moved[0], first)
    say(f"day 2: the {taken[0].category} was taken, the {moved[0].category} moved")
    replies = _visit(
        folder,
        day[1],
        memory,
        model,
        speed,
        [{"text": text, "kind": "ask"} for _, text in questions],
    )
    asked = tuple(
        Asked(kind, text, reply["answer"] or reply["message"], _right(kind, reply, taken, moved))
        for (kind, text), reply in zip(questions, replies, strict=True)
    )
    last = [o for o in read_map(memory).objects() if o.state not in ("deleted", "merged")]
    _draw(folder / "day1.png", first, room, "day 1")
    _draw(folder / "day2.png", last, second, "day 2")
    story = Story(len(first), remembered, taken[0].category, moved[0].category, asked)
    (folder / "story.json").write_text(json.dumps(story.to_dict(), indent=1))
    return story


def _visit(
    folder: Path,
    bag: Path,
    memory: Path,
    model: str,
    speed: float,
    questions: list[dict[str, str]],
) -> list[dict]:
    """Plays a bag into a node, asks, and kills the node; the replies."""
    asked, answers = folder / f"{bag.stem}.questions.json", folder / f"{bag.stem}.answers.json"
    asked.write_text(json.dumps(questions))
    answers.unlink(missing_ok=True)
    with Bag(bag) as opened:
        duration = opened.duration_s / speed
    with NodeGroup(folder / f"logs_{bag.stem}") as nodes:
        arguments = node_arguments(bag, DEFAULTS.topics(bag), model)
        node = nodes.start(
            "grounding_node", *arguments, "-p", f"memory_folder:={memory}",
            "-p", "memory_pictures:=1",
        )  # fmt: skip
        nodes.start(
            "bag_player", str(bag), "--rate", str(speed), "--wait", str(WAIT_S), package=DEMO
        )
        nodes.start(
            "query_client", str(asked), str(answers), "--settle", f"{duration + 4:.1f}",
            "--timeout", str(WAIT_S),
            package=DEMO,
        )  # fmt: skip
        nodes.wait("query_client", WAIT_S + duration + 30.0 * len(questions) + 300.0)
        node.kill()
        node.wait()
    return json.loads(answers.read_text())["answers"]


def _matched(item: RoomObject, known: Sequence[MemoryObject]) -> MemoryObject | None:
    """The one object of the memory that is this one, by name and place."""
    same = [
        o for o in known
        if o.label == item.category and math.dist(o.box.center, item.box.center) < NEAR_M
    ]  # fmt: skip
    return same[0] if len(same) == 1 else None


Change = tuple[RoomObject, MemoryObject]


def _changes(room: Room, known: Sequence[MemoryObject]) -> tuple[Change, Change]:
    """Which object is taken and which is moved: loose ones, if possible the only ones of a name."""
    loads = {item.support for item in room.objects}
    names = [item.category for item in room.objects] + [o.label for o in known]
    able: list[Change] = []
    for item in room.objects:
        record = _matched(item, known)
        loose = item.id not in loads and item.support < 0 and item.category not in _FIXED
        if record and loose:
            able.append((item, record))
    able.sort(key=lambda pair: (names.count(pair[0].category), pair[0].box.volume))
    if len(able) < 2:
        raise NotFoundError(
            f"the memory knows {len(able)} loose objects of the room by their names, two are "
            "needed; choose another seed"
        )
    return able[0], able[1]


_FIXED = ("door", "window", "picture", "rug", "curtain", "mirror", "sink", "radiator")


def _second_day(room: Room, taken: Change, moved: Change) -> Room:
    """The room without one object, and with another one at a free place."""
    others = [o for o in room.objects if o.id not in (taken[0].id, moved[0].id)]
    box = _free_place(room, moved[0].box, [o.box for o in (*others, taken[0])])
    kept = [*others, replace(moved[0], box=box)]
    number = {o.id: k for k, o in enumerate(kept)}
    objects = tuple(
        replace(o, id=number[o.id], support=number.get(o.support, o.support)) for o in kept
    )
    return Room(room.seed, room.size, objects)


def _free_place(room: Room, box: Box3D, others: Sequence[Box3D]) -> Box3D:
    rng = np.random.default_rng(room.seed)
    half = np.array(room.size[:2]) / 2 - np.array(box.size[:2]) / 2 - 0.3
    for _ in range(2000):
        x, y = rng.uniform(-half, half)
        placed = replace(box, center=(float(x), float(y), box.center[2]))
        wide = replace(placed, size=(box.size[0] + 0.3, box.size[1] + 0.3, box.size[2]))
        if math.dist(placed.center, box.center) > MIN_MOVE_M and not any(
            shared_volume(wide, other) > 0 for other in others
        ):
            return placed
    raise NotFoundError("the room has no free place for the object; choose another seed")


def _add_region(memory: Path, region: Region) -> None:
    opened = change_map(memory)
    opened.set_regions([region])
    opened.close()


def _questions(
    taken: RoomObject, moved: RoomObject, known: Sequence[MemoryObject]
) -> list[tuple[str, str]]:
    return [
        ("last_seen", f"where did you last see the {taken.category}?"),
        ("when_seen", f"when did you last see the {taken.category}?"),
        ("changed", "what has changed since I left?"),
        ("missing", f"what is missing from the {REGION}?"),
        ("moved", f"has the {moved.category} been moved?"),
        ("region_of", f"which room is the {moved.category} in?"),
        ("in_region", f"how many {moved.category}s are in the {REGION}?"),
    ]


def _right(kind: str, reply: dict, taken: Change, moved: Change) -> bool:
    text, (lost, record), name = reply["answer"].lower(), taken, moved[0].category
    place = "({:.2f}, {:.2f}".format(*record.box.center[:2])
    match kind:
        case "last_seen":
            centers = [o["center"] for o in reply["objects"]]
            near = any(math.dist(center, record.box.center) < NEAR_M for center in centers)
            return near or place in text
        case "when_seen":
            return "ago" in text and lost.category in text
        case "changed":
            return name in text and lost.category in text
        case "missing":
            return lost.category in text and "missing" in text and "nothing" not in text
        case "moved":
            return text.startswith("yes")
        case "region_of":
            return REGION in text
        case _:
            return text.startswith("there is 1 ")


def _draw(path: Path, objects: Sequence[MemoryObject], room: Room, title: str) -> None:
    """The map from above: the memory in colour by state, the true boxes in grey."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 7))
    axes = figure.subplots()
    half_x, half_y = np.array(room.size[:2]) / 2 + 0.3
    axes.set(xlim=(-half_x, half_x), ylim=(-half_y, half_y), aspect="equal", title=title)
    for item in room.objects:
        axes.fill(*plots.footprint(item.box).T, color="0.85", zorder=1)
    colors = {"confirmed": "tab:green", "remembered": "tab:blue"}
    for known in objects:
        color = colors.get(known.state, "tab:red")
        axes.fill(*plots.footprint(known.box).T, fill=False, edgecolor=color, lw=1.5, zorder=2)
        note = f"{known.label} #{known.id}" + ("" if known.present else f" ({known.state})")
        axes.annotate(note, known.box.center[:2], fontsize=7, ha="center", color=color, zorder=3)
    figure.savefig(path, dpi=110, bbox_inches="tight")
