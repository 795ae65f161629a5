"""The second stage of training: names read off crops (`model/crop_names.py`), above the tower of
the first stage, which stays as it is: `spatial3d train config/train/crops.yaml`.

Features of all crops are computed once and kept below OUT/features; a stopped run goes on from
those that are there.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F

from spatial3d_ros.model.checkpoint import WEIGHTS, model_folder, save_config
from spatial3d_ros.model.config import ModelConfig, load_config
from spatial3d_ros.model.crop_names import CropNames
from spatial3d_ros.model.crops import CROP_SIZE
from spatial3d_ros.model.vision import VisionTower
from spatial3d_ros.research.rooms.view_store import RoomViews, ViewStore
from spatial3d_ros.research.training.eyes import eyes_sample
from spatial3d_ros.research.training.eyes_trainer import EyesRooms
from spatial3d_ros.research.training.validation import VALIDATION_FIRST

log = logging.getLogger(__name__)
SMOOTHING = 0.05
"""Of the true classes."""
_WEIGHTS = {"class": 1.0, "color": 0.5, "material": 0.5}
_WEIGHT = 0.3  # of the loss of the other heads
_LEAST_VIEWS = 3  # of a room in which an object is seen
_SIZES, _SCALE = 0.06, 0.06  # sigma of the log of each side, and of all together
_SHARD = 50  # rooms in a file of features
_WEIGHT_DECAY = 0.02

Features = Mapping[str, Tensor]
"""Of n crops: `features` (n, P, C) and `mask` (n, side, side), float16; `box` (n, 6); `item` (n,)
number of the object that each shows; `names.HEAD` (n,), -1 unknown."""


class CropsConfig(BaseModel):
    """A run of the stage. passes: how often each room is read, with other views, boxes and light.
    tower: model folder of the first stage.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    stage: Literal["crops"]
    model: str
    tower: str
    out: str
    seed: int = 0
    rendered: tuple[EyesRooms, ...]
    passes: int = Field(2, ge=1)
    epochs: int = Field(10, ge=1)
    batch: int = Field(128, ge=1)
    lr: float = Field(2e-3, gt=0.0)
    warmup: int = Field(100, ge=1)
    decay: float = Field(0.8, gt=0.0, le=1.0)
    """Share of the steps, at the end, in which the rate falls to zero."""
    clip: float = 1.0
    validation_rooms: int = Field(24, ge=1)


def train_crops(config: CropsConfig) -> Path:
    """Run all epochs; returns the folder of the tower with `crop_names`: `config.yaml` and weights
    with the names of a `SpatialModel`.
    """
    torch.manual_seed(config.seed)
    model, out = load_config(config.model), Path(config.out)
    tensors = {n: t.float() for n, t in load_file(model_folder(config.tower) / WEIGHTS).items()}
    tower = VisionTower(model.vision).eval()
    tower.load_state_dict(
        {n.removeprefix("vision."): t for n, t in tensors.items() if n.startswith("vision.")}
    )
    rooms = config.rendered[0]
    held_out = ViewStore(
        Path(rooms.folder), config.validation_rooms, rooms.views, VALIDATION_FIRST, rooms.size,
        rooms.catalog,
    )  # fmt: skip
    asked = _joined(list(_shards(out / "features" / "held_out", held_out, None, tower, model)))
    given = _joined(list(_training_features(config, tower, model)))
    names = CropNames(model.vision.width, model.names)
    log.info("%d crops of %d objects", len(given["item"]), int(given["item"].max()) + 1)
    optimizer = torch.optim.AdamW(names.parameters(), config.lr, weight_decay=_WEIGHT_DECAY)
    for epoch in range(1, config.epochs + 1):
        loss = _epoch(names, optimizer, given, config, epoch)
        scores = accuracy(names, asked)
        log.info("epoch %d: loss %.3f, %s", epoch, loss, scores)
        (out / f"validation_{epoch:02d}.json").write_text(json.dumps(scores, indent=2))
    folder = out / "model"
    folder.mkdir(exist_ok=True)
    save_config(folder, model)
    tensors |= {f"crop_names.{n}": t for n, t in names.state_dict().items()}
    save_file({n: t.half().contiguous() for n, t in tensors.items()}, folder / WEIGHTS)
    return folder


def _training_features(
    config: CropsConfig, tower: VisionTower, model: ModelConfig
) -> Iterator[Features]:
    for rooms in config.rendered:
        store = ViewStore(
            Path(rooms.folder), rooms.rooms, rooms.views, rooms.first, rooms.size, rooms.catalog
        )
        for again in range(config.passes):
            folder = Path(config.out) / "features" / f"{rooms.catalog}_{rooms.first}_{again}"
            yield from _shards(folder, store, (config.seed, again), tower, model)


