"""Noun phrases with their tags: nouns known and made up, modifiers, superlatives, relations."""

from __future__ import annotations

import random
from functools import cache

from spatial3d_ros.categories import CATEGORIES, NOUNS
from spatial3d_ros.object_catalog import OBJECT_KINDS
from spatial3d_ros.research.homes.object_names import invented_word, plural
from spatial3d_ros.research.query.grammar import pairs, phrases
from spatial3d_ros.tasks.query_assembly import TaggedWord

Words = list[TaggedWord]
_ANY = ("thing", "object", "item", "one", "one", "stuff")
_DEFINITE = (
    ("the", "my", "this", "that", "your", "our", "the same", "his", "her", ""),
    (0.76, 0.06, 0.03, 0.04, 0.02, 0.02, 0.003, 0.01, 0.01, 0.05),
)
_OWN = ("it", "it", "it", "that", "this", "that one", "this one", "them", "those", "they")
_PREPOSED = (
    ("closest", "closest nearest closer nearer", "to"),
    ("farthest", "farthest furthest farther", "from"),
)
_FACED = ("facing", "when you face", "if you face", "looking at")
_VIEWS = (
    ("standing at", "and looking at"), ("if i stand at", "and face"), ("i stand at", "and look at"),
    ("looking from", "towards"), ("seen from", "looking at"), ("from", "looking towards"),
    ("as seen from", ", looking towards"), ("when you look from", "towards"),
    ("look from", "towards"), ("viewed from", "towards"), ("facing", "from"),
    ("when you face", "from"), ("if you face", "from"), ("standing by", "facing"),
    ("when you come in through", "and look at"), ("coming in through", "and facing"),
    ("if i sit on", "and look at"), ("sitting on", "facing"), ("when i sit on", "and face"),
    ("i am at", "looking at"), ("i'm at", "facing"), ("from", ", facing"), ("if i am at", "facing"),
    ("when you stand at", "and look towards"), ("lying on", "and looking at"),
    ("looking at", "from"), ("facing", "while standing at"), ("with me at", "and facing"),
)  # fmt: skip
_THAT_IS = ("that is", "which is", "that's", "that are", "who is")
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def tag(text: str, segment: str = "none", role: str = "none", predicate: str = "none") -> Words:
    """Each word of a text with the same tags."""
    return [TaggedWord(word, segment, role, predicate) for word in text.split()]


