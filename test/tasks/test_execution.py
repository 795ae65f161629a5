"""Answers read off the object map: descriptions resolved by scores, labels and geometry."""

from dataclasses import replace

import numpy as np
import pytest

from spatial3d_ros.errors import NotAvailableError, NotFoundError, QueryError
from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.scene.objects import SceneObject
from spatial3d_ros.tasks.answering import refuse
from spatial3d_ros.tasks.edit_query import instruction_of
from spatial3d_ros.tasks.execution import Execution
from spatial3d_ros.tasks.query import Description, ParsedQuery, RelationPhrase
from spatial3d_ros.tasks.relation_terms import RelationTerms, Viewer
from spatial3d_ros.tasks.resolution import Resolver
from spatial3d_ros.tasks.resolution_weights import shipped_weights
from spatial3d_ros.tasks.selection import Selection
from spatial3d_ros.tasks.vocabulary import UnknownWordError, Vocabulary, purpose_of

OBJECTS = [  # label, colour, centre, size
    ("table", "brown", (0, 0, 0.4), (1.2, 0.8, 0.8)),
    ("mug", "red", (0.2, 0, 0.85), (0.1, 0.1, 0.1)),
    ("mug", "blue", (3.0, 0, 0.45), (0.1, 0.1, 0.1)),
    ("chair", "red", (1.2, 0, 0.45), (0.5, 0.5, 0.9)),
    ("chair", "red", (4.0, 2.0, 0.6), (0.8, 0.8, 1.2)),
    ("sofa", "gray", (3.0, 0, 0.4), (0.9, 2.0, 0.8)),
]


FULL = shipped_weights()


def known(index, label, color, center, size):
    return SceneObject(
        index, Box3D(center, size), (0, 0, 0), 0.9, 3, 1, np.empty((0, 3)), label, color
    )


def make(objects=OBJECTS, weights=FULL, scores=None, camera=(0.0, -4.0), referred=()):
    items = [known(k, *row) for k, row in enumerate(objects)]
    boxes = np.array([o.box.array() for o in items])

    def flat(phrases):
        return np.zeros((len(phrases), len(items) + 1)) if scores is None else scores(phrases)

    words = Vocabulary(o.label for o in items)
    where = np.array(camera)
    return Execution(Selection(Resolver(items, boxes, where, flat, words, referred, weights)))


def one(execution, description):
    return execution.selection.one(description).objects[0]


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
    assert one(execution, described("sofa")) == 5
    assert one(execution, described("mug", "blue")) == 2
    assert one(execution, described("mug", relation=("on", "table"))) == 1
    assert one(execution, described("chair", relation=("closest", "table"))) == 3
    assert one(execution, described("chair", relation=("farthest", "table"))) == 4
    assert one(execution, described("chair", superlative="largest")) == 4


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
    without = make(weights=FULL.without(weight)).resolver.resolve([description])[0].scores
    best = int(full.argmax())
    assert np.exp(full[best]) - np.exp(without[best]) > 0.05


def test_the_scores_of_the_network_decide_among_equals():
    def second(phrases):
        rows = np.zeros((len(phrases), len(OBJECTS) + 1))
        rows[:, 4] = 3.0
        return rows

    assert one(make(scores=second), described("chair")) == 4


def test_labels_of_a_recogniser_that_are_divided_count_by_their_shares():
    labels = {5: (("sofa", 0.6), ("bed", 0.3)), 3: (("chair", 0.45), ("suitcase", 0.45))}
    execution = make()
    resolver = execution.selection.resolver
    resolver.objects = tuple(
        replace(o, label_score=0.6, labels=labels.get(o.id, ((o.label, 0.9),)))
        for o in resolver.objects
    )
    assert one(execution, described("sofa")) == 5
    assert one(execution, described("chair", relation=("closest", "table"))) == 3
    resolver.vocabulary = Vocabulary(name for o in resolver.objects for name in o.nouns)
    assert one(execution, described("suitcase")) == 3
    assert not execution.selection.choose([described("bed")])[0].objects


