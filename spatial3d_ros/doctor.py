"""Checks what the nodes need on this machine, with a command that installs what is missing.

ROS is checked in a child process, so that a broken installation cannot end the check.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from spatial3d_ros.errors import Spatial3DError
from spatial3d_ros.resources import resource_path

State = Literal["ok", "missing", "degraded", "optional"]
PYTHONS = ((3, 10), (3, 12))
LIBRARIES = ("numpy", "scipy", "cv2", "torch", "transformers", "safetensors", "yaml", "rosbags")
ROS_SCRIPT = """
import json, rclpy
from rclpy.utilities import get_rmw_implementation_identifier
found = {"rclpy": rclpy.__file__, "rmw": get_rmw_implementation_identifier()}
print(json.dumps(found))
"""
INTERFACES_SCRIPT = """
from spatial3d_ros import msg, srv, action
for kind in (msg.Grounding, srv.Ground, action.Query):
    kind.__class__.__import_type_support__()
print(msg.__file__)
"""
RESEARCH_LIBRARIES = ("accelerate", "embreex", "peft")  # requirements/research.txt
OPTIONAL = {
    "launch_ros": ("spatial3d.launch.py", "launch-ros"),
    "tf2_msgs": ("poses from TF (pose_source:=tf)", "tf2-msgs"),
    "vision_msgs": ("boxes from detectors, and ~/detections", "vision-msgs"),
    "nav2_msgs": ("driving to what was found (approach_node)", "nav2-msgs"),
}
IMAGE_BYTES = 2 * 1280 * 720 * 3  # room for two colour images of a usual camera
SHARED_MEMORY_BYTES = 256 * 2**20  # eight processes with resource/fastdds.xml
CHILD_S = 60.0
SOCKET_BYTES = 4 * 2**20
NVIDIA = (Path("/proc/driver/nvidia/version"), Path("/etc/nv_tegra_release"))  # desktop, Jetson


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    "missing" is required; "degraded" works badly; "optional" is missing and only needed for what
    `found` says. `cure` is a command, or a sentence if no command helps; "" for "ok".
    """

    name: str
    state: State
    found: str
    cure: str = ""


def examine(
    *,
    model: str = "tiny",
    device: str = "auto",
    ros: bool = True,
    environment: Mapping[str, str] = os.environ,
) -> list[Finding]:
    """Run all checks; `ros` False skips what only the nodes need. Never raises."""
    found = [_python(), *_libraries(), _research(), _cuda(), *_weights(model, device)]
    if ros:
        answer = _run_script(ROS_SCRIPT)
        found.append(_rclpy(answer))
        if isinstance(answer, dict):
            found += [
                _interfaces(_run_script(INTERFACES_SCRIPT)),
                *_transport(answer["rmw"], environment),
            ]
        found += _optional(environment)
    return found


def is_well(findings: list[Finding]) -> bool:
    """Whether nothing required is missing."""
    return all(finding.state != "missing" for finding in findings)


def _python() -> Finding:
    where = f"{platform.python_version()}, {sys.executable}"
    low, high = (".".join(map(str, version)) for version in PYTHONS)
    if PYTHONS[0] <= sys.version_info[:2] <= PYTHONS[1]:
        return Finding("Python", "ok", where)
    cure = f"install Python {low} to {high}, then: SPATIAL3D_PYTHON=python{high} make setup"
    return Finding("Python", "missing", where, cure)


def _libraries() -> list[Finding]:
    """Import each library: an installed one may fail to load."""
    findings = []
    for name in LIBRARIES:
        try:
            module = importlib.import_module(name)
        except Exception as error:  # a library built for another one raises anything
            found = f"{type(error).__name__}: {_first_line(error)}"
            cure = "make setup   (or, for the library alone: pip install .)"
            findings.append(Finding(name, "missing", found, cure))
        else:
            version = getattr(module, "__version__", "") or importlib.metadata.version(name)
            findings.append(Finding(name, "ok", str(version)))
    return findings


