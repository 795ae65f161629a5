"""The reader of sentences: a question to a typed query, in one pass of the query network.

Patterns are left for numbers and units alone. Text in other than Latin letters is no English.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import dropwhile

import torch

from spatial3d_ros.errors import QueryError
from spatial3d_ros.tasks.query import (
    INTENTS,
    MARKS,
    PREDICATES,
    ROLES,
    SEGMENTS,
    Description,
    ParsedQuery,
    RelationPhrase,
    split_words,
)
from spatial3d_ros.tasks.query_limits import check_length
from spatial3d_ros.tasks.query_network import MAX_WORDS, QueryReader, ReaderOutput
from spatial3d_ros.tasks.unit_parser import NUMBER, read_number, take_angle, take_length

_QUOTES = '"\u201c\u201d\u00ab\u00bb<>`'
_TAG = re.compile(  # of HTML; of "<mug>" the word stays
    r"</?(?:a|b|i|u|p|br|hr|em|h[1-6]|li|ol|ul|td|th|tr|div|img|pre|svg|body|code|font|form|head"
    r"|html|link|meta|span|input|style|table|title|button|iframe|object|script|strong|textarea"
    r")(?:[\s/][^<>]{0,200})?>",
    re.IGNORECASE,
)
_INVISIBLE = ("Cc", "Cf", "Zl", "Zp")  # control and direction marks, line separators
_ORDINALS = {"first": 1, "second": 2, "third": 3, "fourth": 4, "fifth": 5, "sixth": 6}
_SIDE = r"(\d+(?:\.\d+)?) ?(m|cm|met(?:er|re)s?|centimet(?:er|re)s?)?"
_SIZE = re.compile(rf"{_SIDE} ?(?:x|by|\u00d7) ?{_SIDE} ?(?:x|by|\u00d7) ?{_SIDE}(?!\w)")
_TWO = "unsupported.two"
_JOINTS = ("and", ".", "?", ";", ",", "also", "then", "plus")
_LINKS = (*MARKS, "and", "also", "then", "please")
_STARTS = frozenset(
    ("where", "where's", "what", "what's", "which", "who", "how", "when", "is", "are", "does", "do")
) | {"find", "show", "locate", "count", "tell"}
_REMARKS = frozenset(("it", "it's", "they", "there", "this", "that", "i'm"))
_AWAY = ("away", "off", "back", "further", "farther")
_DOUBTFUL = ("unsupported.language", "unsupported.other", "unsupported.nonsense")
_OBJECT_ROLES = ("head", "anchor", "pronoun", "anchor_pronoun")
_SURE = 0.5  # probability from which a part of a sentence is a question of its own
TARGETS = ("target", "second", "third")
_EDIT = (*TARGETS, "relation", "number", "view", "size")
_PARTS: dict[str, tuple[str, ...]] = {
    "distance": ("target", "second"), "compare": TARGETS, "compare_far": TARGETS,
    "compare_size": ("target", "second"), "compare_small": ("target", "second"),
    "count": ("target", "second", "color"), "attribute": ("target", "color"),
    "is_attribute": ("target", "color"), "what_near": ("target", "relation", "view"),
    "edit": _EDIT, "edit.swap": ("target", "second"), "edit.remove": ("target",),
    "edit.remove_all": ("target", "second", "relation"),
    "edit.turn": ("target", "second", "relation", "number"), "unsupported": (),
}  # fmt: skip


@dataclass(frozen=True)
class TaggedWord:
    """A word with its tags, names of SEGMENTS, ROLES and PREDICATES."""

    word: str
    segment: str = "none"
    role: str = "none"
    predicate: str = "none"


@dataclass(frozen=True)
class Reading:
    """What the network reads in words: intent, its probability, and the tagged words."""

    intent: str
    confidence: float
    tagged: tuple[TaggedWord, ...]

    @property
    def asks(self) -> bool:
        """Whether it is clearly a request that can be answered."""
        return not self.intent.startswith("unsupported") and self.confidence >= _SURE

    @property
    def kind(self) -> tuple[str, ...]:
        """Intent, noun and modifiers of what it asks for."""
        target = [t for t in self.tagged if t.segment == "target"]
        modifiers = (t.word for t in target if t.role in ("modifier", "superlative", "ordinal"))
        return (self.intent, _first_run(target, "head"), *modifiers)

    @property
    def object_words(self) -> bool:
        """Whether it names an object or refers to one."""
        return any(t.role in _OBJECT_ROLES and t.segment in TARGETS for t in self.tagged)


def clean_text(text: str) -> str:
    """A question without control and direction marks, HTML tags and quotes; one space between
    words. Raises QueryError when nothing is left or it is too long.
    """
    kept = "".join(
        " " if letter in _QUOTES or unicodedata.category(letter) in _INVISIBLE else letter
        for letter in _TAG.sub(" ", text)
    )  # fmt: skip
    words = " ".join(kept.split())
    if not re.search(r"[^\W_]", words):
        raise QueryError(
            "query: empty; ask for an object in plain words, e.g. 'the red mug on the table'"
        )
    check_length(words)
    return words


def parse_query(text: str, reader: QueryReader) -> ParsedQuery:
    """What a sentence asks for. Raises QueryError for an empty or too long one, for a unit of
    length that is not understood, and for two lengths.
    """
    text = clean_text(text)
    words = split_words(text)
    if len(words) > MAX_WORDS:
        raise QueryError(f"query: {len(words)} words; ask in at most {MAX_WORDS}")
    if not mostly_latin(text):
        return ParsedQuery(text, "unsupported.language")
    reading = _read(words, reader)
    flagged = reading.intent == _TWO
    asks = flagged or not reading.intent.startswith("unsupported")
    if asks and _two_requests(words, reader, begun=not flagged):
        return ParsedQuery(text, _TWO)
    if flagged:
        reading = _with_remark(words, reader)
    return assemble(text, reading.intent, reading.tagged, reading.confidence)


@torch.inference_mode()
def _read(words: Sequence[str], reader: QueryReader, *, one: bool = False) -> Reading:
    """Intent, its probability, and tags of the words; `one`: it is one request, not two."""
    output = reader([words])
    shares = output.intent[0].softmax(-1)
    if one:
        shares[INTENTS.index(_TWO)] = 0.0
        shares = shares / shares.sum()
    intent = INTENTS[int(shares.argmax())]
    if intent.startswith("edit") or (len(words) == 1 and intent in _DOUBTFUL):
        usual = _with_usual_nouns(words, output)
        mean = (shares + reader(usual).intent.softmax(-1).sum(0)) / (1 + len(usual))
        if not INTENTS[int(mean.argmax())].startswith("unsupported"):
            shares, intent = mean, INTENTS[int(mean.argmax())]
    absent = torch.tensor([segment not in segments_of(intent) for segment in SEGMENTS])
    segments = output.segment.masked_fill(absent, -torch.inf)
    tags = ((SEGMENTS, segments), (ROLES, output.role), (PREDICATES, output.predicate))
    rows = [[names[k] for k in logits[0].argmax(-1).tolist()] for names, logits in tags]
    tagged = [TaggedWord(*item) for item in zip(words, *rows, strict=True)]
    return Reading(intent, float(shares.max()), tuple(tagged))


def _with_usual_nouns(words: Sequence[str], output: ReaderOutput) -> list[list[str]]:
    """The sentence with usual nouns in place of its own: what is asked does not hang on them."""
    segments, roles = output.segment[0].argmax(-1).tolist(), output.role[0].argmax(-1).tolist()
    nouns = [
        SEGMENTS[segment] in TARGETS and ROLES[role] in ("head", "anchor")
        for segment, role in zip(segments, roles, strict=True)
    ]
    made = []
    for usual in ("mug", "chair"):
        changed: list[str] = []
        for k, (word, noun) in enumerate(zip(words, nouns, strict=True)):
            if not noun:
                changed.append(word)
            elif k + 1 == len(words) or not nouns[k + 1]:  # the last word of a noun
                many = word.endswith("s") and not word.endswith("ss")
                changed.append(usual + "s" * many)
        made.append(changed)
    return made


def _two_requests(words: Sequence[str], reader: QueryReader, *, begun: bool) -> bool:
    """Whether a sentence falls into two parts that ask for different things; with `begun` only
    parts that begin as a question or a command does. A remark is no request ("give me metres"), nor
    is the same asked again ("is there a mug? where is it?").
    """
    for before, after in _parts(words):
        if begun and not (before[0] in _STARTS and after[0] in _STARTS):
            continue
        if after[0] in _REMARKS or before[0] in _REMARKS - {"i'm"}:
            continue
        first, second = _read(before, reader), _read(after, reader)
        if first.asks and second.asks and second.object_words and first.kind != second.kind:
            again = second.intent == "locate" and not second.kind[1]
            if not again and (second.kind[1] or first.intent != second.intent):
                return True
    return False


def _with_remark(words: Sequence[str], reader: QueryReader) -> Reading:
    """A request with a remark that the network takes for two: read as one, or the words before."""
    whole = _read(words, reader, one=True)
    if whole.confidence >= _SURE and any(_parts(words)):
        return whole
    parts = (_read(before, reader) for before, _ in _parts(words))
    clear = [reading for reading in parts if reading.asks and reading.kind[1]]
    return max(clear, key=lambda reading: reading.confidence, default=_read(words, reader))


def _parts(words: Sequence[str]) -> Iterator[tuple[Sequence[str], Sequence[str]]]:
    """The words before and after each joint, without marks and conjunctions in front."""
    for k in range(2, len(words) - 1):
        if words[k] in _JOINTS and words[k - 1] not in _JOINTS:
            before, after = (
                list(dropwhile(lambda word: word in _LINKS, part))
                for part in (words[:k], words[k + 1 :])
            )
            if before and after:
                yield before, after


def mostly_latin(text: str) -> bool:
    """Whether at least half of the letters are Latin; also of a text without letters."""
    letters = [letter for letter in text if letter.isalpha()]
    latin = sum(unicodedata.name(letter, "").startswith("LATIN") for letter in letters)
    return 2 * latin >= len(letters)


@cache
def segments_of(intent: str) -> frozenset[str]:
    """Segments that sentences of an intent can have."""
    parts = _PARTS.get(intent, _PARTS.get(intent.partition(".")[0], ("target",)))
    return frozenset(("none", "region", "time", *parts))


def assemble(
    text: str, intent: str, tagged: Sequence[TaggedWord], confidence: float = 1.0
) -> ParsedQuery:
    """The query of a sentence whose words are tagged. Raises QueryError for amounts that are not
    understood.
    """

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


@dataclass
class _Open:
    """A noun phrase while its words come in; `roles`: those of its noun, modifiers and pronoun."""

    roles: tuple[str, str, str]
    words: list[TaggedWord] = field(default_factory=list)
    relations: list[_OpenRelation] = field(default_factory=list)

    def closed(self) -> Description:
        head, modifier, pronoun = self.roles
        return Description(
            " ".join(t.word for t in self.words),
            _first_run(self.words, head),
            self._all(modifier),
            _majority([t for t in self.words if t.role == "superlative"]),
            next((_ORDINALS.get(word, 0) for word in self._all("ordinal")), 0),
            tuple(r.closed() for r in self.relations),
            " ".join(self._all("viewpoint")),
            self._all("excluded"),
            " ".join(self._all("quantifier")),
            bool(self._all(pronoun)),
        )

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
    faced: list[_Open] = []
    negated = False
    before = TaggedWord("")
    for item in tagged:
        if item.role == "negation":
            negated = True
        elif item.role == "excluded":
            negated = False
        elif item.role in ("relation", "subrelation"):
            if item.predicate == "none" and before.role == item.role:
                item = before
            elif (before.role, before.predicate) != (item.role, item.predicate):
                relation = _OpenRelation(item.predicate, negated)
                owner = anchor if item.role == "subrelation" and anchor else whole
                if item.predicate != "none":
                    owner.relations.append(relation)
                else:
                    faced = relation.anchors  # "looking at the bed, the lamp to the left of it"
                anchor, negated = None, False
        elif item.role.startswith("anchor") and relation is not None:
            if anchor is None or not before.role.startswith("anchor"):
                anchor = _Open(("anchor", "anchor_modifier", "anchor_pronoun"))
                relation.anchors.append(anchor)
            anchor.words.append(item)
        before = item
    for relation in whole.relations:
        if faced and any(t.role == "anchor_pronoun" for a in relation.anchors for t in a.words):
            relation.anchors = faced[:1]
    return whole.closed()


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


def _first_run(tagged: Sequence[TaggedWord], role: str) -> str:
    """The first words in a row of that role."""
    run: list[str] = []
    for item in tagged:
        if item.role == role:
            run.append(item.word)
        elif run:
            break
    return re.sub(r"['\u2019]s?$", "", " ".join(run))
