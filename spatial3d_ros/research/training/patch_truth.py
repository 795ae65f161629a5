"""What rendered rooms show: shares of names in each patch, and the names of objects."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from spatial3d_ros.categories import COLORS, MATERIALS, NO_COLOR, PATTERNS
from spatial3d_ros.model.names_config import NamesConfig
from spatial3d_ros.research.language.descriptions import Description
from spatial3d_ros.research.rooms.catalog import Look, RoomObject
from spatial3d_ros.research.rooms.view_store import NO_OBJECT, RoomViews

UNKNOWN = -100
"""Index of the name of what is no object or has no known name: no loss."""
_VALUE: dict[str, Callable[[RoomObject], str]] = {
    "class": lambda item: item.category,
    "color": lambda item: item.color,
    "material": lambda item: item.material,
    "pattern": lambda item: "plain" if item.look is None else item.look.pattern,
    "shape": lambda item: "" if item.look is None else item.look.shape,
    "state": lambda item: "" if item.look is None else item.look.state,
    "second_color": lambda item: second_color(item.look),
}
_MAPPED = {"color": tuple(COLORS), "material": MATERIALS, "pattern": PATTERNS}
"""The names that the maps of a rendered view are indices of."""


def second_color(look: Look | None) -> str:
    """The color of the pattern, part or side that is not in the object's own, "none" without one;
    "" where it is not known.
    """
    if look is None:
        return ""
    return look.part_color or look.side_color or look.pattern_color or NO_COLOR


def unknown_names(names: NamesConfig, rooms: int, objects: int) -> dict[str, Tensor]:
    """By head the index of each object's name (rooms, objects), all of them UNKNOWN."""
    return {head: torch.full((rooms, objects), UNKNOWN) for head in names.heads}


def unknown_looks(names: NamesConfig, questions: int) -> dict[str, Tensor]:
    """By attribute of looks UNKNOWN for each question (Q,)."""
    return {what: torch.full((questions,), UNKNOWN) for what, of in names.looks if of}


def asked_looks(meant: Sequence[Description], names: NamesConfig) -> dict[str, Tensor]:
    """By attribute the look (Q,) that each description asks of its target, the number of its names
    for none.
    """
    asked = {what: torch.full((len(meant),), len(of)) for what, of in names.looks if of}
    for row, feature in enumerate(description.feature for description in meant):
        if feature is None:
            continue
        what = "second_color" if feature.kind in ("part", "side") else feature.kind
        if what in asked and feature.value in names.heads[what]:
            asked[what][row] = names.heads[what].index(feature.value)
    return asked


def object_names(objects: Sequence[RoomObject], names: NamesConfig) -> dict[str, np.ndarray]:
    """Index of each object's name by head (n,), -1 where its name is none of the head's."""
    return {
        head: np.array(
            [known.index(v) if (v := _VALUE[head](o)) in known else -1 for o in objects], int
        )
        for head, known in names.heads.items()
    }


def patch_truth(
    stored: RoomViews, views: np.ndarray, names: NamesConfig, grid: int
) -> dict[str, np.ndarray]:
    """Share of the pixels of each patch by name, in `grid` x `grid` patches of the whole image.

    Returns, for "class" and by head with a map, (views, grid^2, names) float32, for "class" with a
    last column for pixels without an object. Pixels without a known name are in no column.
    """
    instance = stored.instance[views].astype(int)
    count, rows, columns = instance.shape
    y, x = np.arange(rows) * grid // rows, np.arange(columns) * grid // columns
    patch = np.arange(count)[:, None, None] * grid**2 + (y[:, None] * grid + x)[None]
    truth = {}
    for head, known in names.heads.items():
        if head != "class" and head not in _MAPPED:
            continue
        table, outputs = np.full(NO_OBJECT + 1, -1), len(known)
        if head == "class":
            ids = object_names(stored.room.objects, names)[head]
            table[: len(ids)], table[NO_OBJECT] = ids, outputs
            outputs += 1
        else:
            for i, name in enumerate(_MAPPED[head]):
                table[i] = known.index(name) if name in known else -1
        value = table[instance if head == "class" else getattr(stored, head)[views].astype(int)]
        there = value >= 0
        key = patch[there] * outputs + value[there]
        shares = np.bincount(key, minlength=count * grid**2 * outputs).astype(np.float32)
        pixels = rows * columns / grid**2
        truth[head] = shares.reshape(count, grid**2, outputs) / pixels
    return truth
