"""Parser of lengths and angles: "0.5 m", "fifty centimetres", "half a metre", "90 degrees".

Metres (REP 103) and centimetres are understood. Other units are refused by name and not converted:
an edit by a misread unit would be wrong by a factor of 3 or more.
"""

from __future__ import annotations

import math
import re

from spatial3d_ros.errors import QueryError

_ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen"
    " sixteen seventeen eighteen nineteen"
)
_NUMBERS = {word: float(k) for k, word in enumerate(_ONES.split())}
_TENS = {
    "twenty": 20.0, "thirty": 30.0, "forty": 40.0, "fifty": 50.0, "sixty": 60.0, "seventy": 70.0,
    "eighty": 80.0, "ninety": 90.0,
}  # fmt: skip
_NUMBERS |= _TENS | {
    f"{ten}{gap}{one}": _TENS[ten] + _NUMBERS[one]
    for ten in _TENS
    for one in _ONES.split()[1:10]
    for gap in ("-", " ")
}
_NUMBERS |= {"a hundred": 100.0, "one hundred": 100.0, "half": 0.5, "a half": 0.5, "half a": 0.5}
_NUMBERS |= {"half an": 0.5, "a quarter": 0.25, "a quarter of a": 0.25, "quarter of a": 0.25}
_NUMBERS |= {"quarter of": 0.25, "three quarters of a": 0.75, "three quarters of": 0.75}
_NUMBERS |= {"a": 1.0, "an": 1.0}

_DIGITS = r"[-+]?(?:\d+(?:\.\d+)?|\.\d+)"
_WORDS = "|".join(sorted(map(re.escape, _NUMBERS), key=len, reverse=True))
NUMBER = rf"(?:{_DIGITS}|(?:{_WORDS})(?: and (?:a )?half| point (?:{_WORDS})+)?)"
_METRIC = {"m": 1.0, "meter": 1.0, "metre": 1.0, "cm": 0.01, "centimeter": 0.01, "centimetre": 0.01}
_FOREIGN = (
    r"mm|millimet(?:er|re)s?|km|kilomet(?:er|re)s?|ft|foot|feet|inch(?:es)?|yards?|yd|miles?"
    r"|steps?|paces?|hands?|pixels?|tiles?"
)
_LENGTH = re.compile(
    rf"(?<![\w.])({NUMBER})[ -]?((?:m|cm|(?:centi)?met(?:er|re)s?)(?![\w])(?: and (?:a )?half)?)"
)
# "a foot stool" is no length: another unit needs a number.
_OTHER = re.compile(
    rf"(?<![\w.])(?!an? )(?:{NUMBER})[ -]?(?P<unit>{_FOREIGN}|[\"\u2033'\u2032])(?!\w)"
)
_ANGLE = re.compile(rf"(?<![\w.])({NUMBER})[ -]?(degrees?|deg|\u00b0|rad(?:ian)?s?)(?!\w)")
FOREIGN_UNIT = re.compile(rf"\b(?:{_FOREIGN})\b")


def take_length(text: str) -> tuple[float | None, str]:
    """The one length in lower-case words in metres, and the words without it; (None, text) if none.

    Raises QueryError for another unit, and for two lengths.
    """
    other = _OTHER.search(text)
    if other:
        raise QueryError(
            f"query: '{other.group()}': lengths are understood in m and cm only, not in "
            f"'{other['unit']}'; give it in metres, e.g. '0.5 m'"
        )
    found = list(_LENGTH.finditer(text))
    if not found:
        return None, text
    if len(found) > 1:
        lengths = " and ".join(f"'{match.group()}'" for match in found)
        raise QueryError(f"query: two lengths, {lengths}; give one")
    match = found[0]
    unit = re.sub(" and (?:a )?half$", "", match[2])
    number = read_number(match[1]) + 0.5 * (unit != match[2])
    return number * _METRIC[unit.removesuffix("s")], _without(text, match)


def take_angle(text: str) -> tuple[float | None, str]:
    """The one angle in lower-case words in degrees, and the words without it; (None, text) if
    none.
    """
    match = _ANGLE.search(text)
    if match is None:
        return None, text
    number = read_number(match[1])
    return math.degrees(number) if match[2].startswith("rad") else number, _without(text, match)


def read_number(words: str) -> float:
    """The number of a text that matches NUMBER."""
    if re.fullmatch(_DIGITS, words):
        return float(words)
    full = re.sub(" and (?:a )?half$", "", words)
    if full != words:
        return _NUMBERS[full] + 0.5
    whole, point, part = words.partition(" point ")
    if not point:
        return _NUMBERS[whole]
    digits = "".join(f"{_NUMBERS[word]:.0f}" for word in re.findall(_WORDS, part))
    return float(f"{_NUMBERS[whole]:.0f}.{digits}")


def _without(text: str, match: re.Match[str]) -> str:
    return " ".join(f"{text[: match.start()]} {text[match.end() :]}".split())
