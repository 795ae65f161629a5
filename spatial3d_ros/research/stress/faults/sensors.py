"""Faults of what the messages hold: sizes, units, damage, nothing at all."""

from __future__ import annotations

import time

from spatial3d_ros.research.stress.fault import Findings, fault
from spatial3d_ros.research.stress.faults.streams import LONG_S, RESUME_S, TOPICS, frames_go_on
from spatial3d_ros.research.stress.system_under_test import SystemUnderTest


@fault("resolution halved in mid-run", "frames of the new size are taken; objects stay in place")
def resolution(world: SystemUnderTest, see: Findings) -> None:
    """640x480 becomes 320x240 with a calibration to match, and comes back."""
    kept = world.frames("keyframes")
    world.spoil("shrink", step=2)
    see.soon(lambda: world.frames("keyframes") > kept + 2, RESUME_S, "small views kept")
    time.sleep(LONG_S)
    see.kept()
    world.spoil()
    frames_go_on(world, see)


@fault("depth unit changes in mid-run", "16UC1 in mm or 32FC1 in m: objects stay in place")
def depth_unit(world: SystemUnderTest, see: Findings) -> None:
    """The driver restarts with another encoding."""
    kept = world.frames("keyframes")
    world.spoil("to_metres")
    see.soon(lambda: world.frames("keyframes") > kept + 2, RESUME_S, "views in metres kept")
    time.sleep(LONG_S)
    see.kept()


@fault("10 % corrupt JPEG", "damaged images are refused by name, the others used", world="jpeg")
def corrupt_jpeg(world: SystemUnderTest, see: Findings) -> None:
    """Cut off, or with noise in the middle."""
    refused, kept = world.frames("refused"), world.frames("keyframes")
    world.spoil("corrupt", share=0.1, roles=["color"])
    see.soon(lambda: world.frames("refused") > refused, 3 * LONG_S, "damage refused")
    problem = world.status("sensors")["last problem"]
    see("image/compressed" in problem, f"told: {problem[:60]}...")
    see.soon(lambda: world.frames("keyframes") > kept, RESUME_S, "whole ones kept")
    see.kept()


def not_numbers(role: str) -> None:
    """NaN in one kind of message."""

    @fault(
        f"NaN everywhere in {role.replace('_', ' ')}",
        "refused by topic and field; answers from memory",
    )
    def all_nan(world: SystemUnderTest, see: Findings) -> None:
        refused = world.frames("refused")
        world.spoil("not_a_number", roles=[role])
        see.soon(lambda: world.frames("refused") > refused, RESUME_S, "refused")
        problem = world.status("sensors")["last problem"]
        see(TOPICS[role] in problem, f"told: {problem[:70]}...")
        time.sleep(LONG_S)
        see.kept()
        world.spoil()
        frames_go_on(world, see)


for each in ("depth", "camera_info", "pose"):
    not_numbers(each)


@fault("covered lens", "black images without depth are refused by name; answers from memory")
def covered_lens(world: SystemUnderTest, see: Findings) -> None:
    """A hand, a cap, or night."""
    refused = world.frames("refused")
    world.spoil("cover")
    see.soon(lambda: world.frames("refused") > refused, RESUME_S, "refused")
    problem = world.status("sensors")["last problem"]
    see("covered" in problem, f"told: {problem[:70]}...")
    time.sleep(LONG_S)
    see.kept()
