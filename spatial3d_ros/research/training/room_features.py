"""Features of a frozen tower for stored rooms, on disk: most of a training step without them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from spatial3d_ros.errors import StorageError
from spatial3d_ros.model.batch import resized
from spatial3d_ros.model.config import VisionConfig
from spatial3d_ros.research.datasets.scan_views import read_features
from spatial3d_ros.research.rooms.view_store import RoomViews, ViewStore


@dataclass(frozen=True)
class RoomFeatures:
    """One file a room with the features (V, P, C) of all its stored views, float16. The folder is
    for one tower, one size of image and one store (`cache_folder`).
    """

    folder: Path

    def path(self, seed: int) -> Path:
        """The file of a room."""
        return self.folder / f"{seed:08d}.safetensors"

    def read(self, seed: int) -> Tensor:
        """Features of a room's views. Raises StorageError for a missing or damaged file."""
        return read_features(self.path(seed))

    @torch.no_grad()
    def fill(
        self,
        store: ViewStore,
        tower: nn.Module,
        vision: VisionConfig,
        progress: Callable[[int, int | None], None] = lambda done, total: None,
    ) -> None:
        """Compute what the folder lacks of a store. Several processes may do it at once. Raises
        StorageError, before the first is computed, if the disk has not enough space.
        """
        seeds = range(store.first, store.first + len(store))
        missing = [seed for seed in seeds if not self.path(seed).is_file()]
        self.folder.mkdir(parents=True, exist_ok=True)
        needed = len(missing) * store.views * vision.grid**2 * vision.width * 2
        free = shutil.disk_usage(self.folder).free
        if needed > free:
            raise StorageError(
                f"{self.folder}: the features need {needed / 2**30:.1f} GiB, "
                f"{free / 2**30:.1f} are free; choose another folder, fewer rooms, or no cache"
            )
        for done, seed in enumerate(missing, start=1):
            if not self.path(seed).is_file():  # another process may have been faster
                features = tower(_pixels(store[seed - store.first], vision)).to(torch.float16)
                part = self.path(seed).with_suffix(f".{torch.initial_seed() % 10**6}.part")
                save_file({"patches": features.contiguous()}, part)
                part.replace(self.path(seed))
            progress(done, len(missing))


def _pixels(stored: RoomViews, vision: VisionConfig) -> Tensor:
    """The views as `prepare_view` gives them to the tower (V, 3, S, S), whole pictures."""
    size = vision.image_size
    images = [resized(view, size, size, vision.resample) for view in stored.rgb]
    pixels = torch.stack([torch.from_numpy(image) for image in images])
    return pixels.permute(0, 3, 1, 2).float() / 127.5 - 1.0
