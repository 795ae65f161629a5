"""Multi3DRefer, ScanQA, SQA3D, Scan2Cap and distances (METHODS 5.3 to 5.8): from public files to
scores.

The answers come from a file (research/datasets/answers.py) or from the network: on a file of
labelled boxes, or on scans with views (scan_runner.py). Entries about scenes or objects that the
rooms lack are counted and listed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, get_args

import numpy as np
from rich.table import Table

from spatial3d_ros.errors import ConfigError
from spatial3d_ros.geometry.box import iou_matrix
from spatial3d_ros.research.datasets.answers import PredictedAnswers, read_predicted_answers
from spatial3d_ros.research.datasets.boxes_only import BoxRoom, read_box_rooms
from spatial3d_ros.research.datasets.multi3drefer import (
    MultiDescription,
    read_multi_descriptions,
)
from spatial3d_ros.research.datasets.references import Matched, listed, match
from spatial3d_ros.research.datasets.scan2cap import caption_targets
from spatial3d_ros.research.datasets.scanqa import read_scene_questions
from spatial3d_ros.research.datasets.scanrefer import read_descriptions
from spatial3d_ros.research.datasets.sqa3d import read_situated_questions
from spatial3d_ros.research.evaluation.metrics.answers import Norm, scanqa_scores, sqa3d_scores
from spatial3d_ros.research.evaluation.metrics.captions import Caption, caption_scores
from spatial3d_ros.research.evaluation.metrics.distance import distance_scores, parse_metres
from spatial3d_ros.research.evaluation.metrics.grounding import multi_scores
from spatial3d_ros.research.evaluation.public.boxes_runner import BoxesRunner
from spatial3d_ros.research.evaluation.public.scan_runner import ScanSetup
from spatial3d_ros.research.spread import over_ranks

Source = Path | ScanSetup
"""A file of boxes, or scans with views."""
Scores = dict[str, dict[str, float | int]]
Entry = TypeVar("Entry")


@dataclass(frozen=True)
class PublicReport:
    """`scores` by split; `samples`: how many questions were evaluated and what was absent."""

    name: str
    scores: Scores
    samples: dict[str, Any]
    settings: dict[str, str] = field(default_factory=dict)

    def json(self) -> dict[str, Any]:
        """Everything as plain data."""
        return {
            "benchmark": self.name,
            "settings": self.settings,
            "samples": self.samples,
            "scores": self.scores,
        }

    def table(self) -> Table:
        """For the terminal: a row for each measure, a column for each split."""
        count = self.samples["evaluated"]
        table = Table(title=f"{self.name}: {count} questions, {self.settings['answers']}")
        table.add_column("")
        for split in self.scores:
            table.add_column(split, justify="right")
        measures = dict.fromkeys(m for values in self.scores.values() for m in values)
        for measure in measures:
            cells = (values.get(measure) for values in self.scores.values())
            table.add_row(measure, *("" if v is None else f"{v:.4g}" for v in cells))
        notes = [f"about absent scenes or objects: {listed(self.samples['absent'])}"]
        if "unanswered" in self.samples:
            notes.append(f"without an answer: {self.samples['unanswered']}")
            notes.append(f"answers to no question: {listed(self.samples['of_no_question'])}")
        table.caption = "; ".join(notes)
        return table


def evaluate_multi(
    objects: Source, descriptions: Path, answers: Path | None = None, model: str = "tiny"
) -> PublicReport:
    """Multi3DRefer on true boxes, or on the proposals of scans: F1@0.25 and F1@0.5 overall and by
    type.

    Raises ConfigError for a file that cannot be used, CheckpointError.
    """
    described = read_multi_descriptions(descriptions)
    rooms, choices = _rooms(objects, {d.scene_id for d in described})
    found = _known(rooms, described, lambda d: (d.scene_id, d.object_ids), descriptions)
    predicted = _read_answers(answers)
    names = [f"{d.scene_id}/{'-'.join(map(str, d.object_ids))}/{d.ann_id}" for d in found.kept]
    runner = None
    if predicted is not None:
        predictions = [predicted.boxes(name) for name in names]
    else:
        runner = _runner(objects, model)

        def choose(room: BoxRoom, some: list[MultiDescription]) -> list[np.ndarray]:
            if not room.objects:
                return [room.boxes] * len(some)
            categories = [d.object_name.replace("_", " ") for d in some]
            chosen = runner.choose_all(room, [d.description for d in some], categories)
            return [room.boxes[slots] for slots in chosen]

        predictions = _by_room(choices, found.kept, lambda d: d.scene_id, choose)
    truth = [
        rooms[d.scene_id].boxes[[rooms[d.scene_id].slots[i] for i in dict.fromkeys(d.object_ids)]]
        for d in found.kept
    ]
    scores = multi_scores(predictions, truth, [d.eval_type for d in found.kept])
    return _report("multi3drefer", scores, found, predicted, names, model, runner=runner)


def evaluate_scanqa(
    questions: Path,
    objects: Source | None = None,
    answers: Path | None = None,
    norm: Norm = "leo",
    model: str = "tiny",
) -> PublicReport:
    """ScanQA: EM@1, refined EM, BLEU, ROUGE-L, CIDEr, METEOR of exact words.

    Raises ConfigError, CheckpointError; NotAvailableError if the weights are not trained for it.
    """
    if norm not in get_args(Norm):
        raise ConfigError(f"norm: '{norm}' is unknown; use {' or '.join(get_args(Norm))}")
    everything = read_scene_questions(questions)
    answerable = [q for q in everything if q.answers]
    if not answerable:
        raise ConfigError(f"{questions}: no question has answers; use train or val, not test")
    found, predictions, predicted, runner = _predictions(
        answerable,
        objects,
        answers,
        model,
        questions,
        lambda q: (q.scene_id, q.question),
    )
    scores = scanqa_scores(predictions, [q.answers for q in found.kept], norm)
    names = [q.question_id for q in found.kept]
    report = _report("scanqa", {"overall": scores}, found, predicted, names, model, runner=runner)
    report.settings["norm"] = norm
    report.samples["without_known_answers"] = len(everything) - len(answerable)
    return report


def evaluate_sqa3d(
    questions: Path,
    annotations: Path,
    objects: Source | None = None,
    answers: Path | None = None,
    model: str = "tiny",
) -> PublicReport:
    """SQA3D: EM and refined EM overall and by type; the network reads the situation before the
    question. Raises as `evaluate_scanqa`.
    """
    found, predictions, predicted, runner = _predictions(
        read_situated_questions(questions, annotations), objects, answers, model, questions,
        lambda q: (q.scene_id, f"{q.situation} {q.question}"),
    )  # fmt: skip
    names = [q.question_id for q in found.kept]
    scores = sqa3d_scores(predictions, found.kept)
    return _report("sqa3d", scores, found, predicted, names, model, runner=runner)


def evaluate_scan2cap(
    objects: Source, descriptions: Path, answers: Path | None = None, model: str = "tiny"
) -> PublicReport:
    """Scan2Cap: caption measures at IoU 0.25 and 0.5 over all described objects. The network gets
    the true boxes, or with proposals of scans the one that overlaps an object most, from IoU 0.5
    on. Raises as `evaluate_scanqa`.
    """
    described = read_descriptions(descriptions)
    rooms, choices = _rooms(objects, {d.scene_id for d in described})
    found = _known(rooms, described, lambda d: (d.scene_id, (d.object_id,)), descriptions)
    targets = caption_targets(found.kept)
    keys = [(t.scene_id, t.object_id) for t in targets]
    boxes = {(scene, i): rooms[scene].boxes[rooms[scene].slots[i]] for scene, i in keys}
    predicted, names = _read_answers(answers), [f"{scene}/{i}" for scene, i in keys]
    runner = None
    if predicted is not None:
        captions = {
            key: Caption(predicted.text(name), predicted.boxes(name)[0])
            for key, name in zip(keys, names, strict=True)
            if len(predicted.boxes(name))
        }
    else:
        runner = _runner(objects, model)
        slots = {key: _proposed(choices[key[0]], box) for key, box in boxes.items()}
        asked = [key for key in keys if slots[key] is not None]
        predictions = _by_room(
            choices, asked, lambda key: key[0],
            lambda room, some: runner.captions(room, [slots[key] for key in some]),
        )  # fmt: skip
        captions = {
            key: Caption(text, choices[key[0]].boxes[slots[key]])
            for key, text in zip(asked, predictions, strict=True)
        }
    scores = {"overall": caption_scores(targets, boxes, captions)}
    return _report("scan2cap", scores, found, predicted, names, model, len(targets), runner)


def _proposed(room: BoxRoom, box: np.ndarray) -> int | None:
    """The slot whose box overlaps `box` most; None below IoU 0.5 (METHODS 5.6)."""
    overlaps = iou_matrix(room.boxes, box)[:, 0]
    return int(overlaps.argmax()) if len(overlaps) and overlaps.max() >= 0.5 else None


def evaluate_distances(answers: Path) -> PublicReport:
    """Distances in free-form answers; every line has its `truth` in metres.

    Raises ConfigError for a line without `truth`.
    """
    predicted = read_predicted_answers(answers)
    lacking = [name for name, one in predicted.by_id.items() if one.truth is None]
    if lacking:
        raise ConfigError(f"{answers}: {lacking[0]}: truth is missing; metres are expected")
    lines = list(predicted.by_id.values())
    scores = distance_scores([parse_metres(a.text) for a in lines], [a.truth for a in lines])
    found = Matched(lines, [])
    return _report("distance", scores, found, predicted, list(predicted.by_id), "")


def _predictions(
    questions: Sequence[Entry],
    objects: Source | None,
    answers: Path | None,
    model: str,
    path: Path,
    words: Callable[[Entry], tuple[str, str]],
) -> tuple[Matched[Entry], list[str], PredictedAnswers | None, BoxesRunner | None]:
    """The evaluated questions and their predictions, from the answers file or by the network.

    words: the scene and the text of a question.
    """
    predicted = _read_answers(answers)
    if predicted is not None:
        return (
            Matched(list(questions), []),
            [predicted.text(q.question_id) for q in questions],
            predicted,
            None,
        )
    if objects is None:
        raise ConfigError("give --answers, or --scans or --objects for the network to answer from")
    rooms, choices = _rooms(objects, {words(q)[0] for q in questions})
    found = _known(rooms, questions, lambda q: (words(q)[0], ()), path)
    runner = _runner(objects, model)
    predictions = _by_room(
        choices, found.kept, lambda q: words(q)[0],
        lambda room, some: runner.answers(room, [words(q)[1] for q in some]),
    )  # fmt: skip
    return found, predictions, None, runner


def _rooms(
    objects: Source, wanted: set[str]
) -> tuple[Mapping[str, BoxRoom], Mapping[str, BoxRoom]]:
    """The annotated rooms, and those that the network chooses from."""
    if not isinstance(objects, ScanSetup):
        rooms = read_box_rooms(objects)
        return rooms, rooms
    rooms, detections = objects.truth.rooms(wanted), objects.detections
    return rooms, rooms if detections is None else detections.rooms(wanted)


def _runner(objects: Source, model: str) -> BoxesRunner:
    return objects.load(model) if isinstance(objects, ScanSetup) else BoxesRunner.load(model)


def _known(
    rooms: Mapping[str, BoxRoom],
    entries: Sequence[Entry],
    refers: Callable[[Entry], tuple[str, Sequence[int]]],
    path: Path,
) -> Matched[Entry]:
    found = match(entries, {name: room.slots for name, room in rooms.items()}, refers)
    if not found.kept:
        raise ConfigError(
            f"{path}: no entry is about the {len(rooms)} scenes of the objects; "
            f"{len(found.absent)} are about other scenes; use files of the same scenes"
        )
    return found


def _read_answers(answers: Path | None) -> PredictedAnswers | None:
    return None if answers is None else read_predicted_answers(answers)


def _by_room(
    rooms: Mapping[str, BoxRoom],
    entries: Sequence[Entry],
    scene: Callable[[Entry], str],
    answer: Callable[[BoxRoom, list[Entry]], Sequence[Any]],
) -> list[Any]:
    """The result of `answer` for each entry; a room is encoded once for all of its entries.

    The rooms are distributed over the processes of torchrun.
    """
    indices: dict[str, list[int]] = defaultdict(list)
    for k, entry in enumerate(entries):
        indices[scene(entry)].append(k)
    predictions: list[Any] = [None] * len(entries)
    answers = over_ranks(
        list(indices),
        lambda name: list(answer(rooms[name], [entries[k] for k in indices[name]])),
    )
    for some, found in zip(indices.values(), answers, strict=True):
        for k, one in zip(some, found, strict=True):
            predictions[k] = one
    return predictions


def _report(
    name: str,
    scores: Scores,
    found: Matched[Any],
    predicted: PredictedAnswers | None,
    names: Sequence[str],
    model: str,
    count: int | None = None,
    runner: BoxesRunner | None = None,
) -> PublicReport:
    samples = {"evaluated": len(found.kept) if count is None else count, "absent": found.json()}
    settings = {"answers": f"{model} on true boxes, no pixels"}
    if predicted is not None:
        samples |= predicted.coverage(names)
        settings = {"answers": f"answers of {predicted.path.name}"}
    elif runner is not None and "views" in runner.settings:
        inputs = "; ".join(f"{n.replace('_', ' ')}: {v}" for n, v in runner.settings.items())
        settings = {"answers": f"{model}; {inputs}"} | runner.settings
    return PublicReport(name, scores, samples, settings)
