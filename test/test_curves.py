"""Learning curves from what a training writes down."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import pytest
from typer.testing import CliRunner

from spatial3d_ros.cli import app
from spatial3d_ros.errors import ConfigError
from spatial3d_ros.evaluation.curves import curves_table, read_run
from spatial3d_ros.training.metrics_log import MetricsLog


def training(folder: Path, steps: int = 4) -> Path:
    """A run with two sources of rooms, one of them not in every row, validated once."""
    folder.mkdir()
    log = MetricsLog(folder, ["loss", "boxes/accuracy", "homes/accuracy"], 0)
    for step in range(1, steps + 1):
        figures = {"loss": 4.0 / step, "boxes/accuracy": 0.2 * step}
        log.add(10 * step, figures | ({"homes/accuracy": 0.1} if step > 2 else {}))
    scores = {
        "boxes": {"accuracy": 0.75, "n": 8},
        "boxes/relation": {"accuracy": 0.5, "n": 4},
        "boxes/relation/closest": {"accuracy": 0.25, "n": 4},
    }
    (folder / "validation_000040.json").write_text(json.dumps(scores))
    return folder


def test_what_a_run_has_written(tmp_path: Path) -> None:
    run = read_run(training(tmp_path / "run"))
    assert run.figures["loss"][0].tolist() == [10, 20, 30, 40]
    assert run.figures["homes/accuracy"][0].tolist() == [30, 40]  # not in every row
    assert run.held_out.keys() == {"boxes", "boxes/relation"}
    assert curves_table([run]).splitlines() == [
        "| run | questions | step 40 |",
        "|---|---|---:|",
        "| run | boxes | 75.0% |",
        "| run | boxes/relation | 50.0% |",
    ]


def test_the_command_draws(tmp_path: Path) -> None:
    folders = [training(tmp_path / name) for name in ("one", "two")]
    picture = tmp_path / "pictures" / "curves.png"
    result = CliRunner().invoke(app, ["curves", *map(str, folders), "--out", str(picture)])
    assert result.exit_code == 0, result.output
    assert "| two | boxes | 75.0% |" in result.output
    drawn = cv2.imread(str(picture))
    assert drawn.std() > 5  # not an empty sheet


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda run: (run / "metrics.csv").unlink(), "give a folder that a training writes to"),
        (lambda run: (run / "metrics.csv").write_text("step,seconds,loss\n"), "no row yet"),
        (lambda run: (run / "metrics.csv").write_text("a,b\n1,2\n"), "not the figures of a train"),
        (lambda run: (run / "validation_000040.json").write_text("{"), "not the scores of a valid"),
    ],
)
def test_wrong_folders_are_named(tmp_path: Path, damage, words: str) -> None:
    run = training(tmp_path / "run")
    damage(run)
    with pytest.raises(ConfigError, match=words):
        read_run(run)
