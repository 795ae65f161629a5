"""Recognisers from one ONNX or LiteRT file, described by a recogniser.yaml beside it.

    kind: onnx                  # or litert
    file: cocossd.onnx          # may be left out if the folder has only one .onnx or .tflite file
    input: {size: [300, 300], channels: rgb, layout: nhwc, scale: 1.0, mean: 0.0, std: 1.0}
    decode: ssd                 # ssd, yolox: boxes; argmax: a class image
    anchors_file: anchors.npy   # ssd alone: (N, 4) y0, x0, y1, x1 in 0 .. 1
    labels: ["", person, bicycle, car]     # index is the class; "" is ignored
    threshold: 0.4
    crops: halves               # boxes alone: whole (default), or also the two ends of the image
    confusion: {suitcase: {backpack: 0.4}}  # boxes alone: share of a label that is another in truth

The input is (pixel * scale - mean) / std with pixels 0 .. 255; a quantised input of LiteRT is
quantised from that. `fit: stretch` (default) resizes to `size` (height, width); `fit: pad` keeps
the aspect ratio and fills with `pad_value` at the right and bottom. `crops: halves` runs the model
three times, also on the largest squares at both ends of the image: small inputs then see more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from spatial3d_ros.errors import CheckpointError, ConfigError, RecognitionError
from spatial3d_ros.recognition import decoding
from spatial3d_ros.recognition.decoding import Boxes
from spatial3d_ros.recognition.recogniser import HINT, Recognition, usual_name
from spatial3d_ros.scene.label_distribution import ranked
from spatial3d_ros.scene.lifting import Detection2D, pixel_corners
from spatial3d_ros.storage import read_yaml

SUFFIX = {"onnx": ".onnx", "litert": ".tflite"}
MAX_IOU = 0.5  # of two boxes of one class that overlap more the better one stays
MIN_SIDE_PX = 1.0

Run = Callable[[np.ndarray], list[np.ndarray]]
"""A loaded model: float32 input (1, ...) to raw outputs."""

Numbers = float | Annotated[list[float], Field(min_length=3, max_length=3)]
Share = Annotated[float, Field(gt=0, le=1)]
Positive = Annotated[int, Field(gt=0)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class InputSpec(_Strict):
    """How an image becomes the input tensor of the model."""

    size: Annotated[list[Positive], Field(min_length=2, max_length=2)]
    channels: Literal["rgb", "bgr"] = "rgb"
    layout: Literal["nchw", "nhwc"] = "nchw"
    scale: float = 1.0
    mean: Numbers = 0.0
    std: Numbers = 1.0
    fit: Literal["stretch", "pad"] = "stretch"
    pad_value: float = 114.0


class RecogniserSpec(_Strict):
    """The content of recogniser.yaml."""

    kind: Literal["onnx", "litert"]
    task: Literal["boxes", "classes"] | None = None
    file: str = ""
    input: InputSpec
    decode: Literal["ssd", "yolox", "argmax"]
    activation: Literal["sigmoid", "softmax", "none"] = "sigmoid"
    anchors_file: str = ""
    labels: list[str] = Field(default_factory=list)
    labels_file: str = ""
    threshold: Annotated[float, Field(ge=0, le=1)] | None = None
    crops: Literal["whole", "halves"] = "whole"
    confusion: dict[str, dict[str, Share]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _consistent(self) -> RecogniserSpec:
        if bool(self.labels) == bool(self.labels_file):
            raise ValueError("needs labels or labels_file, and not both")
        if bool(self.anchors_file) != (self.decode == "ssd"):
            raise ValueError("anchors_file goes with decode: ssd, and only with it")
        if self.decode == "argmax" and self.crops != "whole":
            raise ValueError("crops: halves goes with boxes")
        if self.decode == "argmax" and self.confusion:
            raise ValueError("confusion goes with boxes")
        for label, others in self.confusion.items():
            if sum(others.values()) > 1:
                raise ValueError(f"confusion.{label}: the shares add up to more than 1")
        if self.task and self.task != ("classes" if self.decode == "argmax" else "boxes"):
            raise ValueError(f"decode: {self.decode} does not give task: {self.task}")
        return self


class FileRecogniser:
    """Runs a model file on images. Not thread-safe."""

    def __init__(
        self,
        spec: RecogniserSpec,
        labels: Sequence[str],
        run: Run,
        anchors: np.ndarray | None = None,
        min_score: float = 0.3,
    ) -> None:
        self.labels = tuple(labels)
        self._spec, self._run, self._anchors = spec, run, anchors
        self._min_score = min_score if spec.threshold is None else spec.threshold

    @classmethod
    def load(cls, path: str | Path, min_score: float = 0.3) -> FileRecogniser:
        """Loads the model that a recogniser.yaml describes.

        Raises:
            ConfigError: names the file and key, or the missing package.
            CheckpointError: the model file is missing, not the only one, or cannot be loaded.
        """
        path = Path(path)
        spec = _read_spec(path)
        given = spec.labels or _read_labels(path.parent / spec.labels_file)
        labels = [usual_name(label) for label in given]
        model = _model_path(path, spec)
        anchors = _read_anchors(path.parent / spec.anchors_file) if spec.anchors_file else None
        run = _onnx(model) if spec.kind == "onnx" else _litert(model)
        return cls(spec, labels, run, anchors, min_score)

    def recognise(self, rgb: np.ndarray, prompts: Sequence[str] = ()) -> Recognition:
        """Recognises objects in an image (H, W, 3) uint8 RGB; see `Recogniser`."""
        if self._spec.decode == "argmax":
            tensor, used = _input_tensor(rgb, self._spec.input)
            image = self._class_image(self._run(tensor), used, rgb.shape[:2])
            return Recognition((), image, self.labels)
        height, width = rgb.shape[:2]
        parts = [self._boxes_of(rgb, *part) for part in _crops(width, height, self._spec.crops)]
        columns = (np.concatenate(column) for column in zip(*parts, strict=True))
        boxes = decoding.suppress(decoding.sorted_by_score(Boxes(*columns)), MAX_IOU)
        corners = boxes.corners * (width, height, width, height)
        found = [
            self._detection(box, self.labels[k], float(score))
            for box, k, score in zip(corners, boxes.classes, boxes.scores, strict=True)
            if (box[2:] - box[:2] >= MIN_SIDE_PX).all()
        ]
        return Recognition(tuple(found), None, self.labels)

    def _detection(self, box: np.ndarray, label: str, score: float) -> Detection2D:
        """With the labels that this one is in truth at times, the likeliest first."""
        mistaken = self._spec.confusion.get(label, {})
        own = {label: 1 - sum(mistaken.values())}
        (first, share), *others = ranked((name, score * p) for name, p in (own | mistaken).items())
        return Detection2D(pixel_corners(box), first, share, others=tuple(others))

    def _boxes_of(self, rgb: np.ndarray, left: int, top: int, side: tuple[int, int]) -> Boxes:
        """Boxes in a part of an image, its corners in 0 .. 1 of the whole image."""
        height, width = rgb.shape[:2]
        part = rgb[top : top + side[1], left : left + side[0]]
        tensor, used = _input_tensor(part, self._spec.input)
        boxes = self._boxes(self._run(tensor))
        corners = np.clip(boxes.corners / (used * 2), 0, 1) * (side * 2) + (left, top) * 2
        return boxes._replace(corners=corners / ((width, height) * 2))

    def _boxes(self, outputs: Sequence[np.ndarray]) -> Boxes:
        labels, score = self.labels, self._min_score
        if self._anchors is None:
            height, width = self._spec.input.size
            return decoding.decode_yolox(outputs, (height, width), labels, score)
        return decoding.decode_ssd(outputs, self._anchors, labels, self._spec.activation, score)

    def _class_image(
        self, outputs: Sequence[np.ndarray], used: tuple[float, float], size: tuple[int, ...]
    ) -> np.ndarray:
        image = decoding.decode_argmax(outputs, len(self.labels))
        rows, columns = (max(1, round(n * s)) for n, s in zip(image.shape, used[::-1], strict=True))
        image = image[:rows, :columns]
        return cv2.resize(image, (size[1], size[0]), interpolation=cv2.INTER_NEAREST_EXACT)


def _crops(width: int, height: int, crops: str) -> list[tuple[int, int, tuple[int, int]]]:
    """(left, top, (width, height)) of the parts of an image on which the model runs."""
    whole = (0, 0, (width, height))
    side = min(width, height)
    if crops == "whole" or width == height:
        return [whole]
    return [whole, (0, 0, (side, side)), (width - side, height - side, (side, side))]


def _input_tensor(rgb: np.ndarray, spec: InputSpec) -> tuple[np.ndarray, tuple[float, float]]:
    """The input (1, ...) float32, and the share of its width and height that the image covers."""
    height, width = spec.size
    used = (1.0, 1.0)
    if spec.fit == "pad":
        ratio = min(height / rgb.shape[0], width / rgb.shape[1])
        rows, columns = (max(1, round(n * ratio)) for n in rgb.shape[:2])
        pixels = np.full((height, width, 3), spec.pad_value, np.float32)
        pixels[:rows, :columns] = cv2.resize(rgb, (columns, rows))
        used = (columns / width, rows / height)
    else:
        pixels = cv2.resize(rgb, (width, height)).astype(np.float32)
    if spec.channels == "bgr":
        pixels = pixels[..., ::-1]
    tensor = (pixels * spec.scale - np.asarray(spec.mean)) / np.asarray(spec.std)
    if spec.layout == "nchw":
        tensor = tensor.transpose(2, 0, 1)
    return np.ascontiguousarray(tensor[None], np.float32), used


def _read_spec(path: Path) -> RecogniserSpec:
    try:
        return RecogniserSpec.model_validate(read_yaml(path))
    except ValidationError as error:
        found = error.errors()[0]
        key = ".".join(map(str, found["loc"]))
        raise ConfigError(f"{path}: {key + ': ' if key else ''}{found['msg']}") from error


def _read_labels(path: Path) -> list[str]:
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: labels_file cannot be read ({error})") from error


def _read_anchors(path: Path) -> np.ndarray:
    try:
        anchors = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise CheckpointError(f"{path}: anchors_file cannot be read ({error})") from error
    if anchors.ndim not in (2, 3) or anchors.shape[-1] != 4 or not np.isfinite(anchors).all():
        raise CheckpointError(f"{path}: anchors_file must be (N, 4) finite, is {anchors.shape}")
    return np.asarray(anchors).reshape(-1, 4)


def _model_path(path: Path, spec: RecogniserSpec) -> Path:
    """The model file: `file`, or the only one of its kind in the folder."""
    if spec.file:
        model = path.parent / spec.file
        if model.is_file():
            return model
        raise CheckpointError(f"{model}: no such file; correct `file` in {path.name}")
    models = sorted(path.parent.glob(f"*{SUFFIX[spec.kind]}"))
    if len(models) != 1:
        names = ", ".join(model.name for model in models) or "none"
        raise CheckpointError(
            f"{path.parent}: needs one *{SUFFIX[spec.kind]} file, has {names}; name one as `file` "
            f"in {path.name}; {HINT}"
        )
    return models[0]


def _onnx(path: Path) -> Run:
    """Runs an ONNX file on the CPU with one thread, so that the camera keeps its own."""
    runtime = _runtime("onnxruntime", "onnx")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    try:
        session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise CheckpointError(f"{path}: onnxruntime cannot load it ({_first(error)})") from error
    name = session.get_inputs()[0].name

    def run(tensor: np.ndarray) -> list[np.ndarray]:
        try:
            return [np.asarray(output) for output in session.run(None, {name: tensor})]
        except Exception as error:
            raise RecognitionError(
                f"{path}: {_first(error)}; check input in recogniser.yaml"
            ) from error

    return run


def _litert(path: Path) -> Run:
    """Runs a LiteRT (TensorFlow Lite) file on the CPU; quantises the input if the model asks."""
    try:
        interpreter = _runtime("ai_edge_litert.interpreter", "litert").Interpreter(
            str(path), num_threads=1
        )
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise CheckpointError(f"{path}: LiteRT cannot load it ({_first(error)})") from error
    (details, *_), outputs = interpreter.get_input_details(), interpreter.get_output_details()

    def run(tensor: np.ndarray) -> list[np.ndarray]:
        if tensor.shape != tuple(details["shape"]):
            raise RecognitionError(
                f"{path}: the model takes {tuple(details['shape'])}, input gives {tensor.shape}; "
                "correct input.size or layout"
            )
        interpreter.set_tensor(details["index"], _quantised(tensor, details))
        interpreter.invoke()
        return [np.asarray(interpreter.get_tensor(output["index"])) for output in outputs]

    return run


def _quantised(tensor: np.ndarray, details: dict[str, Any]) -> np.ndarray:
    dtype = np.dtype(details["dtype"])
    if dtype.kind == "f":
        return tensor.astype(dtype)
    scale, zero = details["quantization"]
    limits = np.iinfo(dtype)
    values = tensor / scale + zero if scale else tensor
    return np.clip(np.round(values), limits.min, limits.max).astype(dtype)


def _runtime(module: str, extra: str) -> Any:
    from importlib import import_module

    try:
        return import_module(module)
    except ImportError as error:
        raise ConfigError(
            f"{module.partition('.')[0]} is not installed: pip install 'spatial3d_ros[{extra}]'"
        ) from error


def _first(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
