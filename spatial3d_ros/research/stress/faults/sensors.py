"""Faults of message contents: image sizes, units, damaged data, NaN, black images."""

from __future__ import annotations

import time

from spatial3d_ros.research.stress.fault import Checks, fault
from spatial3d_ros.research.stress.faults.streams import LONG_S, RESUME_S, TOPICS, frames_continue
from spatial3d_ros.research.stress.system_under_test import SystemUnderTest


@fault(
    "resolution halved while running",
    "frames of the new size are accepted; objects keep their positions",
)
def resolution(system: SystemUnderTest, check: Checks) -> None:
    """640x480 becomes 320x240 with a matching calibration, then returns."""
    kept = system.frames("keyframes")
    system.corrupt("downsample", step=2)
    check.within(RESUME_S, lambda: system.frames("keyframes") > kept + 2, "small views added")
    time.sleep(LONG_S)
    check.objects_kept()
    system.corrupt()
    frames_continue(system, check)


@fault(
    "depth unit changes while running", "16UC1 in mm or 32FC1 in m: objects keep their positions"
)
def depth_unit(system: SystemUnderTest, check: Checks) -> None:
    """The driver restarts with another encoding."""
    kept = system.frames("keyframes")
    system.corrupt("depth_in_metres")
    check.within(RESUME_S, lambda: system.frames("keyframes") > kept + 2, "views in metres added")
    time.sleep(LONG_S)
    check.objects_kept()


@fault(
    "10 % corrupt JPEG",
    "damaged images are refused with their topic; the others are used",
    setting="jpeg",
)
def corrupt_jpeg(system: SystemUnderTest, check: Checks) -> None:
    """Images are truncated or contain noise."""
    refused, kept = system.frames("refused"), system.frames("keyframes")
    system.corrupt("damage_bytes", share=0.1, roles=["color"])
    check.within(3 * LONG_S, lambda: system.frames("refused") > refused, "damage refused")
    problem = system.status("sensors")["last problem"]
    check("image/compressed" in problem, f"message: {problem[:60]}...")
    check.within(RESUME_S, lambda: system.frames("keyframes") > kept, "intact images added")
    check.objects_kept()


def nan_in(role: str) -> None:
    """Register the fault that all numbers of one kind of message are NaN."""

    @fault(
        f"NaN everywhere in {role.replace('_', ' ')}",
        "refused with topic and field; the map keeps answering",
    )
    def all_nan(system: SystemUnderTest, check: Checks) -> None:
        refused = system.frames("refused")
        system.corrupt("nan_values", roles=[role])
        check.within(RESUME_S, lambda: system.frames("refused") > refused, "refused")
        problem = system.status("sensors")["last problem"]
        check(TOPICS[role] in problem, f"message: {problem[:70]}...")
        time.sleep(LONG_S)
        check.objects_kept()
        system.corrupt()
        frames_continue(system, check)


for each_role in ("depth", "camera_info", "pose"):
    nan_in(each_role)


@fault(
    "covered lens",
    "black images without depth are refused with their topic; the map keeps answering",
)
def covered_lens(system: SystemUnderTest, check: Checks) -> None:
    """A hand or a cap on the lens, or darkness."""
    refused = system.frames("refused")
    system.corrupt("cover_lens")
    check.within(RESUME_S, lambda: system.frames("refused") > refused, "refused")
    problem = system.status("sensors")["last problem"]
    check("covered" in problem, f"message: {problem[:70]}...")
    time.sleep(LONG_S)
    check.objects_kept()
