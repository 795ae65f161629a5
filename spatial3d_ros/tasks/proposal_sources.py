"""Sources of object proposals: depth alone, or the network's referents (METHODS 4)."""

from __future__ import annotations

from typing import Literal, get_args

from spatial3d_ros.errors import ConfigError
from spatial3d_ros.scene.buffer import Snapshot
from spatial3d_ros.scene.object_map import ProposalChoice
from spatial3d_ros.scene.points_in_boxes import points_in_boxes
from spatial3d_ros.scene.proposals import region_tree
from spatial3d_ros.scene.view_fusion import ViewFusion
from spatial3d_ros.tasks.model_runner import ModelRunner

ProposalSource = Literal["auto", "builtin", "referents"]
"""builtin: scene.proposals. referents: of networks with `psa`. auto: builtin, and if that finds
nothing, referents if the network has them.
"""
MIN_OBJECTNESS = 0.1  # probability below which a referent is no proposal


def check_source(source: str, runner: ModelRunner) -> None:
    """Raises ConfigError for a source that is unknown, or that the weights do not have."""
    known = get_args(ProposalSource)
    if source not in known:
        raise ConfigError(f"proposals: '{source}' is unknown; use {', '.join(known)}")
    if source == "referents" and not runner.has_referents:
        raise ConfigError(
            f"proposals: referents, but the weights of '{runner.model.config.name}' have none "
            "(psa.enabled in their config.yaml); use auto or builtin, or weights with referents"
        )


def find_objects(
    views: Snapshot, source: ProposalSource, runner: ModelRunner, fusion: ViewFusion
) -> ProposalChoice:
    """Proposals in the world frame of the views, whose axes run along the walls, as a function of
    what is detected there; `fusion` keeps what it knows of the views for the next call.
    """
    frames = [view.frame for view in views.views]
    if source != "referents":
        tree = region_tree(frames, fusion=fusion, ids=[view.id for view in views.views])
        if tree.found or source == "builtin" or not runner.has_referents:
            return tree.proposals
    boxes, objectness = runner.propose_referents(views)
    kept = [k for k, probability in enumerate(objectness) if probability >= MIN_OBJECTNESS]
    made = points_in_boxes([boxes[k] for k in kept], [objectness[k] for k in kept], frames)
    return lambda detected: made
