"""Pieces of one object, as its usual size tells: seat and base of a chair, seat and back of a sofa.

Depth alone cannot tell whether two touching pieces are one object. With the same label, each too
small for a whole one and together of its usual size, they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from spatial3d_ros.categories import CATEGORIES
from spatial3d_ros.geometry.box import Box3D, vector
from spatial3d_ros.scene.label_distribution import fuse, kinds_of
from spatial3d_ros.scene.proposals import Proposal
from spatial3d_ros.scene.surface_color import mixed

MIN_SHARE = 0.3  # of a label for a piece to be of that kind
GAP_M = 0.06  # between two pieces of one object
TOLERANCE = 0.2  # by which two pieces together may be smaller or larger than usual


def join_parts(proposals: Sequence[Proposal]) -> list[Proposal]:
    """The proposals with pieces of one object joined, smallest union first."""
    left = list(proposals)
    while True:
        pieces = [(k, kinds) for k, p in enumerate(left) if (kinds := _small_for(p))]
        pairs = [
            (union.volume, i, j, kind, union)
            for i, kinds in pieces
            for j, others in pieces
            if j < i and kinds & others
            for kind, union in [_common(left[i].box, left[j].box, kinds & others)]
            if kind
        ]
        if not pairs:
            return left
        _, i, j, kind, union = min(pairs, key=lambda pair: pair[0])
        joined = _joined(left[i], left[j], kind, union)
        left = [p for k, p in enumerate(left) if k not in (i, j)] + [joined]


def _common(a: Box3D, b: Box3D, kinds: set[str]) -> tuple[str, Box3D]:
    """Which of some kinds two pieces together are, "" for none, and their common box."""
    (low_a, high_a), (low_b, high_b) = a.bounds(), b.bounds()
    union = Box3D.from_bounds(np.minimum(low_a, low_b), np.maximum(high_a, high_b))
    if (np.maximum(low_a - high_b, low_b - high_a) > GAP_M).any():
        return "", union
    fitting = sorted(kind for kind in kinds if _whole(union, kind, TOLERANCE))
    return (fitting[0] if fitting else ""), union


def _small_for(proposal: Proposal) -> set[str]:
    """The kinds that a recogniser takes a proposal for, and that usually have another size."""
    likely = [label for label, share in proposal.labels if share >= MIN_SHARE]
    kinds = {kind for label in likely for kind in kinds_of(label)} & CATEGORIES.keys()
    return {kind for kind in kinds if not _whole(proposal.box, kind)}


def _whole(box: Box3D, kind: str, tolerance: float = 0.0) -> bool:
    """Whether a box has the usual size of a kind; the order of its horizontal sides is free."""
    size = np.array([*sorted(box.size[:2]), box.size[2]])
    small, large = (
        np.array([*sorted(side[:2]), side[2]])
        for side in (CATEGORIES[kind].smallest, CATEGORIES[kind].largest)
    )
    return bool((size >= (1 - tolerance) * small).all() and (size <= (1 + tolerance) * large).all())


def _joined(a: Proposal, b: Proposal, kind: str, union: Box3D) -> Proposal:
    n, m = len(a.points), len(b.points)
    share = m / max(n + m, 1)
    labels = fuse([(a.labels, 1.0), (b.labels, 1.0)])
    words = dict(labels)
    label = next(word for word in words if kind in kinds_of(word))
    return replace(
        a,
        box=union,
        points=np.concatenate([a.points, b.points]),
        rgb=vector((1 - share) * x + share * y for x, y in zip(a.rgb, b.rgb, strict=True)),
        views=max(a.views, b.views),
        score=max(a.score, b.score),
        label=label,
        label_score=words[label],
        labels=labels,
        colors=mixed(a.colors, b.colors, share),
    )
