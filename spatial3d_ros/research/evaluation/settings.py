"""The configuration of the engine and the version of the weights, saved with every evaluation."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from typing import Any

import torch

from spatial3d_ros.engine import Spatial3D
from spatial3d_ros.errors import ConfigError
from spatial3d_ros.model.checkpoint import model_folder

CHUNK = 2**20


def engine_settings(engine: Spatial3D) -> dict[str, Any]:
    """Every setting of a loaded engine, what `auto` came to (`runs_on`), and which weights."""
    return asdict(engine.config) | {
        "max_bytes": engine.config.max_bytes,
        "min_sightings": engine.config.detection_min_hits,
        "runs_on": engine.stats()["device"],
        "weights_version": weights_version(engine.config.model),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }


def weights_version(model: str) -> str:
    """The first digits of the SHA-256 of a model's tensors; "" if the files are missing."""
    digest = hashlib.sha256()
    try:
        files = sorted(model_folder(model).glob("*.safetensors"))
    except ConfigError:
        files = []
    for file in files:
        with file.open("rb") as opened:
            while chunk := opened.read(CHUNK):
                digest.update(chunk)
    return f"sha256 {digest.hexdigest()[:16]}" if files else ""
