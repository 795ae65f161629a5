"""Parser of distance questions: which two objects, and between their centers or surfaces.

A head ("how far is", "the distance between", ...) and a tail ("apart") are removed. The rest holds
two noun phrases and the word that separates them. "The chair farthest from the door from the table"
contains "from" twice: words that belong to a noun phrase ("farthest ... from", "between ... and")
are paired first, and an unpaired word separates the two phrases.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from spatial3d_ros.tasks.results import DistanceKind, Point

_UNIT = r"(?:(?:centi)?met(?:er|re)s?|cm|m|feet|inches)"
_ADJECTIVE = r"(?:(?:exact|free|straight[ -]line|centre|center|surface|shortest|minimum) )*"
_NOUN = rf"{_ADJECTIVE}(?:distance|separation|gap|clearance|space|spacing|room)"
COURTESY = re.compile(  # before any request
    r"^(?:hey|hi|hello|ok|okay|please|now|robot|(?:can|could|would|will) you|do you know|i wonder"
    r"|(?:i )?(?:want|need|would like) (?:to know|you to)|(?:tell|show|give) (?:me|us)|let me know"
    r"|say|check|estimate|calculate|compute|find(?: out)?|work out)\b ?"
)
_HEAD = re.compile(
    rf"^(?:how (?:far|close|near|many {_UNIT}|(?:much|wide|big|large|long)(?= .*\b{_NOUN}\b))"
    rf"|(?:measure |what is |what )?(?:the |a )?"
    rf"(?:{_ADJECTIVE}distance|{_NOUN}(?= (?:between|from|is|in)\b))|measure)\b"
    r"(?: (?:away|apart|together|is|are|am|lies?|separates?|there|it|do i go|would i go|from"
    rf"|between|of|(?:the )?{_NOUN}|in {_UNIT})\b)* ?"
)
_TAIL = re.compile(
    r"(?: (?:please|now|right now|exactly|roughly|in a straight line|apart|is|are|away"
    rf"|in {_UNIT}|(?:to|from) (?:each other|one another))|(?<!the) robot)+$"
)
_ASKED_LAST = re.compile(r"^(.+) how far(?: apart)? (?:is it|are they)(?: apart)?$")
_NUMBER = r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:e[-+]?\d+)?"
_NAMED = r"(?:the )?(?:point|position|location|place|spot|coordinates?)(?: at)? ?"
_POINT = re.compile(
    rf"(?:{_NAMED})?[(\[<] *({_NUMBER})(?: *m)?[ ,;]+({_NUMBER})(?: *m)?[ ,;]+({_NUMBER})(?: *m)?"
    r" *[)\]>]"
    rf"|{_NAMED}({_NUMBER}) *[ ,;] *({_NUMBER}) *[ ,;] *({_NUMBER})"
    rf"|(?:{_NAMED})?x *= *({_NUMBER})[ ,;]+y *= *({_NUMBER})[ ,;]+z *= *({_NUMBER})"
)
_POINT_TOKEN = "named-point-"  # replaces a point while the words are parsed
_SURFACE = re.compile(
    r"\b(?:gap|clearance|space|spacing|room|surface|(?:shortest|minimum) distance)\b"
)

_PARTS = ("from", "to", "and")
_PARTNER = {
    "between": "and", "farthest": "from", "furthest": "from", "distant": "from", "nearest": "to",
    "closest": "to", "nearer": "to", "closer": "to", "next": "to", "close": "to", "adjacent": "to",
}  # fmt: skip
_DETERMINERS = {
    "the", "a", "an", "my", "your", "our", "his", "her", "their", "this", "that", "these", "those",
    "its", "another",
}  # fmt: skip
_SIDES = {"left", "right", "side", "front", "back"}
_SAME_PHRASE = {  # before one of these, "and" continues the same noun phrase
    "on", "under", "underneath", "beneath", "below", "above", "over", "next", "beside", "near",
    "by", "nearest", "close", "closest", "farthest", "furthest", "in", "at", "between", "behind",
    "right", "standing", "sitting", "lying", "placed", "hanging", "is", "has", "with",
}  # fmt: skip


@dataclass(frozen=True)
class DistanceQuery:
    """The two phrases in lower case; a point is the phrase "(x, y, z)"."""

    a: str
    b: str
    kind: DistanceKind


def parse_distance(text: str) -> DistanceQuery | None:
    """The two phrases of a distance question, or None for other questions.

    "gap", "clearance", "space between", "shortest distance" ask for surfaces, all else for centers.
    """
    points: list[Point] = []

    def replace_point(match: re.Match[str]) -> str:
        points.append(_point(match))
        return f" {_POINT_TOKEN}{len(points) - 1} "

    words = _plain(_POINT.sub(replace_point, text.lower()))
    head = _HEAD.match(words)
    if head is None:
        return None
    body = words[head.end() :].split()
    at = cut(body)
    if at is None:
        return None
    a, b = _TAIL.sub("", " ".join(body[:at])), " ".join(body[at + 1 :])
    a, b = (
        re.sub(rf"{_POINT_TOKEN}(\d+)", lambda m: point_words(points[int(m[1])]), phrase)
        for phrase in (a, b)
    )
    return DistanceQuery(a, b, "surface" if _SURFACE.search(head.group()) else "center")


def read_point(phrase: str) -> Point | None:
    """The point (x, y, z) in metres that a phrase consists of, else None; may be infinite."""
    match = _POINT.fullmatch(phrase.lower().strip(" ?!."))
    return _point(match) if match else None


def _point(match: re.Match[str]) -> Point:
    x, y, z = (float(number) for number in match.groups() if number)
    return x, y, z


def point_words(point: Point) -> str:
    """The point as a phrase that `read_point` understands."""
    return "({:g}, {:g}, {:g})".format(*point)


def _plain(text: str) -> str:
    """Lower case, without punctuation and without courtesies at either end."""
    words = text.lower().replace("\u2019", "'").replace("what's", "what is")
    words = " ".join(re.sub(r"[^\w'-]", " ", words).split())
    words = _ASKED_LAST.sub(r"how far \1", words)
    before = ""
    while before != words:
        before = words
        words = _TAIL.sub("", COURTESY.sub("", words))
    return words


def cut(words: Sequence[str]) -> int | None:
    """Index of the word that separates two noun phrases: one that belongs to neither of them."""
    free, loose = [], []
    openers: list[int] = []
    for i, word in enumerate(words[:-1]):
        following = words[i + 1]
        if word in _PARTNER and not (word == "between" and "two" in words[i + 1 : i + 3]):
            openers.append(i)
        elif word in _PARTS and i > 0:
            partner = next((k for k in reversed(openers) if _PARTNER[words[k]] == word), None)
            if partner is not None:
                openers.remove(partner)
                # "The closest chair" may be all of it: "from the closest chair to the door".
                if partner < i - 1 and words[partner] != "between":
                    loose.append(i)
            elif not (word == "and" and following in _SAME_PHRASE) and not _SIDES & {
                *words[i + 2 : i + 3]
            }:
                free.append(i)
    if not free:  # "how far from the sofa is the lamp": the verb separates them
        verbs = (i for i in range(1, len(words) - 1) if words[i] in ("is", "are"))
        free = [i for i in verbs if words[i - 1] not in ("that", "which")]
    return min(free or loose, key=lambda i: (words[i + 1] not in _DETERMINERS, i), default=None)
