"""Faults of message streams: missing topics, lost or reordered messages, clock jumps."""

from __future__ import annotations

import time

from spatial3d_ros.research.stress.fault import Checks, fault
from spatial3d_ros.research.stress.message_corruption import IMAGES
from spatial3d_ros.research.stress.system_under_test import CAMERA, SystemUnderTest

REPORT_S = 30.0  # topic_timeout_s is 5 and diagnostics come once a second; the rest is margin
RESUME_S = 60.0
LONG_S, SHORT_S = 8.0, 3.0
TOPICS = {
    "color": "/camera/rgb/image",
    "depth": "/camera/depth/image",
    "camera_info": "/camera/rgb/camera_info",
    "pose": "/camera/pose",
}


def frames_continue(system: SystemUnderTest, check: Checks, what: str = "frames continue") -> None:
    """Expect more frames to be decoded."""
    before = system.frames()
    check.within(RESUME_S, lambda: system.frames() > before, what)


@fault("no fault", "all questions answered, no object lost: the reference for the other faults")
def nothing(system: SystemUnderTest, check: Checks) -> None:
    """The control run: how much the map changes and how long questions take without a fault."""
    time.sleep(LONG_S)
    frames_continue(system, check)
    check.objects_kept()


def silence(role: str) -> None:
    """Register the fault that no messages arrive on one topic for a while."""

    @fault(
        f"{role.replace('_', ' ')} silent and back",
        "diagnostics name the topic; the map keeps answering; frames continue when it is back",
    )
    def silent(system: SystemUnderTest, check: Checks) -> None:
        topic = TOPICS[role]
        system.corrupt("drop", roles=[role])
        check.within(
            REPORT_S, lambda: topic in system.status("sensors")["message"], f"{topic} named"
        )
        check.objects_kept()
        system.corrupt()
        frames_continue(system, check)


for each_role in TOPICS:
    silence(each_role)


@fault(
    "camera killed (-9) and restarted",
    "diagnostics name the missing publishers; the map keeps answering; frames continue",
)
def camera_killed(system: SystemUnderTest, check: Checks) -> None:
    """The bag player is killed."""
    system.kill(CAMERA)
    check.within(
        2 * REPORT_S,
        lambda: "no publisher" in system.status("sensors")["message"],
        "missing publishers named",
    )
    check.objects_kept()
    system.start_camera()
    frames_continue(system, check)


@fault("half the images lost", "pairs are still matched; frames continue")
def half_lost(system: SystemUnderTest, check: Checks) -> None:
    """Images are lost independently, so a quarter of the pairs is complete."""
    system.corrupt("drop", share=0.5, roles=IMAGES)
    matched = int(system.status("sensors")["sync.matched"])
    time.sleep(LONG_S)
    now = system.status("sensors")
    pairs = int(now["sync.matched"]) - matched
    check(pairs > 0, f"{pairs} pairs matched")
    frames_continue(system, check)


@fault("stamps out of order and twice", "late and repeated messages are dropped; frames continue")
def disorder(system: SystemUnderTest, check: Checks) -> None:
    """A fifth of the messages arrives after the next one, a fifth twice."""
    system.corrupt("reorder", share=0.2)
    time.sleep(LONG_S)
    counts = system.status("sensors")
    dropped = {k: int(counts.get(f"sync.{k}", 0)) for k in ("duplicate", "late")}
    check(
        sum(dropped.values()) > 0, f"dropped: {dropped['duplicate']} twice, {dropped['late']} late"
    )
    frames_continue(system, check)
    check.objects_kept()


@fault("clock jumps an hour ahead and back", "frames continue after either jump; the map stays")
def clock_jump(system: SystemUnderTest, check: Checks) -> None:
    """All stamps jump together, as after a late clock synchronisation."""
    system.corrupt("shift_stamps", seconds=3600.0)
    frames_continue(system, check, "an hour ahead: frames continue")
    check.objects_kept(when=" then")
    system.corrupt()
    frames_continue(system, check, "back: frames continue")


@fault(
    "pose gap of 3 s",
    "images without a pose are refused with the topic; frames continue afterwards",
)
def pose_gap(system: SystemUnderTest, check: Checks) -> None:
    """Images arrive without poses."""
    _pose_gap(system, check, TOPICS["pose"])


@fault(
    "TF gap of 3 s",
    "images without a transform are refused with a reason; frames continue",
    setting="tf",
    requires="tf2_msgs",
)
def transform_gap(system: SystemUnderTest, check: Checks) -> None:
    """The pose gap with poses from TF; it needs tf2_msgs."""
    _pose_gap(system, check, "TF")


def _pose_gap(system: SystemUnderTest, check: Checks, source: str) -> None:
    refused = system.frames("refused")
    system.corrupt("drop", roles=["pose"])
    time.sleep(SHORT_S)
    system.corrupt()
    check.within(RESUME_S, lambda: system.frames("refused") > refused, "images refused")
    problem = system.status("sensors")["last problem"]
    check(source in problem, f"message: {problem[:60]}...")
    frames_continue(system, check)
