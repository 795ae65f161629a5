"""The demo: a recorded room is played into the nodes, questions are asked, pictures are drawn.

Everything that talks ROS runs in its own process; here is only who starts when, and what came out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from spatial3d_ros.data.bags import bag_topics, find_topics, read_bag
from spatial3d_ros.data.recorded_rooms import RecordedRoom, load_recorded_room, record_room
from spatial3d_ros.errors import BagError
from spatial3d_ros.evaluation.asking import DEMO_KINDS, Reply, ask_about, row_of
from spatial3d_ros.evaluation.pictures import Album, named_boxes
from spatial3d_ros.evaluation.processes import require_ros
from spatial3d_ros.evaluation.report import Row, right_count, write_answers, write_page
from spatial3d_ros.evaluation.through_ros import ask_nodes
from spatial3d_ros.scene.frame import Frame

SECONDS, RATE_HZ = 15.0, 10.0
ASK_BY_ACTION = (3, 5)  # positions of the questions asked through the action; the rest by services
NEEDED = 0.75  # share of right answers for the demo to have worked

PICTURED_FRAMES = 48

Say = Callable[[str], None]


@dataclass(frozen=True)
class DemoResult:
    """Rows of the report, and whether the demo worked: all answered and, where truth is known,
    three quarters right."""

    rows: tuple[Row, ...]
    worked: bool
    page: Path


def run_demo(
    out: Path,
    *,
    bag: Path | None = None,
    questions: list[str] | None = None,
    seed: int = 900_015,
    model: str = "tiny",
    say: Say = print,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> DemoResult:
    """Play a bag (or a generated room) into the nodes, ask, and write the report into `out`.

    Of a bag with a truth file beside it the questions are made up and judged; of any other the
    given `questions` are asked, and only reported. Raises NotAvailableError without ROS, BagError.
    """
    require_ros()
    out.mkdir(parents=True, exist_ok=True)
    room = _room(out, bag, seed, say, progress)
    bag = room.bag if room else Path(bag or "")
    made = ask_about(room.seen(), seed, DEMO_KINDS, varied=True) if room and not questions else []
    texts = [q.text for q in made] or questions or []
    kinds = [q.kind for q in made] or ["unknown"] * len(texts)
    asked = [
        {
            "text": text,
            "kind": kind,
            "via": "action" if kind == "unknown" or k in ASK_BY_ACTION else "service",
        }
        for k, (text, kind) in enumerate(zip(texts, kinds, strict=True))
    ]
    replies, scene = ask_nodes(bag, asked, out, say, model)
    if made and room:
        rows = [
            row_of(q, room.room, Reply.from_data(data), data["via"])
            for q, data in zip(made, replies, strict=True)
        ]
    else:
        rows = [_unjudged(data) for data in replies]
    say("drawing the pictures")
    page = _write(out, bag, rows, scene, room)
    answered = all(data["success"] for data in replies)
    return DemoResult(
        tuple(rows), answered and (not made or right_count(rows) >= NEEDED * len(rows)), page
    )


def _room(
    out: Path, bag: Path | None, seed: int, say: Say, progress: Callable[[int, int], None]
) -> RecordedRoom | None:
    """The recorded room to play: the one given, the one of an earlier run, or a new one."""
    if bag is not None:
        try:
            return load_recorded_room(bag)
        except BagError:
            return None  # a recording of the real world
    bag = out / f"room_{seed}.mcap"
    try:
        room = load_recorded_room(bag)
        say(f"using {bag} of an earlier run")
        return room
    except BagError:
        say(f"filming room {seed}, never seen in training ({SECONDS * RATE_HZ:.0f} frames)")
        return record_room(
            bag, seed, seconds=SECONDS, rate_hz=RATE_HZ, progress=progress, overwrite=True
        )


def _unjudged(data: dict[str, Any]) -> Row:
    reply = Reply.from_data(data)
    kind = "distance" if reply.metres is not None else "grounding"
    count = 2 if kind == "distance" else 1
    return Row(
        question=data["text"],
        kind=kind,
        answer=reply.text,
        metres=reply.metres,
        latency_ms=reply.latency_ms,
        via=data["via"],
        boxes=() if reply.no_target else reply.boxes[:count],
    )


def _write(
    out: Path, bag: Path, rows: list[Row], scene: dict[str, Any], room: RecordedRoom | None
) -> Path:
    objects = named_boxes(scene["objects"])
    truth = [item.box for item in room.seen()] if room else []
    album = Album(_some_frames(bag), objects, truth)
    overview = album.overview(out / "map.png")
    pictures = [album.question(out / f"question_{k}.png", row) for k, row in enumerate(rows, 1)]
    write_answers(out / "answers.json", rows)
    page = out / "index.html"
    facts = {"objects in the map": str(len(objects)), "views in memory": str(scene["views"])}
    write_page(
        page, rows, pictures, overview, title=f"What the robot found in {bag.stem}", facts=facts
    )
    return page


def _some_frames(bag: Path) -> list[Frame]:
    """Frames spread over the whole recording, few enough to keep in memory."""
    count = bag_topics(bag)[find_topics(bag).rgb][1]
    return list(islice(read_bag(bag), 0, None, max(1, count // PICTURED_FRAMES)))
