"""From a folder of images and a file of detections to answers with the labels of the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from helpers.image_folders import Images, seven_scenes
from spatial3d_ros.__main__ import app
from spatial3d_ros.bags.options import RecordingOptions
from spatial3d_ros.bags.reader import find_topics
from spatial3d_ros.demo import folder_demo
from spatial3d_ros.demo.node_queries import node_arguments, recogniser_arguments
from spatial3d_ros.errors import BagError, CheckpointError, ConfigError
from spatial3d_ros.recognition.recogniser import Recognition
from spatial3d_ros.scene.lifting import Detection2D

QUESTION = "where is the zorbik?"


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, [*map(str, arguments)])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """A folder of images, a file with the zorbik on one of them, and the report of the demo."""
    path = tmp_path_factory.mktemp("room")
    folder = seven_scenes(path / "office", Images())
    one = {"label": "zorbik", "score": 0.9, "box": [50, 30, 90, 60]}
    file = path / "detections.json"
    file.write_text(json.dumps({"frames": [{"frame": "frame-000102", "detections": [one]}]}))
    result = run(
        "demo", "--folder", folder, "--detections", file, "-q", QUESTION, "--out", path / "out"
    )
    assert result.exit_code == 0, result.output
    return folder, file, path / "out"


def test_a_folder_becomes_a_report_with_pictures(made: tuple[Path, Path, Path]) -> None:
    out = made[2]
    (answer,) = json.loads((out / "answers.json").read_text())
    assert "zorbik" in answer["answer"]
    assert all((out / name).stat().st_size for name in ("index.html", "map.png", "answer_1.png"))
    assert (out / "office.frames.json").exists()
    assert 'href="why/explanation.html"' in (out / "index.html").read_text()
    assert (out / "why/explanation.html").stat().st_size > 10_000


def test_ask_gives_the_same_answer_and_check_counts_the_labels(
    made: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    _, file, out = made
    bag = out / "office.mcap"
    result = run("ask", bag, QUESTION, "--detections", file, "--json", "--out", tmp_path / "shown")
    assert result.exit_code == 0, result.output
    asked = json.loads(result.stdout[result.stdout.index("[") :])
    (answer,) = json.loads((out / "answers.json").read_text())
    assert asked[0]["answer"] == answer["answer"]
    assert (tmp_path / "shown" / "map.png").exists() and (tmp_path / "shown/answer_1.png").exists()
    without = run("ask", bag, QUESTION, "--json")
    assert "zorbik at" not in without.stdout  # the label comes from the file
    report = json.loads(run("check", bag, "--detections", file, "--json").stdout)
    assert report["labels"]["zorbik"] == 1 and report["labels"]["frames with labels"] == 1


def test_wrong_labels_stop_with_a_reason(made: tuple[Path, Path, Path], tmp_path: Path) -> None:
    folder, file, out = made
    bag = out / "office.mcap"
    missing = tmp_path / "missing.json"
    missing.write_text(file.read_text().replace("frame-000102", "frame-000999"))
    for options, kind, words in (
        (("--detections", missing), ConfigError, "no frame 'frame-000999'"),
        (("--recogniser", tmp_path), CheckpointError, r"no recogniser.yaml"),
        (("--embeddings", tmp_path), CheckpointError, "no config.json"),
    ):
        result = run("ask", bag, QUESTION, *options)
        assert isinstance(result.exception, kind), result.output
        assert words in str(result.exception)
    result = run("recognise", tmp_path, "--recogniser", tmp_path)
    assert isinstance(result.exception, CheckpointError)
    assert isinstance(run("recognise", folder).exception, ConfigError)


def test_recognise_draws_each_image(
    made: tuple[Path, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Boxes:
        labels = ("cup", "wall")

        def recognise(self, rgb: np.ndarray, prompts: Any = ()) -> Recognition:
            classes = np.ones(rgb.shape[:2], np.int32)
            return Recognition(
                (Detection2D((10.0, 10.0, 60.0, 60.0), "cup", 0.9),), classes, ("", "wall")
            )

    monkeypatch.setattr("spatial3d_ros.recognition.loading.load_recognisers", lambda *_: Boxes())
    folder, _, out = made
    result = run("recognise", folder, "--recogniser", "any", "--out", tmp_path / "a", "--every", 2)
    assert result.exit_code == 0, result.output
    assert "3 images: 3 cup, 3 wall" in result.output
    plain = cv2.imread(str(folder / "frame-000102.color.png"))
    drawn = cv2.imread(str(tmp_path / "a" / "frame-000102.color.png"))
    assert (drawn != plain).any(2).mean() > 0.5  # tinted, with a box
    result = run("recognise", out / "office.mcap", "--recogniser", "any", "--out", tmp_path / "b")
    assert (tmp_path / "b" / "frame-000104.png").exists(), result.output
    (tmp_path / "empty").mkdir()
    empty = run("recognise", tmp_path / "empty", "--recogniser", "any", "--out", tmp_path / "c")
    assert isinstance(empty.exception, BagError) and "no images" in str(empty.exception)


def test_the_nodes_get_a_recogniser_and_its_topics(made: tuple[Path, Path, Path]) -> None:
    bag = made[2] / "office.mcap"
    topics = find_topics(bag)
    options = RecordingOptions(recogniser=("models/a",))
    assert "class_images:=recognition_node/classes" in node_arguments(bag, topics, "tiny", options)
    line = " ".join(recogniser_arguments(bag, topics, ["models/a"], ["where is the red mug?"]))
    assert '/models/a"]' in line and 'prompts:=["mug"]' in line
    with pytest.raises(ConfigError, match="a file cannot be played to the nodes"):
        node_arguments(bag, topics, "tiny", RecordingOptions(detections=str(made[1])))


def test_the_demo_asks_about_the_surest_labels_and_takes_a_downloaded_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from helpers.fake_engine import scene_object

    things = [scene_object(k, (k, 0.0, 0.5), name, 1) for k, name in enumerate(("sofa", "lamp"))]
    assert folder_demo.questions_about(things) == [
        "where is the sofa?", "where is the lamp?", "how far is the sofa from the lamp?",
    ]  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert folder_demo.default_recogniser() == ()
    (tmp_path / "models" / "rtdetr_r50").mkdir(parents=True)
    assert folder_demo.default_recogniser() == ("models/rtdetr_r50",)
