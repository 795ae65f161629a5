"""Edits of a layout against their references (METHODS 5.9)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from spatial3d_ros.geometry.box import Box3D, iou


@dataclass(frozen=True)
class EditOutcome:
    """The judgement of one edit. box: None if no edit was returned.

    right_object: whether the target was edited (None for a new object). relation: whether the
    wanted relation holds in the edited scene (None without one). valid: inside the bounds, at most
    10 % inside another object, and supported. before: the box before a move.
    """

    reference: Box3D
    box: Box3D | None
    valid: bool = False
    relation: bool | None = None
    right_object: bool | None = None
    before: Box3D | None = None


def layout_scores(outcomes: Sequence[EditOutcome]) -> dict[str, float | int]:
    """Shares over the edits that each measure applies to. An edit that was not returned is wrong in
    every share; errors in metres are over the returned edits.

    "headline": relation and validity together, because many poses are right and the overlap with
    one of them says little. "size_change_m": the greatest change of a side of a moved box; 0 is
    right.
    """
    made = [(o, o.box) for o in outcomes if o.box is not None]
    gaps = [float(np.linalg.norm(np.subtract(box.center, o.reference.center))) for o, box in made]
    overlaps = [iou(box, o.reference) for o, box in made]
    total = len(outcomes)
    scores: dict[str, float | int] = {"n": total, "returned": len(made) / total}
    scores |= _share("right_object", outcomes, lambda o: o.right_object)
    scores |= {f"acc@{t}m": sum(gap <= t for gap in gaps) / total for t in (0.25, 0.5)}
    scores |= {f"acc@{t}iou": sum(value >= t for value in overlaps) / total for t in (0.25, 0.5)}
    scores["valid"] = sum(o.valid for o, _ in made) / total
    scores |= _share("relation", outcomes, lambda o: o.relation)
    scores |= _share(
        "headline", outcomes, lambda o: None if o.relation is None else o.relation and o.valid
    )
    if made:
        scores["center_error_m"] = float(np.mean(gaps))
    moved = [np.abs(np.subtract(box.size, o.before.size)).max() for o, box in made if o.before]
    if moved:
        scores["size_change_m"] = float(np.max(moved))
    return scores


def _share(
    name: str, outcomes: Sequence[EditOutcome], measure: Callable[[EditOutcome], bool | None]
) -> dict[str, float]:
    values = [(o, measure(o)) for o in outcomes]
    applicable = [bool(o.box is not None and value) for o, value in values if value is not None]
    return {name: sum(applicable) / len(applicable)} if applicable else {}
