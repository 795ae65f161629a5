"""Free-form answers about held-out rooms: exact match by kind of question, classes and colors in
captions, and distances that the network writes itself (METHODS 5.4, 5.6, 5.8).

`clean_answer` defines exact match: it ignores articles, the form of numbers and the order of lists.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from spatial3d_ros.engine import Spatial3D
from spatial3d_ros.errors import Spatial3DError
from spatial3d_ros.research.evaluation.metrics.answers import clean_answer
from spatial3d_ros.research.evaluation.metrics.distance import distance_scores
from spatial3d_ros.research.evaluation.metrics.judging import match_box
from spatial3d_ros.research.evaluation.prompt_styles import apply_style, split_of_style
from spatial3d_ros.research.language.descriptions import ReferenceResolver
from spatial3d_ros.research.language.qa_generator import OpenQuestion, Task, make_open_questions
from spatial3d_ros.research.language.qa_templates import SHORT_RELATION_PHRASES, caption
from spatial3d_ros.research.rooms.catalog import RoomObject
from spatial3d_ros.tasks.results import Answer

FREE_FORM_TASKS = {"ask": 16, "caption": 8, "number": 6}
"""Each task and the most questions about one room. number: the distance that the network writes,
whatever the engine publishes as the distance.
"""
_TASKS: dict[str, Task] = {"ask": "ask", "caption": "caption", "number": "distance"}
MIN_IOU = 0.25  # between an object of the map and the true one that it is a caption of


@dataclass(frozen=True)
class CaptionVerdict:
    """Whether a caption names the right class and color; relation: None if it names no relation.

    All False for an object that the object map lacks or that has no caption.
    """

    named: bool = False
    color: bool = False
    relation: bool | None = None


@dataclass
class AnswersReport:
    """Verdicts over all rooms."""

    asked: list[tuple[str, bool]] = field(default_factory=list)
    captions: list[CaptionVerdict] = field(default_factory=list)
    metres: defaultdict[str, list[tuple[float | None, float]]] = field(
        default_factory=partial(defaultdict, list)
    )
    failures: list[str] = field(default_factory=list)
    not_trained: tuple[str, ...] = ()

    def __iadd__(self, other: AnswersReport) -> AnswersReport:
        self.asked += other.asked
        self.captions += other.captions
        for kind, pairs in other.metres.items():
            self.metres[kind] += pairs
        self.failures += other.failures
        self.not_trained = self.not_trained or other.not_trained
        return self

    def json(self) -> dict[str, object]:
        """The scores of the evaluated tasks as plain data."""
        scores: dict[str, object] = {}
        if self.asked:
            kinds = sorted({kind for kind, _ in self.asked})
            scores["ask"] = {"overall": _match([right for _, right in self.asked])} | {
                kind: _match([right for one, right in self.asked if one == kind]) for kind in kinds
            }
        if self.captions:
            relations = [one.relation for one in self.captions if one.relation is not None]
            scores["caption"] = {
                "n": len(self.captions),
                "class": _share([one.named for one in self.captions]),
                "color": _share([one.color for one in self.captions]),
                "class_and_color": _share([one.named and one.color for one in self.captions]),
                "relation_told": len(relations) / len(self.captions),
                "relation": _share(relations),
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
    style: str = "test",
) -> None:
    """Ask an engine that holds a room about its true objects; add the verdicts to `report`.

    objects: in the map frame. An error counts as a wrong answer. Tasks that the weights were not
    trained for are skipped and listed in `report.not_trained`. style: one of PROMPT_STYLES.
    """
    report.not_trained = tuple(
        name for name in tasks if name != "ask" and _TASKS[name] not in engine.tasks
    )
    for name in (name for name in tasks if name not in report.not_trained):
        task, count = _TASKS[name], FREE_FORM_TASKS[name]
        rng = np.random.default_rng((seed, 41, count))
        split = split_of_style(style)
        for question in make_open_questions(objects, rng, count, split=split, tasks=(task,)):
            if task == "caption":
                report.captions.append(_caption(engine, objects, question, report))
                continue
            text = apply_style(question.text, style, seed)
            if question.metres is not None:
                metres = _network_metres(engine, text, report)
                report.metres[question.kind].append((metres, question.metres))
                continue
            answer = _answer_text(lambda t=text: value_or_text(engine.ask(t)), report)
            right = answer is not None and matches(answer, question.answers)
            report.asked.append((question.kind, right))
            if not right:
                say(f"{text} -> {answer}; right is {question.answers[0]}")


def value_or_text(answer: Answer) -> str:
    """The answer alone where there is one, else the sentence."""
    return answer.value or answer.text


def matches(answer: str, answers: Sequence[str]) -> bool:
    """Exact match with one of the right answers, after cleaning both (METHODS 5.5)."""
    return clean_answer(answer) in {clean_answer(right) for right in answers}


def judge_caption(text: str, target: RoomObject, objects: Sequence[RoomObject]) -> CaptionVerdict:
    """Compare the first words with the target's color and class, and the relation with the room.

    A relation is right if it may hold between the target and any object that the caption names.
    """
    named, relation = _split(text)
    words = clean_answer(named).split()
    expected = clean_answer(caption(target.color, target.category)).split()
    color, noun = words[:1] == expected[:1], words[1:] == expected[1:]
    if not relation:
        return CaptionVerdict(noun, color)
    meanings = ReferenceResolver(objects)
    index = next(i for i, other in enumerate(meanings.objects) if other.id == target.id)
    name, anchor = relation
    found = [
        i
        for i, other in enumerate(meanings.objects)
        if clean_answer(caption(other.color, other.category)) == clean_answer(anchor)
    ]
    columns = meanings.relations.loose_columns[name]
    return CaptionVerdict(noun, color, any(columns[i] >> index & 1 for i in found))


def _split(text: str) -> tuple[str, tuple[str, str] | None]:
    """ "a red mug on a white table" -> "a red mug", ("on", "a white table")."""
    for name, words in SHORT_RELATION_PHRASES.items():
        before, found, after = text.partition(f" {words[0]} ")
        if found:
            return before, (name, after)
    return text, None


def _caption(
    engine: Spatial3D, objects: Sequence[RoomObject], question: OpenQuestion, report: AnswersReport
) -> CaptionVerdict:
    target = next(o for o in objects if o.id == question.about[0])
    known = engine.scene().objects
    match = match_box(target.box, np.array([o.box.array() for o in known]).reshape(-1, 6), ())
    if match.object_id < 0 or match.iou < MIN_IOU:
        return CaptionVerdict()
    text = _answer_text(lambda: engine.caption(known[match.object_id].id).text, report)
    return CaptionVerdict() if text is None else judge_caption(text, target, objects)


def _network_metres(engine: Spatial3D, text: str, report: AnswersReport) -> float | None:
    try:
        return engine.measure_distance(text).network_m
    except Spatial3DError as error:
        report.failures.append(str(error))
        return None


def _answer_text(ask: Callable[[], str], report: AnswersReport) -> str | None:
    try:
        return ask()
    except Spatial3DError as error:
        report.failures.append(str(error))
        return None


def _match(right: Sequence[bool]) -> dict[str, float | int]:
    return {"n": len(right), "exact_match": _share(right)}


def _share(values: Sequence[bool]) -> float | None:
    return float(np.mean(values)) if values else None