def test_a_recognisers_label_counts_more_than_the_networks_name():
    def farther(phrases):
        return np.tile([0.0, 0, 0, 0, 3, 0, 0], (len(phrases), 1))

    execution = make(scores=farther)
    assert one(execution, described("chair")) == 4
    resolver = execution.selection.resolver
    resolver.objects = tuple(
        replace(o, label_score=0.9 * (o.id == 3), labels=((o.label, 0.9),))
        for o in resolver.objects
    )
    assert one(execution, described("chair")) == 3


def test_nothing_fits_a_known_noun_that_the_map_lacks():
    execution = make()
    with pytest.raises(NotFoundError, match="the fridge"):
        execution.selection.one(described("fridge"))
    assert execution.answer(ParsedQuery("?", "exists", (described("fridge"),))).text.startswith(
        "no"
    )
    assert execution.answer(ParsedQuery("?", "count", (described("fridge"),))).text.startswith("0")


def read(execution, *targets):
    return execution.selection.known(ParsedQuery("?", "locate", targets))


def test_what_the_map_names_otherwise_is_not_pointed_at_while_it_may_well_be_that_nothing_fits():
    for nothing, found in ((0.0, 1), (3.8, 0)):
        scores = np.zeros(len(OBJECTS) + 1)
        scores[-1], scores[5] = nothing, 4.0
        selection = make(
            weights=replace(FULL, terms=dict.fromkeys(FULL.terms, 0.0) | {"network": 1.0}),
            scores=lambda phrases, scores=scores: np.tile(scores, (len(phrases), 1)),
        ).selection
        assert len(selection.choose([described("bed")])[0].objects) == found
        assert len(selection.choose([described("sofa")])[0].objects) == 1  # as the map names it
        assert len(selection.one(described("bed")).objects) == 1  # to tell something of it


def test_doors_and_windows_are_no_objects_where_sizes_of_all_are_compared():
    objects = [*OBJECTS, ("door", "white", (0, 3, 1.2), (2.0, 0.6, 2.4))]
    execution = make(objects)
    assert one(execution, described("object", superlative="largest")) == 5
    assert one(execution, described("object", superlative="tallest")) == 4
    assert one(execution, described("object", "red", superlative="largest")) == 4
    assert one(execution, described("door", superlative="largest")) == 6


def test_a_name_of_several_words_that_was_read_in_part():
    objects = [*OBJECTS, ("mini fridge", "white", (0, 3, 0.4), (0.5, 0.5, 0.8))]
    text = "the chair nearer to the mini fridge"
    target = described("chair", relation=("closest", "mini"))
    query = make(objects).selection.known(ParsedQuery(text, "locate", (target,)))
    assert query.targets[0].relations[0].anchors[0].head == "mini fridge"


def test_an_unknown_noun_is_named_with_the_way_out():
    with pytest.raises(UnknownWordError, match=r"'toaster'.*recogniser or detector"):
        read(make(), described("toaster"))
    with pytest.raises(UnknownWordError, match="'toaster'"):
        read(make(), described("chair", relation=("next_to", "toaster")))
    with pytest.raises(UnknownWordError, match="'toaster'"):
        read(make(), Description("the toaster", ""))  # a noun that the reader did not mark
    assert read(make(), described("sleep")).targets[0].head == "bed"
    query = read(make(), described("chiar", "purpel"))
    assert (query.targets[0].head, query.targets[0].modifiers) == ("chair", ("purple",))
    assert query.corrections == (("chiar", "chair"), ("purpel", "purple"))
    assert query.targets[0].text == "the purple chair"


