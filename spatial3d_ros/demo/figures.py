"""Figures of a run: the object map, and the answer to each question."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D

from spatial3d_ros.categories import COLORS
from spatial3d_ros.demo.report import Row
from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.scene.frame import Frame
from spatial3d_ros.scene.objects import SceneObject
from spatial3d_ros.visualization.plots import (
    ANSWER,
    HALO,
    OTHER,
    PATH,
    SECOND,
    TRUTH,
    WRONG,
    FloorPlan,
    SampledView,
    StyledBox,
    best_view,
    draw_floor,
    draw_footprints,
    draw_view,
    floor_plan,
    place_labels,
)

DPI = 120
MAX_FRAMES = 48
PALETTE = (
    "#0072b2", "#d55e00", "#009e73", "#cc3d8f", "#7a4fbf", "#b8860b", "#00a0c6", "#c62828",
    "#5d7a00", "#3949ab", "#ad6a3b", "#00796b",
)  # fmt: skip
MIN_VISIBLE = 0.002
MIN_MOVE_M = 0.1  # an arrow shows larger moves
MAX_IN_VIEW = 10
MAX_VIEWS = 4
UNKNOWN = (150, 156, 166)  # fill of an object with an unnamed color
RIVAL_RATIO = 8.0  # a box of more times the volume may contain the smaller object

Named = tuple[Box3D, str, tuple[float, float, float]]


def named_boxes(objects: Sequence[dict[str, Any]]) -> list[Named]:
    """Boxes, names and colors of an object map of dicts, highest score first."""
    return [
        _named(
            Box3D(tuple(o["center"]), tuple(o["size"]), o["yaw"]), o["id"], o["color"], o["label"]
        )
        for o in sorted(objects, key=lambda o: -o["score"])
    ]


def boxes_of(objects: Sequence[SceneObject]) -> list[Named]:
    """The same of the object map of an engine."""
    ranked = sorted(objects, key=lambda o: -o.score)
    return [_named(o.box, o.id, o.color, o.label) for o in ranked]


def _named(box: Box3D, number: int, color: str, label: str) -> Named:
    name = " ".join(filter(None, (f"{number}", color, label)))
    return box, name, COLORS.get(color, UNKNOWN)


class FigureWriter:
    """Writes the figures of one recording.

    `objects` are the boxes of the object map with names and mean colors (0-255), highest score
    first; `truth` the true boxes, if known.
    """

    def __init__(
        self,
        frames: Sequence[Frame],
        objects: Sequence[Named],
        truth: Sequence[Box3D] = (),
    ) -> None:
        step = max(1, len(frames) // MAX_FRAMES)
        chosen = list(frames[::step])
        self.views = [SampledView.of(frame) for frame in chosen]
        self.plan: FloorPlan = floor_plan(chosen)
        named = distinct([StyledBox(box, OTHER, name, fill=rgb) for box, name, rgb in objects])
        self.objects = [
            replace(item, color=PALETTE[k % len(PALETTE)], width=1.8)
            for k, item in enumerate(named)
        ]
        self.count = len(objects)
        self.truth = [StyledBox(box, TRUTH, dashed=True, width=0.9) for box in truth]

    def overview(self, path: Path, title: str = "Object map") -> Path:
        """The labelled object map from above, and camera views with all boxes."""
        height, width = self.views[0].frame.depth.shape
        views_width = 2 * width / height * 6.4 / 3  # three rows of two views
        figure = _figure(13.0, 6.4)
        left, right = _split(figure, (13.0 - views_width, views_width))
        axes = left.add_axes((0.08, 0.09, 0.9, 0.8))
        draw_floor(axes, self.plan)
        draw_footprints(axes, [*self.truth, *self.objects])
        place_labels(axes, self.objects)
        hidden = self.count - len(self.objects)
        _title(
            axes,
            title,
            f"{self.count} objects, colors as in the camera views"
            + f"; {hidden} that overlap others are not drawn" * bool(hidden),
        )
        _legend(axes, truth=bool(self.truth), height=1.04)
        for axes, view in self._grid(right, 3, 2):
            draw_view(axes, view.frame, self._visible_objects(view), fontsize=6.5)
        return _save(figure, path)

    def question(self, path: Path, row: Row) -> Path:
        """The map with answer and truth, and the camera views that show them best."""
        color = WRONG if row.right is False else ANSWER
        answers = _answers(row, color)
        truths = [StyledBox(box, TRUTH, "", True, 1.8, True) for box in row.truth_boxes]
        figure = _figure(13.0, 5.3)
        left, right = _split(figure, (1, 1.22))
        axes = left.add_axes((0.1, 0.1, 0.87, 0.82))
        draw_floor(axes, self.plan)
        others = [StyledBox(o.box, OTHER, width=0.7, fill=o.fill) for o in self.objects]
        draw_footprints(axes, [*others, *truths, *answers])
        self._connect(axes, row)
        place_labels(axes, answers or truths)
        _legend(axes, truth=bool(truths), answer=color if answers else None)
        shown = [item.box for item in answers if item.emphasized] or list(row.truth_boxes)
        if row.right is False and row.kind not in ("distance", "layout") and answers:
            shown = [answers[0].box, *row.truth_boxes[:1]]  # the answer and the true object
        if not shown:  # no object matches: show views of the room
            for axes, view in self._grid(right, 2, 2):
                draw_view(axes, view.frame, [])
            return _save(figure, path)
        views = self._views_of(shown[:MAX_VIEWS])
        grid = right.subplots(1, len(views), gridspec_kw=_TIGHT, squeeze=False).flat
        for axes, view in zip(grid, views, strict=True):
            draw_view(axes, view.frame, [*truths, *answers])
        return _save(figure, path)

    def _views_of(self, boxes: Sequence[Box3D]) -> list[SampledView]:
        """One view that shows all boxes, or the best view of each."""
        best = best_view(self.views, boxes)
        if all(best.visible_share(box) > MIN_VISIBLE for box in boxes):
            return [best]
        return [best_view(self.views, [box]) for box in boxes]

    def _grid(
        self, figure: SubFigure, rows: int, columns: int
    ) -> Iterator[tuple[Axes, SampledView]]:
        """Axes in rows, each with a view: apart in time, with many visible objects."""
        parts = np.array_split(np.arange(len(self.views)), rows * columns)
        grid = figure.subplots(rows, columns, gridspec_kw=_TIGHT).flat
        for axes, part in zip(grid, parts, strict=True):
            choices = [self.views[k] for k in part] or self.views[:1]
            yield axes, max(choices, key=lambda view: len(self._visible_objects(view)))

    def _connect(self, axes: Axes, row: Row) -> None:
        for old, new in zip(row.boxes[:1], row.after_boxes[:1], strict=False):
            if math.dist(old.center[:2], new.center[:2]) > MIN_MOVE_M:
                axes.annotate(
                    "", new.center[:2], old.center[:2], zorder=5,
                    arrowprops={"arrowstyle": "-|>", "color": TRUTH, "linewidth": 1.4},
                )  # fmt: skip
        if row.metres is None or len(row.boxes) < 2:
            return
        ends = np.array([box.center[:2] for box in row.boxes[:2]])
        axes.annotate(
            "", ends[1], ends[0], zorder=5,
            arrowprops={"arrowstyle": "<->", "color": TRUTH, "linewidth": 1.4},
        )  # fmt: skip
        x, y = ends.mean(0)
        axes.text(
            x, y, f"{row.metres:.2f} m", fontsize=9, fontweight="bold", color=TRUTH,
            ha="center", va="center", zorder=7, path_effects=HALO,
        )  # fmt: skip

    def _visible_objects(self, view: SampledView) -> list[StyledBox]:
        """The objects that a view shows best, at most MAX_IN_VIEW."""
        camera = view.frame.world_T_camera[None, :3, 3]
        shown = [
            (view.visible_share(item.box), k, item)
            for k, item in enumerate(self.objects)
            if not item.box.contains(camera, 0.1)[0]
        ]
        best = sorted(part for part in shown if part[0] > MIN_VISIBLE)[-MAX_IN_VIEW:]
        return [item for _, _, item in reversed(best)]


def _answers(row: Row, color: str) -> list[StyledBox]:
    """The boxes of an answer with their styles.

    One box or several, both ends of a distance, or for a layout edit the boxes before and, drawn
    translucent, after it.
    """
    if row.kind == "layout":
        both = ((row.boxes, SECOND, "before"), (row.after_boxes, color, "after"))
        return [
            StyledBox(
                box,
                style_color,
                "" if k else name,
                False,
                1.2 if k else 2.6,
                not k,
                translucent=name == "after",
            )
            for boxes, style_color, name in both
            for k, box in enumerate(boxes)  # the first is the target, the others move with it
        ]
    if row.metres is None:
        return [StyledBox(box, color, "answer", False, 2.6, True) for box in row.boxes]
    ends = ((color, "from"), (WRONG if row.right is False else SECOND, "to"))
    return [
        StyledBox(box, style_color, name, False, 2.6, True)
        for box, (style_color, name) in zip(row.boxes, ends, strict=False)
    ]


def distinct(items: Sequence[StyledBox]) -> list[StyledBox]:
    """The items without those that overlap an earlier one of similar size.

    The object map keeps several candidate boxes of one object; a figure of all of them would be
    unreadable. Small objects in or on large ones stay.
    """
    kept: list[StyledBox] = []
    for item in items:
        low, high = item.box.bounds()
        for other in kept:
            other_low, other_high = other.box.bounds()
            shared = np.clip(np.minimum(high, other_high) - np.maximum(low, other_low), 0, None)
            volumes = sorted((item.box.volume, other.box.volume))
            rivals = shared.prod() > 0.5 * volumes[0] and volumes[1] < RIVAL_RATIO * volumes[0]
            if rivals:
                break
        else:
            kept.append(item)
    return kept


_TIGHT = {"wspace": 0.03, "hspace": 0.04, "left": 0.01, "right": 0.99, "bottom": 0.03, "top": 0.97}


def _split(figure: Figure, ratios: Sequence[float]) -> list[SubFigure]:
    """Two subfigures side by side."""
    return list(np.ravel(np.asarray(figure.subfigures(1, 2, width_ratios=ratios))))


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def _save(figure: Figure, path: Path) -> Path:
    figure.savefig(path)
    return path


def _title(axes: Axes, title: str, subtitle: str) -> None:
    axes.set_title(title, loc="left", fontsize=14, fontweight="bold", color=TRUTH, pad=20)
    axes.text(0, 1.015, subtitle, transform=axes.transAxes, fontsize=9.5, color=OTHER)


def _legend(axes: Axes, *, truth: bool, answer: str | None = None, height: float = 1.0) -> None:
    entries = []
    if answer:
        entries.append(Line2D([], [], color=answer, linewidth=2.6, label="answer"))
    if truth:
        entries.append(Line2D([], [], color=TRUTH, linewidth=1.5, linestyle="--", label="truth"))
    entries.append(Line2D([], [], color=OTHER, linewidth=1.2, label="object map"))
    entries.append(Line2D([], [], color=PATH, linewidth=1.4, marker=">", label="camera path"))
    axes.legend(
        handles=entries, loc="lower right", bbox_to_anchor=(1, height), fontsize=8, frameon=False,
        labelcolor=TRUTH, ncols=len(entries), columnspacing=1.2, handlelength=1.8,
        borderaxespad=0.2,
    )  # fmt: skip
