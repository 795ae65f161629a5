"""A question as text to a typed query: points taken out, scripts and phrases checked, then read."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from spatial3d_ros.errors import QueryError
from spatial3d_ros.tasks.descriptions import is_self_reference
from spatial3d_ros.tasks.points import is_point_word, take_points
from spatial3d_ros.tasks.query import Description, ParsedQuery
from spatial3d_ros.tasks.query_network import QueryReader
from spatial3d_ros.tasks.query_reader import clean_text, parse_query
from spatial3d_ros.tasks.results import Point
from spatial3d_ros.tasks.vocabulary import Vocabulary
from spatial3d_ros.tasks.word_lists import SELF

_ONE = ("", "one")
_LATIN = re.compile(r"[a-zA-Z]")
_IN_REGION = (
    r"\b(?:in|inside|within|does)\s+(?:(?:the|my|our)\s+)?{}\s*(?:$|[?.!,;]|(?:has|have|and)\b)"
)


@dataclass(frozen=True)
class ReadQuestion:
    """A typed query, and the points that its words of points stand for."""

    query: ParsedQuery
    points: tuple[Point, ...] = ()


def read_question(text: str, reader: QueryReader, vocabulary: Vocabulary) -> ReadQuestion:
    """A sentence, read. One without Latin letters is a label of the map, or no English.

    Raises QueryError for an empty or too long one, and for numbers only.
    """
    rest, points = take_points(text)
    cleaned = clean_text(rest)
    if not _LATIN.search(cleaned):
        label = vocabulary.label_in(cleaned)
        if label is None and re.fullmatch(r"[\W\d_]+", cleaned):
            raise QueryError(
                "query: numbers only; ask for an object in plain words, e.g. 'the red mug'"
            )
        if label is None:
            raise QueryError(
                "query: no Latin letters; this model understands English questions only"
            )
        return ReadQuestion(ParsedQuery(text, "locate", (Description(label, label),)))
    query = parse_query(cleaned, reader)
    query = replace(query, targets=_with_nouns(query.targets))
    return ReadQuestion(_with_region(query, cleaned, vocabulary.regions), points)


def _with_region(query: ParsedQuery, text: str, regions: Collection[str]) -> ParsedQuery:
    """The query in the region that its words name. The reader met no names of regions: it can take
    an office for the beginning of "office chair".
    """
    if query.region.lower().removeprefix("the ") in regions:
        return query
    for name in sorted(regions, key=len, reverse=True):
        if re.search(_IN_REGION.format(re.escape(name)), text, re.IGNORECASE):
            targets = [
                replace(target, relations=tuple(r for r in target.relations
                                                if all(a.head != name for a in r.anchors)))
                for target in query.targets
            ]  # fmt: skip
            return replace(query, region=name, targets=tuple(targets))
    return query


def _with_nouns(targets: Sequence[Description]) -> tuple[Description, ...]:
    """Descriptions in which "one" is the noun before: "the orange shelf or the blue one"."""
    made: list[Description] = []
    for target in targets:
        if target.head in _ONE and not target.pronoun and made and "one" in target.text.split():
            before = made[-1].head
            target = replace(target, head=before, text=target.text.replace("one", before, 1))
        made.append(target)
    return tuple(made)


def read_ends(a: str, b: str, reader: QueryReader, vocabulary: Vocabulary) -> ReadQuestion:
    """The distance between two phrases. Raises QueryError naming the field of an empty one."""
    descriptions: list[Description] = []
    points: tuple[Point, ...] = ()
    for text, field in ((a, "object_a"), (b, "object_b")):
        rest, found = take_points(text)
        if found:
            word = f"the named-point-{len(points)}"
            descriptions.append(Description(word, word))
            points += found[:1]
            continue
        try:
            cleaned = clean_text(rest)
        except QueryError as error:
            raise QueryError(f"{field}: {error}") from error
        words = cleaned.lower().rstrip("?!. ").split()
        if words and words[-1] in SELF:
            descriptions.append(Description(cleaned, words[-1]))
            continue
        targets = read_question(cleaned, reader, vocabulary).query.targets
        if not targets or is_self_reference(targets[0]) or is_point_word(targets[0].text):
            targets = (Description(cleaned, words[-1], tuple(words[:-1])),)
        descriptions.append(targets[0])
    return ReadQuestion(ParsedQuery(f"{a}, {b}", "distance", tuple(descriptions)), points)
