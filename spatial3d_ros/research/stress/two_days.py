"""Two days of a robot in a home: killed on the first, asked about the changes on the second.

Two generated rooms side by side are recorded on two days; the robot is carried from one to the
other. Before the second day one object is taken and another one moved to the other room. The bags
are played into a grounding node with a memory folder, which is killed with SIGKILL after each day.
The questions of the second day are asked over DDS, by an agent (MCP) and in the browser (HTTP)
while the node runs, and by an agent of the saved map after it was killed, each from a process of
its own. Which objects change is decided after the first day, among those that the memory knows by
their right names and that many views showed.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from spatial3d_ros.bags.bag import Bag
from spatial3d_ros.bags.reader import DEFAULTS
from spatial3d_ros.bags.writer import write_bag
from spatial3d_ros.demo.node_queries import node_arguments
from spatial3d_ros.demo.processes import DEMO, NodeGroup, free_port, require_ros, ros_environment
from spatial3d_ros.english import plural
from spatial3d_ros.geometry.camera import Camera
from spatial3d_ros.memory.maps import change_map, read_map
from spatial3d_ros.memory.records import MemoryObject
from spatial3d_ros.model.checkpoint import CONFIG, model_folder
from spatial3d_ros.model.config import load_config
from spatial3d_ros.research.rooms.catalog import catalog_of
from spatial3d_ros.research.rooms.recorded_rooms import rendered_frames
from spatial3d_ros.research.stress import memory_channels as channels
from spatial3d_ros.research.stress.two_day_home import (
    NEAR_M,
    Change,
    Place,
    choose_changes,
    generate_home,
    next_day,
)
from spatial3d_ros.scene.frame import Frame
from spatial3d_ros.visualization import plots

CAMERA = Camera(320, 240, 262.5, 262.5, 159.5, 119.5)
WAIT_S = 600.0  # for the node, on an overloaded computer
SEEN_PIXELS = 40  # of 320 x 240
NODE = "grounding_node"
LISTED = 34  # names in a column beside a picture


@dataclass(frozen=True)
class Asked:
    """A question; by channel, its answers and whether they are right."""

    kind: str
    text: str
    answers: dict[str, str]
    right: dict[str, bool]


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

    @property
    def right(self) -> dict[str, int]:
        """Right answers by channel."""
        names = self.asked[0].right
        return {name: sum(question.right[name] for question in self.asked) for name in names}

    def to_dict(self) -> dict[str, object]:
        """As JSON types."""
        return {**asdict(self), "right": self.right}


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
    """Runs both days; recordings, logs, `day1.png`, `day2.png`, `page.png` (where there is a
    browser) and `story.json` go to `folder`.

    seconds: of the recording of each room. speed: of playing the recordings.

    Raises NotAvailableError without ROS or an extra, NotFoundError if the memory knows too few
    objects.
    """
    require_ros()
    memory = folder / "memory"
    shutil.rmtree(memory, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    home = generate_home(seed, catalog_of(load_config(model_folder(model) / CONFIG).names.classes))
    bags = [folder / "day1.mcap", folder / "day2.mcap"]
    say("recording day 1")
    views = _record(bags[0], home, round(seconds * rate_hz), rate_hz)
    say("day 1: the robot looks around and is killed")
    visit = partial(_visit, folder, memory, model, speed)
    visit(bags[0], [{"text": "how many things are there?", "kind": "ask"}])
    first = [o for o in read_map(memory).objects() if o.present]
    taken, moved = choose_changes(home, views, first)
    opened = change_map(memory)
    opened.set_regions([place.region for place in home])
    opened.close()
    remembered = sum(o.present for o in read_map(memory).objects())
    changed = next_day(home, taken, moved)
    say("recording day 2")
    _record(bags[1], changed, round(seconds * rate_hz), rate_hz)
    questions = _questions(home, taken, moved)
    say(f"day 2: the {taken.item.category} was taken, the {moved.item.category} moved")
    replies = visit(bags[1], questions, partial(_other_channels, folder, questions))
    say("the node was killed: an agent asks the saved map")
    replies["saved map"] = channels.ask_as_agent([str(memory)], questions, ros_environment())
    asked = tuple(
        Asked(
            question["name"],
            question["text"],
            {name: given[k]["answer"] or given[k]["message"] for name, given in replies.items()},
            {
                name: _right(question["name"], given[k], home, taken, moved)
                for name, given in replies.items()
            },
        )
        for k, question in enumerate(questions)
    )
    last = [o for o in read_map(memory).objects() if o.state not in ("deleted", "merged")]
    _draw(folder / "day1.png", first, home, "day 1")
    _draw(folder / "day2.png", last, changed, "day 2")
    story = Story(len(first), remembered, taken.item.category, moved.item.category, asked)
    (folder / "story.json").write_text(json.dumps(story.to_dict(), indent=1))
    return story


def _record(bag: Path, home: Sequence[Place], count: int, rate_hz: float) -> list[np.ndarray]:
    """A bag with `count` frames of each room; by room, the frames that show each object (n,)."""
    views: list[np.ndarray] = []

    def frames() -> Iterator[Frame]:
        for number, place in enumerate(home):
            later = round(number * count * 1e9 / rate_hz)
            views.append(np.zeros(len(place.room.objects), int))
            for frame, pixels in rendered_frames(
                place.room, place.room.seed, count, rate_hz, camera=CAMERA, processes=1
            ):
                views[-1] += pixels >= SEEN_PIXELS
                pose = frame.world_T_camera.copy()
                pose[:2, 3] += place.center
                yield replace(frame, stamp_ns=frame.stamp_ns + later, world_T_camera=pose)

    write_bag(bag, frames(), overwrite=True)
    return views


Replies = dict[str, list[dict[str, Any]]]


def _visit(
    folder: Path,
    memory: Path,
    model: str,
    speed: float,
    bag: Path,
    questions: list[dict[str, Any]],
    then: Callable[[NodeGroup], Replies] = lambda _: {},
) -> Replies:
    """Plays a bag into a node, asks it over DDS, then by other channels, and kills it."""
    asked, answers = folder / f"{bag.stem}.questions.json", folder / f"{bag.stem}.answers.json"
    asked.write_text(json.dumps(questions))
    answers.unlink(missing_ok=True)
    with Bag(bag) as opened:
        duration = opened.duration_s / speed
    with NodeGroup(folder / f"logs_{bag.stem}") as nodes:
        arguments = node_arguments(bag, DEFAULTS.topics(bag), model)
        node = nodes.start(
            NODE, *arguments, "-p", f"memory_folder:={memory}", "-p", "memory_pictures:=1"
        )
        nodes.start(
            "bag_player", str(bag), "--rate", str(speed), "--wait", str(WAIT_S), package=DEMO
        )
        nodes.start(
            "query_client", str(asked), str(answers), "--settle", f"{duration + 4:.1f}",
            "--timeout", str(WAIT_S),
            package=DEMO,
        )  # fmt: skip
        nodes.wait("query_client", WAIT_S + duration + 30.0 * len(questions) + 300.0)
        replies = {"DDS": json.loads(answers.read_text())["answers"], **then(nodes)}
        node.kill()
        node.wait()
    return replies


def _other_channels(folder: Path, questions: list[dict[str, Any]], nodes: NodeGroup) -> Replies:
    """An agent and the page ask the running node; the page is drawn where there is a browser."""
    port = free_port()
    nodes.start("web_node", "--ros-args", "-p", f"port:={port}")
    address = f"http://127.0.0.1:{port}"
    replies = {
        "agent": channels.ask_as_agent(["--node", NODE], questions, nodes.environment),
        "browser": channels.ask_as_page(address, questions),
    }
    moved = next(q for q in questions if q["name"] == "moved")
    channels.picture_of_page(address, moved["text"], moved["id"], folder / "page.png")
    return replies


def _questions(home: Sequence[Place], taken: Change, moved: Change) -> list[dict[str, Any]]:
    """As `query_client` takes them, with the name of what they ask for."""
    lost, carried = taken.item.category, moved.item.category
    target = home[(moved.place + 1) % len(home)].name
    asked = [
        ("last_seen", f"where did you last see the {lost}?"),
        ("when_seen", f"when did you last see the {lost}?"),
        ("changed", "what has changed since I left?"),
        ("missing", f"what is missing from the {home[taken.place].name}?"),
        ("moved", f"has the {carried} been moved?"),
        ("region_of", f"which room is the {carried} in?"),
        ("in_region", f"how many {plural(carried)} are in the {target}?"),
        ("history", f"history of object {moved.record.id}"),
    ]
    return [
        {
            "name": name, "text": text, "kind": "history" if name == "history" else "ask",
            "id": moved.record.id,
        }
        for name, text in asked
    ]  # fmt: skip


def _right(
    name: str, reply: Mapping[str, Any], home: Sequence[Place], taken: Change, moved: Change
) -> bool:
    text, lost, carried = reply["answer"].lower(), taken.item.category, moved.item.category
    match name:
        case "last_seen":
            centers = [o["center"] for o in reply["objects"]]
            return any(math.dist(center, taken.record.box.center) < NEAR_M for center in centers)
        case "when_seen":
            return "ago" in text and lost in text
        case "changed":
            return f"the {carried} (#{moved.record.id}) moved" in text and lost in text
        case "missing":
            return lost in text and "missing" in text and "nothing" not in text
        case "moved":
            return text.startswith("yes")
        case "region_of":
            return home[(moved.place + 1) % len(home)].name in text
        case "in_region":
            return text.startswith("there is 1 ")
        case _:
            return "moved by" in text


def _draw(path: Path, objects: Sequence[MemoryObject], home: Sequence[Place], title: str) -> None:
    """The map from above: the memory in colour by state, the true boxes in grey."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 6))
    axes = figure.subplots()
    axes.set(aspect="equal", title=title)
    for place in home:
        axes.fill(*np.array(place.region.corners).T, fill=False, edgecolor="0.5", zorder=1)
        for item in place.objects:
            axes.fill(*plots.footprint(item.box).T, color="0.85", zorder=1)
    colors = {"confirmed": "tab:green", "remembered": "tab:blue"}
    for row, known in enumerate(objects):
        color = colors.get(known.state, "tab:red")
        axes.fill(*plots.footprint(known.box).T, fill=False, edgecolor=color, lw=1.5, zorder=2)
        axes.annotate(f"{known.id}", known.box.center[:2], fontsize=7, color=color, zorder=3)
        name = f"{known.id} {known.label}" + ("" if known.present else f" ({known.state})")
        place = (1.01 + 0.15 * (row // LISTED), 0.98 - row % LISTED / LISTED)
        axes.annotate(name, place, xycoords="axes fraction", fontsize=7, color=color)
    figure.savefig(path, dpi=110, bbox_inches="tight")
