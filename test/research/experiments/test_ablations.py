"""Ablations: overrides, runs that are trained once and never again, tables."""

import json
import sys

import pytest
import yaml
from typer.testing import CliRunner

from helpers.small_model import small_config
from spatial3d_ros.__main__ import app
from spatial3d_ros.categories import CATEGORIES, COLORS
from spatial3d_ros.errors import ConfigError
from spatial3d_ros.research.evaluation.reports.results_page import write_section
from spatial3d_ros.research.experiments import ablation_report as report
from spatial3d_ros.research.experiments.ablations import (
    Ablation,
    Result,
    load_ablation,
    override,
    plan,
    results,
    train_all,
)

NAMES = {"classes": list(CATEGORIES), "colors": list(COLORS)}
TRAINING = {
    "steps": 2, "warmup": 1, "save_every": 2, "evaluate_every": 100, "workers": 0,
    "precision": "no", "tokenizer_sentences": 100, "rendered": {"batch": 0},
    "boxes": {"batch": 1, "questions": 2}, "validation": {"rooms": 2, "questions": 3},
}  # fmt: skip
VARIANTS = {
    "full": {"paper": "59.2"},
    "again": {},
    "no ray": {"model": {"s2.mpe.ray": False}, "train": {"weights.name": 0}},
}


def ablation(folder, **changes):
    model, train, path = (folder / f"{name}.yaml" for name in ("model", "train", "ablation"))
    model.write_text(yaml.safe_dump(small_config(names=NAMES).model_dump(mode="json")))
    train.write_text(yaml.safe_dump({"model": str(model), "out": "unused", **TRAINING}))
    values = {
        "name": "try", "title": "A try", "base": str(train),
        "out": str(folder / "runs/try"), "seeds": [0], "paper": "paper",
        "columns": {"all": "boxes", "view": "rendered/view"}, "variants": VARIANTS,
    }  # fmt: skip
    path.write_text(yaml.safe_dump(values | changes, sort_keys=False))
    return load_ablation(path)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ablation")
    made, messages = ablation(folder), []
    assert train_all(plan(made)[:2], folder / "runs", 1, messages.append) == []
    return folder, made, messages


def fake_results(runs, accuracy):
    return {
        run.settings: Result(run.folder, {"boxes": {"accuracy": share, "n": 40}}, 2.0)
        for run, share in zip(runs, accuracy, strict=True)
    }


def test_a_variant_differs_from_the_base_by_its_overrides_and_folder_only(tmp_path):
    full, again, changed = plan(ablation(tmp_path))
    assert full.settings == again.settings != changed.settings
    assert full.model.s2.mpe.ray and not changed.model.s2.mpe.ray
    assert changed.train.weights.name == 0 and changed.train.steps == 2
    assert changed.folder == tmp_path / "runs/try/no-ray/seed0"
    assert changed.train.out == str(changed.folder)


@pytest.mark.parametrize(
    ("variant", "message"),
    [
        (
            {"model": {"s2.mpe.rays": False}},
            r"variant x, model: s2\.mpe\.rays: no such setting; there are coord",
        ),
        ({"model": {"s2.nothing.here": 1}}, r"s2\.nothing\.here: no such setting"),
        ({"train": {"steps.more": 1}}, r"steps\.more: no such setting$"),
        ({"train": {"weights.words": 1}}, r"variant x, train: weights\.words"),
        ({"model": {"slim.k_min": -1}}, r"variant x: slim\.k_min"),
        ({"train": {"steps": "many"}}, r"variant x: steps"),
    ],
)
def test_a_wrong_override_is_named(tmp_path, variant, message):
    with pytest.raises(ConfigError, match=message):
        plan(ablation(tmp_path, variants={"x": variant}))


