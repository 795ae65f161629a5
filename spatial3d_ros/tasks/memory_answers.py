"""Typed queries about time and regions, answered from the memory across sessions."""

from __future__ import annotations

from spatial3d_ros.memory.object_memory import ObjectMemory
from spatial3d_ros.memory.questions import MemoryAnswer, MemoryQuestions
from spatial3d_ros.memory.time_words import time_range
from spatial3d_ros.tasks.outcome import Outcome
from spatial3d_ros.tasks.query import Description, ParsedQuery
from spatial3d_ros.tasks.results import Point, ScoredObject, format_point

MEMORY_INTENTS = frozenset({"last_seen", "when_seen", "changed", "missing", "moved", "region_of"})
"""Intents that only a memory can answer."""
REGION_INTENTS = frozenset({"count", "list", "exists", "locate", "locate_all"})
"""Intents that it answers when the query names a region ("the chairs in the kitchen")."""


def is_for_memory(query: ParsedQuery) -> bool:
    """Whether a query is about time, or about objects in a named region."""
    return query.intent in MEMORY_INTENTS or bool(query.region and query.intent in REGION_INTENTS)


def answer_from_memory(query: ParsedQuery, memory: ObjectMemory) -> MemoryAnswer:
    """The answer to a query for which `is_for_memory` holds."""
    questions = MemoryQuestions(memory)
    target = query.targets[0] if query.targets else Description("", "")
    noun, modifiers = target.head, target.modifiers
    start, end = time_range(query.time, memory.newest_ns, memory.ended_ns)
    match query.intent:
        case "last_seen":
            return questions.last_seen(noun, modifiers)
        case "when_seen":
            return questions.when_seen(noun, modifiers)
        case "changed":
            return questions.changed(start, end, query.region)
        case "missing":
            return questions.missing(noun or _anchor(target), start, query.region)
        case "moved":
            return questions.moved(noun, start, modifiers)
        case "region_of":
            return questions.region_of(noun, modifiers)
        case _:
            return questions.objects_in_region(query.region, noun)


def remembered(query: ParsedQuery, memory: ObjectMemory) -> Outcome:
    """The answer of the memory as an outcome."""
    found = answer_from_memory(query, memory)
    objects = scored(found, memory.newest_ns)
    return Outcome(
        found.text,
        objects,
        no_target=not found.known and query.intent.startswith("locate"),
        num_targets=len(objects),
        text_points=printed_points(found),
    )


def scored(answer: MemoryAnswer, newest_ns: int) -> tuple[ScoredObject, ...]:
    """The objects of an answer as results; remembered ones are as sure as their records."""
    return tuple(ScoredObject(o.as_scene_object(newest_ns + 1), o.score) for o in answer.objects)


def printed_points(answer: MemoryAnswer) -> tuple[Point, ...]:
    """The points that the text prints."""
    centers = [known.box.center for known in answer.objects]
    return tuple(center for center in centers if format_point(center) in answer.text)[:1]


def _anchor(target: Description) -> str:
    """The noun of the first relation: "the table" of "from the table"."""
    for relation in target.relations:
        for anchor in relation.anchors:
            return anchor.head
    return ""
