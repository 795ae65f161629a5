"""Reads a question about a distance: which two things, and between their centres or surfaces.

A head ("how far is", "the distance between", ...) and a tail ("apart") are taken off. What is left
holds the two things and the word that parts them. "The chair farthest from the door from the table"
holds "from" twice: words that belong to a noun phrase ("farthest ... from", "between ... and") are
paired up first, and a word left without a partner is where to cut.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

CENTER, SURFACE = "center", "surface"

_UNIT = r"(?:(?:centi)?met(?:er|re)s?|cm|m|feet|inches)"
_ADJECTIVE = r"(?:(?:exact|free|straight[ -]line|centre|center|surface|shortest|minimum) )*"
_NOUN = rf"{_ADJECTIVE}(?:distance|separation|gap|clearance|space|spacing|room)"
_COURTESY = re.compile(
    r"^(?:hey|hi|hello|ok|okay|please|now|robot|(?:can|could|would|will) you|do you know|i wonder"
    r"|(?:i )?(?:want|need|would like) to know|(?:tell|show|give) (?:me|us)|let me know|say|check"
    r"|estimate|calculate|compute|find(?: out)?|work out)\b ?"
)
_HEAD = re.compile(
    rf"^(?:how (?:far|close|near|many {_UNIT}|(?:much|wide|big|large|long)(?= .*\b{_NOUN}\b))"
    rf"|(?:measure |what is |what )?(?:the |a )?"
    rf"(?:{_ADJECTIVE}distance|{_NOUN}(?= (?:between|from|is|in)\b))|measure)\b"
    r"(?: (?:away|apart|together|is|are|lies?|separates?|there|it|do i go|would i go|from|between"
    rf"|of|(?:the )?{_NOUN}|in {_UNIT})\b)* ?"
)
_TAIL = re.compile(
    r"(?: (?:please|now|right now|exactly|roughly|robot|in a straight line|apart|is|are|away"
    rf"|in {_UNIT}|(?:to|from) (?:each other|one another)))+$"
)
_ASKED_LAST = re.compile(r"^(.+) how far(?: apart)? (?:is it|are they)(?: apart)?$")
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
    """The two things as said, in lower case; `kind` is "center" or "surface"."""

    a: str
    b: str
    kind: str


def parse_distance(text: str) -> DistanceQuery | None:
    """The two things a question wants the distance of, or None if it is no such question.

    "gap", "clearance", "space between", "shortest distance" ask for surfaces, all else for centres.
    """
    words = _plain(text)
    head = _HEAD.match(words)
    if head is None:
        return None
    body = words[head.end() :].split()
    cut = _cut(body)
    if cut is None:
        return None
    a, b = _TAIL.sub("", " ".join(body[:cut])), " ".join(body[cut + 1 :])
    return DistanceQuery(a, b, SURFACE if _SURFACE.search(head.group()) else CENTER)


def _plain(text: str) -> str:
    """Lower case, without punctuation and without courtesies at either end."""
    words = text.lower().replace("\u2019", "'").replace("what's", "what is")
    words = " ".join(re.sub(r"[^\w'-]", " ", words).split())
    words = _ASKED_LAST.sub(r"how far \1", words)
    before = ""
    while before != words:
        before = words
        words = _TAIL.sub("", _COURTESY.sub("", words))
    return words


def _cut(words: list[str]) -> int | None:
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
