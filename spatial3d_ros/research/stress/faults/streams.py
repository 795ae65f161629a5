"""Faults of streams: silence, loss, disorder, clocks."""

from __future__ import annotations

import time

from spatial3d_ros.research.stress.fault import Findings, fault
from spatial3d_ros.research.stress.message_corruption import IMAGES
from spatial3d_ros.research.stress.system_under_test import CAMERA, SystemUnderTest

COMPLAIN_S = 30.0  # topic_timeout_s is 5, status comes once a second, and the machine may be busy
RESUME_S = 60.0
LONG_S, SHORT_S = 8.0, 3.0
TOPICS = {
    "color": "/camera/rgb/image",
    "depth": "/camera/depth/image",
    "camera_info": "/camera/rgb/camera_info",
    "pose": "/camera/pose",
}


def frames_go_on(world: SystemUnderTest, see: Findings, what: str = "frames go on") -> None:
    """More frames are looked at than until now."""
    before = world.frames()
    see.soon(lambda: world.frames() > before, RESUME_S, what)


@fault("no fault", "all questions answered, nothing lost: what is normal here")
def nothing(world: SystemUnderTest, see: Findings) -> None:
    """The control: how much the map wavers, how long questions take."""
    time.sleep(LONG_S)
    frames_go_on(world, see)
    see.kept()


def silence(role: str) -> None:
    """One topic falls silent and comes back."""

    @fault(
        f"{role.replace('_', ' ')} silent and back",
        "the topic is named; answers from memory; frames go on when it is back",
    )
    def silent(world: SystemUnderTest, see: Findings) -> None:
        topic = TOPICS[role]
        world.spoil("lose", roles=[role])
        see.soon(lambda: topic in world.status("sensors")["message"], COMPLAIN_S, f"{topic} named")
        see.kept()
        world.spoil()
        frames_go_on(world, see)


for each in TOPICS:
    silence(each)


@fault("camera killed (-9) and restarted", "silence is named; answers from memory; frames go on")
def camera_killed(world: SystemUnderTest, see: Findings) -> None:
    """The other side of the node dies."""
    world.kill(CAMERA)
    see.soon(
        lambda: "no publisher" in world.status("sensors")["message"], 2 * COMPLAIN_S,
        "missing publishers named",
    )  # fmt: skip
    see.kept()
    world.start_camera()
    frames_go_on(world, see)


@fault("half the images lost", "pairs are still matched; frames go on")
def half_lost(world: SystemUnderTest, see: Findings) -> None:
    """Each image is lost or not by itself: a quarter of the pairs is whole."""
    world.spoil("lose", share=0.5, roles=IMAGES)
    matched = int(world.status("sensors")["sync.matched"])
    time.sleep(LONG_S)
    now = world.status("sensors")
    pairs = int(now["sync.matched"]) - matched
    see(pairs > 0, f"{pairs} pairs matched")
    frames_go_on(world, see)


@fault("stamps out of order and twice", "late and repeated messages are dropped; frames go on")
def disorder(world: SystemUnderTest, see: Findings) -> None:
    """A fifth of the messages comes after the next one, a fifth twice."""
    world.spoil("shuffle", share=0.2)
    time.sleep(LONG_S)
    counts = world.status("sensors")
    dropped = {k: int(counts.get(f"sync.{k}", 0)) for k in ("duplicate", "late")}
    see(sum(dropped.values()) > 0, f"dropped: {dropped['duplicate']} twice, {dropped['late']} late")
    frames_go_on(world, see)
    see.kept()


@fault("clock jumps an hour ahead and back", "frames go on after either jump; objects stay")
def clock_jump(world: SystemUnderTest, see: Findings) -> None:
    """All stamps at once, as after a late synchronisation of the clock."""
    world.spoil("shift", seconds=3600.0)
    frames_go_on(world, see, "an hour ahead: frames go on")
    see.kept(when=" then")
    world.spoil()
    frames_go_on(world, see, "back: frames go on")


@fault("pose gap of 3 s", "images without a pose are refused by name; frames go on after it")
def pose_gap(world: SystemUnderTest, see: Findings) -> None:
    """Images go on while nobody tells where the camera is."""
    _gap(world, see, TOPICS["pose"])


@fault(
    "TF gap of 3 s",
    "images without a transform are refused by name; frames go on",
    world="tf",
    needs="tf2_msgs",
)
def transform_gap(world: SystemUnderTest, see: Findings) -> None:
    """The same with poses from TF; where tf2_msgs is missing the pose gap stands for it."""
    _gap(world, see, "TF")


def _gap(world: SystemUnderTest, see: Findings, named: str) -> None:
    refused = world.frames("refused")
    world.spoil("lose", roles=["pose"])
    time.sleep(SHORT_S)
    world.spoil()
    see.soon(lambda: world.frames("refused") > refused, RESUME_S, "images refused")
    problem = world.status("sensors")["last problem"]
    see(named in problem, f"told: {problem[:60]}...")
    frames_go_on(world, see)
