"""Answers read off the object map: descriptions resolved by scores, labels and geometry."""

from dataclasses import replace

import numpy as np
import pytest

from spatial3d_ros.errors import NotFoundError, QueryError
from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.research.query.execution import Execution, instruction_of, refuse
from spatial3d_ros.research.query.resolution import Resolver, Weights
from spatial3d_ros.research.query.vocabulary import UnknownWordError
from spatial3d_ros.scene.objects import SceneObject
from spatial3d_ros.tasks.query import Description, ParsedQuery, RelationPhrase

OBJECTS = [  # label, colour, centre, size
    ("table", "brown", (0, 0, 0.4), (1.2, 0.8, 0.8)),
    ("mug", "red", (0.2, 0, 0.85), (0.1, 0.1, 0.1)),
    ("mug", "blue", (3.0, 0, 0.45), (0.1, 0.1, 0.1)),
    ("chair", "red", (1.2, 0, 0.45), (0.5, 0.5, 0.9)),
    ("chair", "red", (4.0, 2.0, 0.5), (0.6, 0.6, 1.0)),
    ("sofa", "gray", (3.0, 0, 0.4), (0.9, 2.0, 0.8)),
]


FULL = Weights()


def known(index, label, color, center, size):
    return SceneObject(
        index, Box3D(center, size), (0, 0, 0), 0.9, 3, 1, np.empty((0, 3)), label, color
    )


def make(objects=OBJECTS, weights=FULL, scores=None, camera=(0.0, -4.0)):
    items = [known(k, *row) for k, row in enumerate(objects)]
    boxes = np.array([o.box.array() for o in items])

    def flat(phrases):
        return np.zeros((len(phrases), len(items) + 1)) if scores is None else scores(phrases)

    return Execution(Resolver(items, boxes, np.array(camera), flat, weights))


def described(head, *modifiers, superlative="", relation=None):
    relations = (
        () if relation is None else (RelationPhrase(relation[0], (described(relation[1]),)),)
    )
    text = " ".join((*modifiers, head))
    return Description(f"the {text}", head, modifiers, superlative, 0, relations)


def ask(intent, *targets, **fields):
    return make().answer(ParsedQuery("?", intent, targets, **fields))


def test_a_description_is_resolved_by_label_colour_relation_and_superlative():
    execution = make()
    assert execution.one(described("sofa"))[0] == 5
    assert execution.one(described("mug", "blue"))[0] == 2
    assert execution.one(described("mug", relation=("on", "table")))[0] == 1
    assert execution.one(described("chair", relation=("closest", "table")))[0] == 3
    assert execution.one(described("chair", relation=("farthest", "table")))[0] == 4
    assert execution.one(described("chair", superlative="largest"))[0] == 4


@pytest.mark.parametrize(
    ("description", "weight"),
    [
        (described("mug", "blue"), "color"),
        (described("mug", relation=("on", "table")), "relation"),
        (described("chair", superlative="largest"), "superlative"),
        (described("sofa"), "label"),
    ],
)
def test_each_term_decides_something(description, weight):
    full = make().resolver.resolve([description])[0].scores
    without = (
        make(weights=replace(Weights(), **{weight: 0.0})).resolver.resolve([description])[0].scores
    )
    best = int(full.argmax())
    assert np.exp(full[best]) - np.exp(without[best]) > 0.1


def test_the_scores_of_the_network_decide_among_equals():
    def second(phrases):
        rows = np.zeros((len(phrases), len(OBJECTS) + 1))
        rows[:, 4] = 3.0
        return rows

    assert make(scores=second).one(described("chair"))[0] == 4


def test_nothing_fits_a_known_noun_that_the_map_lacks():
    execution = make()
    with pytest.raises(NotFoundError, match="the fridge"):
        execution.one(described("fridge"))
    assert execution.answer(ParsedQuery("?", "exists", (described("fridge"),))).text.startswith(
        "no"
    )
    assert execution.answer(ParsedQuery("?", "count", (described("fridge"),))).text.startswith("0")


def test_an_unknown_noun_is_named_with_the_way_out():
    with pytest.raises(UnknownWordError, match=r"'toaster'.*recogniser or detector"):
        make().resolver.corrected(described("toaster"))
    with pytest.raises(UnknownWordError, match="'toaster'"):
        make().resolver.corrected(described("chair", relation=("next_to", "toaster")))
    description, changes = make().resolver.corrected(described("chiar"))
    assert (description.head, changes) == ("chair", [("chiar", "chair")])


def test_counts_colours_and_existence():
    assert ask("count", described("chairs")).text.startswith("2:")
    assert ask("count", described("objects"), color="red").text.startswith("3:")
    assert ask("exists", described("mug", "blue")).text.startswith("yes")
    assert ask("exists", described("mug", "green")).text.startswith("no")
    assert "gray" in ask("attribute.color", described("sofa")).text
    assert ask("is_attribute", described("sofa"), color="grey").text.startswith("yes")
    assert ask("is_attribute", described("sofa"), color="red").text.startswith("no")


def test_what_is_on_what():
    on_table, support = ask("what_on", described("table")), ask("support", described("mug", "red"))
    assert on_table.text == "a red mug" and on_table.objects[0].object.id == 1
    assert support.objects[0].object.label == "table"
    assert ask("support", described("mug", "blue")).objects[0].object.label == "sofa"
    assert ask("support", described("sofa")).text == "the floor"
    assert ask("anything_on", described("chair", superlative="largest")).text.startswith("no")


def test_sizes_and_comparisons():
    assert ask("size.height", described("table")).text.startswith("0.80 m")
    closer = ask("compare", described("mug", "blue"), described("sofa"), described("table"))
    assert closer.text.startswith("the gray sofa")
    farther = ask("compare_far", described("mug", "blue"), described("sofa"), described("table"))
    assert farther.text.startswith("the brown table")
    assert ask("compare_size", described("sofa"), described("table")).text == "the gray sofa"


def test_two_boxes_of_one_object_count_once():
    rows = [*OBJECTS, ("sofa", "gray", (3.0, 0.2, 0.4), (0.9, 1.5, 0.8))]
    answer = make(rows).answer(ParsedQuery("?", "count", (described("sofas"),)))
    assert answer.text.startswith("1:")


@pytest.mark.parametrize(
    ("intent", "words"),
    [
        ("unsupported.language", "English"),
        ("unsupported.two", "one at a time"),
        ("unsupported.greeting", "no question"),
        ("last_seen", "memory"),
    ],
)
def test_refusals_say_why(intent, words):
    with pytest.raises(QueryError, match=words):
        refuse(ParsedQuery("?", intent))


def test_instructions_of_edits():
    move = ParsedQuery("?", "edit.move", (described("chair"), described("table")), relation="near")
    assert instruction_of(move).relation == "next_to"
    turn = ParsedQuery("turn it clockwise", "edit.turn", (described("chair"),), degrees=45.0)
    assert instruction_of(turn).degrees == -45.0
    for query, words in (
        (ParsedQuery("?", "edit.remove_all", (described("sofa"),)), "several objects"),
        (
            ParsedQuery("?", "edit.move", (described("chair"),), relation="on"),
            "no object to put it",
        ),
        (ParsedQuery("?", "edit.move", (described("chair"),)), "where to"),
        (ParsedQuery("?", "locate", (described("chair"),)), "no change"),
    ):
        with pytest.raises(QueryError, match=words):
            instruction_of(query)