def test_two_that_fit_are_asked_back_and_no_plural():
    answer = ask("locate", described("mug"))
    assert answer.question_back == "the red or the blue mug?" and answer.num_ties == 2
    assert (answer.num_targets, len(answer.objects), answer.no_target) == (1, 2, False)
    assert ask("size.height", described("mug")).question_back == answer.question_back
    alike = ask("locate", described("chair"))
    assert alike.question_back.startswith("which of the 2? Say more about the chair")
    assert not ask("locate", Description("a mug", "mug")).question_back  # any will do
    every = ask("locate", Description("all mugs", "mugs", quantifier="all"))
    assert (every.num_targets, every.question_back) == (2, "")


def test_a_denied_colour_is_no_wish():
    rows = [*OBJECTS[:4], ("chair", "green", (4.0, 2.0, 0.5), (0.6, 0.6, 1.0))]
    denied = Description("the chair that is not red", "chair", excluded=("red",))
    assert one(make(rows), denied) == 4


def test_ordinals_sides_and_places_in_the_room():
    rows = [("chair", "red", (x, 0, 0.5), (0.5, 0.5, 1.0)) for x in (-2.0, 0.0, 2.0)]
    rows.append(("lamp", "red", (0.0, 1.5, 0.8), (0.3, 0.3, 1.6)))
    execution = make(rows)  # the camera looks along +y: left is -x

    def found(**fields):
        return one(execution, Description("the chair", "chair", **fields))

    assert found(superlative="leftmost") == 0 and found(superlative="rightmost") == 2
    assert found(superlative="leftmost", ordinal=2) == 1 == found(ordinal=2)
    assert found(relations=(RelationPhrase("right", ()),)) == 2
    assert found(relations=(RelationPhrase("left", (described("lamp"),)),)) == 0
    nearer = execution.terms.to_anchor("front", np.eye(4)[3])
    farther = execution.terms.to_anchor("behind", np.eye(4)[3])
    assert nearer[1] == 1 and not farther.any()  # the camera is on the chairs' side of the lamp
    beyond = execution.terms.to_anchor("behind", np.eye(4)[3], Viewer(np.array((0.0, 4.0))))
    assert beyond[1] == 1  # the other way round, seen from beyond the lamp


def test_sides_of_who_stands_at_one_object_and_looks_at_another():
    rows = [
        ("door", "white", (0.0, -2.0, 1.0), (0.9, 0.1, 2.0)),
        ("bed", "blue", (0.0, 2.0, 0.3), (1.4, 1.9, 0.6)),
        ("chair", "red", (-1.5, -1.5, 0.5), (0.5, 0.5, 1.0)),
        ("chair", "blue", (1.5, -1.5, 0.5), (0.5, 0.5, 1.0)),
    ]
    execution = make(rows)

    def beside(predicate, viewpoint, faced, head=""):
        relations = (RelationPhrase(predicate, (Description("me", "me"),)),)
        return Description("?", head, relations=relations, viewpoint=viewpoint, faced=faced)

    def listed(*description):
        answer = execution.answer(ParsedQuery("?", "locate_all", (beside(*description),)))
        return [] if answer.no_target else [scored.object.color for scored in answer.objects]

    assert listed("left", "door", "bed") == ["red"] and listed("right", "door", "bed") == ["blue"]
    assert "blue" in listed("front", "door", "bed") and listed("behind", "door", "bed") == []
    # Who faces the bed from the room sees it along +y, who faces the door along -y.
    for faced, left in (("bed", 2), ("door", 3)):
        assert one(execution, beside("left", "", faced, "chair")) == left
        outermost = Description("?", "chair", superlative="leftmost", faced=faced)
        assert one(execution, outermost) == left


def test_what_an_object_is_for():
    words = ParsedQuery("?", "locate", (Description("something to sit on", "sit"),))
    query = make().selection.known(words)
    assert (query.targets[0].text, query.targets[0].head) == ("a seat", "seat")
    assert purpose_of("sitting") == "seat" and purpose_of("writing") == "desk"
    assert purpose_of("mug") == ""
    assert purpose_of("wash", "wash my clothes") == purpose_of("wash clothes") == "washing machine"
    assert purpose_of("wash", "wash my hands in") == "sink"


