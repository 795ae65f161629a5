"""Training: rooms that depend on seed and step alone, exact resuming, losses that do not depend on
how a step is dealt out, boxes that move with their views.
"""

import csv
import json
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.utils import FullyShardedDataParallelPlugin

from helpers.small_model import small_config, small_tokenizer
from helpers.training_samples import NAMES, NETWORK, samples, settings
from spatial3d_ros.errors import CheckpointError, ConfigError
from spatial3d_ros.geometry.pose import look_at
from spatial3d_ros.model.checkpoint import load_model, save_model
from spatial3d_ros.model.config import load_config
from spatial3d_ros.model.network import SpatialModel
from spatial3d_ros.research.rooms.view_store import ViewStore
from spatial3d_ros.research.training import trainer
from spatial3d_ros.research.training.activation_checkpointing import enable_activation_checkpointing
from spatial3d_ros.research.training.adapters import load_adapter
from spatial3d_ros.research.training.augmentation import (
    disturb,
    false_boxes,
    turn_boxes,
    turn_views,
)
from spatial3d_ros.research.training.checkpoints import load_matching_weights
from spatial3d_ros.research.training.config import LossWeights, TrainConfig, load_train_config
from spatial3d_ros.research.training.metrics_log import MetricsLog
from spatial3d_ros.research.training.objective import Objective, count_items
from spatial3d_ros.research.training.presets import load_preset
from spatial3d_ros.research.training.setup import initial_network, start_names
from spatial3d_ros.research.training.validation import evaluate, validation_samples
from spatial3d_ros.tasks.prompt import Prompt

GUIDED = {
    "se": {"heads": 2, "init": "default", "drop_path": 0.0}, "mpe": {"ray_hidden": 8},
    "sg": {"enabled": True, "width": 16, "layers": 2, "heads": 2},
}  # fmt: skip
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rooms")
    return ViewStore(folder, rooms=4, views=3, size=(32, 32))


def test_a_sample_depends_on_seed_and_step_alone(tmp_path):
    whole, resumed = samples(tmp_path), samples(tmp_path, start=2)
    assert len(whole) == 4 and len(resumed) == 2
    first, again = whole[3][0][0], resumed[1][0][0]
    assert torch.equal(first.scenes.boxes, again.scenes.boxes)
    assert torch.equal(first.words.ids, again.words.ids)
    assert not torch.equal(first.words.ids[:1, :9], whole[2][0][0].words.ids[:1, :9])


def questions_by_room(sample):
    """Boxes, views and questions of each room of a batch, without padding."""
    rooms = []
    for scene, valid in enumerate(sample.scenes.object_valid):
        asked = [
            tuple(ids[real].tolist())
            for ids, real, which in zip(
                sample.words.ids, sample.words.real, sample.words.scene, strict=True
            )
            if which == scene
        ]
        views = len(sample.scenes.pixels[scene]) if sample.scenes.has_views else 0
        rooms.append((sample.scenes.boxes[scene, valid].numpy().tobytes(), views, tuple(asked)))
    return rooms


def test_processes_and_micro_batches_share_the_very_same_step(tmp_path, store):
    batch = {"rendered": {"batch": 5, "views": 3, "questions": 2}, "boxes": {"batch": 4}}
    whole = samples(tmp_path, batch, store)[1]
    dealt = [
        micro_batch
        for rank in range(2)
        for micro_batch in samples(tmp_path, batch | {"accumulate": 2}, store, share=(rank, 2))[1]
    ]
    assert len(whole) == 1 and len(dealt) == 4
    for origin in range(2):
        rooms = [room for micro_batch in dealt for room in questions_by_room(micro_batch[origin])]
        assert sorted(rooms) == sorted(questions_by_room(whole[0][origin])) and len(
            set(rooms)
        ) == len(rooms)
    with pytest.raises(ConfigError, match=r"rendered\.batch: 5 rooms for 3 processes x acc"):
        samples(tmp_path, batch | {"accumulate": 2}, store, share=(0, 3))


def test_targets_roles_and_labels_agree_with_the_questions(tmp_path):
    sample = samples(tmp_path, split="test")[0][0][0]
    names = NAMES["classes"]
    for row, kind in enumerate(sample.kinds):
        nothing = kind.startswith("none")
        assert sample.targets[row].sum() == 1 and sample.targets[row, -1] == nothing
        if not nothing:
            slot, scene = int(sample.targets[row].nonzero()[0]), int(sample.words.scene[row])
            assert sample.names["class"][scene, slot] >= 0 and names
            assert sample.roles[row, slot, 0] == 1  # the target is one of those its noun could mean
    labelled = sample.labels >= 0
    assert labelled.any(1).all()
    assert (
        sample.labels[:, :-1][labelled[:, :-1]] == sample.words.ids[:, 1:][labelled[:, :-1]]
    ).all()


