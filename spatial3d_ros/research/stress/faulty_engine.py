"""An engine that stumbles on order: slow, out of memory, or in a room of hundreds of things."""

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

MORE_THAN_ANY = 2**50  # numbers of 4 bytes
NAP_S = 0.01
SPACING_M, SIDE_M, POINTS = 0.5, 0.3, 32


class StumblingEngine(Spatial3D):
    """The real engine with faults: `short_of_memory` holds "question" or "update" or both,
    `stage_s` is how long each stage of a question lasts at least, `crowd` how many made-up objects
    are seen besides the real ones. All three are of the class: they hold for engines to come, too.
    """

    short_of_memory: tuple[str, ...] = ()
    stage_s = 0.0
    crowd = 0

    def answer(self, query: str, *, monitor: Monitor | None = None) -> Any:
        """As the engine, slowly."""
        return super().answer(query, monitor=self._slowed(monitor))

    def refresh(self, proposals: Any = None) -> int:
        """As the engine, with the crowd."""
        if self.crowd:
            views = self._buffer.snapshot().views
            proposals = [*propose([view.frame for view in views]), *crowd_of(self.crowd)]
        return super().refresh(proposals)

    def _look(self, *given: Any) -> Any:
        self._allocate_for("update")
        return super()._look(*given)

    def _scores(self, *given: Any) -> Any:
        self._allocate_for("question")
        return super()._scores(*given)

    def _allocate_for(self, step: str) -> None:
        if step in self.short_of_memory:
            torch.empty(MORE_THAN_ANY)

    def _slowed(self, monitor: Monitor | None) -> Monitor | None:
        return Slow(monitor, self.stage_s) if monitor and self.stage_s else monitor


class Slow:
    """A monitor for which every stage lasts `stage_s` longer, unless the question is taken back."""

    def __init__(self, monitor: Monitor, stage_s: float) -> None:
        self._monitor = monitor
        self._stage_s = stage_s

    def stage(self, name: str, progress: float) -> None:
        """See `Monitor`."""
        self._monitor.stage(name, progress)
        end = time.monotonic() + self._stage_s
        while time.monotonic() < end:
            time.sleep(NAP_S)
        self._monitor.stage(name, progress)


def crowd_of(number: int) -> list[Proposal]:
    """Boxes in rows beside the room, none near another."""
    side = int(np.ceil(np.sqrt(number)))
    rng = np.random.default_rng(number)
    made = []
    for k in range(number):
        center = np.array([10.0 + SPACING_M * (k % side), SPACING_M * (k // side), SIDE_M / 2])
        points = (center + rng.uniform(-SIDE_M / 2, SIDE_M / 2, (POINTS, 3))).astype(np.float32)
        box = Box3D(tuple(center), (SIDE_M,) * 3, 0.0)
        made.append(Proposal(box, points, (200.0, 40.0, 40.0), 2, rng.uniform(0.1, 0.9)))
    return made


def orders() -> dict[str, Callable[..., None]]:
    """What the process of the node can be told: `stumble`, and `fill_disk`."""

    def stumble(**changes: Any) -> None:
        for name, value in changes.items():
            setattr(StumblingEngine, name, value)

    def fill_disk(full: bool) -> None:
        """Every line of the log, and every file that would grow, meets a full disk; or no more."""
        if full:
            saved.append(os.dup(2))
            with Path("/dev/full").open("wb") as nowhere:
                os.dup2(nowhere.fileno(), 2)
        else:
            os.dup2(saved[-1], 2)
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.setrlimit(resource.RLIMIT_FSIZE, (0 if full else hard, hard))

    saved: list[int] = []
    return {"stumble": stumble, "fill_disk": fill_disk}