def test_overriding_leaves_the_original_alone():
    values = {"a": {"b": 1, "c": 2}}
    assert override(values, {"a.b": 5}, "here") == {"a": {"b": 5, "c": 2}}
    assert values == {"a": {"b": 1, "c": 2}}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sedes": [1]}, r"ablation\.yaml: sedes"),
        ({"variants": {"a b": {}, "A-B": {}}}, "two variants"),
        ({"stress": {"of": ["fully"]}}, "no variant is called fully"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path, changes, message):
    with pytest.raises(ConfigError, match=message):
        ablation(tmp_path, **changes)
    with pytest.raises(ConfigError, match="no such file"):
        load_ablation(tmp_path / "absent.yaml")


def test_equal_runs_are_trained_once(trained):
    folder, made, messages = trained
    assert messages[0] == "2 runs: 1 to train" and messages[-1].startswith("full, seed 0")
    runs = plan(made)
    found = results(runs, folder / "runs")
    assert set(found) == {runs[0].settings}
    assert found[runs[1].settings].folder == runs[0].folder
    assert found[runs[0].settings].report["boxes"]["n"] >= 6
    assert (runs[0].folder / "model/model.safetensors").is_file()


def test_a_finished_run_is_not_repeated_and_serves_other_ablations(trained, monkeypatch):
    folder, made, _ = trained
    monkeypatch.setattr(sys, "executable", "false")
    messages = []
    assert train_all(plan(made)[:1], folder / "runs", 1, messages.append) == []
    assert messages == ["1 runs: 0 to train"]
    other = made.model_copy(update={"name": "other", "out": folder / "runs/other"})
    assert results(plan(other)[:1], folder / "runs")


def test_only_settings_that_matter_make_a_run_another_one(trained, tmp_path):
    folder, made, _ = trained
    for key, value, same in (("workers", 3, True), ("save_every", 9, True), ("lr", 1.0, False)):
        changed = made.variants | {"full": made.variants["full"].model_copy(
            update={"train": {key: value}})}  # fmt: skip
        runs = plan(made.model_copy(update={"variants": changed}))[:1]
        assert bool(results(runs, folder / "runs")) == same, key


def test_a_first_stage_is_shared_and_tells_runs_apart(trained, monkeypatch):
    folder, made, _ = trained
    staged = made.model_copy(update={"first": made.base, "out": folder / "runs/staged"})
    plain, run = plan(made)[0], plan(staged)[0]
    assert run.first.settings == plain.settings != run.settings
    assert run.first.folder == folder / "runs/staged/first-stage/seed0"
    monkeypatch.setattr(sys, "executable", "true")  # trains nothing, and leaves the settings
    messages = []
    with pytest.raises(FileNotFoundError):
        train_all([run], folder / "runs", 1, messages.append)
    assert messages[:2] == ["1 runs: 0 to train", "1 runs: 1 to train"]
    written = yaml.safe_load((run.folder / "train.yaml").read_text())
    assert written["init"] == str(plain.folder / "model")
    (run.folder / "done.json").write_text('{"minutes": 1.0, "report": {}}')
    assert set(results([plain, run], folder / "runs")) == {plain.settings, run.settings}


def test_a_failed_run_is_told_and_only_foreign_checkpoints_are_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", "false")
    run = plan(ablation(tmp_path))[0]
    messages = []
    for steps, stays in ((2, True), (3, False)):
        (failure,) = train_all([run], tmp_path / "runs", 1, messages.append)
        assert "code 1" in failure and "seed0.log" in failure and "failed" in messages[-1]
        (run.folder / "last").mkdir(exist_ok=True)
        again = ablation(tmp_path, variants={"full": {"train": {"steps": steps}}})
        train_all(plan(again), tmp_path / "runs", 1, messages.append)
        assert (run.folder / "last").exists() == stays


