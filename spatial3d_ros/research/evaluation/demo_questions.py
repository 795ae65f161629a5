"""The questions of the demo about a recorded room, of every task, and the rows of its report."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from spatial3d_ros.demo.report import Row
from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.research.evaluation.answers import judge_caption, matches
from spatial3d_ros.research.evaluation.layout import judge_edit, layout_questions, right
from spatial3d_ros.research.evaluation.metrics.judging import EditOutcome
from spatial3d_ros.research.evaluation.room_queries import DEMO_KINDS, draw_questions, report_row
from spatial3d_ros.research.language.description_sampler import DescriptionSampler
from spatial3d_ros.research.language.descriptions import ReferenceResolver
from spatial3d_ros.research.language.layout_instructions import LayoutQuestion
from spatial3d_ros.research.language.qa_generator import OpenQuestion, make_open_questions
from spatial3d_ros.research.language.qa_templates import OBJECT_SLOT
from spatial3d_ros.research.language.templates import Realizer
from spatial3d_ros.research.rooms.catalog import RoomObject
from spatial3d_ros.research.rooms.recorded_rooms import RecordedRoom
from spatial3d_ros.tasks.reply import Reply

EDITS = 4
FREE_FORM_KINDS = ("color", "count", "things", "exists")
_TRIES = 24  # captions drawn until one is of an object that its noun alone identifies


@dataclass(frozen=True)
class DemoQuestion:
    """A question and its service: `kind` ground, distance, layout or ask.

    row(reply, via): the judged row of a reply by a service or the action.
    """

    text: str
    kind: str
    row: Callable[[Reply, str], Row]


def demo_questions(recorded: RecordedRoom, seed: int, tasks: Sequence[str]) -> list[DemoQuestion]:
    """Grounding, distances, layout edits, and of `tasks` those that need weights trained for them
    ("ask", "caption"): about the observed objects, in held-out sentences.
    """
    seen, room = recorded.seen(), recorded.room
    questions = [
        DemoQuestion(
            question.text,
            "distance" if question.kind == "distance" else "ground",
            partial(report_row, question, room),
        )
        for question in draw_questions(seen, seed, DEMO_KINDS, varied=True)
    ]
    questions += [
        DemoQuestion(question.text, "layout", partial(_edit_row, question, reference, recorded))
        for question, reference in layout_questions(room, seen, seed, EDITS)
    ]
    rng = np.random.default_rng((seed, 47))
    for kind in FREE_FORM_KINDS:
        made = make_open_questions(seen, rng, 1, split="test", tasks=("ask",), kinds=(kind,))
        questions += [DemoQuestion(q.text, "ask", partial(_free_form_row, q, seen)) for q in made]
    if "caption" in tasks:
        questions += _caption(seen, seed)
    return questions


def _caption(seen: Sequence[RoomObject], seed: int) -> list[DemoQuestion]:
    """One "describe the lamp" about an object that its noun alone identifies, if there is one."""
    rng = np.random.default_rng((seed, 53))
    quick = random.Random(seed)
    resolver = ReferenceResolver(seen)
    sampler, realizer = DescriptionSampler(resolver, quick), Realizer(quick, "test")
    slots = {item.id: i for i, item in enumerate(resolver.objects)}
    for question in make_open_questions(seen, rng, _TRIES, split="test", tasks=("caption",)):
        noun = [d for d in sampler.by_attribute[slots[question.about[0]]] if d.color is None]
        if noun:
            text = question.text.replace(OBJECT_SLOT, realizer.definite(noun[0]))
            question = replace(question, text=text)
            return [DemoQuestion(text, "ask", partial(_free_form_row, question, seen))]
    return []


def _free_form_row(
    question: OpenQuestion, seen: Sequence[RoomObject], reply: Reply, via: str = ""
) -> Row:
    """The row of a free-form answer; a caption needs the right class and color."""
    about = [item for item in seen if item.id in question.about]
    if question.task == "caption":
        verdict = judge_caption(reply.text.split(";")[0], about[0], seen)  # other candidates follow
        wrong = [
            part for part, ok in (("class", verdict.named), ("color", verdict.color)) if not ok
        ]
    else:
        wrong = [] if matches(reply.value or reply.text, question.answers) else ["words"]
    return Row(
        question=question.text,
        kind=question.kind,
        answer=reply.text,
        truth=" or ".join(question.answers[:2]),
        right=reply.success and not wrong,
        missed="" if not wrong else f"wrong {' and '.join(wrong)}",
        latency_ms=reply.latency_ms,
        via=via,
        boxes=reply.boxes,
        truth_boxes=tuple(item.box for item in about),
        failed=not reply.success,
    )


def _edit_row(
    question: LayoutQuestion, reference: Box3D, recorded: RecordedRoom, reply: Reply, via: str = ""
) -> Row:
    """The row of a layout edit: right object, valid pose, wanted relation."""
    room = recorded.room
    outcome = judge_edit(question, room, reference, reply.boxes, reply.after)
    changing = [room.objects[i] for i in question.targets]
    target = f"the {changing[0].color} {changing[0].category}" if changing else question.category
    return Row(
        question=question.text,
        kind="layout",
        answer=reply.text,
        truth=f"{target}: {question.relation.replace('_', ' ')}",
        right=reply.success and right(outcome),
        missed=missed(outcome) if reply.success else "",
        latency_ms=reply.latency_ms,
        via=via,
        boxes=reply.boxes,
        after_boxes=reply.after,
        truth_boxes=tuple(item.box for item in changing),
        failed=not reply.success,
    )


def missed(outcome: EditOutcome) -> str:
    """What is wrong with an edit, as text; "" if nothing is."""
    parts = {
        "another object": outcome.right_object,
        "no edit" if outcome.box is None else "no valid pose": outcome.valid,
        "not as asked": outcome.relation,
    }
    return ", ".join(words for words, holds in parts.items() if holds is False)
