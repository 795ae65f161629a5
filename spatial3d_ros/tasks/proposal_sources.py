"""Where objects come from when nobody gives them: from depth alone, or the network's own referents
(METHODS 4).
"""

from __future__ import annotations

from typing import Literal, get_args

from spatial3d_ros.errors import ConfigError
from spatial3d_ros.scene.buffer import Snapshot
from spatial3d_ros.scene.points_in_boxes import points_in_boxes
from spatial3d_ros.scene.proposals import Proposal, propose
from spatial3d_ros.tasks.model_runner import ModelRunner

ProposalSource = Literal["auto", "builtin", "referents"]
"""builtin: scene.proposals. referents: of networks with `psa`. auto: built in, and where that finds
nothing, referents if the network has them.
"""
MIN_LIKELY = 0.1  # referents less likely to be an object than this are left out


def check_source(source: str, reader: ModelRunner) -> None:
    """Raises ConfigError for a source that is unknown, or that the weights do not have."""
    if source not in get_args(ProposalSource):
        raise ConfigError(
            f"proposals: '{source}' is unknown; use {', '.join(get_args(ProposalSource))}"
        )
    if source == "referents" and not reader.has_referents:
        raise ConfigError(
            f"proposals: referents, but the weights of '{reader.model.config.name}' have none "
            "(psa.enabled in their config.yaml); use auto or builtin, or weights with referents"
        )


def find_objects(room: Snapshot, source: ProposalSource, reader: ModelRunner) -> list[Proposal]:
    """Proposals in the world of the views, whose axes run along the walls."""
    frames = [view.frame for view in room.views]
    found = [] if source == "referents" else propose(frames)
    if found or source == "builtin" or not reader.has_referents:
        return found
    boxes, likely = reader.read_referents(room)
    kept = [k for k, share in enumerate(likely) if share >= MIN_LIKELY]
    return points_in_boxes([boxes[k] for k in kept], [likely[k] for k in kept], frames)
