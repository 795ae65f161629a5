"""Pictures of what the network attends to for one question, and a page with them."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from spatial3d_ros.demo.report import Row
from spatial3d_ros.errors import Spatial3DError
from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.scene.frame import Frame
from spatial3d_ros.scene.objects import SceneObject
from spatial3d_ros.scene.wall_alignment import rotate_objects
from spatial3d_ros.storage import write_whole
from spatial3d_ros.tasks.attention_record import AttentionRecord, record_attention
from spatial3d_ros.tasks.model_runner import ModelRunner
from spatial3d_ros.tasks.scene_state import SceneState
from spatial3d_ros.visualization.plots import (
    ANSWER,
    OTHER,
    SECOND,
    TRUTH,
    WRONG,
    StyledBox,
    draw_floor,
    draw_footprints,
    floor_plan,
    place_labels,
)

DPI = 110
MAX_ROWS = 12
"""Objects in a table, those of the largest scores."""
MAX_PICTURES = 8
_HEAT = "magma"
_FEW = 1e-3


@dataclass(frozen=True)
class Part:
    """A picture with its heading and what it shows."""

    title: str
    text: str
    picture: Path


def explain_answer(
    state: object,
    question: str,
    reply: str,
    out: Path,
    *,
    model: str = "tiny",
    device: str = "auto",
) -> tuple[AttentionRecord, list[Part]]:
    """Record the attention of a network for one question about the scene of an engine, and write
    pictures and `explanation.html` into a folder. Raises CheckpointError, QueryError.
    """
    assert isinstance(state, SceneState)
    out.mkdir(parents=True, exist_ok=True)
    aligned = rotate_objects(state.objects, -state.heading)
    runner = ModelRunner.load(model, device)
    record = record_attention(runner, state.aligned_views, aligned, question)
    frames = [view.frame for view in state.aligned_views.views]
    return record, Explanation(record, frames, question).write(out, reply)


def explain_first(
    rows: Sequence[Row],
    state: object,
    out: Path,
    *,
    model: str = "tiny",
    device: str = "auto",
    say: Callable[[str], None] = lambda text: None,
) -> list[Row]:
    """The rows of a report, of which the first that is answered with an object links to an
    explanation below `out`/why.
    """
    found = list(rows)
    k = next((k for k, row in enumerate(found) if row.kind == "ground" and row.boxes), None)
    if k is None:
        return found
    say("drawing what the network attended to")
    row = found[k]
    try:
        explain_answer(state, row.question, row.answer, out / "why", model=model, device=device)
    except Spatial3DError as error:
        say(f"no explanation: {error}")
        return found
    found[k] = replace(row, explanation="why/explanation.html")
    return found


class Explanation:
    """Draws one record: `record` of the frames of its views, in their order."""

    def __init__(self, record: AttentionRecord, frames: Sequence[Frame], question: str) -> None:
        self.record, self.frames, self.question = record, frames, question
        scores = record.scores[:-1]
        self.rows = scores.argsort(descending=True)[:MAX_ROWS].tolist()
        self.chosen = record.objects[record.chosen]

    def write(self, out: Path, reply: str) -> list[Part]:
        """Write the pictures and `explanation.html` into an existing folder."""
        parts = [self.patch(out / "patch.png"), self.answer(out / "answer.png")]
        parts.append(self.geo(out / "geo.png"))
        if self.record.referents is not None:
            parts.append(self.votes(out / "referents.png"))
        loader = PackageLoader("spatial3d_ros.demo")
        environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined)
        page = environment.get_template("explanation.html.jinja").render(
            question=self.question,
            reply=reply,
            parts=[(part, _embedded(part.picture)) for part in parts],
        )
        write_whole(out / "explanation.html", page)
        return parts

    def patch(self, path: Path) -> Part:
        """A patch on the chosen object, and where its token attends in the other views."""
        record, side = self.record, self.record.side
        view, token = _patch_on(record)
        others = record.patches[view, token].clone()
        others[view] = 0.0
        shares = others.sum(1)
        order = shares.argsort(descending=True)
        shown = sorted(order[: MAX_PICTURES - 1][shares[order[: MAX_PICTURES - 1]] > 0].tolist())
        columns = min(4, len(shown) + 1)
        lines = -(-(len(shown) + 1) // columns)
        figure = _figure(3.6 * columns, 3.15 * lines + 0.5)
        axes = np.ravel(figure.subplots(lines, columns, squeeze=False))
        most = float(others.max())
        for k, axis in enumerate(axes):
            axis.set_axis_off()
            if k > len(shown):
                continue
            v = view if k == 0 else shown[k - 1]
            rgb = self.frames[v].rgb
            height, width = rgb.shape[:2]
            axis.imshow(rgb)
            cell = width / side, height / side
            if k == 0:
                axis.add_patch(_cell(token, side, cell, SECOND, 3.0))
                axis.set_title(f"view {v + 1}: the patch", fontsize=10, color=SECOND, loc="left")
                continue
            heat = others[v].view(side, side).numpy() / max(most, 1e-9)
            axis.imshow(
                heat, cmap=_HEAT, vmin=0, vmax=1, alpha=np.clip(0.25 + 0.6 * heat, 0, 0.85),
                extent=(0, width, height, 0), interpolation="nearest",
            )  # fmt: skip
            for place in record.same[view, token, v].nonzero()[:, 0].tolist():
                axis.add_patch(_cell(place, side, cell, ANSWER, 2.0))
            block = self._block(token, view, v)
            axis.set_title(f"view {v + 1}: {shares[v]:.1%}{block}", fontsize=10, loc="left")
        figure.suptitle(
            "Attention of one patch to other views (green: the same place, by depth)", fontsize=12,
            x=0.01, ha="left",
        )  # fmt: skip
        figure.tight_layout(rect=(0, 0, 1, 0.98))
        figure.savefig(path)
        return Part("Where a patch attends in other views", self._patch_text(view, token), path)

    def _block(self, token: int, view: int, other: int) -> str:
        """Inter-view attention of the structure block at the place of a token."""
        block, side = self.record.block, self.record.side
        if block is None:
            return ""
        grid = round(len(block) ** 0.5)
        row, column = token // side * grid // side, token % side * grid // side
        return f", structure block {block[row * grid + column, view, other]:.1%}"

    def _patch_text(self, view: int, token: int) -> str:
        record = self.record
        weights = record.patches[view, token].clone()
        total, own = float(weights.sum()), float(weights[view].sum())
        same = record.same[view, token].clone()
        same[view] = False
        weights[view] = 0.0
        found, rest = float(weights[same].sum()), float(weights.sum())
        views = int(same.any(1)[:view].sum())
        earlier = same[:view].float().mean().item() if view else 0.0
        return (
            f"The token of a patch on {_name(self.chosen)} in view {view + 1} attends to tokens of "
            f"views with {total:.0%} of its weight, {own:.0%} to its own view and {rest:.0%} to "
            f"earlier ones (later ones come after it in the sequence). Of these "
            f"{found / max(rest, 1e-9):.0%} falls on patches that show the same place, which are "
            f"{earlier:.1%} of the patches, in {views} views. The structure block compares the "
            "same position of all pictures only. Means over layers and heads."
        )

    def answer(self, path: Path) -> Part:
        """What each object attends to: the words of the question, and other objects."""
        record, rows = self.record, self.rows
        names = [f"{_name(record.objects[i])} ({record.scores[i]:+.1f})" for i in rows]
        words = torch.cat([record.to_words[rows], record.answer_to_words[None]])
        between = torch.cat([record.to_objects[rows], record.answer_to_objects[None]])[:, rows]
        hidden = ~record.allowed[rows][:, rows]
        figure = _figure(2.6 + 0.52 * (len(record.words) + len(rows)), 2.4 + 0.36 * len(rows))
        ratio = [max(len(record.words), 4), len(rows)]
        left, right = figure.subplots(1, 2, width_ratios=ratio)
        labels = [*names, "the answer, <ground>"]
        _table(left, words.numpy(), labels, record.words, "to the words of the question")
        _table(right, between.numpy(), [], [_name(record.objects[i]) for i in rows],
               "to the objects (hatched: hidden by the mask)")  # fmt: skip
        for i, j in hidden.nonzero().tolist():
            right.add_patch(Rectangle((j - 0.5, i - 0.5), 1, 1, facecolor="#d7dbe2", hatch="////",
                                      edgecolor="#aab1bd", linewidth=0))  # fmt: skip
        figure.tight_layout()
        figure.savefig(path)
        best = int(record.answer_to_words.argmax())
        heard = record.to_words.sum(1)
        seen = record.to_views.mean()
        text = (
            f"Objects by score (in brackets); numbers are percent of a row's attention. Objects "
            f"attend to the words with {heard.mean():.0%} on average, to views with {seen:.0%}, "
            f"and to objects with {record.to_objects.sum(1).mean():.0%}. The answer attends most "
            f"to '{record.words[best]}' among the words."
        )
        return Part("What objects and the answer attend to", text, path)

    def geo(self, path: Path) -> Part:
        """Which objects the chosen one may attend to, on the floor plan."""
        record, chosen = self.record, self.record.chosen
        allowed = record.allowed[chosen]
        weights = record.to_objects[chosen]
        figure = _figure(8.6, 7.2)
        axis = figure.subplots()
        draw_floor(axis, floor_plan(self.frames))
        at = np.array(self.chosen.box.center[:2])
        shown = [i for i in range(len(allowed)) if allowed[i] and i != chosen]
        most = max([float(weights[i]) for i in shown], default=1.0)
        lines = [np.array([at, record.objects[i].box.center[:2]]) for i in shown]
        widths = [0.6 + 4.5 * float(weights[i]) / max(most, 1e-9) for i in shown]
        axis.add_collection(LineCollection(lines, linewidths=widths, colors=ANSWER, alpha=0.7))
        items = [_styled(record, i, chosen, bool(allowed[i])) for i in range(len(allowed))]
        draw_footprints(axis, items)
        place_labels(axis, items)
        axis.set_title(
            f"Green: what {_name(self.chosen)} attends to; red, dashed: hidden by the mask",
            fontsize=11, loc="left",
        )  # fmt: skip
        figure.tight_layout()
        figure.savefig(path)
        hidden = [_name(record.objects[i]) for i in range(len(allowed)) if not allowed[i]]
        names = ", ".join(hidden[:6]) + (" ..." if len(hidden) > 6 else "")
        text = (
            f"{_name(self.chosen)} may attend to {len(shown)} of {len(allowed) - 1} other objects: "
            f"the nearest in the geometry-adaptive mask (METHODS 2.3). {len(hidden)} are hidden"
            f"{f': {names}' if hidden else ''}."
        )
        return Part("What the mask hides", text, path)

    def votes(self, path: Path) -> Part:
        """Seeds, their votes, and the referents, from above."""
        record = self.record
        assert record.referents is not None
        found, origin = record.referents, np.array(record.origin)
        valid = found.seeds.valid[0].cpu()
        seeds = found.seeds.points[0][valid].float().cpu().numpy() + origin
        votes = found.votes[0][valid].float().cpu().numpy() + origin
        kept = found.valid[0].cpu()
        centers = found.centers[0][kept].float().cpu().numpy() + origin
        objectness = found.objectness[0][kept].float().sigmoid().cpu().numpy()
        figure = _figure(15.4, 7.2)
        plan, elevation = figure.subplots(1, 2, width_ratios=[1, 1.15])
        draw_floor(plan, floor_plan(self.frames))
        items = [
            replace(_styled(record, i, record.chosen, True), dashed=False)
            for i in range(len(record.objects))
        ]
        draw_footprints(plan, items)
        for item in items:
            low, high = item.box.bounds()
            size = float(high[0] - low[0]), float(high[2] - low[2])
            elevation.add_patch(
                Rectangle(
                    (float(low[0]), float(low[2])), *size, fill=False, edgecolor=item.color,
                    linewidth=item.width,
                )
            )  # fmt: skip
        elevation.set_aspect("equal")
        elevation.set(xlabel="x, metres", ylabel="z, metres")
        for axis, to in ((plan, (0, 1)), (elevation, (0, 2))):
            pairs = np.stack([seeds[:, to], votes[:, to]], 1)
            lines = LineCollection(list(pairs), colors=SECOND, linewidths=0.9, alpha=0.8, zorder=5)
            axis.add_collection(lines)
            axis.scatter(*seeds[:, to].T, c=TRUTH, marker=".", zorder=6, label="seeds")
            dots = axis.scatter(
                *centers[:, to].T, c=objectness, marker="o", cmap="viridis", vmin=0, vmax=1,
                edgecolors="white", linewidths=0.8, zorder=7, label="referents",
            )  # fmt: skip
        figure.colorbar(dots, ax=elevation, shrink=0.6, label="objectness of the referents")
        plan.legend(loc="lower right", fontsize=8, frameon=True)
        plan.set_title("Seeds, their votes (blue lines) and the referents, from above", fontsize=11,
                       loc="left")  # fmt: skip
        elevation.set_title("The same from the side", fontsize=11, loc="left")
        figure.tight_layout()
        figure.savefig(path)
        shift = votes - seeds
        level, height = (
            float(np.linalg.norm(part.std(0))) for part in (shift[:, :2], shift[:, 2:])
        )
        gaps = [_to_center(points, [o.box for o in record.objects]) for points in (seeds, votes)]
        before, after = (float(np.median(g)) if len(g) else float("nan") for g in gaps)
        text = (
            f"{len(seeds)} seeds vote for {len(centers)} referents. Votes move seeds by "
            f"{np.linalg.norm(shift, axis=1).mean():.2f} m on average; they differ from each other "
            f"by {level:.3f} m in plan and {height:.3f} m in height (0: all alike). "
            f"From a seed to the nearest object's middle it is {before:.2f} m (median), from a "
            f"vote {after:.2f} m."
        )
        return Part("Referents and their votes", text, path)


def _patch_on(record: AttentionRecord) -> tuple[int, int]:
    """A view and a token on the chosen object: of those whose place most earlier views show, the
    last one, because a token attends to earlier views only.
    """
    best, found = (-1, 0), -1
    for view, token in record.of_object[record.chosen].nonzero().tolist():
        earlier = int(record.same[view, token, :view].any(1).sum())
        if earlier >= found:
            best, found = (view, token), earlier
    return best if found >= 0 else (len(record.patches) - 1, record.patches.shape[1] // 2)


def _styled(record: AttentionRecord, i: int, chosen: int, allowed: bool) -> StyledBox:
    item = record.objects[i]
    if i == chosen:
        return StyledBox(item.box, SECOND, _name(item), width=2.6, emphasized=True)
    if not allowed:
        return StyledBox(item.box, WRONG, _name(item), dashed=True, width=1.4)
    return StyledBox(item.box, ANSWER, _name(item), width=1.6)


def _table(
    axis: Axes, values: np.ndarray, rows: Sequence[str], columns: Sequence[str], title: str
) -> None:
    """A heat map with the percentages in it."""
    most = max(float(values.max()), _FEW)
    axis.imshow(values, cmap=_HEAT, vmin=0, vmax=most, aspect="auto")
    for (i, j), value in np.ndenumerate(values):
        if value >= 0.005:
            shade = "black" if value > 0.6 * most else "white"
            axis.text(j, i, f"{100 * value:.0f}", ha="center", va="center", fontsize=7, color=shade)
    axis.set_xticks(range(len(columns)), columns, rotation=55, ha="right", fontsize=8)
    axis.set_yticks(range(len(rows)), rows, fontsize=8)
    if not rows:
        axis.set_yticks([])
    axis.set_title(title, fontsize=10, loc="left", color=OTHER)


def _cell(token: int, side: int, cell: tuple[float, float], color: str, width: float) -> Rectangle:
    at = token % side * cell[0], token // side * cell[1]
    return Rectangle(at, *cell, fill=False, edgecolor=color, linewidth=width)


def _name(item: SceneObject) -> str:
    return " ".join(filter(None, (str(item.id), item.color, item.label)))


def _to_center(points: np.ndarray, boxes: Sequence[Box3D]) -> np.ndarray:
    """Distance (m) of each point to the nearest middle of a box."""
    if not boxes:
        return np.empty(0)
    middles = np.array([box.center for box in boxes])
    return np.linalg.norm(points[:, None] - middles, axis=2).min(1)


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def _embedded(picture: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(picture.read_bytes()).decode()
