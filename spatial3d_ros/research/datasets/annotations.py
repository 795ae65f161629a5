"""Questions of all ScanNet benchmarks in one form, for training and validation with views.

The files and their checks are those of the single readers; this module only joins them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from spatial3d_ros.errors import ConfigError
from spatial3d_ros.research.datasets.multi3drefer import read_multi_descriptions
from spatial3d_ros.research.datasets.referit3d import read_utterances
from spatial3d_ros.research.datasets.scanqa import read_scene_questions
from spatial3d_ros.research.datasets.scanrefer import read_descriptions
from spatial3d_ros.research.datasets.sqa3d import read_situated_questions

Benchmark = Literal[
    "scanrefer", "referit3d", "multi3drefer", "scanqa", "sqa3d", "scan2cap", "refcoco"
]


class AnnotationFiles(BaseModel):
    """The files of one split; those that are absent are not used.

    referit3d: CSV files of Nr3D and Sr3D. sqa3d: questions and annotations. scan2cap: the file of
    ScanRefer, whose descriptions are captions.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    scanrefer: str | None = None
    referit3d: tuple[str, ...] = ()
    multi3drefer: str | None = None
    scanqa: str | None = None
    sqa3d: tuple[str, str] | None = None
    scan2cap: str | None = None

    @property
    def tasks(self) -> tuple[Literal["ask", "caption"], ...]:
        """Tasks besides grounding that these files train."""
        asks = self.scanqa is not None or self.sqa3d is not None
        given = {"ask": asks, "caption": self.scan2cap is not None}
        return tuple(task for task in ("ask", "caption") if given[task])


@dataclass(frozen=True)
class Annotation:
    """One question about a scene.

    targets: ids of the objects to ground, or that an answer or caption is about. category: class
    of the targets. answers: all accepted ones; none of a question to ground. A caption has no text.
    """

    benchmark: Benchmark
    scene_id: str
    text: str
    targets: tuple[int, ...]
    category: str = ""
    answers: tuple[str, ...] = ()

    @property
    def grounds(self) -> bool:
        """Whether objects are asked for."""
        return self.benchmark in ("scanrefer", "referit3d", "multi3drefer", "refcoco")


def read_annotations(files: AnnotationFiles) -> list[Annotation]:
    """All questions of the files, in their order. Raises ConfigError naming file, entry and field,
    and without any file.
    """
    found: list[Annotation] = []
    if files.scanrefer is not None:
        found += [
            Annotation("scanrefer", d.scene_id, d.description, (d.object_id,), d.name)
            for d in read_descriptions(files.scanrefer)
        ]
    for path in files.referit3d:
        found += [
            Annotation("referit3d", u.scan_id, u.utterance, (u.target_id,), u.instance_type)
            for u in read_utterances(path)
            if u.official
        ]
    if files.multi3drefer is not None:
        found += [
            Annotation(
                "multi3drefer", d.scene_id, d.description, tuple(dict.fromkeys(d.object_ids)),
                d.object_name.replace("_", " "),
            )
            for d in read_multi_descriptions(files.multi3drefer)
        ]  # fmt: skip
    if files.scanqa is not None:
        found += [
            Annotation("scanqa", q.scene_id, q.question, q.object_ids, answers=q.answers)
            for q in read_scene_questions(files.scanqa)
            if q.answers
        ]
    if files.sqa3d is not None:
        found += [
            Annotation("sqa3d", q.scene_id, f"{place} {q.question}", (), answers=q.answers)
            for q in read_situated_questions(*files.sqa3d)
            for place in (q.situation, *q.alternatives)
        ]
    if files.scan2cap is not None:
        found += _captions(files.scan2cap)
    if not found:
        raise ConfigError("scans: no annotation file is given; give scanrefer, scanqa, ...")
    return found


def _captions(path: str | Path) -> Iterable[Annotation]:
    groups: dict[tuple[str, int], list[str]] = defaultdict(list)
    names = {}
    for one in read_descriptions(path):
        groups[one.scene_id, one.object_id].append(one.description)
        names[one.scene_id, one.object_id] = one.name
    for key, texts in groups.items():
        yield Annotation("scan2cap", key[0], "", (key[1],), names[key], tuple(texts))


def require_objects(
    annotations: Iterable[Annotation], scene_id: str, known: Iterable[int], source: str
) -> None:
    """Raise ConfigError for annotations of a scene that refer to objects it does not have."""
    ids = set(known)
    wrong = Counter(i for one in annotations for i in one.targets if i not in ids)
    if wrong:
        shown = ", ".join(str(i) for i, _ in wrong.most_common(4))
        raise ConfigError(
            f"{source}: {scene_id}: {sum(wrong.values())} annotations refer to objects that its "
            f"aggregation does not have: {shown}; take scans and annotations of the same release"
        )
