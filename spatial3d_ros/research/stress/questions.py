"""Questions at a steady rhythm, whether or not those before them were answered."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any

from spatial3d_ros.errors import NotAvailableError
from spatial3d_ros.research.evaluation.room_queries import ask_about
from spatial3d_ros.research.rooms.catalog import RoomObject
from spatial3d_ros.research.stress.system_under_test import SystemUnderTest

KINDS = ("attribute", "relation", "size", "distance", "none")
EDITS = ("move {} 0.5 m towards {}", "remove {}")
OPEN = 8  # when so many are open, the next waits for its turn on our side
LATE_S = 2.0  # more than the time limit before a question counts as stuck


def questions_about(objects: Sequence[RoomObject], seed: int) -> list[dict[str, str]]:
    """Places, distances, edits, and the whole scene; by services and by the action."""
    asked = [
        {"text": q.text, "kind": q.kind, "via": "action" if k % 3 == 2 else "service"}
        for k, q in enumerate(ask_about(objects, seed, KINDS * 2))
    ]
    names = [f"the {o.color} {o.category}" for o in objects]
    layout = [{"text": text.format(*names), "kind": "layout", "via": "service"} for text in EDITS]
    return [*asked, {"text": "", "kind": "scene", "via": "service"}, *layout]


class Questions:
    """Asks all the while between entering and leaving, and waits for what is open on leaving.

    `replies` holds what came back: answers, reasons, and, with "replied" False, nothing.
    """

    def __init__(
        self, world: SystemUnderTest, questions: Sequence[dict[str, str]], period_s: float = 1.0
    ) -> None:
        self.replies: list[dict[str, Any]] = []
        self._world = world
        self._questions = itertools.cycle(questions)
        self._period_s = period_s
        self._enough = threading.Event()
        self._pool = ThreadPoolExecutor(OPEN)
        self._thread = threading.Thread(target=self._ask_on)

    def __enter__(self) -> Questions:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._enough.set()
        self._thread.join()
        self._pool.shutdown()

    @property
    def answered(self) -> list[dict[str, Any]]:
        """Replies with an answer."""
        return [reply for reply in self.replies if reply["success"]]

    @property
    def refused(self) -> list[str]:
        """The reasons of those without."""
        return [r["message"] for r in self.replies if r["replied"] and not r["success"]]

    @property
    def unheard(self) -> int:
        """Questions to which the node did not reply in time."""
        return sum(not reply["replied"] for reply in self.replies)

    @property
    def slowest_s(self) -> float:
        """The longest time from a question to whatever came."""
        return max((reply["seconds"] for reply in self.replies), default=0.0)

    def _ask_on(self) -> None:
        begin = time.monotonic()
        for k in itertools.count():
            if self._enough.wait(max(0.0, begin + k * self._period_s - time.monotonic())):
                return
            self._pool.submit(self._ask, next(self._questions))

    def _ask(self, question: dict[str, str]) -> None:
        if question["kind"] != "scene":
            self.replies.append(self._world.ask(**question))
            return
        begin, heard = time.monotonic(), {"success": True, "replied": True, "message": ""}
        try:
            self._world.objects()
        except NotAvailableError as error:
            heard = {"success": False, "replied": False, "message": str(error)}
        seconds = time.monotonic() - begin
        self.replies.append({**question, **heard, "seconds": seconds, "latency_ms": 1e3 * seconds})
