"""Parser of layout instructions: action, target object, relation and anchors.

    move the chair 0.5 m towards the window        swap the lamp and the plant
    move the lamp to the left of the bed, seen from the door      remove the box
    put a lamp next to the sofa                    turn the sofa by 90 degrees

The verb is removed, then amounts, then the viewpoint. The rest holds the target and a relation with
its anchors. "Move the lamp on the desk next to the sofa" contains two relations: one that can only
be a destination ("onto", "to", "so that it stands") decides, else the last one, and the words
before it describe the target. After "put a ..." it is the first, because nothing describes a new
object.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from spatial3d_ros.errors import QueryError
from spatial3d_ros.tasks.distance_parser import COURTESY, cut
from spatial3d_ros.tasks.results import Action, Point
from spatial3d_ros.tasks.unit_parser import take_angle, take_length


@dataclass(frozen=True)
class Instruction:
    """A parsed instruction; phrases in lower case.

    relation, of "move" and "place": "next_to", "on", "under", "left", "right", "front", "behind",
        "between" with its anchors, with `metres` the gap to them; or a shift by `metres`:
        "towards" and "away" with one anchor, "to_left", "to_right" (as seen), "up", "down", "axis".
    target: the phrase of the object; for "place" its noun, without article.
    view: the phrase of the viewpoint, "" for that of the robot.
    degrees: of "turn", counter-clockwise seen from above (REP 103).
    axis: of relation "axis", a unit vector in the map.
    size: of "place", full extents in metres, if given.
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
_WITH_GAP = ("next_to", *SIDES)  # an amount is the gap to the anchor

