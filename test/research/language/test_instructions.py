"""Free-form questions and layout edits of rooms: truth and templates."""

import itertools
import re

import numpy as np
import pytest

from spatial3d_ros.categories import COLORS, nouns
from spatial3d_ros.geometry.box import Box3D, center_distance, surface_distance
from spatial3d_ros.research.evaluation.layout import judge_edit, right
from spatial3d_ros.research.language.edits import possible_edits
from spatial3d_ros.research.language.layout_instructions import (
    LAYOUT_TEMPLATES,
    LayoutQuestion,
    make_layout_questions,
)
from spatial3d_ros.research.language.qa_generator import (
    KINDS,
    RICH_KINDS,
    TASKS,
    make_open_questions,
)
from spatial3d_ros.research.language.qa_templates import OBJECT_SLOT, QA_TEMPLATES, list_answers
from spatial3d_ros.research.language.questions import MAX_WORDS
from spatial3d_ros.research.rooms.catalog import FLOOR, Room, RoomObject
from spatial3d_ros.research.rooms.generator import generate_room
from spatial3d_ros.resources import resource_path
from spatial3d_ros.tasks.distance import kind_of
from spatial3d_ros.tasks.query_network import load_reader
from spatial3d_ros.tasks.query_reader import parse_query

ROOMS = range(40)


def asked(seed, n=24, **options):
    room = generate_room(seed)
    return room, make_open_questions(room.objects, np.random.default_rng(seed), n, **options)


def every(split="train", **options):
    for seed in ROOMS:
        room, questions = asked(seed, split=split, **options)
        for question in questions:
            yield {o.id: o for o in room.objects}, question


def nouns_for(item):
    """Nouns that users may choose for it."""
    broader = {"armchair": "chair", "desk": "table"}
    names = [item.category, broader.get(item.category, item.category)]
    return {noun for name in names for noun in nouns(name)}


@pytest.mark.parametrize("split", ["train", "test"])
def test_answers_agree_with_the_objects(split):
    basic = {kind for kinds in KINDS.values() for kind in kinds} - RICH_KINDS
    counted = dict.fromkeys(sorted(basic), 0)
    for objects, q in every(split):
        counted[q.kind] += 1
        about = [objects[i] for i in q.about]
        answer = q.answers[0]
        assert len(q.text.split()) <= MAX_WORDS and len(set(q.about)) == len(q.about)
        if q.kind == "center":
            assert q.metres == pytest.approx(center_distance(*(o.box for o in about)))
        elif q.kind == "surface":
            assert q.metres == pytest.approx(surface_distance(*(o.box for o in about))[0])
        elif q.kind == "things":
            assert q.answers == list_answers([o.category for o in about])
        elif q.kind == "count":
            assert answer == str(len(about))
            assert len({frozenset(nouns_for(o)) for o in about}) <= 1
        elif q.kind == "color":
            assert len(about) == 1 and about[0].color == answer
            assert not set(COLORS) & set(q.text.lower().split()[:4])
        elif q.kind == "exists":
            assert answer == ("yes" if about else "no")
        elif q.kind in ("view", "bigger"):
            assert answer == f"the {about[0].color} {nouns(about[0].category)[0]}"
        else:
            assert q.text.count(OBJECT_SLOT) == 1 and len(about) == 1
            assert f" {about[0].color} {nouns(about[0].category)[0]}" in answer
        if q.metres is not None:
            assert answer == f"{q.metres:.2f} m"
    assert min(counted.values()) > 5, counted


def test_comparisons_of_size():
    """The words of the comparison decide by volume or by height, and one of two must win."""
    more = r"(?:bigger|larger|smaller|taller|higher|lower)"
    two = re.compile(rf"\bthe ([\w ]+?) (?:or|and) the ([\w ]+?)(?:[,?.]|$| {more}\b)")
    compared = 0
    for objects, q in every(kinds=("bigger",)):
        text, winner = q.text.lower(), objects[q.about[0]]
        named = [
            [o for o in objects.values() for n in nouns_for(o) if phrase in (n, f"{o.color} {n}")]
            for phrase in two.search(text).groups()
        ]
        if [len(one) for one in named] != [1, 1]:
            continue  # described by more than class and colour
        word = re.search(more, text)[0]
        first, second = (
            one[0].box.size[2] if word in ("taller", "higher", "lower") else one[0].box.volume
            for one in named
        )
        assert winner is named[(first < second) != (word in ("smaller", "lower"))][0], q
        compared += 1
    assert compared > 10


