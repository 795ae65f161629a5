"""The demo: a recorded room is played into the nodes, questions are asked, pictures are drawn.

Everything that talks ROS runs in its own process; here is only who starts when, and what came out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from spatial3d_ros.data.bags.reader import bag_topics, find_topics, read_bag
from spatial3d_ros.data.bags.recorded_rooms import RecordedRoom, load_recorded_room, record_room
from spatial3d_ros.errors import BagError
from spatial3d_ros.evaluation.asking import Reply
from spatial3d_ros.evaluation.demo_questions import DemoQuestion, demo_questions
from spatial3d_ros.evaluation.pictures import Album, named_boxes
from spatial3d_ros.evaluation.processes import require_ros
from spatial3d_ros.evaluation.report import Row, right_count, write_answers, write_page
from spatial3d_ros.evaluation.through_ros import ask_nodes
from spatial3d_ros.model.checkpoint import CONFIG, model_folder
from spatial3d_ros.model.config import load_config
from spatial3d_ros.scene.frame import Frame

SECONDS, RATE_HZ = 15.0, 10.0
BY_ACTION = 3  # every third question goes through the action; the rest to services
NEEDED = 0.6
"""Share of right answers for the demo to have worked. Of all kinds of questions together three of
four are right; in one run of seventeen it is one or two more or less, because the map is another at
every run.
"""

IN_WORDS = {"ask": "questions answered in words", "caption": "captions"}
PICTURED_FRAMES = 48

Say = Callable[[str], None]


@dataclass(frozen=True)
class DemoResult:
    """Rows of the report, and whether the demo worked: where truth is known, NEEDED of it right (a
    reason instead of an answer is wrong), else all answered. `left_out` are tasks that the weights
    were not trained for.
    """

    rows: tuple[Row, ...]
    worked: bool
    page: Path
    left_out: tuple[str, ...] = ()


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

    Of a bag with a truth file beside it the questions are made up and judged: every task that the
    weights were trained for. Of any other the given `questions` are asked, and only reported.
    Raises NotAvailableError without ROS, BagError, and ConfigError for an unknown model.
    """
    require_ros()
    trained = load_config(model_folder(model) / CONFIG).tasks
    out.mkdir(parents=True, exist_ok=True)
    room = _room(out, bag, seed, say, progress)
    bag = room.bag if room else Path(bag or "")
    made = demo_questions(room, seed, trained) if room and not questions else []
    left_out = tuple(task for task in IN_WORDS if made and task not in trained)
    if left_out:
        say(_not_trained(model, left_out))
    asked = _asked(made, questions or [])
    replies, scene = ask_nodes(bag, asked, out, say, model)
    if made:
        rows = [
            q.row(Reply.from_data(data), data["via"]) for q, data in zip(made, replies, strict=True)
        ]
    else:
        rows = [_unjudged(data) for data in replies]
    say("drawing the pictures")
    notes = {"not asked": _not_trained(model, left_out)} if left_out else {}
    page = _write(out, bag, rows, scene, room, notes)
    if made:
        worked = right_count(rows) >= NEEDED * len(rows)
    else:
        worked = all(data["success"] for data in replies)
    return DemoResult(tuple(rows), worked, page, left_out)


def _asked(made: Sequence[DemoQuestion], texts: Sequence[str]) -> list[dict[str, str]]:
    """As the client of the nodes takes them; what is free text goes through the action."""
    asked = [
        {"text": q.text, "kind": q.kind, "via": "service" if k % BY_ACTION else "action"}
        for k, q in enumerate(made, 1)
    ]
    return asked or [{"text": text, "kind": "unknown", "via": "action"} for text in texts]


def _not_trained(model: str, tasks: Sequence[str]) -> str:
    return (
        f"{' and '.join(IN_WORDS[task] for task in tasks)}: the weights of '{model}' were not "
        f"trained for {', '.join(tasks)} (tasks in their {CONFIG})"
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
    count = {"ground": 1, "distance": 2}.get(reply.kind, len(reply.boxes))
    return Row(
        question=data["text"],
        kind=reply.kind or "none",
        answer=reply.text,
        metres=reply.metres,
        latency_ms=reply.latency_ms,
        via=data["via"],
        boxes=() if reply.no_target else reply.boxes[:count],
        after_boxes=reply.after,
        failed=not reply.success,
    )


def _write(
    out: Path,
    bag: Path,
    rows: list[Row],
    scene: dict[str, Any],
    room: RecordedRoom | None,
    notes: dict[str, str],
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
        page, rows, pictures, overview, title=f"What the robot found in {bag.stem}", facts=facts,
        notes=notes,
    )  # fmt: skip
    return page


def _some_frames(bag: Path) -> list[Frame]:
    """Frames spread over the whole recording, few enough to keep in memory."""
    count = bag_topics(bag)[find_topics(bag).rgb][1]
    return list(islice(read_bag(bag), 0, None, max(1, count // PICTURED_FRAMES)))
