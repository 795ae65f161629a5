"""Tables of an ablation, for the terminal and for a Markdown page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from spatial3d_ros.research.evaluation.reports.results_page import TextTable
from spatial3d_ros.research.experiments.ablations import (
    Ablation,
    Report,
    Result,
    Run,
    kept_report,
    results,
)

NONE = "-"
Scores = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class AblationReport:
    """The results of an ablation so far."""

    ablation: Ablation
    runs: Sequence[Run]
    found: Mapping[str, Result]
    robustness: Mapping[str, Sequence[Report]]

    def tables(self) -> list[TextTable]:
        """The main table, then one for each kind of disturbance."""
        main = ablation_table(self.ablation, self.runs, self.found)
        score, *_ = self.ablation.columns.values()
        return [main, *(robustness_tables(self.ablation, self.robustness, score))]

    def json(self) -> dict[str, object]:
        """All scores of all runs."""
        runs = [
            {"variant": run.variant, "seed": run.seed, "folder": str(done.folder),
             "minutes": done.minutes, "report": done.report}
            for run in self.runs
            if (done := self.found.get(run.settings)) is not None
        ]  # fmt: skip
        return {"name": self.ablation.name, "runs": runs, "stress": dict(self.robustness)}


def ablation_report(ablation: Ablation, runs: Sequence[Run]) -> AblationReport:
    """Collect the finished runs of all folders and their robustness reports."""
    found = results(runs, ablation.out.parent)
    robustness: dict[str, list[Report]] = {}
    for run in runs if ablation.stress else ():
        done = found.get(run.settings)
        kept = kept_report(done.folder, ablation.stress) if done else None
        if kept is not None and run.variant in ablation.stress.of:
            robustness.setdefault(run.variant, []).append(kept)
    return AblationReport(ablation, runs, found, robustness)


def ablation_table(
    ablation: Ablation, runs: Sequence[Run], found: Mapping[str, Result]
) -> TextTable:
    """Mean and sample deviation over the seeds of every score, in percent, variant by variant.

    The difference column compares the main score with the first variant's at the same seed.
    """
    main, *_ = ablation.columns.values()
    first, *_ = ablation.variants
    of = {
        name: {run.seed: found[run.settings] for run in runs if run.variant == name
               and run.settings in found}
        for name in ablation.variants
    }  # fmt: skip
    papers = [ablation.paper] if ablation.paper else []
    head = ("variant", "seeds", *ablation.columns, f"Δ to {first}", "min a run", *papers)
    rows = []
    for name, variant in ablation.variants.items():
        done = of[name]
        gain = [
            _percent(result.report, main) - _percent(of[first][seed].report, main)
            for seed, result in done.items()
            if seed in of[first] and name != first
        ]
        cells = [spread([r.report for r in done.values()], score)
                 for score in ablation.columns.values()]  # fmt: skip
        minutes = f"{fmean(r.minutes for r in done.values()):.1f}" if done else NONE
        paper = [variant.paper or NONE] if papers else []
        rows.append(
            (name, str(len(done)), *cells, _mean_and_deviation(gain, "+.1f"), minutes, *paper)
        )
    reports = [result.report for done in of.values() for result in done.values()]
    counts = [questions(reports, score) for score in ablation.columns.values()]
    rows.append(("questions a seed", "", *counts, "", "", *[""] * len(papers)))
    return TextTable(ablation.title, head, tuple(rows))


def robustness_tables(
    ablation: Ablation, reports: Mapping[str, Sequence[Report]], score: str
) -> list[TextTable]:
    """One table for each kind of disturbance: the score of each variant at each level."""
    if ablation.stress is None or not reports:
        return []
    levels = {
        "crowded": ("Most objects in a room (training: 25)",
                    [str(n) for n in ablation.stress.crowded]),
        "views": ("Views shown", [str(n) for n in ablation.stress.views]),
        "jitter": ("Box faces shifted by up to this share of the side length",
                   [str(p) for p in ablation.stress.jitter]),
        "missed": ("Share of missed boxes (never the target)",
                   [str(p) for p in ablation.stress.missed]),
        "split": ("Share of the boxes split in two; the larger part of the target is right",
                  [str(p) for p in ablation.stress.split]),
        "split, either part": ("The same; either part of the target is right",
                               [str(p) for p in ablation.stress.split]),
    }  # fmt: skip
    tables = []
    for kind, (title, steps) in levels.items():
        if not steps:
            continue
        rows = [
            (name, str(len(found)), *(spread([r[kind][level] for r in found], score)
                                      for level in steps))
            for name, found in reports.items()
        ]  # fmt: skip
        scores = [r[kind][level] for found in reports.values() for r in found for level in steps]
        title = f"{title} ({questions(scores, score)} questions)"
        counted = kind in ("views", "crowded")
        shown = steps if counted else [f"{float(level):.0%}" for level in steps]
        tables.append(TextTable(title, ("variant", "seeds", *shown), tuple(rows)))
    return tables


def spread(reports: Sequence[Scores], score: str) -> str:
    """Mean and sample deviation of a score over reports, in percent: "83.1 ± 0.8"."""
    return _mean_and_deviation([_percent(r, score) for r in reports if score in r], ".1f")


def questions(reports: Sequence[Scores], score: str) -> str:
    """The number of questions of a score, on average over the reports."""
    counts = [report[score]["n"] for report in reports if score in report]
    return f"{fmean(counts):.0f}" if counts else NONE


def _percent(report: Scores, score: str) -> float:
    return 100 * report[score]["accuracy"]


def _mean_and_deviation(values: Sequence[float], form: str) -> str:
    if not values:
        return NONE
    mean = format(fmean(values), form)
    return mean if len(values) == 1 else f"{mean} ± {stdev(values):.1f}"


def section(command: str, ablation: Ablation, tables: Sequence[TextTable]) -> str:
    """The tables of an ablation as Markdown, with the command that makes them."""
    main, others = tables[0], tables[1:]
    base = f"`{ablation.base}`, held-out rooms, right object first in %, mean ± deviation of seeds"
    parts = [f"`{command}` ({base}):", main.markdown()]
    parts += [f"{table.title}:\n\n{table.markdown()}" for table in others]
    return "\n\n".join(parts)
