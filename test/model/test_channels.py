"""Variation of the input channels, dead channels, and the normalisation before the projector."""

import pytest
import torch

from helpers.small_model import small_config, small_model, small_scene
from spatial3d_ros.model.channels import MIN_VARIATION, channel_variation, dead_channels, variation
from spatial3d_ros.model.checkpoint import load_model, save_model
from spatial3d_ros.model.network import SpatialModel


def kill_projector(model):
    """The state of the projector in weights trained without normalisation: no unit is live."""
    model.projector[0].bias.data -= 50.0
    return model


def test_variation_is_the_relative_deviation_from_the_mean_over_inputs():
    features = torch.tensor([[[3.0, 4.0]], [[3.0, -4.0]]])
    assert variation(features) == pytest.approx(4 / 5)
    assert variation(features[:1]) == 0 and variation(features[:1].expand(5, -1, -1)) == 0
    assert variation(100 * features) == pytest.approx(4 / 5)
    # Patches that differ from each other, but not between images, are no variation.
    assert variation(torch.randn(1, 9, 4).expand(6, -1, -1)) < 1e-6


def test_all_channels_of_a_random_network_are_alive():
    found = channel_variation(small_model()[0])
    assert list(found) == ["pixels", "rays", "color", "size"]
    assert min(found.values()) > 2 * MIN_VARIATION and dead_channels(found) == []


def test_a_constant_projector_is_a_dead_channel():
    found = channel_variation(kill_projector(small_model()[0]))
    assert dead_channels(found) == ["pixels"] and found["pixels"] < 1e-3


def test_channels_that_are_switched_off_are_left_out():
    parts = {"s2": {"se": {"enabled": False}, "mpe": {"ray": False}}, "object_tokens": "none"}
    model, _ = small_model(**parts, head={"object_source": "input"})
    assert list(channel_variation(model)) == ["pixels"]


class TestFeatureNorm:
    def vision(self, norm):
        return small_config().vision.model_dump() | {"feature_norm": norm}

    def test_none_has_the_tensors_and_weights_of_old_files(self):
        torch.manual_seed(0)
        plain = SpatialModel(small_config()).state_dict()
        torch.manual_seed(0)
        layer = SpatialModel(small_config(vision=self.vision("layer"))).state_dict()
        assert layer.keys() - plain.keys() == {"feature_norm.weight", "feature_norm.bias"}
        assert all(torch.equal(value, layer[name]) for name, value in plain.items())

    @pytest.mark.parametrize("norm", ["none", "layer"])
    def test_only_layer_makes_projected_features_independent_of_the_scale(self, norm):
        model, _ = small_model(vision=self.vision(norm), s2={"se": {"enabled": False}})
        patches = torch.randn(1, 2, 16, 16)
        valid = torch.ones(1, 2, dtype=torch.bool)
        with torch.no_grad():
            once, tenfold = (model.project_patches(s * patches, valid) for s in (1.0, 10.0))
        assert torch.allclose(once, tenfold, atol=1e-3) == (norm == "layer")

    def test_weights_with_the_norm_round_trip(self, tmp_path):
        model, prompt = small_model(vision=self.vision("layer"))
        save_model(tmp_path, model, prompt.tokenizer, torch.float32)
        again, _ = load_model(tmp_path)
        batch = small_scene()
        with torch.no_grad():
            assert torch.equal(model.project_views(batch), again.project_views(batch))
