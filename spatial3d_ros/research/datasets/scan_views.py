"""Views of scans as the network's input, with features of a frozen tower from disk."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from spatial3d_ros.errors import StorageError
from spatial3d_ros.model.batch import ViewInput, prepare_view, stack_views
from spatial3d_ros.model.config import ModelConfig
from spatial3d_ros.research.datasets.scan_frames import FrameChoice, Scan, read_chosen_frames
from spatial3d_ros.scene.frame import Frame

GIB = 2**30


@dataclass(frozen=True)
class ScanViews:
    """`count` views of each scene below `folder`, chosen by `choice` (scan_frames.py).

    cache: folder with the features of the tower, which `fill_cache` wrote; None: the network
    computes them.
    """

    folder: Path
    model: ModelConfig
    count: int = 16
    choice: FrameChoice = "uniform"
    cache: Path | None = None

    def frames(self, scene_id: str) -> Scan:
        """The chosen frames. Raises ConfigError for a scene that is not complete."""
        return read_chosen_frames(self.folder, scene_id, self.count, self.choice)

    def read(self, scene_id: str, origin: np.ndarray) -> dict[str, Tensor]:
        """The view fields (1, V, ...) of a `SceneBatch`, relative to `origin` (3,) metres.

        Raises ConfigError for a scene that is not complete, StorageError for a damaged cache.
        """
        scene = self.frames(scene_id)
        fields = stack_views([self._prepared(frame) for frame in scene], origin)
        if self.cache is not None:
            fields["patches"] = self._cached(scene)
        return fields

    def cache_file(self, scene: Scan) -> Path:
        """Where the features of these frames are kept."""
        assert self.cache is not None
        numbers = "-".join(str(number) for number, _ in scene.items)
        key = hashlib.sha256(numbers.encode()).hexdigest()[:12]
        return self.cache / f"{scene.scene_id}_{key}.safetensors"

    def pixels(self, scene: Scan) -> Tensor:
        """The images (V, 3, S, S) of some frames."""
        return torch.stack([self._prepared(frame).pixels for frame in scene])

    def _prepared(self, frame: Frame) -> ViewInput:
        return prepare_view(
            frame.rgb,
            frame.depth,
            frame.camera,
            frame.world_T_camera,
            self.model.vision,
            self.model.pooled_grid,
        )

    def _cached(self, scene: Scan) -> Tensor:
        return read_features(self.cache_file(scene))[None]


def read_features(path: Path) -> Tensor:
    """Cached patch features of some views, (V, P, C) float32. Raises StorageError for a missing or
    damaged file.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return file.get_tensor("patches").float()
    except (OSError, SafetensorError) as error:
        raise StorageError(
            f"{path}: no readable features ({error}); delete the folder, it is filled again"
        ) from error


@torch.no_grad()
def fill_cache(
    views: ScanViews,
    scene_ids: Sequence[str],
    tower: nn.Module,
    device: torch.device | str,
    progress: Callable[[int, int | None], None] = lambda done, total: None,
) -> None:
    """Compute the tower's features (V, P, C) of all scenes that the cache lacks, in float16.

    Raises StorageError, before the first one is computed, if the disk has not enough space for
    them, and if a file cannot be written.
    """
    assert views.cache is not None
    scenes = [views.frames(name) for name in scene_ids]
    missing = [scene for scene in scenes if not views.cache_file(scene).is_file()]
    vision = views.model.vision
    needed = sum(map(len, missing)) * vision.grid**2 * vision.width * 2
    try:
        views.cache.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(views.cache).free
    except OSError as error:
        raise StorageError(f"{views.cache}: cannot be used ({error})") from error
    if needed > free:
        raise StorageError(
            f"{views.cache}: the features need {needed / GIB:.1f} GiB, {free / GIB:.1f} are free; "
            "choose another folder, fewer views, or no cache"
        )
    for k, scene in enumerate(missing):
        features = tower(views.pixels(scene).to(device)).to("cpu", torch.float16)
        path = views.cache_file(scene)
        part = path.with_suffix(".part")
        try:
            save_file({"patches": features.contiguous()}, part)
            part.replace(path)
        except (OSError, SafetensorError) as error:
            part.unlink(missing_ok=True)
            raise StorageError(f"{path}: cannot be written ({error}); free space") from error
        progress(k + 1, len(missing))


def tower_key(tower: nn.Module) -> str:
    """First 16 digits of a hash of a tower's weights: features of two towers never mix."""
    digest = hashlib.sha256()
    for name, value in sorted(tower.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().to("cpu", torch.float32).numpy().tobytes())
    return digest.hexdigest()[:16]
