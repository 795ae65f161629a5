"""Referring benchmarks on rooms of boxes: cases, floors, the network, the commands."""

from __future__ import annotations

import csv
import json
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from helpers.small_model import small_model
from spatial3d_ros.__main__ import app
from spatial3d_ros.errors import ConfigError
from spatial3d_ros.model.checkpoint import save_model
from spatial3d_ros.research.datasets.boxes_only import BoxObject, BoxRoom
from spatial3d_ros.research.datasets.relation_sentences import (
    RELATION_TEMPLATES,
    relation_sentences,
)
from spatial3d_ros.research.evaluation.public.boxes_cases import (
    Case,
    referit_cases,
    relation_cases,
    scanrefer_cases,
)
from spatial3d_ros.research.evaluation.public.boxes_report import (
    HEURISTIC,
    NETWORK,
    RANDOM,
    RULES,
    evaluate_boxes,
)
from spatial3d_ros.research.evaluation.public.boxes_runner import BoxesRunner, scene_batch
from spatial3d_ros.research.evaluation.public.confusion import KINDS, confusion
from spatial3d_ros.research.evaluation.public.referit_heuristic import choose_nearest, named_labels
from spatial3d_ros.research.evaluation.public.relation_rules import choose_by_rule
from spatial3d_ros.tasks.model_runner import ModelRunner


def thing(id: int, label: str, x: float, **more: object) -> dict:
    return {"id": id, "label": label, "center": [x, 0, 0.5], "size": [1, 1, 1], **more}


# chair 10 at 0, chair 11 at 4, table 12 at 5, door 13 at -6, office chair 14 at 8
OBJECTS = [
    thing(10, "chair", 0, avg_rgb=[255, 0, 0]), thing(11, "chair", 4), thing(12, "table", 5),
    thing(13, "door", -6), thing(14, "office chair", 8),
]  # fmt: skip
ROOM = BoxRoom.model_validate({"scene_id": "s", "objects": OBJECTS})


def test_named_labels_in_the_order_of_the_sentence() -> None:
    labels = ["chair", "office chair", "table", "box"]
    assert named_labels("The office chair, by two Tables and boxes.", labels) == [
        "office chair", "table", "box",
    ]  # fmt: skip
    assert named_labels("the chair and the armchair", labels) == ["chair"]
    assert named_labels("nothing of that", labels) == []


@pytest.mark.parametrize(
    ("text", "id"),
    [
        ("the chair near the table", 11),
        ("chair far from the table", 10),
        ("the chair that is opposite the door", 11),
        ("the chair by the door", 10),
        ("the chair", 10),
        ("the office chair", 14),
        ("the table between the chairs", 12),
    ],
)
def test_the_rule_takes_the_nearest_anchor(text: str, id: int) -> None:
    assert ROOM.objects[choose_nearest(ROOM, text)].id == id


def test_the_rule_without_a_known_noun() -> None:
    assert choose_nearest(ROOM, "the red one") is None


def rooms_file(path: Path, **rooms: list[dict]) -> Path:
    lines = [json.dumps({"scene_id": k, "objects": v}) for k, v in rooms.items()]
    path.write_text("\n".join(lines))
    return path


def nr3d_file(path: Path, *rows: tuple[str, int, str, str]) -> Path:
    names = ["scan_id", "target_id", "utterance", "correct_guess", "stimulus_id", "instance_type"]
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*names, "tokens", "mentions_target_class"])
        for scene, target, text, guess in rows:
            stimulus = f"{scene}-chair-2-{target}-99"
            tokens = str(text.split())
            writer.writerow([scene, target, text, guess, stimulus, "chair", tokens, "True"])
    return path


def scanrefer_file(path: Path, *rows: tuple[str, int, str]) -> Path:
    path.write_text(
        json.dumps(
            [
                {
                    "scene_id": scene, "object_id": str(target), "object_name": "x", "ann_id": "0",
                    "description": text, "token": text.split(),
                }
                for scene, target, text in rows
            ]
        )
    )  # fmt: skip
    return path


@pytest.fixture
def rooms(tmp_path: Path) -> Path:
    return rooms_file(tmp_path / "rooms.jsonl", s=OBJECTS)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("weights")
    model, prompt = small_model()
    save_model(folder, model, prompt.tokenizer, torch.float32)
    return str(folder)


def test_referit_cases(tmp_path: Path, rooms: Path) -> None:
    path = nr3d_file(
        tmp_path / "nr3d.csv",
        ("s", 11, "chair left of table", "True"),
        ("s", 10, "chair", "False"),
        ("s", 77, "chair", "True"),
        ("gone", 1, "chair", "True"),
    )
    asked = referit_cases(rooms, path)
    (case,) = asked.cases
    assert (case.target, case.label) == (1, "chair")
    assert case.splits == ("easy", "view-dependent", "multiple")
    assert asked.left_out == 1
    assert asked.absent == {"count": 2, "what": {"s: object 77": 1, "gone": 1}}
    assert {k: v.tolist() for k, v in case.hits().items()} == {
        "accuracy": [False, True, False, False, False]
    }
    with pytest.raises(ConfigError, match=r"no sentence to evaluate: 0 left out .*, 1 about"):
        referit_cases(rooms, nr3d_file(path, ("gone", 1, "chair", "True")))


