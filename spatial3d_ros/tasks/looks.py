"""How an object looks, in words: its colour, material, pattern, shape and state."""

from __future__ import annotations

from spatial3d_ros.categories import COLORS, look_name
from spatial3d_ros.errors import QueryError
from spatial3d_ros.scene.objects import SceneObject


def look_in_words(known: SceneObject, what: str) -> tuple[str, str]:
    """A sentence that tells an attribute, and its value."""
    label, value = known.label or "object", _first(known, what)
    if not value:
        return f"the {label} is of a {_NOUNS.get(what, what)} I cannot name", ""
    made = "made of " if what == "material" else ""
    return f"the {label} is {made}{value}", value


def asked_look(words: str) -> tuple[str, str]:
    """Which attribute and which of its values words name. Raises QueryError for none."""
    split = words.replace("grey", "gray").split()
    if color := next((word for word in split if word in COLORS), ""):
        return "color", color
    if found := next((found for found in map(look_name, split) if found[0]), None):
        return found
    raise QueryError(
        "query: ask for a colour, material, pattern, shape or state that I know, e.g. 'is the "
        "chair red?'"
    )


def look_confirmed(known: SceneObject, what: str, value: str) -> tuple[str, str]:
    """A sentence that confirms or denies the value of an attribute, and "yes" or "no"; "" where it
    is not known.
    """
    seen = _first(known, what)
    if not seen:
        return f"I cannot tell the {_NOUNS.get(what, what)} of the {known.label or 'object'}", ""
    return (f"yes, it is {seen}", "yes") if seen == value else (f"no, it is {seen}", "no")


_NOUNS = {"color": "colour"}


def _first(known: SceneObject, what: str) -> str:
    """The likeliest name; of colours that which answers name the object by."""
    if what == "color":
        return known.color
    found = known.looks.get(what, ())
    return found[0][0] if found else ""
