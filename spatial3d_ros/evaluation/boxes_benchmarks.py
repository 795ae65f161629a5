"""Referring benchmarks on rooms of labelled boxes: the network beside its floors, in one table.

With true boxes, accuracy is the share of sentences whose very object was chosen; with detections,
the share whose chosen box overlaps the target's by 0.25 or 0.5. The two are never mixed
(methods 5.2). The floors: a rule without reasoning (referit_heuristic.py), and what picking at
random among the objects of the right class gives on average. Sentences made from one relation
each have a ceiling as well: rules that know the relations and the fronts (relation_rules.py).
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from rich.table import Table

from spatial3d_ros.data.benchmarks.boxes_only import BoxRoom
from spatial3d_ros.evaluation.boxes_cases import RELATIONS, Case, Cases
from spatial3d_ros.evaluation.boxes_reader import BoxesReader
from spatial3d_ros.evaluation.referit_heuristic import choose_nearest
from spatial3d_ros.evaluation.relation_rules import choose_by_rule

NETWORK, HEURISTIC, RANDOM, RULES = "network", "heuristic", "random in class", "relation rules"
SPLITS = (
    "overall", "easy", "hard", "view-dependent", "view-independent", "unique", "multiple",
)  # fmt: skip

Choose = Callable[[BoxRoom, Sequence[str]], Sequence[int | None]]
Say = Callable[[str], None]


@dataclass(frozen=True)
class BoxesReport:
    """`right[method][measure]`: for each case how right it was, in [0, 1]; seconds per question by
    method.
    """

    asked: Cases
    right: dict[str, dict[str, list[float]]]
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
            "seconds_per_question": self.seconds,
        }

    def table(self) -> Table:
        """For the terminal: a column for each method and measure."""
        asked = self.asked
        table = Table(
            title=f"{asked.name}: {len(asked.cases)} sentences, {asked.settings['boxes']}"
        )
        table.add_column("split")
        table.add_column("n", justify="right")
        scores = {method: self.scores(method) for method in self.right}
        columns = [(method, measure) for method in self.right for measure in self.right[method]]
        for method, measure in columns:
            table.add_column(f"{method}\n{measure}", justify="right")
        for split, values in scores[NETWORK].items():
            row = (f"{scores[method][split][measure]:.1%}" for method, measure in columns)
            table.add_row(split, str(values["n"]), *row)
        table.caption = (
            f"network: {1000 * self.seconds[NETWORK]:.1f} ms a question; left out by the official "
            f"filter: {asked.left_out}; about absent scenes or objects: {asked.absent['count']}"
        )
        return table


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
    right, seconds = {}, {}
    for name, choose in methods.items():
        right[name], seconds[name] = _judge(asked.cases, choose)
    right[RANDOM] = _collect([_expected(case) for case in asked.cases])
    settings = {
        "model": model,
        "fronts": "told" if fronts else "not told",
        "runs_on": f"{reader.where}, {torch.get_num_threads()} threads of {os.cpu_count()} cores",
        "identifiers": reader.identifiers,
    }
    return BoxesReport(asked, right, seconds, settings)


def _judge(cases: Sequence[Case], choose: Choose) -> tuple[dict[str, list[float]], float]:
    """How right a method is, and its seconds per question; a scene is read once for all that is
    asked about it, and its share of the time is in the figure. Without boxes every answer is wrong.
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
    seconds = (time.perf_counter() - begin) / len(cases)
    verdicts = [
        {measure: float(slot is not None and right[slot]) for measure, right in case.hits().items()}
        for case, slot in zip(cases, chosen, strict=True)
    ]
    return _collect(verdicts), seconds


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
