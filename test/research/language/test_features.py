"""Sentences about looks are true, refer to one object, and need its look where they say so."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from spatial3d_ros.categories import nouns
from spatial3d_ros.english import plural
from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.research.language.descriptions import Description, ReferenceResolver
from spatial3d_ros.research.language.feature_words import feature_words
from spatial3d_ros.research.language.features import Feature, features, fits
from spatial3d_ros.research.language.qa_generator import RICH_KINDS, make_open_questions
from spatial3d_ros.research.language.qa_templates import look_words
from spatial3d_ros.research.language.questions import Question, make_questions
from spatial3d_ros.research.rooms.appearance import MAX_DIFFERENCE, alike_in_size, mean_color
from spatial3d_ros.research.rooms.catalog import FLOOR, Look, Room, RoomObject
from spatial3d_ros.research.rooms.color_names import difference
from spatial3d_ros.research.rooms.generator import generate_room

Asked = list[tuple[Room, list[Question]]]


@pytest.fixture(scope="module")
def asked() -> Asked:
    made = []
    for seed in range(850_000, 850_030):
        room = generate_room(seed, catalog="full")
        made.append((room, make_questions(room.objects, np.random.default_rng(seed), 24)))
    return made


def pillow(look: Look, index: int = 0, color: str = "red", material: str = "fabric") -> RoomObject:
    box = Box3D((0.6 * index, 0.0, 0.1), (0.4, 0.4, 0.2))
    return RoomObject(index, "pillow", color, (196, 34, 36), box, FLOOR, 0.0, material, 0, look)


STRIPED = Look("striped", "white", (236, 236, 232), shape="square", place="top")


def test_an_appearance_question_needs_the_look(asked: Asked) -> None:
    subkinds = set()
    for room, questions in asked:
        for question in (q for q in questions if q.kind == "appearance"):
            subkinds.add(question.subkind)
            target = room.objects[question.targets[0]]
            feature = question.meaning[0].feature
            assert feature in features(target)
            twins = [
                o
                for o in room.objects
                if o.id != target.id
                and o.category == target.category
                and alike_in_size(o, target)
                and difference(mean_color(o), mean_color(target)) <= MAX_DIFFERENCE
            ]
            assert twins and any(feature not in features(o) for o in twins), question
    assert len(subkinds) >= 4
    assert sum(q.kind == "appearance" for _, made in asked for q in made) > 30


def test_a_description_with_a_feature_has_one_referent(asked: Asked) -> None:
    for room, questions in asked:
        for question in questions:
            meaning = question.meaning[0]
            if question.kind != "attribute" or meaning.feature is None:
                continue
            fitting = [
                o.id
                for o in room.objects
                if o.category == meaning.category and meaning.feature in features(o)
            ]
            assert fitting == list(question.targets), question
            words = [*feature_words(meaning.feature), meaning.feature.value]
            assert any(word.lower() in question.text.lower() for word in words), question


def test_what_is_absent_is_absent(asked: Asked) -> None:
    found = 0
    for room, questions in asked:
        for question in questions:
            meaning = question.meaning[0]
            if question.kind == "none" and question.subkind == "feature":
                found += 1
                assert not any(
                    o.category == meaning.category and fits(meaning.feature, o)[0]
                    for o in room.objects
                ), question
    assert found > 5


def test_a_striped_pillow_has_two_colors_and_no_one_of_them_alone() -> None:
    plain = pillow(Look(shape="square", place="top"), 1)
    resolver = ReferenceResolver((pillow(STRIPED), plain))
    striped = Feature("pattern", "striped")
    assert resolver.referent(Description("pillow", feature=striped)) == 0
    for color in ("red", "white"):
        assert resolver.referent(Description("pillow", color, feature=striped)) == 0
    # "the red pillow" could be both, so it is not asked.
    assert resolver.referent(Description("pillow", "red")) == -1


def test_the_color_of_a_part_is_no_color_of_the_whole() -> None:
    seat = Look(part="seat", part_color="blue", part_rgb=(30, 70, 200), place="top")
    chairs = [
        replace(pillow(seat), category="chair", material="wood"),
        replace(pillow(Look(place="top"), 1), category="chair", material="wood", color="blue"),
    ]
    resolver = ReferenceResolver(chairs)
    # A blue chair has a blue seat too: strictly only the first fits, but it is not asked.
    feature = Feature("part", "blue", "seat")
    assert fits(feature, chairs[0]) == (True, True)
    assert fits(feature, chairs[1]) == (False, True)
    assert resolver.referent(Description("chair", feature=feature)) == -1
    other = ReferenceResolver((chairs[0], replace(chairs[1], color="green")))
    assert other.referent(Description("chair", feature=feature)) == 0


def test_captions_say_what_is_seen() -> None:
    assert look_words(pillow(STRIPED)) == "red and white striped pillow"
    box = replace(
        pillow(Look(side="left", side_color="blue", side_rgb=(1, 2, 3), state="closed")),
        category="box", material="wood", color="brown",
    )  # fmt: skip
    assert look_words(box) == "brown wooden box with a blue side"
    assert look_words(replace(box, look=None)) == "brown box"


def test_answers_agree_with_the_looks() -> None:
    counted = dict.fromkeys(sorted(RICH_KINDS), 0)
    for seed in range(850_000, 850_030):
        room = generate_room(seed, catalog="full")
        rng = np.random.default_rng(seed)
        for question in make_open_questions(room.objects, rng, 12, kinds=sorted(RICH_KINDS)):
            counted[question.kind] += 1
            item = room.objects[question.about[0]]
            true = next(f for f in features(item) if f.kind == question.kind)
            assert true.value.lower() in question.answers
    assert min(counted.values()) > 3, counted
    basic = generate_room(850_000)
    asked_basic = make_open_questions(basic.objects, np.random.default_rng(0), 40)
    assert RICH_KINDS.isdisjoint(question.kind for question in asked_basic)


def test_plurals_of_nouns_with_phrases_behind() -> None:
    assert plural("chair with a red seat") == "chairs with a red seat"
    assert plural("lamp that is on") == "lamps that are on"
    assert nouns("fridge")[0] == "fridge" and "storage container" in nouns("storage bin")
