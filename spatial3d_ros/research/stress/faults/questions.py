"""Faults of who asks: too many, too much, taken back, at the wrong time."""

from __future__ import annotations

import random
import time
from typing import Any

from spatial3d_ros.model.config import named_config
from spatial3d_ros.research.stress.fault import TABLE, Findings, fault
from spatial3d_ros.research.stress.system_under_test import SystemUnderTest

OBJECTS, CLIENTS = 500, 50
HALF = 0.5  # of what was seen in minutes, seen again in seconds
CROWD_S, UPDATE_S = 180.0, 180.0
STAGE_S = 0.4
CANCEL_S = 3.0
STAGES = {
    TABLE: ("waiting", "preprocess", "objects and words", "decode"),
    "how far is the table from the door?": ("waiting", "preprocess", "objects and words", "decode"),
    "move the table 0.2 m towards the door": ("preprocess", "objects and words", "layout"),
}
WAYS = {  # state: what is possible there, and where it leads
    "unconfigured": {"configure": "inactive"},
    "inactive": {"activate": "active", "cleanup": "unconfigured"},
    "active": {"deactivate": "inactive"},
}
TRANSITIONS = ("configure", "activate", "deactivate", "cleanup")
RANDOM_STEPS = 12


@fault(
    f"{OBJECTS} objects",
    "the map keeps to its limit, the surest of the newest; questions are answered in time; when "
    "they are gone the room is known again",
    keeps=False,
)
def many_objects(world: SystemUnderTest, see: Findings) -> None:
    """A store room: made-up boxes besides what the camera sees."""
    limit = named_config(world.setting.model).objects.max_objects
    world.stumble(crowd=OBJECTS)
    see.soon(lambda: len(world.objects()) == limit, UPDATE_S, f"{limit} objects in the map")
    replies = [world.ask(TABLE) for _ in range(3)]
    slowest = max(reply["seconds"] for reply in replies)
    see(all(reply["success"] for reply in replies), f"asked thrice, slowest {slowest:.1f} s")
    world.stumble(crowd=0)
    world.person.tell("clear")
    see.soon(lambda: world.still_known() >= HALF, UPDATE_S, "half of the room known again")


@fault(f"{CLIENTS} clients at once", "each hears an answer or 'busy' in time; the next is answered")
def crowd_of_clients(world: SystemUnderTest, see: Findings) -> None:
    """Each is a node of its own; all ask in the same moment."""
    heard = world.person.tell("crowd", within_s=CROWD_S, text=TABLE, clients=CLIENTS)
    answered = sum(one["success"] for one in heard)
    busy = sum("busy" in one["message"] for one in heard)
    slowest = max(one["seconds"] for one in heard)
    see(all(one["replied"] for one in heard), f"{len(heard)} asked, slowest {slowest:.1f} s")
    see(answered > 0 and answered + busy == CLIENTS, f"{answered} answered, {busy} told 'busy'")


@fault("cancel at every stage", f"cancelled within {CANCEL_S:.0f} s, and the next is answered")
def cancelled(world: SystemUnderTest, see: Findings) -> None:
    """The action is cancelled when it reports a stage; every stage is slowed down for that."""
    world.stumble(stage_s=STAGE_S)
    slowest, wrong, tried = 0.0, [], 0
    for text, stages in STAGES.items():
        for stage in stages:
            end = world.until(lambda t=text, s=stage: _cancelled(world, t, s), UPDATE_S)
            tried, slowest = tried + 1, max(slowest, end["seconds"])
            if end["end"] != "cancelled" or stage not in end["stages"]:
                wrong.append(f"{text} at {stage}: {end['end']} ({end['message']})")
    world.stumble(stage_s=0.0)
    see(not wrong, "; ".join(wrong) or f"{tried} of {tried} cancelled")
    see(slowest < CANCEL_S, f"slowest {slowest:.2f} s")
    see.soon(lambda: world.ask(TABLE)["success"], UPDATE_S, "the next is answered")


@fault(
    "lifecycle in every order",
    "possible steps are made, others refused; questions hear why not; only cleanup forgets",
    keeps=False,
)
def lifecycle(world: SystemUnderTest, see: Findings) -> None:
    """Every transition from every state, then at random, ending active, while questions run."""
    steps = [
        (state, step) for state in ("active", "inactive", "unconfigured") for step in TRANSITIONS
    ]
    rng = random.Random(0)
    wrong: list[str] = []
    made = 0
    for state, step in steps:
        made += world.bring_to(state)
        wrong += _try(world, step)
    for _ in range(RANDOM_STEPS):
        wrong += _try(world, rng.choice(TRANSITIONS))
    made += len(steps) + RANDOM_STEPS
    see(not wrong, "; ".join(wrong) or f"{made} steps as they must be")
    world.bring_to("active")
    begin = time.monotonic()
    world.await_scene(UPDATE_S)
    see(True, f"active again, sees after {time.monotonic() - begin:.0f} s")


@fault("deactivated and activated", "questions hear why not meanwhile; what was known stays")
def pause(world: SystemUnderTest, see: Findings) -> None:
    """The way to pause a robot's node."""
    world.step("deactivate")
    reply = world.ask(TABLE)
    see("not active" in reply["message"], f"told: {reply['message'][:60]}...")
    world.step("activate")
    see.kept()


def _cancelled(world: SystemUnderTest, text: str, stage: str) -> dict[str, Any]:
    """How a question ended that was cancelled at a stage; empty where others were before it."""
    end = world.person.tell("cancel_at", stage=stage, text=text)
    return {} if "busy" in end["message"] else end


def _try(world: SystemUnderTest, step: str) -> list[str]:
    """Ask for a transition; what is wrong with how it went."""
    before = world.person.tell("state")
    made = world.step(step)
    after = world.person.tell("state")
    wanted = WAYS[before].get(step)
    if made == (wanted is not None) and after == (wanted or before):
        return []
    return [f"{step} from {before}: {'made' if made else 'refused'}, now {after}"]
