"""Experiments on the papers' claims: files, arms, statistics, one small one to its verdict."""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file
from typer.testing import CliRunner

from helpers.small_model import small_config
from spatial3d_ros.__main__ import app
from spatial3d_ros.categories import COLORS
from spatial3d_ros.errors import ConfigError
from spatial3d_ros.research.experiments import experiment_runs
from spatial3d_ros.research.experiments.ablations import override, plan, results
from spatial3d_ros.research.experiments.arms import asked_as, with_errors
from spatial3d_ros.research.experiments.experiment import (
    FOREIGN,
    Experiment,
    check_arms,
    load_experiment,
    stores,
)
from spatial3d_ros.research.experiments.experiment_report import experiment_report
from spatial3d_ros.research.experiments.measuring import Measurement, stored_answers
from spatial3d_ros.research.experiments.paired import Difference, paired_difference, verdict
from spatial3d_ros.research.rooms.look_alikes import KINDS
from spatial3d_ros.research.training.trainer import train

NAMES = {"classes": list(KINDS), "colors": list(COLORS), "from_views": True}
NETWORK = {
    "object_tokens": "none", "names": NAMES, "slim": {"objects": "causal", "inst": False},
    "objects": {"relation_layers": 0, "decoder_bias": False, "member_fraction": 0.25},
    "head": {"object_source": "input"},
}  # fmt: skip
ROOMS = {
    "catalog": "alike", "rooms": 2, "views": 3, "shown": 3, "size": [64, 48], "objects": [8, 12],
    "batch": 2, "questions": 6, "sets": {"appearance": 1.0, "metric": 1.0, "picture": 1.0},
}  # fmt: skip
FROZEN = "frozen_tower_and_guidance"
ARMS = {"full": {"paper": "59"}, "none": {"model": {"s2.mpe.coord": False, "s2.mpe.ray": False}}}


