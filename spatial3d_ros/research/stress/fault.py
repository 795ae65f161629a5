"""A fault, and how it is injected into running nodes while questions are asked."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from spatial3d_ros.errors import NotAvailableError
from spatial3d_ros.research.stress.question_stream import MARGIN_S, QuestionStream
from spatial3d_ros.research.stress.system_under_test import SystemUnderTest

MIN_KEPT = 0.8  # share of the objects that must remain; without a fault 92 to 100 % do
RECOVER_S = 180.0
PERIOD_S = 1.0  # between two questions
QUESTION = "where is the table?"


@dataclass
class Checks:
    """Expectations of a fault: each call records whether one holds, and its text.

    >>> check(latency < 2.0, f"cancelled after {latency:.1f} s")
    """

    system: SystemUnderTest
    lines: list[str] = field(default_factory=list)
    ok: bool = True

    def __call__(self, holds: bool, text: str) -> None:
        self.ok = self.ok and bool(holds)
        self.lines.append(text if holds else f"NOT AS EXPECTED: {text}")

    def objects_kept(self, share: float = MIN_KEPT, when: str = "") -> None:
        """Expect this share of the objects of the room that the map had before the fault."""
        kept = self.system.kept_share()
        self(kept >= share, f"{kept:.0%} of {len(self.system.snapshot)} objects kept{when}")

    def within(self, timeout_s: float, holds: Callable[[], Any], text: str) -> None:
        """Expect a condition to become true within `timeout_s`."""
        start = time.monotonic()
        try:
            self.system.wait_until(holds, timeout_s)
            self(True, f"{text} after {time.monotonic() - start:.1f} s")
        except NotAvailableError:
            self(False, f"{text}: not in {timeout_s:.0f} s")


Inject = Callable[[SystemUnderTest, Checks], None]


@dataclass(frozen=True)
class Fault:
    """A fault: `inject` causes it, checks what is expected meanwhile, and ends it.

    `setting` names the system that it needs (see `faults.run`). `keeps_objects`: no object may be
    lost. `node_down`: the node is absent for a while, so questions end by the client's time limit.
    `requires`: a Python module without which the fault cannot be injected, or "".
    """

    name: str
    expected: str
    inject: Inject
    setting: str = "plain"
    keeps_objects: bool = True
    node_down: bool = False
    requires: str = ""


@dataclass(frozen=True)
class Outcome:
    """A row of the table. `ok` is None if the fault could not be injected on this machine."""

    fault: str
    expected: str
    seen: str
    ok: bool | None
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """The row for JSON."""
        return asdict(self)


FAULTS: list[Fault] = []


def fault(name: str, expected: str, **options: Any) -> Callable[[Inject], Inject]:
    """Register a function as the `inject` of a fault."""

    def register(inject: Inject) -> Inject:
        FAULTS.append(Fault(name, expected, inject, **options))
        return inject

    return register


def run_fault(one: Fault, system: SystemUnderTest, questions: list[dict[str, str]]) -> Outcome:
    """Inject a fault while questions are asked, then check that the node works."""
    check = Checks(system)
    start = time.monotonic()
    try:
        system.recover(RECOVER_S)
        system.take_snapshot()
        start = time.monotonic()
        with QuestionStream(system, questions, PERIOD_S) as asked:
            one.inject(system, check)
        _check_replies(check, asked, one.node_down)
        check(system.alive(), "node up" if system.alive() else "the node died")
        system.recover(RECOVER_S)
        if one.keeps_objects:
            check.objects_kept(when=" afterwards")
        reply = system.ask(QUESTION)
        check(reply["replied"], "answers" if reply["replied"] else reply["message"])
    except Exception as error:  # any error is a row of the table, and the other faults still run
        check(False, f"{type(error).__name__}: {error}")
    seconds = time.monotonic() - start
    return Outcome(one.name, one.expected, "; ".join(check.lines), check.ok, seconds)


def _check_replies(check: Checks, asked: QuestionStream, node_down: bool) -> None:
    """Every question has an answer or an error within its time limit."""
    limit = check.system.setting.limit_s + MARGIN_S
    reasons = Counter(reason.split(":")[0][:60] for reason in asked.refused)
    refused = "".join(f", {count} refused ('{reason}')" for reason, count in reasons.most_common(2))
    missing = f", {asked.without_reply} without reply" * bool(asked.without_reply)
    check(
        asked.slowest_s <= limit and (node_down or not asked.without_reply),
        f"{len(asked.replies)} questions: {len(asked.answered)} answered{refused}{missing}, "
        f"slowest {asked.slowest_s:.1f} s",
    )
