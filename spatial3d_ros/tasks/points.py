"""Points in a question: "(1.0, 2.0, 0.5)", "x=1, y=2, z=0.5", "the point 1 2 0.5"."""

from __future__ import annotations

import re

from spatial3d_ros.tasks.results import Point

_NUMBER = r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:e[-+]?\d+)?"
_NAMED = r"(?:the )?(?:point|position|location|place|spot|coordinates?)(?: at)? ?"
_POINT = re.compile(
    rf"(?:{_NAMED})?[(\[<] *({_NUMBER})(?: *m)?[ ,;]+({_NUMBER})(?: *m)?[ ,;]+({_NUMBER})(?: *m)?"
    r" *[)\]>]"
    rf"|{_NAMED}({_NUMBER}) *[ ,;] *({_NUMBER}) *[ ,;] *({_NUMBER})"
    rf"|(?:{_NAMED})?x *= *({_NUMBER})[ ,;]+y *= *({_NUMBER})[ ,;]+z *= *({_NUMBER})",
    re.IGNORECASE,
)
_WORD = "named-point-"  # stands for a point while the words are read


def take_points(text: str) -> tuple[str, tuple[Point, ...]]:
    """The text with each point as a word, and the points in metres; they may be infinite."""
    points: list[Point] = []

    def word(match: re.Match[str]) -> str:
        points.append(_point(match))
        return f" the {_WORD}{len(points) - 1} "

    return _POINT.sub(word, text), tuple(points)


def read_point(phrase: str) -> Point | None:
    """The point (x, y, z) in metres that a phrase consists of, else None; may be infinite."""
    match = _POINT.fullmatch(phrase.strip(" ?!."))
    return _point(match) if match else None


def is_point_word(text: str) -> bool:
    """Whether a phrase is the word of a point."""
    return _WORD in text


def point_of(text: str, points: tuple[Point, ...]) -> Point | None:
    """The point whose word a phrase holds, else None."""
    match = re.search(rf"{_WORD}(\d+)", text)
    return points[int(match[1])] if match and int(match[1]) < len(points) else None


def _point(match: re.Match[str]) -> Point:
    x, y, z = (float(number) for number in match.groups() if number)
    return x, y, z
