"""Routing of free-form questions by their first words, and the form of a valid answer.

    what is on the table?    how many chairs are there?    what colour is the sofa?
    is there a plant?    which is bigger, the bed or the sofa?    describe the red chair

A question for one object ("what is the thing on the table?", "which chair is next to the bed?") is
a grounding, and one for metres goes to `distance_parser`.
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
_FREE_FORM = re.compile(
    rf"^(?:{_COUNT}"
    r"|(?:what|which) colou?r|(?:what is )?the colou?r of"
    r"|(?:is|are) (?:there )?(?:an?|any|some)\b|(?:is|are) there\b|see (?:an?|any|some)\b"
    r"|(?:what|which) (?:things|objects)\b|what (?:are|do|can) "
    rf"|.*\b{_MORE}\b.* or |.* or .*\b{_MORE}$|of .*, which is {_MORE})"
    r"|(?:^|, )what (?:is|stands|do you see|can you see)(?! the\b)"
)
_COUNTING = re.compile(rf"^(?:{_COUNT})")
_DESCRIBE = re.compile(r"^(?:describe|what can you say about|about) (.+)$")


def is_free_form(text: str) -> bool:
    """Whether a question asks for generated text, not for an object or a distance."""
    words = _plain(text)
    return _FREE_FORM.search(words) is not None or _DESCRIBE.match(words) is not None


def phrase_to_describe(text: str) -> str | None:
    """The object phrase: "describe the red chair" -> "the red chair"; None for other questions."""
    match = _DESCRIBE.match(_plain(text))
    return match[1] if match else None


class _AnswerForm(NamedTuple):
    """The form of an answer: its name, its reader, and its characters ("": any)."""

    name: str
    read: Callable[[str], object | None]
    characters: str


_METRES = _AnswerForm("a distance", read_metres, "0123456789. m")
_NUMBER = _AnswerForm("a number", read_count, "0123456789 ")
_WORDS = _AnswerForm("an answer", read_words, "")


def _form_of(question: str) -> _AnswerForm:
    if parse_distance(question) is not None:
        return _METRES
    return _NUMBER if _COUNTING.match(_plain(question)) else _WORDS


def answer_characters(question: str) -> str:
    """The characters that an answer may contain: digits for "how many", metres for a distance; ""
    if any.
    """
    return _form_of(question).characters


def check_answer(question: str, text: str) -> str:
    """The generated text if it has the form of an answer: metres for a distance, a number for "how
    many", else words. Raises UnreadableError for any other text.
    """
    form = _form_of(question)
    if form.read(text) is None:
        raise UnreadableError(
            f"the network generated '{text}' for '{question}', which is not {form.name}; rephrase "
            "the question"
        )
    return text


def _plain(text: str) -> str:
    """Lower case, single spaces, without courtesies and punctuation at sentence ends."""
    words = text.lower().replace("\u2019", "'").replace("what's", "what is")
    words, before = " ".join(re.sub(r"[?!.]+(?=\s|$)", " ", words).split()), ""
    while words != before:
        before, words = words, _COURTESY.sub("", words)
    return words.removesuffix(" please").rstrip(" ,")