def test_scanrefer_cases_on_detections(tmp_path: Path, rooms: Path) -> None:
    found = rooms_file(
        tmp_path / "found.jsonl", s=[thing(0, "chair", 0.5), thing(1, "seat", 4), thing(2, "x", 1)]
    )
    path = scanrefer_file(tmp_path / "s.json", ("s", 10, "a chair"), ("s", 13, "left door"))
    chair, door = scanrefer_cases(rooms, path, detections=found).cases
    # The chair at 0 overlaps the box at 0.5 by 1/3, and that at 1 not at all.
    assert chair.hits()["acc@0.25"].tolist() == [True, False, False]
    assert not chair.hits()["acc@0.5"].any()
    assert chair.splits == ("easy", "view-independent", "multiple")
    assert door.splits == ("easy", "view-dependent", "unique")
    annotated = scanrefer_cases(rooms, path, unique_by="annotated").cases
    for wrong in ({"unique_by": "room"}, {"classes": "nyu"}):
        with pytest.raises(ConfigError, match="is unknown; use"):
            scanrefer_cases(rooms, path, **wrong)
    assert annotated[0].splits[2] == "multiple"  # both are called "x"
    assert annotated[0].choices is annotated[0].truth


def test_the_report(tmp_path: Path, rooms: Path, weights: str) -> None:
    path = scanrefer_file(
        tmp_path / "s.json",
        ("s", 11, "the chair near the table"),
        ("s", 11, "the chair near the door"),
        ("s", 12, "the table"),
    )
    asked = scanrefer_cases(rooms, path)
    report = evaluate_boxes(asked, weights)
    data = report.json()
    assert json.loads(json.dumps(data)) == data
    assert data["samples"]["evaluated"] == 3
    assert data["samples"]["scenes"] == 1
    scores = data["scores"]
    assert scores[HEURISTIC]["overall"] == {"n": 3, "accuracy": pytest.approx(2 / 3)}
    assert scores[HEURISTIC]["multiple"] == {"n": 2, "accuracy": 0.5}
    assert scores[RANDOM]["overall"]["accuracy"] == pytest.approx((0.5 + 0.5 + 1) / 3)
    assert list(scores[NETWORK]) == ["overall", "easy", "view-independent", "unique", "multiple"]
    assert data["seconds_per_question"][NETWORK] > 0
    assert evaluate_boxes(asked, weights).right == report.right
    reader = BoxesRunner.load(weights)
    chosen = reader.choose(ROOM, [case.text for case in asked.cases])
    right = [float(k == case.target) for k, case in zip(chosen, asked.cases, strict=True)]
    assert report.right[NETWORK]["accuracy"] == right


def test_a_scene_without_detections_is_wrong_and_told(
    tmp_path: Path, rooms: Path, weights: str
) -> None:
    empty = rooms_file(tmp_path / "found.jsonl", s=[])
    path = scanrefer_file(tmp_path / "s.json", ("s", 11, "the chair near the table"))
    data = evaluate_boxes(scanrefer_cases(rooms, path, detections=empty), weights).json()
    assert data["samples"]["scenes_without_boxes"] == 1
    assert {s["overall"]["acc@0.25"] for s in data["scores"].values()} == {0.0}


def test_what_the_network_is_given(weights: str) -> None:
    reader = ModelRunner.load(weights, dtype="float32")
    batch = scene_batch(ROOM, reader)
    low = (batch.boxes[0, :, :3] - batch.boxes[0, :, 3:] / 2).amin(0)
    high = (batch.boxes[0, :, :3] + batch.boxes[0, :, 3:] / 2).amax(0)
    assert torch.allclose(low[:2], -high[:2])  # the middle of the floor is the origin
    assert low[2] == 0
    assert batch.colors[0, 0].tolist() == [1, 0, 0]
    assert batch.colors[0, 1:].isnan().all()
    ids = [k for k in batch.labels[0, 4, 0].tolist() if k >= 0]
    assert ids == reader.prompt.ids(" office chair")
    assert not batch.has_views


def test_a_room_with_more_objects_than_identifiers(weights: str) -> None:
    reader = BoxesRunner.load(weights)
    rng = np.random.default_rng(0)
    objects = tuple(
        BoxObject(id=k, label="chair", center=tuple(rng.uniform(-3, 3, 3)), size=(1, 1, 1))
        for k in range(reader.identifiers + 32)
    )
    room = BoxRoom(scene_id="s", objects=objects)
    (chosen,) = reader.choose(room, ["the chair"])
    assert 0 <= chosen < len(objects)


