"""Settings of a small training run on generated scans."""

from __future__ import annotations

from pathlib import Path

import torch
import yaml

from helpers.small_model import small_config, small_model, small_tokenizer
from spatial3d_ros.model.checkpoint import save_model
from spatial3d_ros.research.training.config import TrainConfig

GUIDED = {
    "se": {"heads": 2}, "mpe": {"ray_hidden": 8}, "category_mode": "generate",
    "sg": {"enabled": True, "width": 16, "layers": 2, "heads": 2},
}  # fmt: skip


def annotation_files(folder: Path, split: str) -> dict[str, object]:
    sqa = folder / f"sqa3d/v1_balanced_{{}}_{split}_scannetv2.json"
    described = str(folder / f"scanrefer/ScanRefer_filtered_{split}.json")
    return {
        "scanrefer": described,
        "referit3d": [str(folder / f"referit3d/nr3d_{split}.csv")],
        "multi3drefer": str(folder / f"multi3drefer/multi3drefer_{split}.json"),
        "scanqa": str(folder / f"scanqa/ScanQA_v1.0_{split}.json"),
        "sqa3d": [str(sqa).format("questions"), str(sqa).format("sqa_annotations")],
        "scan2cap": described,
    }


def scan_settings(scannet: Path, tmp_path: Path, **changes: object) -> TrainConfig:
    model = small_config(s2=GUIDED)
    (tmp_path / "model.yaml").write_text(yaml.safe_dump(model.model_dump(mode="json")))
    start = tmp_path / "start"  # spares the time in which a tokenizer is trained
    if not start.exists():
        save_model(start, small_model()[0], small_tokenizer(), torch.float32)
    scans = {
        "folder": str(scannet / "scans"), "batch": 2, "views": 3, "questions": 3,
        "train": annotation_files(scannet, "train"), "held_out": annotation_files(scannet, "val"),
    }  # fmt: skip
    values = {
        "model": str(tmp_path / "model.yaml"), "init": str(start), "out": str(tmp_path / "out"),
        "steps": 2,
        "lr": 1e-3, "warmup": 1, "log_every": 1, "save_every": 2, "evaluate_every": 2,
        "workers": 0, "precision": "no",
        "validation": {"rooms": 1, "questions": 2},
        "rendered": {"batch": 0}, "boxes": {"batch": 0},
    }  # fmt: skip
    return TrainConfig(**(values | {"scans": scans | changes.pop("scans", {})} | changes))  # type: ignore[operator]
