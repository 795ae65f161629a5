"""`spatial3d doctor`: each missing part is named with its remedy; exit codes."""

from __future__ import annotations

import json
import sys

import pytest
from typer.testing import CliRunner

from spatial3d_ros import doctor
from spatial3d_ros.__main__ import app
from spatial3d_ros.resources import resource_path

PROFILE = {"FASTRTPS_DEFAULT_PROFILES_FILE": str(resource_path("fastdds.xml"))}
ROS = {"rclpy": "/opt/rclpy", "rmw": "rmw_fastrtps_cpp"}


@pytest.fixture
def machine(monkeypatch):
    """`examine` with fixed outputs of its child processes."""

    def make(ros=ROS, interfaces=None):
        answers = {doctor.ROS_SCRIPT: ros, doctor.INTERFACES_SCRIPT: interfaces or {"text": "/msg"}}
        monkeypatch.setattr(doctor, "_run_script", answers.get)

        def examine(environment=PROFILE, **options):
            found = doctor.examine(environment=environment, **options)
            return {finding.name: finding for finding in found}, doctor.is_well(found)

        return examine

    return make


def test_complete_machine(machine) -> None:
    found, well = machine()()
    assert well
    for name in ("Python", "torch", "cv2", "model tiny", "rclpy", "messages", "transport"):
        assert (found[name].state, found[name].cure) == ("ok", ""), found[name]
    assert found["model tiny"].found.startswith("loads, on ")


def test_machine_without_ros(machine) -> None:
    examine = machine(ros="ModuleNotFoundError: No module named 'rclpy'")
    found, well = examine()
    assert not well
    assert found["rclpy"].state == "missing"
    assert "make setup" in found["rclpy"].cure
    assert "messages" not in found  # not checked without rclpy
    found, well = examine(ros=False)
    assert well
    assert "rclpy" not in found


def test_missing_research_extra_is_optional(machine, monkeypatch) -> None:
    monkeypatch.setattr(doctor, "RESEARCH_LIBRARIES", ("no_such_library",))
    found, well = machine()()
    assert well and found["research"].state == "optional"
    assert "no_such_library" in found["research"].found
    assert found["research"].cure == "pip install 'spatial3d_ros[research]'"


def test_messages_that_are_not_built(machine) -> None:
    found, well = machine(interfaces="ImportError: cannot import name 'msg'")()
    assert not well
    assert "colcon build" in found["messages"].cure


@pytest.mark.parametrize(
    ("text", "text_found"),
    [
        (None, "defaults: its shared memory is smaller than an image"),
        ("<profiles><segment_size>600000</segment_size></profiles>", "no shared memory of 5 MB"),
        ("<profiles>", "no element found"),
    ],
)
def test_fast_dds_profile_too_small_for_images(machine, tmp_path, text, text_found) -> None:
    environment = {}
    if text is not None:
        (tmp_path / "p.xml").write_text(text)
        environment = {"FASTDDS_DEFAULT_PROFILES_FILE": str(tmp_path / "p.xml")}
    found, well = machine()(environment)
    assert well  # degraded only
    assert found["transport"].state == "degraded"
    assert text_found in found["transport"].found
    assert str(resource_path("fastdds.xml")) in found["transport"].cure


def test_other_middleware_has_its_own_remedy(machine) -> None:
    found, _ = machine(ros=ROS | {"rmw": "rmw_cyclonedds_cpp"})({})
    assert "rmem_max" in found["transport"].found
    found, _ = machine(ros=ROS | {"rmw": "rmw_zenoh_cpp"})({})
    assert "nothing measured" in found["transport"].found


def test_broken_library_is_named(machine, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "rosbags", None)  # importing it fails
    found, well = machine()()
    assert not well
    assert found["rosbags"].state == "missing"
    assert "make setup" in found["rosbags"].cure


def test_missing_weights_are_named(machine, tmp_path) -> None:
    found, well = machine()(model=str(tmp_path / "nothing"))
    assert not well
    finding = found[f"model {tmp_path / 'nothing'}"]
    assert "config.yaml: missing" in finding.found
    assert "spatial3d assemble" in finding.cure


def test_output_of_a_child_process() -> None:
    assert doctor._run_script('print(\'{"a": "b"}\')') == {"a": "b"}
    assert doctor._run_script("print('/path')") == {"text": "/path"}
    assert doctor._run_script("import no_such_module").startswith("ModuleNotFoundError")
    assert doctor._run_script("raise SystemExit(3)") == "ended without output"


def test_the_command_and_its_exit_code(machine) -> None:
    machine()
    shown = CliRunner().invoke(app, ["doctor"])
    assert shown.exit_code == 0, shown.output
    assert "model tiny" in shown.output
    machine(ros="ModuleNotFoundError: No module named 'rclpy'")
    printed = CliRunner().invoke(app, ["doctor", "--json"])
    assert printed.exit_code == 1
    answers = json.loads(printed.stdout)
    assert answers["well"] is False
    assert {"name", "state", "found", "cure"} == set(answers["findings"][0])
