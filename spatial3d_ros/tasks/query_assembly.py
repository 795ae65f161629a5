"""A sentence whose words are tagged, to the typed query that its tags make.

Patterns are left for numbers and units alone.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from spatial3d_ros.errors import QueryError
from spatial3d_ros.geometry.relations import SIDES
from spatial3d_ros.tasks.query import MARKS, Description, ParsedQuery, RelationPhrase
from spatial3d_ros.tasks.unit_parser import NUMBER, read_number, take_angle, take_length

_ORDINALS = {"first": 1, "second": 2, "third": 3, "fourth": 4, "fifth": 5, "sixth": 6}
_SIDE = r"(\d+(?:\.\d+)?) ?(m|cm|met(?:er|re)s?|centimet(?:er|re)s?)?"
_SIZE = re.compile(rf"{_SIDE} ?(?:x|by|\u00d7) ?{_SIDE} ?(?:x|by|\u00d7) ?{_SIDE}(?!\w)")
TARGETS = ("target", "second", "third")
_ONES = ("one", "ones")
_LINKS = ("that", "which", "that's", "is", "are", "it", "it's", "and", "was")
_ARTICLES = ("a", "an", "the", "my", "your")
_AWAY = ("away", "off", "back", "further", "farther")


@dataclass(frozen=True)
class TaggedWord:
    """A word with its tags, names of SEGMENTS, ROLES and PREDICATES."""

    word: str
    segment: str = "none"
    role: str = "none"
    predicate: str = "none"


def assemble(
    text: str, intent: str, tagged: Sequence[TaggedWord], confidence: float = 1.0
) -> ParsedQuery:
    """The query of a sentence whose words are tagged. Raises QueryError for amounts that are not
    understood.
    """

    if intent == "edit.place":
        tagged = _with_lost_nouns(tagged)

    def part(name: str) -> list[TaggedWord]:
        return [t for t in tagged if t.segment == name and t.word not in MARKS]

    def words(name: str) -> str:
        return " ".join(t.word for t in part(name))

    metres, degrees = read_amount(words("number"))
    targets = tuple(describe_words(part(name)) for name in TARGETS if part(name))
    relation = _majority(part("relation"))
    if not relation and metres is not None and len(targets) > 1:
        # "0.5 m away from the door" shifts, "0.5 m from the door" is a gap
        relation = "away" if any(t.word in _AWAY for t in part("none")) else "next_to"
    return ParsedQuery(
        text,
        intent,
        targets,
        relation=relation,
        metres=metres,
        degrees=degrees,
        size=read_size(words("size")),
        color=words("color"),
        region=words("region"),
        time=words("time"),
        viewpoint=words("view"),
        confidence=confidence,
    )


def _with_lost_nouns(tagged: Sequence[TaggedWord]) -> Sequence[TaggedWord]:
    """The words, where a new object has a noun that the network never met: the last word of its
    phrase, or the word after an article that was tagged alone.
    """
    named = {item.segment for item in tagged if item.role in ("head", "pronoun")}
    made = list(tagged)
    for k, (item, after) in enumerate(pairwise(tagged), 1):
        lost = item.segment in TARGETS and item.segment not in named
        alone = item.word in _ARTICLES and after.segment == "none"
        if lost and after.word not in MARKS and (alone or _ends(tagged, k, item.segment)):
            made[k] = replace(after, segment=item.segment, role="head")
    return made


def _ends(tagged: Sequence[TaggedWord], k: int, segment: str) -> bool:
    """Whether word k is the last one of a segment."""
    return tagged[k].segment == segment and all(t.segment != segment for t in tagged[k + 1 :])


@dataclass
class _Open:
    """A noun phrase while its words come in; `roles`: those of its noun, modifiers and pronoun."""

    roles: tuple[str, str, str]
    words: list[TaggedWord] = field(default_factory=list)
    relations: list[_OpenRelation] = field(default_factory=list)
    viewpoint: list[str] = field(default_factory=list)
    faced: list[str] = field(default_factory=list)

    def closed(self) -> Description:
        head, modifier, _ = self.roles
        faced = " ".join(self.faced)
        noun = first_words(self.words, head)
        if not noun and any(t.word in _ONES for t in self.words):
            noun = faced  # "facing the sinks, the one on the right"
        if not noun and not self.refers:
            noun = self._lost_noun()
        return Description(
            " ".join(t.word for t in self.words),
            noun,
            self._all(modifier),
            _majority([t for t in self.words if t.role == "superlative"]),
            next((_ORDINALS.get(word, 0) for word in self._all("ordinal")), 0),
            tuple(dict.fromkeys(r.closed() for r in self.relations)),
            " ".join(self.viewpoint),
            faced,
            self._all("excluded"),
            " ".join(self._all("quantifier")),
            self.refers,
        )

    def _lost_noun(self) -> str:
        """The word before the first relation that was read as nothing or as an anchor: "mug" of
        "red mug on table"; "" without.
        """
        for before, item in pairwise(self.words):
            if item.role == "relation":
                lost = before.role in ("none", "anchor") and before.word not in (
                    *_ARTICLES,
                    *_ONES,
                    *_LINKS,
                )
                return before.word if lost else ""
        return ""

    @property
    def refers(self) -> bool:
        """Whether it is a pronoun."""
        return bool(self._all(self.roles[2]))

    def _all(self, role: str) -> tuple[str, ...]:
        return tuple(t.word for t in self.words if t.role == role)


@dataclass
class _OpenRelation:
    predicate: str
    negated: bool
    anchors: list[_Open] = field(default_factory=list)

    def closed(self) -> RelationPhrase:
        return RelationPhrase(
            self.predicate, tuple(anchor.closed() for anchor in self.anchors), self.negated
        )


def describe_words(tagged: Sequence[TaggedWord]) -> Description:
    """The description that words of one segment make."""
    whole = _Open(("head", "modifier", "pronoun"), list(tagged))
    relation: _OpenRelation | None = None
    anchor: _Open | None = None
    lead = ""
    negated = False
    before = TaggedWord("")
    for item in tagged:
        if item.role == "negation":
            negated = True
        elif item.role == "excluded":
            negated = False
        elif item.role == "viewpoint":
            (whole.faced if lead == "facing" else whole.viewpoint).append(item.word)
        elif item.role in ("relation", "subrelation"):
            lead = item.predicate
            if item.predicate == "none" and before.role == item.role:
                item = before
            elif (before.role, before.predicate) != (item.role, item.predicate):
                relation = _OpenRelation(item.predicate, negated)
                owner = anchor if item.role == "subrelation" and anchor else whole
                if item.predicate != "none":
                    owner.relations.append(relation)
                anchor, negated = None, False
        elif item.role.startswith("anchor") and relation is not None:
            if anchor is None or not before.role.startswith("anchor"):
                anchor = _Open(("anchor", "anchor_modifier", "anchor_pronoun"))
                relation.anchors.append(anchor)
            anchor.words.append(item)
            if relation.predicate == "none" and item.role == "anchor":
                whole.faced.append(item.word)  # "looking at the bed"
        before = item
    sides = any(r.predicate in SIDES and not r.anchors for r in whole.relations)
    for relation in whole.relations:
        if relation.predicate == "facing" and relation.anchors and whole.viewpoint and sides:
            # "if I stand at the door and face the bed, what is on my left": the viewer faces it
            whole.faced = whole.faced or [t.word for t in relation.anchors[0].words]
            relation.anchors = []
        if whole.faced and any(a.refers for a in relation.anchors):
            # "looking at the bed, the lamp to the left of it"
            relation.anchors = [_noun_of_anchor(whole.faced)]
    whole.relations = [r for r in whole.relations if r.anchors or r.predicate != "facing"]
    return whole.closed()


def _noun_of_anchor(words: Sequence[str]) -> _Open:
    roles = ("anchor", "anchor_modifier", "anchor_pronoun")
    return _Open(roles, [TaggedWord(word, role="anchor") for word in words])


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


def read_size(text: str) -> tuple[float, float, float] | None:
    """Full extents in metres: "0.4 x 0.4 x 1 m" -> (0.4, 0.4, 1.0). The last unit counts for all
    sides without one. Raises QueryError where there is none, or a side is not above 0 to 20 m.
    """
    match = _SIZE.search(re.sub(r"(?<=\d),(?=\d)", ".", text))
    if match is None:
        return None
    units = [match[k] for k in (2, 4, 6)]
    last = next((unit for unit in reversed(units) if unit), None)
    if last is None:
        raise QueryError(
            f"query: '{match.group().strip()}' has no unit; use metres, e.g. '0.4 x 0.4 x 1 m'"
        )
    x, y, z = (
        float(match[k]) * (0.01 if (unit or last).startswith("c") else 1.0)
        for k, unit in zip((1, 3, 5), units, strict=True)
    )
    if not all(0 < side <= 20 for side in (x, y, z)):
        raise QueryError(
            f"query: size {match.group().strip()}: each side must be above 0 and at most 20 m"
        )
    return x, y, z


def _majority(tagged: Sequence[TaggedWord]) -> str:
    counts = Counter(t.predicate for t in tagged if t.predicate != "none")
    return counts.most_common(1)[0][0] if counts else ""


def first_words(tagged: Sequence[TaggedWord], role: str) -> str:
    """The first words in a row of that role."""
    run: list[str] = []
    for item in tagged:
        if item.role == role:
            run.append(item.word)
        elif run:
            break
    return re.sub(r"['\u2019]s?$", "", " ".join(run))
