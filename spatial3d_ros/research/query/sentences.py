"""Sentences with their typed queries, word by word: what the query reader learns from.

`QuerySentences(seed).draw()` draws a frame of an intent (`grammar.py`), fills its slots with
generated noun phrases (`noun_phrases.py`) and amounts, and tags each word with segment, role and
predicate (`tasks/query.py`). Noise as people make it follows (`typing_noise.py`): fillers, dropped
articles and marks, slips of typing. Sentences with two questions are made of two others; those in
other languages of the frames and words in `languages.yaml`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from spatial3d_ros.geometry.relations import SIDES
from spatial3d_ros.research.homes.object_names import invented_word
from spatial3d_ros.research.query.foreign import foreign_sentence
from spatial3d_ros.research.query.grammar import (
    Node,
    expand,
    frames,
    macros,
    pairs,
    phrases,
    slots,
    table,
)
from spatial3d_ros.research.query.noun_phrases import NounPhrases, Words, absorbed, tag
from spatial3d_ros.research.query.typing_noise import noisy
from spatial3d_ros.tasks.query_assembly import TaggedWord

_WEIGHTS = {
    "locate": 9.0, "edit.move": 6.0, "unsupported.other": 4.0, "unsupported.two": 4.0,
    "unsupported.language": 3.0, "count": 2.0, "exists": 2.5, "distance": 2.0, "locate_all": 3.0,
    "unsupported.greeting": 1.8, "unsupported.nonsense": 2.0,
    "edit.remove": 1.5, "edit.place": 1.5, "size.depth": 0.5, "size.volume": 0.5,
    "attribute.pattern": 0.5, "attribute.state": 0.6, "attribute.material": 0.7,
    "compare_far": 0.7, "compare_small": 0.7, "size.length": 0.7, "size.width": 0.7,
}  # fmt: skip
_SEGMENTS = {"t": "target", "u": "second", "v": "third", "w": "view"}
_NEAR_RELATIONS = (
    "under", "above", "below", "next_to", "near", "left", "right", "front", "behind", "opposite",
)  # fmt: skip
_SINGLE = (
    "locate", "distance", "count", "exists", "attribute.color", "what_on", "size.height",
    "size.all", "support", "is_attribute", "edit.move", "edit.remove", "edit.swap", "list",
    "locate_all", "what_near", "robot_distance", "last_seen", "edit.turn", "describe",
)  # fmt: skip
_EDITS = ("edit.move", "edit.move", "edit.remove", "edit.swap", "edit.turn", "edit.place")
_JOINTS = (
    "and", "and", "and", ", and", "?", "?", ".", "and then", "and also", ", then", "also", "? and",
    ". then", "plus", "then", "? also", ";", ", also", "or", "and after that", "", "as well as",
)  # fmt: skip


_INTRODUCED = (
    "attribute", "is_attribute", "size", "what_on", "anything_on", "what_near", "what_in",
    "support", "describe", "distance", "robot_distance", "edit.move", "edit.remove", "edit.turn",
)  # fmt: skip
"""Intents of questions about one object that a sentence before may introduce."""


@dataclass(frozen=True)
class Sentence:
    """A sentence as words with their tags, and its `intent`."""

    words: tuple[TaggedWord, ...]
    intent: str

    @property
    def text(self) -> str:
        """The sentence; marks stand apart."""
        return " ".join(item.word for item in self.words)


class QuerySentences:
    """Draws sentences of a split; the same seed gives the same ones. favoured: slots from whose
    frames half of the sentences come, to train on what is new.
    """

    def __init__(self, seed: int, split: str = "train", favoured: Sequence[str] = ()) -> None:
        self.rng, self.split = random.Random(seed), split
        self._head = "one"  # noun of the last target
        self._noun = "one"  # of an object that was introduced
        self.nouns = NounPhrases(self.rng, split)
        self._frames = frames(split)
        new = {f"{{{slot}}}" for slot in favoured}
        self._favoured = [
            (intent, frame)
            for intent, trees in self._frames.items()
            for frame in trees
            if new & slots(frame)
        ]
        self.intents = (*self._frames, "unsupported.language", "unsupported.two")
        self._weights = [_WEIGHTS.get(intent, 1.0) for intent in self.intents]
        tagged = "relation", "relation"
        self._fixed: dict[str, Callable[[], Words]] = {
            "r": self._edit_relation,
            "rdest": lambda: self._pair("destinations", *tagged),
            "q": lambda: self._pair("relations", *tagged, names=_NEAR_RELATIONS),
            "rel1": lambda: self._pair("relations", "target", "relation", but=("between", "with")),
            "close": lambda: self._pair(
                "relations", "target", "relation", names=("closest", "farthest")
            ),
            "sup0": lambda: self._pair("superlatives", "target", "superlative"),
            "dir": lambda: self._pair("directions", *tagged),
            "axis": lambda: self._pair("axes", *tagged),
            "cw": lambda: self._pair("turns", *tagged),
            "tow": lambda: self._list("towards", phrases("towards", self.split)),
            "away": lambda: self._list("away", phrases("away", self.split)),
            "off": lambda: self._list("none", phrases("off", self.split)),
            "madeof": lambda: tag(
                self.rng.choice(phrases("materials", self.split)), "target", "modifier"
            ),
            "lacks": lambda: self.nouns.denied_look("target"),
            "roomy": lambda: tag("the", "target") + self._fixed["building"](),
            "to": lambda: self._list("next_to", phrases("to", self.split)),
            "floor": lambda: self._list("floor", phrases("floor", self.split)),
            "wallr": lambda: self._list("wall", phrases("wallr", self.split)),
            "corner": self._spot,
            "k": lambda: self.nouns.article_anchor("target"),
            "kb": lambda: self.nouns.anchor("target"),
            "viewed": lambda: tag(self.rng.choice(phrases("viewed", self.split))),
            "viewer": lambda: self.nouns.viewer("target"),
            "facer": lambda: self.nouns.viewer("target", "facing"),
            "n": self._length,
            "deg": self._angle,
            "size": lambda: self._size(),
            "c": lambda: self._value("colors"),
            "mat": lambda: self._value("materials"),
            "state": lambda: self._value("states"),
            "adj": lambda: tag(self.nouns.modifier(), "target", "modifier"),
            "again": lambda: tag("the", "target") + tag(self._head, "target", "head"),
            "without": self._lacking,
            "twoviews": lambda: self.nouns.viewer_and_faced("target"),
            "mine": self._mine,
            "viewat": lambda: self.nouns.viewer_at("target"),
            "purp": self._purpose,
            "purping": lambda: self._purpose(gerund=True),
            "kd": lambda: (
                tag(self.rng.choice(("the", "the", "my", "this")), "target")
                + self.nouns.anchor("target")
            ),
            "seen": self._seen,
            "seenk": lambda: tag("the", "target") + tag(self._noun, "target", "anchor"),
            "code": lambda: tag(self._code()),
            "no": lambda: self.nouns.described("no", "none"),
            "neither": lambda: tag(self.nouns.modifier(), "target", "excluded"),
            "supw": lambda: self._pair("superlatives", "target", "superlative"),
            "neg": lambda: self._denied(),
            "supone": lambda: self.nouns.outermost("target"),
            "withon": lambda: self._carrying("with", "that has", "having"),
            "thereis": lambda: self._carrying("there is", "there are", "it has"),
            "vk": lambda: tag("the", "target") + self.nouns.faced("target"),
            "side": lambda: self._pair("alone", "target", "relation", names=("left", "right")),
            "c1": lambda: tag(self.rng.choice(self.nouns.colors), "target", "modifier"),
            "g": lambda: tag(self.rng.choice(phrases("regions", self.split)), "region"),
            "m": lambda: tag(self.rng.choice(phrases("times", self.split)), "time"),
            "mp": lambda: tag(self.rng.choice(phrases("pasts", self.split)), "time"),
            "new": self._new,
            "x": lambda: self.nouns.described("x", "target"),
            "junk": lambda: tag(self._junk()),
            "salad": self._salad,
            "digits": self._digits,
        }
        for slot, (segment, role, predicate, text) in table("phrases")["slots"].items():
            texts = text.split("; ")
            self._fixed[slot] = partial(self._one_of, texts, segment, role, predicate)

    def draw(self) -> Sentence:
        """One sentence."""
        if self._favoured and self.rng.random() < 0.5:
            return self.sentence(*self.rng.choice(self._favoured))
        return self.sentence(self.rng.choices(self.intents, self._weights)[0])

    def sentence(self, intent: str, frame: Sequence[Node] = ()) -> Sentence:
        """One sentence of an intent, of one of its frames."""
        if intent == "unsupported.language":
            words = tag(foreign_sentence(self.rng, self.split))
        elif intent == "unsupported.two":
            words = self._with_remarks(self._two())
        elif intent.startswith("unsupported") or intent == "follow_up":
            words = self._filled(intent, frame)
        else:
            introduced = intent.startswith(_INTRODUCED) and self.rng.random() < 0.08
            words = self._introduced(intent) if introduced else self._filled(intent, frame)
            words = self._with_remarks(words)
        fillers = intent not in ("unsupported.greeting", "unsupported.language", "follow_up")
        return Sentence(tuple(noisy(words, self.rng, self.split, fillers=fillers)), intent)

    def _filled(self, intent: str, frame: Sequence[Node] = ()) -> Words:
        frame = frame or self.rng.choice(self._frames[intent])
        return self._slots_filled(expand(frame, self.rng, self.split, []))

    def _macro(self, name: str) -> Words:
        tree = self.rng.choice(macros(self.split)[name])
        return self._slots_filled(expand(tree, self.rng, self.split, []))

    def _with_remarks(self, words: Words) -> Words:
        """A sentence among others that ask nothing."""
        rng = self.rng
        if rng.random() < 0.06:
            mark = tag(rng.choice((".", ".", ".", ",", ";", "!", "", ":")))
            words = [*self._macro("remark"), *mark, *words]
        if rng.random() < 0.05:
            words = [
                *words,
                *tag(rng.choice((".", "?", "?", ",", ""))),
                *self._macro("remark_after"),
            ]
        return words

    def _introduced(self, intent: str) -> Words:
        """A sentence that introduces the object, and a question about "it"."""
        words = self._filled(intent)
        at = [k for k, item in enumerate(words) if item.segment == "target"]
        own = {item.role for item in words if item.segment == "target"}
        if not at or at[-1] - at[0] + 1 != len(at) or own & {"pronoun", "anchor_pronoun"}:
            return words
        genitive = "'" in words[at[-1]].word
        it = "its" if genitive else self.rng.choice(("it", "it", "it", "that", "this", "that one"))
        mark = self.rng.choice((".", ".", ".", ",", ";", ""))
        return [
            *self._macro("introduced"), *tag(mark), *words[: at[0]], *tag(it), *words[at[-1] + 1 :]
        ]  # fmt: skip

    def _slots_filled(self, parts: list[str]) -> Words:
        self.nouns.brief = any(part.startswith("{u") for part in parts)
        words: Words = []
        for part in parts:
            if part.startswith("{"):
                slot, _, tail = part[1:].partition("}")
                words += self._slot(slot)
                if tail and words:
                    words[-1] = replace(words[-1], word=words[-1].word + tail)
            else:
                words.append(TaggedWord(part))
        return absorbed(words)

    def _slot(self, slot: str) -> Words:
        if slot in self._fixed:
            return self._fixed[slot]()
        words = self.nouns.described(slot[1:], _SEGMENTS[slot[0]])
        if slot[0] == "t":
            self._head = " ".join(item.word for item in words if item.role == "head") or "one"
        return words

    def _two(self) -> Words:
        """Two questions or requests in one sentence."""
        rng = self.rng
        if rng.random() < 0.2:  # "where are the mug and the lamp"
            words = tag(rng.choice(phrases("leads", self.split)) if rng.random() < 0.7 else "")
            for k in range(rng.choice((2, 2, 2, 3, 3, 4, 5))):
                joint = ("and", "and", ",", ", and", "and then", "plus") if k else ("",)
                words += tag(rng.choice(joint)) + self.nouns.described("1", "target")
            return [TaggedWord(item.word) for item in words]
        kinds = _EDITS if rng.random() < 0.25 else _SINGLE
        intents = [rng.choice(kinds), rng.choice(kinds)]
        if rng.random() < 0.4:  # "where is the mug and where is the lamp"
            intents[1] = intents[0]
        first, second = map(self._filled, intents)
        if rng.random() < 0.35:  # "and how far is it from the door"
            at = [k for k, item in enumerate(second) if item.segment == "target"]
            if at and at[-1] - at[0] + 1 == len(at):
                own = rng.choice(("it", "it", "that", "they"))
                second = [*second[: at[0]], TaggedWord(own), *second[at[-1] + 1 :]]
        if rng.random() < 0.2:
            ask, ask2 = (rng.choice(phrases("asked", self.split)) for _ in range(2))
            ask2 = ask if rng.random() < 0.5 else ask2
            first = [*tag(ask), *self.nouns.described("1", "target")]
            second = [*tag(ask2), *self.nouns.described("1", "target")]
        joined = [*first, *tag(rng.choice(_JOINTS)), *second]
        return [TaggedWord(item.word) for item in joined]

    def _pair(
        self, key: str, segment: str, role: str,
        names: tuple[str, ...] = (), but: tuple[str, ...] = (),
    ) -> Words:  # fmt: skip
        while True:
            name, text = self.rng.choice(pairs(key, self.split))
            if (not names or name in names) and name not in but:
                return tag(text, segment, role, name)

    def _one_of(self, texts: Sequence[str], *tags: str) -> Words:
        return tag(self.rng.choice(texts), *tags)

    def _list(self, name: str, texts: tuple[str, ...]) -> Words:
        return tag(self.rng.choice(texts), "relation", "relation", name)

    def _edit_relation(self) -> Words:
        return self._pair("edit_relations", "relation", "relation")

    def _mine(self) -> Words:
        """A side of who looks: "on my left", "left of me"."""
        alone = self.rng.random() < 0.6
        words = self._pair("alone" if alone else "relations", "target", "relation", names=SIDES)
        return words if alone else words + tag(self.rng.choice(("me", "you")), "target", "anchor")

    def _purpose(self, gerund: bool = False) -> Words:
        """What an object is for; the verb stands for its noun."""
        rng = self.rng
        verb, *rest = rng.choice(phrases("purposes", self.split)).split()
        if rng.random() < 0.12:
            verb = invented_word(rng)
        if gerund:
            verb = verb.removesuffix("e") + "ing"
        return tag(verb, "target", "head") + tag(" ".join(rest), "target")

    def _seen(self) -> Words:
        self._noun = self.nouns.noun()
        return tag(f"{self.rng.choice(('a', 'the'))} {self._noun}")

    def _spot(self) -> Words:
        name = self.rng.choice(("corner", "corner", "middle"))
        return self._list(name, phrases(name, self.split))

    def _denied(self) -> Words:
        """A relation that does not hold."""
        leads = ("not the one", "but not the one", "not", "never the one")
        lead = tag(self.rng.choice(leads), "target", "negation")
        relation = self._pair("relations", "target", "relation", but=("between", "with"))
        return lead + relation + self.nouns.article_anchor("target")

    def _lacking(self) -> Words:
        """ "without a lamp on it"."""
        lead = tag(self.rng.choice(("without", "that lacks")), "target", "negation")
        return [*lead, *self._carrying("")]

    def _carrying(self, *leads: str) -> Words:
        """ "with a lamp on it"."""
        lead = tag(self.rng.choice(leads), "target", "relation", "with")
        places = ("on it", "on top", "next to it", "in it", "on top of it", "beside it", "above it")
        where = tag(self.rng.choice(places), "target")
        article = tag(self.rng.choice(("a", "a", "the", "some", "")), "target")
        return lead + article + self.nouns.anchor("target") + where

    def _value(self, key: str) -> Words:
        return tag(self.rng.choice(phrases(key, self.split)), "color")

    def _length(self) -> Words:
        rng = self.rng
        number, unit = (rng.choice(phrases(key, self.split)) for key in ("numbers", "units"))
        if rng.random() < 0.3:
            number = f"{rng.uniform(0.05, 3):.{rng.randint(1, 2)}f}"
        joined = rng.random() < 0.25 and number[-1].isdigit()
        return tag(number + unit if joined else f"{number} {unit}", "number")

    def _angle(self) -> Words:
        number, unit = (self.rng.choice(phrases(key, self.split)) for key in ("angles", "degrees"))
        if unit == "°":
            return tag(f"{number}{unit}" if number[-1].isdigit() else f"{number} degrees", "number")
        return tag(f"{number} {unit if self.rng.random() < 0.8 else ''}", "number")

    def _size(self) -> Words:
        lead = tag(self.rng.choice(("of", "sized", "of size", "measuring", "with size", "")))
        return lead + tag(self.rng.choice(phrases("sizes", self.split)), "size")

    def _new(self) -> Words:
        rng = self.rng
        article = rng.choice(
            ("a", "a", "a", "a new", "another", "one more", "an", "an extra", "some", "a second",
             "an additional", "a different", "one", "a further", "new")
        )  # fmt: skip
        words = tag(article, "target") + self.nouns.nominal(
            "target", ("head", "modifier"), few=True
        )
        return words + (self._size() if rng.random() < 0.08 else [])

    def _junk(self) -> str:
        rng = self.rng
        letters = rng.choice(
            ("bcdfghjklmnpqrstvwxz", "abcdefghijklmnopqrstuvwxyz", "asdfjkl", "qwertyuiop")
        )
        return "".join(rng.choice(letters) for _ in range(rng.randint(3, 9)))

    def _code(self) -> str:
        return self.rng.choice((*phrases("code", self.split), self._junk(), self.nouns.noun()))

    def _salad(self) -> Words:
        words = phrases("salad", self.split)
        return tag(" ".join(self.rng.choice(words) for _ in range(self.rng.randint(2, 6))))

    def _digits(self) -> Words:
        rng = self.rng
        return tag(
            " ".join(str(rng.randint(0, 10 ** rng.randint(1, 6))) for _ in range(rng.randint(1, 4)))
        )
