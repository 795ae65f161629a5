"""Meshes of the kinds of `kinds.yaml`: builds every part line of an object (see `part_table`)."""

from __future__ import annotations

import math

import numpy as np

from spatial3d_ros.categories import COLORS, PATTERNS
from spatial3d_ros.research.rooms import shapes
from spatial3d_ros.research.rooms.catalog import Look, RoomObject
from spatial3d_ros.research.rooms.kinds import kinds
from spatial3d_ros.research.rooms.part_table import FIXED, SHADES, TEXTURES, PartLine
from spatial3d_ros.research.rooms.shapes import (
    CORNERS,
    CUBE,
    NEAREST,
    Builder,
    Mesh,
    circle,
    grid_faces,
)

_SIDES = {"back": (0, -1), "left": (1, 1), "right": (1, -1)}  # axis and sign in the object frame
_SIDE_DEPTH = 0.06  # share of the box within which a surface belongs to a side
_AXES = {"x": (2, 0, 1), "y": (1, 2, 0)}  # columns of a solid along z that is turned along x, y
_CLUTTER = [FIXED[k] for k in "RuYfwPOkt"]


def kind_mesh(item: RoomObject) -> Mesh:
    """The mesh of an object with a look, in world coordinates; its bounds are those of its box."""
    part = _Solid(item)
    part.build()
    center, size = np.array(item.box.center), np.array(item.box.size)
    turns = round(item.heading / (math.pi / 2))
    mesh = part.fitted(center - size / 2, center + size / 2, turns)
    return _with_side(mesh, item)


