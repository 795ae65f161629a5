"""A sentence to a typed query: the query reader's tags put together.

Patterns are left for numbers and units alone.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from spatial3d_ros.errors import QueryError
from spatial3d_ros.research.query.reader import MAX_WORDS, QueryReader
from spatial3d_ros.research.query.typed_query import (
    INTENTS,
    PREDICATES,
    ROLES,
    SEGMENTS,
    Description,
    ParsedQuery,
    RelationPhrase,
    split_words,
)
from spatial3d_ros.tasks.query_limits import check_length
from spatial3d_ros.tasks.unit_parser import NUMBER, read_number, take_angle, take_length

_QUOTES = '"\u201c\u201d\u00ab\u00bb<>`'
_INVISIBLE = ("Cc", "Cf", "Zl", "Zp")  # control and direction marks, line separators
ORDINALS = {"first": 1, "second": 2, "third": 3, "fourth": 4}
TARGETS = ("target", "second", "third")


@dataclass(frozen=True)
class _Tagged:
    word: str
    segment: str
    role: str
    predicate: str


def clean_text(text: str) -> str:
    """A question without control and direction marks, quotes and angle brackets; one space between
    words. Raises QueryError when nothing is left or it is too long.
    """
    kept = "".join(
        " " if letter in _QUOTES or unicodedata.category(letter) in _INVISIBLE else letter
        for letter in text
    )  # fmt: skip
    words = " ".join(kept.split())
    if not re.search(r"[^\W_]", words):
        raise QueryError(
            "query: empty; ask for an object in plain words, e.g. 'the red mug on the table'"
        )
    check_length(words)
    return words


@torch.inference_mode()
def parse_query(text: str, reader: QueryReader) -> ParsedQuery:
    """What a sentence asks for. Raises QueryError for an empty or too long one."""
    text = clean_text(text)
    words = split_words(text)
    if not words or len(words) > MAX_WORDS:
        raise QueryError(f"query: {len(words)} words; ask in at most {MAX_WORDS}")
    output = reader([words])
    probability, intent = output.intent[0].softmax(-1).max(-1)
    tags = ((SEGMENTS, output.segment), (ROLES, output.role), (PREDICATES, output.predicate))
    rows = [[names[k] for k in logits[0].argmax(-1).tolist()] for names, logits in tags]
    tagged = [_Tagged(*item) for item in zip(words, *rows, strict=True)]
    number = " ".join(t.word for t in tagged if t.segment == "number")
    metres, degrees = read_amount(number)
    part = lambda name: [t for t in tagged if t.segment == name]  # noqa: E731
    descriptions = tuple(describe_words(part(name)) for name in TARGETS if part(name))
    view = part("view")
    return ParsedQuery(
        text,
        INTENTS[int(intent)],
        descriptions,
        relation=_majority(part("relation")),
        metres=metres,
        degrees=degrees,
        color=" ".join(t.word for t in part("color")),
        region=" ".join(t.word for t in part("region")),
        time=" ".join(t.word for t in part("time")),
        viewpoint=" ".join(t.word for t in view),
        confidence=float(probability),
    )


def describe_words(tagged: Sequence[_Tagged]) -> Description:
    """The description that words of one segment make."""
    head = _last_run(tagged, "head")
    relations, anchors, current = [], [], []
    predicate: list[_Tagged] = []
    negated = denied = False

    def end_anchor() -> None:
        if current:
            anchors.append(
                Description(
                    " ".join(t.word for t in current),
                    " ".join(t.word for t in current if t.role == "anchor"),
                    tuple(t.word for t in current if t.role == "anchor_modifier"),
                )
            )
            current.clear()

    def end_relation() -> None:
        end_anchor()
        name = _majority(predicate)
        if name:
            relations.append(RelationPhrase(name, tuple(anchors), denied))
        predicate.clear()
        anchors.clear()

    before = ""
    for item in tagged:
        if item.role == "negation":
            negated = True
        elif item.role == "relation":
            if before != "relation":
                end_relation()
                denied, negated = negated, False
            predicate.append(item)
        elif item.role in ("anchor", "anchor_modifier") and predicate:
            current.append(item)
        elif item.word == "and" and current:
            end_anchor()
        before = item.role
    end_relation()
    superlative = [t for t in tagged if t.role == "superlative"]
    ordinal = next((ORDINALS.get(t.word, 0) for t in tagged if t.role == "ordinal"), 0)
    return Description(
        " ".join(t.word for t in tagged),
        head,
        tuple(t.word for t in tagged if t.role == "modifier"),
        _majority(superlative),
        ordinal,
        tuple(relations),
        " ".join(t.word for t in tagged if t.role == "viewpoint"),
    )


def read_amount(text: str) -> tuple[float | None, float | None]:
    """Metres and degrees of an amount: "half a metre" -> 0.5, None; "90 degrees" -> None, 90.0. A
    number without a unit is an angle. Raises QueryError for other units of length.
    """
    text = re.sub(r"(?<=\d),(?=\d)", ".", text)
    metres, rest = take_length(text)
    if metres is not None:
        return metres, None
    degrees, _ = take_angle(rest)
    if degrees is None and re.fullmatch(NUMBER, rest):
        degrees = read_number(rest)
    return None, degrees


def _majority(tagged: Sequence[_Tagged]) -> str:
    counts = Counter(t.predicate for t in tagged if t.predicate != "none")
    return counts.most_common(1)[0][0] if counts else ""


def _last_run(tagged: Sequence[_Tagged], role: str) -> str:
    """The last words in a row of that role."""
    runs: list[list[str]] = [[]]
    for item in tagged:
        if item.role == role:
            runs[-1].append(item.word)
        elif runs[-1]:
            runs.append([])
    full = [run for run in runs if run]
    return " ".join(full[0]) if full else ""