def _research() -> Finding:
    """The extra for generated rooms, training, evaluation and benchmarks."""
    absent = [name for name in RESEARCH_LIBRARIES if not importlib.util.find_spec(name)]
    if not absent:
        return Finding("research", "ok", "installed")
    found = f"for synth, train, evaluate and bench; missing: {', '.join(absent)}"
    return Finding("research", "optional", found, "pip install 'spatial3d_ros[research]'")


def _cuda() -> Finding:
    try:
        import torch

        if torch.cuda.is_available():
            free, total = torch.cuda.mem_get_info()
            card = torch.cuda.get_device_name()
            found = f"{card}, {free / 2**30:.1f} of {total / 2**30:.1f} GiB free"
            return Finding("CUDA", "ok", f"{found}, CUDA {torch.version.cuda}")
        built_for = torch.version.cuda
    except Exception as error:
        return Finding("CUDA", "degraded", f"not available: {_first_line(error)}", "make setup")
    if not any(path.exists() for path in NVIDIA):
        return Finding("CUDA", "ok", "no NVIDIA GPU: the model runs on the CPU")
    if built_for is None:
        found = "NVIDIA GPU found, but this torch was built without CUDA"
        cure = "pip install --force-reinstall torch   (pip's index set to builds of it with CUDA)"
        if NVIDIA[1].exists():
            cure = "install NVIDIA's own torch for this JetPack (docs/COMPUTERS.md, Jetson)"
        return Finding("CUDA", "degraded", found, cure)
    found = f"NVIDIA GPU found, but torch (CUDA {built_for}) cannot use it"
    return Finding("CUDA", "degraded", found, "nvidia-smi   (shows the state of the driver)")


def _weights(model: str, device: str) -> list[Finding]:
    """Load the model as the node does, and find channels without effect."""
    name = f"model {model}"
    try:
        from spatial3d_ros.model.channels import channel_variation
        from spatial3d_ros.tasks.model_runner import ModelRunner

        runner = ModelRunner.load(model, device)
        loaded = Finding(name, "ok", f"loads, on {runner.runs_on}")
        return [loaded, _channels(model, channel_variation(runner.model))]
    except Spatial3DError as error:  # its message names a remedy
        cure = "spatial3d download; spatial3d assemble   (README, A larger network)"
        return [Finding(name, "missing", str(error), cure if model != "tiny" else "make setup")]
    except Exception as error:
        found = f"{type(error).__name__}: {_first_line(error)}"
        return [Finding(name, "missing", found, "repair torch and transformers first")]


def _channels(model: str, found: dict[str, float]) -> Finding:
    from spatial3d_ros.model.channels import dead_channels

    name, dead = f"channels of {model}", dead_channels(found)
    if not dead:
        return Finding(name, "ok", f"{', '.join(found)} have an effect")
    text = f"no effect on any answer: {', '.join(dead)} (dead in these weights)"
    cure = "give a detector for names (docs/YOUR_ROBOT.md), or retrain (vision.feature_norm: layer)"
    return Finding(name, "degraded", text, cure)


def _rclpy(answer: dict[str, str] | str) -> Finding:
    distribution = os.environ.get("ROS_DISTRO", "")
    if isinstance(answer, dict):
        found = f"{distribution or 'from wheels'}, {answer['rclpy']}"
        return Finding("rclpy", "ok", found)
    sourced = sorted(Path("/opt/ros").glob("*/setup.bash"))
    if distribution:
        found = f"ROS {distribution} is sourced, but this Python cannot load it: {answer}"
        return Finding("rclpy", "missing", found, "make setup   (it picks the Python of that ROS)")
    if sourced:
        return Finding("rclpy", "missing", answer, f". {sourced[-1]} && make setup")
    return Finding("rclpy", "missing", answer, "make setup, then .venv/bin/spatial3d doctor")


def _interfaces(answer: dict[str, str] | str) -> Finding:
    if isinstance(answer, dict):
        return Finding("messages", "ok", answer["text"])
    cure = "make setup && . scripts/ros_env.sh   (in a workspace: colcon build, source install)"
    return Finding("messages", "missing", answer, cure)


