"""Tags of words to typed queries."""

import pytest

from spatial3d_ros.errors import QueryError
from spatial3d_ros.research.query.parser import (
    _Tagged,
    clean_text,
    describe_words,
    parse_query,
    read_amount,
)
from spatial3d_ros.research.query.reader import QueryReader
from spatial3d_ros.research.query.typed_query import split_words


def tagged(*rows):
    return [_Tagged(*row) for row in rows]


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


def test_marks_that_people_and_programs_leave_in_a_question():
    assert (
        clean_text("\u200bwhere is\u202e the \u201cred\u201d  <mug>?\x07")
        == "where is the red mug ?"
    )
    assert split_words("What's on the L-shaped desk?") == [
        "what's",
        "on",
        "the",
        "l-shaped",
        "desk",
    ]
    for empty in ("", "  ", "\u200b", "?!", '""'):
        with pytest.raises(QueryError, match="empty"):
            clean_text(empty)
    with pytest.raises(QueryError, match="characters"):
        clean_text("a" * 501)


def test_too_many_words():
    with pytest.raises(QueryError, match="words"):
        parse_query("chair " * 80, QueryReader())
