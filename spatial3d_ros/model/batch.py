"""Input of the network: a batch of scenes as tensors, and one view prepared from a camera frame."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Literal, NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from spatial3d_ros.errors import FrameError
from spatial3d_ros.geometry.camera import Camera
from spatial3d_ros.model.config import VisionConfig


@dataclass(frozen=True)
class ViewInput:
    """One view at the network's resolution S; world frame, metres, float32.

    pixels (3, S, S) in [-1, 1]; points (S, S, 3), zero where depth is missing; valid (S, S) bool;
    rays (T, 3) unit viewing directions of the pooled tokens, zero where depth is missing; pose (4,
    4) world_T_camera.
    """

    pixels: Tensor
    points: Tensor
    valid: Tensor
    rays: Tensor
    pose: Tensor


def prepare_view(
    rgb: np.ndarray,
    depth: np.ndarray,
    camera: Camera,
    world_T_camera: np.ndarray,
    config: VisionConfig,
    pooled: int,
) -> ViewInput:
    """Resize color with interpolation and depth by nearest neighbour, then back-project
    (METHODS 1.1).

    rgb (H, W, 3) uint8, depth (H, W) float32 metres, 0 where missing; `pooled` tokens along one
    side. `crop` scales the height to S and cuts out the centre square, `stretch` scales both sides;
    the intrinsics change with the image.
    """
    size = config.image_size
    if config.resize == "crop":
        width = max(size, int(camera.width * size / camera.height))
        left = (width - size) // 2
        camera = camera.scaled(width, size).cropped(left, 0, size, size)
    else:
        width, left = size, 0
        camera = camera.scaled(size, size)
    if rgb.shape[:2] != (size, width):
        rgb = resized(rgb, width, size, config.resample)
        depth = cv2.resize(depth, (width, size), interpolation=cv2.INTER_NEAREST)
    rgb, depth = rgb[:, left : left + size], depth[:, left : left + size]

    rotation = torch.tensor(world_T_camera[:3, :3], dtype=torch.float32)
    origin = torch.tensor(world_T_camera[:3, 3], dtype=torch.float32)
    z = torch.tensor(depth, dtype=torch.float32)
    valid = z > 0
    column = (torch.arange(size) - camera.cx) / camera.fx
    row = (torch.arange(size) - camera.cy) / camera.fy
    direction = torch.stack(
        [column.expand(size, size), row[:, None].expand(size, size), torch.ones(size, size)], dim=-1
    )
    points = (direction * z[..., None]) @ rotation.T + origin
    points = torch.where(valid[..., None], points, 0.0)

    covered = config.grid * config.patch_size
    cell = covered / pooled
    centre = (torch.arange(pooled) * cell + cell // 2).long()
    rays = direction[centre[:, None], centre[None]] @ rotation.T
    rays = rays / rays.norm(dim=-1, keepdim=True)
    rays = torch.where(valid[centre[:, None], centre[None]][..., None], rays, 0.0).flatten(0, 1)
    pixels = torch.tensor(rgb).permute(2, 0, 1).float() / 127.5 - 1.0
    pose = torch.tensor(world_T_camera, dtype=torch.float32)
    return ViewInput(pixels, points, valid, rays, pose)


def resized(
    rgb: np.ndarray, width: int, height: int, resample: Literal["area", "bicubic"]
) -> np.ndarray:
    """An image (H, W, 3) uint8 in another size; see `vision.resample`."""
    if rgb.shape[0] <= height:
        return cv2.resize(rgb, (width, height), interpolation=cv2.INTER_CUBIC)
    if resample == "area":
        return cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA)
    planes = torch.from_numpy(np.array(rgb)).permute(2, 0, 1)[None]
    small = F.interpolate(planes, (height, width), mode="bicubic", antialias=True)
    return small[0].permute(1, 2, 0).numpy()


class SceneViews(NamedTuple):
    """The view tensors of a `SceneBatch` that has views."""

    pixels: Tensor
    points: Tensor
    valid: Tensor
    rays: Tensor
    view_valid: Tensor


@dataclass(frozen=True)
class SceneBatch:
    """B scenes of up to V views and N objects, padded; scene frame (METHODS 3.3), metres.

    boxes (B, N, 6) centre + size; object_valid (B, N). Without views (rooms of boxes only) pixels
    (B, V, 3, S, S), points (B, V, S, S, 3), valid (B, V, S, S), rays (B, V, T, 3) and view_valid
    (B, V) are None. Optional for each object: labels (B, N, L, T) token ids of its L most probable
    labels, -1 padded, and label_shares (B, N, L), their probabilities, by default 1; colors (B, N,
    3) in [0, 1] or probabilities of the color names and "unknown" (B, N, names + 1), NaN where
    unknown; fronts (B, N, 2) horizontal unit vectors out of the object's front, NaN where unknown
    or none; crop_pixels (B, N, K, 4, s, s) as of `crops.cut_crop` and crop_valid (B, N, K). patches
    (B, V, P, C), of the vision tower, and crops (B, N, K, F), of `SpatialModel.encode_crops`: if
    they are already computed; shades (B, V, names + 1, S, S): likewise the color names of the
    pixels (`pixel_shades`).
    poses (B, V, 4, 4) scene_T_camera, read by reconstruction guidance only.
    Raises FrameError if there are no views or their numbers differ.
    """

    boxes: Tensor
    object_valid: Tensor
    pixels: Tensor | None = None
    points: Tensor | None = None
    valid: Tensor | None = None
    rays: Tensor | None = None
    view_valid: Tensor | None = None
    patches: Tensor | None = None
    shades: Tensor | None = None
    labels: Tensor | None = None
    label_shares: Tensor | None = None
    colors: Tensor | None = None
    fronts: Tensor | None = None
    poses: Tensor | None = None
    crop_pixels: Tensor | None = None
    crop_valid: Tensor | None = None
    crops: Tensor | None = None

    def __post_init__(self) -> None:
        if self.points is None:
            return
        count = self.points.shape[1]
        if not count:
            raise FrameError("views: none; give at least one, or boxes only (points=None)")
        for name in ("pixels", "valid", "rays", "view_valid", "patches", "shades", "poses"):
            value = getattr(self, name)
            if value is not None and value.shape[1] != count:
                raise FrameError(
                    f"{name}: {value.shape[1]} views, but points has {count}; give one for each"
                )

    @property
    def has_views(self) -> bool:
        """Whether the batch has views besides boxes."""
        return self.points is not None

    @property
    def label_ids(self) -> Tensor:
        """The labels (B, N, L, T); L is 0 without any."""
        none = self.object_valid.new_zeros(*self.object_valid.shape, 0, 0, dtype=torch.long)
        return none if self.labels is None else self.labels

    @property
    def shares_of_labels(self) -> Tensor:
        """Probability of each label (B, N, L); raises FrameError without labels."""
        if self.labels is None:
            raise FrameError("labels: none")
        if self.label_shares is None:
            return torch.ones(self.labels.shape[:3], device=self.labels.device)
        return self.label_shares

    @property
    def views(self) -> SceneViews:
        """The view tensors. Raises FrameError if the batch has none or only some of them."""
        parts = {name: getattr(self, name) for name in SceneViews._fields}
        absent = [name for name, value in parts.items() if value is None]
        if absent:
            raise FrameError(
                f"views: {', '.join(absent)} missing; give all of a view, or boxes only"
            )
        return SceneViews(**parts)

    def to(self, device: torch.device | str) -> SceneBatch:
        """The same batch on another device."""
        moved = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(self, **{k: v.to(device) for k, v in moved.items() if v is not None})


def stack_views(views: list[ViewInput], origin: np.ndarray) -> dict[str, Tensor]:
    """Views of one scene as the (1, V, ...) fields of SceneBatch, translated into the scene frame
    at `origin` (3,) metres. Raises FrameError if there are no views.
    """
    shift = torch.as_tensor(origin, dtype=torch.float32)
    if not views:
        raise FrameError("views: none; give at least one")
    valid = torch.stack([v.valid for v in views])
    poses = torch.stack([v.pose for v in views])
    poses[:, :3, 3] -= shift
    points = torch.stack([v.points for v in views]) - shift
    return {
        "pixels": torch.stack([v.pixels for v in views])[None],
        "points": torch.where(valid[..., None], points, 0.0)[None],
        "valid": valid[None],
        "rays": torch.stack([v.rays for v in views])[None],
        "view_valid": torch.ones(1, len(views), dtype=torch.bool),
        "poses": poses[None],
    }
