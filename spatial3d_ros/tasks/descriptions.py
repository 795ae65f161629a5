"""Descriptions as the network and the vocabulary read them: phrases, parts, known nouns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from spatial3d_ros.categories import COLORS, PART_NOUNS, look_name
from spatial3d_ros.english import singular
from spatial3d_ros.tasks.points import is_point_word
from spatial3d_ros.tasks.query import Description, RelationPhrase
from spatial3d_ros.tasks.word_lists import SELF


def is_part(relation: RelationPhrase) -> bool:
    """Whether a relation tells a part of the object, "with the white lid", which is no object of
    the map: the network alone sees it.
    """
    nouns = [(anchor.head or anchor.text).split(" ")[-1] for anchor in relation.anchors]
    return relation.predicate == "with" and all({n, singular(n)} & PART_NOUNS for n in nouns)


def asked_looks(description: Description) -> list[tuple[str, str]]:
    """Attribute and name of each look that a description asks for, but its own colour: ("pattern",
    "striped"), ("second_color", "red") of "with the red seat".
    """
    found = [look_name(word) for word in description.modifiers]
    for relation in filter(is_part, description.relations):
        words = [word.replace("grey", "gray") for a in relation.anchors for word in a.modifiers]
        found += [("second_color", word) for word in words if word in COLORS]
    return [(what, name) for what, name in found if what]


def is_self_reference(description: Description) -> bool:
    """Whether a description is the robot, or a person who speaks through it."""
    words = (description.head or description.text).split()
    return bool(words) and words[-1] in SELF


def is_fixed(description: Description) -> bool:
    """Whether a description is no object of the map: the robot, or a point "(1.0, 2.0, 0.5)"."""
    return is_self_reference(description) or is_point_word(description.head or description.text)


def rewritten(
    description: Description, known: Callable[[str], str], modifier: Callable[[str], str]
) -> Description:
    """The description with its nouns and modifiers, and those of its anchors and viewpoints,
    replaced by what `known` and `modifier` give for them.
    """
    anchors = tuple(
        r
        if is_part(r)
        else replace(r, anchors=tuple(rewritten(a, known, modifier) for a in r.anchors))
        for r in description.relations
    )
    head = known(description.head) if description.head else ""
    modifiers = tuple(map(modifier, description.modifiers))
    pairs = [(description.head, head), *zip(description.modifiers, modifiers, strict=True)]
    for old, new in zip(description.relations, anchors, strict=True):
        pairs += [(a.text, b.text) for a, b in zip(old.anchors, new.anchors, strict=True)]
    viewpoint, faced = (
        known(noun) if is_place(noun) else noun
        for noun in (description.viewpoint, description.faced)
    )
    text = description.text
    for before, after in pairs:
        if before and before != after and not (before in after and after in text):
            text = text.replace(before, after, 1)
    return replace(
        description,
        text=text,
        head=head,
        modifiers=modifiers,
        relations=anchors,
        viewpoint=viewpoint,
        faced=faced,
    )


def scored_descriptions(description: Description) -> list[Description]:
    """A description, its anchors at any depth, and its viewpoints: what the network scores."""
    found = [] if description.pronoun and not description.head else [description]
    for relation in description.relations:
        for anchor in () if is_part(relation) else relation.anchors:
            if not is_self_reference(anchor):
                found += scored_descriptions(anchor)
    viewpoints = (description.viewpoint, description.faced)
    return [*found, *(object_called(noun) for noun in viewpoints if is_place(noun))]


def is_place(noun: str) -> bool:
    """Whether a viewpoint is an object of the map."""
    return bool(noun) and noun.split()[-1] not in SELF


def object_called(noun: str) -> Description:
    """The description of an object by its noun alone."""
    return Description(f"the {noun}", noun)


def is_anchored(relation: RelationPhrase) -> bool:
    """Whether a relation is to an object, and not to who speaks."""
    return any(not is_self_reference(anchor) for anchor in relation.anchors)


def plain_phrase(description: Description) -> str:
    """The noun of a description with its modifiers, without relations and orders."""
    return f"the {' '.join((*description.modifiers, description.head or 'object'))}"


def phrase(description: Description) -> str:
    """The words that the network is asked; what refers to the conversation is left out."""
    pronouns = any(a.pronoun for r in description.relations for a in r.anchors)
    if pronouns or description.excluded:
        return plain_phrase(description)
    text = description.text
    return text if text.split()[:1] in (["the"], ["all"], ["both"], ["a"]) else f"the {text}"
