"""Object channels, their inputs, and the convolutional tower."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from helpers.small_model import small_config, small_model, small_scene
from spatial3d_ros.errors import ConfigError
from spatial3d_ros.model.color_names import color_shares, lab
from spatial3d_ros.model.config import CHANNELS, parse_config
from spatial3d_ros.model.crops import CROP_SIZE, crop_windows, cut_crop, stack_crops
from spatial3d_ros.model.object_channels import DROPPED
from spatial3d_ros.model.object_points import POINTS, object_points

MOVED = 1e-4
VISION = {
    "image_size": 32, "patch_size": 8, "width": 16, "layers": 2, "stem": "conv",
    "resize": "stretch", "resample": "bicubic", "feature_norm": "layer",
}  # fmt: skip
PARTS = {
    "vision": VISION,
    "objects": {"channels": CHANNELS, "identifier": "added", "relation_layers": 1,
                "relation_hidden": 8, "member_fraction": 0.25, "label_bias": True, "fronts": True},
    "psa": {"enabled": True, "seeds": 32, "referents": 8, "tokens": 8, "width": 16, "heads": 2},
    "object_tokens": "object+referent",
}  # fmt: skip


@pytest.fixture(scope="module")
def made():
    model, prompt = small_model(**PARTS)
    return model, prompt


@pytest.fixture(scope="module")
def batch(made):
    generator = torch.Generator().manual_seed(3)
    scene = small_scene()
    scene.boxes[0, 0] = torch.tensor([2.0, 2, 2, 5, 5, 5])  # holds all patches
    ids = made[1].name_ids(["chair", "table", "red", "lamp", "blue", "shelf"])
    labels = torch.stack([ids[:5], ids[1:]], 1)[None]
    return replace(
        scene,
        labels=labels,
        label_shares=torch.tensor([0.6, 0.3]).expand(1, 5, 2),
        fronts=torch.tensor([1.0, 0.0]).expand(1, 5, 2),
        crop_pixels=torch.rand(1, 5, 2, 4, 64, 64, generator=generator) * 2 - 1,
        crop_valid=torch.tensor([[[True, True], [True, False]] + [[False, False]] * 3]),
    )


def scores(made, batch, text="the red chair"):
    model, prompt = made
    with torch.no_grad():
        scene = model.encode_scene(batch, prompt.tokens)
        return model(scene, prompt.batch([prompt.grounding(text)], [0]), prompt.tokens).scores


CHANGES = {
    "pixels": lambda b: {"pixels": -b.pixels},
    "crops": lambda b: {"crop_pixels": -b.crop_pixels},
    "a missing crop": lambda b: {"crop_valid": b.crop_valid & False},
    "color": lambda b: {"colors": torch.tensor([0.9, 0.1, 0.1]).expand(1, 5, 3)},
    "second label": lambda b: {
        "labels": torch.stack([b.labels[:, :, 0], b.labels[:, :, 1].roll(1, 1)], 2)
    },
    "probability of a label": lambda b: {"label_shares": b.label_shares.flip(-1)},
    "front": lambda b: {"fronts": -b.fronts},
    "box": lambda b: {"boxes": b.boxes + torch.tensor([0.0, 0, 0, 0.1, 0, 0])},
}


@pytest.mark.parametrize("name", CHANGES)
def test_scores_depend_on_each_channel(name, made, batch):
    other = replace(batch, **CHANGES[name](batch))
    assert (scores(made, batch) - scores(made, other)).abs().max() > MOVED


def test_scores_depend_on_point_colors_and_referents(made, batch):
    model, before = made[0], scores(made, batch)
    for part in ("points", "referents"):
        handle = model.objects.parts[part].register_forward_pre_hook(
            lambda _, inputs: (inputs[0] * 0.5, inputs[1])
        )
        assert (scores(made, batch) - before).abs().max() > MOVED / 10
        handle.remove()


def test_absent_differs_from_zero(made):
    model, _ = made
    for channel in model.objects.parts.values():
        assert channel.absent.abs().max() > 0


def test_crops_are_the_same_computed_before_or_in_the_pass(made, batch):
    model, _ = made
    with torch.no_grad():
        crops = model.encode_crops(batch.crop_pixels.flatten(0, 2)).unflatten(0, (1, 5, 2))
    given = replace(batch, crops=crops, crop_pixels=None)
    torch.testing.assert_close(scores(made, given), scores(made, batch), atol=1e-4, rtol=1e-3)


def test_appearance_vectors_have_norm_one(made, batch):
    model, prompt = made
    with torch.no_grad():
        found = model.encode_scene(batch, prompt.tokens).appearance
    assert found.shape == (1, 5, 64)
    torch.testing.assert_close(found.norm(dim=-1)[0], torch.tensor([1.0, 1, 0, 0, 0]))


def test_training_drops_channels_but_never_all_that_name_an_object(made, batch):
    model, _ = made
    model.objects.train()
    torch.manual_seed(0)
    pooled = replace(pooled_of(model, batch))
    kept = {"labels": 0, "crops": 0}
    for _ in range(200):
        some, rest = model.objects.dropped(batch, pooled)
        unseen = ~(rest.visible | some.crop_valid.any(-1))
        named = (some.labels >= 0).any(-1).any(-1)
        assert (named | ~unseen).all() and not rest.colors[unseen].isnan().any()
        kept["labels"] += int(named[0, 0])
        kept["crops"] += int(some.crop_valid[0, 0].any())
    model.objects.eval()
    assert abs(kept["crops"] / 200 - (1 - DROPPED["crops"])) < 0.1
    assert abs(kept["labels"] / 200 - (1 - DROPPED["labels"])) < 0.12
    assert model.objects.dropped(batch, pooled)[0] is batch


def pooled_of(model, batch):
    from spatial3d_ros.model.objects import pool_object_features

    with torch.no_grad():
        features, _ = model._scene_tokens(batch, model.project_views(batch))
        pooled = pool_object_features(batch, features, model.config)
    return replace(pooled, colors=pooled.colors.nan_to_num(0.1))


def test_the_gradient_of_a_name_reaches_tower_points_and_crops(made, batch):
    model, prompt = made
    scene = model.encode_scene(batch, prompt.tokens)
    model.names["class"](scene.object_features).sum().backward()
    for part in (model.vision.conv.stem, model.objects.parts["points"], model.structure):
        assert max(w.grad.abs().max() for w in part.parameters() if w.grad is not None) > 0
    model.zero_grad()


def test_points_lie_in_their_box():
    points, present = object_points(batch_of_points())
    assert points.shape == (1, 2, POINTS, 6) and present.tolist() == [[True, False]]
    assert points[0, 0, :, :3].abs().max() <= 1.0
    assert torch.allclose(points[0, 0, :, 3:], torch.tensor(0.75))
    assert not points[0, 1].any()


def batch_of_points():
    scene = small_scene(objects=2)
    boxes = torch.tensor([[[1.0, 1, 1, 2, 2, 2], [90.0, 0, 0, 1, 1, 1]]])
    return replace(scene, boxes=boxes, pixels=torch.full_like(scene.pixels, 0.5))


def test_color_names_by_distance_in_lab():
    names = ("red", "green", "gray")
    rgb = torch.tensor([[196, 34, 36], [134, 136, 140], [44, 142, 58], [255, 0, 255]]) / 255
    shares = color_shares(rgb, names)
    assert shares.argmax(-1).tolist() == [0, 2, 1, 3]
    torch.testing.assert_close(shares.sum(-1), torch.ones(4))
    # Reference values of CIE: white, and sRGB red.
    found = lab(torch.tensor([[1.0, 1, 1], [1, 0, 0]]))
    expected = torch.tensor([[100.0, 0, 0], [53.24, 80.09, 67.20]])
    torch.testing.assert_close(found, expected, atol=0.05, rtol=0)


def test_crop_windows_prefer_views_without_the_border():
    points = torch.full((2, 32, 32, 3), 9.0)
    points[0, 10:20, 8:16] = 0.0  # in the middle of view 0
    points[1, 0:24, 0:24] = 0.0  # larger, but at the border of view 1
    found = crop_windows(
        points,
        torch.ones(2, 32, 32, dtype=torch.bool),
        torch.tensor([[0.0, 0, 0, 1, 1, 1], [50.0, 0, 0, 1, 1, 1]]),
    )
    assert found.view[0].tolist() == [0, 1] or found.view[0].tolist() == [1, 0]
    assert found.found.tolist() == [[True, True], [False, False]]
    first = found.window[0, found.view[0].tolist().index(0)]
    assert first.tolist() == [8 / 32, 10 / 32, 16 / 32, 20 / 32]
    small = points.clone()
    small[1, 12:24, 0:24] = 9.0
    one = crop_windows(
        small, torch.ones(2, 32, 32, dtype=torch.bool), torch.tensor([[0.0, 0, 0, 1, 1, 1]])
    )
    assert one.view[0, 0] == 0


def test_crops_show_the_window_and_stay_inside_the_image():
    image = np.zeros((48, 64, 3), np.uint8)
    image[20:30, 40:50] = 200
    points, valid = torch.zeros(32, 32, 3), torch.ones(32, 32, dtype=torch.bool)
    points[13:20, 20:25], valid[:, 16:21] = torch.tensor([5.0, 0, 0]), False
    box = torch.tensor([5.0, 0, 0, 1, 1, 1])
    seen = image, points, valid, box
    cut = cut_crop(*seen, [40 / 64, 20 / 48, 50 / 64, 30 / 48], (0.0, 1.0))
    assert cut.shape == (4, CROP_SIZE, CROP_SIZE)
    torch.testing.assert_close(cut[:3, 32, 32], torch.full((3,), 200 / 127.5 - 1))
    assert cut[:3, 0, 0].tolist() == [-1.0] * 3
    # In the mask: the object, what is around it, and what has no depth.
    assert cut[3, 32, 45] == 1 and cut[3, 0, 60] == -1 and cut[3, 32, 2] == 0
    whole = cut_crop(*seen, [0.0, 0.0, 1.0, 1.0], (0.0, 1.0))
    assert whole.shape == cut.shape
    assert stack_crops([cut]).shape == (1, 4, CROP_SIZE, CROP_SIZE)
    assert stack_crops([]).shape == (0, 4, CROP_SIZE, CROP_SIZE)


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"vision": VISION | {"patch_size": 14}}, "8 pixels"),
        ({"objects": {"channels": ["smell"]}}, "channels"),
        ({"objects": {"channels": ["crops"], "identifier": "token"}}, "identifier: added"),
    ],
)
def test_bad_configurations_name_the_key(values, complaint):
    with pytest.raises(ConfigError, match=complaint):
        parse_config(small_config().model_dump() | values, "test.yaml")


def test_channels_work_without_views():
    model, prompt = small_model(**PARTS)
    scene = small_scene()
    boxes_only = type(scene)(boxes=scene.boxes, object_valid=scene.object_valid)
    with torch.no_grad():
        encoded = model.encode_scene(boxes_only, prompt.tokens)
    assert encoded.object_features.isfinite().all()
