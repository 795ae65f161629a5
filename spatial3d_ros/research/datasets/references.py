"""Annotations matched with the scenes at hand: what is absent is counted and listed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

Entry = TypeVar("Entry")
SHOWN = 4  # absent things that a line names


@dataclass(frozen=True)
class Matched(Generic[Entry]):
    """`kept` entries refer to known scenes and objects; `absent` says of each other one what it
    lacks ("scene0001_00", or "scene0000_00: object 7").
    """

    kept: list[Entry]
    absent: list[str]

    def json(self) -> dict[str, Any]:
        """How many are absent, and each thing that they miss once, with the number of entries."""
        counts: dict[str, int] = {}
        for name in self.absent:
            counts[name] = counts.get(name, 0) + 1
        return {"count": len(self.absent), "what": counts}


def listed(absent: Mapping[str, Any]) -> str:
    """What `Matched.json` gives, in words: how many, and the first of them."""
    names = list(absent["what"])
    if not names:
        return f"{absent['count']}"
    more = f", and {len(names) - SHOWN} more, all in --json" if len(names) > SHOWN else ""
    return f"{absent['count']} ({', '.join(names[:SHOWN])}{more})"


def match(
    entries: Iterable[Entry],
    known: Mapping[str, Collection[int]],
    refers: Callable[[Entry], tuple[str, Iterable[int]]],
) -> Matched[Entry]:
    """Keep the entries whose scene, and all of whose object ids, are in `known` (scene -> ids).

    `refers` gives the scene and the ids of an entry.
    """
    kept, absent = [], []
    for entry in entries:
        scene, ids = refers(entry)
        if scene not in known:
            absent.append(scene)
            continue
        missing = [i for i in ids if i not in known[scene]]
        if missing:
            absent.append(f"{scene}: object {', '.join(map(str, missing))}")
        else:
            kept.append(entry)
    return Matched(kept, absent)
