"""Surface realization: predicates into sentences of one to four parts, with typing errors."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

from spatial3d_ros.english import plural, with_article
from spatial3d_ros.object_catalog import COLOR_TERMS
from spatial3d_ros.research.homes.object_names import misspell
from spatial3d_ros.research.homes.predicates import NounPhrase, Predicate
from spatial3d_ros.research.homes.templates import (
    NUMBERS,
    ORDINALS,
    RELATION_TEMPLATES,
    SENTENCE_TEMPLATES,
    SHAPE_ADJECTIVES,
    SIZE_ADJECTIVES,
)

_VIEWED = ("left", "right", "behind")  # relations that may start with "facing the {anchor}"
_CONTAINERS = (
    "shelf", "closet", "cabinet", "stall", "tub", "shower", "bookcase", "rack", "wardrobe",
)  # fmt: skip
_RELATIVE = ("that", "with", "which")


@dataclass(frozen=True)
class _Phrase:
    """A predicate in words: an adjective, or a modifier after the noun, and a clause after "it"."""

    adjective: str = ""
    modifier: str = ""
    clause: str = ""


class Realizer:
    """Realizes predicates with the templates of one split, "train" or "test"."""

    def __init__(self, rng: random.Random, split: str) -> None:
        self.rng, self.split = rng, split
        self.sentences = SENTENCE_TEMPLATES[split]

    # -- parts ---------------------------------------------------------------------------------
    def template(self, name: str) -> str:
        """A template of a table entry; in the test split half of them from those marked ~."""
        options = [text for text in RELATION_TEMPLATES[name] if not text.startswith("~")]
        marked = [text[1:] for text in RELATION_TEMPLATES[name] if text.startswith("~")]
        if self.split == "test" and marked and self.rng.random() < 0.5:
            return self.rng.choice(marked)
        return self.rng.choice(options)

    def anchor(self, phrase: NounPhrase, pronoun: str = "") -> str:
        """A noun phrase: "the table by the window", "a chair", "the other chair"."""
        if pronoun:
            return pronoun
        if phrase.predicate is not None:
            words = self.predicate(phrase.predicate)
            return " ".join(filter(None, ("the", words.adjective, phrase.noun, words.modifier)))
        if phrase.shared:
            return f"{'the other' if phrase.unique else 'another'} {phrase.noun}"
        if phrase.unique or self.rng.random() < 0.5:
            return f"the {phrase.noun}"
        if self.rng.random() < 0.5:
            return f"the {plural(phrase.noun)}"
        return with_article(phrase.noun)

    def predicate(self, predicate: Predicate, pronoun: str = "") -> _Phrase:
        """One predicate in words; `pronoun` replaces its anchor."""
        rng, kind = self.rng, predicate.kind
        if kind == "color":
            word = rng.choice(COLOR_TERMS.get(predicate.value, (predicate.value,)))
            if rng.random() < 0.12:
                return _Phrase("", f"that is {word}", f"is {word}")
            clauses = (f"is {word}", f"is {word} in color", f"is {word}")
            return _Phrase(word, "", rng.choice(clauses))
        if kind == "shape":
            word = rng.choice(SHAPE_ADJECTIVES[predicate.value])
            return _Phrase(word, "", f"is {word}")
        if kind == "size":
            return self.size(predicate)
        if kind == "not":
            return self.negation(predicate)
        if kind in ("order", "view order"):
            return self.rank(predicate)
        text = self.template(self.template_name(predicate))
        words: dict[str, str] = {}
        if predicate.anchors:
            first = predicate.anchors[0]
            words = {"as": plural(first.noun)}
            words["a"] = words["an"] = self.anchor(first, pronoun)
            if kind == "with" and first.predicate is None:
                words["an"] = with_article(first.noun)
            if kind == "count":
                number = int(predicate.value.split()[1])
                words["an"] = f"{rng.choice((NUMBERS[number], str(number)))} {plural(first.noun)}"
            words["b"] = self.anchor(predicate.anchors[-1])
        return _parsed(text.format(**words))

    def template_name(self, predicate: Predicate) -> str:
        """The entry of RELATION_TEMPLATES for a predicate."""
        kind, value = predicate.kind, predicate.value
        if kind == "spot":
            return value
        if kind == "view side":
            return value if predicate.anchors else f"side {value}"
        if kind in ("with", "count"):
            return f"with {value.split()[0]}"
        if kind == "between" and value == "two":
            return "two"
        inside = kind == "on" and predicate.anchors[0].noun.endswith(_CONTAINERS)
        return "in" if inside and self.rng.random() < 0.5 else kind

    def size(self, predicate: Predicate) -> _Phrase:
        """A superlative; the comparative only of two."""
        assert predicate.candidates is not None
        adjectives = SIZE_ADJECTIVES[predicate.value]
        if int(predicate.candidates.sum()) != 2:
            superlatives = [w for w in adjectives if w.endswith("st") or w in ("top", "bottom")]
            adjectives = tuple(superlatives) or adjectives
        word = self.rng.choice(adjectives)
        return _Phrase(word, "", f"is the {word} one")

    def negation(self, predicate: Predicate) -> _Phrase:
        assert predicate.negated is not None
        words = self.predicate(predicate.negated)
        if words.adjective:
            return _Phrase("", f"that is not {words.adjective}", f"is not {words.adjective}")
        negated = re.sub(r"^(is|has) ", r"", words.clause)
        if words.clause.startswith("has "):
            return _Phrase("", f"without {negated}", f"does not have {negated}")
        return _Phrase("", f"that is not {negated}", f"is not {negated}")

    def rank(self, predicate: Predicate) -> _Phrase:
        """ "leftmost", "second from the left"."""
        side, _, number = predicate.value.partition(" ")
        if not number:
            return _parsed(self.template(f"order {side}"))
        k = int(number)
        ordinal = ORDINALS[k - 1]
        text = self.template("order from")
        if text.startswith("{k}") and self.rng.random() < 0.3:
            return _Phrase(ordinal, f"from the {side}", f"is the {ordinal} one from the {side}")
        words = text.format(k=ordinal, n=k, side=side)
        return _Phrase("", words, f"is {words.removeprefix('that is ')}")

    # -- sentences -----------------------------------------------------------------------------
    def sentence(
        self, noun: str, predicates: Sequence[Predicate], group: Predicate | None = None,
        count: int = 0,
    ) -> str:  # fmt: skip
        """All predicates of an object called `noun`. With `count`, they distinguish it from that
        many objects, which are those that `group` holds for.
        """
        rng = self.rng
        viewed = next((p for p in predicates if p.view is not None), None)
        faced = None  # "facing the bed, the lamp on its left"
        if viewed is None and not count and rng.random() < 0.35:
            faced = next((p for p in predicates if p.kind in _VIEWED), None)
        if count:
            text = self.grouped(noun, predicates, group, count)
        elif faced is not None:
            text = self.described(noun, predicates, True, faced)
        elif viewed is None and rng.random() < 0.5 and (chain := self.chained(noun, predicates)):
            text = chain
        else:
            text = self.described(noun, predicates, viewed is not None)
        if faced is not None:
            opener, view = self.template("before"), faced.anchors[0]
        elif viewed is not None and viewed.view is not None:
            opener, view = self.template("enter" if viewed.entering else "view"), viewed.view
        else:
            return text
        opener = opener.format(v=self.anchor(view))
        template = rng.choice(self.sentences["view"])
        if count:  # a whole sentence already
            template = rng.choice(("{v}, {s}", "{s} {v}"))
        if "you're {v}" in template or "when {v}" in template:
            template = template if opener.split()[0].endswith("ing") else "{s} {v}"
        return template.format(v=opener, s=text)

    def described(
        self, noun: str, predicates: Sequence[Predicate], brief: bool,
        faced: Predicate | None = None,
    ) -> str:  # fmt: skip
        """A phrase (brief) or sentences; "it" is the anchor of `faced`."""
        rng = self.rng
        excluded = [p for p in predicates if p.kind == "not" and rng.random() < 0.4]
        phrases = [
            self.predicate(p, "it" if p is faced else "") for p in predicates if p not in excluded
        ]
        tail = ""
        for predicate in excluded:
            assert predicate.negated is not None
            words = self.predicate(predicate.negated)
            modifier = words.modifier or f"that is {words.adjective}"
            separator = rng.choice((", ", ". ", " "))
            tail += separator + rng.choice(self.sentences["exclude"]).format(p=modifier)
        adjectives = [p for p in phrases if p.adjective and p.modifier]
        adjectives += [p for p in phrases if p.adjective and not p.modifier]
        modifiers = [p for p in phrases if not p.adjective]
        roll = rng.random()
        if not brief and ((roll < 0.4 and len(phrases) > 1) or (roll < 0.12 and phrases)):
            return self.parts(noun, phrases) + tail
        phrase, modifier = self.nominal(noun, adjectives, modifiers)
        head = self.nominal(noun, [p for p in adjectives if not p.modifier], [])[0]
        if brief:
            return f"the {phrase}{tail}"
        if modifier and not any(p.modifier for p in adjectives) and rng.random() < 0.35:
            template = rng.choice(self.sentences["modifier"])
            if modifier.startswith(_RELATIVE):
                template = "the {adj} {p}"
            text = template.format(n=noun, adj=head, a_adj=with_article(head), p=modifier)
        else:
            text = rng.choice(self.sentences["whole"]).format(
                np=phrase, the=f"the {phrase}", a_np=with_article(phrase)
            )
        return text + tail

    def nominal(
        self, noun: str, adjectives: Sequence[_Phrase], modifiers: Sequence[_Phrase]
    ) -> tuple[str, str]:
        """ "brown chair next to the table" and its part after the noun."""
        joint = self.rng.choice((" and ", " ", ", ", " that is ", " and "))
        if joint == " that is " and any(p.modifier.startswith(_RELATIVE) for p in modifiers):
            joint = " and "
        modifier = joint.join(p.modifier for p in [*adjectives, *modifiers] if p.modifier)
        return " ".join(
            filter(None, [*(p.adjective for p in adjectives), noun, modifier])
        ), modifier

    def parts(self, noun: str, phrases: Sequence[_Phrase]) -> str:
        """Several short sentences: "this is a brown chair. it is at the end of the table." """
        rng = self.rng
        first = [p for p in phrases if p.adjective and not p.modifier and rng.random() < 0.8]
        first = [p for p in first if not p.clause.startswith("is the ")]
        rest = [p for p in phrases if p not in first]
        rng.shuffle(rest)
        attached = []
        if len(rest) > 1 and not rest[-1].adjective and rng.random() < 0.3:
            attached = [rest.pop()]
        head = self.nominal(noun, first, attached)[0]
        text = rng.choice(self.sentences["intro"]).format(adj=head, a_adj=with_article(head))
        while rest:
            clause = rest.pop().clause
            if rest and rng.random() < 0.3:
                clause += f" and {rest.pop().clause}"
            words = {"is": clause, "n": noun, "bare": clause.removeprefix("is ")}
            text += " " + rng.choice(self.sentences["more"]).format(**words)
        return text

    def definite(self, noun: str, phrases: Sequence[_Phrase]) -> str:
        """ "the brown chair next to it"."""
        adjectives = [p for p in phrases if p.adjective]
        return f"the {self.nominal(noun, adjectives, [p for p in phrases if not p.adjective])[0]}"

    def grouped(
        self, noun: str, predicates: Sequence[Predicate], group: Predicate | None, count: int
    ) -> str:
        """ "there are three chairs at the table. choose the tallest one"."""
        rng = self.rng
        phrases = [self.predicate(p) for p in predicates]
        one = self.definite("one" if rng.random() < 0.6 else noun, phrases)
        condition = self.predicate(group) if group is not None else _Phrase()
        nouns = " ".join(filter(None, (condition.adjective, plural(noun))))
        where = f" {condition.modifier}"
        if not condition.modifier:
            where = rng.choice(("", "", " in the room", " in this room"))
        pick = rng.choice(self.sentences["pick"]).format(one=one)
        number = rng.choice((NUMBERS[count], NUMBERS[count], str(count)))
        return rng.choice(self.sentences["group"]).format(
            count=number, ns=nouns, g=where, pick=pick, one=one
        )

    def chained(self, noun: str, predicates: Sequence[Predicate]) -> str:
        """The anchor first, in its own sentence; "" where no anchor has a predicate."""
        rng = self.rng
        chained = next(
            (
                p for p in predicates
                if len(p.anchors) == 1 and p.kind not in ("with", "count", "not", "between")
            ),
            None,
        )  # fmt: skip
        if len(predicates) > 2 or chained is None:
            return ""
        anchor = chained.anchors[0]
        if anchor.shared or anchor.predicate is None or anchor.noun == noun:
            return ""
        first = self.anchor(anchor)
        pronoun = rng.choice(("it", f"that {anchor.noun}", f"this {anchor.noun}", "it"))
        phrases = [self.predicate(p, pronoun if p is chained else "") for p in predicates]
        one = self.definite(noun, phrases)
        pick = rng.choice(self.sentences["pick"]).format(one=one)
        bare = with_article(first.removeprefix("the "))
        return rng.choice(self.sentences["chain"]).format(
            first=first, a_first=bare, pick=pick, one=one
        )

    # -- typing --------------------------------------------------------------------------------
    def finish(self, text: str) -> str:
        """Typed text: mostly lower case, often without punctuation, sometimes with an error."""
        rng = self.rng
        text = re.sub(r"\s+", " ", text).strip()
        if rng.random() < 0.1:
            text = re.sub(r"\b(the|a|an) ", lambda m: "" if rng.random() < 0.7 else m[0], text)
        if rng.random() < 0.45:
            text = text.rstrip(".?")
        elif text[-1:] not in ".?":
            text += "."
        if rng.random() < 0.12:
            text = text.replace(". ", " ").replace(", ", " ")
        elif rng.random() < 0.08:
            text = text.replace(". ", ", ")
        if rng.random() < 0.06:
            text = misspell(text, rng)
        if rng.random() < 0.25:
            text = ". ".join(part[:1].upper() + part[1:] for part in text.split(". "))
        return text.strip() or "the thing"


_CLAUSES = (
    ("that has ", "has "), ("that is ", "is "), ("which is ", "is "), ("with ", "has "),
    ("that faces ", "faces "), ("that sits ", "sits "), ("that ", "is where "), ("", "is "),
)  # fmt: skip
"""How a modifier begins, and how the clause after "it" begins then."""


def _parsed(text: str) -> _Phrase:
    """A filled template of RELATION_TEMPLATES, with its mark."""
    if text.startswith("+"):
        return _Phrase(text[1:], "", f"is the {text[1:]} one")
    if text.startswith("="):
        return _Phrase("", text[1:], "has " + text[1:].removeprefix("with "))
    start, verb = next(pair for pair in _CLAUSES if text.startswith(pair[0]))
    return _Phrase("", text, verb + text.removeprefix(start))
