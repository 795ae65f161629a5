"""docs/LARGE_NETWORK.md followed word for word: its commands run as they stand, with the shipped
training configurations at small sizes, on generated scans and a small random public checkpoint.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from helpers.llava_checkpoint import config, random_llava, write_checkpoint
from spatial3d_ros.__main__ import app
from spatial3d_ros.errors import CheckpointError

ROOT = Path(__file__).resolve().parents[3]
SMALL = {
    "steps": 2, "save_every": 1, "evaluate_every": 2, "log_every": 1, "workers": 0,
    "optimizer_bits": 32, "validation": {"rooms": 1, "questions": 2},
}  # fmt: skip


def commands() -> list[list[str]]:
    """The lines of all `bash` blocks of the page, as words."""
    text = (ROOT / "docs/LARGE_NETWORK.md").read_text()
    blocks = re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
    return [shlex.split(line, comments=True) for block in blocks for line in block.splitlines()]


def small_configurations(folder: Path) -> None:
    """The shipped configurations with small shapes and few steps; paths stay as they are."""
    (folder / "config/train").mkdir(parents=True)
    (folder / "config/models").mkdir()
    network = config(s2={"se": {"heads": 2}, "mpe": {"ray_hidden": 8}})
    (folder / "config/models/llava_video_7b.yaml").write_text(
        yaml.safe_dump(network.model_dump(mode="json"))
    )
    for path in (ROOT / "config/train").glob("llava_video_7b_*.yaml"):
        values = yaml.safe_load(path.read_text()) | SMALL
        values["scans"] |= {"batch": 2, "views": 2, "questions": 2}
        recipe = yaml.safe_load(
            (ROOT / f"config/train/presets/{values['preset']}.yaml").read_text()
        )
        if "sg" in recipe["model"]["s2"]:
            recipe["model"]["s2"]["sg"] |= {"width": 16, "layers": 2, "heads": 2}
        if "last_blocks" in recipe:
            recipe["last_blocks"] = 1
        values["preset"] = f"config/train/{values['preset']}.yaml"
        (folder / values["preset"]).write_text(yaml.safe_dump(recipe))
        (folder / "config/train" / path.name).write_text(yaml.safe_dump(values))


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """The folder in which all commands ran, and what each printed."""
    folder = tmp_path_factory.mktemp("clone")
    small_configurations(folder)
    (folder / "models/llava_video_7b").mkdir(parents=True)
    write_checkpoint(random_llava(), folder / "models/llava_video_7b", "original")
    (folder / ".venv").symlink_to(ROOT / ".venv")
    before, printed = Path.cwd(), {}
    os.chdir(folder)
    try:
        for program, *words in commands():
            printed[" ".join([program, *words])] = run(
                program, [f for w in words for f in files(w)]
            )
    finally:
        os.chdir(before)
    return {"folder": folder, "printed": printed}


def files(word: str) -> list[str]:
    """What a shell makes of a word."""
    return sorted(map(str, Path().glob(word))) if "*" in word else [word]


def run(program: str, words: list[str]) -> str:
    if program == ".venv/bin/spatial3d":
        made = CliRunner().invoke(app, words)
        if made.exception is not None and not isinstance(made.exception, SystemExit):
            raise made.exception
        assert made.exit_code == 0, made.output
        return made.output
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    extra = {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", "PYTHONPATH": paths}
    made = subprocess.run(
        [program, *words], env={**os.environ, **extra}, text=True, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert made.returncode == 0, made.stdout
    return made.stdout


def test_every_command_of_the_page_runs(followed: dict) -> None:
    folder, printed = followed["folder"], followed["printed"]
    assert len(printed) == len(commands()) == 17
    assert {p.name for p in (folder / "runs").iterdir()} == {"guidance", "lite", "paper"}
    adapter = yaml.safe_load((folder / "runs/lite/model/config.yaml").read_text())
    robot = yaml.safe_load((folder / "models/robot/config.yaml").read_text())
    assert adapter == robot
    assert robot["s2"]["category_mode"] == "generate"
    assert robot["tasks"] == ["ground", "ask", "caption"]
    tables = [text for command, text in printed.items() if " evaluate " in command]
    assert len(tables) == 6
    assert all("views: 16 of each scene, uniform" in " ".join(text.split()) for text in tables)
    assert (folder / "runs/lite/last/step").read_text() == "2"


def test_an_adapter_on_another_base_is_refused(followed: dict, tmp_path: Path) -> None:
    folder = followed["folder"]
    other = random_llava()
    for weight in other.parameters():
        weight.data += 1.0
    write_checkpoint(other, tmp_path, "transformers")
    adapter = str(folder / "runs/lite/model")
    made = CliRunner().invoke(
        app, ["assemble", str(tmp_path), str(tmp_path / "robot"), "--adapter", adapter]
    )
    assert isinstance(made.exception, CheckpointError)
    assert "trained on another base" in str(made.exception)


def test_the_job_script_starts_every_process(tmp_path: Path) -> None:
    for name, line in (("scontrol", "echo node7; echo node8"), ("srun", 'printf "%s\\n" "$@"')):
        (tmp_path / name).write_text(f"#!/bin/sh\n{line}\n")
        (tmp_path / name).chmod(0o755)
    slurm = {
        "SLURM_JOB_NODELIST": "node[7-8]", "SLURM_JOB_NUM_NODES": "2", "SLURM_JOB_ID": "31",
        "SLURM_GPUS_ON_NODE": "4",
    }  # fmt: skip
    made = subprocess.run(
        ["bash", str(ROOT / "scripts/train.slurm"), "config/train/llava_video_7b_lite.yaml"],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}", **slurm},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert made.stdout.split() == [
        "--kill-on-bad-exit=1", ".venv/bin/torchrun", "--nnodes", "2", "--nproc_per_node", "4",
        "--rdzv_id", "31", "--rdzv_backend", "c10d", "--rdzv_endpoint", "node7:29500",
        "-m", "spatial3d_ros", "train", "config/train/llava_video_7b_lite.yaml",
    ]  # fmt: skip
