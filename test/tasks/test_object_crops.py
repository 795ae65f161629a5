"""Crops of objects in the engine: cut from the camera images, encoded once, kept with it."""

from dataclasses import replace

import numpy as np
import torch

from helpers.small_model import small_model
from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.geometry.camera import Camera
from spatial3d_ros.model.config import CHANNELS
from spatial3d_ros.scene.buffer import Snapshot, View
from spatial3d_ros.scene.frame import Frame
from spatial3d_ros.scene.objects import SceneObject
from spatial3d_ros.tasks.model_runner import ModelRunner

PARTS = {
    "vision": {"image_size": 32, "patch_size": 8, "width": 16, "layers": 1, "stem": "conv",
               "resize": "stretch", "feature_norm": "layer"},
    "objects": {"channels": CHANNELS, "identifier": "added", "relation_hidden": 8},
    "psa": {"enabled": True, "seeds": 32, "referents": 8, "tokens": 8, "width": 16, "heads": 2},
    "object_tokens": "object+referent",
}  # fmt: skip
CAMERA = Camera(64, 48, 60.0, 60.0, 32.0, 24.0)


def frame(stamp, color=200):
    rgb = np.full((48, 64, 3), color, np.uint8)
    return Frame(stamp, rgb, np.full((48, 64), 2.0, np.float32), CAMERA, np.eye(4))


def known(number, stamp, center=(0.0, 0.0, 2.0)):
    box = Box3D(center, (0.4, 0.4, 0.4))
    points = np.zeros((1, 3), np.float32)
    return SceneObject(number, box, (200.0, 200, 200), 1.0, 1, stamp, points)


def test_crops_are_encoded_once_and_kept_while_an_object_is_out_of_sight(monkeypatch):
    model, prompt = small_model(**PARTS)
    runner = ModelRunner(model, prompt.tokenizer, "cpu", "float32")
    encoded = []
    encode = model.encode_crops
    monkeypatch.setattr(model, "encode_crops", lambda p: encoded.append(len(p)) or encode(p))
    given = []
    scene = model.encode_scene
    monkeypatch.setattr(model, "encode_scene", lambda b, *a: given.append(b) or scene(b, *a))

    first = View(0, frame(10))
    one = known(1, 10)
    runner.encode_scene(Snapshot(1, (first,)), [one])
    assert encoded == [1] and given[-1].crop_valid.tolist() == [[[True, False]]]
    runner.encode_scene(Snapshot(2, (first,)), [one])
    assert encoded == [1]  # a question, or the same map again, computes none

    second = View(1, frame(20, 90))
    runner.encode_scene(Snapshot(3, (first, second)), [replace(one, stamp_ns=20)])
    assert encoded == [1, 1] and given[-1].crop_valid.all()
    before = given[-1].crops

    # The newest view does not update it, and something else has no crop yet.
    third = View(2, frame(30, 10))
    views = Snapshot(4, (first, second, third))
    runner.encode_scene(views, [replace(one, stamp_ns=20), known(2, 20, (0.5, 0, 2))])
    assert encoded == [1, 1] and torch.equal(given[-1].crops[:, :1], before)
    assert given[-1].crop_valid[0, 1].tolist() == [False, False]

    runner.clear_view_features()
    runner.encode_scene(views, [replace(one, stamp_ns=30)])
    assert encoded == [1, 1, 2]


def test_networks_without_the_channel_get_none(monkeypatch):
    model, prompt = small_model()
    runner = ModelRunner(model, prompt.tokenizer, "cpu", "float32")
    given = []
    scene = model.encode_scene
    monkeypatch.setattr(model, "encode_scene", lambda b, *a: given.append(b) or scene(b, *a))
    runner.encode_scene(Snapshot(1, (View(0, frame(10)),)), [known(1, 10)])
    assert given[-1].crops is None and given[-1].crop_valid is None