def test_front_and_behind_are_opposite_for_a_viewer_and_for_the_front_of_an_anchor():
    """An anchor at the origin looks along +x. By the front: who stands on the +x side faces it."""
    boxes = np.array([(0, 0, 0.5), (2, 0, 0.5), (-2, 0, 0.5), (0, 2, 0.5), (0, -2, 0.5)])
    boxes = np.hstack([boxes, np.full((5, 3), 0.5)])
    front, behind, plus_y, minus_y = 1, 2, 3, 4
    looks = np.array([[1.0, 0.0], *[[np.nan, np.nan]] * 4])
    viewer = Viewer(np.array((5.0, 0.0)))  # in front of it, too
    for terms, seen_from in (
        (RelationTerms(boxes, ["chair"] * 5, None, looks), None),
        (RelationTerms(boxes, ["chair"] * 5, None), viewer),
    ):
        found = {
            side: np.flatnonzero(terms.to_anchor(side, np.eye(5)[0], seen_from)).tolist()
            for side in ("front", "behind", "left", "right")
        }
        # Who looks along -x has -y at the left hand.
        assert found == {
            "front": [front], "behind": [behind], "left": [minus_y], "right": [plus_y],
        }  # fmt: skip
    assert RelationTerms(boxes, ["chair"] * 5, None).to_anchor("front", np.eye(5)[0]) is None


def test_it_is_the_last_answer():
    it = Description("it", "", pronoun=True)
    with pytest.raises(QueryError, match="refers to no earlier answer"):
        ask("size.height", it)
    execution = make(referred=[5])
    assert execution.answer(ParsedQuery("?", "size.height", (it,))).value == "0.80 m"
    beside = Description("the mug on it", "mug", relations=(RelationPhrase("on", (it,)),))
    assert one(execution, beside) == 2


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


def test_an_object_is_not_compared_with_itself():
    for intent, count in (("compare", 3), ("compare_size", 2)):
        targets = (described("sofa"), described("couch"), described("table"))[:count]
        with pytest.raises(QueryError, match="fit the same object"):
            ask(intent, *targets)


def test_a_height_leaves_out_what_stands_inside_the_box():
    rows = [
        ("desk", "brown", (0, 0, 0.5), (1.2, 0.8, 1.0)),  # its box ends at the top of the lamp
        ("lamp", "red", (0.2, 0, 0.85), (0.2, 0.2, 0.3)),
    ]
    answer = make(rows).answer(ParsedQuery("?", "size.height", (described("desk"),)))
    assert answer.value == "0.70 m"
    alone = make(rows[:1]).answer(ParsedQuery("?", "size.height", (described("desk"),)))
    assert alone.value == "1.00 m"


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
    with pytest.raises((QueryError, NotAvailableError), match=words):
        refuse(ParsedQuery("?", intent), None)


def test_instructions_of_edits():
    move = ParsedQuery("?", "edit.move", (described("chair"), described("table")), relation="near")
    assert instruction_of(move).relation == "next_to"
    turn = ParsedQuery("?", "edit.turn", (described("chair"),), "clockwise", degrees=45.0)
    assert instruction_of(turn).degrees == -45.0
    for text, degrees in (
        ("clockwise", -45.0),
        ("anti-clockwise", 45.0),
        ("counterclockwise", 45.0),
    ):
        unmarked = replace(turn, text=f"turn it {text}", relation="")
        assert instruction_of(unmarked).degrees == degrees
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


