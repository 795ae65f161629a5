"""A meaning into the words that people use: sentences of one to four parts, with their haste."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

from spatial3d_ros.research.homes.object_catalog import SPOKEN_COLORS
from spatial3d_ros.research.homes.object_names import misspell, plural
from spatial3d_ros.research.homes.predicates import Clause, Noun
from spatial3d_ros.research.homes.templates import (
    FRAMES,
    NUMBERS,
    ORDINALS,
    PLACES,
    SHAPES,
    SIZES,
)

_BEFORE = ("left", "right", "behind")  # of what one looks at
_INSIDE = ("shelf", "closet", "cabinet", "stall", "tub", "shower", "bookcase", "rack", "wardrobe")


@dataclass(frozen=True)
class _Said:
    """A clause in words: an adjective, or what follows the noun, and what follows "it"."""

    adjective: str = ""
    after: str = ""
    of_it: str = ""


class Speaker:
    """Words drawn from the tables of one split, "train" or "test"."""

    def __init__(self, rng: random.Random, split: str) -> None:
        self.rng, self.split = rng, split
        self.frames = FRAMES[split]

    # -- parts ---------------------------------------------------------------------------------
    def place(self, name: str) -> str:
        """A wording of a table entry; those marked ~ only in the test split, and there often."""
        options = [text for text in PLACES[name] if not text.startswith("~")]
        marked = [text[1:] for text in PLACES[name] if text.startswith("~")]
        if self.split == "test" and marked and self.rng.random() < 0.5:
            return self.rng.choice(marked)
        return self.rng.choice(options)

    def anchor(self, noun: Noun, pronoun: str = "") -> str:
        """A noun phrase: "the table by the window", "a chair", "the other chair"."""
        if pronoun:
            return pronoun
        if noun.clause is not None:
            said = self.clause(noun.clause)
            return " ".join(filter(None, ("the", said.adjective, noun.word, said.after)))
        if noun.other:
            return f"{'the other' if noun.single else 'another'} {noun.word}"
        if noun.single or self.rng.random() < 0.5:
            return f"the {noun.word}"
        if self.rng.random() < 0.5:
            return f"the {plural(noun.word)}"
        return article(noun.word)

    def clause(self, clause: Clause, pronoun: str = "") -> _Said:
        """One clause in words; `pronoun` stands for its anchor."""
        rng, kind = self.rng, clause.kind
        if kind == "color":
            word = rng.choice(SPOKEN_COLORS.get(clause.value, (clause.value,)))
            if rng.random() < 0.12:
                return _Said("", f"that is {word}", f"is {word}")
            return _Said(word, "", rng.choice((f"is {word}", f"is {word} in color", f"is {word}")))
        if kind == "shape":
            word = rng.choice(SHAPES[clause.value])
            return _Said(word, "", f"is {word}")
        if kind == "size":
            two = int(clause.among.sum()) == 2
            words = [
                w for w in SIZES[clause.value] if two or w.endswith("st") or w in ("top", "bottom")
            ]
            words = words if words else list(SIZES[clause.value])
            word = rng.choice(words)
            return _Said(word, "", f"is the {word} one")
        if kind == "not":
            inner = self.clause(clause.inner)
            if inner.adjective:
                return _Said("", f"that is not {inner.adjective}", f"is not {inner.adjective}")
            negated = re.sub(r"^(is|has) ", r"", inner.of_it)
            if inner.of_it.startswith("has "):
                return _Said("", f"without {negated}", f"does not have {negated}")
            return _Said("", f"that is not {negated}", f"is not {negated}")
        if kind in ("order", "view order"):
            return self.ordered(clause)
        name = kind
        if kind == "spot":
            name = clause.value
        elif kind == "view side":
            name = clause.value if clause.anchors else f"side {clause.value}"
        elif kind == "with":
            name = f"with {clause.value}"
        elif kind == "count":
            name = f"with {clause.value.split()[0]}"
        elif kind == "between" and clause.value == "two":
            name = "two"
        elif kind == "on" and clause.anchors[0].word.endswith(_INSIDE) and rng.random() < 0.5:
            name = "in"
        text = self.place(name)
        words: dict[str, str] = {}
        if clause.anchors:
            first = clause.anchors[0]
            words = {"as": plural(first.word)}
            words["a"] = words["an"] = self.anchor(first, pronoun)
            if kind == "with" and first.clause is None:
                words["an"] = article(first.word)
            if kind == "count":
                number = int(clause.value.split()[1])
                words["an"] = f"{rng.choice((NUMBERS[number], str(number)))} {plural(first.word)}"
            words["b"] = self.anchor(clause.anchors[-1])
        return _said(text.format(**words))

    def ordered(self, clause: Clause) -> _Said:
        side, _, number = clause.value.partition(" ")
        if not number:
            return _said(self.place(f"order {side}"))
        k = int(number)
        text = self.place("order from")
        if text.startswith("{k}") and self.rng.random() < 0.3:
            return _Said(
                ORDINALS[k - 1], f"from the {side}", f"is the {ORDINALS[k - 1]} one from the {side}"
            )
        said = text.format(k=ORDINALS[k - 1], n=k, side=side)
        return _Said("", said, f"is {said.removeprefix('that is ')}")

    # -- sentences -----------------------------------------------------------------------------
    def sentence(
        self, noun: str, clauses: Sequence[Clause], group: Clause | None = None, count: int = 0
    ) -> str:
        """All clauses of a thing called `noun`; with `count`, they tell it from that many, which
        are those that `group` holds for.
        """
        rng = self.rng
        view = next((clause for clause in clauses if clause.view is not None), None)
        before = None
        if (
            view is None and not count and rng.random() < 0.35
        ):  # "facing the bed, the lamp on its left"
            before = next((c for c in clauses if c.kind in _BEFORE), None)
        if count:
            text = self.grouped(noun, clauses, group, count)
        elif before is not None:
            text = self.told(noun, clauses, True, before)
        elif view is None and rng.random() < 0.5 and (chain := self.chained(noun, clauses)):
            text = chain
        else:
            text = self.told(noun, clauses, view is not None)
        if view is not None or before is not None:
            opener = self.place("before" if before else "enter" if view.entering else "view")
            opener = opener.format(v=self.anchor(before.anchors[0] if before else view.view))
            frame = rng.choice(self.frames["view"])
            if count:  # a whole sentence already
                frame = rng.choice(("{v}, {s}", "{s} {v}"))
            if "you're {v}" in frame or "when {v}" in frame:
                frame = frame if opener.split()[0].endswith("ing") else "{s} {v}"
            text = frame.format(v=opener, s=text)
        return text

    def told(
        self, noun: str, clauses: Sequence[Clause], brief: bool, before: Clause | None = None
    ) -> str:
        """A phrase (brief) or sentences; the anchor of `before` is named already."""
        rng = self.rng
        refused = [c for c in clauses if c.kind == "not" and rng.random() < 0.4]
        said = [self.clause(c, "it" if c is before else "") for c in clauses if c not in refused]
        tail = ""
        for clause in refused:
            inner = self.clause(clause.inner)
            where = inner.after or f"that is {inner.adjective}"
            tail += rng.choice((", ", ". ", " ")) + rng.choice(self.frames["refuse"]).format(
                p=where
            )
        adjectives = [one for one in said if one.adjective and one.after]
        adjectives += [one for one in said if one.adjective and not one.after]
        after = [one for one in said if not one.adjective]
        roll = rng.random()
        if (roll < 0.4 and len(said) > 1 and not brief) or (roll < 0.12 and said and not brief):
            return self.parts(noun, said) + tail
        phrase, place = self.phrase(noun, adjectives, after)
        nominal = self.phrase(noun, [one for one in adjectives if not one.after], [])[0]
        if brief:
            return f"the {phrase}{tail}"
        if place and not any(one.after for one in adjectives) and rng.random() < 0.35:
            frame = rng.choice(self.frames["placed"])
            if place.startswith(("that", "with", "which")):
                frame = "the {adj} {p}"
            text = frame.format(n=noun, adj=nominal, a_adj=article(nominal), p=place)
        else:
            text = rng.choice(self.frames["whole"]).format(
                np=phrase, the=f"the {phrase}", a_np=article(phrase)
            )
        return text + tail

    def phrase(
        self, noun: str, adjectives: Sequence[_Said], after: Sequence[_Said]
    ) -> tuple[str, str]:
        """ "brown chair next to the table" and its part after the noun."""
        joint = self.rng.choice((" and ", " ", ", ", " that is ", " and "))
        if joint == " that is " and any(
            one.after.startswith(("that", "with", "which")) for one in after
        ):
            joint = " and "
        place = joint.join(
            [one.after for one in adjectives if one.after] + [one.after for one in after]
        )
        words = [one.adjective for one in adjectives]
        return " ".join([*words, noun, *([place] if place else [])]), place

    def parts(self, noun: str, said: Sequence[_Said]) -> str:
        """Several short sentences: "this is a brown chair. it is at the end of the table." """
        rng = self.rng
        first = [one for one in said if one.adjective and not one.after and rng.random() < 0.8]
        rest = [one for one in said if one not in first]
        first = [one for one in first if not one.of_it.startswith("is the ")] or first[:0]
        rest = [one for one in said if one not in first]
        rng.shuffle(rest)
        attached = (
            [rest.pop()] if len(rest) > 1 and not rest[-1].adjective and rng.random() < 0.3 else []
        )
        nominal = self.phrase(noun, first, attached)[0]
        text = rng.choice(self.frames["intro"]).format(adj=nominal, a_adj=article(nominal))
        while rest:
            one = rest.pop()
            of_it = one.of_it
            if rest and rng.random() < 0.3:
                of_it += f" and {rest.pop().of_it}"
            bare = of_it.removeprefix("is ")
            text += " " + rng.choice(self.frames["more"]).format(
                **{"is": of_it, "n": noun, "bare": bare}
            )
        return text

    def one(self, noun: str, clauses: Sequence[Clause], pronoun: str = "") -> str:
        """ "the tallest one", "the one next to it"."""
        said = [self.clause(clause, pronoun) for clause in clauses]
        noun = "one" if self.rng.random() < 0.6 else noun
        adjectives = [one for one in said if one.adjective]
        phrase = self.phrase(noun, adjectives, [one for one in said if not one.adjective])[0]
        return f"the {phrase}"

    def grouped(
        self, noun: str, clauses: Sequence[Clause], group: Clause | None, count: int
    ) -> str:
        rng = self.rng
        one = self.one(noun, clauses)
        said = self.clause(group) if group is not None else _Said()
        many = plural(noun)
        if said.adjective:
            many = f"{said.adjective} {many}"
        where = (
            f" {said.after}"
            if said.after
            else rng.choice(("", "", " in the room", " in this room"))
        )
        pick = rng.choice(self.frames["pick"]).format(one=one)
        number = rng.choice((NUMBERS[count], NUMBERS[count], str(count)))
        return rng.choice(self.frames["group"]).format(
            count=number, ns=many, g=where, pick=pick, one=one
        )

    def chained(self, noun: str, clauses: Sequence[Clause]) -> str:
        """The anchor first, in a sentence of its own; "" where no anchor has more to tell."""
        rng = self.rng
        chains = [
            c
            for c in clauses
            if len(c.anchors) == 1 and c.kind not in ("with", "count", "not", "between")
        ]
        if len(clauses) > 2 or not chains or chains[0].anchors[0].other:
            return ""
        anchor = chains[0].anchors[0]
        if anchor.clause is None or anchor.word == noun:
            return ""
        first = self.anchor(anchor)
        pronoun = rng.choice(("it", f"that {anchor.word}", f"this {anchor.word}", "it"))
        said = [self.clause(c, pronoun if c is chains[0] else "") for c in clauses]
        adjectives = [one for one in said if one.adjective]
        one = "the " + self.phrase(noun, adjectives, [s for s in said if not s.adjective])[0]
        pick = rng.choice(self.frames["pick"]).format(one=one)
        bare = article(first.removeprefix("the "))
        return rng.choice(self.frames["chain"]).format(
            first=first, a_first=bare, pick=pick, one=one
        )

    # -- haste ---------------------------------------------------------------------------------
    def finish(self, text: str) -> str:
        """As people type: mostly lower case, often without marks, now and then with a slip."""
        rng = self.rng
        text = re.sub(r"\s+", " ", text).strip()
        roll = rng.random()
        if roll < 0.1:
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


def article(nominal: str) -> str:
    """With its indefinite article; none before what is plural."""
    head = nominal.split(" that ")[0].split(" with ")[0].split(" in ")[0].split(" on ")[0]
    if plural(head) == head and not head.endswith("ss"):
        return nominal
    return f"{'an' if nominal[:1] in 'aeiou' else 'a'} {nominal}"


def _said(text: str) -> _Said:
    if text.startswith("+"):
        return _Said(text[1:], "", f"is the {text[1:]} one")
    if text.startswith("="):
        text = text[1:]
        return _Said("", text, "has " + text.removeprefix("with "))
    if text.startswith("that has "):
        return _Said("", text, text.removeprefix("that "))
    for opening in ("that is ", "which is "):
        if text.startswith(opening):
            return _Said("", text, "is " + text.removeprefix(opening))
    if text.startswith("with "):
        return _Said("", text, "has " + text.removeprefix("with "))
    if text.startswith("that faces "):
        return _Said("", text, "faces " + text.removeprefix("that faces "))
    if text.startswith("that sits "):
        return _Said("", text, "sits " + text.removeprefix("that sits "))
    if text.startswith("that "):  # "that a lamp is on"
        return _Said("", text, "is where " + text.removeprefix("that "))
    return _Said("", text, "is " + text)