def made(*objects: tuple, front: bool = True) -> dict[str, int]:
    """Targets by relation of a room with one sofa at the origin that looks along x."""
    sofa = thing(0, "sofa", 0, front_point=[2, 0, 0] if front else None)
    others = [
        {"id": k, "label": label, "center": center, "size": [0.4, 0.4, 0.4]}
        for k, (label, center) in enumerate(objects, 1)
    ]
    room = BoxRoom.model_validate({"scene_id": "s", "objects": [sofa, *others]})
    return {one.relation: one.target_id for one in relation_sentences([room], 100)}


def test_sides_are_those_that_one_sees_from_in_front() -> None:
    pair = (("mug", [0, -2, 0.2]), ("mug", [0, 2, 0.2]))
    assert made(*pair) == {"left": 1, "right": 2}  # somebody at (2, 0) looks along -x
    assert made(*pair, front=False) == {}
    pair = (("mug", [2, 0, 0.2]), ("mug", [-1.2, 0, 0.2]))
    assert made(*pair) == {"front": 1, "behind": 2, "farthest": 1, "closest": 2}
    slanting = (("mug", [1.5, 1.5, 0.2]), ("mug", [4.5, -4.5, 0.2]))  # 45 degrees: neither side
    assert not {"left", "right", "front", "behind"} & made(*slanting).keys()


def test_other_relations_and_what_is_too_close_to_tell() -> None:
    floor = ("mug", [0, 3, 0.2])
    assert made(("mug", [0, 0, 2]), floor)["above"] == 1
    assert made(("mug", [0, 0, -1]), floor)["below"] == 1
    resting = made(("mug", [0, 0, 1.22]), floor)  # 2 cm over the sofa's top
    assert resting["supported by"] == 1
    assert "above" not in resting
    assert "supported by" not in made(("mug", [0, 0, 1.22]), ("mug", [0.2, 0, 1.4]))
    table = ("table", [3, 0, 0.5])
    assert made(("mug", [1.5, 0.2, 0.5]), ("mug", [1.5, 3, 0.5]), table)["between"] == 1
    assert "between" not in made(("mug", [1.5, 0.2, 0.5]), ("mug", [1.8, 1, 0.5]), table)
    assert made(("mug", [0, 2, 0.5]), ("mug", [0, -2.2, 0.5]), front=False) == {}  # 0.2 m nearer
    assert made(("mug", [0, 2, 0.5]), front=False) == {}  # alone of its class


def test_the_same_seed_makes_the_same_sentences(rooms: Path) -> None:
    cases = relation_cases(rooms, 100).cases
    assert {case.splits[-1] for case in cases} <= RELATION_TEMPLATES.keys()
    assert [c.text for c in relation_cases(rooms, 100).cases] == [c.text for c in cases]
    assert all("{" not in case.text and case.label in case.text for case in cases)


def test_names_that_differ_by_number_only_are_not_used() -> None:
    pair = (("box", [0, -2, 0.2]), ("box", [0, 3, 0.2]))
    assert made(*pair, front=False) == {"closest": 1, "farthest": 2}
    assert made(*pair, ("boxes", [3, 3, 0.2]), front=False) == {}


def test_fronts_in_doubt_are_not_used() -> None:
    mugs = tuple(BoxObject(id=k, label="mug", center=(0, y, 0.2), size=(0.4, 0.4, 0.4))
                 for k, y in ((1, -2.0), (2, 2.0)))  # fmt: skip

    def sides(label: str, size: tuple, front: tuple) -> set[str]:
        anchor = BoxObject(id=0, label=label, center=(0, 0, 0.5), size=size, front_point=front)
        room = BoxRoom(scene_id="s", objects=(anchor, *mugs))
        return {one.relation for one in relation_sentences([room], 100)}

    assert sides("shelf", (0.6, 1.2, 1), (0.4, 0, 0.5)) == {"left", "right"}
    assert sides("shelf", (1.2, 0.6, 1), (0.4, 0, 0.5)) == set()  # a narrow side
    assert sides("bed", (2.0, 1.2, 1), (0.4, 0, 0.5)) == {"left", "right"}  # deeper than wide
    assert sides("shelf", (0.6, 1.2, 1), (0.4, 0.3, 0.5)) == set()  # a corner
    assert sides("coffee table", (0.6, 1.2, 1), (0.4, 0, 0.5)) == set()


def test_mixes(rooms: Path) -> None:
    cases = relation_cases(rooms, 10, mix="equal").cases
    assert max(Counter(case.splits[-1] for case in cases).values()) == 1
    with pytest.raises(ConfigError, match="use sr3d or equal"):
        relation_cases(rooms, 10, mix="natural")


