"""Words of comparisons: the larger of two, the more frequent of two kinds, looks of several."""

from __future__ import annotations

from collections.abc import Sequence

from spatial3d_ros.english import enumeration, plural

_MEASURES = {
    "tall": "height", "high": "height", "low": "height", "short": "height", "wide": "width",
    "broad": "width", "narrow": "width", "long": "length", "deep": "depth",
}  # fmt: skip
UNIT_WORDS = {"height": "high", "length": "long", "width": "wide", "depth": "deep"}
SAME_EXTENT_M = 0.015  # extents that differ by less are told to be about the same
_ASKS_WHETHER = ("is", "are", "does", "do", "has", "have", "would", "if", "whether")


def measure_asked(text: str) -> str:
    """The extent that a comparison is about: "height" of "taller", "volume" of "bigger"."""
    words = text.lower()
    return next((what for stem, what in _MEASURES.items() if stem in words), "volume")


def asks_whether(text: str) -> bool:
    """Whether a comparison is to be confirmed: "is A taller than B", and not "A or B"."""
    words = text.lower().split()
    return "or" not in words and bool({*words[:1], *words[:4]} & {*_ASKS_WHETHER})


def counts_compared(text: str, counts: Sequence[int], kinds: Sequence[str]) -> tuple[str, str]:
    """The sentence and the answer alone of a question about the numbers of two kinds, by nouns:
    "are there more boxes than pillows?" -> "no, 2 boxes and 2 pillows", "no".
    """
    told = enumeration(
        [f"{n} {kind if n == 1 else plural(kind)}" for n, kind in zip(counts, kinds, strict=True)]
    )
    first, second = counts
    words = text.lower().replace("?", " ").split()
    if words[:3] == ["how", "many", "more"]:
        return f"{first - second}: {told}", str(first - second)
    if "more" in words:
        holds = first > second
    elif {"fewer", "less"} & {*words}:
        holds = first < second
    elif "as" in words:
        holds = first == second
    else:
        return told, enumeration([str(n) for n in counts])
    verdict = "yes" if holds else "no"
    return f"{verdict}, {told}", verdict


def one_verdict(text: str, values: Sequence[str], any_will_do: bool) -> str:
    """ "yes" or "no" where several objects are asked about at once: whether all (any) of them are
    so, or whether they are the same or different; "" where neither is asked.
    """
    if values and {*values} <= {"yes", "no"}:
        return "yes" if (any if any_will_do else all)(v == "yes" for v in values) else "no"
    words = {*text.lower().replace("?", " ").split()}
    same = len({*values}) == 1
    if "same" in words:
        return "yes" if same else "no"
    return ("no" if same else "yes") if "different" in words else ""
