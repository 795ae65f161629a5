"""Annotations matched with the available scenes; absent ones are counted and listed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

Entry = TypeVar("Entry")
SHOWN = 4  # absent scenes and objects that a summary names


@dataclass(frozen=True)
class Matched(Generic[Entry]):
    """`kept` entries refer to known scenes and objects; `absent` names for each other entry the
    missing scene or object ("scene0001_00", or "scene0000_00: object 7").
    """

    kept: list[Entry]
    absent: list[str]

    def json(self) -> dict[str, Any]:
        """How many entries are absent, and the number for each missing scene or object."""
        counts: dict[str, int] = {}
        for name in self.absent:
            counts[name] = counts.get(name, 0) + 1
        return {"count": len(self.absent), "what": counts}


def listed(absent: Mapping[str, Any]) -> str:
    """`Matched.json` as text: the count, and the first names."""
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
