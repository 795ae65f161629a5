"""Tables of an ablation: on the terminal, and between two marks of a Markdown page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from rich.table import Table

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
class Grid:
    """A table of texts; the first column names the rows."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def markdown(self) -> str:
        """As it stands in a page, without the title."""
        lines = [self.head, ("---", *["---:"] * (len(self.head) - 1)), *self.rows]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)

    def table(self) -> Table:
        """As it stands on the terminal."""
        table = Table(title=self.title, title_justify="left", pad_edge=False)
        for i, heading in enumerate(self.head):
            table.add_column(heading, justify="right" if i else "left")
        for row in self.rows:
            table.add_row(*row)
        return table


@dataclass(frozen=True)
class AblationReport:
    """What is known so far of an ablation."""

    ablation: Ablation
    runs: Sequence[Run]
    found: Mapping[str, Result]
    stressed: Mapping[str, Sequence[Report]]

    def grids(self) -> list[Grid]:
        """The main table, then one for each kind of stress."""
        main = ablation_grid(self.ablation, self.runs, self.found)
        score, *_ = self.ablation.columns.values()
        return [main, *(stress_grids(self.ablation, self.stressed, score))]

    def json(self) -> dict[str, object]:
        """Every figure of every run."""
        runs = [
            {"variant": run.variant, "seed": run.seed, "folder": str(done.folder),
             "minutes": done.minutes, "report": done.report}
            for run in self.runs
            if (done := self.found.get(run.settings)) is not None
        ]  # fmt: skip
        return {"name": self.ablation.name, "runs": runs, "stress": dict(self.stressed)}


def ablation_report(ablation: Ablation, runs: Sequence[Run]) -> AblationReport:
    """Gather the finished runs, wherever they were trained, and what they did under stress."""
    found = results(runs, ablation.out.parent)
    stressed: dict[str, list[Report]] = {}
    for run in runs if ablation.stress else ():
        done = found.get(run.settings)
        kept = kept_report(done.folder, ablation.stress) if done else None
        if kept is not None and run.variant in ablation.stress.of:
            stressed.setdefault(run.variant, []).append(kept)
    return AblationReport(ablation, runs, found, stressed)


def ablation_grid(ablation: Ablation, runs: Sequence[Run], found: Mapping[str, Result]) -> Grid:
    """Mean and sample deviation over the seeds of every score, in percent, variant by variant.

    The column of differences compares the main score with the first variant's at the same seed.
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
        told = [variant.paper or NONE] if papers else []
        rows.append((name, str(len(done)), *cells, _figures(gain, "+.1f"), minutes, *told))
    reports = [result.report for done in of.values() for result in done.values()]
    asked = [questions(reports, score) for score in ablation.columns.values()]
    rows.append(("questions a seed", "", *asked, "", "", *[""] * len(papers)))
    return Grid(ablation.title, head, tuple(rows))


def stress_grids(
    ablation: Ablation, reports: Mapping[str, Sequence[Report]], score: str
) -> list[Grid]:
    """One table for each kind of stress: the score of each variant at each level."""
    if ablation.stress is None or not reports:
        return []
    levels = {
        "crowded": ("Objects in a room, at most (training: 25)",
                    [str(n) for n in ablation.stress.crowded]),
        "views": ("Views shown", [str(n) for n in ablation.stress.views]),
        "jitter": ("Faces of the boxes moved by up to this share of their side",
                   [str(p) for p in ablation.stress.jitter]),
        "missed": ("Share of the boxes missed that are not the target",
                   [str(p) for p in ablation.stress.missed]),
        "split": ("Share of the boxes split in two; right is the larger part of the target",
                  [str(p) for p in ablation.stress.split]),
        "split, either part": ("The same, and right is either part of the target",
                               [str(p) for p in ablation.stress.split]),
    }  # fmt: skip
    grids = []
    for kind, (title, steps) in levels.items():
        if not steps:
            continue
        rows = [
            (name, str(len(found)), *(spread([r[kind][level] for r in found], score)
                                      for level in steps))
            for name, found in reports.items()
        ]  # fmt: skip
        tables = [r[kind][level] for found in reports.values() for r in found for level in steps]
        title = f"{title} ({questions(tables, score)} questions)"
        counted = kind in ("views", "crowded")
        shown = steps if counted else [f"{float(level):.0%}" for level in steps]
        grids.append(Grid(title, ("variant", "seeds", *shown), tuple(rows)))
    return grids


def spread(reports: Sequence[Scores], score: str) -> str:
    """Mean and sample deviation of a score over reports, in percent: "83.1 ± 0.8"."""
    return _figures([_percent(r, score) for r in reports if score in r], ".1f")


def questions(reports: Sequence[Scores], score: str) -> str:
    """How many questions stand behind a score, on average over the reports."""
    counts = [report[score]["n"] for report in reports if score in report]
    return f"{fmean(counts):.0f}" if counts else NONE


def _percent(report: Scores, score: str) -> float:
    return 100 * report[score]["accuracy"]


def _figures(values: Sequence[float], form: str) -> str:
    if not values:
        return NONE
    mean = format(fmean(values), form)
    return mean if len(values) == 1 else f"{mean} ± {stdev(values):.1f}"


def section(command: str, ablation: Ablation, grids: Sequence[Grid]) -> str:
    """The tables of an ablation as Markdown, with the command that makes them."""
    main, stresses = grids[0], grids[1:]
    base = f"`{ablation.base}`, held-out rooms, right object first in %, mean ± deviation of seeds"
    parts = [f"`{command}` ({base}):", main.markdown()]
    parts += [f"{grid.title}:\n\n{grid.markdown()}" for grid in stresses]
    return "\n\n".join(parts)