def test_boxes_move_with_their_views():
    rng = np.random.default_rng(0)
    boxes = np.concatenate([rng.uniform(-2, 2, (6, 3)), rng.uniform(0.2, 1, (6, 3))], axis=1)
    points = torch.from_numpy(boxes[:, :3] + boxes[:, 3:] * rng.uniform(-0.5, 0.5, (6, 3))).float()
    views = {
        "points": points.reshape(1, 1, 6, 1, 3),
        "rays": torch.nn.functional.normalize(points, dim=-1)[None, None],
        "valid": torch.ones(1, 1, 6, 1, dtype=torch.bool),
        "poses": torch.from_numpy(look_at((1.0, 2.0, 1.5), (0.0, 0.0, 0.5))).float()[None, None],
    }
    seen = in_camera(views)
    shift = np.array([1.0, -2.0, 0.0])
    for quarter in range(4):
        turned, moved = turn_boxes(boxes, quarter, shift), turn_views(views, quarter, shift)
        inside = (
            np.abs(moved["points"].reshape(6, 3).numpy() - turned[:, :3])
            <= turned[:, 3:] / 2 + 1e-5
        )
        assert inside.all()
        torch.testing.assert_close(moved["rays"].norm(dim=-1), torch.ones(1, 1, 6))
        torch.testing.assert_close(in_camera(moved), seen)


def in_camera(views):
    pose = views["poses"][0, 0]
    return (views["points"][0, 0] - pose[:3, 3]) @ pose[:3, :3]


