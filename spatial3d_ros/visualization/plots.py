"""Parts of all figures: a floor plan with boxes, and camera views with boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgba
from matplotlib.patches import Polygon
from matplotlib.patheffects import withStroke
from matplotlib.transforms import Bbox
from scipy.ndimage import median_filter

from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.geometry.camera import project
from spatial3d_ros.geometry.pose import invert, transform
from spatial3d_ros.scene.frame import Frame

ANSWER = "#0a9d58"
SECOND = "#0b7dda"
TRUTH = "#1f2430"
WRONG = "#d93025"
OTHER = "#5b6472"
PATH = "#e08a00"
FILL_ALPHA = 0.3  # opacity of translucent boxes
HALO = [withStroke(linewidth=3.0, foreground="white", alpha=0.85)]
EDGES = [(a, b) for a in range(8) for b in range(a) if bin(a ^ b).count("1") == 1]


@dataclass(frozen=True)
class StyledBox:
    """A box with its drawing style: outline, dashed for truth, label, fill color (RGB 0-255).

    Emphasized boxes are drawn on top and labelled first; translucent ones show planned positions.
    """

    box: Box3D
    color: str = OTHER
    label: str = ""
    dashed: bool = False
    width: float = 1.2
    emphasized: bool = False
    fill: tuple[float, float, float] | None = None
    translucent: bool = False


@dataclass(frozen=True)
class FloorPlan:
    """The room from above: image (H, W, 4) in 0-1, its extent (left, right, bottom, top), and the
    camera path (n, 2), in metres of the world frame.
    """

    image: np.ndarray
    extent: tuple[float, float, float, float]
    path: np.ndarray


def floor_plan(frames: Sequence[Frame], cell_m: float = 0.02, height_m: float = 1.9) -> FloorPlan:
    """Top view of the points: each cell has the color of its highest point below `height_m`.

    Colors are lightened, so that boxes drawn on top stand out.
    """
    stride = max(1, round((frames[0].depth.size / 40_000) ** 0.5))
    points = np.concatenate([f.points_world(stride).reshape(-1, 3) for f in frames])
    colors = np.concatenate([f.rgb[::stride, ::stride].reshape(-1, 3) for f in frames])
    valid = np.isfinite(points[:, 2])
    points, colors = points[valid], colors[valid]
    path = np.array([f.world_T_camera[:2, 3] for f in frames])
    if not len(points):
        left, bottom = path.min(0) - 1
        right, top = path.max(0) + 1
        return FloorPlan(np.zeros((1, 1, 4)), (left, right, bottom, top), path)
    floor = np.percentile(points[:, 2], 1)
    low = points[:, 2] < floor + height_m
    points, colors = points[low], colors[low]
    lo, hi = np.percentile(points[:, :2], 0.2, axis=0), np.percentile(points[:, :2], 99.8, axis=0)
    lo, hi = np.minimum(lo, path.min(0)) - 0.2, np.maximum(hi, path.max(0)) + 0.2
    width, height = np.ceil((hi - lo) / cell_m).astype(int)
    column, row = ((points[:, :2] - lo) / cell_m).astype(int).T
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    order = np.flatnonzero(inside)[np.argsort(points[inside, 2], kind="stable")]
    image = np.zeros((height, width, 4))
    image[row[order], column[order], :3] = 0.42 * colors[order] / 255 + 0.58
    image[row[order], column[order], 3] = 1
    left, bottom = map(float, lo)
    extent = (left, left + float(width) * cell_m, bottom, bottom + float(height) * cell_m)
    return FloorPlan(image, extent, path)


def _renderer(axes: Axes) -> Any:
    """The renderer of the figure of the axes, which measures text."""
    canvas: Any = axes.figure.canvas
    return canvas.get_renderer()


def footprint(box: Box3D) -> np.ndarray:
    """The four corners (4, 2) of a box from above, in order around it."""
    cos, sin = np.cos(box.yaw), np.sin(box.yaw)
    half = np.array(box.size[:2]) / 2
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * half
    return corners @ np.array([[cos, sin], [-sin, cos]]) + box.center[:2]


def draw_floor(axes: Axes, plan: FloorPlan) -> None:
    """Draw the floor plan, the camera path and axes in metres."""
    axes.imshow(plan.image, extent=plan.extent, origin="lower", interpolation="bilinear", zorder=0)
    x, y = plan.path.T
    axes.plot(x, y, color=PATH, linewidth=1.3, alpha=0.8, zorder=1, solid_capstyle="round")
    axes.plot(x[:1], y[:1], "o", color=PATH, markersize=4, zorder=1)
    axes.plot(x[-1:], y[-1:], marker=(3, 0, 0), color=PATH, markersize=7, zorder=1)
    left, right, bottom, top = plan.extent
    axes.set(xlim=(left, right), ylim=(bottom, top), aspect="equal")
    axes.set_xlabel("x, metres", color=OTHER, fontsize=9)
    axes.set_ylabel("y, metres", color=OTHER, fontsize=9)
    axes.tick_params(colors=OTHER, labelsize=8, length=3)
    axes.grid(color="#000000", alpha=0.06, linewidth=0.6)
    for spine in axes.spines.values():
        spine.set_color("#c9ced6")


def draw_footprints(axes: Axes, items: Sequence[StyledBox]) -> None:
    """Draw boxes from above, small ones over large ones."""
    for item in sorted(items, key=lambda d: (d.emphasized, -d.box.volume)):
        fill: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
        if item.fill is not None:
            red, green, blue = np.clip(item.fill, 0, 255) / 255
            fill = (red, green, blue, 0.65)
        if item.translucent:
            fill = to_rgba(item.color, FILL_ALPHA)
        axes.add_patch(
            Polygon(
                footprint(item.box),
                closed=True,
                facecolor=fill,
                edgecolor=item.color,
                linewidth=item.width,
                linestyle=(0, (4, 2.5)) if item.dashed else "-",
                joinstyle="round",
                zorder=4 if item.emphasized else 3,
                path_effects=HALO if item.emphasized else None,
            )
        )


def place_labels(axes: Axes, items: Sequence[StyledBox], fontsize: float = 7.5) -> None:
    """Draw labels next to their boxes without overlap; a line joins a distant label to its box.

    Emphasized boxes are labelled first, then large ones. A label without a free place is omitted.
    """
    axes.apply_aspect()  # otherwise the position of the axes is only known after drawing
    renderer = _renderer(axes)
    taken: list[Bbox] = []
    frame = axes.get_window_extent(renderer)
    for item in sorted(items, key=lambda d: (not d.emphasized, -d.box.volume)):
        if not item.label:
            continue
        corners = axes.transData.transform(footprint(item.box))
        center, reach = corners.mean(0), (corners.max(0) - corners.min(0)) / 2
        text = axes.annotate(
            item.label,
            xy=item.box.center[:2],
            xytext=(0, 0),
            textcoords="offset pixels",
            ha="center",
            va="center",
            fontsize=fontsize + item.emphasized,
            fontweight="bold" if item.emphasized else "normal",
            color=item.color if item.emphasized else TRUTH,
            path_effects=HALO,
            zorder=6,
        )
        extent = text.get_window_extent(renderer)
        half = np.array([extent.width, extent.height]) / 2 + 1.5
        for offset in _label_offsets(reach, half):
            at = center + offset
            area = Bbox([at - half, at + half])
            inside = frame.x0 < area.x0 and area.x1 < frame.x1
            inside = inside and frame.y0 < area.y0 and area.y1 < frame.y1
            if inside and not any(area.overlaps(other) for other in taken):
                break
        else:
            text.remove()
            continue
        taken.append(area)
        text.xyann = tuple(offset)
        if np.abs(offset).max() > reach.max() + 2.5 * half[1]:
            tip = axes.transData.inverted().transform(at)
            line = np.array([item.box.center[:2], tip])
            axes.plot(*line.T, color=item.color, linewidth=0.6, alpha=0.7, zorder=2)


def _label_offsets(reach: np.ndarray, half: np.ndarray) -> list[np.ndarray]:
    """Candidate label offsets from the center of a box in pixels, best first."""
    around = np.array([(0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1)])
    rings = [around * (reach + half + gap) for gap in (0, 12, 36)]
    return [np.zeros(2), *np.concatenate(rings)]


@dataclass(frozen=True, eq=False)
class SampledView:
    """A frame with about 80 x 60 of its measured points, (n, 3) world metres."""

    frame: Frame
    points: np.ndarray

    @classmethod
    def of(cls, frame: Frame) -> SampledView:
        """Sample the points of a frame."""
        points = frame.points_world(max(1, frame.depth.shape[1] // 80)).reshape(-1, 3)
        return cls(frame, points[np.isfinite(points[:, 2])])

    def visible_share(self, box: Box3D) -> float:
        """Share of the measured points inside a box, reduced if the image cuts the box off."""
        frame, camera = self.frame, self.frame.camera
        uv, _ = project(transform(invert(frame.world_T_camera), box.corners()), camera)
        with np.errstate(invalid="ignore"):
            inside = ((uv >= 0) & (uv < (camera.width, camera.height))).all(1).mean()
        return float(np.count_nonzero(box.contains(self.points, 0.03)) / 4800 * (inside + 0.02))


def best_view(views: Sequence[SampledView], boxes: Sequence[Box3D]) -> SampledView:
    """The view that shows all of the boxes best."""
    return max(views, key=lambda view: np.prod([view.visible_share(box) + 1e-3 for box in boxes]))


def draw_view(
    axes: Axes, frame: Frame, items: Sequence[StyledBox], *, fontsize: float = 9.5
) -> None:
    """Draw a camera image with boxes; edges behind the measured depth are faint."""
    height, width = frame.depth.shape
    axes.imshow(frame.rgb, interpolation="bilinear")
    axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
    axes.set_axis_off()
    axes.apply_aspect()
    renderer = _renderer(axes)
    pixel = width / axes.get_window_extent(renderer).width
    taken: list[Bbox] = []
    for item in items:
        shown, hidden = _edges(frame, item.box)
        if item.translucent and shown + hidden:
            outline = cv2.convexHull(np.concatenate(shown + hidden).astype(np.float32))[:, 0]
            axes.add_patch(Polygon(outline, facecolor=to_rgba(item.color, FILL_ALPHA), linewidth=0))
        for segments, alpha, share in ((hidden, 0.4, 0.5), (shown, 1.0, 1.0)):
            lines = LineCollection(
                segments,
                colors=item.color,
                linewidths=share * item.width,
                alpha=alpha,
                linestyles="--" if item.dashed else "-",
                capstyle="round",
                path_effects=HALO if alpha == 1.0 else None,
            )
            axes.add_collection(lines)
        points = np.concatenate([*shown, np.empty((0, 2))])
        points = points[((points >= 0) & (points < (width, height))).all(1)]
        if not item.label or not len(points):
            continue
        left, top = points[points[:, 1].argmin()]
        text = axes.text(
            left,
            top,
            item.label,
            ha="center",
            va="bottom",
            fontsize=fontsize,
            fontweight="bold",
            color="white",
            bbox={"boxstyle": "round,pad=0.25", "color": item.color, "linewidth": 0},
        )
        half = (text.get_window_extent(renderer).width / 2 + 4) * pixel
        text.set_x(np.clip(left, half, max(half, width - half)))
        # From the top edge of the box down to the first position without another label.
        for y in np.arange(max(top - 4, 0.075 * height), height, 0.02 * height):
            text.set_y(y)
            area = text.get_window_extent(renderer).padded(3)
            if not any(area.overlaps(other) for other in taken):
                break
        taken.append(area)


def _edges(frame: Frame, box: Box3D) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Edges of a box as polylines in pixels: visible parts, and occluded parts."""
    corners = transform(invert(frame.world_T_camera), _ordered_corners(box))
    shown: list[np.ndarray] = []
    hidden: list[np.ndarray] = []
    height, width = frame.depth.shape
    steps = np.linspace(0, 1, 49)[:, None]
    for a, b in EDGES:
        points = corners[a] * (1 - steps) + corners[b] * steps
        points = points[points[:, 2] > 0.1]
        if len(points) < 2:
            continue
        uv, z = project(points, frame.camera)
        column = np.clip(uv[:, 0].round().astype(int), 0, width - 1)
        row = np.clip(uv[:, 1].round().astype(int), 0, height - 1)
        depth = frame.depth[row, column]
        # Without a measurement an edge keeps its state; the median filter removes single flips.
        behind = np.where(depth > 0, np.where(z > depth + 0.06, 1.0, 0.0), 0.5)
        behind = median_filter(behind, 9, mode="nearest") > 0.5
        cuts = np.flatnonzero(np.diff(behind)) + 1
        for start, stop in zip([0, *cuts], [*cuts, len(uv)], strict=True):
            run = uv[start : stop + 1]
            if len(run) > 1:
                (hidden if behind[start] else shown).append(run)
    return shown, hidden


def _ordered_corners(box: Box3D) -> np.ndarray:
    """Corners (8, 3); the bits of an index select the side in x, y and z, as EDGES expects."""
    plan = footprint(box)[[0, 1, 3, 2]]
    z = box.center[2] + np.array([-0.5, 0.5]) * box.size[2]
    return np.concatenate([np.column_stack([plan, np.full(4, level)]) for level in z])
