"""Orders, kinds and pairs compared on a small object map, in words and in boxes."""

from dataclasses import replace

import numpy as np
import pytest

from spatial3d_ros.errors import NotFoundError, QueryError
from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.scene.objects import SceneObject
from spatial3d_ros.tasks.comparison import counts_compared, one_verdict
from spatial3d_ros.tasks.conversation import Conversations, continued
from spatial3d_ros.tasks.edit_query import instruction_of, taken_off
from spatial3d_ros.tasks.execution import Execution
from spatial3d_ros.tasks.query import Description, ParsedQuery, RelationPhrase
from spatial3d_ros.tasks.resolution import Resolver
from spatial3d_ros.tasks.selection import Selection
from spatial3d_ros.tasks.vocabulary import UnknownWordError, Vocabulary

OBJECTS = [  # label, colour, material, centre, size
    ("stool", "red", "metal", (0.0, 0.0, 0.30), (0.4, 0.4, 0.60)),
    ("stool", "red", "wood", (2.0, 0.0, 0.255), (0.4, 0.4, 0.51)),
    ("box", "red", "paper", (1.0, 0.0, 0.15), (0.3, 0.3, 0.30)),
    ("table", "brown", "wood", (-3.0, 0.0, 0.35), (1.8, 1.0, 0.70)),
    ("table", "white", "metal", (-3.0, 4.0, 0.35), (1.0, 1.4, 0.70)),
    ("vase", "blue", "glass", (-3.0, 0.0, 0.80), (0.1, 0.1, 0.20)),
    ("box", "blue", "paper", (-3.0, 4.2, 0.80), (0.2, 0.2, 0.20)),
    ("purse", "gray", "leather", (2.0, 3.0, 0.13), (0.3, 0.1, 0.26)),
    ("door", "white", "wood", (2.0, -2.0, 1.0), (0.9, 0.1, 2.0)),
]


def make(objects=OBJECTS):
    items = [
        SceneObject(
            k, Box3D(center, size), (0, 0, 0), 0.9, 3, 1, np.empty((0, 3)), label, color, 0.0,
            ((label, 0.97),), ((color, 0.97),), {"material": ((material, 0.9),)},
        )
        for k, (label, color, material, center, size) in enumerate(objects)
    ]  # fmt: skip
    boxes = np.array([o.box.array() for o in items])

    def silent(phrases):
        return np.zeros((len(phrases), len(items) + 1))

    words = Vocabulary(o.label for o in items)
    where = np.array([0.0, -4.0])
    return Execution(Selection(Resolver(items, boxes, where, silent, words)))


def named(head, *modifiers, relation=None, **fields):
    relations = () if relation is None else (RelationPhrase(relation[0], (named(relation[1]),)),)
    text = " ".join(("the", *modifiers, head))
    return Description(text, head, modifiers, relations=relations, **fields)


def ask(text, intent, *targets, **fields):
    return make().answer(ParsedQuery(text, intent, targets, **fields))


def first(outcome):
    return outcome.objects[0].object.id


@pytest.mark.parametrize(
    ("target", "found"),
    [
        (named("stool", superlative="tallest"), 0),
        (named("stool", superlative="shortest"), 1),
        (named("stool", relation=("closest", "door")), 1),
        (named("box", "small"), 6),
        (named("stool", superlative="rightmost", ordinal=2), 0),
        (Description("the thing closest to the vase", "", relations=(
            RelationPhrase("closest", (named("vase"),)),)), 3),
    ],
)  # fmt: skip
def test_an_order_decides_between_objects_that_fit_equally(target, found):
    outcome = ask("?", "locate", target)
    assert first(outcome) == found and not outcome.question_back
    assert "not sure" not in outcome.text or not target.head


def test_without_an_order_two_are_asked_back():
    assert ask("?", "locate", named("stool")).question_back


@pytest.mark.parametrize(
    ("text", "said", "value"),
    [
        ("are there more boxes than stools?", "no, 2 boxes and 2 stools", "no"),
        ("are there as many boxes as stools", "yes, 2 boxes and 2 stools", "yes"),
        ("how many boxes and stools", "2 boxes and 2 stools", "2 and 2"),
    ],
)
def test_kinds_are_counted_apart(text, said, value):
    outcome = ask(text, "count", named("boxes"), named("stools"))
    assert (outcome.text, outcome.value) == (said, value)


def test_how_many_more_is_a_difference():
    assert counts_compared("how many more boxes than pillows", (3, 1), ("box", "pillow")) == (
        "2: 3 boxes and 1 pillow", "2",
    )  # fmt: skip


def test_what_lies_on_any_table_counts_where_two_tables_are_meant():
    on = Description(
        "things on the table", "", relations=(RelationPhrase("on", (named("table"),)),)
    )
    assert ask("how many things are on the table", "count", on).value == "2"
    white = RelationPhrase("on", (named("table", "white"),))
    assert ask("?", "count", replace(on, relations=(white,))).value == "1"


def test_looks_of_several_objects_are_told_of_all():
    assert ask("what colour are the boxes", "attribute.color", named("boxes")).text == (
        "a red box and a blue box"
    )
    same = ask("are the stools the same colour", "attribute.color", named("stools"))
    assert (same.text, same.value) == ("yes, 2 red stools", "yes")
    both = ask("are both stools red", "is_attribute", named("stools"), color="red")
    assert both.value == "yes" and len(both.objects) == 2
    assert ask("are the boxes red", "is_attribute", named("boxes"), color="red").value == "no"
    assert one_verdict("are any of the boxes red", ("yes", "no"), any_will_do=True) == "yes"


