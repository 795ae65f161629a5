"""The grammar of sentences: frames, their notation, and which of them training never sees.

A frame is a line of words with `[x]` optional, `(x|y)` a choice, `<name>` one line of a macro, and
slots in braces that `sentences.py` fills. A word that starts with an apostrophe joins the word
before it. Every eighth line of a list is held out: training ("train") never draws it. The split
"frames" draws held-out frames with the macros and phrases of training, "test" with all of them.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from spatial3d_ros.storage import read_yaml

HELD_OUT = 8
_FILES = ("questions", "descriptions", "edits", "refused", "contexts")
_FOLDER = Path(__file__).with_name("grammar")

Node = str | tuple[str, tuple[tuple["Node", ...], ...]]
"""A word, or ("choice" or "optional", its alternatives), or ("macro", its name)."""


@cache
def table(name: str) -> dict[str, Any]:
    """A file of the grammar."""
    return read_yaml(_FOLDER / f"{name}.yaml")


@cache
def frames(split: str) -> dict[str, tuple[tuple[Node, ...], ...]]:
    """Parsed frames of each intent: those of training, the held-out ones, or all."""
    found: dict[str, dict[str, None]] = {}
    for name in _FILES:
        for intent, text in table(name)["templates"].items():
            found.setdefault(intent, {}).update(dict.fromkeys(lines(text)))
    return {
        intent: tuple(parse(line) for line in kept(tuple(texts), split))
        for intent, texts in found.items()
    }


@cache
def macros(split: str) -> dict[str, tuple[tuple[Node, ...], ...]]:
    """Parsed lines of each macro; the test split draws all of them."""
    found: dict[str, tuple[tuple[Node, ...], ...]] = {}
    for name in _FILES:
        for macro, text in table(name)["macros"].items():
            found[macro] = tuple(parse(line) for line in drawn(lines(text), split))
    for key in ("fromme", "farther", "numwords", "place2"):
        found[key] = tuple(parse(text) for text in phrases(key, split))
    return found


@cache
def phrases(key: str, split: str) -> tuple[str, ...]:
    """Phrases of a list in phrases.yaml."""
    return drawn(_entries(table("phrases")[key]), split)


@cache
def pairs(key: str, split: str) -> tuple[tuple[str, str], ...]:
    """(predicate, phrase) of a table in phrases.yaml; each predicate about as often."""
    texts = {name: drawn(_entries(text), split) for name, text in table("phrases")[key].items()}
    most = max(map(len, texts.values()))
    return tuple(
        (name, text)
        for name, all_texts in texts.items()
        for text in all_texts * max(1, round(most / len(all_texts)))
    )


def drawn(texts: Sequence[str], split: str) -> tuple[str, ...]:
    """Phrases that a split draws: training leaves out every eighth of a long list."""
    return kept(texts, "train") if split in ("train", "frames") else tuple(texts)


def kept(texts: Sequence[str], split: str) -> tuple[str, ...]:
    """Every eighth of a list of eight or more, the others (train), or all."""
    if split == "all" or len(texts) < HELD_OUT:
        return tuple(texts)
    return tuple(
        text for k, text in enumerate(texts) if (k % HELD_OUT == HELD_OUT - 1) == (split != "train")
    )


def lines(text: str) -> tuple[str, ...]:
    """Lines that are not empty."""
    return tuple(line.strip() for line in text.splitlines() if line.strip())


def _entries(text: str) -> tuple[str, ...]:
    return tuple(entry.strip() for entry in str(text).split(";"))


def parse(line: str) -> tuple[Node, ...]:
    """A frame as a tree. Raises ValueError for brackets that do not match."""
    tokens = line
    for mark in "[]()|":
        tokens = tokens.replace(mark, f" {mark} ")
    stack: list[list[list[Node]]] = [[[]]]
    for token in tokens.split():
        if token in "[(":
            stack.append([[]])
        elif token == "|" and len(stack) > 1:
            stack[-1].append([])
        elif token in "])":
            if len(stack) == 1:
                raise ValueError(f"grammar: '{line}': brackets do not match")
            alternatives = tuple(tuple(nodes) for nodes in stack.pop())
            kind = "optional" if token == "]" else "choice"
            stack[-1][-1].append((kind, alternatives))
        else:
            stack[-1][-1].append(token)
    if len(stack) > 1:
        raise ValueError(f"grammar: '{line}': brackets do not match")
    return tuple(stack[0][0])


def slots(nodes: Sequence[Node]) -> set[str]:
    """Slots of a tree, macros left out."""
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, str):
            found.add(node)
        else:
            found.update(*(slots(alternative) for alternative in node[1]))
    return {word for word in found if word.startswith("{")}


def expand(nodes: Sequence[Node], rng: random.Random, split: str, made: list[str]) -> list[str]:
    """Words and slots of one of the sentences that a tree allows, appended to `made`."""
    for node in nodes:
        if isinstance(node, tuple):
            kind, alternatives = node
            if kind == "choice" or rng.random() < 0.35:
                expand(rng.choice(alternatives), rng, split, made)
        elif node.startswith("<"):
            expand(rng.choice(macros(split)[node[1:-1]]), rng, split, made)
        elif node.startswith("'") and made and not made[-1].startswith("{"):
            made[-1] += node
        else:
            made.append(node)
    return made
