"""What research adds to commands of the robot's wing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spatial3d_ros.demo.demo import PreparedRoom


def trainable_table(model: str, preset: str) -> dict[str, object]:
    """Parameters that a preset trains, in millions by part; see `presets.trainable_table`."""
    from spatial3d_ros.research.training import presets

    return presets.trainable_table(model, preset)


def prepare_room(*arguments: Any) -> PreparedRoom | None:
    """A generated room with its questions; see `demo_room.prepare_room`."""
    from spatial3d_ros.research.evaluation import demo_room

    return demo_room.prepare_room(*arguments)
