"""Referring benchmarks on rooms of labelled boxes: the network beside its floors, in one table.

With true boxes, accuracy is the share of sentences whose very object was chosen; with detections,
the share whose chosen box overlaps the target's by 0.25 or 0.5. The two are never mixed
(METHODS 5.2). The floors: a rule without reasoning (referit_heuristic.py), and what picking at
random among the objects of the right class gives on average. Sentences made from one relation
each have a ceiling as well: rules that know the relations and the fronts (relation_rules.py).
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.table import Table

from spatial3d_ros.research.datasets.boxes_only import BoxRoom
from spatial3d_ros.research.datasets.references import listed
from spatial3d_ros.research.evaluation.public.boxes_cases import RELATIONS, Case, Cases
from spatial3d_ros.research.evaluation.public.boxes_runner import BoxesReader
from spatial3d_ros.research.evaluation.public.confusion import KINDS, Confusion, confusion
from spatial3d_ros.research.evaluation.public.referit_heuristic import choose_nearest
from spatial3d_ros.research.evaluation.public.relation_rules import choose_by_rule
from spatial3d_ros.research.evaluation.reports.results_page import markdown_table

NETWORK, HEURISTIC, RANDOM, RULES = "network", "heuristic", "random in class", "relation rules"
SPLITS = (
    "overall", "easy", "hard", "view-dependent", "view-independent", "unique", "multiple",
)  # fmt: skip

Choose = Callable[[BoxRoom, Sequence[str]], Sequence[int | None]]
Say = Callable[[str], None]


@dataclass(frozen=True)
class BoxesReport:
    """`right[method][measure]`: for each case how right it was, in [0, 1]; `confused`: what the
    network took; seconds per question by method.
    """

    asked: Cases
    right: dict[str, dict[str, list[float]]]
    confused: Confusion
    seconds: dict[str, float]
    settings: dict[str, Any]

    def scores(self, method: str) -> dict[str, dict[str, float | int]]:
        """Means by split, with the number of sentences."""
        groups: dict[str, list[int]] = defaultdict(list)
        for k, case in enumerate(self.asked.cases):
            for split in ("overall", *case.splits):
                groups[split].append(k)
        named = [s for s in SPLITS if s in groups]
        return {
            split: {
                "n": len(groups[split]),
                **{
                    measure: float(np.mean([values[k] for k in groups[split]]))
                    for measure, values in self.right[method].items()
                },
            }
            for split in (*named, *sorted(groups.keys() - set(SPLITS)))
        }

    def json(self) -> dict[str, Any]:
        """Everything as plain data."""
        rooms = {case.truth.scene_id: len(case.choices.objects) for case in self.asked.cases}
        return {
            "benchmark": self.asked.name,
            "settings": self.asked.settings | self.settings,
            "samples": {
                "evaluated": len(self.asked.cases),
                "left_out_by_filter": self.asked.left_out,
                "absent": self.asked.absent,
                "scenes": len(rooms),
                "scenes_without_boxes": sum(n == 0 for n in rooms.values()),
                "scenes_over_identifiers": sum(
                    n > self.settings["identifiers"] for n in rooms.values()
                ),
            },
            "scores": {method: self.scores(method) for method in self.right},
            "confusion": self.confused,
            "seconds_per_question": self.seconds,
        }

    def table(self) -> Table:
        """For the terminal: a column for each method and measure."""
        asked = self.asked
        table = Table(
            title=f"{asked.name}: {len(asked.cases)} sentences, {asked.settings['boxes']}"
        )
        head, rows = self._grid()
        for k, name in enumerate(head):
            table.add_column(name, justify="right" if k else "left")
        for row in rows:
            table.add_row(*row)
        table.caption = (
            f"network: {1000 * self.seconds[NETWORK]:.1f} ms a question; left out by the official "
            f"filter: {asked.left_out}; about absent scenes or objects: {listed(asked.absent)}"
        )
        return table

    def confusion_table(self) -> Table:
        """For the terminal: what the network took."""
        table = Table(title="What the network takes")
        head, rows = self._confused_grid()
        for k, name in enumerate(head):
            table.add_column(name, justify="right" if k else "left")
        for row in rows:
            table.add_row(*row)
        return table

    def markdown(self, command: str) -> str:
        """Both tables for a page of results, with the command that makes them."""
        asked = self.asked
        told = (
            f"`{command}`: {len(asked.cases)} sentences, {asked.settings['boxes']}; left out by "
            f"the official filter {asked.left_out}, about absent scenes or objects "
            f"{listed(asked.absent)}; weights `{Path(self.settings['model']).name}`, "
            f"{1000 * self.seconds[NETWORK]:.0f} ms a question ({self.settings['runs_on']})."
        )
        kinds = (
            "What the network takes (`research/evaluation/public/confusion.py` tells the columns):"
        )
        tables = [markdown_table(*grid) for grid in (self._grid(), self._confused_grid())]
        return f"{told}\n\n{tables[0]}\n\n{kinds}\n\n{tables[1]}"

    def _grid(self) -> tuple[list[str], list[list[str]]]:
        scores = {method: self.scores(method) for method in self.right}
        columns = [(method, measure) for method in self.right for measure in self.right[method]]
        rows = [
            [split, str(values["n"]), *(f"{scores[m][split][k]:.1%}" for m, k in columns)]
            for split, values in scores[NETWORK].items()
        ]
        return ["split", "n", *(f"{method} {measure}" for method, measure in columns)], rows

    def _confused_grid(self) -> tuple[list[str], list[list[str]]]:
        rows = [
            [
                split,
                str(self.confused[split]["n"]),
                *(f"{self.confused[split][k]:.1%}" for k in KINDS),
            ]
            for split in self.scores(NETWORK)
        ]
        return ["split", "n", *KINDS], rows


def evaluate_boxes(
    asked: Cases, model: str = "tiny", say: Say = lambda text: None, *, fronts: bool = False
) -> BoxesReport:
    """Ask the network and the rules beside it. The same files and weights give the same scores.
    `fronts`: the network is told where things face, as far as the rooms say.

    Raises CheckpointError for weights that cannot be read.
    """
    reader = BoxesReader.load(model, fronts=fronts)
    say(f"{asked.name}: {len(asked.cases)} sentences")
    methods: dict[str, Choose] = {NETWORK: reader.choose, HEURISTIC: _one_by_one(choose_nearest)}
    if asked.name == RELATIONS:
        methods[RULES] = _one_by_one(choose_by_rule)
    right, seconds, chosen = {}, {}, {}
    for name, choose in methods.items():
        chosen[name], seconds[name] = _choose(asked.cases, choose)
        right[name] = _judge(asked.cases, chosen[name])
    right[RANDOM] = _collect([_expected(case) for case in asked.cases])
    settings = {
        "model": model,
        "fronts": "told" if fronts else "not told",
        "runs_on": f"{reader.runs_on}, {torch.get_num_threads()} threads of {os.cpu_count()} cores",
        "identifiers": reader.identifiers,
    }
    return BoxesReport(asked, right, confusion(asked.cases, chosen[NETWORK]), seconds, settings)


def _choose(cases: Sequence[Case], choose: Choose) -> tuple[list[int | None], float]:
    """What a method chooses, and its seconds per question; a scene is read once for all that is
    asked about it, and its share of the time is in the figure. Without boxes nothing is chosen.
    """
    by_room: dict[str, list[int]] = defaultdict(list)
    for k, case in enumerate(cases):
        by_room[case.truth.scene_id].append(k)
    chosen: list[int | None] = [None] * len(cases)
    begin = time.perf_counter()
    for places in by_room.values():
        room = cases[places[0]].choices
        if not room.objects:
            continue
        for k, slot in zip(places, choose(room, [cases[k].text for k in places]), strict=True):
            chosen[k] = slot
    return chosen, (time.perf_counter() - begin) / len(cases)


def _judge(cases: Sequence[Case], chosen: Sequence[int | None]) -> dict[str, list[float]]:
    """How right the choices are; none is wrong."""
    verdicts = [
        {measure: float(slot is not None and right[slot]) for measure, right in case.hits().items()}
        for case, slot in zip(cases, chosen, strict=True)
    ]
    return _collect(verdicts)


def _one_by_one(choose: Callable[[BoxRoom, str], int | None]) -> Choose:
    return lambda room, texts: [choose(room, text) for text in texts]


def _expected(case: Case) -> dict[str, float]:
    """What a random pick among the choices of the target's label is worth."""
    same = np.array([label == case.label for label in case.choices.labels], dtype=bool)
    return {
        measure: float(right[same].mean()) if same.any() else 0.0
        for measure, right in case.hits().items()
    }


def _collect(verdicts: Sequence[dict[str, float]]) -> dict[str, list[float]]:
    return {measure: [one[measure] for one in verdicts] for measure in verdicts[0]}
