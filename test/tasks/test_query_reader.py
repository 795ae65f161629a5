"""Tags of words to typed queries."""

import pytest

from spatial3d_ros.errors import QueryError
from spatial3d_ros.tasks.query import split_words
from spatial3d_ros.tasks.query_assembly import (
    TaggedWord,
    assemble,
    describe_words,
    read_amount,
    read_size,
)
from spatial3d_ros.tasks.query_network import QueryReader
from spatial3d_ros.tasks.query_reader import clean_text, parse_query


def tagged(*rows):
    return [TaggedWord(*row) for row in rows]


def test_modifiers_and_relations_of_a_description():
    description = describe_words(
        tagged(
            ("the", "target", "none", "none"),
            ("red", "target", "modifier", "none"),
            ("mug", "target", "head", "none"),
            ("on", "target", "relation", "on"),
            ("top", "target", "relation", "on"),
            ("of", "target", "relation", "none"),
            ("the", "target", "none", "none"),
            ("low", "target", "anchor_modifier", "none"),
            ("table", "target", "anchor", "none"),
        )
    )
    assert (description.head, description.modifiers) == ("mug", ("red",))
    (relation,) = description.relations
    assert (relation.predicate, relation.anchors[0].head) == ("on", "table")
    assert relation.anchors[0].modifiers == ("low",)


def test_two_anchors_a_superlative_and_a_negation():
    between = describe_words(
        tagged(
            ("largest", "target", "superlative", "largest"),
            ("water", "target", "head", "none"),
            ("bottle", "target", "head", "none"),
            ("not", "target", "negation", "none"),
            ("between", "target", "relation", "between"),
            ("bed", "target", "anchor", "none"),
            ("and", "target", "none", "none"),
            ("door", "target", "anchor", "none"),
        )
    )
    assert (between.head, between.superlative) == ("water bottle", "largest")
    (relation,) = between.relations
    assert relation.negated and [anchor.head for anchor in relation.anchors] == ["bed", "door"]


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("half a metre", (0.5, None)),
        ("30 cm", (0.3, None)),
        ("1,5 m", (1.5, None)),
        ("90 degrees", (None, 90.0)),
        ("-90", (None, -90.0)),
        ("", (None, None)),
    ],
)
def test_amounts(text, amount):
    assert read_amount(text) == pytest.approx(amount)


def test_sizes_of_new_objects():
    assert read_size("0.4 x 40cm by 1 m") == (0.4, 0.4, 1.0)
    assert read_size("a lamp") is None
    with pytest.raises(QueryError, match="unit"):
        read_size("1 x 1 x 1")
    with pytest.raises(QueryError, match="20 m"):
        read_size("1 x 1 x 30 m")


def test_an_anchor_with_a_relation_of_its_own_and_a_pronoun():
    description = describe_words(
        tagged(
            ("both", "target", "quantifier", "none"),
            ("mugs", "target", "head", "none"),
            ("on", "target", "relation", "on"),
            ("the", "target", "none", "none"),
            ("desk", "target", "anchor", "none"),
            ("next", "target", "subrelation", "next_to"),
            ("to", "target", "subrelation", "next_to"),
            ("it", "target", "anchor_pronoun", "none"),
        )
    )
    assert (description.quantifier, description.pronoun) == ("both", False)
    (on,) = description.relations
    (next_to,) = on.anchors[0].relations
    assert (on.anchors[0].head, next_to.predicate, next_to.anchors[0].pronoun) == (
        *("desk", "next_to", True),
    )


def test_the_word_after_an_article_is_the_noun_that_the_network_never_met():
    words = tagged(
        ("put",), ("a", "target"), ("gadget",), ("near", "relation", "relation", "near"),
        ("the", "second"), ("sofa", "second", "head"),
    )  # fmt: skip
    query = assemble("put a gadget near the sofa", "edit.place", words)
    assert [target.head for target in query.targets] == ["gadget", "sofa"]
    words = tagged(("find",), ("the", "target"), ("lamp", "target", "head"), ("there",))
    assert assemble("find the lamp there", "locate", words).targets[0].text == "the lamp"


def test_what_is_faced_is_no_viewpoint():
    description = describe_words(
        tagged(
            ("standing", "target", "relation", "none"),
            ("at", "target", "relation", "none"),
            ("the", "target", "none", "none"),
            ("door", "target", "viewpoint", "none"),
            ("facing", "target", "relation", "facing"),
            ("the", "target", "none", "none"),
            ("bed", "target", "viewpoint", "none"),
            ("the", "target", "none", "none"),
            ("one", "target", "none", "none"),
            ("left", "target", "relation", "left"),
            ("of", "target", "relation", "left"),
            ("it", "target", "anchor_pronoun", "none"),
        )
    )
    assert (description.viewpoint, description.faced) == ("door", "bed")
    (left,) = description.relations
    assert (left.predicate, left.anchors[0].head) == ("left", "bed")
    assert description.head == "bed"


def test_marks_that_people_and_programs_leave_in_a_question():
    assert (
        clean_text("\u200bwhere is\u202e the \u201cred\u201d  <mug>?\x07")
        == "where is the red mug ?"
    )
    assert clean_text('<b>where</b> is the <img src="x" onerror="y"/>mug<br>') == (
        "where is the mug"
    )
    assert split_words("What's on the L-shaped desk?!") == [
        *("what's", "on", "the", "l-shaped", "desk", "!"),
    ]
    assert split_words("-0,5m,90\u00b0.door") == ["-0,5m", ",", "90\u00b0", ".", "door"]
    for empty in ("", "  ", "\u200b", "?!", '""'):
        with pytest.raises(QueryError, match="empty"):
            clean_text(empty)
    with pytest.raises(QueryError, match="characters"):
        clean_text("a" * 501)


def test_too_many_words():
    with pytest.raises(QueryError, match="words"):
        parse_query("a " * 200, QueryReader())
