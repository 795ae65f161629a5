"""The reader on sentences that people wrote (a YAML file of rows), by intent and by whole query."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spatial3d_ros.errors import QueryError
from spatial3d_ros.storage import read_yaml
from spatial3d_ros.tasks.query import ParsedQuery
from spatial3d_ros.tasks.query_network import QueryReader
from spatial3d_ros.tasks.query_reader import parse_query


@dataclass(frozen=True)
class Checked:
    """A row and what the reader made of it."""

    text: str
    intent: str
    wrong: tuple[str, ...]
    query: ParsedQuery | None

    @property
    def intent_right(self) -> bool:
        """Whether the intent is right."""
        return "intent" not in self.wrong


def check_sentences(path: Path, reader: QueryReader) -> list[Checked]:
    """Read each sentence of a file, and name the parts that are wrong."""
    return [_check(row, reader) for row in read_yaml(path)]


def shares(checked: Sequence[Checked]) -> dict[str, float]:
    """Shares of right intents and of whole queries."""
    count = max(len(checked), 1)
    return {
        "intent": sum(c.intent_right for c in checked) / count,
        "whole": sum(not c.wrong for c in checked) / count,
    }


def by_intent(checked: Sequence[Checked]) -> dict[str, tuple[int, int, int]]:
    """Rows, right intents and right whole queries of each intent."""
    table: dict[str, list[Checked]] = defaultdict(list)
    for item in checked:
        table[item.intent].append(item)
    return {
        intent: (len(rows), sum(c.intent_right for c in rows), sum(not c.wrong for c in rows))
        for intent, rows in table.items()
    }


def _check(row: Sequence[Any], reader: QueryReader) -> Checked:
    intent, text = row[0], row[1]
    nouns = row[2].split(";") if len(row) > 2 else []
    parts = row[3] if len(row) > 3 else {}
    try:
        query = parse_query(text, reader)
    except QueryError:
        return Checked(text, intent, ("error",), None)
    wrong = [] if query.intent == intent else ["intent"]
    if intent.startswith("unsupported"):
        return Checked(text, intent, tuple(wrong), query)
    heads = [target.head for target in query.targets]
    if heads != [noun.strip() for noun in nouns]:
        wrong.append("nouns")
    first = query.targets[0] if query.targets else None
    relations = [
        " ".join(filter(None, (r.predicate, *(a.head for a in r.anchors[:1]))))
        for r in (first.relations if first else ())
    ]
    found = {
        "rel": relations[0] if relations else "",
        "mod": " ".join(first.modifiers) if first else "",
        "sup": first.superlative if first else "",
        "edit": query.relation, "metres": query.metres, "degrees": query.degrees,
        "color": query.color, "region": query.region.removeprefix("the "), "time": query.time,
    }  # fmt: skip
    wrong += [key for key, value in parts.items() if not _same(found[key], value)]
    return Checked(text, intent, tuple(wrong), query)


def _same(found: str | float | None, wanted: str | float) -> bool:
    if isinstance(wanted, str):
        return str(found or "") == wanted.strip()
    return isinstance(found, float) and abs(found - wanted) < 1e-6
