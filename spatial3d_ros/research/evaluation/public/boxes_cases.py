"""Sentences about rooms of labelled boxes, from ReferIt3D and ScanRefer (METHODS 5.1, 5.2)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from spatial3d_ros.errors import ConfigError
from spatial3d_ros.geometry.box import iou_matrix
from spatial3d_ros.research.datasets.box_sources import BoxSource, as_source
from spatial3d_ros.research.datasets.boxes_only import BoxRoom
from spatial3d_ros.research.datasets.label_classes import ClassMode, read_class_map
from spatial3d_ros.research.datasets.references import match
from spatial3d_ros.research.datasets.referit3d import (
    EASY_COUNT,
    VIEW_WORDS,
    is_view_dependent,
    read_utterances,
)
from spatial3d_ros.research.datasets.relation_sentences import Mix, relation_sentences
from spatial3d_ros.research.datasets.scanrefer import read_descriptions, unique_objects

THRESHOLDS = (0.25, 0.5)
RELATIONS = "sr3d-style"
UniqueBy = Literal["scene", "annotated"]


@dataclass(frozen=True)
class Case:
    """One sentence: the room, the slot of its target, the boxes to choose from, and its splits.
    `choices`: `truth` itself, or the boxes of a detector.
    """

    text: str
    truth: BoxRoom
    target: int
    choices: BoxRoom
    splits: tuple[str, ...]

    @property
    def label(self) -> str:
        """Label of the target."""
        return self.truth.labels[self.target]

    def hits(self) -> dict[str, np.ndarray]:
        """For each measure, which choices (N,) are right: the target itself, or with detections
        every box whose IoU with it reaches the threshold.
        """
        if self.choices is self.truth:
            return {"accuracy": np.arange(len(self.choices.objects)) == self.target}
        overlaps = iou_matrix(self.choices.boxes, self.truth.boxes[self.target])[:, 0]
        return {f"acc@{t}": overlaps >= t for t in THRESHOLDS}


@dataclass(frozen=True)
class Cases:
    """The sentences of a benchmark. absent: entries about unknown scenes or objects. left_out: how
    many the official filter drops. settings: how it was set up.
    """

    name: str
    cases: tuple[Case, ...]
    absent: dict[str, Any]
    left_out: int
    settings: dict[str, str]

    def __post_init__(self) -> None:
        if not self.cases:
            raise ConfigError(
                f"{self.settings['utterances']}: no sentence to evaluate: {self.left_out} left out "
                f"by the official filter, {self.absent['count']} about scenes or objects that "
                f"{self.settings['objects']} lacks; use files of the same scenes"
            )


def referit_cases(
    objects: str | Path | BoxSource,
    utterances: str | Path,
    *,
    detections: str | Path | BoxSource | None = None,
) -> Cases:
    """Nr3D or Sr3D after the official filter, on true boxes or on `detections`, a source of the
    same form as `objects` (a path is a file of boxes); easy and hard by `stimulus_id`.

    Raises ConfigError for a file that cannot be used, or when no sentence is left.
    """
    everything = read_utterances(utterances)
    rooms, detected = _read(objects, detections, {one.scan_id for one in everything})
    official = [one for one in everything if one.official]
    found = match(official, _ids(rooms), lambda one: (one.scan_id, (one.target_id,)))
    cases = []
    for one in found.kept:
        room = rooms[one.scan_id]
        splits = _splits(one.class_count <= EASY_COUNT, one.view_dependent, one.class_count == 1)
        kind = (one.reference_type,) if one.reference_type else ()
        target = room.slots[one.target_id]
        choices = _choices(room, detected)
        cases.append(Case(one.utterance, room, target, choices, (*splits, *kind)))
    settings = {
        "objects": as_source(objects).name,
        "utterances": str(utterances),
        "boxes": _boxes(detections),
        "filter": "target class mentioned; guessed right, where a listener was asked",
        "splits": "by stimulus_id and tokens",
    }
    left_out = len(everything) - len(official)
    return Cases("referit3d", tuple(cases), found.json(), left_out, settings)


def scanrefer_cases(
    objects: str | Path | BoxSource,
    utterances: str | Path,
    *,
    detections: str | Path | BoxSource | None = None,
    classes: ClassMode = "raw",
    label_table: str | Path | None = None,
    unique_by: UniqueBy = "scene",
) -> Cases:
    """ScanRefer on true boxes, or on `detections`, a source of the same form as `objects`.

    unique_by: `annotated` counts the objects that the file describes, as the official evaluation
    does, and needs the file of a whole split; `scene` counts all objects of the scene. Easy and
    hard are ReferIt3D's rule on the objects' labels. Raises ConfigError for a file that cannot be
    used, or when no sentence is left.
    """
    if unique_by not in get_args(UniqueBy):
        raise ConfigError(
            f"unique_by: '{unique_by}' is unknown; use {' or '.join(get_args(UniqueBy))}"
        )
    class_of = read_class_map(classes, label_table)
    everything = read_descriptions(utterances)
    rooms, detected = _read(objects, detections, {one.scene_id for one in everything})
    found = match(everything, _ids(rooms), lambda one: (one.scene_id, (one.object_id,)))
    alone = unique_objects(everything, class_of)
    of_class = {name: Counter(map(class_of, room.labels)) for name, room in rooms.items()}
    cases = []
    for one in found.kept:
        room = rooms[one.scene_id]
        target = room.slots[one.object_id]
        label = room.labels[target]
        unique = of_class[one.scene_id][class_of(label)] == 1
        if unique_by == "annotated":
            unique = (one.scene_id, one.object_id) in alone
        splits = _splits(room.count(label) <= EASY_COUNT, is_view_dependent(one.words), unique)
        choices = _choices(room, detected)
        cases.append(Case(one.description, room, target, choices, splits))
    settings = {
        "objects": as_source(objects).name,
        "utterances": str(utterances),
        "boxes": _boxes(detections),
        "splits": f"unique by {classes} class among all objects "
        + ("of the scene" if unique_by == "scene" else "that the file describes"),
    }
    return Cases("scanrefer", tuple(cases), found.json(), 0, settings)


def relation_cases(
    objects: str | Path | BoxSource,
    count: int,
    seed: int = 0,
    mix: Mix = "sr3d",
    *,
    detections: str | Path | BoxSource | None = None,
) -> Cases:
    """Sentences like those of Sr3D, generated about the annotated objects of all rooms, with a
    split for each relation (relation_sentences.py); on true boxes, or on `detections`.

    Raises ConfigError for another mix or a file that cannot be used, and without any sentence.
    """
    rooms, detected = _read(objects, detections, None)
    cases = []
    for one in relation_sentences(rooms.values(), count, seed, mix):
        room, target = one.room, one.room.slots[one.target_id]
        splits = _splits(
            room.count(room.labels[target]) <= EASY_COUNT, one.relation in VIEW_WORDS, False
        )
        choices = _choices(room, detected)
        cases.append(Case(one.text, room, target, choices, (*splits, one.relation)))
    settings = {
        "objects": as_source(objects).name,
        "utterances": f"{len(cases)} generated with seed {seed}, {mix} mix of relations",
        "boxes": _boxes(detections),
        "splits": "by label and relation",
    }
    return Cases(RELATIONS, tuple(cases), {"count": 0, "what": {}}, 0, settings)


def _read(
    objects: str | Path | BoxSource,
    detections: str | Path | BoxSource | None,
    wanted: set[str] | None,
) -> tuple[Mapping[str, BoxRoom], Mapping[str, BoxRoom] | None]:
    rooms = as_source(objects).rooms(wanted)
    return rooms, None if detections is None else as_source(detections).rooms(wanted)


def _choices(room: BoxRoom, detected: Mapping[str, BoxRoom] | None) -> BoxRoom:
    """The boxes to choose from: the room itself, or a detector's boxes of it."""
    if detected is None:
        return room
    return detected.get(room.scene_id, BoxRoom(scene_id=room.scene_id, objects=()))


def _boxes(detections: str | Path | BoxSource | None) -> str:
    if detections is None:
        return "true boxes"
    return f"detections of {Path(as_source(detections).name).name}"


def _ids(rooms: Mapping[str, BoxRoom]) -> dict[str, dict[int, int]]:
    return {name: room.slots for name, room in rooms.items()}


def _splits(easy: bool, view_dependent: bool, unique: bool) -> tuple[str, ...]:
    return (
        "easy" if easy else "hard",
        "view-dependent" if view_dependent else "view-independent",
        "unique" if unique else "multiple",
    )
