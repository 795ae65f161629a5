"""The cameras of a node by its parameters: presets, namespaces, own values, and errors by name."""

from __future__ import annotations

import pytest
import yaml

from spatial3d_ros.errors import ConfigError
from spatial3d_ros.resources import config_path
from spatial3d_ros.runtime.cameras import CameraSource, camera_sources
from spatial3d_ros.runtime.parameters import Parameters

TWO = Parameters(cameras=("front", "rear"), detections_2d="/boxes", depth_unit=0.002)
TOPICS = {"rgb_image": "/c/rgb", "depth_image": "/c/deep/image", "camera_info": "/c/info"}


def test_without_names_there_is_one_camera_on_the_usual_topics():
    given = Parameters(color_transport="compressed", depth_transport="compressedDepth")
    (camera,) = camera_sources(given, {})
    assert camera == CameraSource(given)
    assert (camera.color, camera.depth) == (
        "rgb/image/compressed",
        "depth/image/compressedDepth",
    )
    assert camera.rename("rgb_image", camera.color) == "remap rgb/image/compressed"


def test_a_camera_has_its_topics_and_what_it_does_not_set_in_general():
    entries = {"front": TOPICS, "rear": {"preset": "zed", "namespace": "/zed_b/", "depth_unit": 1}}
    front, rear = camera_sources(TWO, entries)
    assert (front.color, front.depth_info) == ("/c/rgb", "/c/deep/camera_info")
    assert front.parameters == TWO
    assert front.rename("rgb_image", front.color) == "set front.rgb_image"
    assert rear.color == "/zed_b/rgb/color/rect/image"
    assert (rear.parameters.images_rectified, rear.parameters.depth_unit) == (True, 1.0)
    assert rear.parameters.detections_2d == ""  # those are boxes in the first camera's images


@pytest.mark.parametrize("preset", sorted(p.stem for p in config_path("cameras").glob("*.yaml")))
def test_every_preset_can_move_to_a_namespace(preset):
    entry = {"preset": preset, "namespace": "/here"}
    (camera,) = camera_sources(Parameters(cameras=("a",)), {"a": entry})
    usual = yaml.safe_load((config_path("cameras") / f"{preset}.yaml").read_text())["remappings"]
    assert camera.color.startswith("/here/") and usual["rgb/image"].endswith(camera.color[5:])
    assert len({camera.color, camera.depth, camera.camera_info}) == 3


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ({}, r"front\.rgb_image is missing"),
        ({"preset": "kinect9"}, r"front\.preset is 'kinect9'; it must be one of azure_kinect"),
        (
            {**TOPICS, "deph_unit": 1},
            r"front\.deph_unit is unknown: did you mean front\.depth_unit",
        ),
        ({**TOPICS, "depth_unit": -1.0}, r"front\.depth_unit is -1\.0; it must be between"),
        ({**TOPICS, "depth_unit": "mm"}, r"front\.depth_unit is 'mm'"),
        ({**TOPICS, "camera_info": 3}, r"front\.camera_info is 3; it must be a name"),
        ({"preset": ["zed"]}, r"front\.preset is \['zed'\]; it must be a name"),
        ({**TOPICS, "namespace": "/a"}, r"front\.namespace needs front\.preset"),
        ({**TOPICS, "max_views": 3}, r"front\.max_views is unknown"),
    ],
)
def test_a_wrong_entry_is_named(entry, problem):
    with pytest.raises(ConfigError, match=problem):
        camera_sources(TWO, {"front": entry, "rear": {"preset": "zed"}})


def test_names_and_topics_must_differ():
    for names in (("a", "a"), ("a/b",), ("",), ("1",)):
        with pytest.raises(ConfigError, match="different names"):
            camera_sources(Parameters(cameras=names), dict.fromkeys(names, TOPICS))
    with pytest.raises(
        ConfigError, match=r"front\.rgb_image and rear\.rgb_image are both '/c/rgb'"
    ):
        camera_sources(TWO, {"front": TOPICS, "rear": TOPICS})
