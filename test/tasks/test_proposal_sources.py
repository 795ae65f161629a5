"""Where objects come from: depth, or the network's own referents, with real, small weights."""

import numpy as np
import pytest
import torch

from helpers.engine_scene import wall_frame
from helpers.referents_model import model_with_referents
from helpers.small_model import small_model
from spatial3d_ros.engine import EngineConfig, Spatial3D
from spatial3d_ros.errors import ConfigError
from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.model.checkpoint import save_model
from spatial3d_ros.scene.points_in_boxes import points_in_boxes


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    made = {}
    for name, (model, prompt) in (
        ("plain", small_model()),
        ("aware", model_with_referents(seeds=48, referents=16)),
    ):
        made[name] = tmp_path_factory.mktemp(name)
        save_model(made[name], model, prompt.tokenizer, torch.float32)
    return made


def looked(folder, source, views=3):
    """An engine that saw a bare wall, where nothing stands out by depth."""
    engine = Spatial3D(EngineConfig(model=str(folder), device="cpu", max_views=4, proposals=source))
    engine.load()
    for number in range(1, views + 1):
        engine.add_frame(wall_frame(number))
    engine.refresh()
    return engine


@pytest.mark.parametrize("source", ["referents", "auto"])
def test_referents_are_used_without_proposals_from_depth(folders, source):
    engine = looked(folders["aware"], source)
    objects = engine.scene().objects
    assert 1 < len(objects) <= 16
    for known in objects:
        assert len(known.points) and known.box.contains(known.points, 1e-3).all()
        assert 0.1 <= known.score <= 1 and 1 <= known.views <= 3
        assert known.label in ("chair", "table") and min(known.box.size) > 0
        assert all(0 <= value <= 255 for value in known.rgb)
    wall = np.concatenate([known.points for known in objects])
    np.testing.assert_allclose(wall[:, 1], 2.0, atol=0.03)  # in the map, where the wall is
    found = engine.ground("the red chair")
    assert found.no_target or found.objects[0].object in objects
    before = [known.id for known in objects]
    engine.add_frame(wall_frame(9))
    engine.refresh()
    assert set(before) & {known.id for known in engine.scene().objects}  # some are known again


def test_depth_alone_proposes_nothing_on_a_bare_wall(folders):
    for name, source in (("aware", "builtin"), ("plain", "auto"), ("plain", "builtin")):
        engine = looked(folders[name], source)
        assert engine.scene().objects == () and engine.scene().views == 3
        empty = engine.ground("the red chair")
        assert empty.no_target and "the object map is empty" in empty.text


def test_given_proposals_come_before_referents(folders):
    engine = looked(folders["aware"], "referents")
    engine.clear()
    engine.add_frame(wall_frame(1))
    engine.refresh(
        proposals=points_in_boxes([Box3D((0.3, 2, 1), (0.4, 0.4, 0.4))], [0.9], [wall_frame(1)])
    )
    (known,) = engine.scene().objects
    assert known.box.center == pytest.approx((0.3, 2, 1)) and known.score == 0.9


def test_weights_without_referents_raise(folders):
    for source, message in (
        ("referents", r"proposals: referents, but .*psa\.enabled.*use auto or builtin"),
        ("magic", "proposals: 'magic' is unknown; use auto, builtin, referents"),
    ):
        engine = Spatial3D(
            EngineConfig(model=str(folders["plain"]), device="cpu", proposals=source)
        )
        with pytest.raises(ConfigError, match=message):
            engine.load()
        assert engine.stats()["device"] == "not loaded"


def test_boxes_get_the_points_measured_in_them():
    seen = [wall_frame(1), wall_frame(2)]
    wall, void = Box3D((0.3, 2, 1), (0.4, 0.2, 0.4)), Box3D((0.3, 1, 1), (0.2, 0.2, 0.2))
    (one,) = points_in_boxes([wall, void], [0.7, 0.9], seen)
    assert (one.box, one.score, one.views) == (wall, 0.7, 2)
    assert wall.contains(one.points, 1e-6).all() and len(one.points) > 50
    assert one.points.dtype == np.float32 and 100 < np.mean(one.rgb) < 155
    assert points_in_boxes([wall], [0.7], []) == []
