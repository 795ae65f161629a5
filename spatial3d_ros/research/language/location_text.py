"""Location text (METHODS 3.3): `<box>cx, cy, cz, dx, dy, dz</box>` and `<pt>x, y, z</pt>`.

Metres in the scene frame: axes of the map, moved so that the origin is the middle of the scene's
floor. Numbers have two decimals, or are location tokens `<LOC000>` to `<LOC999>`: steps of 2 cm
over [-10, 10) m.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from spatial3d_ros.errors import LocationError
from spatial3d_ros.geometry.box import Box3D, vector
from spatial3d_ros.model.tokens import LOCATION_BINS, LOCATION_MARKS

Format = Literal["text", "tokens"]
Point = tuple[float, float, float]

REACH = 10.0
STEP = 2 * REACH / LOCATION_BINS

_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)", re.ASCII)
_TOKEN = re.compile(r"<LOC([0-9]{3})>")
_LOCATION = re.compile(r"<(box|pt)>(.*?)</\1>", re.DOTALL)
_COUNT = {"box": 6, "pt": 3}


@dataclass(frozen=True)
class LocationCodec:
    """Formats and parses the boxes and points of one scene.

    `origin` (3,) metres, map frame: the middle of the floor of the scene; it is subtracted on
    writing and added on reading. `format` is the written one; both are read.
    """

    origin: Point = (0.0, 0.0, 0.0)
    format: Format = "text"

    def box(self, box: Box3D) -> str:
        """Text of an upright box in the map frame.

        Raises:
            LocationError: the yaw is no multiple of 90 degrees, or a coordinate lies outside of the
                range of the location tokens.
        """
        if abs(math.remainder(box.yaw, math.pi / 2)) > 1e-6:
            raise LocationError(f"box: turned by {box.yaw:.3g} rad; the text has no yaw")
        size = box.size if abs(math.cos(box.yaw)) > 0.5 else (box.size[1], box.size[0], box.size[2])
        return f"<box>{self._write((*self._local(box.center), *size))}</box>"

    def point(self, point: Point) -> str:
        """Text of a point (3,) in the map frame. Raises LocationError as `box` does."""
        return f"<pt>{self._write(self._local(point))}</pt>"

    def read_box(self, text: str) -> Box3D:
        """The only box in a text, map frame. Raises LocationError that names the fault."""
        return _only(self.read(text), Box3D, text)

    def read_point(self, text: str) -> Point:
        """The only point in a text, map frame. Raises LocationError that names the fault."""
        return _only(self.read(text), tuple, text)

    def read(self, text: str) -> list[Box3D | Point]:
        """All boxes and points in a text, in order. Raises LocationError for an incomplete one."""
        found = [self._parse(kind, inside) for kind, inside in _LOCATION.findall(text)]
        rest = _LOCATION.sub("", text)
        stray = next((mark for mark in LOCATION_MARKS if mark in rest), None)
        if stray is not None:
            raise LocationError(f"{stray}: unpaired in '{_short(text)}'")
        return found

    def _parse(self, kind: str, inside: str) -> Box3D | Point:
        values = _numbers(kind, inside)
        if len(values) != _COUNT[kind]:
            raise LocationError(
                f"<{kind}>: {len(values)} numbers in '{_short(inside)}', expected {_COUNT[kind]}"
            )
        if kind == "box" and min(values[3:]) < 0:
            raise LocationError(f"<box>: negative size in '{_short(inside)}'")
        x, y, z = (v + shift for v, shift in zip(values[:3], self.origin, strict=True))
        return (x, y, z) if kind == "pt" else Box3D((x, y, z), vector(values[3:]))

    def _local(self, point: Point) -> Point:
        x, y, z = (v - shift for v, shift in zip(point, self.origin, strict=True))
        return x, y, z

    def _write(self, values: Sequence[float]) -> str:
        if not all(map(math.isfinite, values)):
            raise LocationError(f"coordinates must be finite, not {values}")
        if self.format == "text":
            return ", ".join(f"{value + 0.0:.2f}".replace("-0.00", "0.00") for value in values)
        if not all(-REACH <= value < REACH for value in values):
            raise LocationError(
                f"{max(values, key=abs):.2f} m: location tokens reach {REACH:.0f} m; "
                "use loc_format text"
            )
        bins = [math.floor((value + REACH) / STEP) for value in values]
        return "".join(f"<LOC{min(one, LOCATION_BINS - 1):03d}>" for one in bins)


Location = TypeVar("Location", Box3D, tuple)


def _only(found: Sequence[Box3D | Point], kind: type[Location], text: str) -> Location:
    wanted = [one for one in found if isinstance(one, kind)]
    if len(wanted) != 1:
        tag = "box" if kind is Box3D else "pt"
        raise LocationError(f"<{tag}>: {len(wanted)} in '{_short(text)}', expected 1")
    return wanted[0]


def _numbers(kind: str, inside: str) -> list[float]:
    tokens = _TOKEN.findall(inside)
    if tokens and not _TOKEN.sub("", inside).strip():
        return [(int(token) + 0.5) * STEP - REACH for token in tokens]
    values = []
    for part in inside.split(","):
        if not _NUMBER.fullmatch(part.strip()):
            raise LocationError(f"<{kind}>: '{_short(part.strip())}' is not a number in metres")
        values.append(float(part))
    if not all(map(math.isfinite, values)):
        raise LocationError(f"<{kind}>: a number in '{_short(inside)}' is not finite")
    return values


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."
