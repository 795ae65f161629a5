"""An engine with injected faults: slow stages, failed allocations, hundreds of extra objects."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from spatial3d_ros.engine import Spatial3D
from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.scene.proposals import Proposal, propose
from spatial3d_ros.tasks.timing import Monitor

TOO_MANY_FLOATS = 2**50
POLL_S = 0.01
SPACING_M, SIDE_M, POINTS = 0.5, 0.3, 32


class FaultyEngine(Spatial3D):
    """The engine with faults, set on the class so that they hold for engines built later too.

    `out_of_memory_in` holds "question", "update" or both; `stage_s` is the least duration of each
    stage of a question; `extra_objects` is the number of generated objects added to the proposals.
    """

    out_of_memory_in: tuple[str, ...] = ()
    stage_s = 0.0
    extra_objects = 0

    def answer(
        self, query: str, *, conversation_id: str = "", monitor: Monitor | None = None
    ) -> Any:
        """See `Spatial3D.answer`; every stage lasts `stage_s` longer."""
        slow = monitor and self.stage_s
        return super().answer(
            query,
            conversation_id=conversation_id,
            monitor=SlowMonitor(monitor, self.stage_s) if slow else monitor,
        )

    def refresh(self, proposals: Any = None) -> int:
        """See `Spatial3D.refresh`; the extra objects are added to the proposals."""
        views = self._memory.views.views
        if views:
            self._allocate_for("update")
        if self.extra_objects:
            found = propose([view.frame for view in views])
            proposals = [*found, *extra_proposals(self.extra_objects)]
        return super().refresh(proposals)

    def _score(self, *args: Any) -> Any:
        self._allocate_for("question")
        return super()._score(*args)

    def _allocate_for(self, step: str) -> None:
        if step in self.out_of_memory_in:
            torch.empty(TOO_MANY_FLOATS)


class SlowMonitor:
    """A monitor that prolongs every stage by `stage_s`; a cancelled question ends at its end."""

    def __init__(self, monitor: Monitor, stage_s: float) -> None:
        self._monitor = monitor
        self._stage_s = stage_s

    def stage(self, name: str, progress: float) -> None:
        """See `Monitor`."""
        self._monitor.stage(name, progress)
        end = time.monotonic() + self._stage_s
        while time.monotonic() < end:
            time.sleep(POLL_S)
        self._monitor.stage(name, progress)


def extra_proposals(count: int) -> list[Proposal]:
    """Boxes in rows outside the room, apart from each other."""
    side = int(np.ceil(np.sqrt(count)))
    rng = np.random.default_rng(count)
    proposals = []
    for k in range(count):
        center = np.array([10.0 + SPACING_M * (k % side), SPACING_M * (k // side), SIDE_M / 2])
        points = (center + rng.uniform(-SIDE_M / 2, SIDE_M / 2, (POINTS, 3))).astype(np.float32)
        box = Box3D(tuple(center), (SIDE_M,) * 3, 0.0)
        proposals.append(Proposal(box, points, (200.0, 40.0, 40.0), 2, rng.uniform(0.1, 0.9)))
    return proposals


def rpc_methods() -> dict[str, Callable[..., None]]:
    """Methods of the node's process: `set_faults` of the engine, and `fill_disk`."""

    def set_faults(**faults: Any) -> None:
        for name, value in faults.items():
            setattr(FaultyEngine, name, value)

    def fill_disk(full: bool) -> None:
        """Make every write to stderr and every growing file fail as on a full disk, or end that."""
        if full:
            saved.append(os.dup(2))
            with Path("/dev/full").open("wb") as full_device:
                os.dup2(full_device.fileno(), 2)
        else:
            os.dup2(saved[-1], 2)
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.setrlimit(resource.RLIMIT_FSIZE, (0 if full else hard, hard))

    saved: list[int] = []
    return {"set_faults": set_faults, "fill_disk": fill_disk}
