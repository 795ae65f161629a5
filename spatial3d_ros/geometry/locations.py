"""Places as text (METHODS 3.3): `<box>cx, cy, cz, dx, dy, dz</box>` and `<pt>x, y, z</pt>`.

Metres in the scene frame: axes of the map, moved so that the origin is the middle of the scene's
floor. Numbers have two decimals, or are location tokens `<LOC000>` to `<LOC999>`: steps of 2 cm
over [-10, 10) m.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from spatial3d_ros.errors import LocationError
from spatial3d_ros.geometry.box import Box3D

Format = Literal["text", "tokens"]
Point = tuple[float, float, float]

BINS, REACH = 1000, 10.0
STEP = 2 * REACH / BINS
MARKS = ("<box>", "</box>", "<pt>", "</pt>")
LOCATION_TOKENS = (*MARKS, *(f"<LOC{i:03d}>" for i in range(BINS)))

_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)", re.ASCII)
_TOKEN = re.compile(r"<LOC([0-9]{3})>")
_PLACE = re.compile(r"<(box|pt)>(.*?)</\1>", re.DOTALL)
_COUNT = {"box": 6, "pt": 3}


@dataclass(frozen=True)
class SceneFrame:
    """Writes and reads places of one scene. `origin` (m, map frame) is the middle of its floor, and
    is added to what is read; `format` is what is written, both are read.
    """

    origin: Point = (0.0, 0.0, 0.0)
    format: Format = "text"

    def box(self, box: Box3D) -> str:
        """An upright box of the map. Raises LocationError for one that is turned, and for tokens
        where it reaches farther than they do.
        """
        if abs(math.remainder(box.yaw, math.pi / 2)) > 1e-6:
            raise LocationError(f"box: turned by {box.yaw:.3g} rad; text has no place for that")
        size = box.size if abs(math.cos(box.yaw)) > 0.5 else (box.size[1], box.size[0], box.size[2])
        return f"<box>{self._write((*self._local(box.center), *size))}</box>"

    def point(self, point: Point) -> str:
        """A point of the map. Raises LocationError as `box` does."""
        return f"<pt>{self._write(self._local(point))}</pt>"

    def read_box(self, text: str) -> Box3D:
        """The one box of a text, in the map. Raises LocationError saying what is wrong with it."""
        return self._only("box", text)

    def read_point(self, text: str) -> Point:
        """The one point of a text, in the map. Raises LocationError saying what is wrong."""
        return self._only("pt", text)

    def read(self, text: str) -> list[Box3D | Point]:
        """All places of a text in their order. Raises LocationError for any that is not whole."""
        found = [self._place(kind, inside) for kind, inside in _PLACE.findall(text)]
        rest = _PLACE.sub("", text)
        stray = next((mark for mark in MARKS if mark in rest), None)
        if stray is not None:
            raise LocationError(f"{stray}: without its partner in '{_short(text)}'")
        return found

    def _only(self, kind: str, text: str) -> Box3D | Point:
        wanted = Box3D if kind == "box" else tuple
        found = [place for place in self.read(text) if isinstance(place, wanted)]
        if len(found) != 1:
            raise LocationError(f"<{kind}>: {len(found)} in '{_short(text)}', expected 1")
        return found[0]

    def _place(self, kind: str, inside: str) -> Box3D | Point:
        values = _numbers(kind, inside)
        if len(values) != _COUNT[kind]:
            raise LocationError(
                f"<{kind}>: {len(values)} numbers in '{_short(inside)}', expected {_COUNT[kind]}"
            )
        if kind == "box" and min(values[3:]) < 0:
            raise LocationError(f"<box>: negative size in '{_short(inside)}'")
        place = tuple(v + shift for v, shift in zip(values[:3], self.origin, strict=True))
        return place if kind == "pt" else Box3D(place, tuple(values[3:]))

    def _local(self, point: Point) -> Point:
        return tuple(v - shift for v, shift in zip(point, self.origin, strict=True))

    def _write(self, values: Sequence[float]) -> str:
        if not all(map(math.isfinite, values)):
            raise LocationError(f"a place must be finite, not {values}")
        if self.format == "text":
            return ", ".join(f"{value + 0.0:.2f}".replace("-0.00", "0.00") for value in values)
        if not all(-REACH <= value < REACH for value in values):
            raise LocationError(
                f"{max(values, key=abs):.2f} m: location tokens reach {REACH:.0f} m; "
                "use loc_format text"
            )
        bins = [math.floor((value + REACH) / STEP) for value in values]
        return "".join(f"<LOC{min(one, BINS - 1):03d}>" for one in bins)


def _numbers(kind: str, inside: str) -> list[float]:
    tokens = _TOKEN.findall(inside)
    if tokens and not _TOKEN.sub("", inside).strip():
        return [(int(token) + 0.5) * STEP - REACH for token in tokens]
    values = []
    for part in inside.split(","):
        if not _NUMBER.fullmatch(part.strip()):
            raise LocationError(f"<{kind}>: '{_short(part.strip())}' is no number of metres")
        values.append(float(part))
    if not all(map(math.isfinite, values)):
        raise LocationError(f"<{kind}>: a number in '{_short(inside)}' is not finite")
    return values


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."
