"""Loads the recognisers of folders; see `recogniser` for what a folder contains."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from spatial3d_ros.errors import CheckpointError, RecognitionError
from spatial3d_ros.recognition.model_file import FileRecogniser
from spatial3d_ros.recognition.recogniser import CONFIG, HINT, SPEC, Recogniser, Recognition


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


class CombinedRecognisers:
    """Several recognisers as one: the detections of all, and the class image of one of them."""

    def __init__(self, recognisers: Sequence[Recogniser]) -> None:
        self._recognisers = tuple(recognisers)
        self.labels = tuple(dict.fromkeys(name for one in recognisers for name in one.labels))

    def recognise(self, rgb: np.ndarray, prompts: Sequence[str] = ()) -> Recognition:
        """See `Recogniser`. Raises RecognitionError if two models give a class image."""
        found = [one.recognise(rgb, prompts) for one in self._recognisers]
        classes = [one for one in found if one.class_image is not None]
        if len(classes) > 1:
            raise RecognitionError(
                "two recognisers give a class for every pixel: use one of them, beside models of "
                "boxes"
            )
        detections = tuple(one for each in found for one in each.detections)
        image, labels = (classes[0].class_image, classes[0].labels) if classes else (None, ())
        return Recognition(detections, image, labels)


def load_recognisers(
    folders: Sequence[str | Path], device: str = "auto", min_score: float = 0.3
) -> Recogniser:
    """The recogniser of one folder, or of several as one. Raises CheckpointError or ConfigError."""
    loaded = [*map(partial(load_recogniser, device=device, min_score=min_score), folders)]
    return loaded[0] if len(loaded) == 1 else CombinedRecognisers(loaded)
