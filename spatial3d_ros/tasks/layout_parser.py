"""Reads an instruction about the furniture: what to do, with what, and where to.

    move the chair 0.5 m towards the window        swap the lamp and the plant
    move the lamp to the left of the bed, seen from the door      remove the box
    put a lamp next to the sofa                    turn the sofa by 90 degrees

A verb is taken off, then amounts, then the viewpoint. What is left holds a thing and a place; the
word of the place parts them. "Move the lamp on the desk next to the sofa" holds two: words that can
only say where to ("onto", "to", "so that it stands") decide, else the last one does, and what
stands before it describes the thing. After "put a ..." it is the first, because nothing yet
describes what is not there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from spatial3d_ros.errors import QueryError
from spatial3d_ros.tasks.distance_parser import COURTESY, cut
from spatial3d_ros.tasks.unit_parser import take_angle, take_length

Action = Literal["move", "place", "swap", "remove", "turn"]


@dataclass(frozen=True)
class Instruction:
    """What is wanted, in lower case.

    relation, of "move" and "place": "next_to", "on", "under", "left", "right", "front", "behind",
        "between" with its anchors, with `metres` the gap to them; or a shift by `metres`:
        "towards" and "away" with one anchor, "to_left", "to_right" (as seen), "up", "down", "axis".
    target: the phrase of the object; for "place" its noun, without article.
    view: the phrase of what it is seen from; "" where none was named.
    degrees: of "turn", counter-clockwise seen from above (REP 103).
    axis: of relation "axis", a unit vector in the map.
    size: of "place", full extents in metres, where told.
    """

    action: Action
    target: str
    relation: str = ""
    anchors: tuple[str, ...] = ()
    view: str = ""
    metres: float | None = None
    degrees: float = 0.0
    axis: tuple[float, float, float] = (0.0, 0.0, 0.0)
    size: tuple[float, float, float] | None = None


SHIFTS = ("towards", "away", "to_left", "to_right", "up", "down", "axis")
SIDES = ("left", "right", "front", "behind")
_GAPS = ("next_to", *SIDES)  # with these an amount says how far from the anchor

_ARTICLE = r"(?:the|my|your|our|his|her|their|this|that|these|those|both|all)"
_ONE = rf"(?= (?:{_ARTICLE}|a|an|another|one)\b)"  # so that it is a verb: "a place mat"
# In a hurry articles are left out, "slide plant next to door"; in front of these it is no verb.
_NO_VERB = (
    r"mats?|settings?|cards?|doors?|bars?|buttons?|handles?|cords?|carts?|rules?|projectors?|chains?"
    r"|keys?|to|towards?|over|closer|nearer|back|away|forwards?|up|down|out|in|off|on|left|right"
    r"|care|part|place"
)
_VERBS: tuple[tuple[str, str], ...] = (
    ("swap", r"(?:swap|exchange|interchange|switch(?! (?:on|off)\b))"),
    ("remove", r"(?:remove|delete|discard|get rid of|throw (?:away|out)|take (?:away|out))"),
    ("turn", r"(?:turn(?! (?:on|off|to|towards?|left|right|around|back)\b)|rotate|spin)"),
    ("move", rf"(?:move|relocate|(?:shift|push|pull|slide|drag){_ONE})"
             r"(?! (?:to|towards?|over|closer|nearer|back|away|forwards?|up|down|left|right)\b)"),
    ("place", r"(?:put|add|insert)(?: (?:down|up|over))?"),
    ("put", rf"(?:place|set|stand|lay|hang|bring|take|carry)(?: (?:down|up|over))?{_ONE}"
            rf"|(?:place|bring|take|carry|push|pull|slide|drag|shift)"
            rf"(?= (?!(?:{_NO_VERB})\b)\S+ )"),
)  # fmt: skip
_VERB = re.compile("|".join(rf"(?P<{name}>^(?:{words})\b ?)" for name, words in _VERBS))
_NEW = re.compile(r"^(?:new )?(?:(?:a|an|another|one|one more|some)(?: new)?|new) ")
_VIEW = re.compile(
    r"^(?:(?:as )?(?:seen|viewed|looking)|when (?:seen|viewed)) from (?P<before>.+?) *, *"
    r"|[ ,]*\b(?:as )?(?:(?:seen|viewed|looking)|(?:when|if) (?:you |one |i )?(?:look|looking|seen"
    r"|viewed|are looking)) (?:at it )?from (?P<after>.+)$"
)
_TO = r"(?:on ?to|into|over to|up to|all the way to|(?:back )?to|against)"
# Longest first. A name of None belongs to a noun phrase: "the chair closest to the door".
_PLACES: tuple[tuple[str | None, str], ...] = (
    (None, r"(?:that|which) (?:is|are|stands?|lies)(?: lying| standing| sitting| placed)?"
           r" (?:on top of|on|next to|under|in(?! front| between))"),
    (None, r"(?:closest|nearest|farthest|furthest)(?: away)? (?:to|from)"),
    ("left", r"(?:(?:on|to) )?(?:the )?left(?:[ -]hand)?(?: side)? of"),
    ("right", r"(?:(?:on|to) )?(?:the )?right(?:[ -]hand)?(?: side)? of"),
    ("front", r"(?:to )?(?:the )?in front of|(?:to )?the front of"),
    ("behind", r"(?:to )?(?:the )?(?:behind|back of)"),
    ("between", r"(?:in )?between"),
    ("next_to", r"(?:right )?(?:next to|besides?|alongside|adjacent to|close to|near(?: to)?|by)"),
    ("towards", r"(?:(?:in )?(?:the )?direction of|towards?|(?:closer|nearer) to(?:wards)?)"),
    ("away", r"(?:further |farther )?away from"),
    ("on", r"on ?to(?: the top of)?|(?:standing |lying )?on(?: top of| top)?|upon|atop"),
    ("under", r"(?:to )?(?:under|underneath|beneath|below)"),
    ("over", r"above|over(?! to\b)"),
    ("in", r"into|inside(?: of)?|in"),
    ("from", r"from"),
    ("next_to", r"(?:over |up |all the way |back )?to|against|at"),
)  # fmt: skip
_ARROW = "so-that-it-is"  # stands for words after which only a place can come
_MARK = re.compile(
    r"(?:,? and (?:then )?(?:put|place|set|stand|lay|move) it"
    r"|,? so (?:that )?it (?:is|stands|sits|lies|goes))\b"
)
_FREE = r"(?<![\w-])"
_PLACE = re.compile(
    "|".join(rf"(?P<p{k}>{_FREE}(?:{words})(?![\w-]))" for k, (_, words) in enumerate(_PLACES))
)
_ONLY_TO = re.compile(
    rf"^(?:{_TO}|to .*|towards?|(?:closer|nearer) to.*|.*direction of|(?:.* )?away from)$"
)
_HEADING = re.compile(
    r" (?:(?:to (?:(?:the|its|my|your) )?|towards (?:the )?)?(?P<side>left|right)(?:wards)?"
    r"(?: side)?"
    r"|(?P<up>up|upwards?|higher)|(?P<down>down|downwards?|lower)"
    r"|(?:along|in|parallel to)(?: the)?(?: direction of)?(?: the)? ?"
    r"(?P<sign>[+-]|plus |minus |positive |negative )?(?P<axis>[xyz])(?:[ -](?:axis|direction))*)$"
)
_BY = re.compile(  # what stood before a length that was taken off
    r"\b(?:by|for|about|around|exactly|roughly|another|(?:at )?a distance of)"
    r"(?= *$| (?:to|from|away|towards?|along|in|left|right|up|down)\b)"
)
_VAGUE = re.compile(
    r" (?:forwards?|backwards?|back|away|closer|nearer|further|farther|somewhere(?: else)?"
    r"|elsewhere|a (?:bit|little|lot)|aside)$"
)
_SIDE = r"(\d+(?:\.\d+)?) ?(m|cm)?"
_SIZE = re.compile(
    rf"(?:,? ?(?:of|with (?:a )?size(?: of)?|sized|measuring))? ?{_SIDE} ?(?:x|by|\u00d7) ?{_SIDE}"
    rf" ?(?:x|by|\u00d7) ?{_SIDE}\b"
)
_TURNED = re.compile(
    r"(?:[ ,]+(?:by|through|about))?"
    r"(?:[ ,]+(?:(?:counter|anti)[ -]?clockwise|ccw|(?P<right>clockwise|cw|(?:to )?(?:the )?right)"
    r"|(?:to )?(?:the )?left))?(?:[ ,]+(?:by|through|about))?$"
)
_HELP = (
    "say e.g. 'move the chair 0.5 m towards the window', 'put a lamp next to the sofa', "
    "'swap the lamp and the plant', 'remove the box' or 'turn the table by 90 degrees'"
)


def parse_layout(text: str) -> Instruction | None:
    """What an instruction wants to be changed, or None if it is no such instruction.

    Raises QueryError for an instruction of which something is missing or cannot be understood: the
    place, the amount, another unit than m and cm.
    """
    words, view = _seen_from(_plain(text))
    verb = _VERB.match(words)
    if verb is None:
        return None
    action, rest = str(verb.lastgroup), words[verb.end() :]
    if action in ("swap", "remove", "turn"):
        return {"swap": _swap, "remove": _remove, "turn": _turn}[action](rest)
    taken_away = re.fullmatch(r"(.+) (?:away|out(?: of the room)?)", rest)
    if verb.group().startswith("take") and taken_away:
        return _remove(taken_away[1])
    try:
        if verb.group().startswith(("add", "insert")) and not re.match(rf"{_ARTICLE}\b", rest):
            rest = f"new {rest}"  # "add lamp next to sofa": what is there already cannot be added
        return _put(rest, view, new=action != "move")
    except QueryError:
        if action != "put":
            raise
        return None  # such words are also said of what is no layout: "bring the mug"


def read_layout(text: str) -> Instruction:
    """As `parse_layout`. Raises QueryError also for what is no such instruction."""
    instruction = parse_layout(text)
    if instruction is None:
        raise QueryError(f"query: '{text}' changes nothing in the room; {_HELP}")
    return instruction


def _plain(text: str) -> str:
    """Lower case, without courtesies and sentence marks; points in numbers stay."""
    words = text.lower().replace("\u2019", "'").replace("\u2212", "-")
    words = re.sub(r"(?<=\d),(?=\d{1,2}(?!\d))", ".", words)
    words = re.sub(
        r"[^\w\s'.,+\"\u00b0\u2032\u2033\u00d7-]|[.](?!\d)|(?<!\S)[-+](?!\S)", " ", words
    )
    words, before = " ".join(words.split()), ""
    while words != before:
        before = words
        words = re.sub(r"[ ,]*(?:\b(?:please|now|robot|thanks|thank you)\b)?[ ,]*$", "", words)
        words = COURTESY.sub("", words).lstrip(", ")
    return words


def _seen_from(words: str) -> tuple[str, str]:
    match = _VIEW.search(words)
    if match is None:
        return words, ""
    view = match["before"] or match["after"]
    return f"{words[: match.start()]} {words[match.end() :]}".strip(" ,"), view.strip(" ,")


def _swap(rest: str) -> Instruction:
    rest = re.sub(r"^(?:the )?(?:places|positions|locations)(?: of| between)? ", "", rest)
    rest = re.sub(r" (?:around|places|positions|locations|with each other)$", "", rest)
    a, found, b = rest.partition(" with ")
    if not found:
        body = rest.replace(",", " ").split()
        at = cut(body)
        if at is None or body[at] != "and":
            raise QueryError(f"query: '{rest}' does not name two things to swap; {_HELP}")
        a, b = " ".join(body[:at]), " ".join(body[at + 1 :])
    return Instruction("swap", _thing(a), anchors=(_thing(b),))


def _remove(rest: str) -> Instruction:
    rest = re.sub(r" (?:away|from (?:the|this) (?:room|scene)|out of the room)$", "", rest)
    return Instruction("remove", _thing(rest))


def _turn(rest: str) -> Instruction:
    degrees, rest = take_angle(rest)
    around = re.search(r" (?:all the way )?(?:around|round|half way)$", rest)
    if degrees is None and around:
        degrees, rest = 180.0, rest[: around.start()]
    way = _TURNED.search(rest)
    rest = rest[: way.start()] if way else rest
    if degrees is None:
        raise QueryError(
            f"query: 'turn {rest}' does not say how far; say e.g. 'turn {rest} by 90 degrees'"
        )
    sign = -1 if way and way["right"] else 1
    return Instruction("turn", _thing(rest), degrees=sign * degrees)


def _put(rest: str, view: str, new: bool) -> Instruction:
    article = _NEW.match(rest) if new else None
    size = None
    if article is not None:
        rest, size = _sized(rest[article.end() :])
    metres, rest = take_length(_MARK.sub(f" {_ARROW}", rest))
    rest = " ".join(_BY.sub("", rest).split())
    _thing(rest)  # words are left, and nothing but words
    if rest.split()[0] in ("me", "us", "you", "yourself"):
        raise QueryError(f"query: '{rest}': the robot is no furniture; {_HELP}")
    kind: Action = "place" if article is not None else "move"
    shift = _HEADING.search(rest)
    if shift and kind == "move" and not shift.group().endswith(_ARROW):
        return _shifted(rest[: shift.start()], shift, metres, view)
    place = _where(rest, first=article is not None)
    if place is None:
        vague = _VAGUE.search(rest)
        if vague:
            raise QueryError(
                f"query: '{vague.group().strip()}' does not say where to; name a thing, e.g. "
                "'0.5 m towards the window', or 'to the left'"
            )
        raise QueryError(f"query: '{rest}' does not say where to; {_HELP}")
    thing, relation, anchor = (part.strip() for part in place)
    if relation in ("over", "in"):
        raise QueryError(
            f"query: '{relation}' is no place for a box; possible are on, under, next to, between, "
            "to the left or right of, in front of and behind a thing"
        )
    if relation == "from":
        relation = "next_to" if metres is not None else "away"
    if relation in SHIFTS:
        if kind == "place":
            raise QueryError(f"query: '{relation}' does not say where a new thing stands; {_HELP}")
        _require(metres, f"{relation.replace('_', ' ')} {anchor}")
    elif metres is not None and relation not in _GAPS:
        raise QueryError(f"query: a length says nothing with '{relation}'; leave it out")
    if metres is not None and metres < 0:
        raise QueryError(f"query: {metres:g} m is negative; turn the direction around instead")
    anchors = (_thing(anchor),)
    if relation == "between":
        body = anchor.split()
        at = cut(["between", *body, "and", "end"]) if "and" not in body else _between(body)
        if at is None:
            raise QueryError(f"query: 'between {anchor}' does not name two things")
        anchors = (_thing(" ".join(body[:at])), _thing(" ".join(body[at + 1 :])))
    what = _thing(thing)
    return Instruction(kind, what, relation, anchors, view, metres, size=size)


def _between(body: list[str]) -> int | None:
    """Where the "and" of "between" stands: the first before a thing of its own."""
    places = [k for k in range(1, len(body) - 1) if body[k] == "and"]
    return min(places, key=lambda k: (not re.match(_ARTICLE, body[k + 1]), k), default=None)


def _shifted(thing: str, shift: re.Match[str], metres: float | None, view: str) -> Instruction:
    said = shift.group().strip()
    metres = _require(metres, said)
    axis = (0.0, 0.0, 0.0)
    if shift["axis"]:
        relation = "axis"
        sign = -1.0 if (shift["sign"] or "").strip() in ("-", "minus", "negative") else 1.0
        axis = tuple(sign * float(name == shift["axis"]) for name in "xyz")  # type: ignore[assignment]
    elif shift["side"]:
        relation = f"to_{shift['side']}"
    else:
        relation = "up" if shift["up"] else "down"
    if metres < 0:
        raise QueryError(f"query: {metres:g} m is negative; turn the direction around instead")
    return Instruction("move", _thing(thing), relation, (), view, metres, axis=axis)


def _require(metres: float | None, said: str) -> float:
    if metres is None:
        raise QueryError(
            f"query: '{said}' does not say how far; say it in metres, e.g. '0.5 m {said}'"
        )
    return metres


def _where(rest: str, first: bool) -> tuple[str, str, str] | None:
    """The thing, the relation and the anchor; None when no word of a place parts them."""
    before, arrow, after = rest.partition(_ARROW)
    if arrow:
        match = _PLACE.match(after.strip())
        if match is None or match.end() == len(after.strip()):
            return None
        return before, _relation(match) or "next_to", after.strip()[match.end() :]
    found = [m for m in _PLACE.finditer(rest) if _relation(m) is not None and m.end() < len(rest)]
    found = [m for m in found if m.start() > 0]
    if not found:
        return None
    if not first:
        only = [m for m in found if _ONLY_TO.match(m.group())]
        # "from" tells where it is now, unless there is nothing else.
        rest_of = [m for m in found if _relation(m) != "from"]
        match = (only or rest_of or found)[-1]
    else:
        match = found[0]
    thing = re.sub(r" from (?=the |my )", " on ", rest[: match.start()])
    return thing, str(_relation(match)), rest[match.end() :]


def _relation(match: re.Match[str]) -> str | None:
    return _PLACES[int(str(match.lastgroup)[1:])][0]


def _sized(rest: str) -> tuple[str, tuple[float, float, float] | None]:
    match = _SIZE.search(rest)
    if match is None:
        return rest, None
    units = [match[k] for k in (2, 4, 6)]
    last = next((unit for unit in reversed(units) if unit), None)
    if last is None:
        raise QueryError(
            f"query: '{match.group().strip()}' has no unit; say metres, e.g. '0.4 x 0.4 x 1 m'"
        )
    scale = [0.01 if (unit or last) == "cm" else 1.0 for unit in units]
    size = tuple(float(match[k]) * s for k, s in zip((1, 3, 5), scale, strict=True))
    if not all(0 < side <= 20 for side in size):
        raise QueryError(f"query: a size of {match.group().strip()} fits no room")
    return " ".join(f"{rest[: match.start()]} {rest[match.end() :]}".split()), size  # type: ignore[return-value]


def _thing(words: str) -> str:
    words = " ".join(words.strip(" ,").split())
    words = re.sub(r"^and |(?: and| ,)$", "", words)
    loose = re.search(r"(?<![\w.])[-+]?\d+(?:\.\d+)?(?![\w.])", words)
    if loose:
        raise QueryError(
            f"query: '{loose.group()}' has no unit; say metres, e.g. '{loose.group()} m'"
        )
    if not re.search(r"[^\W\d_]", words) or re.fullmatch(_ARTICLE + "|a|an|it", words):
        raise QueryError(f"query: it does not say what; {_HELP}")
    return words
