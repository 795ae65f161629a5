"""Referring benchmarks on rooms of labelled boxes: the network and its baselines in one table.

With true boxes, accuracy is the share of sentences whose target was chosen; with detections, the
share whose chosen box has an IoU of 0.25 or 0.5 with the target's. The two are never mixed
(METHODS 5.2). Methods: the query chain as it ships (boxes_chain.py) and the network alone.
Baselines: a rule without reasoning (referit_heuristic.py), and the expected accuracy of a random
choice within the right class. Generated sentences with one relation each also have an upper
baseline: rules that know the relations and the fronts (relation_rules.py).
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
from spatial3d_ros.research.evaluation.public.boxes_chain import BoxesChain
from spatial3d_ros.research.evaluation.public.boxes_runner import BoxesRunner
from spatial3d_ros.research.evaluation.public.confusion import KINDS, Confusion, confusion
from spatial3d_ros.research.evaluation.public.referit_heuristic import choose_nearest
from spatial3d_ros.research.evaluation.public.relation_rules import choose_by_rule
from spatial3d_ros.research.evaluation.reports.results_page import TextTable
from spatial3d_ros.research.spread import over_ranks

CHAIN, NETWORK = "query chain", "network"
HEURISTIC, RANDOM, RULES = "heuristic", "random in class", "relation rules"
SPLITS = (
    "overall", "easy", "hard", "view-dependent", "view-independent", "unique", "multiple",
)  # fmt: skip

Choose = Callable[[BoxRoom, Sequence[Case]], Sequence[int | None]]
Say = Callable[[str], None]


@dataclass(frozen=True)
class BoxesReport:
    """right[method][measure]: the score of each case in [0, 1]. confused: the kinds of
    the network's choices. seconds: per question, by method.
    """

    benchmark: Cases
    right: dict[str, dict[str, list[float]]]
    confused: Confusion
    seconds: dict[str, float]
    settings: dict[str, Any]

    def scores(self, method: str) -> dict[str, dict[str, float | int]]:
        """Means by split, with the number of sentences."""
        groups: dict[str, list[int]] = defaultdict(list)
        for k, case in enumerate(self.benchmark.cases):
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
        rooms = {case.truth.scene_id: len(case.choices.objects) for case in self.benchmark.cases}
        return {
            "benchmark": self.benchmark.name,
            "settings": self.benchmark.settings | self.settings,
            "samples": {
                "evaluated": len(self.benchmark.cases),
                "left_out_by_filter": self.benchmark.left_out,
                "absent": self.benchmark.absent,
                "scenes": len(rooms),
                "scenes_without_boxes": sum(n == 0 for n in rooms.values()),
                "scenes_over_identifiers": sum(
                    0 < self.settings["identifiers"] < n for n in rooms.values()
                ),
            },
            "scores": {method: self.scores(method) for method in self.right},
            "confusion": self.confused,
            "seconds_per_question": self.seconds,
        }

    def table(self) -> Table:
        """For the terminal: a column for each method and measure."""
        table = self._scores_table().table()
        table.caption = (
            f"network: {1000 * self.seconds[NETWORK]:.1f} ms a question; left out by the official "
            f"filter: {self.benchmark.left_out}; about absent scenes or objects: "
            f"{listed(self.benchmark.absent)}{self._inputs()}"
        )
        return table

    def confusion_table(self) -> Table:
        """The kinds of the network's choices, for the terminal."""
        return self._confusion_table().table()

    def markdown(self, command: str) -> str:
        """Both tables and their command, for a Markdown page."""
        benchmark = self.benchmark
        summary = (
            f"`{command}`: {len(benchmark.cases)} sentences, {benchmark.settings['boxes']}; left "
            f"out by the official filter {benchmark.left_out}, about absent scenes or objects "
            f"{listed(benchmark.absent)}; weights `{Path(self.settings['model']).name}`, "
            f"{1000 * self.seconds[NETWORK]:.0f} ms a question ({self.settings['runs_on']})"
            f"{self._inputs()}."
        )
        kinds = "What the network chooses (columns: `research/evaluation/public/confusion.py`):"
        tables = self._scores_table().markdown(), self._confusion_table().markdown()
        return f"{summary}\n\n{tables[0]}\n\n{kinds}\n\n{tables[1]}"

    def _inputs(self) -> str:
        """Views and category mode, if the network sees views."""
        names = [name for name in ("views", "category_mode") if name in self.settings]
        return "".join(f"; {name.replace('_', ' ')}: {self.settings[name]}" for name in names)

    def _scores_table(self) -> TextTable:
        scores = {method: self.scores(method) for method in self.right}
        columns = [(method, measure) for method in self.right for measure in self.right[method]]
        rows = [
            [split, str(values["n"]), *(f"{scores[m][split][k]:.1%}" for m, k in columns)]
            for split, values in scores[NETWORK].items()
        ]
        head = ["split", "n", *(f"{method} {measure}" for method, measure in columns)]
        sentences = f"{len(self.benchmark.cases)} sentences, {self.benchmark.settings['boxes']}"
        return TextTable(f"{self.benchmark.name}: {sentences}", head, rows)

    def _confusion_table(self) -> TextTable:
        rows = [
            [
                split,
                str(self.confused[split]["n"]),
                *(f"{self.confused[split][k]:.1%}" for k in KINDS),
            ]
            for split in self.scores(NETWORK)
        ]
        return TextTable("What the network chooses", ["split", "n", *KINDS], rows)