_ARTICLE = r"(?:the|my|your|our|his|her|their|this|that|these|those|both|all)"
_ONE = rf"(?= (?:{_ARTICLE}|a|an|another|one)\b)"  # so that the word is a verb: not "a place mat"
# Without an article, "slide plant next to door", it is no verb before one of these words.
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
_RELATIONS: tuple[tuple[str | None, str], ...] = (
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
_DESTINATION = "so-that-it-is"  # replaces words that only a destination follows
_DESTINATION_WORDS = re.compile(
    r"(?:,? and (?:then )?(?:put|place|set|stand|lay|move) it"
    r"|,? so (?:that )?it (?:is|stands|sits|lies|goes))\b"
)
_FREE = r"(?<![\w-])"
_RELATION = re.compile(
    "|".join(rf"(?P<p{k}>{_FREE}(?:{words})(?![\w-]))" for k, (_, words) in enumerate(_RELATIONS))
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
_LENGTH_PREFIX = re.compile(  # words before a length that was removed
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
    "for example 'move the chair 0.5 m towards the window', 'put a lamp next to the sofa', "
    "'swap the lamp and the plant', 'remove the box' or 'turn the table by 90 degrees'"
)


def parse_layout(text: str) -> Instruction | None:
    """The parsed instruction, or None if the text is no layout instruction.

    Raises QueryError if a part is missing or not understood: the destination, the amount, a unit
    other than m and cm.
    """
    words, view = _split_viewpoint(_plain(text))
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
            rest = f"new {rest}"  # "add lamp next to sofa": a known object cannot be added
        return _put(rest, view, new=action != "move")
    except QueryError:
        if action != "put":
            raise
        return None  # "bring the mug" is no layout instruction


def read_layout(text: str) -> Instruction:
    """As `parse_layout`. Raises QueryError if the text is no layout instruction."""
    instruction = parse_layout(text)
    if instruction is None:
        raise QueryError(f"query: '{text}' is no layout instruction; {_HELP}")
    return instruction


def _plain(text: str) -> str:
    """Lower case, without courtesies and punctuation; decimal points stay."""
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


def _split_viewpoint(words: str) -> tuple[str, str]:
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
            raise QueryError(f"query: '{rest}' does not name two objects to swap; {_HELP}")
        a, b = " ".join(body[:at]), " ".join(body[at + 1 :])
    return Instruction("swap", _phrase(a), anchors=(_phrase(b),))


def _remove(rest: str) -> Instruction:
    rest = re.sub(r" (?:away|from (?:the|this) (?:room|scene)|out of the room)$", "", rest)
    return Instruction("remove", _phrase(rest))


def _turn(rest: str) -> Instruction:
    degrees, rest = take_angle(rest)
    around = re.search(r" (?:all the way )?(?:around|round|half way)$", rest)
    if degrees is None and around:
        degrees, rest = 180.0, rest[: around.start()]
    direction = _TURNED.search(rest)
    rest = rest[: direction.start()] if direction else rest
    if degrees is None:
        raise QueryError(
            f"query: 'turn {rest}' has no angle; for example 'turn {rest} by 90 degrees'"
        )
    sign = -1 if direction and direction["right"] else 1
    return Instruction("turn", _phrase(rest), degrees=sign * degrees)


def _put(rest: str, view: str, new: bool) -> Instruction:
    article = _NEW.match(rest) if new else None
    size = None
    if article is not None:
        rest, size = _sized(rest[article.end() :])
    metres, rest = take_length(_DESTINATION_WORDS.sub(f" {_DESTINATION}", rest))
    rest = " ".join(_LENGTH_PREFIX.sub("", rest).split())
    _phrase(rest)  # raises if no words are left, or a number without a unit
    if rest.split()[0] in ("me", "us", "you", "yourself"):
        raise QueryError(f"query: '{rest}': the robot is not furniture; {_HELP}")
    action: Action = "place" if article is not None else "move"
    shift = _HEADING.search(rest)
    if shift and action == "move" and not shift.group().endswith(_DESTINATION):
        return _shifted(rest[: shift.start()], shift, metres, view)
    parts = _split_relation(rest, first=article is not None)
    if parts is None:
        vague = _VAGUE.search(rest)
        if vague:
            raise QueryError(
                f"query: '{vague.group().strip()}' has no destination; name an object, e.g. "
                "'0.5 m towards the window', or 'to the left'"
            )
        raise QueryError(f"query: '{rest}' has no destination; {_HELP}")
    target, relation, anchor = (part.strip() for part in parts)
    if relation in ("over", "in"):
        raise QueryError(
            f"query: the relation '{relation}' is not supported; use on, under, next to, between, "
            "to the left or right of, in front of, or behind an object"
        )
    if relation == "from":
        relation = "next_to" if metres is not None else "away"
    if relation in SHIFTS:
        if action == "place":
            raise QueryError(f"query: '{relation}' is no destination of a new object; {_HELP}")
        _require(metres, f"{relation.replace('_', ' ')} {anchor}")
    elif metres is not None and relation not in _WITH_GAP:
        raise QueryError(f"query: a length has no meaning with '{relation}'; leave it out")
    if metres is not None and metres < 0:
        raise QueryError(f"query: {metres:g} m is negative; use the opposite direction instead")
    anchors: tuple[str, ...] = (_phrase(anchor),)
    if relation == "between":
        body = anchor.split()
        at = cut(["between", *body, "and", "end"]) if "and" not in body else _between(body)
        if at is None:
            raise QueryError(f"query: 'between {anchor}' does not name two objects")
        anchors = (_phrase(" ".join(body[:at])), _phrase(" ".join(body[at + 1 :])))
    return Instruction(action, _phrase(target), relation, anchors, view, metres, size=size)


def _between(body: list[str]) -> int | None:
    """Index of the "and" of "between": the first before an article, else the first."""
    indices = [k for k in range(1, len(body) - 1) if body[k] == "and"]
    return min(indices, key=lambda k: (not re.match(_ARTICLE, body[k + 1]), k), default=None)


def _shifted(target: str, shift: re.Match[str], metres: float | None, view: str) -> Instruction:
    metres = _require(metres, shift.group().strip())
    axis: Point = (0.0, 0.0, 0.0)
    if shift["axis"]:
        relation = "axis"
        sign = -1.0 if (shift["sign"] or "").strip() in ("-", "minus", "negative") else 1.0
        x, y, z = (sign * float(name == shift["axis"]) for name in "xyz")
        axis = (x, y, z)
    elif shift["side"]:
        relation = f"to_{shift['side']}"
    else:
        relation = "up" if shift["up"] else "down"
    if metres < 0:
        raise QueryError(f"query: {metres:g} m is negative; use the opposite direction instead")
    return Instruction("move", _phrase(target), relation, (), view, metres, axis=axis)


def _require(metres: float | None, direction: str) -> float:
    if metres is None:
        raise QueryError(
            f"query: '{direction}' has no length; give it in metres, e.g. '0.5 m {direction}'"
        )
    return metres


def _split_relation(rest: str, first: bool) -> tuple[str, str, str] | None:
    """Target, relation and anchor phrase; None without a word for a relation.

    first: the first relation decides, not the last.
    """
    before, separator, after = rest.partition(_DESTINATION)
    if separator:
        match = _RELATION.match(after.strip())
        if match is None or match.end() == len(after.strip()):
            return None
        return before, _relation(match) or "next_to", after.strip()[match.end() :]
    found = [
        m
        for m in _RELATION.finditer(rest)
        if _relation(m) is not None and m.start() > 0 and m.end() < len(rest)
    ]
    if not found:
        return None
    if not first:
        destinations = [m for m in found if _ONLY_TO.match(m.group())]
        # "from" is where the target is now, unless there is no other relation.
        others = [m for m in found if _relation(m) != "from"]
        match = (destinations or others or found)[-1]
    else:
        match = found[0]
    target = re.sub(r" from (?=the |my )", " on ", rest[: match.start()])
    return target, str(_relation(match)), rest[match.end() :]


def _relation(match: re.Match[str]) -> str | None:
    return _RELATIONS[int(str(match.lastgroup)[1:])][0]


def _sized(rest: str) -> tuple[str, tuple[float, float, float] | None]:
    match = _SIZE.search(rest)
    if match is None:
        return rest, None
    units = [match[k] for k in (2, 4, 6)]
    last = next((unit for unit in reversed(units) if unit), None)
    if last is None:
        raise QueryError(
            f"query: '{match.group().strip()}' has no unit; use metres, e.g. '0.4 x 0.4 x 1 m'"
        )
    scale = [0.01 if (unit or last) == "cm" else 1.0 for unit in units]
    size = tuple(float(match[k]) * s for k, s in zip((1, 3, 5), scale, strict=True))
    if not all(0 < side <= 20 for side in size):
        raise QueryError(
            f"query: size {match.group().strip()}: each side must be above 0 and at most 20 m"
        )
    return " ".join(f"{rest[: match.start()]} {rest[match.end() :]}".split()), size  # type: ignore[return-value]


def _phrase(words: str) -> str:
    words = " ".join(words.strip(" ,").split())
    words = re.sub(r"^and |(?: and| ,)$", "", words)
    number = re.search(r"(?<![\w.])[-+]?\d+(?:\.\d+)?(?![\w.])", words)
    if number:
        raise QueryError(
            f"query: '{number.group()}' has no unit; use metres, e.g. '{number.group()} m'"
        )
    if not re.search(r"[^\W\d_]", words) or re.fullmatch(_ARTICLE + "|a|an|it", words):
        raise QueryError(f"query: the object is missing; {_HELP}")
    return words
