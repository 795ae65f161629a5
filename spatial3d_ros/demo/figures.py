"""The pictures of a run: the object map, and for each question where the answer is."""

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
from spatial3d_ros.visualization.plots import (
    ANSWER,
    HALO,
    OTHER,
    PATH,
    SECOND,
    TRUTH,
    WRONG,
    Drawn,
    FloorPlan,
    Shot,
    best_shot,
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
IN_SIGHT = 0.002
LEAST_WAY_M = 0.1  # of what moves, for an arrow to be drawn
MAX_IN_VIEW = 10
MAX_SHOTS = 4
UNKNOWN = (150, 156, 166)  # fill of an object whose colour has no name
RIVAL_RATIO = 8.0  # a box with more times the volume may well hold the smaller thing

Named = tuple[Box3D, str, tuple[float, float, float]]


def named_boxes(objects: Sequence[dict[str, Any]]) -> list[Named]:
    """What an album needs of an object map that is plain data: surest first."""
    return [
        (
            Box3D(tuple(o["center"]), tuple(o["size"]), o["yaw"]),
            " ".join(filter(None, (f"{o['id']}", o["color"], o["label"]))),
            COLORS.get(o["color"], UNKNOWN),
        )
        for o in sorted(objects, key=lambda o: -o["score"])
    ]


class FigureWriter:
    """Draws the pictures of one recording.

    `objects` are the boxes of the object map, surest first, with their names and mean colours
    (0-255); `truth` the true boxes, where they are known.
    """

    def __init__(
        self,
        frames: Sequence[Frame],
        objects: Sequence[Named],
        truth: Sequence[Box3D] = (),
    ) -> None:
        step = max(1, len(frames) // MAX_FRAMES)
        chosen = list(frames[::step])
        self.shots = [Shot.of(frame) for frame in chosen]
        self.plan: FloorPlan = floor_plan(chosen)
        named = distinct([Drawn(box, OTHER, name, fill=rgb) for box, name, rgb in objects])
        self.objects = [
            replace(item, color=PALETTE[k % len(PALETTE)], width=1.8)
            for k, item in enumerate(named)
        ]
        self.truth = [Drawn(box, TRUTH, dashed=True, width=0.9) for box in truth]

    def overview(self, path: Path, title: str = "Object map") -> Path:
        """The map from above with every object named, beside camera views with all boxes."""
        height, width = self.shots[0].frame.depth.shape
        beside = 2 * width / height * 6.4 / 3  # three rows of two views
        figure = _figure(13.0, 6.4)
        left, views = figure.subfigures(1, 2, width_ratios=(13.0 - beside, beside))
        axes = left.add_axes((0.08, 0.09, 0.9, 0.8))
        draw_floor(axes, self.plan)
        draw_footprints(axes, [*self.truth, *self.objects])
        place_labels(axes, self.objects)
        _title(axes, title, f"{len(self.objects)} objects, in the colours of the views beside")
        _legend(axes, truth=bool(self.truth), height=1.04)
        for axes, shot in self._grid(views, 3, 2):
            draw_view(axes, shot.frame, self._in_sight(shot), fontsize=6.5)
        return _save(figure, path)

    def question(self, path: Path, row: Row) -> Path:
        """Map with answer and truth, beside the camera views that show them best."""
        color = WRONG if row.right is False else ANSWER
        answers = _answers(row, color)
        truths = [Drawn(box, TRUTH, "", True, 1.8, True) for box in row.truth_boxes]
        figure = _figure(13.0, 5.3)
        left, right = figure.subfigures(1, 2, width_ratios=(1, 1.22))
        axes = left.add_axes((0.1, 0.1, 0.87, 0.82))
        draw_floor(axes, self.plan)
        quiet = [Drawn(o.box, OTHER, width=0.7, fill=o.fill) for o in self.objects]
        draw_footprints(axes, [*quiet, *truths, *answers])
        self._connect(axes, row)
        place_labels(axes, answers or truths)
        _legend(axes, truth=bool(truths), answer=color if answers else None)
        shown = [item.box for item in answers if item.strong] or list(row.truth_boxes)
        if row.right is False and row.kind not in ("distance", "layout") and answers:
            shown = [answers[0].box, *row.truth_boxes[:1]]  # what it took, and what was meant
        if not shown:  # nothing fits: show where the camera looked
            for axes, shot in self._grid(right, 2, 2):
                draw_view(axes, shot.frame, [])
            return _save(figure, path)
        shots = self._shots_of(shown[:MAX_SHOTS])
        grid = right.subplots(1, len(shots), gridspec_kw=_TIGHT, squeeze=False).flat
        for axes, shot in zip(grid, shots, strict=True):
            draw_view(axes, shot.frame, [*truths, *answers])
        return _save(figure, path)

    def _shots_of(self, boxes: Sequence[Box3D]) -> list[Shot]:
        """One that shows all boxes, or the best of each when none does."""
        together = best_shot(self.shots, boxes)
        if all(together.shows(box) > IN_SIGHT for box in boxes):
            return [together]
        return [best_shot(self.shots, [box]) for box in boxes]

    def _grid(self, figure: SubFigure, rows: int, columns: int) -> Iterator[tuple[Axes, Shot]]:
        """Axes in rows, each with a shot: far apart in time, showing many objects."""
        parts = np.array_split(np.arange(len(self.shots)), rows * columns)
        grid = figure.subplots(rows, columns, gridspec_kw=_TIGHT).flat
        for axes, part in zip(grid, parts, strict=True):
            choices = [self.shots[k] for k in part] or self.shots[:1]
            yield axes, max(choices, key=lambda shot: len(self._in_sight(shot)))

    def _connect(self, axes: Axes, row: Row) -> None:
        for old, new in zip(row.boxes[:1], row.after_boxes[:1], strict=False):
            if math.dist(old.center[:2], new.center[:2]) > LEAST_WAY_M:
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
        axes.text(
            *ends.mean(0), f"{row.metres:.2f} m", fontsize=9, fontweight="bold", color=TRUTH,
            ha="center", va="center", zorder=7, path_effects=HALO,
        )  # fmt: skip

    def _in_sight(self, shot: Shot) -> list[Drawn]:
        """The objects that a shot shows best, few enough to tell them apart."""
        eye = shot.frame.world_T_camera[None, :3, 3]
        shown = [
            (shot.shows(item.box), k, item)
            for k, item in enumerate(self.objects)
            if not item.box.contains(eye, 0.1)[0]
        ]
        best = sorted(part for part in shown if part[0] > IN_SIGHT)[-MAX_IN_VIEW:]
        return [item for _, _, item in reversed(best)]


def _answers(row: Row, color: str) -> list[Drawn]:
    """The boxes of an answer: one, both ends of a distance, what an answer in words is about, or
    what changes as it stands and, as ghosts, as it would stand.
    """
    if row.kind == "layout":
        both = ((row.boxes, SECOND, "now"), (row.after_boxes, color, "then"))
        return [
            Drawn(
                box, paint, "" if k else name, False, 1.2 if k else 2.6, not k, ghost=name == "then"
            )
            for boxes, paint, name in both
            for k, box in enumerate(boxes)  # the first is meant, the rest goes with it
        ]
    if row.metres is None:
        return [Drawn(box, color, "answer", False, 2.6, True) for box in row.boxes]
    ends = ((color, "from"), (WRONG if row.right is False else SECOND, "to"))
    return [
        Drawn(box, paint, name, False, 2.6, True)
        for box, (paint, name) in zip(row.boxes, ends, strict=False)
    ]


def distinct(items: Sequence[Drawn]) -> list[Drawn]:
    """The items, surest first, without those that are a part of one before them or much like it.

    The object map keeps rival boxes for one thing and lets the question decide; a picture of all of
    them shows nothing. Small things in or on large ones stay.
    """
    kept: list[Drawn] = []
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
