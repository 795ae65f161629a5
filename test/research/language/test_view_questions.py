"""Rooms of look-alikes and questions that only their views answer."""

from collections import Counter

import numpy as np
import pytest

from spatial3d_ros.categories import COLORS
from spatial3d_ros.research.language.descriptions import ReferenceResolver
from spatial3d_ros.research.language.view_questions import SETS, AskedViews, make_view_questions
from spatial3d_ros.research.rooms.appearance import appearance_pairs
from spatial3d_ros.research.rooms.generator import generate_room
from spatial3d_ros.research.rooms.look_alikes import KINDS
from spatial3d_ros.research.rooms.view_store import ViewStore

SEEDS = range(850_000, 850_012)


def rooms(**options):
    return [generate_room(seed, catalog="alike", **options) for seed in SEEDS]


def test_most_objects_have_a_look_alike_of_the_same_class_and_mean_color():
    alike = total = 0
    for room in rooms(min_objects=8, max_objects=14):
        assert 8 <= len(room.objects) <= 14
        assert {item.category for item in room.objects} <= {*KINDS, "door"}
        alike += len({i for i, _ in appearance_pairs(room.objects)})
        total += len(room.objects)
    assert alike > 0.4 * total
    crowded = rooms(min_objects=30, max_objects=40)
    assert np.mean([len(room.objects) for room in crowded]) >= 25


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rooms")
    return ViewStore(folder, 3, 4, 850_000, (96, 72), "alike", (8, 14))


def test_a_store_of_another_number_of_objects_is_another_store(stored):
    assert stored.name == "alike4_8to14_4x96x72"
    assert all(8 <= len(room.room.objects) <= 14 for room in stored)


def test_what_a_view_shows_is_counted_on_the_instances(stored):
    room = stored[0]
    seen = AskedViews.of(room, np.array([2, 0]))
    assert np.array_equal(seen.pixels, room.seen[[2, 0]])
    item = int(seen.pixels[0].argmax())
    columns = np.argwhere(room.instance[2] == item)[:, 1]
    assert seen.middle[0, item] == pytest.approx(columns.mean() / room.instance.shape[2])
    hidden = seen.pixels[0] == 0
    assert np.isnan(seen.middle[0, hidden]).all() and not seen.side[:, ~seen.pixels.any(0)].any()


def test_every_question_has_one_target_among_its_candidates(stored):
    kinds = Counter()
    for room in stored:
        seen = AskedViews.of(room, np.arange(4))
        objects = [o for o in room.room.objects if seen.pixels[:, o.id].sum() >= 6]
        asked = make_view_questions(objects, seen, np.random.default_rng(room.room.seed), 24)
        assert len({(q.meaning, q.subkind, q.text) for q, _ in asked}) == len(asked)
        for question, candidates in asked:
            (target,) = question.targets
            item = next(o for o in objects if o.id == target)
            meaning = question.meaning[0]
            assert 2 <= candidates <= len(objects)
            assert meaning.category in (None, item.category)
            kinds[question.kind] += 1
            if question.kind == "picture":
                alike = [
                    o
                    for o in objects
                    if o.category == item.category
                    and meaning.color in (None, o.color)
                    and seen.pixels[0, o.id] >= 4
                ]
                order = sorted(alike, key=lambda o: seen.middle[0, o.id])
                assert order[0 if question.subkind == "left" else -1].id == target
                assert "in the first picture" in question.text
            if question.kind == "parts":
                shown = seen.pixels[:, target] >= 4
                assert seen.side[shown, target].any() and not seen.side[shown, target].all()
                assert item.look.side_color in COLORS
    assert kinds["appearance"] and kinds["metric"] and set(kinds) <= set(SETS)


def test_sets_can_be_chosen(stored):
    room = stored[1]
    seen = AskedViews.of(room, np.arange(4))
    asked = make_view_questions(
        room.room.objects, seen, np.random.default_rng(0), 10, sets={"metric": 1.0}
    )
    assert asked and {question.kind for question, _ in asked} == {"metric"}


def test_chains_of_three_relations_have_one_referent_however_they_are_read(stored):
    kinds = Counter()
    for seed in range(8):
        objects = generate_room(seed, min_objects=16, max_objects=24, catalog="alike").objects
        shape = 2, len(objects)
        seen = AskedViews(np.full(shape, 9), np.full(shape, np.nan), np.zeros(shape, bool))
        rng = np.random.default_rng(seed)
        resolver = ReferenceResolver(objects)
        for question, _ in make_view_questions(objects, seen, rng, 8, sets={"hops": 1.0}):
            kinds[question.subkind] += 1
            meaning = question.meaning[0]
            assert objects[resolver.referent(meaning)].id == question.targets[0]
            others = resolver.alternative_referents(meaning)
            assert others & ~(1 << resolver.referent(meaning)) == 0
            depth, anchor = 0, meaning
            while anchor.links:
                depth, anchor = depth + 1, anchor.links[0].anchors[0]
            assert depth == {"hop": 2, "hop3": 3}[question.subkind]
    assert kinds["hop"] > 4 and kinds["hop3"] > 4
