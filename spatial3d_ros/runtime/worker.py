"""The two threads behind the node: questions one at a time, and the object map kept up to date.

Sensor callbacks and service callbacks never run the network themselves. No ROS here.
"""

from __future__ import annotations

import ctypes
import gc
import re
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import contextmanager
from typing import TypeVar

from spatial3d_ros.errors import Cancelled, Spatial3DError

Result = TypeVar("Result")


class Busy(Spatial3DError):
    """More questions are waiting than may wait."""


class OutOfMemory(Spatial3DError):
    """A step did not fit into memory; what was known before it is untouched."""


@contextmanager
def within_memory(step: str) -> Iterator[None]:
    """Raises OutOfMemory in place of what torch and Python raise when memory runs out inside.

    Whatever the step still held is let go first, so that the next one finds memory again.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and not _NO_MEMORY.search(str(error)):
            raise
        import torch

        traceback.clear_frames(error.__traceback__)
        gc.collect()
        torch.cuda.empty_cache()
        reason = str(error).partition("\n")[0] or "the system refused more"
        raise OutOfMemory(
            f"{step} was given up, out of memory ({reason}); what was known before stays. To need "
            "less: lower the parameter max_views, set the parameter weights to int8 or int4, or "
            "take a smaller model (`spatial3d info --memory` tells what fits)"
        ) from None


_NO_MEMORY = re.compile(r"out of memory|can't allocate memory|ALLOC_FAILED")


_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it


def give_back_memory() -> None:
    """Return to the system what is free inside the process.

    An update of the map takes and frees arrays of many sizes on several threads, each with a heap
    of its own. glibc keeps what is free between two that are still used: without this, the process
    grew by 3 MB a minute for half an hour.
    """
    if _trim is not None:
        _trim(0)


class Question:
    """A question on its way through the engine, which knows it as its monitor.

    The engine reports each stage to `stage`, and that is where a cancel or the time limit stops it.
    """

    def __init__(
        self, timeout_s: float, on_stage: Callable[[str, float], None] = lambda *_: None
    ) -> None:
        self.arrived = time.monotonic()
        self.timeout_s = timeout_s
        self.cancelled = threading.Event()
        self.reason = ""
        self._on_stage = on_stage
        self._future: Future | None = None

    @property
    def age_s(self) -> float:
        """Seconds since the question arrived."""
        return time.monotonic() - self.arrived

    def stage(self, name: str, progress: float = 0.0) -> None:
        """Called by the engine between its steps; raises Cancelled when nobody waits any more."""
        if self.age_s > self.timeout_s:
            self.cancel(f"no answer within {self.timeout_s:g} s (parameter question_timeout_s)")
        if self.cancelled.is_set():
            raise Cancelled(self.reason)
        self._on_stage(name, progress)

    def cancel(self, reason: str) -> None:
        """Stop at the next stage, or at once if it has not begun; the first reason holds."""
        if not self.cancelled.is_set():
            self.reason = reason
            self.cancelled.set()
        if self._future is not None:
            self._future.cancel()


class QuestionRunner:
    """Answers questions in order of arrival on one thread; `run` may be called from any thread."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="question")
        self._lock = threading.Lock()
        self._open: dict[Future, Question] = {}

    @property
    def open(self) -> int:
        """Questions that run or wait."""
        return len(self._open)

    def run(self, question: Question, max_pending: int, work: Callable[[], Result]) -> Result:
        """Wait for the turn of the question, do the work, return its result.

        Raises Busy at once when `max_pending` questions wait already, Cancelled after a cancel or
        the time limit of the question, and whatever `work` raises.
        """
        with self._lock:
            if len(self._open) > max_pending:
                raise Busy(
                    f"busy: one question is being answered and {max_pending} are waiting. Ask "
                    "again in a moment, or raise the parameter max_pending_questions."
                )
            future = self._pool.submit(self._begin, question, work)
            question._future = future
            self._open[future] = question
        future.add_done_callback(self._close)
        try:
            return future.result(max(0.0, question.timeout_s - question.age_s))
        except FutureTimeoutError:
            question.cancel(
                f"no answer within {question.timeout_s:g} s. Ask again, or raise the parameter "
                "question_timeout_s."
            )
            raise Cancelled(question.reason) from None
        except CancelledError:
            raise Cancelled(question.reason or "the node is shutting down") from None

    def cancel_all(self, reason: str) -> None:
        """Stop every question that runs or waits."""
        with self._lock:
            questions = list(self._open.values())
        for question in questions:
            question.cancel(reason)

    def shut_down(self) -> None:
        """Stop every question; none can be asked afterwards."""
        self.cancel_all("the node is shutting down")
        self._pool.shutdown(wait=False)

    def _begin(self, question: Question, work: Callable[[], Result]) -> Result:
        question.stage("waiting", 0.0)  # it may have been cancelled in the queue
        return work()

    def _close(self, future: Future) -> None:
        with self._lock:
            self._open.pop(future, None)


class RefreshWorker:
    """A thread that calls `refresh` after `notify`, at most once in `period_s()` seconds.

    Notifications that come while it works are one notification: the newest memory wins. What
    `refresh` raises goes to `on_error`, and the thread goes on.
    """

    def __init__(
        self,
        refresh: Callable[[], None],
        period_s: Callable[[], float],
        on_error: Callable[[Exception], None],
    ) -> None:
        self._refresh = refresh
        self._period_s = period_s
        self._on_error = on_error
        self._wanted = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="refresh", daemon=True)
        self._thread.start()

    def notify(self) -> None:
        """The memory changed."""
        self._wanted.set()

    def stop(self) -> None:
        """Let the work at hand finish, and end the thread."""
        self._stopped.set()
        self._wanted.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._wanted.wait()
            if self._stopped.is_set():
                return
            self._wanted.clear()
            started = time.monotonic()
            try:
                self._refresh()
            except Exception as error:
                if not self._stopped.is_set():
                    self._on_error(error)
            give_back_memory()
            self._stopped.wait(max(0.0, self._period_s() - (time.monotonic() - started)))
