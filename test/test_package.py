"""The package as a whole: interfaces, shipped files, metadata, and what colcon installs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
import yaml

from spatial3d_ros.errors import ConfigError
from spatial3d_ros.resources import config_path, resource_path
from spatial3d_ros.runtime.parameters import FIELDS, check

ROOT = Path(__file__).resolve().parent.parent
INSTALLED = ROOT / "install" / "spatial3d_ros"
INTERFACES = sorted(
    path for kind in ("msg", "srv", "action") for path in (ROOT / kind).glob(f"*.{kind}")
)
PRESETS = sorted((ROOT / "config" / "cameras").glob("*.yaml"))
CORE_TOPICS = {"rgb/image", "depth/image", "rgb/camera_info"}

built = pytest.mark.skipif(
    not INSTALLED.is_dir(), reason="colcon has not built the package: run `make setup`"
)


def fields_of(path: Path) -> list[tuple[str, str, str, str]]:
    """(type, name, default or constant, comment) of each line of an interface that declares one."""
    declarations = []
    for line in path.read_text().splitlines():
        code, _, comment = line.partition("#")
        match = re.fullmatch(r"([\w/\[\]]+)\s+(\w+)(=\w+)?\s*", code)
        if match:
            declarations.append((match[1], match[2], match[3] or "", comment.strip()))
    return declarations


@pytest.mark.parametrize("path", INTERFACES, ids=lambda path: path.name)
def test_interface_says_what_it_is_and_in_which_units(path):
    assert path.read_text().startswith("# ")
    ours = {path.stem for path in INTERFACES}  # messages that explain themselves
    for kind, name, constant, comment in fields_of(path):
        assert comment or kind in ours, f"{path.name}: {name} has no comment"
        quantity = kind in {"float32", "float64", "geometry_msgs/Point", "geometry_msgs/Vector3"}
        if quantity and not constant:
            assert re.search(r"\[\w+\]|0\.\.1", comment), f"{path.name}: {name} names no unit"


def test_every_interface_is_generated():
    cmake = (ROOT / "CMakeLists.txt").read_text()
    listed = set(re.findall(r'"((?:msg|srv|action)/\w+\.\w+)"', cmake))
    assert listed == {path.relative_to(ROOT).as_posix() for path in INTERFACES}


def test_messages_have_their_fields():
    msg = pytest.importorskip("spatial3d_ros.msg", reason="messages are not built or not sourced")
    from spatial3d_ros.action import Query
    from spatial3d_ros.srv import MeasureDistance

    for path in (ROOT / "msg").glob("*.msg"):
        declared = {name for _, name, constant, _ in fields_of(path) if not constant}
        assert set(getattr(msg, path.stem).get_fields_and_field_types()) == declared
    assert (msg.DistanceAnswer.CENTER, msg.DistanceAnswer.SURFACE) == (0, 1)
    assert MeasureDistance.Request.KIND_SURFACE == 2
    assert (Query.Result.GROUNDING, Query.Result.DISTANCE, Query.Result.ANSWER) == (0, 1, 2)
    assert Query.Result.LAYOUT == 3


def test_shipped_files_are_found_and_missing_ones_are_named():
    assert resource_path("fastdds.xml").is_file()
    assert config_path("cameras").is_dir()
    with pytest.raises(ConfigError, match=r"config/models/huge\.yaml.*make setup"):
        config_path("models/huge.yaml")


def test_dds_profile_has_room_for_whole_images():
    text = re.sub(r' xmlns="[^"]*"', "", resource_path("fastdds.xml").read_text())
    profile = ElementTree.fromstring(text)
    transports = {entry.findtext("type"): entry for entry in profile.iter("transport_descriptor")}
    two_images = 2 * 1280 * 720 * 3
    assert int(transports["SHM"].findtext("segment_size")) > two_images
    assert int(transports["SHM"].findtext("maxMessageSize")) > two_images / 2
    used = {entry.text for entry in profile.find("participant").iter("transport_id")}
    assert used == {entry.findtext("transport_id") for entry in transports.values()}


def test_base_parameters_are_the_defaults_of_the_node():
    values = yaml.safe_load(config_path("base.yaml").read_text())["/**"]["ros__parameters"]
    defaults = {name: field.default for name, field in FIELDS.items()}
    for name in ("base_T_camera", "color_T_depth", "detection_classes", "cameras", "memory_peers"):
        assert defaults.pop(name) == ()  # YAML of ROS has no empty list
    assert values == defaults


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_camera_preset(path):
    preset = yaml.safe_load(path.read_text())
    assert set(preset) == {"remappings", "parameters"}
    assert set(preset["remappings"]) - {"pose", "odom"} == CORE_TOPICS
    assert all(topic.startswith("/") for topic in preset["remappings"].values())
    for name, value in preset["parameters"].items():
        check(name, value)


def test_model_presets_hold_parameters_of_the_node():
    presets = sorted((ROOT / "config" / "models").glob("*.params.yaml"))
    assert presets
    for path in presets:
        values = yaml.safe_load(path.read_text())["/**"]["ros__parameters"]
        assert values["model"] == path.name.removesuffix(".params.yaml")
        for name, value in values.items():
            check(name, value)


def test_pip_and_ros_agree_on_name_version_and_licence():
    manifest = ElementTree.parse(ROOT / "package.xml")
    shown = subprocess.run(
        [sys.executable, "setup.py", "--name", "--version", "--license"],
        cwd=ROOT, capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    expected = [manifest.findtext(tag) for tag in ("name", "version", "license")]
    assert shown.stdout.split()[-3:] == expected
    assert f"## {manifest.findtext('version')}" in (ROOT / "CHANGELOG.md").read_text()
    assert "Apache License" in (ROOT / "LICENSE").read_text()


@pytest.mark.parametrize("name", ["library", "research", "dev", "ros-wheels"])
def test_every_dependency_is_bounded_and_has_a_reason(name):
    for line in (ROOT / "requirements" / f"{name}.txt").read_text().splitlines():
        requirement, _, reason = line.partition("#")
        if requirement.strip():
            assert "==" in requirement or ("<" in requirement and reason.strip()), line


@built
@pytest.mark.parametrize("node", ["grounding_node", "visualizer_node"])
def test_colcon_installs_the_nodes_for_ros2_run(node):
    program = INSTALLED / "lib" / "spatial3d_ros" / node
    assert os.access(program, os.X_OK)
    interpreter = program.read_text().splitlines()[0].removeprefix("#!")
    has_torch = "import importlib.util, sys; sys.exit(not importlib.util.find_spec('torch'))"
    assert subprocess.run([interpreter, "-c", has_torch], timeout=120).returncode == 0


@built
def test_colcon_installs_one_package_with_messages_and_files(tmp_path):
    share = INSTALLED / "share" / "spatial3d_ros"
    for name in ("launch/spatial3d.launch.py", "config/base.yaml", "resource/fastdds.xml"):
        assert (share / name).is_file()
    packages = next(INSTALLED.glob("**/spatial3d_ros/msg/__init__.py")).parent.parent.parent
    found = subprocess.run(
        [sys.executable, "-c", "from spatial3d_ros import resources, msg; "
         "print(resources.__file__, resources.config_path('base.yaml'), sep='\\n')"],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(packages)},
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    module, config = found.stdout.split()
    assert Path(module).is_relative_to(packages)
    assert Path(config) == share / "config" / "base.yaml"
