"""What the demo asks about a recorded room, every task in turn, and the rows of its report."""

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
from spatial3d_ros.research.evaluation.room_queries import DEMO_KINDS, ask_about, row_of
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
IN_WORDS = ("color", "count", "things", "exists")
_TRIES = 24  # captions drawn until one is of a thing that words can name


@dataclass(frozen=True)
class DemoQuestion:
    """A question, and the service that it goes to: `kind` ground, distance, layout or ask.

    `row` judges a reply to it that came `via` a service or the action.
    """

    text: str
    kind: str
    row: Callable[[Reply, str], Row]


def demo_questions(recorded: RecordedRoom, seed: int, tasks: Sequence[str]) -> list[DemoQuestion]:
    """Places and distances, changes of the layout, and what of `tasks` needs weights trained for it
    ("ask", "caption"); about what was seen, in wordings kept for tests.
    """
    seen, room = recorded.seen(), recorded.room
    asked = [
        DemoQuestion(
            question.text,
            "distance" if question.kind == "distance" else "ground",
            partial(row_of, question, room),
        )
        for question in ask_about(seen, seed, DEMO_KINDS, varied=True)
    ]
    asked += [
        DemoQuestion(question.text, "layout", partial(_edit_row, question, reference, recorded))
        for question, reference in layout_questions(room, seen, seed, EDITS)
    ]
    if "ask" in tasks:
        rng = np.random.default_rng((seed, 47))
        for kind in IN_WORDS:
            made = make_open_questions(seen, rng, 1, split="test", tasks=("ask",), kinds=(kind,))
            asked += [DemoQuestion(q.text, "ask", partial(_words_row, q, seen)) for q in made]
    if "caption" in tasks:
        asked += _caption(seen, seed)
    return asked


def _caption(seen: Sequence[RoomObject], seed: int) -> list[DemoQuestion]:
    """One "describe the lamp", of a thing that its noun alone names; none where nothing is such."""
    rng = np.random.default_rng((seed, 53))
    quick = random.Random(seed)
    resolver = ReferenceResolver(seen)
    sampler, realizer = DescriptionSampler(resolver, quick), Realizer(quick, "test")
    slots = {thing.id: i for i, thing in enumerate(resolver.objects)}
    for question in make_open_questions(seen, rng, _TRIES, split="test", tasks=("caption",)):
        noun = [d for d in sampler.by_attribute[slots[question.about[0]]] if d.color is None]
        if noun:
            text = question.text.replace(OBJECT_SLOT, realizer.definite(noun[0]))
            question = replace(question, text=text)
            return [DemoQuestion(text, "ask", partial(_words_row, question, seen))]
    return []


def _words_row(
    question: OpenQuestion, seen: Sequence[RoomObject], reply: Reply, via: str = ""
) -> Row:
    """An answer in words; of a caption class and colour must be right."""
    about = [thing for thing in seen if thing.id in question.about]
    if question.task == "caption":
        told = judge_caption(reply.text.split(";")[0], about[0], seen)  # then other resolver
        wrong = [part for part, ok in (("class", told.named), ("colour", told.color)) if not ok]
    else:
        wrong = [] if matches(reply.text, question.answers) else ["words"]
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
        truth_boxes=tuple(thing.box for thing in about),
        failed=not reply.success,
    )


def _edit_row(
    question: LayoutQuestion, reference: Box3D, recorded: RecordedRoom, reply: Reply, via: str = ""
) -> Row:
    """A layout edit: the right thing, a place where it can stand, and what was asked for."""
    room = recorded.room
    outcome = judge_edit(question, room, reference, reply.boxes, reply.after)
    changing = [room.objects[i] for i in question.targets]
    who = f"the {changing[0].color} {changing[0].category}" if changing else question.category
    return Row(
        question=question.text,
        kind="layout",
        answer=reply.text,
        truth=f"{who}: {question.relation.replace('_', ' ')}",
        right=reply.success and right(outcome),
        missed=missed(outcome) if reply.success else "",
        latency_ms=reply.latency_ms,
        via=via,
        boxes=reply.boxes,
        after_boxes=reply.after,
        truth_boxes=tuple(thing.box for thing in changing),
        failed=not reply.success,
    )


def missed(outcome: EditOutcome) -> str:
    """What is wrong with an edit, in words; "" where nothing is."""
    parts = {
        "another object": outcome.right_object,
        "no edit" if outcome.box is None else "no place for it": outcome.valid,
        "not as asked": outcome.relation,
    }
    return ", ".join(words for words, holds in parts.items() if holds is False)
