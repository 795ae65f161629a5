"""Loads the recogniser of a folder; see `recogniser` for what a folder contains."""

from __future__ import annotations

from pathlib import Path

from spatial3d_ros.errors import CheckpointError
from spatial3d_ros.recognition.folders import CONFIG
from spatial3d_ros.recognition.model_file import FileRecogniser
from spatial3d_ros.recognition.recogniser import HINT, SPEC, Recogniser


def load_recogniser(folder: str | Path, device: str = "auto", min_score: float = 0.3) -> Recogniser:
    """The recogniser of a folder.

    Args:
        folder: see `recogniser`.
        device: auto, cpu, cuda, ... for `transformers` models; files run on the CPU.
        min_score: detections with a lower score are dropped, unless recogniser.yaml has its own
            threshold.

    Raises:
        CheckpointError: names the folder or file and how to fill it.
        ConfigError: an invalid recogniser.yaml, a missing runtime, or no such device.
    """
    folder = Path(folder).expanduser()
    if (folder / SPEC).is_file():
        return FileRecogniser.load(folder / SPEC, min_score)
    if (folder / CONFIG).is_file():
        from spatial3d_ros.recognition.transformers_models import load_transformers

        return load_transformers(folder, device, min_score)
    raise CheckpointError(f"{folder}: no {SPEC} and no {CONFIG} there; {HINT}")
