"""What this machine has of what the nodes need, and for all that is missing the command that cures.

ROS is looked at from a child process: what it says there is what a node would meet, and a broken
installation cannot end the doctor.
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
# What a message and its type support need to load is all there after a publisher was made.
ASK_ROS = """
import json, rclpy
from rclpy.utilities import get_rmw_implementation_identifier
found = {"rclpy": rclpy.__file__, "rmw": get_rmw_implementation_identifier()}
print(json.dumps(found))
"""
ASK_INTERFACES = """
from spatial3d_ros import msg, srv, action
for kind in (msg.Grounding, srv.Ground, action.Query):
    kind.__class__.__import_type_support__()
print(msg.__file__)
"""
OPTIONAL = {
    "launch_ros": ("spatial3d.launch.py", "launch-ros"),
    "tf2_msgs": ("poses from TF (pose_source:=tf)", "tf2-msgs"),
    "vision_msgs": ("boxes from detectors, and ~/detections", "vision-msgs"),
    "nav2_msgs": ("driving to what was found (approach_node)", "nav2-msgs"),
}
IMAGE_BYTES = 2 * 1280 * 720 * 3  # room for two colour images of a usual camera
SHARED_MEMORY_BYTES = 256 * 2**20  # eight processes with our profile
CHILD_S = 60.0
SOCKET_BYTES = 4 * 2**20
NVIDIA = (Path("/proc/driver/nvidia/version"), Path("/etc/nv_tegra_release"))  # desktop, Jetson


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    "missing" is needed; "degraded" works badly; "optional" is missing and needed for `found` only.
    `cure` is a command, or a sentence where no command can do it; "" when all is well.
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
    """Look at everything; `ros` False leaves out what only the nodes need. Never raises."""
    found = [_python(), *_libraries(), _cuda(), _weights(model, device)]
    if ros:
        told = _ask(ASK_ROS)
        found.append(_rclpy(told))
        if isinstance(told, dict):
            found += [_interfaces(_ask(ASK_INTERFACES)), *_transport(told["rmw"], environment)]
        found += _optional(environment)
    return found


def is_well(findings: list[Finding]) -> bool:
    """Whether nothing that is needed is missing."""
    return all(finding.state != "missing" for finding in findings)


def _python() -> Finding:
    where = f"{platform.python_version()}, {sys.executable}"
    low, high = (".".join(map(str, version)) for version in PYTHONS)
    if PYTHONS[0] <= sys.version_info[:2] <= PYTHONS[1]:
        return Finding("Python", "ok", where)
    cure = f"install Python {low} to {high}, then: SPATIAL3D_PYTHON=python{high} make setup"
    return Finding("Python", "missing", where, cure)


def _libraries() -> list[Finding]:
    """Each library by importing it: one that is there may still not load."""
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
        return Finding("CUDA", "degraded", f"cannot be asked: {_first_line(error)}", "make setup")
    if not any(path.exists() for path in NVIDIA):
        return Finding("CUDA", "ok", "no NVIDIA GPU: the network runs on the CPU")
    if built_for is None:
        found = "there is an NVIDIA GPU, but this torch was built without CUDA"
        cure = "pip install --force-reinstall torch   (pip's index set to builds of it with CUDA)"
        if NVIDIA[1].exists():
            cure = "install NVIDIA's own torch for this JetPack (docs/COMPUTERS.md, Jetson)"
        return Finding("CUDA", "degraded", found, cure)
    found = f"there is an NVIDIA GPU, but torch (CUDA {built_for}) cannot use it"
    return Finding("CUDA", "degraded", found, "nvidia-smi   (it tells what the driver lacks)")


def _weights(model: str, device: str) -> Finding:
    """Load the network as the node does."""
    name = f"model {model}"
    try:
        from spatial3d_ros.engine import EngineConfig, Spatial3D

        engine = Spatial3D(EngineConfig(model=model, device=device))
        engine.load()
        return Finding(name, "ok", f"loads, on {engine.stats()['device']}")
    except Spatial3DError as error:  # tells the way out itself
        cure = "spatial3d download; spatial3d assemble   (README, A larger network)"
        return Finding(name, "missing", str(error), cure if model != "tiny" else "make setup")
    except Exception as error:
        found = f"{type(error).__name__}: {_first_line(error)}"
        return Finding(name, "missing", found, "cure torch and transformers first")


def _rclpy(told: dict[str, str] | str) -> Finding:
    distribution = os.environ.get("ROS_DISTRO", "")
    if isinstance(told, dict):
        found = f"{distribution or 'from wheels'}, {told['rclpy']}"
        return Finding("rclpy", "ok", found)
    sourced = sorted(Path("/opt/ros").glob("*/setup.bash"))
    if distribution:
        found = f"ROS {distribution} is sourced, but this Python cannot load it: {told}"
        return Finding("rclpy", "missing", found, "make setup   (it picks the Python of that ROS)")
    if sourced:
        return Finding("rclpy", "missing", told, f". {sourced[-1]} && make setup")
    return Finding("rclpy", "missing", told, "make setup, then .venv/bin/spatial3d doctor")


def _interfaces(told: dict[str, str] | str) -> Finding:
    if isinstance(told, dict):
        return Finding("messages", "ok", told["text"])
    cure = "make setup && . scripts/ros_env.sh   (in a workspace: colcon build, source install)"
    return Finding("messages", "missing", told, cure)


def _transport(rmw: str, environment: Mapping[str, str]) -> list[Finding]:
    """What carries images between processes, and whether it is set for them."""
    if "fastrtps" in rmw:
        return [_fast_dds(rmw, environment), _shared_memory()]
    if "cyclonedds" in rmw:
        return [_cyclone_dds(rmw)]
    return [Finding("transport", "ok", f"{rmw}: nothing known against it, nothing measured")]


def _fast_dds(rmw: str, environment: Mapping[str, str]) -> Finding:
    ours = shlex.quote(str(resource_path("fastdds.xml")))
    cure = (
        f"export FASTRTPS_DEFAULT_PROFILES_FILE={ours} FASTDDS_DEFAULT_PROFILES_FILE={ours}   "
        "(for the camera driver too)"
    )
    names = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE")
    path = next((environment[name] for name in names if environment.get(name)), "")
    if not path:
        found = f"{rmw} as it comes: its shared memory is smaller than an image, most are lost"
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
    """A container has 64 MB unless told otherwise, and a segment that finds no room is not made."""
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
    """It sends images over sockets, whose buffers are too small as Linux sets them."""
    path = Path("/proc/sys/net/core/rmem_max")
    size = int(path.read_text()) if path.exists() else SOCKET_BYTES
    found = f"{rmw}, net.core.rmem_max is {size / 2**20:.1f} MB"
    if size >= SOCKET_BYTES:
        return Finding("transport", "ok", found)
    return Finding("transport", "degraded", found, "sudo sysctl -w net.core.rmem_max=2147483647")


def _optional(environment: Mapping[str, str]) -> list[Finding]:
    """Parts of ROS that are needed for one thing each."""
    distribution = environment.get("ROS_DISTRO", "")
    where = "" if distribution else "   (the wheels do not have it)"
    findings = []
    for package, (what, apt) in OPTIONAL.items():
        if importlib.util.find_spec(package):
            findings.append(Finding(package, "ok", "installed"))
            continue
        cure = f"sudo apt install ros-{distribution or 'jazzy'}-{apt}{where}"
        findings.append(Finding(package, "optional", f"for {what}", cure))
    return findings


def _ask(code: str) -> dict[str, str] | str:
    """What a child process prints, as a dict; or, in words, why it failed."""
    command = [sys.executable, "-c", code]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=CHILD_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        return _first_line(error)
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        return (done.stderr.strip().splitlines() or ["ended without a word"])[-1]
    try:
        return json.loads(lines[-1])
    except ValueError:
        return {"text": lines[-1]}


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
