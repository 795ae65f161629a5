"""Reconstruction guidance of S2-MLLM (METHODS 1.9): predict the 3D point of every pixel from the
projected features.

The branch exists in training only. Its gradients train the vision tower, the structure block and
the projector. Targets are float32 metres (the public release mixes millimetre depth with metre
poses, so that all its cameras have almost the same position).
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, Protocol

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from spatial3d_ros.errors import CheckpointError, ConfigError
from spatial3d_ros.model.batch import SceneBatch
from spatial3d_ros.model.checkpoint import read_tensors
from spatial3d_ros.model.config import GuidanceConfig, ModelConfig
from spatial3d_ros.model.position import sinusoid
from spatial3d_ros.model.structure import GroupAttention

GUIDANCE = "guidance.safetensors"


class Pointmap(NamedTuple):
    """points (B, V, h, w, 3) in metres up to one scale per scene, confidence (B, V, h, w) > 0.
    `local`: each view in its own camera's frame, not all in that of view 0.
    """

    points: Tensor
    confidence: Tensor
    local: bool


class PointmapDecoder(Protocol):
    """features (B, V, P, C), view_valid (B, V) -> pointmaps; `OwnDecoder` is one implementation."""

    def __call__(self, features: Tensor, view_valid: Tensor) -> list[Pointmap]: ...


class Reconstruction(nn.Module):
    """Loss of the pointmaps predicted from the projected features of all views, without `weight`.

    forward(projected (B, V, P, D), batch) -> scalar. With `backend: external` the caller passes the
    `decoder` (frozen or not, gradients pass through it). Raises ConfigError without it, or if the
    batch has no camera poses.
    """

    def __init__(self, config: ModelConfig, decoder: PointmapDecoder | None = None) -> None:
        super().__init__()
        sg = config.s2.sg
        self.alpha = sg.alpha
        self.shuffled = sg.targets == "shuffled"
        self.covered = config.vision.grid * config.vision.patch_size
        self.input = nn.Linear(config.text.width, sg.width)
        if sg.backend == "own":
            decoder = OwnDecoder(sg, config.vision.grid, config.vision.patch_size // 2)
        self.decoder = decoder

    def forward(self, projected: Tensor, batch: SceneBatch) -> Tensor:
        if self.decoder is None:
            raise ConfigError("s2.sg.backend: external needs a decoder; pass one, or use own")
        total = projected.new_zeros((), dtype=torch.float32)
        for predicted in self.decoder(self.input(projected), batch.views.view_valid):
            side = predicted.points.shape[2]
            target, valid = pointmap_targets(batch, self.covered, side, predicted.local)
            if self.shuffled:  # of another room, or of a batch of one room of another view
                over = 0 if len(target) > 1 else 1
                target, valid = target.roll(1, over), valid.roll(1, over)
            total = total + pointmap_loss(predicted, target, valid, self.alpha)
        return total


def build_guidance(
    config: ModelConfig, decoder: PointmapDecoder | None = None
) -> Reconstruction | None:
    """The branch that a training run adds to the network; None if `s2.sg.enabled` is false."""
    return Reconstruction(config, decoder) if config.s2.sg.enabled else None


def save_guidance(folder: Path, guidance: Reconstruction) -> None:
    """Write the branch to `folder`/guidance.safetensors, in bfloat16."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {n: v.to(torch.bfloat16).contiguous() for n, v in guidance.state_dict().items()}
    part = folder / f"{GUIDANCE}.part"
    save_file(tensors, part)
    part.replace(folder / GUIDANCE)


def load_guidance(path: Path, guidance: Reconstruction) -> None:
    """Read a branch of the same shapes; its adapters stay. Raises CheckpointError naming the file
    and tensors.
    """
    own = {
        name.replace(".base_layer", ""): value
        for name, value in guidance.state_dict().items()
        if ".lora_" not in name
    }
    found = read_tensors(path)
    wrong = [
        name
        for name in sorted(found.keys() | own.keys())
        if name not in found or name not in own or found[name].shape != own[name].shape
    ]
    if wrong:
        raise CheckpointError(
            f"{path}: {len(wrong)} tensors are missing, unknown or of another shape, such as "
            f"{wrong[0]}; train it with the same `s2.sg` and the same network"
        )
    with torch.no_grad():
        for name, value in own.items():
            value.copy_(found[name])


