"""English morphology of noun phrases: plurals, articles, enumerations."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

_PLURAL_VERBS = {"is": "are", "has": "have"}
_UNCOUNTABLE = ("clothing", "clothes", "furniture", "luggage")


@cache
def plural(nominal: str) -> str:
    """ "red bookshelf" -> "red bookshelves", "chair with a red seat" -> "chairs with a red seat";
    a plural stays.
    """
    for after in (" with ", " that "):
        head, found, rest = nominal.partition(after)
        if found:
            rest = re.sub(r"^(is|has)\b", lambda verb: _PLURAL_VERBS[verb[0]], rest)
            return f"{plural(head)}{after}{rest}"
    if nominal.endswith("shelf"):
        return nominal[:-1] + "ves"
    if nominal.endswith(("s", *_UNCOUNTABLE)) and not nominal.endswith("ss"):
        return nominal
    if nominal.endswith("y") and nominal[-2:-1] not in "aeiou":
        return nominal[:-1] + "ies"
    return nominal + ("es" if nominal.endswith(("ss", "x", "ch", "sh", "z")) else "s")


@cache
def singular(noun: str) -> str:
    """ "kitchen cabinet" of "kitchen cabinets", "shelf" of "shelves"; "glass" stays."""
    for ending, instead in (
        ("shelves", "shelf"), ("knives", "knife"), ("ies", "y"), ("xes", "x"), ("ches", "ch"),
        ("shes", "sh"), ("sses", "ss"), ("tvs", "tv"),
    ):  # fmt: skip
        if noun.endswith(ending) and len(noun) >= len(ending) + (ending == "ies"):
            return noun[: -len(ending)] + instead
    if noun.endswith(("ss", "us", "is")) or len(noun) <= 3:
        return noun
    return noun.removesuffix("s")


def with_article(nominal: str) -> str:
    """With its indefinite article: "a red mug"; none before a plural."""
    head = nominal.split(" that ")[0].split(" with ")[0].split(" in ")[0].split(" on ")[0]
    if plural(head) == head and not head.endswith("ss"):
        return nominal
    return f"{'an' if nominal[:1] in 'aeiou' else 'a'} {nominal}"


def enumeration(items: Sequence[str]) -> str:
    """ "a book, a mug and a vase"."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"
