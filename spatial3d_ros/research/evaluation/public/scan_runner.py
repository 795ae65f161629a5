"""The network on ScanNet scenes with views: what `--scans` adds to the public benchmarks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import torch

from spatial3d_ros.errors import ConfigError
from spatial3d_ros.model.batch import SceneBatch
from spatial3d_ros.model.sequence import EncodedScene
from spatial3d_ros.research.datasets.box_sources import BoxSource, Proposals, ScanBoxes
from spatial3d_ros.research.datasets.boxes_only import BoxRoom
from spatial3d_ros.research.datasets.label_classes import read_label_names
from spatial3d_ros.research.datasets.proposals import TOP, ProposalReader
from spatial3d_ros.research.datasets.scan_frames import FrameChoice
from spatial3d_ros.research.datasets.scan_views import ScanViews
from spatial3d_ros.research.evaluation.public.boxes_runner import BoxesRunner
from spatial3d_ros.tasks.model_runner import ModelRunner
from spatial3d_ros.tasks.prompt import CategoryMode, Prompt

GIVEN = "THE TRUE CATEGORY IS GIVEN to the network (diagnosis only, not a result)"


@dataclass(frozen=True)
class ScanSetup:
    """Scans with views, and the boxes to choose from: true ones, or `proposals`.

    category_mode: None is that of the weights, but never `given`.
    """

    scans: Path
    proposals: Path | None = None
    top: int = TOP
    views: int = 16
    choice: FrameChoice = "uniform"
    category_mode: CategoryMode | None = None
    label_table: Path | None = None

    def __post_init__(self) -> None:
        if self.category_mode not in (None, *get_args(CategoryMode)):
            raise ConfigError(
                f"category mode: '{self.category_mode}' is unknown; use "
                f"{', '.join(get_args(CategoryMode))}"
            )
        if not self.scans.is_dir():
            raise ConfigError(f"{self.scans}: no such folder; give the scans/ of ScanNet")

    @property
    def truth(self) -> BoxSource:
        """Annotated objects."""
        return ScanBoxes(self.scans)

    @property
    def detections(self) -> BoxSource | None:
        """The proposals, if there are any."""
        if self.proposals is None:
            return None
        if not self.proposals.exists():
            raise ConfigError(f"{self.proposals}: no such folder or file of proposals")
        names = read_label_names("nyu40", self.label_table) if self.label_table else {}
        return Proposals(ProposalReader(self.proposals, self.scans, self.top, names=names))

    def load(self, model: str) -> ScanRunner:
        """The network. Raises CheckpointError."""
        runner = ModelRunner.load(model, max_views=self.views)
        s2 = runner.model.config.s2
        mode = self.category_mode or ("generate" if s2.category_mode == "given" else None)
        mode = mode or s2.category_mode
        update = {"s2": s2.model_copy(update={"category_mode": mode})}
        runner.model.config = runner.model.config.model_copy(update=update)
        runner.prompt = Prompt(runner.prompt.tokenizer, mode)
        return ScanRunner(runner, self)


class ScanRunner(BoxesRunner):
    """A room's views and boxes, without labels and colours: only pixels tell what an object is."""

    def __init__(self, runner: ModelRunner, setup: ScanSetup) -> None:
        super().__init__(runner)
        self._views = ScanViews(setup.scans, runner.model.config, setup.views, setup.choice)
        self._boxes = setup.detections
        self._last: tuple[BoxRoom, EncodedScene] | None = None

    @property
    def settings(self) -> dict[str, str]:
        """What a report states about the inputs (METHODS 5.11)."""
        mode = self._runner.prompt.category_mode
        boxes = "true boxes" if self._boxes is None else f"proposals of {self._boxes.name}"
        return {
            "boxes": boxes,
            "views": f"{self._views.count} of each scene, {self._views.choice}",
            "category_mode": GIVEN if mode == "given" else mode,
        }

    def _scene(self, room: BoxRoom) -> EncodedScene:
        if self._last is not None and self._last[0] is room:
            return self._last[1]
        runner, origin = self._runner, room.origin
        boxes = room.boxes.copy()
        boxes[:, :3] -= origin
        batch = SceneBatch(
            boxes=torch.from_numpy(boxes).float()[None],
            object_valid=torch.ones(1, len(boxes), dtype=torch.bool),
            **self._views.read(room.scene_id, origin),
        ).to(runner.device)
        with runner.autocast():
            scene = runner.model.encode_scene(batch, runner.prompt_tokens)
        self._last = room, scene
        return scene