def test_the_table_has_mean_deviation_and_paired_difference(tmp_path):
    made = ablation(tmp_path, seeds=[0, 1], variants={"full": {"paper": "59"}, "less": {
        "model": {"s2.mpe.ray": False}}})  # fmt: skip
    runs = plan(made)
    assert [(r.seed, r.variant) for r in runs[:2]] == [(0, "full"), (0, "less")]
    table = report.ablation_table(made, runs, fake_results(runs, [0.8, 0.7, 0.9, 0.9]))
    assert table.head == ("variant", "seeds", "all", "view", "Δ to full", "min a run", "paper")
    assert table.rows == (
        ("full", "2", "85.0 ± 7.1", "-", "-", "2.0", "59"),
        ("less", "2", "80.0 ± 14.1", "-", "-5.0 ± 7.1", "2.0", "-"),
        ("questions a seed", "", "40", "-", "", "", ""),
    )
    assert table.markdown().splitlines()[2].startswith("| full | 2 | 85.0 ± 7.1 |")
    early = report.ablation_table(made, runs, fake_results(runs[:2], [0.8, 0.7]))
    assert early.rows[1][1:5] == ("1", "70.0", "-", "-10.0")
    nothing = report.ablation_table(made, runs, {})
    assert nothing.rows[0][1:6] == ("0", "-", "-", "-", "-")


def test_stress_has_a_table_for_each_kind(tmp_path):
    stress = {"of": ["full"], "views": [3], "jitter": [0], "missed": [0.1], "split": [0.2]}
    made = ablation(tmp_path, stress=stress)
    score = {"rendered": {"accuracy": 0.5, "n": 8}}
    one = {"views": {"3": score}, "jitter": {"0.0": score}, "missed": {"0.1": score},
           "split": {"0.2": score}, "split, either part": {"0.2": score}}  # fmt: skip
    tables = report.robustness_tables(made, {"full": [one, one]}, "rendered")
    assert [table.rows for table in tables] == [(("full", "2", "50.0 ± 0.0"),)] * 5
    assert [table.head[-1] for table in tables] == ["3", "0%", "10%", "20%", "20%"]
    assert tables[0].title == "Views shown (8 questions)"


def test_a_section_is_replaced_between_its_marks_only(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# Results\n\nold\n")
    write_section(page, "ablation try", "A try", "first")
    write_section(page, "ablation other", "Another", "else")
    write_section(page, "ablation try", "A try", "second")
    text = page.read_text()
    assert text.startswith(
        "# Results\n\nold\n\n## A try\n\n<!-- ablation try -->\n\nsecond\n\n<!--"
    )
    assert "first" not in text and text.count("## ") == 2
    assert text.index("second") < text.index("else")
    page.write_text("<!-- ablation try -->\n")
    with pytest.raises(ConfigError, match="end ablation try"):
        write_section(page, "ablation try", "A try", "third")


def test_the_command_writes_the_table_of_what_is_there(trained, tmp_path):
    folder, _, _ = trained
    page, path = tmp_path / "page.md", folder / "ablation.yaml"
    arguments = ["ablate", str(path), "--table-only", "--results", str(page), "--json"]
    shown = CliRunner().invoke(app, arguments)
    assert shown.exit_code == 0, shown.output
    runs = json.loads(shown.stdout)["runs"]
    assert [(run["variant"], run["seed"]) for run in runs] == [("full", 0), ("again", 0)]
    assert f"`spatial3d ablate {path}`" in page.read_text() and "| full | 1 |" in page.read_text()
    wrong = CliRunner().invoke(app, [*arguments, "--only", "less"])
    assert isinstance(wrong.exception, ConfigError) and "no variant less" in str(wrong.exception)


@pytest.mark.parametrize("name", ["s2", "slim", "slim_grid", "views"])
def test_shipped_ablations_change_what_they_say(name):
    made = load_ablation(f"config/ablations/{name}.yaml")
    assert isinstance(made, Ablation) and made.name == name
    runs = plan(made)
    assert len({run.settings for run in runs}) == len(made.variants) * len(made.seeds)
