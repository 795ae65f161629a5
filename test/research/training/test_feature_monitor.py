"""Feature statistics of a training run, and the error that stops a run without vision."""

import csv

import pytest
import torch

from helpers.small_model import small_model, small_scene
from helpers.training_samples import settings
from spatial3d_ros.errors import FeatureCollapseError
from spatial3d_ros.research.training import feature_monitor, trainer
from spatial3d_ros.research.training.feature_monitor import FeatureMonitor


def observed(model, prompt, steps=1):
    monitor = FeatureMonitor(model)
    for step in range(1, steps + 1):
        batch = small_scene(step)
        projected = model.project_views(batch)
        model.encode_scene(batch, prompt.tokens, projected)
        monitor.observe(projected, batch)
        means = monitor.end_step(step, monitor.step_sums())
    return means


def test_statistics_of_a_random_network():
    model, prompt = small_model()
    means = observed(model, prompt)
    assert means["features/variation"] > 0.1 and means["features/live_units"] > 0.9
    parts = [means[f"features/{name}"] for name in ("visual", "extent", "color")]
    assert sum(parts) == pytest.approx(1.0) and min(parts) > 0.01
    assert "features/label" not in means  # no object has a label


def test_a_dead_projector_has_no_live_units_and_no_variation():
    model, prompt = small_model()
    model.projector[0].bias.data -= 50.0
    means = observed(model, prompt)
    assert means["features/live_units"] == 0 and means["features/variation"] < 1e-3


def test_training_stops_after_enough_steps_without_variation(monkeypatch):
    monkeypatch.setattr(feature_monitor, "COLLAPSE_STEPS", 3)
    model, prompt = small_model()
    model.projector[0].bias.data -= 50.0
    observed(model, prompt, steps=2)
    with pytest.raises(FeatureCollapseError, match=r"step 3: .*feature_norm: layer"):
        observed(model, prompt, steps=3)


def test_one_step_with_variation_or_without_views_does_not_count(monkeypatch):
    monkeypatch.setattr(feature_monitor, "COLLAPSE_STEPS", 3)
    monitor = FeatureMonitor(small_model()[0])
    low, high = (torch.tensor([[v, 1, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0]]) for v in (0.0, 0.5))
    for step, sums in enumerate((low, low, high, low, low, 0 * low), start=1):
        monitor.end_step(step, sums)
    with pytest.raises(FeatureCollapseError, match="step 7"):
        monitor.end_step(7, low)


def test_a_run_logs_the_statistics_of_steps_with_views(tmp_path):
    rendered = {"folder": str(tmp_path / "rooms"), "rooms": 3, "views": 3, "batch": 2}
    config = settings(
        tmp_path,
        rendered=rendered | {"questions": 3},
        validation={"rooms": 1, "views": 3, "questions": 3},
    )
    trainer.train(config)
    with (tmp_path / "out" / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4
    for row in rows:
        assert 0.05 < float(row["features/variation"]) < 1.5
        assert 0 < float(row["features/live_units"]) <= 1
        shares = [float(row[f"features/{name}"] or 0) for name in feature_monitor.PARTS]
        assert sum(shares) == pytest.approx(1.0, abs=1e-3)
