"""Memory estimates: exact for weights and prefix, upper bounds for passes."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter
from typer.testing import CliRunner

from helpers.small_model import small_config, small_model, small_scene, small_tokenizer
from spatial3d_ros.__main__ import app
from spatial3d_ros.errors import ConfigError
from spatial3d_ros.model import budget
from spatial3d_ros.model.budget import COMPUTERS, GIB, estimate, memory_table, require_memory
from spatial3d_ros.model.checkpoint import save_model
from spatial3d_ros.model.config import ModelConfig, load_config
from spatial3d_ros.model.names_config import NamesConfig
from spatial3d_ros.model.network import SpatialModel
from spatial3d_ros.model.quantize import place_model
from spatial3d_ros.resources import config_path
from spatial3d_ros.tasks.model_runner import ModelRunner
from spatial3d_ros.tasks.prompt import Prompt

CPU = torch.device("cpu")
LARGE = ModelConfig(name="llava_video_7b", names=NamesConfig(classes=("chair",), colors=("red",)))
FACTOR = 4.0
"""An estimate is an upper bound, and at most this factor above the measured peak."""


class PeakBytes(TorchDispatchMode):
    """Peak bytes of the tensors allocated in the context."""

    def __init__(self):
        super().__init__()
        self.alive, self.peak = {}, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        given = {self.key(t) for t in tree_iter((args, kwargs)) if isinstance(t, torch.Tensor)}
        made = func(*args, **(kwargs or {}))
        self.alive = {key: one for key, one in self.alive.items() if not one[0].expired()}
        for tensor in tree_iter(made):
            if isinstance(tensor, torch.Tensor) and self.key(tensor) not in given:
                storage = tensor.untyped_storage()
                self.alive[self.key(tensor)] = (StorageWeakRef(storage), storage.nbytes())
        self.peak = max(self.peak, sum(size for _, size in self.alive.values()))
        return made

    @staticmethod
    def key(tensor):
        return tensor.untyped_storage()._cdata


def parameter_bytes(model):
    return sum(weight.nbytes for weight in model.parameters())


def prompt_length(prompt):
    return len(prompt.tokens.before) + len(prompt.tokens.after)


AWARE = {
    "psa": {"enabled": True, "seeds": 24, "referents": 8, "tokens": 5, "width": 12, "heads": 2},
    "object_tokens": "object+referent",
}


LARGE_PSA = {
    "patches": {"enabled": True, "inter": "edgeconv"},
    "points": {
        "enabled": True, "source": "points", "points": 2048, "seeds": 128, "referents": 32,
        "width": 64, "heads": 4,
    },
}  # fmt: skip


@pytest.mark.parametrize("parts", [{}, AWARE])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("views", [1, 3])
def test_weights_and_prefix_are_exact(dtype, views, parts):
    model, prompt = small_model(**parts)
    needed = estimate(
        model.config, views=views, dtype=dtype, prompt_length=prompt_length(prompt), objects=5
    )
    place_model(model, CPU, dtype)
    assert sum(needed.weights.values()) == parameter_bytes(model)
    with torch.inference_mode(), torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        scene = model.encode_scene(small_scene(views=views), prompt.tokens)
    assert needed.scene["prefix"] == sum(k.nbytes + v.nbytes for k, v in scene.prefix)
    if not parts:
        assert needed.scene["referents"] == 0
    elif dtype == torch.float32:
        kept = [*vars(scene.referents).values(), *vars(scene.referents.seeds).values()]
        kept = [
            value for value in (*kept, scene.referent_tokens) if isinstance(value, torch.Tensor)
        ]
        assert needed.scene["referents"] == sum(value.nbytes for value in kept)


def tiny(**parts):
    values = load_config(config_path("models/tiny.yaml")).model_dump()
    config = ModelConfig(**(values | parts))
    torch.manual_seed(0)
    return SpatialModel(config).eval(), Prompt(small_tokenizer())


def tiny_scene(config, views, objects):
    side, grid = config.vision.image_size, config.pooled_grid
    scene = small_scene(views=views, objects=objects)
    parts = {
        "pixels": torch.zeros(1, views, 3, side, side),
        "points": torch.rand(1, views, side, side, 3) * 4,
        "valid": torch.ones(1, views, side, side, dtype=torch.bool),
        "rays": torch.ones(1, views, grid * grid, 3),
        "patches": torch.zeros(1, views, config.vision.grid**2, config.vision.width),
    }
    return type(scene)(**(vars(scene) | parts))


@pytest.mark.parametrize(
    ("views", "objects", "source"),
    [(4, 20, None), (16, 100, None), (4, 20, "patches"), (4, 20, "points")],
)
@torch.inference_mode()
def test_passes_take_no_more_than_estimated(views, objects, source):
    model, prompt = tiny(**({} if source is None else {**AWARE, "psa": LARGE_PSA[source]}))
    config = model.config
    scene = tiny_scene(config, views, objects)
    sentences = [prompt.grounding(text) for text in ("the red chair", "the lamp on the table")]
    questions = prompt.batch(sentences, [0, 0])
    needed = estimate(
        config,
        views=views,
        dtype=torch.float32,
        objects=objects,
        question_length=questions.ids.shape[1],
        prompt_length=prompt_length(prompt),
    )
    with PeakBytes() as vision:
        model.encode_views(torch.zeros(1, 3, config.vision.image_size, config.vision.image_size))
    with PeakBytes() as refresh:
        encoded = model.encode_scene(scene, prompt.tokens)
    with PeakBytes() as question:
        model(encoded, questions, prompt.tokens)
    passes = dict(needed.passes)
    limits = {"vision": passes.pop("vision"), "question": passes.pop("question")}
    limits["refresh"] = max(passes.values()) + needed.scene["prefix"]
    for name, measured in (("vision", vision), ("refresh", refresh), ("question", question)):
        assert measured.peak <= limits[name] <= FACTOR * measured.peak, name
    assert needed.working >= limits["refresh"] + limits["question"]


def test_more_views_and_more_bits_need_more_memory():
    totals = {
        (weights, views): estimate(LARGE, views=views, dtype=torch.bfloat16, weights=weights).total
        for weights in ("auto", "int8", "int4")
        for views in (8, 16, 32)
    }
    for weights in ("auto", "int8", "int4"):
        assert totals[weights, 8] < totals[weights, 16] < totals[weights, 32]
    for views in (8, 16, 32):
        assert totals["int4", views] < totals["int8", views] < totals["auto", views]


def test_a_network_too_large_is_refused_with_settings_that_fit(monkeypatch):
    for free, weights, message in (
        (
            16,
            "auto",
            r"needs 1[89]\.\d GiB on cpu .*bfloat16.*16 views.*16\.0 GiB are free.*int8 \(",
        ),
        (18, "auto", r"max_views: 8 \(1\d\.\d GiB\)"),
        (4, "int8", r"Options: [89]\.\d GiB more free, or a smaller model"),
    ):
        monkeypatch.setattr(budget, "free_bytes", lambda _, free=free: free * GIB)
        with pytest.raises(ConfigError, match=message) as error:
            require_memory(LARGE, CPU, torch.bfloat16, weights, 16)
        assert "int4" not in str(error.value)  # not supported on the CPU
    monkeypatch.setattr(budget, "free_bytes", lambda _: 64 * GIB)
    require_memory(LARGE, CPU, torch.bfloat16, "auto", 16)


def test_a_model_is_refused_before_its_weights_are_read(tmp_path, monkeypatch):
    model, prompt = small_model()
    save_model(tmp_path, model, prompt.tokenizer, torch.float32)
    ModelRunner.load(str(tmp_path), "cpu")
    (tmp_path / "model.safetensors").write_bytes(b"never opened")
    monkeypatch.setattr(budget, "free_bytes", lambda _: 2**20)
    with pytest.raises(ConfigError, match=r"'small' needs .* GiB on cpu .*smaller model"):
        ModelRunner.load(str(tmp_path), "cpu")


def test_free_memory_suffices_for_the_small_networks():
    free = budget.free_bytes(CPU)
    assert free is not None and free > 2**20
    for config in (small_config(), load_config(config_path("models/tiny.yaml"))):
        require_memory(config, CPU, torch.float32, "auto", 32)
    assert estimate(config, views=32, dtype=torch.float32).total < GIB


@pytest.mark.parametrize(("shared", "free"), [(False, 3), (True, 20)])
def test_unified_memory_counts_the_file_cache_as_free(monkeypatch, shared, free):
    kind = SimpleNamespace(is_integrated=shared)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (3 * GIB, 24 * GIB))
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: kind)
    monkeypatch.setattr(budget, "_available", lambda: 20 * GIB)
    gpu = torch.device("cuda")
    assert budget.free_bytes(gpu) == free * GIB
    if shared:
        require_memory(LARGE, gpu, torch.bfloat16, "auto", 16)
    else:
        with pytest.raises(ConfigError, match=r"on cuda .* 3\.0 GiB are free"):
            require_memory(LARGE, gpu, torch.bfloat16, "auto", 16)


def test_int4_is_proposed_only_where_it_is_supported(monkeypatch):
    monkeypatch.setattr(budget, "free_bytes", lambda _: 11 * GIB)
    with pytest.raises(ConfigError, match=r"weights: int4 \("):
        require_memory(LARGE, torch.device("cuda"), torch.bfloat16, "auto", 16)


def test_unknown_free_memory_refuses_nothing(monkeypatch):
    monkeypatch.setattr(budget, "_available", lambda: None)
    require_memory(LARGE, CPU, torch.float32, "auto", 256)
    require_memory(LARGE, torch.device("meta"), torch.float32, "auto", 256)


def test_the_memory_table_has_parts_totals_and_computers():
    table = memory_table("llava_video_7b")
    assert [(row["weights"], row["views"]) for row in table["rows"]] == [
        (name, views) for name in ("bfloat16", "int8", "int4") for views in (8, 16, 32)
    ]
    for row in table["rows"]:
        sizes = row["gib"]
        assert sizes["total"] == pytest.approx(sizes["weights"] + sizes["scene"] + sizes["work"])
        assert row["fits"] == {name: sizes["total"] <= free for name, free in COMPUTERS.items()}
        assert sum(row["parts_bytes"]["weights"].values()) / GIB == sizes["weights"]
    assert all(row["fits"]["Orin AGX 64 GB"] for row in table["rows"])
    assert not any(row["fits"]["Orin Nano 8 GB"] for row in table["rows"])


def test_info_prints_the_memory_table():
    run = CliRunner().invoke(app, ["info", "--memory", "--model", "tiny", "--json"])
    assert run.exit_code == 0, run.output
    assert json.loads(run.stdout) == json.loads(json.dumps(memory_table("tiny")))
    shown = CliRunner().invoke(app, ["info", "--memory", "--model", "tiny"])
    assert shown.exit_code == 0 and "fits" in shown.stdout
