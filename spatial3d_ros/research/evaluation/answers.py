"""Answers in words about rooms that no training has seen: exact match by kind of question, what
captions name, and the network's own metres (METHODS 5.4, 5.6, 5.8).

Wordings are those kept for tests. Articles and number words do not count, and lists may come in any
order; nothing else is forgiven.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from spatial3d_ros.engine import Spatial3D
from spatial3d_ros.errors import Spatial3DError
from spatial3d_ros.research.evaluation.metrics.answers import clean_answer
from spatial3d_ros.research.evaluation.metrics.distance import distance_scores
from spatial3d_ros.research.evaluation.metrics.judging import match_box
from spatial3d_ros.research.evaluation.prompt_styles import split_of, worded
from spatial3d_ros.research.language.descriptions import Meanings
from spatial3d_ros.research.language.qa_generator import OpenQuestion, Task, make_open_questions
from spatial3d_ros.research.language.qa_templates import RELATION_WORDS, caption
from spatial3d_ros.research.rooms.catalog import RoomObject
from spatial3d_ros.tasks.answer_parser import read_metres

EACH = {"ask": 16, "caption": 8, "number": 6}
"""What can be evaluated, with the questions about one room, at most. number: the network's own
metres, whatever is published as the distance.
"""
_TASKS: dict[str, Task] = {"ask": "ask", "caption": "caption", "number": "distance"}
MIN_IOU = 0.25  # between an object of the map and the true one that it is a caption of


@dataclass(frozen=True)
class CaptionVerdict:
    """What a caption says of an object: class and colour right, and its relation, where it tells
    one. None of it for an object that the map lacks or that has no caption.
    """

    named: bool = False
    color: bool = False
    relation: bool | None = None


@dataclass
class AnswersReport:
    """Verdicts over all rooms."""

    asked: list[tuple[str, bool]] = field(default_factory=list)
    captions: list[CaptionVerdict] = field(default_factory=list)
    metres: dict[str, list[tuple[float | None, float]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    failures: list[str] = field(default_factory=list)
    not_trained: tuple[str, ...] = ()

    def json(self) -> dict[str, object]:
        """Everything as plain data; only what was asked for."""
        scores: dict[str, object] = {}
        if self.asked:
            kinds = sorted({kind for kind, _ in self.asked})
            scores["ask"] = {"overall": _match([right for _, right in self.asked])} | {
                kind: _match([right for one, right in self.asked if one == kind]) for kind in kinds
            }
        if self.captions:
            told = [one.relation for one in self.captions if one.relation is not None]
            scores["caption"] = {
                "n": len(self.captions),
                "class": _share([one.named for one in self.captions]),
                "color": _share([one.color for one in self.captions]),
                "class_and_color": _share([one.named and one.color for one in self.captions]),
                "relation_told": len(told) / len(self.captions),
                "relation": _share(told),
            }
        for kind, pairs in self.metres.items():
            scores.setdefault("number", {})[kind] = distance_scores(*zip(*pairs, strict=True))
        if scores:
            scores["unanswered"] = len(self.failures)
        return scores | ({"not_trained": list(self.not_trained)} if self.not_trained else {})


def ask_room(
    engine: Spatial3D,
    objects: Sequence[RoomObject],
    seed: int,
    tasks: Sequence[str],
    report: AnswersReport,
    say: Callable[[str], None] = lambda text: None,
    wording: str = "test",
) -> None:
    """Ask the engine, whose memory holds a room, about these true objects of it (map frame), and
    add the verdicts to the report. An error of a question counts as a wrong answer; what the
    weights were not trained for is not asked, and the report says so. `wording`: see wordings.py.
    """
    report.not_trained = tuple(name for name in tasks if _TASKS[name] not in engine.tasks)
    for name in (name for name in tasks if name not in report.not_trained):
        task, count = _TASKS[name], EACH[name]
        rng = np.random.default_rng((seed, 41, count))
        split = split_of(wording)
        for question in make_open_questions(objects, rng, count, split=split, tasks=(task,)):
            if task == "caption":
                report.captions.append(_caption(engine, objects, question, report))
                continue
            text = worded(question.text, wording, seed)
            said = _said(lambda t=text: engine.ask(t).text, report)
            if question.metres is not None:
                metres = None if said is None else read_metres(said)
                report.metres[question.kind].append((metres, question.metres))
                continue
            right = said is not None and matches(said, question.answers)
            report.asked.append((question.kind, right))
            if not right:
                say(f"{text} -> {said}; right is {question.answers[0]}")


def matches(said: str, answers: Sequence[str]) -> bool:
    """Exact match with one of the right answers, after cleaning both (METHODS 5.5)."""
    return clean_answer(said) in {clean_answer(answer) for answer in answers}


def judge_caption(said: str, thing: RoomObject, objects: Sequence[RoomObject]) -> CaptionVerdict:
    """Class and colour as the first words name them; a relation is right where it may hold to some
    object of that class and colour.
    """
    named, place = _split(said)
    words = clean_answer(named).split()
    kind = clean_answer(caption(thing.color, thing.category)).split()
    color, noun = words[:1] == kind[:1], words[1:] == kind[1:]
    if not place:
        return CaptionVerdict(noun, color)
    meanings = Meanings(objects)
    target = next(i for i, other in enumerate(meanings.objects) if other.id == thing.id)
    name, anchor = place
    found = [
        i
        for i, other in enumerate(meanings.objects)
        if clean_answer(caption(other.color, other.category)) == clean_answer(anchor)
    ]
    columns = meanings.relations.columns_maybe[name]
    return CaptionVerdict(noun, color, any(columns[i] >> target & 1 for i in found))


def _split(said: str) -> tuple[str, tuple[str, str] | None]:
    """ "a red mug on a white table" -> "a red mug", ("on", "a white table")."""
    for name, words in RELATION_WORDS.items():
        before, found, after = said.partition(f" {words[0]} ")
        if found:
            return before, (name, after)
    return said, None


def _caption(
    engine: Spatial3D, objects: Sequence[RoomObject], question: OpenQuestion, report: AnswersReport
) -> CaptionVerdict:
    thing = next(o for o in objects if o.id == question.about[0])
    known = engine.scene().objects
    match = match_box(thing.box, np.array([o.box.array() for o in known]).reshape(-1, 6), ())
    if match.object_id < 0 or match.iou < MIN_IOU:
        return CaptionVerdict()
    said = _said(lambda: engine.caption(known[match.object_id].id).text, report)
    return CaptionVerdict() if said is None else judge_caption(said, thing, objects)


def _said(ask: Callable[[], str], report: AnswersReport) -> str | None:
    try:
        return ask()
    except Spatial3DError as error:
        report.failures.append(str(error))
        return None


def _match(right: Sequence[bool]) -> dict[str, float | int]:
    return {"n": len(right), "exact_match": _share(right)}


def _share(values: Sequence[bool]) -> float | None:
    return float(np.mean(values)) if values else None