def experiment(folder, **changes):
    model, train, path = (folder / f"{name}.yaml" for name in ("model", "train", "experiment"))
    model.write_text(yaml.safe_dump(small_config(**NETWORK).model_dump(mode="json")))
    rooms = {"folder": str(folder / "rooms"), "cache": str(folder / "features"), **ROOMS}
    train.write_text(yaml.safe_dump({
        "model": str(model), "out": "unused", "preset": "frozen_tower", "steps": 2, "warmup": 1,
        "save_every": 2, "evaluate_every": 100, "workers": 0, "precision": "no",
        "tokenizer_sentences": 50, "rendered": rooms, "boxes": {"batch": 0},
        "validation": {"rooms": 1, "views": 3, "questions": 3},
    }))  # fmt: skip
    values = {
        "name": "try", "title": "A try", "question": "Does it run?", "base": str(train),
        "page": str(folder / "page.md"), "out": str(folder / "runs/try"), "seeds": [0],
        "paper": "paper", "columns": {"all": "all", "looks": "appearance"}, "rooms": 3,
        "questions": 6, "gate": {"of": "full"}, "variants": ARMS, "measures": ["depth"],
        "at_test": {"rays off": {"of": "full", "model": {"s2.mpe.ray": False}}},
        "claims": [{"text": "it matters", "arm": "none", "against": "full", "below": -5}],
    }  # fmt: skip
    path.write_text(yaml.safe_dump(values | changes, sort_keys=False))
    return load_experiment(path)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A small experiment through the command, with one thread."""
    folder = tmp_path_factory.mktemp("experiment")
    made = experiment(folder)
    arguments = ["ablate", str(folder / "experiment.yaml"), "--jobs", "1", "--json"]
    shown = CliRunner().invoke(app, arguments)
    assert shown.exit_code == 0, shown.output
    return folder, made, shown, arguments


def test_every_arm_answers_the_same_questions(finished):
    _, made, shown, _ = finished
    report = experiment_report(made, plan(made))
    assert list(report.arms) == ["full", FOREIGN, "rays off", "none"]
    asked = report.arms["full"][0]
    assert asked.questions == report.arms["none"][0].questions
    count = len(asked.sets)
    assert count > 6 and len(asked.rooms) == len(asked.chance) == count
    assert (asked.chance <= 0.5).all() and set(asked.rooms) <= {0, 1, 2}
    for arms in report.arms.values():
        for name, bits in arms[0].arms.items():
            assert bits["right"].shape == bits["same_class"].shape == (count,), name
            assert not (bits["right"] & ~bits["same_class"]).any()
    assert asked.members("all").all() and asked.members("appearance").sum() < count
    assert asked.measures["variation"] > 0 and "depth R2" in asked.measures
    found = json.loads(shown.stdout)
    assert found["gate_reached"] is False and "not reached" in found["gate"]
    assert found["claims"][0]["verdict"] == "cannot be told (gate)"
    assert {(a["arm"], a["seed"]) for a in found["arms"]} == {(n, 0) for n in report.arms}


def test_the_page_has_the_gate_before_the_tables(finished):
    text = (finished[0] / "page.md").read_text()
    assert text.index("Gate not reached") < text.index("| full | 1 |") < text.index("it matters")
    assert "| at test: rays off | 1 |" in text and "| chance |  |" in text


def test_what_is_finished_is_neither_trained_nor_asked_again(finished, monkeypatch):
    folder, made, _, _ = finished
    messages: list[str] = []
    monkeypatch.setattr(sys, "executable", "false")
    failed = experiment_runs.run_experiment(
        made, folder / "experiment.yaml", plan(made), 1, messages.append
    )
    assert failed == [] and messages == ["2 runs: 0 to train"]
    other = experiment(folder, questions=5)
    failed = experiment_runs.run_experiment(
        other, folder / "experiment.yaml", plan(other), 1, messages.append
    )
    assert len(failed) == 2 and "asking its questions failed" in failed[0]
    assert stored_answers(plan(made)[0].folder, made, "full") is not None
    experiment(folder)


def test_experiments_that_share_a_run_keep_their_own_answers(finished):
    _, made, _, _ = finished
    run, other = plan(made)[0], made.model_copy(update={"name": "other", "measures": ()})
    assert plan(other)[0].settings == run.settings
    Measurement(other, run, run.folder).measure()
    kept, theirs = (stored_answers(run.folder, one, "full") for one in (made, other))
    assert kept.arms["full"]["right"].tolist() == theirs.arms["full"]["right"].tolist()
    assert "depth R2" in kept.measures and "depth R2" not in theirs.measures


def test_a_killed_run_costs_no_finished_one(finished, tmp_path):
    folder, made, _, _ = finished
    copy = tmp_path / "runs/try"
    shutil.copytree(folder / "runs/try", copy)
    (copy / "none/seed0/done.json").unlink()
    cut = made.model_copy(update={"out": copy})
    runs = plan(cut)
    assert set(results(runs, tmp_path / "runs")) == {runs[0].settings}
    report = experiment_report(cut, runs)
    assert "full" in report.arms and "none" not in report.arms
    assert report.difference("none", "full", "all") is None


def test_features_of_another_room_and_switches_change_answers(finished):
    _, made, _, _ = finished
    run = plan(made)[0]
    measured = Measurement(made, run, run.folder)
    arms = made.arms_of("full")
    own = next(measured.batches(arms["full"]))
    foreign = next(measured.batches(arms[FOREIGN]))
    assert not own.scenes.patches.equal(foreign.scenes.patches)
    assert own.scenes.points.equal(foreign.scenes.points) and own.words.ids.equal(foreign.words.ids)
    model = measured.model
    before = model.encode_scene(own.scenes, measured.objective.prompt.tokens)
    with asked_as(model, arms["rays off"]):
        assert model.ray is None and not model.config.s2.mpe.ray
        without = model.encode_scene(own.scenes, measured.objective.prompt.tokens)
    assert model.ray is not None and model.config.s2.mpe.ray
    assert not before.prefix[-1][0].equal(without.prefix[-1][0])
    again = model.encode_scene(own.scenes, measured.objective.prompt.tokens)
    assert before.prefix[-1][0].equal(again.prefix[-1][0])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gate": {"of": "fully"}}, "gate.of: no arm is called fully"),
        ({"at_test": {"x": {"of": "y"}}}, "at_test.of: no arm is called y"),
        ({"claims": [{"text": "", "arm": "a", "against": "full"}]}, "no arm is called a"),
        ({"claims": [{"text": "", "arm": "none", "against": "full", "column": "b"}]}, "column is"),
        (
            {"at_test": {"x": {"of": "full", "model": {"text.width": 3}}}},
            "x: text.width cannot be changed without training",
        ),
        ({"variants": ARMS | {"c": {"train": {"guidance": "pointmaps"}}}}, "give pointmaps"),
        ({"measures": ["luck"]}, "measures"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path, changes, message):
    with pytest.raises(ConfigError, match=message):
        experiment(tmp_path, **changes)


def test_an_unknown_switch_and_an_arm_that_cannot_be_built_are_named(tmp_path):
    wrong = experiment(tmp_path, variants=ARMS | {"typo": {"model": {"s2.mpe.rays": False}}})
    with pytest.raises(ConfigError, match=r"variant typo, model: s2\.mpe\.rays: no such setting"):
        plan(wrong)
    wrong = experiment(tmp_path, variants=ARMS | {"odd": {"model": {"slim.on": "objects",
                       "head.object_source": "identifier"}}})  # fmt: skip
    with pytest.raises(ConfigError, match=r"identifier needs objects\.identifier: token"):
        plan(wrong)
    on = {"x": {"of": "none", "model": {"s2.mpe.ray": True}}}
    made = experiment(tmp_path, at_test=on)
    with pytest.raises(ConfigError, match=r"s2\.mpe\.ray was not trained in 'none'"):
        check_arms(made, plan(made))
    typo = experiment(tmp_path, at_test={"x": {"of": "full", "model": {"slim.instt": True}}})
    with pytest.raises(ConfigError, match=r"at_test x: slim\.instt: no such setting"):
        check_arms(typo, plan(typo))
    # Of some arms only, those that concern another are not checked.
    check_arms(typo, [run for run in plan(typo) if run.variant != "full"])


def test_rooms_of_other_settings_are_refused(tmp_path):
    made = experiment(tmp_path)
    run = plan(made)[0]
    assert [len(store) for store in stores(made, run.train)] == [2, 3]
    rooms = run.train.rendered.model_copy(update={"objects": (20, 40)})
    other = run.train.model_copy(update={"rendered": rooms})
    with pytest.raises(ConfigError, match=r"rendered as alike.*8to12.*20to40.*is asked for"):
        stores(made, other)


def test_errors_of_proposals_change_boxes_and_ask_every_question_once(finished):
    _, made, _, _ = finished
    run = plan(made)[0]
    measured = Measurement(made, run, run.folder)
    plain = made.arms_of("full")["full"]
    rooms, index = measured.shown(plain)
    assert index == list(range(sum(len(room.questions) for room in rooms)))
    missed = plain.model_copy(update={"missed": 0.5})
    parts, index = measured.shown(missed)
    assert sorted(index) == list(range(len(index))) and len(parts) > len(rooms)
    asked = [question for room in rooms for question in room.questions]
    assert [q for room in parts for q in room.questions] == [asked[i] for i in index]
    for room in parts:
        there = {owner.id for owner in room.owners}
        assert len(there) == len(room.boxes)
        assert all(there.issuperset(question.targets) for question in room.questions)
    assert min(len(part.boxes) for part in parts) < min(len(room.boxes) for room in rooms)
    halves = with_errors(
        rooms[0], plain.model_copy(update={"split": 1.0}), np.random.default_rng(0)
    )
    assert len(halves[0][0].boxes) == 2 * len(rooms[0].boxes)
    bits = measured.answers(missed)["right"]
    assert len(bits) == len(index) == len(measured.answers(plain)["right"])


def test_an_equal_difference_everywhere_is_certain():
    rooms = np.repeat(np.arange(50), 4)
    found = paired_difference([np.ones(200, bool)] * 3, [np.zeros(200, bool)] * 3, rooms)
    assert (found.mean, found.error, found.low, found.high) == (100.0, 0.0, 100.0, 100.0)
    assert (found.questions, found.seeds) == (200, 3)


def test_the_interval_covers_the_true_difference_about_as_often_as_it_says():
    rng = np.random.default_rng(3)
    rooms = np.repeat(np.arange(60), 8)
    inside = 0
    for _ in range(200):
        hard = rng.normal(0, 0.15, 60)[rooms]
        arms = []
        for gain in (0.10, 0.0):
            arms.append([
                rng.random(480) < np.clip(0.5 + gain + rng.normal(0, 0.02) + hard, 0, 1)
                for _ in range(3)
            ])  # fmt: skip
        found = paired_difference(*arms, rooms)
        inside += found.low <= 10.0 <= found.high
    assert 184 <= inside <= 200


def test_one_seed_gives_an_interval_over_rooms_alone():
    rng = np.random.default_rng(0)
    rooms = np.repeat(np.arange(40), 5)
    arms = rng.random((2, 3, 200)) < 0.5
    three = paired_difference(list(arms[0]), list(arms[1]), rooms)
    one = paired_difference([arms[0, 0]], [arms[1, 0]], rooms)
    assert one.seeds == 1 and one.low < one.mean < one.high and three.seeds == 3
    assert paired_difference([], [], rooms) is None
    assert paired_difference([arms[0, 0]], [arms[1, 0]], rooms * 0) is None


@pytest.mark.parametrize(
    ("low", "high", "bound", "sign", "said"),
    [
        (-9.0, -6.0, -5.0, "below", "holds"),
        (-4.0, -1.0, -5.0, "below", "does not hold here"),
        (-9.0, -1.0, -5.0, "below", "cannot be told"),
        (3.5, 6.0, 3.0, "above", "holds"),
        (-1.0, 2.9, 3.0, "above", "does not hold here"),
        (2.0, 4.0, 3.0, "above", "cannot be told"),
    ],
)
def test_a_claim_holds_only_where_the_whole_interval_is_on_its_side(low, high, bound, sign, said):
    assert verdict(Difference((low + high) / 2, 1.0, low, high, 9, 3), bound, sign) == said
    assert verdict(None, bound, sign) == "cannot be told"


@pytest.mark.parametrize("path", sorted(Path("config/experiments").glob("*.yaml")))
def test_shipped_experiments_can_be_built(path):
    made = load_experiment(path)
    assert isinstance(made, Experiment) and made.name == path.stem
    runs = plan(made)
    check_arms(made, runs)
    assert len({run.settings for run in runs}) == len(made.variants) * len(made.seeds)
    assert made.page.is_file()


CHAT_SCENE = {
    "object_tokens": "chat_scene", "head.object_source": "identifier", "s2.view_tokens": False,
    "s2.mpe.coord": False, "s2.mpe.ray": False, "slim.objects": "geo", "slim.inst": True,
    "slim.bounds": "learnt",
}  # fmt: skip
REFERENTS = {
    "names.from_views": False, "s2.view_tokens": False, "s2.mpe.ray": False,
    "head.object_source": "referents", "psa.enabled": True, "psa.source": "points",
    "psa.points": 256, "psa.seeds": 32, "psa.referents": 8, "psa.tokens": 8, "psa.width": 16,
    "psa.heads": 2,
}  # fmt: skip
WORDS = {
    "answers.questions": 9, "answers.as_text": True, "answers.kinds": ["count", "center", "edit"],
}  # fmt: skip
FORMS = {
    "full": {},
    "views": {"model": {"slim.on": "views", "slim.objects": "geo", "slim.inst": True}},
    "chat": {"model": CHAT_SCENE, "train": WORDS},
    "referents": {"model": REFERENTS, "train": {"rendered.answer": "box"}},
    "generate": {"model": {"s2.category_mode": "generate"}},
    "lora": {"train": {"preset": "frozen_tower_lora"}},
    "lora and block": {"train": {"preset": "frozen_tower_lora_64"}},
    "flat": {"train": {"rendered.flat": True, "rendered.shown": 1, "noise.missed": 0.2,
                       "rendered.sets": {"appearance": 1.0, "picture": 1.0}}},
    "errors": {"train": {"noise.missed": 0.3, "noise.split": 0.5}},
    "fresh": {"train": {"preset": "tiny", "rendered.cache": None}},
    "shuffled": {"model": {"s2.sg.enabled": True, "s2.sg.targets": "shuffled", "s2.sg.width": 16,
                           "s2.sg.layers": 1, "s2.sg.heads": 2}},
}  # fmt: skip


def train_here(run):
    """Train a run in this process."""
    run.folder.mkdir(parents=True, exist_ok=True)
    for name, config in (("model.yaml", run.model), ("train.yaml", run.train)):
        (run.folder / name).write_text(yaml.safe_dump(config.model_dump(mode="json")))
    train(run.train)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_trained_and_asked(tmp_path, form):
    measures = ["depth", "correspondence", "votes", "box_text", "memory"]
    made = experiment(
        tmp_path, variants={"full": {}, form: FORMS[form]}, rooms=2, measures=measures,
        at_test={}, claims=[],
    )  # fmt: skip
    run = plan(made)[-1]
    train_here(run)
    Measurement(made, run, run.folder).measure()
    asked = stored_answers(run.folder, made, form)
    assert asked is not None and len(asked.arms[form]["right"]) == len(asked.sets) > 0
    assert {"variation", "depth R2", "box text read"} <= set(asked.measures)
    assert asked.measures["peak memory, MiB"] > asked.measures["gradients and states, MiB"] > 0
    written = [s for s in asked.sets if s.startswith("text/")]
    assert set(written) == ({"text/count", "text/center", "text/edit"} if form == "chat" else set())
    assert asked.members("all").sum() == len(asked.sets) - len(written)
    assert ("vote spread, m" in asked.measures) == (form == "referents")
    assert ("corresponding patches" in asked.measures) == run.model.s2.se.enabled


def test_a_frozen_decoder_comes_from_a_run_of_its_own(tmp_path):
    sg = {"s2.sg.enabled": True, "s2.sg.width": 16, "s2.sg.layers": 1, "s2.sg.heads": 2}
    points = tmp_path / "pointmaps.yaml"
    frozen = {"model": sg, "train": {"guidance": "pointmaps", "preset": FROZEN}}
    made = experiment(tmp_path, variants={"full": {}, "frozen": frozen}, pointmaps=str(points),
                      at_test={}, claims=[])  # fmt: skip
    shape, taught = tmp_path / "guided.yaml", yaml.safe_load((tmp_path / "train.yaml").read_text())
    guided = override(small_config(**NETWORK).model_dump(mode="json"), sg, "here")
    shape.write_text(yaml.safe_dump(guided))
    off = dict.fromkeys(("ground", "name", "role", "asked", "answer", "about", "vote",
                         "objectness"), 0.0)  # fmt: skip
    points.write_text(yaml.safe_dump(taught | {
        "model": str(shape), "preset": "pointmaps", "weights": off}))  # fmt: skip
    full, run = plan(made)
    assert full.decoder is None and run.decoder.settings in run.settings
    train_here(run.decoder)
    branch = run.decoder.folder / "model/guidance.safetensors"
    assert branch.is_file() and not (run.decoder.folder / "model/model.safetensors").exists()
    (run.decoder.folder / "done.json").write_text('{"minutes": 1.0, "report": {}}')
    assert run.decoder.settings in results([run.decoder], tmp_path / "runs")
    trained = run.train.model_copy(update={"guidance": str(branch)})
    train_here(replace(run, train=trained))
    kept = load_file(run.folder / "last/model.safetensors")
    before = load_file(branch)
    for name, value in before.items():
        same = torch.equal(kept[f"guidance.{name}"].to(value.dtype), value)
        assert same == name.startswith("decoder."), name
    (run.folder / "done.json").write_text('{"minutes": 1.0, "report": {}}')
    assert set(results([full, run], tmp_path / "runs")) == {run.settings}
