"""What each term brings when a description is resolved, and whether confidences are probabilities.

`spatial3d evaluate resolution`: questions about object maps of generated rooms, answered with all
terms and with some of them left out (weights 0).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from rich.table import Table

from spatial3d_ros.engine import EngineConfig, Spatial3D
from spatial3d_ros.research.evaluation.metrics.calibration import calibration
from spatial3d_ros.research.evaluation.rooms import load_or_record
from spatial3d_ros.research.experiments.resolution_weights import Answered, Asked, ask, observe
from spatial3d_ros.tasks.resolution_weights import Weights

PARTS: dict[str, tuple[str, ...]] = {
    "all terms": (),
    "without network": ("network", "network_nothing"),
    "without label": ("label", "detector_label", "absent", "present", "other_color"),
    "without color": ("color", "other_color"),
    "without look": ("look",),
    "without geometry": ("relation", "superlative", "size_word"),
    "network alone": (
        "label", "detector_label", "absent", "present", "other_color", "color", "look",
        "relation", "superlative", "size_word",
    ),
}  # fmt: skip
"""Terms that are left out."""


@dataclass
class ResolutionReport:
    """Answers of each row of PARTS."""

    examples: dict[str, list[Answered]] = field(
        default_factory=lambda: {name: [] for name in PARTS}
    )

    def add(self, questions: Sequence[Asked], full: Weights) -> None:
        """Answer questions with the weights of each row."""
        for name, left_out in PARTS.items():
            weights = full.without(*left_out)
            self.examples[name] += [asked.answered(weights) for asked in questions]

    def json(self) -> dict[str, object]:
        """Shares that are right by row and kind of question, and the calibration of confidences."""
        rows = {name: self._shares(found) for name, found in self.examples.items()}
        full = [e for e in self.examples["all terms"] if e.choice.objects]
        confidences = [e.choice.confidence for e in full]
        return {"rows": rows, "confidence": calibration(confidences, [e.hit for e in full])}

    def table(self) -> Table:
        """For the terminal."""
        rows = {name: self._shares(found) for name, found in self.examples.items()}
        table = Table(title="right object, or right that nothing fits")
        table.add_column("terms")
        for kind in (kinds := list(rows["all terms"])):
            n = sum(kind in ("all", e.asked.question.kind) for e in self.examples["all terms"])
            table.add_column(f"{kind} ({n})", justify="right")
        for name, shares in rows.items():
            table.add_row(name, *(f"{shares[kind]:.1%}" for kind in kinds))
        found = self.json()["confidence"]
        assert isinstance(found, dict)
        table.caption = (
            f"expected calibration error {found['ece']:.3f} of {found['n']}: "
            + ", ".join(f"{mean:.2f}: {share:.2f} ({n})" for mean, share, n in found["bins"])
        )
        return table

    @staticmethod
    def _shares(examples: list[Answered]) -> dict[str, float]:
        good = {"all": [answered.good for answered in examples]}
        for answered in examples:
            good.setdefault(answered.asked.question.kind, []).append(answered.good)
        return {kind: float(np.mean(hits)) for kind, hits in good.items()}


def evaluate_resolution(
    *,
    rooms: int,
    seed: int,
    model: str = "tiny",
    folder: Path,
    say: Callable[[str], None] = lambda text: None,
) -> ResolutionReport:
    """Questions about the rooms `seed` to `seed + rooms - 1`, with each row of PARTS."""
    engine = Spatial3D(EngineConfig(model=model))
    engine.load()
    report = ResolutionReport()
    for number in range(seed, seed + rooms):
        recorded = load_or_record(folder, number)
        observe(engine, recorded)
        report.add(list(ask(engine, recorded)), engine.weights)
        say(f"room {number}: {len(report.examples['all terms'])} questions")
    return report
