"""Picture of E3: where a patch attends in the other views, and where the same place is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from spatial3d_ros.research.experiments.mediators import true_correspondences
from spatial3d_ros.research.training.objective import Objective
from spatial3d_ros.research.training.sample import Sample
from spatial3d_ros.visualization.plots import ANSWER, SECOND

_QUERIES = 4
_DPI = 110


@torch.no_grad()
def draw_correspondence(objective: Objective, sample: Sample, path: Path) -> bool:
    """For the patches of a room with the most true correspondences among their keys: the patch, and
    its inter-view attention in the other views, with those that show the same place framed. Returns
    whether there is such a patch; without, nothing is written.
    """
    model = objective.model
    structure = model.structure
    if structure is None:
        return False
    views, patches = sample.scenes.views, sample.scenes.patches
    patches = model.encode_views(views.pixels) if patches is None else patches
    weights = structure.inter_view_attention(patches)
    true = true_correspondences(model, sample)
    count = true.sum(-1)
    if not bool(count.any()):
        return False
    views_count, places = patches.shape[1:3]
    number = torch.arange(views_count * places).view(1, views_count, places)
    number = structure.grouped(number).flatten(0, 1)
    side = model.config.vision.grid
    images = ((views.pixels[0] + 1) / 2).clamp(0, 1).movedim(1, -1).numpy()
    cell = images.shape[1] / side
    best = count.flatten().argsort(descending=True, stable=True)
    rows = [divmod(int(i), true.shape[1]) for i in best[:: max(1, int((count > 0).sum()) // 8)]]
    rows = [(group, key) for group, key in rows if count[group, key] > 0][:_QUERIES]
    figure = Figure(figsize=(1.7 * views_count, 1.95 * len(rows) + 0.4), dpi=_DPI)
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(rows), views_count, squeeze=False)
    for line, (group, key) in zip(axes, rows, strict=True):
        own = divmod(int(number[group, key]), places)
        row = weights[group, key] / weights[group, key].max()
        mass = float((weights[group, key] * true[group, key]).sum())
        for view, axis in enumerate(line):
            axis.imshow(images[view])
            axis.set_axis_off()
            heat = np.zeros((side, side))
            for k in (number[group] // places == view).nonzero()[:, 0].tolist():
                place = int(number[group, k]) % places
                heat[divmod(place, side)] = float(row[k])
                if bool(true[group, key, k]):
                    axis.add_patch(_cell(place, side, cell, ANSWER))
            axis.imshow(
                heat, cmap="magma", vmin=0, vmax=1, alpha=0.75 * heat,
                extent=(0, side * cell, side * cell, 0), interpolation="nearest",
            )  # fmt: skip
            if view == own[0]:
                axis.add_patch(_cell(own[1], side, cell, SECOND))
            if view == 0:
                axis.set_title(f"{mass:.0%} on the same place", fontsize=8, loc="left")
    figure.suptitle("Patch (blue), its attention (bright), the same place in other views (green)",
                    fontsize=9, x=0.01, ha="left")  # fmt: skip
    figure.tight_layout(rect=(0, 0, 1, 0.97))
    figure.savefig(path)
    return True


def _cell(place: int, side: int, cell: float, color: str) -> Rectangle:
    row, column = divmod(place, side)
    return Rectangle((column * cell, row * cell), cell, cell, fill=False, edgecolor=color, lw=2)
