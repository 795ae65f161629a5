"""The crops channel of a scene (docs/INTERFACES.md, section 1): crops are cut and encoded once for
each object and view, and kept with the object.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from spatial3d_ros.model.batch import ViewInput
from spatial3d_ros.model.config import ModelConfig
from spatial3d_ros.model.crop_names import crop_features
from spatial3d_ros.model.crops import CROPS, crop_windows, cut_crop, shown_width, stack_crops
from spatial3d_ros.scene.buffer import View
from spatial3d_ros.scene.objects import SceneObject

MOVED = 0.04
"""A crop is cut again if a side of its window moved by this share of the image."""
BATCH = 16


@dataclass(frozen=True, eq=False)
class _Crop:
    view: int
    window: Tensor
    features: Tensor


class ObjectCrops:
    """Crops of the objects of the map. `encode`: crops (n, 4, s, s) -> features (n, C), float32 on
    the CPU.
    """

    def __init__(self, config: ModelConfig, encode: Callable[[Tensor], Tensor]) -> None:
        self._config, self._encode = config, encode
        self._kept: dict[int, list[_Crop]] = {}

    def clear(self) -> None:
        """Forget all crops."""
        self._kept.clear()

    def update(
        self,
        objects: Sequence[SceneObject],
        boxes: np.ndarray,
        views: Sequence[tuple[View, ViewInput]],
        newest_ns: int,
    ) -> tuple[Tensor, Tensor]:
        """Features (N, CROPS, C) and which there are (N, CROPS): boxes (N, 6) in the frame of the
        views. An object that the newest view did not update keeps its crops: other things may stand
        in its place.
        """
        current = [n for n, known in enumerate(objects) if known.stamp_ns >= newest_ns]
        wanted = crop_windows(
            torch.stack([view.points for _, view in views]),
            torch.stack([view.valid for _, view in views]),
            torch.from_numpy(boxes[current]).float(),
        )
        new: list[tuple[int, View, Tensor, Tensor]] = []
        kept: dict[int, list[_Crop]] = {
            known.id: self._kept[known.id] for known in objects if known.id in self._kept
        }
        for row, n in enumerate(current):
            before = kept.get(objects[n].id, [])
            after = []
            for k in range(CROPS):
                if not wanted.found[row, k]:
                    continue
                (view, seen), window = views[int(wanted.view[row, k])], wanted.window[row, k]
                same = [c for c in before if c.view == view.id and _near(c.window, window)]
                if same:
                    after.append(same[0])
                else:
                    box = torch.from_numpy(boxes[n]).float()
                    new.append(
                        (
                            objects[n].id,
                            view,
                            window,
                            cut_crop(
                                view.frame.rgb, seen.points, seen.valid, box, window.tolist(),
                                self._shown(view),
                            ),
                        )
                    )  # fmt: skip
            kept[objects[n].id] = after
        for some in (new[i : i + BATCH] for i in range(0, len(new), BATCH)):
            features = self._encode(stack_crops([crop for *_, crop in some]))
            for (key, view, window, _), feature in zip(some, features, strict=True):
                kept[key].append(_Crop(view.id, window, feature))
        self._kept = kept
        return self._stacked([kept.get(known.id, []) for known in objects])

    def _stacked(self, crops: Sequence[Sequence[_Crop]]) -> tuple[Tensor, Tensor]:
        features = torch.zeros(len(crops), CROPS, crop_features(self._config))
        valid = torch.zeros(len(crops), CROPS, dtype=torch.bool)
        for n, row in enumerate(crops):
            for k, crop in enumerate(row[:CROPS]):
                features[n, k], valid[n, k] = crop.features, True
        return features, valid

    def _shown(self, view: View) -> tuple[float, float]:
        camera = view.frame.camera
        return shown_width(camera.width, camera.height, self._config.vision)


def _near(one: Tensor, other: Tensor) -> bool:
    return bool((one - other).abs().max() < MOVED)