def test_what_is_taken_instead() -> None:
    room = BoxRoom(
        scene_id="s",
        objects=tuple(
            BoxObject(id=k, label=label, center=(x, 0, 0.5), size=(0.4, 0.4, 0.4))
            for k, (label, x) in enumerate(
                (("chair", 1), ("chair", 2), ("chair", 4), ("table", 0), ("lamp", 9))
            )
        ),
    )
    case = Case("the chair closest to the table", room, 0, room, ("hard", "closest"))
    counts = confusion([case] * 6, [0, 2, 1, 3, 4, None])
    assert counts["closest"] == {"n": 6, **dict.fromkeys(KINDS, pytest.approx(1 / 6))}
    assert counts["overall"] == counts["hard"] == counts["closest"]


def run(*arguments: object) -> dict:
    result = CliRunner().invoke(app, ["evaluate", *map(str, arguments)])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_the_commands(tmp_path: Path, rooms: Path, weights: str) -> None:
    nr3d = nr3d_file(tmp_path / "nr3d.csv", ("s", 11, "chair by the table", "True"))
    data = run("referit3d", "--objects", rooms, "--utterances", nr3d, "--model", weights, "--json")
    assert data["scores"][HEURISTIC]["overall"] == {"n": 1, "accuracy": 1.0}
    described = scanrefer_file(tmp_path / "s.json", ("s", 11, "chair by the table"))
    data = run(
        "scanrefer", "--objects", rooms, "--utterances", described, "--detections", rooms,
        "--model", weights, "--json",
    )  # fmt: skip
    assert data["scores"][HEURISTIC]["overall"] == {"n": 1, "acc@0.25": 1.0, "acc@0.5": 1.0}
    data = run(
        "referit3d", "--objects", rooms, "--utterances", nr3d, "--detections", rooms,
        "--model", weights, "--json",
    )  # fmt: skip
    assert data["scores"][HEURISTIC]["overall"]["acc@0.5"] == 1.0
    page = tmp_path / "RESULTS.md"
    arguments = ("--objects", rooms, "--count", 50, "--model", weights, "--json")
    data = run("sr3d-style", *arguments, "--results", page)
    scores, confused = data["scores"], data["confusion"]
    assert confused["overall"]["right"] == pytest.approx(scores[NETWORK]["overall"]["accuracy"])
    assert sum(confused["overall"][kind] for kind in KINDS) == pytest.approx(1)
    command = "spatial3d evaluate sr3d-style --objects FILE --count 50 --seed 0 --mix sr3d"
    text = page.read_text()
    assert f"`{command}`: " in text
    assert str(tmp_path) not in text  # nothing of this machine
    assert text.count("| closest |") == 2
    assert scores[HEURISTIC]["closest"]["accuracy"] == 1.0
    assert scores[RULES]["overall"]["accuracy"] == 1.0
    result = CliRunner().invoke(
        app,
        ["evaluate", "scanrefer", "--objects", str(rooms), "--utterances", str(rooms)],
    )
    assert isinstance(result.exception, ConfigError)


def test_the_floors_on_real_rooms() -> None:
    """Human sentences about scanned rooms: what a new method has to beat."""
    beside = Path(__file__).resolve().parents[4] / "shared"
    folder = Path(os.environ.get("SPATIAL3D_SHARED", beside)) / "data/scannet_object_language"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not here; set SPATIAL3D_SHARED")
    objects = folder / "scannet_train_objects.jsonl.gz"
    nr3d = referit_cases(objects, folder / "nr3d_train_sampled1000.csv")
    described = scanrefer_cases(objects, folder / "ScanRefer_filtered_train_sampled1000.json")
    assert (len(nr3d.cases), nr3d.left_out, nr3d.absent["count"]) == (925, 75, 0)
    for mix, floor in (("sr3d", 0.93), ("equal", 0.6)):
        cases = relation_cases(objects, 1000, mix=mix).cases
        fits = np.mean([choose_by_rule(case.truth, case.text) == case.target for case in cases])
        near = np.mean([choose_nearest(case.truth, case.text) == case.target for case in cases])
        assert fits >= 0.99, "sentences whose truth their own words do not tell"
        assert near == pytest.approx(floor, abs=0.02)
    assert (len(described.cases), described.absent["count"]) == (1000, 0)
    for asked, floor, by_chance in ((nr3d, 0.42, 0.383), (described, 0.55, 0.574)):
        chosen = [choose_nearest(case.choices, case.text) == case.target for case in asked.cases]
        assert np.mean(chosen) == pytest.approx(floor, abs=0.01)
        chance = [1 / case.choices.count(case.label) for case in asked.cases]
        assert np.mean(chance) == pytest.approx(by_chance, abs=0.001)
