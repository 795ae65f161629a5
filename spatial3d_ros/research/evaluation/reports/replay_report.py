"""Report of a bag replay: answers and truth as JSON, a terminal table and an HTML page."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from spatial3d_ros.demo.explanation import explain_first
from spatial3d_ros.demo.figures import FigureWriter, named_boxes
from spatial3d_ros.demo.report import BEFORE, Row, answers_table, explain_command, write_page
from spatial3d_ros.geometry.box import Box3D, iou
from spatial3d_ros.research.evaluation.metrics.judging import (
    Verdict,
    distance_scores,
    grounding_scores,
    judge_distance,
    latency_scores,
)
from spatial3d_ros.research.evaluation.metrics.object_map import LabelledBox, MapScores
from spatial3d_ros.research.evaluation.queries import (
    KINDS,
    AskQuery,
    DistanceQuery,
    ExpectedEdit,
    GroundQuery,
    LayoutQuery,
    Query,
)
from spatial3d_ros.research.evaluation.replay import QueryResult, ReplayResult
from spatial3d_ros.research.evaluation.room_queries import MIN_IOU, TOLERANCE_M
from spatial3d_ros.research.evaluation.settings import weights_version
from spatial3d_ros.storage import write_whole
from spatial3d_ros.tasks.reply import Reply

DIGITS = 4


@dataclass(frozen=True)
class ReplayReport:
    """The judged answers of a replay, in the order of the queries file."""

    replay: ReplayResult
    rows: tuple[Row, ...]
    verdicts: tuple[Verdict | None, ...]
    results: tuple[QueryResult, ...]

    @classmethod
    def of(cls, replay: ReplayResult) -> ReplayReport:
        """Judge the answers whose truth is known."""
        order = [query.id for query in replay.questions.queries]
        results = sorted(replay.results, key=lambda one: order.index(one.query.id))
        replies = [Reply.from_data(one.reply) for one in results]
        verdicts = [judge(one.query, r) for one, r in zip(results, replies, strict=True)]
        rows = [_row(*parts) for parts in zip(results, replies, verdicts, strict=True)]
        return cls(replay, tuple(rows), tuple(verdicts), tuple(results))

    def json(self) -> dict[str, Any]:
        """The report as plain data; only `latency_ms` and `timing` differ between runs."""
        replay = self.replay
        milliseconds = [a.reply["latency_ms"] for a in self.results if a.reply["success"]]
        report = {
            "bag": str(replay.bag),
            "frame_id": replay.questions.frame_id,
            "settings": replay.settings
            | {
                "weights": weights_version(replay.settings["model"]),
                "right_from_iou": MIN_IOU,
                "right_within_m": TOLERANCE_M,
            },
            "recording": replay.recording,
            "scores": self.scores(),
            "answers": [_entry(*parts) for parts in zip(self.results, self.verdicts, strict=True)],
            "scene": replay.scene,
            **self._map_report(),
            "timing": replay.timing
            | {"question_ms": latency_scores(milliseconds), "stages_ms": self.stages()},
        }
        return _rounded(report)

    def map_scores(self) -> MapScores | None:
        """How the object map at the end agrees with the true objects, if these are known."""
        if self.replay.names is None:
            return None
        return MapScores.of(
            self._found(), [(item.box, item.label) for item in self.replay.names.objects]
        )

    def _map_report(self) -> dict[str, Any]:
        scores = self.map_scores()
        if scores is None or self.replay.names is None:
            return {}
        overlap = zip(self.replay.names.objects, scores.ious, scores.named, strict=True)
        return {
            "object_map": scores.json()
            | {
                "objects": [
                    {"label": item.label, "what": item.what, "iou": iou, "named": named}
                    for item, iou, named in overlap
                ]
            }
        }

    def _found(self) -> list[LabelledBox]:
        """The object map at the end."""
        return [
            (Box3D(tuple(o["center"]), tuple(o["size"]), o.get("yaw", 0.0)), o["label"])
            for o in self.replay.scene["objects"]
        ]

    def scores(self) -> dict[str, dict[str, float | int]]:
        """Scores by kind of question, of the questions with a known truth."""
        groups: dict[str, list[Verdict]] = {kind: [] for kind in KINDS}
        for verdict in self.verdicts:
            if verdict is not None:
                groups[verdict.kind].append(verdict)
        return {
            kind: (distance_scores if kind == "distance" else grounding_scores)(verdicts)
            for kind, verdicts in groups.items()
            if verdicts
        }

    def stages(self) -> dict[str, dict[str, float]]:
        """Median, 95th percentile and maximum of each stage of a question."""
        spent: dict[str, list[float]] = defaultdict(list)
        for result in self.results:
            for stage, milliseconds in result.stages_ms.items():
                if not stage.endswith(BEFORE):
                    spent[stage].append(milliseconds)
        return {stage: latency_scores(values) for stage, values in spent.items()}

    def table(self) -> Table:
        """For the terminal."""
        recording, timing = self.replay.recording, self.replay.timing
        table = answers_table(self.rows, self.replay.bag.name)
        parts = [f"{kind}: {text}" for kind, text in self._summary().items()]
        scores = self.map_scores()
        if scores is not None:
            parts.append(scores.text())
        parts.append(f"{recording['seconds']:.1f} s of recording")
        if "replay_s" in timing:
            parts.append(
                f"{recording['frames']} frames, {recording['keyframes']} kept as views, replayed "
                f"in {timing['replay_s']:.1f} s"
            )
            parts += [f"{count} x {why}" for why, count in recording["left_out"].items()]
        table.caption = "; ".join(parts)
        return table

    def write(self, out: Path, *, pictures: bool = True) -> Path:
        """Write report.json, with `pictures` also report.html and its PNGs, and what the network
        attended to in the first question; returns the main file.

        True boxes of a question are drawn in its picture and in the map.
        """
        out.mkdir(parents=True, exist_ok=True)
        file = out / "report.json"
        write_whole(file, json.dumps(self.json(), indent=2, allow_nan=False) + "\n")
        if not pictures:
            return file
        truth = {box for row in self.rows for box in row.truth_boxes}
        if self.replay.names is not None:
            truth |= {item.box for item in self.replay.names.objects}
        album = FigureWriter(
            self.replay.frames,
            named_boxes(self.replay.scene["objects"]),
            sorted(truth, key=lambda box: box.center),
        )
        overview = album.overview(out / "map.png")
        drawn = [
            album.question(out / f"{_file_name(k, a.query.id)}.png", row)
            for k, (a, row) in enumerate(zip(self.results, self.rows, strict=True), 1)
        ]
        page = out / "report.html"
        rows: Sequence[Row] = self.rows
        if self.replay.state is not None:
            settings = self.replay.settings
            kept = {"model": settings["model"], "device": settings["engine"]["device"]}
            rows = explain_first(rows, self.replay.state, out, **kept)
        write_page(
            page, rows, drawn, overview,
            title=f"Answers about {self.replay.bag.name}", facts=self._facts(),
            notes=self._notes(), summary_table=True,
        )  # fmt: skip
        return page

    def _summary(self) -> dict[str, str]:
        """The scores of each kind as text."""
        lines = {}
        for kind, scores in self.scores().items():
            parts = [f"{scores['right']:.0%} of {scores['n']} right"]
            parts += [f"{k} {scores[k]:.0%}" for k in ("acc@0.25", "acc@0.5") if k in scores]
            if "median_m" in scores:
                parts.append(f"median error {scores['median_m']:.2f} m")
            lines[kind] = ", ".join(parts)
        return lines

    def _facts(self) -> dict[str, str]:
        recording, timing = self.replay.recording, self.replay.timing
        facts = {"objects in the map": str(len(self.replay.scene["objects"]))}
        facts["of recording"] = f"{recording['seconds']:.1f} s"
        if timing.get("replay_s"):
            speed = recording["seconds"] / timing["replay_s"]
            facts["real time"] = f"{speed:.2g} x"
            speed = recording["seconds"] / timing["replay_cpu_s"]
            facts["real time, by processor time"] = f"{speed:.2g} x"
        return facts

    def _notes(self) -> dict[str, str]:
        """Settings that the answers depend on, and problems of the recording."""
        report = self.json()
        settings, recording = report["settings"], report["recording"]
        notes = self._summary() | {
            "frame": report["frame_id"],
            "questions": settings["queries"],
            "right is": f"a box with an IoU of at least {MIN_IOU}, a distance within {TOLERANCE_M} "
            "m, an answer that contains one of the expected texts",
            "weights": f"{settings['model']}, {settings['weights']}",
            "played": "through the nodes, in real time"
            if settings["through_ros"]
            else f"through the engine on {settings['device']}, map refreshed every "
            f"{settings['refresh_every_keyframes']} views and before each question",
        }
        notes["why an answer"] = explain_command(self.replay.bag.name)
        notes |= {f"{role} topic": name for role, name in settings["topics"].items()}
        notes["synchronised"] = (
            f"color and depth within {settings['sync_slop_s']} s, poses at most "
            f"{settings['max_pose_gap_s']} s apart"
        )
        for name in ("engine", "node"):
            values = settings.get(name, {})
            notes[f"settings of the {name}"] = ", ".join(f"{k}: {v}" for k, v in values.items())
        notes |= self._times()
        if "frames" in recording:
            notes["frames"] = f"{recording['frames']}, of them {recording['keyframes']} views"
            notes["left out"] = ", ".join(
                f"{count} x {why}" for why, count in recording["left_out"].items()
            )
            notes["problems"] = " / ".join(recording["problems"])
        return {name: text for name, text in notes.items() if text}

    def _times(self) -> dict[str, str]:
        """Times of the replay, of map refreshes and of questions, as text."""
        timing, notes = self.replay.timing, {}
        if "replay_s" in timing:
            notes["replayed in"] = (
                f"{timing['replay_s']:.1f} s, {timing['replay_cpu_s']:.1f} s of processor time"
            )
            parts = (f"{stage} {spent:.0f}" for stage, spent in timing["refresh_mean_ms"].items())
            notes["a refresh of the map"] = f"{', '.join(parts)} ms, mean"
        stages = (f"{stage} {spent['median_ms']:.1f}" for stage, spent in self.stages().items())
        notes["stages of a question"] = f"{', '.join(stages)} ms, median" if self.stages() else ""
        return notes


def judge(query: Query, reply: Reply) -> Verdict | None:
    """Judge a reply; None if the truth is not known.

    A box is right with an IoU of at least 0.25 (exact, for boxes of any yaw), a distance within
    0.25 m, and a free-form answer if it contains one of the expected texts. A layout edit is right
    if `possible` agrees and the given boxes before and after it overlap by an IoU of 0.25.
    """
    if query.expect is None:
        return None
    if isinstance(query, DistanceQuery):
        return judge_distance(reply.metres, query.expect.distance, tolerance_m=TOLERANCE_M)
    if isinstance(query, AskQuery):
        right = any(_contains(words, reply.text) for words in query.expect.text)
        return Verdict("ask", answered=reply.success, right=reply.success and right)
    if isinstance(query, LayoutQuery):
        return _judge_edit(query.expect, reply)
    found = None if reply.no_target or not reply.boxes else reply.boxes[0]
    if query.expect.box is None:
        return Verdict("ground", answered=reply.success, right=reply.success and found is None)
    overlap = 0.0 if found is None else iou(found, query.expect.box)
    return Verdict("ground", answered=reply.success, right=overlap >= MIN_IOU, iou=overlap)


def _judge_edit(expect: ExpectedEdit, reply: Reply) -> Verdict:
    """`iou` is that of the box after the edit, without one of the box before it."""
    overlaps = [
        iou(boxes[0], wanted.box) if boxes else 0.0
        for wanted, boxes in ((expect.before, reply.boxes), (expect.after, reply.after))
        if wanted is not None
    ]
    right = reply.success and reply.possible == expect.possible
    right = right and all(overlap >= MIN_IOU for overlap in overlaps)
    return Verdict(
        "layout", answered=reply.success, right=right, iou=overlaps[-1] if overlaps else None
    )


def _contains(words: str, text: str) -> bool:
    """Whether an answer contains these words, whole and in this order; case does not matter."""
    wanted, given = (" ".join(re.findall(r"\w+", t.lower())) for t in (words, text))
    return f" {wanted} " in f" {given} "


def _entry(result: QueryResult, verdict: Verdict | None) -> dict[str, Any]:
    """One answer in report.json."""
    query, reply = result.query, result.reply
    answer = None
    if reply["success"]:
        left_out = ("success", "message", "latency_ms", "server_ms", "kind", "via", "stages",
                    "answered")  # fmt: skip
        answer = {key: value for key, value in reply.items() if key not in left_out}
        answer["text"] = answer.pop("answer")
    expected = query.expect.model_dump(exclude_none=True) if query.expect else None
    entry = {
        "id": query.id,
        "kind": query.kind,
        "at": query.at,
        "question": query.text,
        "answer": answer,
        "truth": expected,
        "right": verdict.right if verdict else None,
    }
    if isinstance(query, GroundQuery | LayoutQuery):
        entry["iou"] = verdict.iou if verdict else None
    if isinstance(query, DistanceQuery):
        entry["error_m"] = verdict.error_m if verdict else None
    entry["error"] = None if reply["success"] else reply["message"]
    entry["latency_ms"] = {"total": reply["latency_ms"], **result.stages_ms}
    return entry


def _row(result: QueryResult, reply: Reply, verdict: Verdict | None) -> Row:
    query = result.query
    truth, truth_boxes = "", ()
    if isinstance(query, DistanceQuery) and query.expect:
        truth = f"{query.expect.distance:.2f} m ({query.expect.measure})"
    elif isinstance(query, AskQuery) and query.expect:
        truth = " or ".join(query.expect.text)
    elif isinstance(query, GroundQuery) and query.expect:
        box = query.expect.box
        truth, truth_boxes = (
            (_position(box), (box,)) if box else ("nothing in the room matches", ())
        )
    elif isinstance(query, LayoutQuery) and query.expect:
        parts = {"from": query.expect.before, "to": query.expect.after}
        truth_boxes = tuple(part.box for part in parts.values() if part)
        moves = [f"{name} {_position(part.box)}" for name, part in parts.items() if part]
        truth = ", ".join(["possible" if query.expect.possible else "impossible", *moves])
    shown = {"ground": 1, "distance": 2}.get(query.kind, len(reply.boxes))
    return Row(
        question=query.text,
        kind=query.kind,
        answer=reply.text,
        truth=truth,
        right=verdict.right if verdict else None,
        iou=verdict.iou if verdict else None,
        error_m=verdict.error_m if verdict else None,
        metres=reply.metres,
        latency_ms=reply.latency_ms,
        via="nodes" if "via" in result.reply else "",
        boxes=() if reply.no_target else reply.boxes[:shown],
        after_boxes=reply.after,
        truth_boxes=truth_boxes,
        name=query.id,
        asked_at="at the end" if query.at == "end" else f"at {query.at:g} s",
        failed=not reply.success,
        stages_ms=result.stages_ms,
        others=_others(result) if query.kind == "ground" else "",
    )


def _others(result: QueryResult) -> str:
    """The next candidates with their probabilities."""
    rivals = result.reply["objects"][0 if result.reply["no_target"] else 1 :][:3]
    return ", ".join(
        " ".join(filter(None, (str(o["id"]), o["color"], o["label"], f"({o['score']:.0%})")))
        for o in rivals
    )


def _position(box: Box3D) -> str:
    return f"at ({', '.join(f'{v:.2f}' for v in box.center)}) m"


def _file_name(number: int, name: str) -> str:
    return f"question_{number}_{re.sub(r'[^A-Za-z0-9_-]+', '_', name)[:40]}"


def _rounded(value: Any) -> Any:
    """Plain data with its numbers rounded to DIGITS."""
    if isinstance(value, float):
        return round(value, DIGITS)
    if isinstance(value, dict):
        return {key: _rounded(part) for key, part in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_rounded(part) for part in value]
    return value