def _transport(rmw: str, environment: Mapping[str, str]) -> list[Finding]:
    """The middleware, and whether its settings fit images."""
    if "fastrtps" in rmw:
        return [_fast_dds(rmw, environment), _shared_memory()]
    if "cyclonedds" in rmw:
        return [_cyclone_dds(rmw)]
    return [Finding("transport", "ok", f"{rmw}: no problem known, nothing measured")]


def _fast_dds(rmw: str, environment: Mapping[str, str]) -> Finding:
    profile = shlex.quote(str(resource_path("fastdds.xml")))
    cure = (
        f"export FASTRTPS_DEFAULT_PROFILES_FILE={profile} FASTDDS_DEFAULT_PROFILES_FILE={profile}"
        "   (for the camera driver too)"
    )
    names = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE")
    path = next((environment[name] for name in names if environment.get(name)), "")
    if not path:
        found = f"{rmw} with defaults: its shared memory is smaller than an image, most are lost"
        return Finding("transport", "degraded", found, cure)
    try:
        text = re.sub(r' xmlns="[^"]*"', "", Path(path).read_text())
        segments = ElementTree.fromstring(text).iter("segment_size")
        sizes = [int(entry.text or 0) for entry in segments]
    except (OSError, ElementTree.ParseError, ValueError) as error:
        return Finding("transport", "degraded", f"{rmw}, {path}: {_first_line(error)}", cure)
    if max(sizes, default=0) < IMAGE_BYTES:
        found = f"{rmw}, {path}: no shared memory of {IMAGE_BYTES / 2**20:.0f} MB for images"
        return Finding("transport", "degraded", found, cure)
    return Finding("transport", "ok", f"{rmw} with {path}")


def _shared_memory() -> Finding:
    """Containers have 64 MB by default, and a segment that does not fit is not created."""
    try:
        free = shutil.disk_usage("/dev/shm").free
    except OSError as error:
        return Finding("shared memory", "degraded", f"/dev/shm: {_first_line(error)}", "")
    found = f"{free / 2**20:.0f} MB free in /dev/shm"
    if free >= SHARED_MEMORY_BYTES:
        return Finding("shared memory", "ok", found)
    cure = "start the container with --ipc=host, or --shm-size=1g"
    return Finding("shared memory", "degraded", found, cure)


def _cyclone_dds(rmw: str) -> Finding:
    """Cyclone DDS sends images over sockets, whose default buffers are too small."""
    path = Path("/proc/sys/net/core/rmem_max")
    size = int(path.read_text()) if path.exists() else SOCKET_BYTES
    found = f"{rmw}, net.core.rmem_max is {size / 2**20:.1f} MB"
    if size >= SOCKET_BYTES:
        return Finding("transport", "ok", found)
    return Finding("transport", "degraded", found, "sudo sysctl -w net.core.rmem_max=2147483647")


def _optional(environment: Mapping[str, str]) -> list[Finding]:
    """Optional parts of ROS, each needed for one function."""
    distribution = environment.get("ROS_DISTRO", "")
    where = "" if distribution else "   (not in the wheels)"
    findings = []
    for package, (what, apt) in OPTIONAL.items():
        if importlib.util.find_spec(package):
            findings.append(Finding(package, "ok", "installed"))
            continue
        cure = f"sudo apt install ros-{distribution or 'jazzy'}-{apt}{where}"
        findings.append(Finding(package, "optional", f"for {what}", cure))
    return findings


def _run_script(code: str) -> dict[str, str] | str:
    """The JSON output of a child process as a dict, or the error as text."""
    command = [sys.executable, "-c", code]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=CHILD_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        return _first_line(error)
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        return (done.stderr.strip().splitlines() or ["ended without output"])[-1]
    try:
        return json.loads(lines[-1])
    except ValueError:
        return {"text": lines[-1]}


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
