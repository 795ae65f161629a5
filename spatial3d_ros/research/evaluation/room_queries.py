"""Questions about a recorded room, the judging of replies, and the queries file.

Replies of the engine and of a node have the same form and are judged alike.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from spatial3d_ros.bags.bag import SUFFIXES
from spatial3d_ros.demo.report import Row
from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.research.evaluation.metrics.judging import (
    Verdict,
    judge_distance,
    judge_grounding,
    match_box,
)
from spatial3d_ros.research.language.questions import Question, make_questions
from spatial3d_ros.research.rooms.catalog import Room, RoomObject
from spatial3d_ros.tasks.reply import Reply

if TYPE_CHECKING:
    from spatial3d_ros.research.language.layout_instructions import LayoutQuestion

DEMO_KINDS = (
    "attribute",
    "attribute",
    "relation",
    "relation",
    "relation",
    "size",
    "distance",
    "none",
    "appearance",
    "appearance",
)
# For a whole room; a room has fewer if it runs out of a kind.
ROOM_KINDS = (
    *("attribute",) * 4, *("size",) * 3, *("relation",) * 5, *("distance",) * 2, *("none",) * 2,
    *("appearance",) * 3,
)  # fmt: skip
MIN_IOU = 0.25  # of a right answer
TOLERANCE_M = 0.25


def draw_questions(
    objects: Sequence[RoomObject],
    seed: int,
    kinds: Sequence[str],
    *,
    varied: bool = False,
    split: str = "test",
) -> list[Question]:
    """One question for each entry of `kinds`, in that order and without repetition.

    A kind of which the room has no more questions is left out. varied: prefer different subkinds
    over the proportions in which they are drawn. split: of the sentences, by default held-out.
    """
    rng = np.random.default_rng((seed, 29))
    drawn: dict[str, list[Question]] = {}
    for kind in dict.fromkeys(kinds):
        count = kinds.count(kind)
        made = make_questions(
            objects, rng, 4 * count if varied else count, split=split, kinds=[kind]
        )
        met: Counter[str] = Counter()
        rank = {}
        for question in made:
            rank[question] = met[question.subkind]
            met[question.subkind] += 1
        drawn[kind] = sorted(made, key=rank.__getitem__) if varied else made
    return [drawn[kind].pop(0) for kind in kinds if drawn[kind]]


def judge(question: Question, room: Room, reply: Reply) -> Verdict:
    """Judge a reply by IoU with all true boxes of the room, and a distance by metres."""
    truth = np.array([o.box.array() for o in room.objects])
    if question.kind == "distance":
        found = [match_box(box, truth, ()).object_id for box in reply.boxes[:2]]
        return judge_distance(
            reply.metres,
            question.metres or 0.0,
            tolerance_m=TOLERANCE_M,
            ends_right=set(found) == {*question.targets, *question.second},
            subkind=question.subkind,
            latency_ms=reply.latency_ms,
            uncertainty_m=reply.uncertainty_m,
        )
    answer = None if reply.no_target or not reply.boxes else reply.boxes[0]
    return judge_grounding(
        question.kind,
        answer,
        truth,
        question.targets,
        subkind=question.subkind,
        answered=reply.success,
        latency_ms=reply.latency_ms,
    )


def report_row(question: Question, room: Room, reply: Reply, via: str = "") -> Row:
    """The row of a report; a right box must also have an IoU of MIN_IOU with its target."""
    verdict = judge(question, room, reply)
    right = verdict.right and (verdict.iou is None or verdict.iou >= MIN_IOU)
    ends = (*question.targets, *question.second)
    if question.kind == "distance":
        truth = f"{question.metres:.2f} m"
        boxes = reply.boxes[:2]
    else:
        truth = question.answer if ends else "nothing in the room matches"
        boxes = () if reply.no_target else reply.boxes[:1]
    return Row(
        question=question.text,
        kind=question.kind,
        answer=reply.text,
        truth=truth,
        right=right,
        iou=verdict.iou,
        error_m=verdict.error_m,
        metres=reply.metres,
        latency_ms=reply.latency_ms,
        via=via,
        boxes=boxes,
        truth_boxes=tuple(room.objects[k].box for k in ends),
    )


def queries_file(bag: Path) -> Path:
    """Path of the queries file of a bag: room.mcap -> room.queries.yaml."""
    return bag.with_name(f"{bag.stem if bag.suffix in SUFFIXES else bag.name}.queries.yaml")


def write_queries(
    path: Path,
    questions: Sequence[Question],
    room: Room,
    edits: Sequence[tuple[LayoutQuestion, Box3D]] = (),
) -> None:
    """Write the queries file that `spatial3d evaluate BAG --queries` reads: questions with answers,
    and edits with one right outcome each (for a removal the removed box).
    """
    queries = [
        {
            "id": f"q{k}",
            "kind": "distance" if question.kind == "distance" else "ground",
            "at": "end",
            "text": question.text,
            "expect": _expected(question, room),
        }
        for k, question in enumerate(questions, 1)
    ]
    queries += [
        {
            "id": f"edit{k}",
            "kind": "layout",
            "at": "end",
            "text": question.text,
            "expect": _expected_edit(question, outcome, room),
        }
        for k, (question, outcome) in enumerate(edits, 1)
    ]
    data = {"frame_id": "map", "queries": queries}
    path.write_text(yaml.safe_dump(data, sort_keys=False, default_flow_style=None, width=1000))


def _expected(question: Question, room: Room) -> dict[str, Any]:
    if question.kind == "distance":
        return {"distance": round(question.metres or 0.0, 4), "measure": "center"}
    if not question.targets:
        return {"no_target": True}
    return _box_fields(room.objects[question.targets[0]].box)


def _expected_edit(question: LayoutQuestion, outcome: Box3D, room: Room) -> dict[str, Any]:
    """The box that changes, and its box after the edit if only one is right."""
    expected: dict[str, Any] = {"possible": True}
    if question.targets:
        expected["before"] = _box_fields(room.objects[question.targets[0]].box)
    if question.metres is not None or question.action in ("swap", "turn"):
        expected["after"] = _box_fields(Box3D.from_bounds(*outcome.bounds()))
    return expected


def _box_fields(box: Box3D) -> dict[str, list[float]]:
    return {name: [round(float(v), 4) for v in getattr(box, name)] for name in ("center", "size")}
