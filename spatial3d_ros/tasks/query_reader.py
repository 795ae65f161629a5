"""The reader of sentences: a question to a typed query, in one pass of the query network.

Text in other than Latin letters is no English.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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
    ParsedQuery,
    split_words,
)
from spatial3d_ros.tasks.query_assembly import TARGETS, TaggedWord, assemble, first_words
from spatial3d_ros.tasks.query_limits import check_length
from spatial3d_ros.tasks.query_network import MAX_WORDS, QueryReader, ReaderOutput

_QUOTES = '"\u201c\u201d\u00ab\u00bb<>`'
_TAG = re.compile(  # of HTML; of "<mug>" the word stays
    r"</?(?:a|b|i|u|p|br|hr|em|h[1-6]|li|ol|ul|td|th|tr|div|img|pre|svg|body|code|font|form|head"
    r"|html|link|meta|span|input|style|table|title|button|iframe|object|script|strong|textarea"
    r")(?:[\s/][^<>]{0,200})?>",
    re.IGNORECASE,
)
_INVISIBLE = ("Cc", "Cf", "Zl", "Zp")  # control and direction marks, line separators
_TWO = "unsupported.two"
_JOINTS = ("and", ".", "?", ";", ",", "also", "then", "plus")
_LINKS = (*MARKS, "and", "also", "then", "please")
_STARTS = frozenset(
    ("where", "where's", "what", "what's", "which", "who", "how", "when", "is", "are", "does", "do")
) | {"find", "show", "locate", "count", "tell"}
_ENDS = ("from", "to")
_REMARKS = frozenset(("it", "it's", "they", "there", "this", "that", "i'm"))
_DOUBTFUL = ("unsupported.language", "unsupported.other", "unsupported.nonsense")
_OBJECT_ROLES = ("head", "anchor", "pronoun", "anchor_pronoun")
_SURE = 0.5  # probability from which a part of a sentence is a question of its own
_EDIT = (*TARGETS, "relation", "number", "view", "size")
_PARTS: dict[str, tuple[str, ...]] = {
    "distance": ("target", "second"), "compare": TARGETS, "compare_far": TARGETS,
    "compare_size": ("target", "second"), "compare_small": ("target", "second"),
    "count": ("target", "second", "color"), "attribute": ("target", "color"),
    "is_attribute": ("target", "color"), "what_near": ("target", "second", "relation", "view"),
    "edit": _EDIT, "edit.swap": ("target", "second"), "edit.remove": ("target",),
    "edit.remove_all": ("target", "second", "relation"),
    "edit.turn": ("target", "second", "relation", "number"), "unsupported": (),
}  # fmt: skip


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
    def sure(self) -> bool:
        """Whether it is clearly a request that can be answered, or two."""
        return self.asks or (self.intent == _TWO and self.confidence >= _SURE)

    @property
    def kind(self) -> tuple[str, ...]:
        """Intent, noun and modifiers of what it asks for."""
        target = [t for t in self.tagged if t.segment == "target"]
        modifiers = (t.word for t in target if t.role in ("modifier", "superlative", "ordinal"))
        return (self.intent, first_words(target, "head"), *modifiers)

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
    unsure = len(words) == 1 or float(shares.max()) < _SURE
    if intent.startswith("edit") or (unsure and intent in _DOUBTFUL):
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
        if "?" in words[:-1] and before[0] in _STARTS and after[0] in _ENDS:
            return True  # "how far is the chair from the door? and from the window?"
        if begun and not (before[0] in _STARTS and after[0] in _STARTS):
            continue
        if after[0] in _REMARKS or before[0] in _REMARKS - {"i'm"}:
            continue
        first, second = _read(before, reader), _read(after, reader)
        if not begun and _TWO in (first.intent, second.intent) and first.sure and second.sure:
            return True  # "the sofa and the chair and the lamp": a part is itself two requests
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