def _shards(
    folder: Path,
    store: ViewStore,
    seed: tuple[int, int] | None,
    tower: VisionTower,
    model: ModelConfig,
) -> Iterator[Features]:
    """The features of rooms, `_SHARD` in a file. seed: of views, boxes and light; None: all views
    as they are.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for first in range(0, len(store), _SHARD):
        path = folder / f"{first:06d}.safetensors"
        if not path.is_file():
            numbers = range(first, min(first + _SHARD, len(store)))
            rngs = (
                None if seed is None else np.random.default_rng((*seed, k, 43)) for k in numbers
            )
            made = [
                crop_features(store[k], tower, model, rng)
                for k, rng in zip(numbers, rngs, strict=True)
            ]
            part = path.with_suffix(".part")
            save_file(dict(_joined(made)), part)
            part.replace(path)
        yield load_file(path)


@torch.inference_mode()
def crop_features(
    room: RoomViews, tower: VisionTower, config: ModelConfig, rng: np.random.Generator | None
) -> Features:
    """The crops of a room's objects in some of its views."""
    views = len(room.rgb)
    if rng is not None:
        views = int(rng.integers(min(_LEAST_VIEWS, views), views + 1))
    sample = eyes_sample([room], config, views, rng, most=len(room.room.objects))
    crops, count = sample.crops[sample.crop_valid], sample.crop_valid.sum(1)
    side = CROP_SIZE // config.vision.patch_size
    found = {
        "features": tower(crops[:, :3]).half(),
        "mask": F.adaptive_avg_pool2d(crops[:, 3:], side)[:, 0].half(),
        "box": sample.boxes.repeat_interleave(count, 0),
        "item": torch.arange(len(count)).repeat_interleave(count),
    }
    names = {f"names.{h}": ids.repeat_interleave(count) for h, ids in sample.names.items()}
    return {name: value.contiguous() for name, value in (found | names).items()}


def _joined(parts: Sequence[Features]) -> Features:
    """All crops of some features; items are numbered on."""
    first, items = 0, []
    for part in parts:
        items.append(part["item"] + first)
        first += int(part["item"].max()) + 1 if len(part["item"]) else 0
    joined = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    return joined | {"item": torch.cat(items)}


def _logits(names: CropNames, given: Features, rows: Tensor) -> dict[str, Tensor]:
    """Logits by head (n, W) of single crops."""
    encoded = names.encoder(given["features"][rows].float(), given["mask"][rows].float())
    box = given["box"][rows]
    if names.training:
        box = box.clone()
        noise = torch.randn(len(box), 3) * _SIZES + torch.randn(len(box), 1) * _SCALE
        box[:, 3:] *= noise.exp()
    seen = torch.ones(1, len(rows), 1, dtype=torch.bool)
    logits = names.logits(encoded[None, :, None], seen, box[None])
    return {head: value[0] for head, value in logits.items()}


def _epoch(
    names: CropNames,
    optimizer: torch.optim.Optimizer,
    given: Features,
    config: CropsConfig,
    epoch: int,
) -> float:
    """One pass over all crops in a random order; returns the mean loss."""
    rng = torch.Generator().manual_seed(config.seed * 1000 + epoch)
    batches = torch.randperm(len(given["item"]), generator=rng).split(config.batch)
    total, steps = 0.0, config.epochs * len(batches)
    names.train()
    for k, rows in enumerate(batches, start=(epoch - 1) * len(batches)):
        rate = min(1.0, (k + 1) / config.warmup, (steps - k) / (config.decay * steps))
        for group in optimizer.param_groups:
            group["lr"] = config.lr * rate
        loss = torch.stack(
            [_loss(h, z, given[f"names.{h}"][rows]) for h, z in _logits(names, given, rows).items()]
        ).sum()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(names.parameters(), config.clip)
        optimizer.step()
        total += float(loss.detach())
    return total / len(batches)


def _loss(head: str, logits: Tensor, names: Tensor) -> Tensor:
    if not (names >= 0).any():
        return logits.sum() * 0.0
    smoothing = SMOOTHING if head == "class" else 0.0
    loss = F.cross_entropy(logits, names, ignore_index=-1, label_smoothing=smoothing)
    return _WEIGHTS.get(head, _WEIGHT) * loss


@torch.inference_mode()
def accuracy(names: CropNames, given: Features) -> dict[str, float]:
    """Share of objects named right, by head, from the mean over their crops."""
    names.eval()
    item, right = given["item"], {}
    count = torch.bincount(item)
    parts = [_logits(names, given, rows) for rows in torch.arange(len(item)).split(256)]
    first = torch.full_like(count, len(item)).scatter_reduce(
        0, item, torch.arange(len(item)), "amin"
    )
    for head in parts[0]:
        logits = torch.cat([part[head] for part in parts])
        mean = torch.zeros(len(count), logits.shape[1]).index_add_(0, item, logits)
        true = given[f"names.{head}"][first]
        hits = (mean.argmax(-1) == true)[true >= 0]
        right[head] = round(float(hits.float().mean()), 4) if len(hits) else float("nan")
    return right