def test_materials_choose_where_several_are_asked_for():
    wooden = Description("everything made of wood", "", ("wood",), quantifier="everything")
    found = ask("?", "locate_all", wooden)
    assert {scored.object.id for scored in found.objects} == {1, 3, 8}


def test_a_small_object_inside_the_box_of_a_large_one_counts():
    inside = ("pillow", "red", "fabric", (-3.0, 0.0, 0.5), (0.3, 0.3, 0.2))
    red = Description("red things", "", ("red",))
    assert make([*OBJECTS, inside]).answer(ParsedQuery("?", "count", (red,))).value == "4"
    twin = ("stool", "red", "metal", (0.0, 0.0, 0.2), (0.3, 0.3, 0.2))
    assert make([*OBJECTS, twin]).answer(ParsedQuery("?", "count", (red,))).value == "3"


def test_what_is_between_two_objects_or_a_pair():
    between = ask(
        "?", "what_near", named("stool", superlative="leftmost"),
        named("stool", superlative="rightmost"), relation="between",
    )  # fmt: skip
    assert between.text == "a red box"
    assert ask("?", "what_near", named("stools"), relation="between").text == "a red box"
    empty = ask("?", "what_near", named("table", "white"), named("purse"), relation="between")
    assert empty.value == "nothing"


def test_a_plural_is_a_pair_where_there_are_two():
    selection = make().selection
    assert sorted(selection.pair([named("stools")]) or ()) == [0, 1]
    assert selection.pair([named("stool")]) is None
    with pytest.raises(NotFoundError, match="I see 1 of them"):
        selection.pair([named("purses")])


def test_a_comparison_names_the_extent_and_confirms_or_denies():
    pair = named("vase"), named("purse")
    taller = ask("is the vase taller than the purse", "compare_size", *pair)
    assert taller.text == "no, the gray purse, 0.26 m high; the blue vase 0.20 m"
    low = ask("which is lower, the vase or the purse", "compare_small", *pair)
    assert low.text.startswith("the blue vase, 0.20 m high")
    assert ask("is the vase wider than the purse", "compare_size", *pair).value == "about the same"


def test_words_of_a_room_and_groups_of_classes():
    known = make().selection.known
    with pytest.raises(UnknownWordError, match="the map holds objects, no 'wall'"):
        known(ParsedQuery("what hangs on the wall", "what_on", (named("wall"),)))
    words = Vocabulary(["purse", "bench", "piano"], ("bag", "purse", "bench", "piano", "chair"))
    assert "purse" in (words.labels_of("bag") or ())
    assert "bench" in (words.labels_of("seat") or ())
    assert words.labels_of("instrument") == ("piano",)


def test_a_verb_that_was_read_as_the_noun_leaves_its_object():
    query = ParsedQuery("?", "locate", (Description("polish the vase", "polish"),))
    assert make().selection.known(query).targets[0].head == "vase"
    with pytest.raises(UnknownWordError, match="zebra"):
        make().selection.known(ParsedQuery("?", "locate", (Description("the zebra", "zebra"),)))


def test_a_part_of_a_known_noun_is_that_noun():
    query = ParsedQuery("is the vase lid closed", "is_attribute", (named("vase lid"),))
    assert make().selection.known(query).targets[0].head == "vase"


def test_answers_in_words_are_as_sure_as_the_names_they_rest_on():
    assert ask("how many stools", "count", named("stools")).confidence == pytest.approx(0.97**2)
    there = ask("is there a vase", "exists", Description("a vase", "vase"))
    assert there.confidence == pytest.approx(0.97)


def test_it_is_what_was_asked_about_and_they_are_what_was_answered():
    on = ask("what is on the white table", "what_on", named("table", "white"))
    talk = Conversations()
    talk.remember("c", ParsedQuery("?", "what_on"), (6,), (on.subject[0].object.id,))
    last = talk.last("c")
    assert last is not None and on.subject[0].object.id == 4
    assert last.referred("how long is it?") == (4,)
    assert last.referred("what colour are they?") == (6,)


def test_what_is_left_out_is_the_last_answer():
    talk = Conversations()
    talk.remember("c", ParsedQuery("find the vase", "locate"), (5,))
    last = talk.last("c")
    far = ParsedQuery("how far from the door", "robot_distance", (named("door"),))
    assert continued(far, last).intent == "distance"
    assert continued(far, None).intent == "robot_distance"
    mine = replace(far, text="how far from me is the door")
    assert continued(mine, last).intent == "robot_distance"
    put = ParsedQuery("put it on the table", "edit.move", (named("table"),), relation="on")
    assert [d.head for d in continued(put, last).targets] == ["", "table"]


def test_a_direction_that_is_written_turns_and_off_tells_which_is_meant():
    turn = ParsedQuery(
        "rotate it 45 degrees clockwise", "edit.turn", (named("table"),), "counterclockwise",
        degrees=45.0,
    )  # fmt: skip
    assert instruction_of(turn).degrees == -45.0
    assert instruction_of(replace(turn, text="45 degrees anticlockwise")).degrees == 45.0
    off = ParsedQuery("take the box off the table", "edit.move", (named("box"), named("table")))
    assert taken_off(off) and not taken_off(replace(off, relation="on"))


def test_a_comparison_without_two_objects_says_what_is_missing():
    with pytest.raises(QueryError, match="name the objects to compare"):
        ask("?", "compare_size", named("vase"))