class _Solid(Builder):
    """Sizes in metres in the object frame: x depth, y width, z height."""

    def __init__(self, item: RoomObject) -> None:
        super().__init__()
        assert item.look is not None
        self.item, self.look = item, item.look
        sx, sy, h = item.box.size
        along_x = abs(math.cos(item.heading)) > 0.5
        self.size = np.array([sx, sy, h] if along_x else [sy, sx, h])
        self.rgb = np.array(item.rgb, float)
        # Not of its color, so that objects of one size differ in nothing else.
        self.rng = np.random.default_rng((item.id, *np.round(1000 * self.size).astype(int)))

    def build(self) -> None:
        look = self.look
        conditions = {look.shape, look.state, look.place}
        if look.shape in ("round", "oval"):
            conditions.add("curved")
        for line in kinds()[self.item.category].parts:
            if line.holds(frozenset(conditions)):
                self._part(line)

    def _part(self, line: PartLine) -> None:
        texture = TEXTURES[self.item.material] if line.texture is None else line.texture
        self.motif, self.names = None, (NEAREST, NEAREST)
        if line.color == "B":
            rgb = np.array(_CLUTTER[0], float)
        elif line.name and line.name == self.look.part:
            rgb = np.array(self.look.part_rgb, float)
        elif line.color in FIXED:
            rgb = np.array(FIXED[line.color], float)
        else:
            rgb = self._shade(self.rgb, line.color)
            own = _color_index(self.item.color)
            self.names = own, _color_index(self.look.pattern_color)
            if self.look.pattern != "plain" and line.texture != shapes.GLOW:
                second = self._shade(np.array(self.look.pattern_rgb, float), line.color)
                self.motif = PATTERNS.index(self.look.pattern), self.look.period, second
        getattr(self, f"_{line.shape}")(line, rgb, texture)

    @staticmethod
    def _shade(rgb: np.ndarray, code: str) -> np.ndarray:
        return rgb + 0.3 * (255 - rgb) if code == "l" else rgb * SHADES[code]

    def _ends(self, line: PartLine) -> tuple[np.ndarray, np.ndarray]:
        """The corners (x0, y0, z0) and (x1, y1, z1) in metres."""
        fraction, metres = np.array(line.bounds).reshape(3, 2, 2).transpose(2, 1, 0)
        ends = fraction * self.size + metres
        return ends[0], ends[1]

    def _unit(
        self, line: PartLine, points: np.ndarray, faces: np.ndarray, rgb: np.ndarray, texture: int
    ) -> None:
        """A solid of the unit cube, -0.5 .. 0.5, stretched to the bounds of a part."""
        lo, hi = self._ends(line)
        self.add((lo + hi) / 2 + points * (hi - lo), faces, rgb, texture)

    def _slab(self, line: PartLine, rgb: np.ndarray, texture: int) -> None:
        lo, hi = self._ends(line)
        self.box(lo, hi, rgb, texture)

    def _blob(self, line: PartLine, rgb: np.ndarray, texture: int) -> None:
        lo, hi = self._ends(line)
        self.blob(lo, hi, rgb, texture, line.number("p", 0.4))

    def _revolved(
        self,
        line: PartLine,
        profile: list[tuple[float, float]],
        rgb: np.ndarray,
        texture: int,
        axis: str = "",
        sides: int = 18,
    ) -> None:
        """(radius 0 .. 0.5, height -0.5 .. 0.5) pairs around an axis; 4 sides make a square."""
        outline = np.array(profile)
        ends = circle(sides)
        if sides == 4:
            ends = np.array([[1.0, 1.0], [-1.0, 1.0], [-1.0, -1.0], [1.0, -1.0]])
        points = np.empty((len(outline), sides, 3))
        points[..., :2] = outline[:, None, :1] * ends
        points[..., 2] = outline[:, 1:]
        points = points.reshape(-1, 3)
        if axis:
            points = points[:, _AXES[axis]]
        self._unit(line, points, grid_faces(len(outline), sides), rgb, texture)

    def _cyl(self, line: PartLine, rgb: np.ndarray, texture: int, axis: str = "") -> None:
        profile = [(0.0, -0.5), (0.5, -0.5), (0.5, 0.5), (0.0, 0.5)]
        self._revolved(line, profile, rgb, texture, axis)

    def _cylx(self, line: PartLine, rgb: np.ndarray, texture: int) -> None:
        self._cyl(line, rgb, texture, "x")

    def _cyly(self, line: PartLine, rgb: np.ndarray, texture: int) -> None:
        self._cyl(line, rgb, texture, "y")

    def _cone(self, line: PartLine, rgb: np.ndarray, texture: int) -> None:
        low, high = self._radii(line)
        profile = [(0.0, -0.5), (low, -0.5), (high, 0.5), (0.0, 0.5)]
        self._revolved(line, profile, rgb, texture, sides=4 if "sq" in line.options else 18)

    def _tube(self, line: PartLine, rgb: np.ndarray, texture: int) -> None:
        low, high = self._radii(line)
        profile = [(0.0, -0.5), (low, -0.5), (high, 0.5), (0.88 * high, 0.5), (0.86 * low, -0.42)]
        self._revolved(line, [*profile, (0.0, -0.42)], rgb, texture)

    @staticmethod
    def _radii(line: PartLine) -> tuple[float, float]:
        """Of bottom and top, in the ratio `t`; of a tube bottom to top, else top to bottom."""
        t = line.number("t", 1.0)
        if line.shape == "tube":
            return 0.5 * t, 0.5
        return 0.5 / max(t, 1.0), 0.5 * min(t, 1.0)

    def _ring(self, line: PartLine, rgb: np.ndarray, texture: int, axis: str = "") -> None:
        profile = [(0.42, -0.5), (0.5, -0.5), (0.5, 0.5), (0.42, 0.5), (0.42, -0.5)]
        self._revolved(line, profile, rgb, texture, axis)

    def _ringx(self, line: PartLine, rgb: np.ndarray, texture: int) -> None:
        self._ring(line, rgb, texture, "x")

    def _ringy(self, line: PartLine, rgb: np.ndarray, texture: int) -> None:
        self._ring(line, rgb, texture, "y")

    def _turn(self, line: PartLine, rgb: np.ndarray, texture: int) -> None:
        d, w, h = self.size
        profile = [(r * d / 2, z * h) for r, z in line.profile]
        self.lathe(profile, rgb, texture, stretch=w / d, sides=18)

    def _legs(self, line: PartLine, rgb: np.ndarray, texture: int) -> None:
        lo, hi = self._ends(line)
        width = line.number("w", 3) / 100
        for x in (lo[0], hi[0] - width):
            for y in (lo[1], hi[1] - width):
                self.box((x, y, lo[2]), (x + width, y + width, hi[2]), rgb, texture)

    def _grid(self, line: PartLine, rgb: np.ndarray, texture: int) -> None:
        lo, hi = self._ends(line)
        counts = [int(n) for n in line.options["n"].split(",")]
        gap = line.number("gap", 0.1)
        axes = np.sort(np.argsort(hi - lo)[1:])[::-1]  # the first count is along z, if it is long
        steps = np.ones(3, int)
        steps[axes] = counts if len(counts) == 2 else (counts[0], 1)
        cell = (hi - lo) / steps
        inset = np.where(steps > 1, gap / 2, 0.0)
        for index in np.ndindex(*steps):
            corner = lo + np.array(index) * cell
            shade, top = rgb, corner + cell * (1 - inset)
            if line.color == "B":
                shade = np.array(_CLUTTER[int(self.rng.integers(len(_CLUTTER)))], float)
                top[2] -= cell[2] * self.rng.uniform(0, 0.25)
            self.box(corner + cell * inset, top, shade, texture)

    def _bar(self, line: PartLine, rgb: np.ndarray, texture: int) -> None:
        start, end = self._ends(line)
        half = line.number("w", 3) / 200
        along = end - start
        along = along / max(float(np.linalg.norm(along)), 1e-9)
        other = np.eye(3)[int(np.argmin(np.abs(along)))]
        a = np.cross(along, other)
        a *= half / np.linalg.norm(a)
        b = np.cross(along, a)
        ends = np.where(CORNERS[:, :1], end, start)
        self.add(
            ends + np.where(CORNERS[:, 1:2], a, -a) + np.where(CORNERS[:, 2:], b, -b),
            CUBE, rgb, texture,
        )  # fmt: skip

    def _board(
        self, line: PartLine, rgb: np.ndarray, texture: int, axes: tuple[int, int, int]
    ) -> None:
        """A board from one edge to another, thick across them; axes: across, along both, wide."""
        start, end = self._ends(line)
        across, along, wide = axes
        step = np.zeros(3)
        step[[across, along]] = (end - start)[[across, along]]
        normal = np.zeros(3)
        normal[across], normal[along] = step[along], -step[across]
        normal *= line.number("t", 2) / 200 / max(float(np.linalg.norm(normal)), 1e-9)
        base = start.copy()
        lift = np.zeros(3)
        lift[wide] = (end - start)[wide]
        self.add(
            base + np.where(CORNERS[:, :1], step, 0) + np.where(CORNERS[:, 1:2], lift, 0)
            + np.where(CORNERS[:, 2:], normal, -normal),
            CUBE, rgb, texture,
        )  # fmt: skip

    def _panel(self, line: PartLine, rgb: np.ndarray, texture: int) -> None:
        self._board(line, rgb, texture, (0, 2, 1))

    def _leaf(self, line: PartLine, rgb: np.ndarray, texture: int) -> None:
        self._board(line, rgb, texture, (0, 1, 2))

    def _leaves(self, line: PartLine, rgb: np.ndarray, texture: int) -> None:
        lo, hi = self._ends(line)
        half, height = (hi - lo)[:2] / 2, hi[2] - lo[2]
        for k in range(30):
            angle, lift = 2.4 * k, self.rng.uniform(0.1, 1.45)
            reach = math.cos(lift) * np.array([math.cos(angle), math.sin(angle)]) * half
            tip = np.array([*reach, height * math.sin(lift)]) * self.rng.uniform(0.75, 1.0)
            side = np.array([-math.sin(angle), math.cos(angle), 0]) * 0.18 * half.min()
            base = np.array([0, 0, lo[2]])
            middle = base + 0.55 * tip + (0, 0, 0.08 * height)
            leaf = np.stack([base, middle - side, base + tip, middle + side])
            faces = np.array([[0, 1, 3], [1, 2, 3]])
            self.add(leaf, faces, rgb * self.rng.uniform(0.7, 1.2), texture)

    def _balls(self, line: PartLine, rgb: np.ndarray, texture: int) -> None:
        """On the surface of a ball, or of a cone where they are bright (a decorated tree)."""
        lo, hi = self._ends(line)
        share = line.number("size", 0.09)
        size = np.full(3, share * float((hi - lo).max() if share < 0.1 else (hi - lo).min()))
        for k in range(22):
            up = (k + 0.5) / 22
            radius = 1 - up if share < 0.1 else 2 * math.sqrt(up * (1 - up))
            direction = np.array([math.cos(2.4 * k), math.sin(2.4 * k)]) * radius
            center = (lo + hi) / 2 + np.array([*direction, 2 * up - 1]) * (hi - lo) / 2
            shade = rgb
            if line.color == "B":
                shade = np.array(_CLUTTER[int(self.rng.integers(len(_CLUTTER)))], float)
            self.blob(center - size / 2, center + size / 2, shade, texture, 1.0)

    def _bars(self, line: PartLine, rgb: np.ndarray, texture: int) -> None:
        lo, hi = self._ends(line)
        middle, half = (lo + hi)[:2] / 2, (hi - lo)[:2] / 2
        for x, y in middle + circle(int(line.number("n", 12))) * half:
            self.rod(x, y, lo[2], hi[2], 0.004, rgb, texture)


def _color_index(name: str) -> int:
    return list(COLORS).index(name) if name else NEAREST


def _with_side(mesh: Mesh, item: RoomObject) -> Mesh:
    """The mesh with the color of the object's side on the surfaces at that side of its box."""
    look = item.look
    assert isinstance(look, Look)
    if not look.side:
        return mesh
    axis, sign = _SIDES[look.side]
    out = np.zeros(3)
    out[axis] = sign
    turn = item.heading
    cos, sin = round(math.cos(turn)), round(math.sin(turn))
    out = np.array([cos * out[0] - sin * out[1], sin * out[0] + cos * out[1], 0.0])
    edges = mesh.triangles[:, 1:] - mesh.triangles[:, :1]
    normals = np.cross(edges[:, 0], edges[:, 1])
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    offset = (mesh.triangles.mean(1) - np.array(item.box.center)) @ out
    half = float(np.abs(out) @ np.array(item.box.size)) / 2
    there = (np.abs(normals @ out) > 0.8) & (offset > (1 - 2 * _SIDE_DEPTH) * half)
    mesh.rgb[there] = look.side_rgb
    mesh.names[there] = _color_index(look.side_color)
    mesh.motif[there] = 0
    return mesh
