"""Names of the objects of a map from the heads of the network: class, colour, looks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from spatial3d_ros.categories import VARIANTS
from spatial3d_ros.model.config import ModelConfig
from spatial3d_ros.model.crop_names import shares_by_head
from spatial3d_ros.model.sequence import EncodedScene
from spatial3d_ros.scene.label_distribution import Labels, fuse
from spatial3d_ros.scene.objects import SceneObject
from spatial3d_ros.scene.surface_color import mixed
from spatial3d_ros.scene.usual_size import fitting

NAMES_KEPT = 8
MEASURED = 0.6  # share of measured colors in the distribution, beside the network's
NAMES_WEIGHT = 0.5  # of the network's names beside labels of recognisers that are divided


def name_objects(
    config: ModelConfig,
    objects: Sequence[SceneObject],
    scene: EncodedScene,
    newest_ns: int,
) -> tuple[SceneObject, ...]:
    """Objects with the names of the network that fit their sizes, a scene of these objects; an
    object that the newest view did not update keeps its names, and labels of a recogniser stay.
    """
    names = config.names
    if not names.classes or scene.name_shares is None:
        return tuple(objects)
    shares = shares_by_head(scene.name_shares[0], names)
    found = {head: _likeliest(shares[head], of) for head, of in names.heads.items()}
    seen_as = [(what, found[what]) for what, of in names.looks if of]
    rows = zip(objects, found["class"], found["color"], strict=True)
    named = []
    for at, (known, labels, colors) in enumerate(rows):
        by_detector = known.label_from_detector
        fused = fuse([(fitting(labels, known.box.size), NAMES_WEIGHT), (known.labels, 1.0)])
        seen = mixed(colors, known.colors, MEASURED)
        if known.label and known.stamp_ns < newest_ns and (known.color or not by_detector):
            named.append(known)
            continue
        label = known.label if by_detector or not fused else fused[0][0]
        named.append(
            replace(
                known,
                label=label,
                color=seen[0][0],
                labels=known.labels if by_detector else fused,
                colors=seen,
                looks={what: _possible(rows_of[at], what, label) for what, rows_of in seen_as},
            )
        )
    return tuple(named)


def _possible(names: Labels, what: str, label: str) -> Labels:
    """The shapes and states that objects of a label have, with probabilities among these; other
    looks as they are.
    """
    if what not in ("shape", "state"):
        return names
    kept = [(name, share) for name, share in names if name in VARIANTS.get(label, ())]
    return tuple((name, share / sum(p for _, p in kept)) for name, share in kept)


def _likeliest(shares: Tensor, names: Sequence[str]) -> list[Labels]:
    """For each object the likeliest names with their probabilities: shares (N, K)."""
    top = shares.float().topk(min(NAMES_KEPT, len(names)))
    return [
        tuple((names[k], p) for k, p in zip(indices, values, strict=True))
        for indices, values in zip(top.indices.tolist(), top.values.tolist(), strict=True)
    ]
