"""Two processes take the very same steps as one, and find the same scores on held-out rooms; when
one of them is killed the other stops, and the same command resumes.
"""

import csv
import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest
import yaml

from helpers.small_model import small_config
from spatial3d_ros.categories import CATEGORIES, COLORS
from spatial3d_ros.research.training.config import load_train_config
from spatial3d_ros.research.training.trainer import train

NETWORK = small_config(
    names={"classes": list(CATEGORIES), "colors": list(COLORS)},
    s2={
        "se": {"heads": 2, "init": "default", "drop_path": 0.0}, "mpe": {"ray_hidden": 8},
        "sg": {"enabled": True, "width": 16, "layers": 2, "heads": 2},
    },
)  # fmt: skip


def settings(folder):
    """A run of four steps, the first without pixels; batches that two do not divide evenly."""
    folder.mkdir()
    (folder / "model.yaml").write_text(yaml.safe_dump(NETWORK.model_dump(mode="json")))
    values = {
        "model": str(folder / "model.yaml"), "out": str(folder / "run"), "steps": 4, "warmup": 1,
        "lr": 0.003, "save_every": 1, "evaluate_every": 9, "log_every": 1, "workers": 0,
        "precision": "no", "tokenizer_sentences": 200,
        "rendered": {
            "folder": str(folder / "rooms"), "rooms": 4, "views": 2, "batch": 3, "questions": 2,
            "start": 1,
        },
        "boxes": {"batch": 3, "questions": 2},
        "validation": {"rooms": 5, "views": 2, "questions": 2},
    }  # fmt: skip
    (folder / "train.yaml").write_text(yaml.safe_dump(values))
    return folder / "train.yaml"


def launch(path, processes):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    several = ["torch.distributed.run", "--nproc_per_node", str(processes), "--master_port", port]
    return subprocess.Popen(
        [sys.executable, "-m", *several, "-m", "spatial3d_ros", "train", str(path)],
        env={**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def metrics(folder):
    with (folder / "run/metrics.csv").open(newline="") as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


def kill_a_worker(launcher, saved):
    """Kill the second process as soon as a step is saved; returns what the launcher told."""
    while not saved.is_file() and launcher.poll() is None:
        time.sleep(0.02)
    found = subprocess.run(
        ["pgrep", "-P", str(launcher.pid)], stdout=subprocess.PIPE, text=True, check=True
    )
    os.kill(max(map(int, found.stdout.split())), signal.SIGKILL)
    return launcher.communicate(timeout=300)[0]


def test_two_processes_take_the_steps_of_one(tmp_path):
    path = settings(tmp_path / "two")
    together = launch(path, 2)
    output = kill_a_worker(together, tmp_path / "two/run/last/step")
    assert together.returncode != 0 and "Signal 9 (SIGKILL)" in output, output[-3000:]
    together = launch(path, 2)
    train(load_train_config(settings(tmp_path / "one")))
    output, _ = together.communicate(timeout=600)
    assert together.returncode == 0, output[-3000:]
    one, two = metrics(tmp_path / "one"), metrics(tmp_path / "two")
    assert len(one) == len(two) == 4
    assert one[0]["rendered/ground"] == "" and float(one[3]["rendered/guide"]) > 0
    for alone, shared in zip(one, two, strict=True):
        assert alone.keys() == shared.keys()
        for name, value in alone.items():
            # each process measures the features of its own part of the batch
            if value and not name.startswith("features/"):
                assert float(shared[name]) == pytest.approx(float(value), abs=1e-4), name
    last = [tmp_path / name / "run/validation_000004.json" for name in ("one", "two")]
    assert json.loads(last[0].read_text()) == json.loads(last[1].read_text())
