"""Questions about generated rooms in the formats of ScanRefer, ReferIt3D, Multi3DRefer, ScanQA and
SQA3D (METHODS 5), beside rooms in ScanNet's layout (rooms/scannet_scans.py).

    scanrefer/ScanRefer_filtered_{train,val}.json        also the references of Scan2Cap
    referit3d/nr3d_{train,val}.csv                       what objects are and look like
    referit3d/sr3d_{train,val}.csv                       one relation each
    multi3drefer/multi3drefer_{train,val}.json
    scanqa/ScanQA_v1.0_{train,val}.json
    sqa3d/v1_balanced_{questions,sqa_annotations}_{train,val}_scannetv2.json
    scannetv2_{train,val}.txt                            scenes of the split
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from spatial3d_ros.errors import StorageError
from spatial3d_ros.research.datasets.relation_sentences import relation_sentences
from spatial3d_ros.research.datasets.scannet_objects import read_scannet_objects
from spatial3d_ros.research.language.qa_generator import make_open_questions
from spatial3d_ros.research.language.questions import Question, make_questions
from spatial3d_ros.research.rooms.catalog import Catalog, RoomObject
from spatial3d_ros.research.rooms.scannet_scans import WrittenScan, write_label_table, write_scan

VALIDATION_FIRST = 850_000
"""Seed of the first validation room, as in training on generated rooms."""
_SINGLE = ("attribute", "size", "relation", "appearance")
_LOOKS = ("attribute", "appearance")
_EYE = 1.5  # height of a person's eyes (m)


def write_scannet(
    folder: Path,
    *,
    train: int = 4,
    val: int = 2,
    seed: int = 0,
    frames: int = 12,
    questions: int = 8,
    size: tuple[int, int] = (320, 240),
    catalog: Catalog = "full",
    progress: Callable[[int, int | None], None] = lambda done, total: None,
) -> dict[str, list[WrittenScan]]:
    """Write `train` and `val` scenes with up to `questions` questions of each kind a scene.

    The rooms of training are `seed` and those after it. Raises StorageError when a file cannot be
    written.
    """
    write_label_table(folder)
    held_out = VALIDATION_FIRST + seed
    seeds = {"train": range(seed, seed + train), "val": range(held_out, held_out + val)}
    written: dict[str, list[WrittenScan]] = {}
    number = 0
    for split, rooms in seeds.items():
        written[split] = []
        for room in rooms:
            name = f"scene{number:04d}_00"
            scan = write_scan(folder, name, room, frames=frames, size=size, catalog=catalog)
            written[split].append(scan)
            number += 1
            progress(number, train + val)
        try:
            _write_split(folder, split, written[split], questions)
        except OSError as error:
            raise StorageError(f"{folder}: cannot be written ({error}); free space") from error
    return written


def _write_split(folder: Path, split: str, scans: Sequence[WrittenScan], count: int) -> None:
    rngs = [np.random.default_rng((scan.room.seed, 59)) for scan in scans]
    single, several = [], []
    for scan, rng in zip(scans, rngs, strict=True):
        asked = make_questions(scan.seen, rng, count, split=_style(split), kinds=_SINGLE)
        single.append(asked)
        kinds = ("attribute", "relation", "several", "none")
        several.append(make_questions(scan.seen, rng, count, split=_style(split), kinds=kinds))
    (folder / f"scannetv2_{split}.txt").write_text("".join(f"{s.scene_id}\n" for s in scans))
    described = [
        _description(scan, k, one)
        for scan, some in zip(scans, single, strict=True)
        for k, one in enumerate(some)
    ]
    _write(folder / "scanrefer" / f"ScanRefer_filtered_{split}.json", described)
    natural = [
        _utterance(scan, _id(one), one.phrases[0]) | {"correct_guess": "True"}
        for scan in scans
        for one in make_questions(
            scan.seen,
            np.random.default_rng((scan.room.seed, 61)),
            count,
            split=_style(split),
            kinds=_LOOKS,
        )
    ]
    _write_table(folder / "referit3d" / f"nr3d_{split}.csv", natural)
    rooms = {scan.scene_id: scan for scan in scans}
    boxes = [read_scannet_objects(folder / "scans" / name) for name in rooms]
    spatial = [
        _utterance(rooms[one.room.scene_id], one.target_id, one.text)
        | {"reference_type": one.relation}
        for one in relation_sentences(boxes, count * len(scans), 0)
        if one.target_id in {item.id for item in rooms[one.room.scene_id].seen}
    ]
    if spatial:
        _write_table(folder / "referit3d" / f"sr3d_{split}.csv", spatial)
    multiple = [
        _multiple(scan, k, one)
        for scan, some in zip(scans, several, strict=True)
        for k, one in enumerate(some)
    ]
    _write(folder / "multi3drefer" / f"multi3drefer_{split}.json", multiple)
    asked = [
        question
        for scan, rng in zip(scans, rngs, strict=True)
        for question in _questions(scan, rng, count, split)
    ]
    _write(folder / "scanqa" / f"ScanQA_v1.0_{split}.json", asked)
    situated = [
        pair
        for scan, rng in zip(scans, rngs, strict=True)
        for pair in _situated(scan, rng, count, split)
    ]
    for k, (name, key) in enumerate(
        (("questions", "questions"), ("sqa_annotations", "annotations"))
    ):
        path = folder / "sqa3d" / f"v1_balanced_{name}_{split}_scannetv2.json"
        _write(path, {key: [pair[k] for pair in situated]})


def _style(split: str) -> str:
    return "train" if split == "train" else "test"


def _id(question: Question) -> int:
    return question.targets[0]


def _description(scan: WrittenScan, number: int, question: Question) -> dict[str, Any]:
    item, text = scan.room.objects[_id(question)], question.phrases[0]
    return {
        "scene_id": scan.scene_id,
        "object_id": str(item.id),
        "object_name": item.category.replace(" ", "_"),
        "ann_id": str(number),
        "description": text,
        "token": text.split(),
    }


def _utterance(scan: WrittenScan, target: int, text: str) -> dict[str, Any]:
    objects = scan.room.objects
    label = objects[target].category
    same = [o.id for o in objects if o.category == label and o.id != target]
    ids = "-".join(map(str, (target, *same)))
    return {
        "scan_id": scan.scene_id,
        "target_id": target,
        "instance_type": label,
        "utterance": text,
        "stimulus_id": f"{scan.scene_id}-{label}-{len(same) + 1}-{ids}",
        "tokens": str(text.split()),
        "mentions_target_class": "True",
        "dataset": "generated",
    }


def _multiple(scan: WrittenScan, number: int, question: Question) -> dict[str, Any]:
    objects = scan.room.objects
    named = question.meaning[0].category
    if named is None and question.targets:
        named = objects[_id(question)].category
    of_class = Counter(item.category for item in objects)
    if not question.targets:
        kind = "zt_w_d" if of_class[named or ""] else "zt_wo_d"
    elif len(question.targets) > 1:
        kind = "mt"
    else:
        kind = "st_w_d" if of_class[objects[_id(question)].category] > 1 else "st_wo_d"
    return {
        "scene_id": scan.scene_id,
        "object_ids": list(question.targets),
        "object_name": (named or "object").replace(" ", "_"),
        "ann_id": number,
        "description": question.phrases[0],
        "eval_type": kind,
    }


def _questions(
    scan: WrittenScan, rng: np.random.Generator, count: int, split: str
) -> list[dict[str, Any]]:
    asked = make_open_questions(scan.seen, rng, count, split=_style(split), tasks=("ask",))
    return [
        {
            "scene_id": scan.scene_id,
            "question_id": f"{split}-{scan.scene_id[5:]}-{k}",
            "question": one.text,
            "answers": list(one.answers),
            "object_ids": list(one.about),
            "object_names": [scan.room.objects[i].category for i in one.about],
        }
        for k, one in enumerate(asked)
    ]


def _situated(
    scan: WrittenScan, rng: np.random.Generator, count: int, split: str
) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    pairs = []
    asked = make_open_questions(scan.seen, rng, count, split=_style(split), tasks=("ask",))
    for k, one in enumerate(asked):
        beside, faced = (scan.seen[i] for i in rng.choice(len(scan.seen), 2, replace=False))
        number = int(scan.scene_id[5:9]) * 1000 + k
        place = f"beside the {_named(beside)} and facing the {_named(faced)}"
        question = {
            "scene_id": scan.scene_id,
            "question_id": number,
            "question": one.text,
            "situation": f"I am standing {place}.",
            "alternative_situation": [f"You stand {place}."],
        }
        x, y = beside.box.center[:2]
        towards = np.subtract(faced.box.center[:2], (x, y))
        half = np.arctan2(towards[1], towards[0]) / 2
        annotation = {
            "scene_id": scan.scene_id,
            "question_id": number,
            "answers": [{"answer": one.answers[0], "answer_id": 1}],
            "position": {"x": float(x), "y": float(y), "z": _EYE},
            "rotation": {"_x": 0, "_y": 0, "_z": float(np.sin(half)), "_w": float(np.cos(half))},
        }
        pairs.append((question, annotation))
    return pairs


def _named(item: RoomObject) -> str:
    return f"{item.color} {item.category}"


def _write(path: Path, data: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data, indent=1))


def _write_table(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