def evaluate_boxes(
    benchmark: Cases,
    model: str = "tiny",
    say: Say = lambda text: None,
    *,
    fronts: bool = False,
    load: Callable[[str], BoxesRunner] | None = None,
) -> BoxesReport:
    """Evaluate the network and the baselines. The same files and weights give the same scores.
    `fronts`: give the network the fronts of objects, if the rooms have them. `load`: makes the
    runner of a model, such as one that sees the views of scans (scan_runner.py).

    Raises CheckpointError for weights that cannot be read.
    """
    runner = BoxesRunner.load(model, fronts=fronts) if load is None else load(model)
    say(f"{benchmark.name}: {len(benchmark.cases)} sentences")

    def network(room: BoxRoom, cases: Sequence[Case]) -> Sequence[int]:
        return runner.choose(room, [one.text for one in cases], [one.label for one in cases])

    methods: dict[str, Choose] = {NETWORK: network, HEURISTIC: _one_by_one(choose_nearest)}
    if load is None:  # the chain reads the labels of the rooms, which scans with views withhold
        shipped = BoxesChain(runner)
        methods[CHAIN] = lambda room, cases: shipped.choose(room, [one.text for one in cases])
    if benchmark.name == RELATIONS:
        methods[RULES] = _one_by_one(choose_by_rule)
    right, seconds, chosen = {}, {}, {}
    for name, choose in methods.items():
        chosen[name], seconds[name] = _choose(benchmark.cases, choose)
        right[name] = _judge(benchmark.cases, chosen[name])
    right[RANDOM] = _collect([_expected(case) for case in benchmark.cases])
    settings = {
        "model": model,
        **runner.settings,
        "runs_on": f"{runner.where}, {torch.get_num_threads()} threads of {os.cpu_count()} cores",
        "identifiers": runner.identifiers,
    }
    return BoxesReport(
        benchmark, right, confusion(benchmark.cases, chosen[NETWORK]), seconds, settings
    )


def _choose(cases: Sequence[Case], choose: Choose) -> tuple[list[int | None], float]:
    """The choices of a method and its seconds per question. A scene is encoded once for all of its
    questions, which share that time. Without boxes the choice is None. The rooms are distributed
    over the processes of torchrun.
    """
    by_room: dict[str, list[int]] = defaultdict(list)
    for k, case in enumerate(cases):
        by_room[case.truth.scene_id].append(k)
    chosen: list[int | None] = [None] * len(cases)
    begin = time.perf_counter()
    groups = [some for some in by_room.values() if cases[some[0]].choices.objects]
    slots = over_ranks(
        groups, lambda some: list(choose(cases[some[0]].choices, [cases[k] for k in some]))
    )
    for some, found in zip(groups, slots, strict=True):
        for k, slot in zip(some, found, strict=True):
            chosen[k] = slot
    return chosen, (time.perf_counter() - begin) / len(cases)


def _judge(cases: Sequence[Case], chosen: Sequence[int | None]) -> dict[str, list[float]]:
    """The score of each choice; None is wrong."""
    verdicts = [
        {measure: float(slot is not None and right[slot]) for measure, right in case.hits().items()}
        for case, slot in zip(cases, chosen, strict=True)
    ]
    return _collect(verdicts)


def _one_by_one(choose: Callable[[BoxRoom, str], int | None]) -> Choose:
    return lambda room, cases: [choose(room, one.text) for one in cases]


def _expected(case: Case) -> dict[str, float]:
    """Expected score of a random choice among the boxes with the target's label."""
    same = np.array([label == case.label for label in case.choices.labels], dtype=bool)
    return {
        measure: float(right[same].mean()) if same.any() else 0.0
        for measure, right in case.hits().items()
    }


def _collect(verdicts: Sequence[dict[str, float]]) -> dict[str, list[float]]:
    return {measure: [one[measure] for one in verdicts] for measure in verdicts[0]}