@cache
def nouns(split: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Nouns of the classes that the network names, and all others."""
    ours = tuple(n for c in CATEGORIES for n in NOUNS.get(c, (c,)))
    return ours, (*(n for k in OBJECT_KINDS.values() for n in k.nouns), *phrases("nouns", split))


class NounPhrases:
    """Draws noun phrases of a split."""

    def __init__(self, rng: random.Random, split: str) -> None:
        self.rng, self.split = rng, split
        self.brief = False  # fewer relations, where a sentence names several objects
        self.colors = phrases("colors", split)
        self.modifiers = phrases("modifiers", split)

    def noun(self, many: bool = False) -> str:
        """A noun, or two in a row; made up in one of five."""
        rng, draw = self.rng, self.rng.random()
        ours, others = nouns(self.split)
        if draw < 0.3:
            noun = rng.choice(ours)
        elif draw < 0.77:
            noun = rng.choice(others)
        elif draw < 0.94:
            noun = invented_word(rng)
        else:
            noun = "".join(rng.choice(_LETTERS) for _ in range(rng.randint(3, 9)))
        if rng.random() < 0.05:
            noun = f"{rng.choice(rng.choice((ours, others)))} {noun}"
        return plural(noun) if many else noun

    def modifier(self) -> str:
        draw = self.rng.random()
        if draw < 0.03:
            return invented_word(self.rng)
        return self.rng.choice(self.colors if draw < 0.5 else self.modifiers)

    def nominal(
        self, segment: str, roles: tuple[str, str], *, many: bool = False, few: bool = False
    ) -> Words:
        """Modifiers and a noun."""
        weights = (0.75, 0.22, 0.03) if few else (0.55, 0.37, 0.08)
        words: Words = []
        for k in range(self.rng.choices((0, 1, 2), weights)[0]):
            if k and self.rng.random() < 0.1:
                words += tag(self.rng.choice((",", "and")), segment)
            words += tag(self.modifier(), segment, roles[1])
        return words + tag(self.noun(many), segment, roles[0])

    def article(self, kind: str) -> str:
        """An article or quantifier: "a" indefinite, "p" plural, "the", or any definite one."""
        rng = self.rng
        if kind == "a":
            return rng.choice(("a", "a", "a", "any", "an", "some", "another", "one"))
        if kind == "p":
            return rng.choice(
                ("the", "the", "all", "all the", "both", "my", "all of the", "these", "those",
                 "both the", "our", "the two", "all three", "the other")
            )  # fmt: skip
        if kind == "the":
            return rng.choice(("the", "the", "the", "my", "that", "this", "your"))
        return rng.choices(*_DEFINITE)[0]

    def described(self, kind: str, segment: str) -> Words:
        """A description. kind: "" definite, "1" without relations, "def" definite for sure, "a"
        indefinite, "b" bare, "s" bare plural, "p" plural, "pl" and "pall" with article and
        quantifier, "ball" for every or all, "x" with an outermost superlative, "gen" genitive,
        "one" "the one", "no" untagged.
        """
        rng = self.rng
        if kind == "one":
            words = tag("the", segment)
            if rng.random() < 0.4:
                words += tag(self.modifier(), segment, "modifier")
            return words + tag("one", segment)
        if kind == "no":
            return tag("the " + self.noun())
        simple = kind.endswith("1") or kind in ("gen", "two")
        kind = kind.removesuffix("1")
        if kind == "ball":
            kind = rng.choice(("b", "s", "s"))
        if kind in ("", "gen", "def") and rng.random() < (0.06 if kind == "" else 0.03):
            own = rng.choice(_OWN)
            words = tag(own, segment, "pronoun")
            return _genitive(words) if kind == "gen" else words
        many = kind in ("p", "s", "pl", "pall", "two")
        article = {
            "b": "", "s": "", "a": self.article("a"), "p": self.article("p"),
            "pl": rng.choice(("the", "the", "these", "those", "my")), "def": self.article("the"),
            "two": rng.choice(("the two", "the two", "both", "both the", "these two", "our two")),
            "pall": rng.choice(("all the", "the", "all", "both", "all of the", "every one of the")),
        }.get(kind, "")  # fmt: skip
        if kind in ("", "x", "gen"):
            article = self.article("")
        words = _quantified(article, segment)
        extreme = not simple and rng.random() < (1.0 if kind == "x" else 0.1)
        if extreme and not many and rng.random() < 0.15:
            return words + self._closest(segment)
        if extreme:
            words += self._superlative(segment)
        draw = rng.random()
        if not simple and not many and draw < 0.06:
            if rng.random() < 0.6:
                words += tag(self.modifier(), segment, "modifier")
            words += tag(rng.choice(_ANY), segment)
        elif kind in ("", "def", "1") and draw < 0.09:
            words += tag(rng.choice(phrases("plural_only", self.split)), segment, "head")
        else:
            words += self.nominal(segment, ("head", "modifier"), many=many, few=simple)
        if kind == "gen":
            return _genitive(words)
        if not simple:
            words += self._after(segment, relations=kind != "x")
        return words

    def _closest(self, segment: str) -> Words:
        """ "closest mug to the table"."""
        name, forms, to = self.rng.choice(_PREPOSED)
        words = tag(self.rng.choice(forms.split()), segment, "superlative", name)
        words += self.nominal(segment, ("head", "modifier"), few=True)
        return words + tag(to, segment, "relation", name) + self.article_anchor(segment)

    def outermost(self, segment: str) -> Words:
        """ "the largest one"."""
        return tag("the", segment) + self._superlative(segment) + tag("one", segment)

    def faced(self, segment: str) -> Words:
        """A noun from whose side one looks, or that one looks at."""
        return self.nominal(segment, ("viewpoint", "viewpoint"), few=True)

    def viewer_and_faced(self, segment: str) -> Words:
        """ "standing at the door and looking at the bed": the lead of what is faced is "facing"."""
        lead, middle = self.rng.choice(_VIEWS)
        names = ("facing", "none") if lead.startswith(_FACED) else ("none", "facing")
        words = Words()
        for text, name in zip((lead, middle), names, strict=True):
            words += tag(text, segment, "relation", name) + tag("the", segment)
            words += self.faced(segment)
        return words

    def _superlative(self, segment: str) -> Words:
        rng = self.rng
        draw = rng.random()
        if draw < 0.25:
            return tag(
                rng.choice(("first", "second", "third", "second", "fourth")), segment, "ordinal"
            )
        name, text = rng.choice(pairs("superlatives", self.split))
        words = tag(text, segment, "superlative", name)
        if draw < 0.32:
            ordinal = tag(rng.choice(("second", "third")), segment, "ordinal")
            return ordinal + words
        return words

    def _after(self, segment: str, relations: bool) -> Words:
        """What follows a noun."""
        rng, words = self.rng, Words()
        draw = rng.random()
        if draw < 0.06:
            if rng.random() < 0.15:
                words += tag(rng.choice(("that", "which")), segment) + self.denied_look(segment)
            elif rng.random() < 0.3:
                words += tag(rng.choice(_THAT_IS), segment) + tag("not", segment, "negation")
                words += tag(self.modifier(), segment, "excluded")
            else:
                words += tag(rng.choice(_THAT_IS), segment)
                words += tag(self.modifier(), segment, "modifier")
        elif draw < 0.07:
            name, text = rng.choice(pairs("superlatives", self.split))
            lead = rng.choice(("that is the", "that is", "which is the", "that's the"))
            words += tag(lead, segment) + tag(text, segment, "superlative", name)
            words += tag(rng.choice(("one", "", "")), segment)
        elif draw < 0.085:
            words += tag(rng.choice(("made of", "of", "out of", "in")), segment)
            words += tag(rng.choice(phrases("materials", self.split)), segment, "modifier")
        elif draw < 0.095:
            words += tag(rng.choice(("coloured", "colored", "painted", "painted in")), segment)
            words += tag(rng.choice(self.colors), segment, "modifier")
        elif draw < 0.12:
            name, text = rng.choice(pairs("order", self.split))
            if rng.random() < 0.5:
                words += tag(rng.choice(("second", "third", "first", "fourth")), segment, "ordinal")
            words += tag(text, segment, "superlative", name)
        elif draw < 0.14:
            words += tag("in") + tag(rng.choice(phrases("regions", self.split)), "region")
        if not relations:
            return words
        weights = (0.85, 0.14, 0.01) if self.brief else (0.68, 0.26, 0.06)
        for k in range(rng.choices((0, 1, 2), weights)[0]):
            if k and rng.random() < 0.3:
                words += tag(rng.choice(("and", ",", "and also")), segment)
            words += self.relation(segment)
        if rng.random() < 0.03:
            words += self.viewer(segment)
        return words

    def denied_look(self, segment: str) -> Words:
        """ "isn't red": what follows "that"."""
        texts = ("is not", "isn't", "are not", "aren't", "isn't really", "is no longer")
        words = tag(self.rng.choice(texts), segment, "negation")
        return words + tag(self.modifier(), segment, "excluded")

    def relation(self, segment: str) -> Words:
        """A relation with its anchors, or one that needs none."""
        rng = self.rng
        if rng.random() < 0.13:
            name, text = rng.choice(pairs("alone", self.split))
            superlative = name in ("leftmost", "rightmost")
            return tag(text, segment, "superlative" if superlative else "relation", name)
        name, text = rng.choice(pairs("relations", self.split))
        words = Words()
        if rng.random() < 0.08 and name in ("on", "next_to", "near", "under", "in", "behind"):
            lead, no = rng.choice(
                (("that is", "not"), ("", "not"), ("which is", "not"), ("that", "isn't"),
                 ("which", "isn't"), ("that", "aren't"))
            )  # fmt: skip
            words += tag(lead, segment) + tag(no, segment, "negation")
        return words + self.related(name, text, segment, "relation")

    def related(self, name: str, text: str, segment: str, role: str) -> Words:
        """A relation and its anchors, the first of which may have a relation of its own."""
        rng = self.rng
        words = tag(text, segment, role, name)
        if name == "between" and rng.random() < 0.15:
            the = rng.choice(("the two", "the", "both", "two"))
            return words + tag(the, segment) + self.anchor(segment, many=True)
        words += self.article_anchor(segment)
        if name == "between":
            return words + tag("and", segment) + self.article_anchor(segment)
        if name == "with" and rng.random() < 0.5:
            words += tag(
                rng.choice(("on it", "on top", "next to it", "beside it", "in it")), segment
            )
        elif role == "relation" and rng.random() < 0.07:
            inner, inner_text = rng.choice(pairs("relations", self.split))
            if inner not in ("between", "with"):
                words += self.related(inner, inner_text, segment, "subrelation")
        return words

    def article_anchor(self, segment: str) -> Words:
        """An anchor with its article, or a pronoun."""
        rng = self.rng
        if rng.random() < 0.05:
            own = rng.choice(("it", "it", "that", "that one", "this"))
            return tag(own, segment, "anchor_pronoun")
        article = rng.choices(
            ("the", "a", "my", "", "that", "the other", "another"),
            (0.74, 0.09, 0.05, 0.06, 0.03, 0.02, 0.01),
        )[0]
        return tag(article, segment) + self.anchor(segment)

    def anchor(self, segment: str, many: bool = False) -> Words:
        """An anchor without article."""
        return self.nominal(segment, ("anchor", "anchor_modifier"), many=many, few=True)

    def viewer_at(self, segment: str) -> Words:
        """ "at the door facing the bed", "at the door": what follows "i am"."""
        words = tag("at", segment, "relation") + tag("the", segment) + self.faced(segment)
        if self.rng.random() < 0.7:
            lead = self.rng.choice(("facing", "and face", "and i look at", ", looking at"))
            words += tag(lead, segment, "relation", "facing") + tag("the", segment)
            words += self.faced(segment)
        return words

    def viewer(self, segment: str, key: str = "") -> Words:
        """Where sides are seen from, or with the key "facing" what is looked at."""
        rng = self.rng
        key = key or rng.choice(("viewed", "viewed", "facing"))
        name = "facing" if key == "facing" else "none"
        words = tag(rng.choice(phrases(key, self.split)), segment, "relation", name)
        article = tag(rng.choice(("the", "the", "my", "")), segment)
        return words + article + self.faced(segment)


def _quantified(article: str, segment: str) -> Words:
    counts = ("all", "both", "every", "two", "three", "any", "some", "another", "one", "other")
    return [
        TaggedWord(word, segment, "quantifier" if word in counts else "none")
        for word in article.split()
    ]


def _genitive(words: Words) -> Words:
    last = words[-1]
    if last.role == "pronoun" and last.word == "it":
        return [TaggedWord("its", last.segment, "pronoun")]
    ending = "'" if last.word.endswith("s") else "'s"
    return [*words[:-1], TaggedWord(last.word + ending, last.segment, last.role)]


def absorbed(words: Words) -> Words:
    """Quantifiers and articles of a frame that stand before a description belong to it."""
    words = list(words)
    for k, item in enumerate(words):
        if item.segment not in ("target", "second", "third") or (
            k and words[k - 1].segment == item.segment
        ):
            continue
        j = k
        while j and words[j - 1].segment == "none" and words[j - 1].word in _BEFORE:
            j -= 1
        while j < k and words[j].word == "of":
            j += 1
        counted = any(w.word in _COUNTED for w in words[j:k])
        for at in range(j, k):
            if counted or (words[at].word in ("the", "a", "an", "my") and at == k - 1):
                role = "quantifier" if words[at].word in _COUNTED else "none"
                words[at] = TaggedWord(words[at].word, item.segment, role)
    return words


_COUNTED = ("all", "both", "every", "each", "any", "some")
_BEFORE = (*_COUNTED, "the", "of", "a", "an", "my", "our", "single", "one", "these", "those")