@pytest.mark.parametrize("split", ["train", "test"])
def test_the_reader_finds_the_task_of_a_question(split):
    reader = load_reader(resource_path("weights/reader.safetensors"))
    right, total = 0, 0
    for _, q in itertools.islice(every(split), 150):
        distance = parse_query(q.text, reader).intent == "distance"
        right += distance == (q.task == "distance")
        total += 1
        if q.task == "distance":
            assert kind_of(q.text, "auto") == q.kind, q.text
    assert right / total > 0.9


def test_templates_of_the_splits_are_disjoint():
    for templates in (QA_TEMPLATES, LAYOUT_TEMPLATES):
        assert templates["train"].keys() == templates["test"].keys()
        for family, train in templates["train"].items():
            assert not set(train) & set(templates["test"][family]), family


def test_seed_and_tasks_determine_the_questions():
    assert asked(3)[1] == asked(3)[1]
    for task in TASKS:
        assert {q.task for q in asked(4, tasks=(task,))[1]} == {task}
    assert make_open_questions((), np.random.default_rng(0), 5) == []
    texts = [(q.text.lower(), q.about) for q in asked(5, 40)[1]]
    assert len(set(texts)) == len(texts)


def test_lists_are_correct_in_any_order():
    assert list_answers(["mug", "book", "mug"]) == ("a book and 2 mugs", "2 mugs and a book")
    assert len(list_answers(["mug", "book", "vase"])) == 6
    assert list_answers([]) == ("nothing",)
    assert list_answers(["armchair"]) == ("an armchair",)


# Edits


@pytest.fixture(scope="module")
def edits():
    made = []
    for split in ("train", "test"):
        for seed in range(16):
            room = generate_room(seed)
            rng = np.random.default_rng(seed)
            drawn = make_layout_questions(room.objects, rng, 12, split=split, sized=True)
            made += [(room, edit) for edit in possible_edits(room, drawn)]
    return made


def test_every_edit_is_correct_for_the_evaluation(edits):
    seen = set()
    for room, edit in edits:
        question, things = edit.question, [room.objects[i] for i in edit.objects]
        seen.add((edit.action, question.relation))
        assert edit.before == tuple(thing.box for thing in things)
        assert len(edit.after) == (0 if edit.action == "remove" else max(1, len(things)))
        outcome = judge_edit(question, room, edit.box, edit.before, edit.after)
        assert right(outcome), question
        half = np.array([room.size[0] / 2, room.size[1] / 2])
        for box, thing in zip(edit.after, things, strict=False):
            assert box.size == thing.box.size
            low, high = box.bounds()
            out = np.maximum(-half - low[:2], high[:2] - half)
            old_low, old_high = thing.box.bounds()
            was = np.maximum(-half - old_low[:2], old_high[:2] - half)
            assert (out <= np.maximum(was, 0.02) + 1e-6).all()
        if question.metres is not None:
            moved = np.linalg.norm(np.subtract(edit.box.center, edit.before[0].center))
            assert moved == pytest.approx(question.metres, abs=0.1)
            assert question.metres / 0.25 == pytest.approx(round(question.metres / 0.25))
        if edit.action == "place":
            assert edit.after[0].size == question.size
            assert f"{question.size[0]:.2f} x {question.size[1]:.2f} x " in question.text
    actions = {action for action, _ in seen}
    assert actions == {"move", "place", "remove", "swap", "turn"}
    assert {r for a, r in seen if a == "move"} >= {"towards", "away", "next_to", "on", "left"}


def test_impossible_edits_are_left_out():
    """A room that one thing fills."""
    bed, mug = Box3D((0, 0, 0.25), (2.9, 2.9, 0.5)), Box3D((1, 1, 0.55), (0.1, 0.1, 0.1))
    room = Room(0, (3.0, 3.0, 2.5), (
        RoomObject(0, "bed", "red", (200, 30, 30), bed, FLOOR, 0.0, "fabric", 0),
        RoomObject(1, "mug", "blue", (30, 30, 200), mug, 0, 0.0, "plain", 0),
    ))  # fmt: skip

    def ask(**answers):
        return LayoutQuestion("", "", **answers)

    no_room = ask(relation="next_to", targets=(1,), anchors=(0,))
    too_far = ask(relation="towards", targets=(1,), anchors=(0,), metres=9.0)
    lamp = ask(relation="next_to", anchors=(0,), category="lamp", size=(0.4, 0.4, 1.5))
    gone = ask(relation="remove", targets=(1,))
    (edit,) = possible_edits(room, (no_room, too_far, lamp, gone))
    assert (edit.question, edit.objects, edit.after, edit.box) == (gone, (1,), (), mug)
