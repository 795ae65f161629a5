"""Many bags replayed, each with the questions and true objects beside it: one table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.table import Table

from spatial3d_ros.bags.options import RecordingOptions
from spatial3d_ros.errors import ConfigError
from spatial3d_ros.research.evaluation.metrics.judging import Verdict, summarise
from spatial3d_ros.research.evaluation.metrics.object_map import MapScores
from spatial3d_ros.research.evaluation.replay import replay_bag
from spatial3d_ros.research.evaluation.reports.replay_report import ReplayReport
from spatial3d_ros.research.evaluation.room_queries import queries_file
from spatial3d_ros.research.spread import HERE, Places, spread


@dataclass(frozen=True)
class BagResult:
    """Judged answers of one bag, how its map agrees with the true objects (None: unknown), and the
    seconds of recording.
    """

    verdicts: tuple[Verdict, ...]
    object_map: MapScores | None
    seconds: float

    def row(self) -> list[str]:
        """Questions, right ones, objects, those found, seconds."""
        right = sum(verdict.right for verdict in self.verdicts)
        share = f"{right / len(self.verdicts):.1%}" if self.verdicts else ""
        known = self.object_map
        objects = ["", ""] if known is None else [str(len(known.ious)), f"{known.recall(0.25):.1%}"]
        return [str(len(self.verdicts)), share, *objects, f"{self.seconds:.0f}"]


@dataclass
class BagsReport:
    """The results by path of the bag, and why others have none."""

    bags: dict[str, BagResult]
    failed: dict[str, str]
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def together(self) -> BagResult:
        """All bags as one."""
        maps = [one.object_map for one in self.bags.values() if one.object_map is not None]
        return BagResult(
            tuple(verdict for one in self.bags.values() for verdict in one.verdicts),
            sum(maps, MapScores()) if maps else None,
            sum(one.seconds for one in self.bags.values()),
        )

    def json(self) -> dict[str, Any]:
        """Everything as plain data."""
        return {
            "settings": self.settings,
            "together": _json(self.together),
            "bags": {name: _json(one) for name, one in self.bags.items()},
            "failed": self.failed,
        }

    def table(self) -> Table:
        """For the terminal: a row for each bag."""
        head = ("questions", "right", "objects", "found (IoU 0.25)", "s")
        table = Table(title=f"{len(self.bags)} bags", show_footer=True)
        for name, total in zip(("bag", *head), ("together", *self.together.row()), strict=True):
            table.add_column(name, total, justify="left" if name == "bag" else "right")
        for name, one in self.bags.items():
            table.add_row(name, *one.row())
        return table


def _json(one: BagResult) -> dict[str, Any]:
    known = {} if one.object_map is None else {"object_map": one.object_map.json()}
    return {"seconds": one.seconds, "scores": summarise(one.verdicts), **known}


def replay_bags(
    bags: Sequence[Path],
    folder: Path,
    *,
    options: RecordingOptions,
    model: str = "tiny",
    device: str = "auto",
    places: Places = HERE,
    say: Callable[[str], None] = lambda text: None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> BagsReport:
    """Replay all bags; `folder` gets a folder with report.json for each.

    Raises ConfigError for two bags of one name, and if no bag has questions or true objects beside
    it; PieceError if every bag fails.
    """
    names = [bag.name for bag in bags]
    double = sorted({name for name in names if names.count(name) > 1})
    if double:
        raise ConfigError(f"{', '.join(double)}: two bags of one name; rename one")
    if not any(path.is_file() for bag in bags for path in beside(bag)):
        files = " or ".join(path.name for path in beside(bags[0]))
        raise ConfigError(
            f"{bags[0]}: nothing to ask; put the questions or the true objects of each bag beside "
            f"it, as {files} (`spatial3d evaluate bag --help` shows both)"
        )
    work = _OneBag(folder, options, model, device)
    found = spread(work, [str(bag) for bag in bags], places, say, progress, _summary)
    return BagsReport(found.results, found.failed, {"model": model, "device": device})


def beside(bag: Path) -> tuple[Path, Path]:
    """Where the questions and the true objects of a bag are."""
    queries = queries_file(bag)
    return queries, queries.with_name(queries.name.replace(".queries.", ".names."))


def _summary(one: BagResult) -> str:
    return f"{sum(v.right for v in one.verdicts)} of {len(one.verdicts)} right"


@dataclass(frozen=True)
class _OneBag:
    folder: Path
    options: RecordingOptions
    model: str
    device: str

    def __call__(self, path: str) -> BagResult:
        bag = Path(path)
        queries, names = (file if file.is_file() else None for file in beside(bag))
        replay = replay_bag(
            bag, queries, names=names, options=self.options, model=self.model, device=self.device
        )
        report = ReplayReport.of(replay)
        report.write(self.folder / bag.name, pictures=False)
        return BagResult(
            tuple(verdict for verdict in report.verdicts if verdict is not None),
            report.map_scores(),
            replay.recording["seconds"],
        )