def test_disturbed_boxes_stay_boxes():
    rng = np.random.default_rng(0)
    boxes = np.concatenate([rng.uniform(-2, 2, (50, 3)), rng.uniform(0.03, 1, (50, 3))], axis=1)
    for _ in range(20):
        assert (disturb(boxes, rng)[:, 3:] >= 0.02).all()
        extra = false_boxes(boxes, rng, 1.2)
        assert extra.shape[1] == 6 and len(extra) <= 60 and (extra[:, 3:] > 0).all()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nothing stopped, in micro-batches."""
    folder = tmp_path_factory.mktemp("whole")
    config = settings(folder, accumulate=2)
    trainer.train(config)
    return config, Path(config.out)


def rows(out):
    with (out / "metrics.csv").open(newline="") as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


def test_resuming_after_a_kill_gives_the_same_weights_and_curve(whole, tmp_path, monkeypatch):
    config, out = whole
    stopped = config.model_copy(update={"out": str(tmp_path), "save_every": 2})

    def pull_the_plug(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(trainer.ModelSaver, "save", pull_the_plug)
        with pytest.raises(KeyboardInterrupt):
            trainer.train(stopped)
    assert (tmp_path / "last/step").read_text() == "2"
    with (tmp_path / "metrics.csv").open("a") as file:
        file.write("3,9.9,99.0\n")  # a step that the killed run had not saved
    (tmp_path / "last").rename(tmp_path / "last.old")  # killed between two renames
    trainer.train(stopped)
    one, other = (load_model(folder / "model")[0] for folder in (out, tmp_path))
    for name, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name
    assert rows(tmp_path) == rows(out) and [row["step"] for row in rows(out)] == list("1234")
    again = sorted((tmp_path / "validation_000004.json").read_text())
    assert again == sorted((out / "validation_000004.json").read_text())


def test_the_best_model_is_kept_by_the_score_that_is_named(whole, tmp_path):
    _, out = whole
    best = json.loads((out / "best/score.json").read_text())
    scores = json.loads((out / "validation_000004.json").read_text())
    assert best == {"step": 4, "score": "boxes"} | scores["boxes"]
    assert load_model(out / "best")[0].config == load_model(out / "model")[0].config
    with pytest.raises(
        ConfigError, match="best: there is no score rendered/view; the scores are box"
    ):
        trainer.train(settings(tmp_path, best="rendered/view"))


def objective(**parts):
    torch.manual_seed(0)
    model = SpatialModel(small_config(names=NAMES, s2=GUIDED, **parts))
    return Objective(model, Prompt(small_tokenizer()), LossWeights())


def gradients(module):
    return {n: p.grad.clone() for n, p in module.named_parameters() if p.grad is not None}


def test_losses_and_gradients_do_not_depend_on_how_a_step_is_dealt_out(tmp_path, store):
    batch = {"rendered": {"batch": 3, "views": 3, "questions": 2}, "boxes": {"batch": 4}}
    whole = samples(tmp_path, batch, store)[0][0]
    parts = [p[0] for r in range(3) for p in [samples(tmp_path, batch, store, share=(r, 3))[0]]]
    assert len({part[1].scenes.boxes.shape for part in parts}) > 1  # padded to different lengths
    module = objective()
    loss, metrics = module(whole)
    loss.backward()
    wanted = gradients(module)
    module.zero_grad()
    totals = count_items([sample for part in parts for sample in part])
    assert totals == count_items(whole)
    shares = [module(part, totals) for part in parts]
    sum(share for share, _ in shares).backward()
    for name, value in metrics.items():
        assert value.item() == pytest.approx(sum(f[name].item() for _, f in shares), abs=2e-5)
    assert metrics["rendered/guide"] > 0 and set(module.metric_names("boxes")) < set(metrics)
    for name, value in gradients(module).items():
        torch.testing.assert_close(value, wanted[name], atol=2e-5, rtol=1e-3, msg=name)


def test_recomputed_activations_give_the_same_gradients(tmp_path, store):
    batch = {"rendered": {"batch": 2, "views": 2, "questions": 2}, "boxes": {"batch": 2}}
    step = samples(tmp_path, batch, store)[0][0]
    found = []
    for recomputed in (False, True):
        module = objective().train()
        if recomputed:
            enable_activation_checkpointing(module.model)
        runs = []
        layer = module.model.decoder.qwen.layers[0].self_attn
        layer.register_forward_hook(lambda *_, runs=runs: runs.append(1))
        loss, _ = module(step)
        before = len(runs)
        loss.backward()
        found.append((loss.item(), gradients(module), len(runs) - before))
    (kept, expected, none), (loss, again, replays) = found
    assert loss == kept and none == 0 and replays == before
    for name, value in expected.items():
        torch.testing.assert_close(again[name], value, msg=name)


def test_scores_do_not_depend_on_who_reads_which_batch(tmp_path, store, monkeypatch):
    class Process:
        num_processes = 2

        def __init__(self, rank):
            self.process_index = rank

    config = settings(tmp_path, validation={"rooms": 5, "questions": 3}, rendered={"views": 3})
    module = objective()
    held_out = validation_samples(config, NETWORK, module.prompt, store)
    assert [len(s.scenes.boxes) for s in held_out] == [4, 1, 4]
    alone = evaluate(module, held_out)
    tables = []
    monkeypatch.setattr(
        "spatial3d_ros.research.training.validation.gather_object",
        lambda t: tables.extend(t) or tables,
    )
    evaluate(module, held_out, Process(0))
    assert evaluate(module, held_out, Process(1)) == alone
    assert alone["boxes"]["n"] == sum(len(s.kinds) for s in held_out[:2])


def test_the_header_stays_when_a_loss_comes_later(tmp_path):
    (tmp_path / "metrics.csv").write_text("step,seconds,old\n5,1.0,2\n8,2.0,3\n")
    log = MetricsLog(tmp_path, ["loss", "rendered/ground"], start=5)
    log.add(6, {"loss": 1.0})
    log.add(7, {"loss": 0.5, "rendered/ground": 2.0})
    assert rows(tmp_path) == [
        {"step": "5", "loss": "", "rendered/ground": ""},
        {"step": "6", "loss": "1.0", "rendered/ground": ""},
        {"step": "7", "loss": "0.5", "rendered/ground": "2.0"},
    ]


def test_what_fits_of_another_model_is_taken_and_the_log_names_the_rest(tmp_path, caplog):
    torch.manual_seed(1)
    first = SpatialModel(small_config(names=NAMES))
    start_names(first, small_tokenizer())
    save_model(tmp_path / "first", first, small_tokenizer(), torch.float32)
    config = settings(tmp_path, init=str(tmp_path / "first"))
    other = small_config(names=NAMES, s2={"se": {"heads": 2}, "mpe": {"ray_hidden": 4}})
    Path(config.model).write_text(yaml.safe_dump(other.model_dump(mode="json")))
    with caplog.at_level(logging.INFO):
        model, tokenizer = initial_network(config, load_preset("tiny"), tmp_path / "none")
    taken, own = first.state_dict(), model.state_dict()
    fresh = {name for name in own if own[name].shape != taken[name].shape}
    assert fresh and all(name.startswith("ray.") for name in fresh)
    assert all(torch.equal(own[name], taken[name]) for name in own.keys() - fresh)
    assert f"{len(own) - len(fresh)} of {len(own)} tensors taken" in caplog.text
    assert all(name in caplog.text for name in fresh) and "decoder" not in caplog.text
    assert tokenizer.get_vocab() == small_tokenizer().get_vocab()
    Path(config.model).write_text(
        yaml.safe_dump(small_config(text=other.text.model_dump() | {"vocab": 9}).model_dump())
    )
    with pytest.raises(ConfigError, match=r"text\.vocab 9, but the tokenizer .* has \d+ words"):
        initial_network(config, load_preset("tiny"), tmp_path / "none")
    stranger = torch.nn.Linear(1, 1)
    stranger.config = other
    with pytest.raises(CheckpointError, match="no tensor fits 'small'"):
        load_matching_weights(stranger, tmp_path / "first")


def test_a_run_has_the_pace_of_its_preset(tmp_path):
    paper = settings(tmp_path, preset="paper", steps=100, warmup=7)
    assert (paper.lr, paper.weight_decay, paper.warmup) == (2e-5, 0.0, 7)
    values = paper.model_dump(exclude={"lr", "warmup", "weight_decay", "preset"})
    plain = TrainConfig(**values)
    assert (plain.preset, plain.lr, plain.warmup) == ("tiny", 1e-3, 5)


def test_a_preset_with_adapters_leaves_an_adapter_for_its_base(tmp_path):
    torch.manual_seed(0)
    base = SpatialModel(NETWORK)
    save_model(tmp_path / "base", base, small_tokenizer(), torch.float32)
    config = settings(tmp_path, preset="lite", init=str(tmp_path / "base"), steps=2, lr=1e-2)
    folder = trainer.train(config)
    assert sorted(path.name for path in folder.iterdir()) == ["adapter.safetensors", "config.yaml"]
    assert load_config(folder / "config.yaml") == load_preset("lite").configure(NETWORK)
    learnt, _ = load_model(tmp_path / "base")
    load_adapter(folder, learnt)
    moved = {n for n, p in learnt.named_parameters() if "lora_B" in n and p.abs().sum() > 0}
    assert moved and all("decoder" in name for name in moved)  # boxes show no pixels
    towers = learnt.decoder.qwen.norm.weight, base.decoder.qwen.norm.weight
    assert torch.equal(*towers)


@pytest.mark.parametrize("mode", ["none", "generate"])
def test_training_honours_the_category_mode_of_the_configuration(tmp_path, mode):
    config = settings(tmp_path, steps=1)
    s2 = small_config().s2.model_dump() | {"category_mode": mode}
    shape = small_config(names=NAMES, s2=s2).model_dump(mode="json")
    Path(config.model).write_text(yaml.safe_dump(shape))
    run = trainer._Run(config)
    assert run.prompt.category_mode == mode
    sample = next(iter(run.loader))[0][0]
    ground_token = run.prompt.tokens.stops[1]
    ends = torch.where(sample.words.instruction, torch.arange(sample.words.ids.shape[1]), -1)
    first_of_answer = sample.words.ids.gather(1, ends.amax(1, keepdim=True) + 1)[:, 0]
    assert (first_of_answer == ground_token).all() == (mode == "none")
    scores = run.validate(1)
    assert scores["boxes"]["n"] > 0


def test_validation_does_not_read_the_category_from_the_true_answer(tmp_path):
    s2 = GUIDED | {"category_mode": "generate"}
    torch.manual_seed(0)
    model = SpatialModel(small_config(names=NAMES, s2=s2)).eval()
    module = Objective(model, Prompt(small_tokenizer(), "generate"), LossWeights())
    sample = validation_samples(settings(tmp_path), NETWORK, module.prompt, None)[0]
    answer = sample.words.real & (
        torch.arange(sample.words.ids.shape[1]) > sample.words.instruction.long().argmax(1)[:, None]
    )
    answer &= ~sample.words.instruction
    other = replace(sample.words, ids=torch.where(answer, 300, sample.words.ids))
    assert not torch.equal(other.ids, sample.words.ids)
    with torch.no_grad():
        hits = [module.hits(replace(sample, words=words)) for words in (sample.words, other)]
    assert torch.equal(*hits)


def test_the_shipped_sharding_is_one_that_accelerate_knows(monkeypatch):
    shipped = load_config_from_file(str(ROOT / "config/accelerate/fsdp.yaml"))
    assert shipped.distributed_type == "FSDP" and shipped.fsdp_config["fsdp_version"] == 2
    layers = shipped.fsdp_config["fsdp_transformer_layer_cls_to_wrap"].split(",")
    model = SpatialModel(NETWORK)
    assert set(layers) <= {type(module).__name__ for module in model.modules()}
    plugin = FullyShardedDataParallelPlugin(
        fsdp_version=2,
        auto_wrap_policy="transformer_based_wrap",
        transformer_cls_names_to_wrap=layers,
    )
    plugin.set_auto_wrap_policy(model)
    wrapped = plugin.auto_wrap_policy.keywords["transformer_layer_cls"]
    assert {layer.__name__ for layer in wrapped} == set(layers)


def test_configuration_errors_name_the_key(tmp_path):
    path = tmp_path / "train.yaml"
    path.write_text("model: m\nout: o\nstpes: 3\n")
    with pytest.raises(ConfigError, match=r"train\.yaml: stpes"):
        load_train_config(path)
    with pytest.raises(ConfigError, match="no such file"):
        load_train_config(tmp_path / "absent.yaml")
