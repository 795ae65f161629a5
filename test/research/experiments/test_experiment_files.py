"""Each file of config/experiments, made very small: trained, asked and written as tables."""

from pathlib import Path

import pytest
import yaml

from spatial3d_ros.model.checkpoint import load_model
from spatial3d_ros.research.experiments.ablations import override, plan
from spatial3d_ros.research.experiments.experiment import Experiment, load_experiment, stores
from spatial3d_ros.research.experiments.experiment_report import experiment_report
from spatial3d_ros.research.experiments.measuring import Measurement, trained_network
from spatial3d_ros.research.training.config import load_train_config
from spatial3d_ros.research.training.trainer import train

FILES = sorted(Path("config/experiments").glob("*.yaml"))
TINY = {
    "steps": 1, "warmup": 0, "save_every": 1, "evaluate_every": 1, "precision": "no",
    "rendered.rooms": 2, "rendered.size": [96, 72], "rendered.batch": 2, "rendered.questions": 4,
    "validation.rooms": 1, "validation.questions": 2,
}  # fmt: skip
OBJECTS = [10, 14]


def shrunk(path, folder):
    """The experiment of a file with two rooms and one step, in a folder."""

    def small(settings):
        """The changes of a variant, with few rooms in a folder of their own, and 40 objects at
        most.
        """
        changed = dict(settings)
        if changed.get("rendered.objects", OBJECTS)[1] > 40:
            changed["rendered.objects"] = OBJECTS
        if "rendered.folder" in changed:
            changed["rendered.folder"] = str(folder / Path(changed["rendered.folder"]).name)
        return changed | {k: v for k, v in TINY.items() if k in changed}

    def base(name):
        values = load_train_config(name).model_dump(mode="json")
        own = {"rendered.folder": str(folder / "rooms"), "rendered.objects": OBJECTS}
        own["rendered.cache"] = values["rendered"]["cache"] and str(folder / "features")
        target = folder / Path(name).name
        target.write_text(yaml.safe_dump(override(values, TINY | own, str(name)), sort_keys=False))
        return str(target)

    values = yaml.safe_load(path.read_text())
    for name in ("base", "first", "pointmaps"):
        if name in values:
            values[name] = base(values[name])
    values["held_out"] = small(values.get("held_out", {}))
    for variant in values["variants"].values():
        variant["train"] = small(variant.get("train", {}))
    values |= {"out": str(folder / "runs" / path.stem), "page": str(folder / "page.md")}
    values |= {"seeds": [0], "rooms": 2, "questions": 4}
    made = folder / f"{path.stem}.yaml"
    made.write_text(yaml.safe_dump(values, sort_keys=False))
    return made


def run_here(run):
    """Train a run, and before it its first stage and the decoder of its guidance, in this
    process.
    """
    for before in run.before:
        run_here(before)
    found = {}
    if run.first is not None:
        found["init"] = str(run.first.folder / "model")
    if run.decoder is not None:
        found["guidance"] = str(run.decoder.folder / "model" / "guidance.safetensors")
    settings = run.train.model_copy(update=found)
    run.folder.mkdir(parents=True, exist_ok=True)
    for name, config in (("model.yaml", run.model), ("train.yaml", settings)):
        (run.folder / name).write_text(
            yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)
        )
    train(settings)
    (run.folder / "done.json").write_text('{"minutes": 0, "report": {}}')


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder for all files: they share rooms and features."""
    return tmp_path_factory.mktemp("files")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_is_trained_asked_and_written_as_tables(path, folder):
    made = load_experiment(shrunk(path, folder))
    assert isinstance(made, Experiment)
    run = next(run for run in plan(made) if run.variant == made.gate.of)
    stores(made, run.train)
    run_here(run)
    Measurement(made, run, run.folder).measure()
    report = experiment_report(made, [run])
    assert set(report.arms) == set(made.arms_of(run.variant))
    accuracy, measured, claims = report.tables()
    assert len(accuracy.rows) == len(report.arms) + 2
    assert len(claims.rows) == len(made.claims) and len(measured.rows) == 1
    assert "not reached" in report.gate().text
    pictures = report.pictures(made.page)
    drawn = [path for path in folder.glob(f"{made.name}_*.png") if path.stat().st_size > 1000]
    assert len(pictures) == len(drawn) == ("correspondence" in made.measures)


def test_adapters_are_read_onto_the_weights_of_the_first_stage(folder):
    made = load_experiment(shrunk(Path("config/experiments/open_lora.yaml"), folder))
    run = next(run for run in plan(made) if run.variant == "LoRA, rank 16")
    run_here(run)
    found, _ = trained_network(run, run.folder)
    first, _ = load_model(run.first.folder / "model")
    assert found.decoder.qwen.norm.weight.equal(first.decoder.qwen.norm.weight)
    grown = found.decoder.qwen.layers[0].self_attn.q_proj.weight
    old = first.decoder.qwen.layers[0].self_attn.q_proj.weight
    assert grown.shape == old.shape and (grown - old).abs().max() < 0.05
    Measurement(made, run, run.folder).measure()