def looking(*looks):
    """Red pillows, each with looks by attribute."""
    execution = make([("pillow", "red", (k, 0, 0.1), (0.4, 0.3, 0.1)) for k in range(len(looks))])
    objects = tuple(
        replace(known, looks=given) for known, given in zip(execution.objects, looks, strict=True)
    )
    resolver = execution.resolver
    boxes, words = resolver.boxes, resolver.vocabulary
    return Execution(
        Selection(
            Resolver(objects, boxes, None, lambda p: np.zeros((len(p), len(objects) + 1)), words)
        )
    )


def test_a_part_of_an_object_is_no_object_and_no_unknown_word():
    lid = RelationPhrase("with", (Description("a white lid", "lid", ("white",)),))
    box = replace(described("mug"), text="the mug with a white lid", relations=(lid,))
    execution = make(scores=lambda phrases: np.eye(7)[[2] * len(phrases)] * 9)
    query = execution.selection.known(ParsedQuery("?", "locate", (box,)))
    assert query.targets == (box,)
    assert one(execution, box) == 2


def test_colours_and_materials_that_were_read_into_the_noun_are_modifiers():
    query = ParsedQuery("?", "locate", (Description("the red metal chair", "red metal chair"),))
    target = make().selection.known(query).targets[0]
    assert (target.head, target.modifiers) == ("chair", ("red", "metal"))


FABRIC, PLAIN = (("fabric", 0.7), ("leather", 0.3)), (("plain", 0.9), ("striped", 0.1))
STRIPED = (("striped", 0.8), ("plain", 0.2))
BLUE, NO_SECOND = (("blue", 0.6), ("none", 0.4)), (("none", 0.8), ("red", 0.2))


@pytest.mark.parametrize("word", ["striped", "stripy"])
def test_patterns_that_the_network_names_decide_between_lookalikes(word):
    execution = looking(
        {"material": FABRIC, "pattern": PLAIN}, {"material": FABRIC, "pattern": STRIPED}
    )
    assert one(execution, described("pillow", word)) == 1
    assert one(execution, described("pillow", "plain")) == 0


def test_material_and_pattern_are_told_and_confirmed():
    execution = looking({"material": (("wood", 0.9),), "pattern": STRIPED})
    pillow = described("pillow")
    ask = lambda intent, **f: execution.answer(ParsedQuery("?", intent, (pillow,), **f))  # noqa: E731
    assert ask("attribute.material").value == "wood"
    assert ask("attribute.pattern").value == "striped"
    assert ask("is_attribute", color="wooden").value == "yes"
    assert ask("is_attribute", color="dotted").value == "no"


def test_a_network_without_names_of_looks_refuses_and_decides_nothing():
    execution = looking({}, {})
    with pytest.raises(QueryError, match="holds no material"):
        execution.answer(ParsedQuery("?", "attribute.material", (described("pillow"),)))
    scores = execution.resolver.resolve([described("pillow", "striped")])[0].terms["look"]
    assert not scores.any()


def test_a_part_in_another_colour_and_a_state_decide_between_lookalikes():
    execution = looking(
        {"second_color": NO_SECOND, "state": (("open", 0.7), ("closed", 0.3))},
        {"second_color": BLUE, "state": (("closed", 0.9), ("open", 0.1))},
    )
    seat = RelationPhrase("with", (Description("a blue seat", "seat", ("blue",)),))
    assert one(execution, replace(described("pillow"), relations=(seat,))) == 1
    assert one(execution, described("pillow", "open")) == 0
    assert one(execution, described("pillow", "shut")) == 1


def test_a_state_is_told_where_the_network_names_states():
    execution = looking({"state": (("closed", 0.9), ("open", 0.1))}, {})
    ask = lambda word, **f: execution.answer(  # noqa: E731
        ParsedQuery("?", f.pop("intent", "attribute.state"), (described("pillow", word),), **f)
    )
    assert ask("closed").value == "closed"
    assert ask("closed", intent="is_attribute", color="open").value == "no"
    with pytest.raises(QueryError, match="no state"):
        looking({"state": ()}).answer(ParsedQuery("?", "attribute.state", (described("pillow"),)))
