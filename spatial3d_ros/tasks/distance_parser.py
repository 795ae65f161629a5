"""Reads a question about a distance: which two things, and between their centres or surfaces.

A head ("how far is", "the distance between", ...) and a tail ("apart") are taken off. What is left
holds the two things and the word that parts them. "The chair farthest from the door from the table"
holds "from" twice: words that belong to a noun phrase ("farthest ... from", "between ... and") are
paired up first, and a word left without a partner is where to cut.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

CENTER, SURFACE = "center", "surface"
Point = tuple[float, float, float]

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
_HELD = "named-point-"  # stands for a point while the words are read
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
_PLACES = {  # after these, "and" goes on describing the same thing
    "on", "under", "underneath", "beneath", "below", "above", "over", "next", "beside", "near",
    "by", "nearest", "close", "closest", "farthest", "furthest", "in", "at", "between", "behind",
    "right", "standing", "sitting", "lying", "placed", "hanging", "is", "has", "with",
}  # fmt: skip


@dataclass(frozen=True)
class DistanceQuery:
    """The two things as said, in lower case; `kind` is "center" or "surface".

    A named point stands in its phrase as "(x, y, z)".
    """

    a: str
    b: str
    kind: str


def parse_distance(text: str) -> DistanceQuery | None:
    """The two things a question wants the distance of, or None if it is no such question.

    "gap", "clearance", "space between", "shortest distance" ask for surfaces, all else for centres.
    """
    points: list[Point] = []

    def hold(match: re.Match[str]) -> str:
        points.append(tuple(float(number) for number in match.groups() if number))  # type: ignore
        return f" {_HELD}{len(points) - 1} "

    words = _plain(_POINT.sub(hold, text.lower()))
    head = _HEAD.match(words)
    if head is None:
        return None
    body = words[head.end() :].split()
    at = cut(body)
    if at is None:
        return None
    a, b = _TAIL.sub("", " ".join(body[:at])), " ".join(body[at + 1 :])
    a, b = (
        re.sub(rf"{_HELD}(\d+)", lambda m: point_words(points[int(m[1])]), phrase)
        for phrase in (a, b)
    )
    return DistanceQuery(a, b, SURFACE if _SURFACE.search(head.group()) else CENTER)


def read_point(phrase: str) -> Point | None:
    """The point (x, y, z) in metres that a phrase is, None if it is none; not always finite."""
    match = _POINT.fullmatch(phrase.lower().strip(" ?!."))
    return tuple(float(number) for number in match.groups() if number) if match else None  # type: ignore


def point_words(point: Point) -> str:
    """The point as a phrase that `read_point` reads."""
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
    """Where the word stands that parts the two things: one that belongs to neither of them."""
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
            elif not (word == "and" and following in _PLACES) and not _SIDES & {
                *words[i + 2 : i + 3]
            }:
                free.append(i)
    if not free:  # "how far from the sofa is the lamp": the verb parts them
        verbs = (i for i in range(1, len(words) - 1) if words[i] in ("is", "are"))
        free = [i for i in verbs if words[i - 1] not in ("that", "which")]
    return min(free or loose, key=lambda i: (words[i + 1] not in _DETERMINERS, i), default=None)
