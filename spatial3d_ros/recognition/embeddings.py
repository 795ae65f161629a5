"""Image-text embeddings (CLIP, SigLIP) from a local folder: any noun against crops of objects."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from spatial3d_ros.errors import RecognitionError
from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.geometry.camera import project
from spatial3d_ros.geometry.pose import invert, transform
from spatial3d_ros.recognition.folders import LOCAL, load_folder, on_device
from spatial3d_ros.scene.detection_tracking import Detection3D
from spatial3d_ros.scene.frame import Frame
from spatial3d_ros.scene.objects import SceneObject

KINDS = ("clip", "siglip", "siglip2")
HINT = (
    "on a computer that is online: spatial3d download siglip_base, then give its folder as "
    "--embeddings"
)
PROMPT = "a photo of a {}"
CONTRASTS = ("room", "wall", "floor", "piece of furniture", "thing")
"""What a noun has to beat: a crop that shows none of the nouns must look like one of these."""

CROPS = 2  # of an object, from the views that show most of it
MARGIN = 0.1  # of the sides of a box in the image
MIN_CROP_PX = 12
MIN_PROBABILITY = 0.5
_NEAR_M = 0.1  # corners nearer to the camera plane make no crop


class ImageTextEmbeddings:
    """A model with two towers. Not thread-safe."""

    def __init__(self, model: Any, images: Any, tokenizer: Any, device: str = "auto") -> None:
        self._model, self.device = on_device(model, device)
        self._images, self._tokenizer = images, tokenizer
        self._texts: dict[str, Tensor] = {}

    @classmethod
    def load(cls, folder: str | Path, device: str = "auto") -> ImageTextEmbeddings:
        """Loads a folder with config.json, safetensors, preprocessor_config.json and a tokenizer.

        Raises CheckpointError, which names the folder and how to fill it, or ConfigError.
        """
        import transformers

        def read(folder: Path) -> ImageTextEmbeddings:
            loaded: Any = transformers.AutoModel.from_pretrained(
                folder, use_safetensors=True, dtype=torch.float32, output_loading_info=True, **LOCAL
            )
            model, report = loaded
            if missing := sorted(report["missing_keys"]):  # they would stay random
                raise ValueError(f"{len(missing)} weights are missing, for example {missing[0]}")
            images = transformers.AutoImageProcessor.from_pretrained(folder, **LOCAL)
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **LOCAL)
            return cls(model, images, tokenizer, device)

        return load_folder(folder, KINDS, HINT, read)

    @torch.inference_mode()
    def probabilities(self, crops: Sequence[np.ndarray], nouns: Sequence[str]) -> np.ndarray:
        """(crops, nouns): probability 0 .. 1 of each noun for each crop (H, W, 3) uint8 RGB,
        against `CONTRASTS`; nouns do not compete with one another.

        Raises RecognitionError if the model gives values that are not finite.
        """
        if not crops or not nouns:
            return np.zeros((len(crops), len(nouns)))
        inputs = self._images(images=list(crops), return_tensors="pt").to(self.device)
        images = _unit(self._model.get_image_features(**inputs))
        texts = torch.stack([self._text(noun) for noun in (*nouns, *CONTRASTS)])
        logits = (images @ texts.T) * self._model.logit_scale.exp()
        if not torch.isfinite(logits).all():
            raise RecognitionError("the embeddings are not finite; is the folder complete?")
        known, others = logits[:, : len(nouns)], logits[:, len(nouns) :]
        rest = others.logsumexp(1, keepdim=True)
        return np.asarray(torch.sigmoid(known - rest).cpu().numpy())

    def _text(self, noun: str) -> Tensor:
        if noun not in self._texts:
            tokens = self._tokenizer(
                [PROMPT.format(noun)], padding="max_length", truncation=True, return_tensors="pt"
            ).to(self.device)
            self._texts[noun] = _unit(self._model.get_text_features(**tokens))[0]
        return self._texts[noun]


def _unit(output: Any) -> Tensor:
    """Features (n, d) of length 1; newer versions of `transformers` return them in an output."""
    features: Tensor = output if isinstance(output, Tensor) else output.pooler_output
    return features / features.norm(dim=-1, keepdim=True)


def object_crops(box: Box3D, frames: Sequence[Frame]) -> list[np.ndarray]:
    """The parts of the images (H, W, 3) that show a box of the world, at most `CROPS`, from the
    views in which most of its hull lies, largest first.
    """
    found = []
    for frame in frames:
        corners = transform(invert(frame.world_T_camera), box.corners())
        if corners[:, 2].min() < _NEAR_M:
            continue
        uv, _ = project(corners, frame.camera)
        low, high = uv.min(0), uv.max(0)
        low, high = low - MARGIN * (high - low), high + MARGIN * (high - low)
        size = np.array([frame.camera.width, frame.camera.height])
        left, top = np.clip(low, 0, size).astype(int)
        right, bottom = np.ceil(np.clip(high, 0, size)).astype(int)
        if min(right - left, bottom - top) < MIN_CROP_PX:
            continue
        area = float((right - left) * (bottom - top))
        inside = area / float(np.prod(high - low))
        found.append((area * inside**2, frame.rgb[top:bottom, left:right]))
    best = sorted(found, key=lambda pair: -pair[0])[:CROPS]
    return [crop for _, crop in best]


def open_word_detections(
    objects: Sequence[SceneObject],
    frames: Sequence[Frame],
    nouns: Sequence[str],
    embeddings: ImageTextEmbeddings,
) -> list[Detection3D]:
    """Objects that look like a noun, as detections with that label and its probability.

    An object gets the most probable noun from `MIN_PROBABILITY` on, in the mean over its crops.
    """
    found = []
    for item in objects:
        crops = object_crops(item.box, frames)
        if not crops or not nouns:
            continue
        mean = embeddings.probabilities(crops, nouns).mean(0)
        best = int(mean.argmax())
        if mean[best] >= MIN_PROBABILITY:
            found.append(
                Detection3D(
                    item.box,
                    nouns[best],
                    float(mean[best]),
                    frames[-1].stamp_ns,
                    item.points,
                    item.rgb,
                )
            )
    return found
