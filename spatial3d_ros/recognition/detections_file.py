"""Detections of a recording in a JSON file, by frame (docs/INTERFACES.md, section 7)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from spatial3d_ros.bags.bag import Bag, stamp_ns
from spatial3d_ros.bags.frame_names import frames_json, read_frame_names
from spatial3d_ros.errors import ConfigError, FrameError
from spatial3d_ros.scene.label_distribution import ranked
from spatial3d_ros.scene.lifting import Detection2D, pixel_corners
from spatial3d_ros.sensors.detection_reader import clean_label

SHOWN = 3  # frames that an error names

Finite = Annotated[float, Field(allow_inf_nan=False)]
Polygon = Annotated[list[Finite], Field(min_length=6)]
"""Corners x0, y0, x1, y1, ... in pixels, as in COCO."""


class _Mask(BaseModel):
    """Run lengths as in COCO: pixels by column, alternately outside and inside, in `size` H, W."""

    size: Annotated[list[int], Field(min_length=2, max_length=2)]
    counts: list[Annotated[int, Field(ge=0)]] | str

    def decoded(self) -> np.ndarray:
        """The mask (H, W) bool. Raises FrameError if the runs do not fill it."""
        height, width = self.size
        counts = self.counts if isinstance(self.counts, list) else _unpacked(self.counts)
        if sum(counts) != height * width:
            raise FrameError(f"mask: runs of {sum(counts)} pixels do not fill {width} x {height}")
        inside = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
        return np.asarray(inside.reshape(width, height).T)


class _Detection(BaseModel):
    label: str = ""
    score: Annotated[float, Field(ge=0, le=1)] = 1.0
    others: dict[str, Annotated[float, Field(gt=0, le=1)]] = Field(default_factory=dict)
    box: Annotated[list[Finite], Field(min_length=4, max_length=4)]
    mask: _Mask | list[Polygon] | None = None

    @field_validator("box")
    @classmethod
    def _has_size(cls, box: list[float]) -> list[float]:
        if box[0] >= box[2] or box[1] >= box[3]:
            raise ValueError(f"x0 y0 x1 y1 {box} has no size")
        return box


class _Frame(BaseModel):
    frame: str = ""
    stamp_ns: int | None = None
    detections: list[_Detection]

    @model_validator(mode="after")
    def _named(self) -> _Frame:
        if bool(self.frame) == (self.stamp_ns is not None):
            raise ValueError("needs frame or stamp_ns, and not both")
        return self


class _File(BaseModel):
    frames: list[_Frame]


def read_detections(
    path: Path, bag: Path, color_topic: str, size: tuple[int, int]
) -> dict[int, tuple[Detection2D, ...]]:
    """The detections by the stamp of their frame; boxes are pixels of the images as recorded, of
    `size` height and width.

    Raises:
        ConfigError: names file and field, or the frames that the bag does not have.
        BagError: the names of the bag's frames cannot be read.
    """
    try:
        data = _File.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    except ValidationError as error:
        found = error.errors()[0]
        key = ".".join(map(str, found["loc"]))
        raise ConfigError(f"{path}: {key + ': ' if key else ''}{found['msg']}") from error
    stamps = _stamps_of(path, data.frames, bag, color_topic)
    result: dict[int, tuple[Detection2D, ...]] = {}
    for k, (stamp, entry) in enumerate(zip(stamps, data.frames, strict=True)):
        try:
            found_here = tuple(_detection(one, size) for one in entry.detections)
        except (FrameError, ValueError) as error:
            raise ConfigError(f"{path}: frames.{k}: {error}") from error
        result[stamp] = result.get(stamp, ()) + found_here
    return result


def _detection(one: _Detection, size: tuple[int, int]) -> Detection2D:
    mask = one.mask.decoded() if isinstance(one.mask, _Mask) else None
    if isinstance(one.mask, list):
        mask = _filled(one.mask, size)
    others = ranked((clean_label(label), share) for label, share in one.others.items())
    return Detection2D(pixel_corners(one.box), clean_label(one.label), one.score, mask, others)


def _filled(polygons: list[list[float]], size: tuple[int, int]) -> np.ndarray:
    """The mask (H, W) bool of the pixels inside of polygons. Raises FrameError for an odd count."""
    image = np.zeros(size, np.uint8)
    for polygon in polygons:
        if len(polygon) % 2:
            raise FrameError(f"mask: a polygon of {len(polygon)} numbers; give x and y of corners")
        cv2.fillPoly(image, [np.round(polygon).astype(np.int32).reshape(-1, 2)], 1)
    return image.astype(bool)


def _stamps_of(path: Path, entries: list[_Frame], bag: Path, color_topic: str) -> list[int]:
    names = read_frame_names(bag)
    known = set(names.values())
    if any(entry.stamp_ns is not None and entry.stamp_ns not in known for entry in entries):
        with Bag(bag) as opened:
            known |= {stamp_ns(message) for _, message in opened.messages(color_topic)}
    missing = [
        entry.frame or str(entry.stamp_ns)
        for entry in entries
        if (entry.frame not in names if entry.frame else entry.stamp_ns not in known)
    ]
    if missing:
        shown = ", ".join(map(repr, missing[:SHOWN])) + ", ..." * (len(missing) > SHOWN)
        file = frames_json(bag)
        if not names:
            way_out = (
                f"there is no {file}: convert the folder again, or give stamp_ns of the frames"
            )
        else:
            way_out = f"{file} has {', '.join(map(repr, list(names)[:SHOWN]))}, ..."
        raise ConfigError(f"{path}: {bag} has no frame {shown}; {way_out}")
    return [names[entry.frame] if entry.frame else int(entry.stamp_ns or 0) for entry in entries]


def _unpacked(text: str) -> list[int]:
    """Run lengths of COCO's text: 5 bits a letter, lowest first; from the fourth on, differences
    to the one before the last. Raises FrameError.
    """
    counts: list[int] = []
    value = shift = 0
    for letter in text:
        bits = ord(letter) - 48
        if not 0 <= bits < 64:
            raise FrameError(f"mask: counts has the letter {letter!r}")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value = shift = 0
    if min(counts, default=0) < 0:
        raise FrameError("mask: counts holds a negative run")
    return counts
