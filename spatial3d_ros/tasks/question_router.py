"""Which questions are answered in words, by how they begin, and what may be an answer to them.

    what is on the table?    how many chairs are there?    what colour is the sofa?
    is there a plant?    which is bigger, the bed or the sofa?    describe the red chair

What names a thing ("what is the thing on the table?", "which chair is next to the bed?") asks for
a place, and metres are `distance_words`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from spatial3d_ros.errors import UnreadableError
from spatial3d_ros.tasks.answer_parser import read_count, read_metres, read_words
from spatial3d_ros.tasks.distance_parser import parse_distance

_COURTESY = re.compile(
    r"^(?:hey|hi|hello|ok|please|robot|now|(?:can|could|would|will) you|tell me|do you know)\b,? *"
)
_COUNT = (
    r"how many(?! (?:(?:centi)?met(?:er|re)s?|cm|feet|inches)\b)|count\b|(?:what is )?the number of"
)
_MORE = r"(?:bigger|larger|smaller|taller|higher|lower)"
_OPEN = re.compile(
    rf"^(?:{_COUNT}"
    r"|(?:what|which) colou?r|(?:what is )?the colou?r of"
    r"|(?:is|are) (?:there )?(?:an?|any|some)\b|(?:is|are) there\b|see (?:an?|any|some)\b"
    r"|(?:what|which) (?:things|objects)\b|what (?:are|do|can) "
    rf"|.*\b{_MORE}\b.* or |.* or .*\b{_MORE}$|of .*, which is {_MORE})"
    r"|(?:^|, )what (?:is|stands|do you see|can you see)(?! the\b)"
)
_COUNTING = re.compile(rf"^(?:{_COUNT})")
_DESCRIBE = re.compile(r"^(?:describe|what can you say about|about) (.+)$")


def is_open(text: str) -> bool:
    """Whether a question asks for words, not for a place or a distance."""
    words = _plain(text)
    return _OPEN.search(words) is not None or _DESCRIBE.match(words) is not None


def described(text: str) -> str | None:
    """What is to be described: "describe the red chair" -> "the red chair"; None for others."""
    match = _DESCRIBE.match(_plain(text))
    return match[1] if match else None


class _Form(NamedTuple):
    """What an answer has to be: its name, the strict reader, its letters ("" where any will do)."""

    name: str
    read: Callable[[str], object | None]
    letters: str


_METRES = _Form("a distance", read_metres, "0123456789. m")
_NUMBER = _Form("a number", read_count, "0123456789 ")
_ANSWER = _Form("an answer", read_words, "")


def _form_of(question: str) -> _Form:
    if parse_distance(question) is not None:
        return _METRES
    return _NUMBER if _COUNTING.match(_plain(question)) else _ANSWER


def letters_of(question: str) -> str:
    """What an answer is made of, where that is known: digits of "how many", metres of a distance;
    "" for any other question.
    """
    return _form_of(question).letters


def readable(question: str, said: str) -> str:
    """What the network wrote, where it can be an answer: metres to a distance, a number to "how
    many", words to the rest. Raises UnreadableError for anything else: nothing is made up.
    """
    form = _form_of(question)
    if form.read(said) is None:
        raise UnreadableError(
            f"the network wrote '{said}' to '{question}', which is not {form.name}; ask in other "
            "words"
        )
    return said


def _plain(text: str) -> str:
    """Lower case, one space between words, without courtesies and sentence marks."""
    words = text.lower().replace("\u2019", "'").replace("what's", "what is")
    words, before = " ".join(re.sub(r"[?!.]+(?=\s|$)", " ", words).split()), ""
    while words != before:
        before, words = words, _COURTESY.sub("", words)
    return words.removesuffix(" please").rstrip(" ,")