class OwnDecoder(nn.Module):
    """Pointmap decoder: blocks with attention inside each view and over all views in turn, then a
    linear head that predicts `cells` x `cells` points from every patch token.
    """

    def __init__(self, config: GuidanceConfig, grid: int, cells: int) -> None:
        super().__init__()
        self.grid, self.cells = grid, cells
        self.blocks = nn.ModuleList(
            _Block(config.width, config.heads) for _ in range(config.layers)
        )
        self.norm = nn.LayerNorm(config.width)
        frames = (False, True) if config.local else (False,)
        self.heads = nn.ModuleDict(
            {_NAMES[local]: nn.Linear(config.width, 4 * cells * cells) for local in frames}
        )

    def forward(self, features: Tensor, view_valid: Tensor) -> list[Pointmap]:
        _, views, patches, width = features.shape
        index = torch.arange(max(views, patches), device=features.device)
        code = sinusoid(index, width)
        x = features + code[:patches] + code[:views, None].flip(-1)
        for i, block in enumerate(self.blocks):
            x = block(x, view_valid if i % 2 else None)
        x = self.norm(x)
        return [
            self._pointmap(head(x).float(), name == _NAMES[True])
            for name, head in self.heads.items()
        ]

    def _pointmap(self, values: Tensor, local: bool) -> Pointmap:
        cells, grid = self.cells, self.grid
        maps = values.unflatten(-1, (cells, cells, 4)).unflatten(2, (grid, grid))
        maps = maps.transpose(3, 4).flatten(4, 5).flatten(2, 3)
        raw, log_confidence = maps[..., :3], maps[..., 3]
        radius = raw.norm(dim=-1, keepdim=True)
        # Far points are predicted on a logarithmic scale; expm1(r) / r is 1 at r = 0.
        points = raw * torch.expm1(radius) / radius.clamp(min=1e-6)
        return Pointmap(points, 1 + log_confidence.exp(), local)


_NAMES = {False: "scene", True: "camera"}


class _Block(nn.Module):
    """Pre-norm attention inside each view, or over all tokens of all views, then an MLP."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm, self.norm_mlp = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = GroupAttention(width, heads)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x: Tensor, view_valid: Tensor | None) -> Tensor:
        if view_valid is None:
            mixed = self.attention(self.norm(x).flatten(0, 1), None)
        else:
            keys = view_valid.repeat_interleave(x.shape[2], 1)
            mixed = self.attention(self.norm(x).flatten(1, 2), keys)
        x = x + mixed.view_as(x)
        return x + self.mlp(self.norm_mlp(x))


def pointmap_targets(
    batch: SceneBatch, covered: int, side: int, local: bool
) -> tuple[Tensor, Tensor]:
    """Ground-truth points of a grid of pixels (B, V, side, side, 3) float32 metres, and valid (B,
    V, side, side) bool.

    The grid takes every (covered / side)-th pixel of the area of the patches. The points are in the
    camera frame of view 0, or with `local` in that of each view. Raises ConfigError without poses.
    """
    if batch.poses is None:
        raise ConfigError("s2.sg: the batch has no camera poses; switch guidance off, or give them")
    step = covered // side
    pick = slice(step // 2, covered, step)
    views = batch.views
    points, valid = views.points[:, :, pick, pick].float(), views.valid[:, :, pick, pick]
    pose = batch.poses.float() if local else batch.poses[:, :1].float()
    offset = points - pose[..., None, None, :3, 3]
    target = torch.einsum(
        "bvhwi,bvij->bvhwj", offset, pose[..., :3, :3].expand(*offset.shape[:2], 3, 3)
    )
    return target, valid & views.view_valid[..., None, None]


def pointmap_loss(predicted: Pointmap, target: Tensor, valid: Tensor, alpha: float) -> Tensor:
    """Mean over views of the mean over valid pixels of conf * |X'/n' - X/n| - alpha * log(conf).

    n', n: mean distance from the origin over all valid points of the scene, of prediction and
    target respectively. Views without valid pixels are left out; a batch without any gives 0.
    """
    known = valid.float()

    def scale(points: Tensor) -> Tensor:
        distance = (points.norm(dim=-1) * known).sum((1, 2, 3))
        return (distance / known.sum((1, 2, 3)).clamp(min=1)).clamp(min=1e-6)

    def normalised(points: Tensor) -> Tensor:
        return points / scale(points)[:, None, None, None, None]

    error = (normalised(predicted.points) - normalised(target)).norm(dim=-1)
    loss = predicted.confidence * error - alpha * predicted.confidence.log()
    pixels = known.sum((2, 3))
    per_view = (loss * known).sum((2, 3)) / pixels.clamp(min=1)
    return per_view.sum() / (pixels > 0).sum().clamp(min=1)
