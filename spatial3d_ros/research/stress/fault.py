"""What a fault is, and how one is made to happen: in running nodes, while questions are asked."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from spatial3d_ros.errors import NotAvailableError
from spatial3d_ros.research.stress.questions import LATE_S, Questions
from spatial3d_ros.research.stress.system_under_test import SystemUnderTest

KEPT = 0.7  # share of the objects that must be known still: of their fragments some waver
RECOVER_S = 180.0
PERIOD_S = 1.0  # between two questions
TABLE = "where is the table?"


@dataclass
class Findings:
    """What was seen while a fault happened: call it with whether it is as expected, and in words.

    >>> see(latency < 2.0, f"cancelled after {latency:.1f} s")
    """

    world: SystemUnderTest
    lines: list[str] = field(default_factory=list)
    ok: bool = True

    def __call__(self, holds: bool, text: str) -> None:
        self.ok = self.ok and bool(holds)
        self.lines.append(text if holds else f"NOT AS EXPECTED: {text}")

    def kept(self, share: float = KEPT, when: str = "") -> None:
        """Whether what was known is known."""
        known = self.world.still_known()
        self(known >= share, f"{known:.0%} of {len(self.world.known)} objects known{when}")

    def soon(self, holds: Callable[[], Any], timeout_s: float, text: str) -> None:
        """Whether something comes true within so many seconds."""
        begin = time.monotonic()
        try:
            self.world.until(holds, timeout_s)
            self(True, f"{text} after {time.monotonic() - begin:.1f} s")
        except NotAvailableError:
            self(False, f"{text}: not in {timeout_s:.0f} s")


@dataclass(frozen=True)
class Fault:
    """A fault: `happen` makes it, asserts what it expects, and takes it back.

    `world` names the setting it needs, "" none. `keeps` says that nothing known may be lost;
    `deaf` that there is no node for a while, so that questions end by the client's own time limit;
    `needs` a Python module without which the fault cannot be made.
    """

    name: str
    expected: str
    happen: Callable[[SystemUnderTest, Findings], None]
    world: str = "plain"
    keeps: bool = True
    deaf: bool = False
    needs: str = ""


@dataclass(frozen=True)
class Outcome:
    """A line of the table; `ok` is None where the fault could not be made on this machine."""

    fault: str
    expected: str
    seen: str
    ok: bool | None
    seconds: float

    def plain(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)


FAULTS: list[Fault] = []


def fault(name: str, expected: str, **options: Any) -> Callable[[Callable], Callable]:
    """Put a function into the list of faults."""

    def enlist(
        happen: Callable[[SystemUnderTest, Findings], None],
    ) -> Callable[[SystemUnderTest, Findings], None]:
        FAULTS.append(Fault(name, expected, happen, **options))
        return happen

    return enlist


def suffer(one: Fault, world: SystemUnderTest, questions: list[dict[str, str]]) -> Outcome:
    """Make a fault happen while questions are asked, and see whether the node is well after it."""
    see = Findings(world)
    begin = time.monotonic()
    try:
        world.recover(RECOVER_S)
        world.remember()
        begin = time.monotonic()
        with Questions(world, questions, PERIOD_S) as asked:
            one.happen(world, see)
        _judge_questions(see, asked, one.deaf)
        see(world.alive(), "node up" if world.alive() else "the node died")
        world.recover(RECOVER_S)
        if one.keeps:
            see.kept(when=" afterwards")
        reply = world.ask(TABLE)
        see(reply["replied"], "answers" if reply["replied"] else reply["message"])
    except Exception as error:  # whatever it is belongs into the table, and the others go on
        see(False, f"{type(error).__name__}: {error}")
    return Outcome(one.name, one.expected, "; ".join(see.lines), see.ok, time.monotonic() - begin)


def _judge_questions(see: Findings, asked: Questions, deaf: bool) -> None:
    """Every question has an answer or an error within its time limit."""
    limit = see.world.setting.limit_s + LATE_S
    reasons = Counter(reason.split(":")[0][:60] for reason in asked.refused)
    told = "".join(f", {count} told '{reason}'" for reason, count in reasons.most_common(2))
    silent = f", {asked.unheard} without reply" * bool(asked.unheard)
    see(
        asked.slowest_s <= limit and (deaf or not asked.unheard),
        f"{len(asked.replies)} questions: {len(asked.answered)} answered{told}{silent}, slowest "
        f"{asked.slowest_s:.1f} s",
    )
