"""The report of an experiment: the gate first, then tables with paired differences, verdicts."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev

from spatial3d_ros.research.evaluation.reports.results_page import TextTable
from spatial3d_ros.research.experiments.ablations import Result, Run, results, slug
from spatial3d_ros.research.experiments.experiment import FOREIGN, Claim, Experiment
from spatial3d_ros.research.experiments.measuring import PICTURE, Asked, stored_answers
from spatial3d_ros.research.experiments.paired import Difference, paired_difference, verdict

NONE = "-"
AT_TEST = "at test: "
Arms = Mapping[str, Mapping[int, Asked]]
"""The answers of each arm by seed."""


@dataclass(frozen=True)
class GateState:
    """Whether the gate is reached (None: not evaluated yet), and what was found of it."""

    reached: bool | None
    text: str


@dataclass(frozen=True)
class ExperimentReport:
    """The results of an experiment so far."""

    experiment: Experiment
    runs: Sequence[Run]
    found: Mapping[str, Result]
    arms: Arms

    def gate(self) -> GateState:
        """The gate, over the seeds of its variant that are finished."""
        gate = self.experiment.gate
        seeds = self.arms.get(gate.of, {})
        if not seeds:
            return GateState(None, f"gate: not evaluated yet; it needs the variant '{gate.of}'")
        accuracy = fmean(_share(asked, gate.of, "all") for asked in seeds.values())
        own = fmean(_share(asked, gate.of, gate.column) for asked in seeds.values())
        other = fmean(_share(asked, FOREIGN, gate.column) for asked in seeds.values())
        varies = fmean(asked.measures["variation"] for asked in seeds.values())
        checks = [
            (accuracy, gate.accuracy, f"'{gate.of}' answers {accuracy:.1%} (at least "
             f"{gate.accuracy:.0%})"),
            (own - other, gate.foreign, f"{FOREIGN} cost {100 * (own - other):.1f} points on "
             f"{gate.column} (at least {100 * gate.foreign:.0f})"),
            (varies, gate.variation, f"variation of projected features {varies:.2f} (above "
             f"{gate.variation})"),
        ]  # fmt: skip
        reached = all(found >= bound for found, bound, _ in checks)
        text = "; ".join(
            f"{words}: {'yes' if found >= bound else 'no'}" for found, bound, words in checks
        )
        state = "reached" if reached else "not reached, so no table below decides anything"
        return GateState(reached, f"gate {state}: {text}; {len(seeds)} seeds")

    def tables(self) -> list[TextTable]:
        """Accuracy of all arms, what was measured besides, and the claims with verdicts."""
        return [self.accuracy_table(), *self._measures_table(), self.claims_table()]

    def accuracy_table(self) -> TextTable:
        """Mean and deviation over seeds by column; paired differences to the first variant."""
        made, columns = self.experiment, self.experiment.columns
        reference = next(iter(made.variants))
        papers = [made.paper] if made.paper else []
        head = ("arm", "seeds", *columns, f"Δ to {reference} [95 %]", "other class", *papers)
        rows = []
        for name, seeds in self.arms.items():
            cells = [spread([_share(a, name, of) for a in seeds.values()]) for of in
                     columns.values()]  # fmt: skip
            gap = NONE if name == reference else _shown(self.difference(name, reference, "all"))
            wrong = spread([_other_class(asked, name) for asked in seeds.values()])
            paper = made.variants[name].paper if name in made.variants else ""
            shown = name if name in made.variants else f"{AT_TEST}{name}"
            rows.append(
                (shown, str(len(seeds)), *cells, gap, wrong, *[paper or NONE] * len(papers))
            )
        any_asked = next((a for seeds in self.arms.values() for a in seeds.values()), None)
        if any_asked is not None:
            members = [any_asked.members(of) for of in columns.values()]
            counts = [str(int(kept.sum())) for kept in members]
            chance = [f"{100 * any_asked.chance[kept].mean():.1f}" if kept.any() else NONE
                      for kept in members]  # fmt: skip
            rest = ("", "", *[""] * len(papers))
            rows += [("questions", "", *counts, *rest), ("chance", "", *chance, *rest)]
        return TextTable(made.title, head, tuple(rows))

    def _measures_table(self) -> list[TextTable]:
        names = dict.fromkeys(
            n for seeds in self.arms.values() for asked in seeds.values() for n in asked.measures
        )
        rows = [
            (name, *(_number([a.measures[n] for a in seeds.values() if n in a.measures])
                     for n in names))
            for name, seeds in self.arms.items()
            if name in self.experiment.variants
        ]  # fmt: skip
        return [TextTable("Measured in the features", ("arm", *names), tuple(rows))] if rows else []

    def claims_table(self) -> TextTable:
        """Each claim with the paper's figure, ours, and the verdict."""
        reached = self.gate().reached
        rows = []
        for claim in self.experiment.claims:
            found = self.difference(claim.arm, claim.against, claim.column)
            bound, sign = claim.bound
            said = verdict(found, bound, sign) if reached else "cannot be told (gate)"
            rows.append((claim.text, claim.paper or NONE, _rule(claim), _shown(found), said))
        head = ("claim", "paper", "holds if", "found [95 %]", "verdict")
        return TextTable("Claims", head, tuple(rows))

    def difference(self, arm: str, against: str, column: str) -> Difference | None:
        """Paired difference over the seeds that both arms have with the same questions."""
        ours, theirs = self.arms.get(arm, {}), self.arms.get(against, {})
        pairs = [
            (ours[seed].right(arm, column), theirs[seed].right(against, column))
            for seed in ours
            if seed in theirs and ours[seed].questions == theirs[seed].questions
        ]
        known = [(a, b) for a, b in pairs if a is not None and b is not None]
        if not known:
            return None
        return paired_difference([a[0] for a, _ in known], [b[0] for _, b in known], known[0][0][1])

    def pictures(self, page: Path) -> list[str]:
        """Copy the pictures of the first finished seed of each variant to the folder of a page;
        lines of Markdown that show them.
        """
        lines = []
        shown: set[str] = set()
        for run in self.runs:
            done = self.found.get(run.settings)
            if done is None or run.variant in shown or not (done.folder / PICTURE).is_file():
                continue
            shown.add(run.variant)
            name = f"{self.experiment.name}_{slug(run.variant)}.png"
            shutil.copyfile(done.folder / PICTURE, page.parent / name)
            lines.append(f"{run.variant}, seed {run.seed}:\n\n![{run.variant}]({name})")
        return lines

    def json(self) -> dict[str, object]:
        """All accuracies, differences and verdicts."""
        gate, columns = self.gate(), self.experiment.columns
        arms = [
            {"arm": name, "seed": seed, "measures": asked.measures,
             "accuracy": {c: round(_share(asked, name, of), 4) for c, of in columns.items()}}
            for name, seeds in self.arms.items() for seed, asked in seeds.items()
        ]  # fmt: skip
        claims = [dict(zip(("claim", "paper", "rule", "found", "verdict"), row, strict=True))
                  for row in self.claims_table().rows]  # fmt: skip
        return {"name": self.experiment.name, "gate": gate.text, "gate_reached": gate.reached,
                "arms": arms, "claims": claims}  # fmt: skip


