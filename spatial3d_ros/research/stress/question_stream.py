"""Questions at a constant rate, whether or not earlier ones were answered."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any

from spatial3d_ros.errors import NotAvailableError
from spatial3d_ros.research.evaluation.room_queries import draw_questions
from spatial3d_ros.research.rooms.catalog import RoomObject
from spatial3d_ros.research.stress.system_under_test import SystemUnderTest

KINDS = ("attribute", "relation", "size", "distance", "none")
EDITS = ("move {} 0.5 m towards {}", "remove {}")
MAX_PENDING = 8  # further questions wait in the client
MARGIN_S = 2.0  # beyond the time limit, before a question counts as stuck


def questions_about(objects: Sequence[RoomObject], seed: int) -> list[dict[str, str]]:
    """Grounding, distances, layout edits and the scene, through the services and the action."""
    asked = [
        {"text": q.text, "kind": q.kind, "via": "action" if k % 3 == 2 else "service"}
        for k, q in enumerate(draw_questions(objects, seed, KINDS * 2))
    ]
    names = [f"the {o.color} {o.category}" for o in objects]
    layout = [{"text": text.format(*names), "kind": "layout", "via": "service"} for text in EDITS]
    return [*asked, {"text": "", "kind": "scene", "via": "service"}, *layout]


class QuestionStream:
    """A context in which questions are asked from threads; its end waits for pending ones.

    `replies` holds one dict a question: its answer, or the reason for none ("success" False), or
    "replied" False if no reply came.
    """

    def __init__(
        self, system: SystemUnderTest, questions: Sequence[dict[str, str]], period_s: float = 1.0
    ) -> None:
        self.replies: list[dict[str, Any]] = []
        self._system = system
        self._questions = itertools.cycle(questions)
        self._period_s = period_s
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(MAX_PENDING)
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> QuestionStream:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._pool.shutdown()

    @property
    def answered(self) -> list[dict[str, Any]]:
        """Replies with an answer."""
        return [reply for reply in self.replies if reply["success"]]

    @property
    def refused(self) -> list[str]:
        """Reasons of replies without an answer."""
        return [r["message"] for r in self.replies if r["replied"] and not r["success"]]

    @property
    def without_reply(self) -> int:
        """Questions to which the node did not reply in time."""
        return sum(not reply["replied"] for reply in self.replies)

    @property
    def slowest_s(self) -> float:
        """The longest time from a question to its reply or time limit."""
        return max((reply["seconds"] for reply in self.replies), default=0.0)

    def _run(self) -> None:
        start = time.monotonic()
        for k in itertools.count():
            if self._stop.wait(max(0.0, start + k * self._period_s - time.monotonic())):
                return
            self._pool.submit(self._ask, next(self._questions))

    def _ask(self, question: dict[str, str]) -> None:
        if question["kind"] != "scene":
            self.replies.append(self._system.ask(**question))
            return
        start, reply = time.monotonic(), {"success": True, "replied": True, "message": ""}
        try:
            self._system.objects()
        except NotAvailableError as error:
            reply = {"success": False, "replied": False, "message": str(error)}
        seconds = time.monotonic() - start
        self.replies.append({**question, **reply, "seconds": seconds, "latency_ms": 1e3 * seconds})
