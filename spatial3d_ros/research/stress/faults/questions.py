"""Faults of clients: too many objects or clients, cancelled goals, lifecycle transitions."""

from __future__ import annotations

import random
import time
from collections import Counter
from typing import Any

from spatial3d_ros.model.config import named_config
from spatial3d_ros.research.stress.fault import QUESTION, Checks, fault
from spatial3d_ros.research.stress.system_under_test import SystemUnderTest

OBJECTS, CLIENTS = 500, 50
HALF = 0.5  # share of the objects that must be found again soon after `clear`
CLIENTS_S, UPDATE_S = 180.0, 180.0
STAGE_S = 0.4
CANCEL_S = 3.0
STAGES = {  # of a question about two objects of the map
    "where is the {a}?": ("waiting", "preprocess", "objects and words", "decode"),
    "how far is the {a} from the {b}?": ("waiting", "preprocess", "objects and words", "decode"),
    "move the {a} 0.2 m towards the {b}": ("preprocess", "objects and words", "layout"),
}
NEXT_STATE = {  # state: possible transitions and the states that they lead to
    "unconfigured": {"configure": "inactive"},
    "inactive": {"activate": "active", "cleanup": "unconfigured"},
    "active": {"deactivate": "inactive"},
}
TRANSITIONS = ("configure", "activate", "deactivate", "cleanup")
RANDOM_STEPS = 12


@fault(
    f"{OBJECTS} objects",
    "the map keeps its limit of objects; questions are answered in time; without the extra "
    "objects those of the room are found again",
    keeps_objects=False,
)
def many_objects(system: SystemUnderTest, check: Checks) -> None:
    """Generated boxes are added to the proposals."""
    limit = named_config(system.setting.model).objects.max_objects
    system.set_faults(extra_objects=OBJECTS)
    check.within(UPDATE_S, lambda: len(system.objects()) == limit, f"{limit} objects in the map")
    replies = [system.ask(QUESTION) for _ in range(3)]
    slowest = max(reply["seconds"] for reply in replies)
    check(all(reply["success"] for reply in replies), f"3 questions, slowest {slowest:.1f} s")
    system.set_faults(extra_objects=0)
    system.client.call("clear")
    check.within(UPDATE_S, lambda: system.kept_share() >= HALF, "half of the objects found again")


@fault(
    f"{CLIENTS} clients at once",
    "each gets an answer or 'busy' in time; the next question is answered",
)
def many_clients(system: SystemUnderTest, check: Checks) -> None:
    """Each client is a node; all ask at the same moment."""
    replies = system.client.call(
        "ask_concurrently", within_s=CLIENTS_S, text=QUESTION, clients=CLIENTS
    )
    answered = sum(one["success"] for one in replies)
    busy = sum("busy" in one["message"] for one in replies)
    slowest = max(one["seconds"] for one in replies)
    check(all(one["replied"] for one in replies), f"{len(replies)} asked, slowest {slowest:.1f} s")
    check(answered > 0 and answered + busy == CLIENTS, f"{answered} answered, {busy} 'busy'")


@fault("cancel at every stage", f"cancelled within {CANCEL_S:.0f} s, and the next is answered")
def cancelled(system: SystemUnderTest, check: Checks) -> None:
    """The action is cancelled when it reports a stage; every stage is prolonged for that."""
    system.set_faults(stage_s=STAGE_S)
    slowest, wrong, tried = 0.0, [], 0
    for pattern, stages in STAGES.items():
        for stage in stages:
            text = pattern.format_map(_two_kinds(system))
            end = system.wait_until(lambda t=text, s=stage: _cancelled(system, t, s), UPDATE_S)
            tried, slowest = tried + 1, max(slowest, end["seconds"])
            if end["end"] != "cancelled" or stage not in end["stages"]:
                wrong.append(f"{text} at {stage}: {end['end']} ({end['message']})")
    system.set_faults(stage_s=0.0)
    check(not wrong, "; ".join(wrong) or f"{tried} of {tried} cancelled")
    check(slowest < CANCEL_S, f"slowest {slowest:.2f} s")
    check.within(UPDATE_S, lambda: system.ask(QUESTION)["success"], "the next is answered")


@fault(
    "lifecycle in every order",
    "valid transitions succeed, others are refused; questions fail with a reason; only `cleanup` "
    "clears the map",
    keeps_objects=False,
)
def lifecycle(system: SystemUnderTest, check: Checks) -> None:
    """Every transition from every state, then random ones, while questions are asked."""
    steps = [
        (state, step) for state in ("active", "inactive", "unconfigured") for step in TRANSITIONS
    ]
    rng = random.Random(0)
    wrong: list[str] = []
    made = 0
    for state, step in steps:
        made += system.bring_to(state)
        wrong += _try(system, step)
    for _ in range(RANDOM_STEPS):
        wrong += _try(system, rng.choice(TRANSITIONS))
    made += len(steps) + RANDOM_STEPS
    check(not wrong, "; ".join(wrong) or f"{made} transitions as expected")
    system.bring_to("active")
    start = time.monotonic()
    system.wait_for_scene(UPDATE_S)
    check(True, f"active again, scene after {time.monotonic() - start:.0f} s")


@fault("deactivated and activated", "questions fail with a reason meanwhile; the map stays")
def pause(system: SystemUnderTest, check: Checks) -> None:
    """Pausing the node."""
    system.transition("deactivate")
    reply = system.ask(QUESTION)
    check("not active" in reply["message"], f"message: {reply['message'][:60]}...")
    system.transition("activate")
    check.objects_kept()


def _two_kinds(system: SystemUnderTest) -> dict[str, str]:
    """Two labels of the map, rare and sure ones: an unknown or ambiguous noun ends a question
    before its last stage.
    """
    found = sorted(system.objects(), key=lambda one: -one["score"])
    counted = Counter(one["label"] for one in found)
    return dict(zip("ab", sorted(counted, key=counted.__getitem__)[:2], strict=True))


def _cancelled(system: SystemUnderTest, text: str, stage: str) -> dict[str, Any]:
    """The end of a question cancelled at a stage; empty if the node was busy."""
    end = system.client.call("cancel_at", stage=stage, text=text)
    return {} if "busy" in end["message"] else end


def _try(system: SystemUnderTest, step: str) -> list[str]:
    """Request a transition; what differs from the expected result."""
    before = system.client.call("state")
    made = system.transition(step)
    after = system.client.call("state")
    wanted = NEXT_STATE[before].get(step)
    if made == (wanted is not None) and after == (wanted or before):
        return []
    return [f"{step} from {before}: {'made' if made else 'refused'}, now {after}"]
