"""What each term brings when a description is resolved, and whether confidences are probabilities.

`spatial3d evaluate resolution`: questions about object maps of generated rooms, answered with all
terms and with some of them left out (weights 0). Of layout instructions, kind "edit", the objects
that they name are asked in the same way; what is done to them, where and how far, is text alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from rich.table import Table

from spatial3d_ros.engine import EngineConfig, Spatial3D
from spatial3d_ros.errors import QueryError
from spatial3d_ros.research.evaluation.layout import layout_questions
from spatial3d_ros.research.evaluation.metrics.calibration import calibration
from spatial3d_ros.research.evaluation.rooms import load_or_record
from spatial3d_ros.research.experiments.resolution_weights import (
    Answered,
    Asked,
    ask,
    observe,
    right_objects,
)
from spatial3d_ros.research.language.layout_instructions import LayoutQuestion
from spatial3d_ros.research.language.questions import Question
from spatial3d_ros.research.rooms.catalog import catalog_of_room
from spatial3d_ros.research.rooms.recorded_rooms import RecordedRoom
from spatial3d_ros.tasks.edit_query import Instruction, instruction_of
from spatial3d_ros.tasks.resolution_weights import Weights

PARTS: dict[str, tuple[str, ...]] = {
    "all terms": (),
    "without network": ("network", "network_nothing"),
    "without label": ("label", "absent", "present", "other_color"),
    "without color": ("color", "other_color"),
    "without look": ("look",),
    "without geometry": ("relation", "superlative", "size_word"),
    "network alone": (
        "label", "absent", "present", "other_color", "color", "look", "relation",
        "superlative", "size_word",
    ),
}  # fmt: skip
"""Terms that are left out."""
EDITS = 24  # layout instructions of a room


@dataclass
class ResolutionReport:
    """Answers of each row of PARTS."""

    examples: dict[str, list[Answered]] = field(
        default_factory=lambda: {name: [] for name in PARTS}
    )
    edits: list[bool] = field(default_factory=list)
    """Of each layout instruction, whether action, relation and amount are read as meant."""

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
        return {
            "rows": rows,
            "confidence": calibration(confidences, [e.hit for e in full]),
            "edits_read": {
                "n": len(self.edits),
                "share": sum(self.edits) / max(len(self.edits), 1),
            },
        }

    def table(self) -> Table:
        """For the terminal."""
        rows = {name: self._shares(found) for name, found in self.examples.items()}
        table = Table(title="right object, or right that nothing fits")
        table.add_column("terms")
        for kind in (kinds := list(rows["all terms"])):
            n = sum(kind in _columns(e) for e in self.examples["all terms"])
            table.add_column(f"{kind} ({n})", justify="right")
        for name, shares in rows.items():
            table.add_row(name, *(f"{shares[kind]:.1%}" for kind in kinds))
        found = self.json()["confidence"]
        assert isinstance(found, dict)
        table.caption = (
            f"edits whose action, relation and amount are read: {sum(self.edits)} of "
            f"{len(self.edits)}; expected calibration error {found['ece']:.3f} of {found['n']}: "
            + ", ".join(f"{mean:.2f}: {share:.2f} ({n})" for mean, share, n in found["bins"])
        )
        return table

    @staticmethod
    def _shares(examples: list[Answered]) -> dict[str, float]:
        good: dict[str, list[bool]] = {}
        for answered in examples:
            for column in _columns(answered):
                good.setdefault(column, []).append(answered.good)
        return {kind: float(np.mean(hits)) for kind, hits in good.items()}


def _columns(answered: Answered) -> tuple[str, ...]:
    kind = answered.asked.question.kind
    return (kind,) if kind == "edit" else ("all", kind)


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
        recorded = load_or_record(folder, number, catalog_of_room("both", number))
        observe(engine, recorded)
        report.add(list(ask(engine, recorded)), engine.weights)
        report.add(list(_edits(engine, recorded, report.edits)), engine.weights)
        say(f"room {number}: {len(report.examples['all terms'])} questions")
    return report


def _edits(engine: Spatial3D, recorded: RecordedRoom, read: list[bool]) -> Iterator[Asked]:
    """Each object that a layout instruction about a room names; `read` gets, for each instruction,
    whether it is understood.
    """
    objects, room = engine.scene().objects, recorded.room
    for wanted, _ in layout_questions(room, recorded.seen(), room.seed, EDITS):
        try:
            turn = engine.understood(wanted.text)
            read.append(is_read(instruction_of(turn.query), wanted))
            turn.selection.choose(turn.query.targets)
        except QueryError:
            read.append(False)
            continue
        named = turn.query.targets[0 if wanted.targets else 1 :]  # without what is new
        for description, target in zip(named, (*wanted.targets, *wanted.anchors), strict=False):
            question = Question("edit", wanted.subkind, wanted.text, (target,), "")
            right = right_objects(objects, recorded, question)
            yield Asked(question, description, turn.selection, right)


def is_read(found: Instruction, wanted: LayoutQuestion) -> bool:
    """Whether action, relation and amount of an instruction are those that are meant."""
    action = wanted.relation if wanted.relation in ("swap", "remove", "turn") else "move"
    if not wanted.targets:
        action = "place"
    amounts = found.degrees == wanted.degrees and found.metres == wanted.metres
    placed = action not in ("move", "place") or found.relation == wanted.relation
    return found.action == action and placed and amounts