def experiment_report(experiment: Experiment, runs: Sequence[Run]) -> ExperimentReport:
    """Collect the answers of all finished runs."""
    found = results(runs, experiment.out.parent)
    arms: dict[str, dict[int, Asked]] = {}
    for variant in experiment.variants:
        for name in experiment.arms_of(variant):
            arms[name] = {}
    for run in runs:
        done = found.get(run.settings)
        asked = stored_answers(done.folder, experiment, run.variant) if done else None
        for name in experiment.arms_of(run.variant) if asked else ():
            assert asked is not None
            arms[name][run.seed] = asked
    return ExperimentReport(experiment, runs, found, {n: s for n, s in arms.items() if s})


def spread(values: Sequence[float]) -> str:
    """Mean and deviation of shares in percent: "83.1 ± 0.8"."""
    if not values:
        return NONE
    mean = f"{100 * fmean(values):.1f}"
    return mean if len(values) == 1 else f"{mean} ± {100 * stdev(values):.1f}"


def _share(asked: Asked, arm: str, column: str) -> float:
    found = asked.right(arm, column)
    return float(found[0].mean()) if found is not None and len(found[0]) else float("nan")


def _other_class(asked: Asked, arm: str) -> float:
    """Share of the answers that are an object of another class than was asked for."""
    return float(1 - asked.arms[arm]["same_class"][asked.members("all")].mean())


def _number(values: Sequence[float]) -> str:
    return f"{fmean(values):.3g}" if values else NONE


def _shown(found: Difference | None) -> str:
    return NONE if found is None else str(found)


def _rule(claim: Claim) -> str:
    bound, sign = claim.bound
    return f"{claim.arm} - {claim.against} {'<=' if sign == 'below' else '>='} {bound:+g}"
