"""The noun table of the robot's part, made from WordNet: `resource/nouns.yaml`.

    python -m spatial3d_ros.research.language.noun_table /usr/share/wordnet resource/nouns.yaml

`synonyms`: of each class its synonyms, and of some the names of their kinds ("futon" is a sofa).
`other_words`: nouns one or two slips of typing away from a known noun, which are no slips of it
("cable" is no "table").
The table is small, so the robot's part needs no WordNet.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

import yaml
from rapidfuzz.distance import DamerauLevenshtein

from spatial3d_ros.categories import CATEGORIES, COLORS, NOUNS
from spatial3d_ros.storage import write_whole

SYNSETS = {
    "table": "table.2 table.3", "desk": "desk.1", "chair": "chair.1", "armchair": "armchair.1",
    "sofa": "sofa.1", "bed": "bed.1", "cabinet":
    "cabinet.1 cabinet.4 wardrobe.1 cupboard.1 sideboard.1 chest_of_drawers.1",
    "shelf": "bookcase.1", "stool": "stool.1",
    "fridge": "refrigerator.1", "sink": "sink.1 washbasin.1", "lamp": "lamp.2 lamp.1",
    "tv": "television.3", "bin": "ashcan.1 wastepaper_basket.1", "mug": "mug.4 cup.1 teacup.2",
    "bottle": "bottle.1", "book": "book.1", "box": "box.1", "bowl": "bowl.1 bowl.2",
    "vase": "vase.1", "laptop": "laptop.1", "ball": "ball.1", "backpack": "backpack.1",
    "pillow": "pillow.1 cushion.3", "door": "door.1", "window": "window.1",
    "picture": "painting.1 poster.1", "plant": "houseplant.1",
}  # fmt: skip
"""Senses of each class: lemma and sense number of WordNet 3.0."""
WITH_KINDS = "chair armchair sofa bed stool bottle bin backpack pillow ball lamp"
"""Classes of which the direct kinds are taken too: a "futon" is a sofa."""
TOO_WIDE = """
altar bar bench bunk cabin case casket chest container counter cradle cup-bearer drawer file kit
locker magazine pulpit rest safe seat stage stand tray trunk volume wash basket barrow barbecue
dish press till ladle pot hammock berth bottom caddy coffer cot crib goal hood lantern light
lighter flash candle torch lid icon print still mat monitor dust marker spot dip taper jack marble
bill card sack convertible trough squab vis-a-vis tete-a-tete gaddi lounge bulb posting
notice placard ikon console place lavabo orb canteen
"""
"""Lemmas below a class that name other things as often."""


class WordNet:
    """The nouns of a folder with `index.noun` and `data.noun` (WordNet 3.0)."""

    def __init__(self, folder: Path) -> None:
        self._data = (folder / "data.noun").read_text("latin-1")
        self.senses: dict[str, list[int]] = {}
        for line in (folder / "index.noun").read_text("latin-1").splitlines():
            if line.startswith("  "):
                continue
            lemma, _, count, *rest = line.split()
            self.senses[lemma] = [int(offset) for offset in rest[-int(count) :]]

    def synset(self, name: str) -> int:
        """The synset of "lemma.sense"."""
        lemma, _, sense = name.rpartition(".")
        return self.senses[lemma][int(sense) - 1]

    def lemmas(self, synset: int) -> list[str]:
        """Its words, lower case, with spaces."""
        parts = self._line(synset)
        count = int(parts[3], 16)
        return [parts[4 + 2 * k].lower().replace("_", " ") for k in range(count)]

    def below(self, synset: int, depth: int) -> Iterator[int]:
        """The synset and the kinds of it, `depth` levels down."""
        yield synset
        if not depth:
            return
        parts = self._line(synset)
        at = 4 + 2 * int(parts[3], 16)
        pointers = parts[at + 1 : at + 1 + 4 * int(parts[at])]
        for k in range(0, len(pointers), 4):
            if pointers[k] == "~":
                yield from self.below(int(pointers[k + 1]), depth - 1)

    def _line(self, synset: int) -> list[str]:
        return self._data[synset : self._data.index("\n", synset)].split("|")[0].split()


def make_table(wordnet: WordNet) -> dict[str, object]:
    """The table as plain data."""
    synonyms: dict[str, list[str]] = {}
    classes_of: dict[str, set[str]] = defaultdict(set)
    for name, senses in SYNSETS.items():
        words = {
            word
            for sense in senses.split()
            for synset in wordnet.below(wordnet.synset(sense), int(name in WITH_KINDS.split()))
            for word in wordnet.lemmas(synset)
        }
        for word in words.difference(TOO_WIDE.split()):
            classes_of[word].add(name)
    plain = {noun for name in CATEGORIES for noun in NOUNS.get(name, (name,))}
    for word, names in sorted(classes_of.items()):
        if len(names) == 1 and word not in plain and word not in CATEGORIES:
            synonyms.setdefault(min(names), []).append(word)
    known = sorted(plain | set(CATEGORIES) | {w for words in synonyms.values() for w in words})
    return {
        "synonyms": {name: ", ".join(words) for name, words in synonyms.items()},
        "other_words": " ".join(sorted(_near(wordnet.senses, [w for w in known if " " not in w]))),
    }


def _near(lemmas: Iterable[str], known: list[str]) -> set[str]:
    """Words within the typing tolerance of a known noun or colour that are words of their own."""
    short = [w for w in (*known, *COLORS) if len(w) >= 3]
    found = set()
    for lemma in lemmas:
        if not lemma.isalpha() or len(lemma) < 4 or lemma in short:
            continue
        limit = 1 if len(lemma) < 8 else 2
        if any(
            abs(len(word) - len(lemma)) <= limit
            and DamerauLevenshtein.distance(word, lemma, score_cutoff=limit) <= limit
            for word in short
        ):
            found.add(lemma)
    return found


_NOTICE = """\
# Nouns of the shipped classes, made from WordNet 3.0 by research/language/noun_table.py.
# WordNet's notice and licence: resource/nouns.LICENSE.
"""

if __name__ == "__main__":
    table = make_table(WordNet(Path(sys.argv[1])))
    write_whole(Path(sys.argv[2]), _NOTICE + yaml.safe_dump(table, sort_keys=False, width=110))
