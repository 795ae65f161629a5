"""The two worker threads of the node: one answers questions, one updates the object map.

Sensor and service callbacks never run the network themselves. This module does not use ROS.
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
_malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # only in glibc
_OUT_OF_MEMORY = re.compile(r"out of memory|can't allocate memory|ALLOC_FAILED")


class Busy(Spatial3DError):
    """The queue of questions is full, or questions arrive too fast."""


class OutOfMemory(Spatial3DError):
    """A step ran out of memory. The views and the object map are unchanged."""


@contextmanager
def convert_out_of_memory(step: str) -> Iterator[None]:
    """Raise OutOfMemory instead of the out-of-memory errors of torch and Python.

    The local variables of the failed frames are cleared first, so that their memory is free again.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and not _OUT_OF_MEMORY.search(str(error)):
            raise
        import torch

        traceback.clear_frames(error.__traceback__)
        gc.collect()
        torch.cuda.empty_cache()
        raise OutOfMemory(
            f"{step} ran out of memory{_wanted(str(error))}; the views and the object map are "
            "unchanged. To use less memory, lower the parameter max_views, set the parameter "
            "weights to int8 or int4, or use a smaller model (`spatial3d info --memory` lists what "
            "fits)"
        ) from None


def _wanted(text: str) -> str:
    """How much memory was missing and where, from the text of an allocation that failed."""
    found = re.search(r"allocate\s+([\d.]+)\s*(bytes|[KMGT]i?B)", text)
    amount = ""
    if found:
        number, unit = float(found[1]), found[2]
        power = "bKMGT".index(unit[0])
        amount = f"{number * 1024.0**power / 2**20:.0f} MiB more were needed"
    where = "on the GPU" if re.search("CUDA|CUBLAS|CUDNN", text) else ""
    said = " ".join(filter(None, (amount, where)))
    return f" ({said})" if said else ""


def trim_heap() -> None:
    """Return the free memory of the process to the system.

    An update of the object map allocates and frees arrays of many sizes on several threads, each
    with its own heap. glibc keeps a free block between two used ones: without this call, the
    process grew by 3 MB a minute for half an hour.
    """
    if _malloc_trim is not None:
        _malloc_trim(0)


class Question:
    """A question in the queue or in the engine, which receives it as its `monitor`.

    The engine calls `stage` between its steps; a cancelled or expired question stops there.
    """

    def __init__(
        self, timeout_s: float, on_stage: Callable[[str, float], None] = lambda *_: None
    ) -> None:
        self.received = time.monotonic()
        self.timeout_s = timeout_s
        self.cancelled = threading.Event()
        self.reason = ""
        self._on_stage = on_stage
        self._future: Future | None = None

    @property
    def age_s(self) -> float:
        """Seconds since the question was received."""
        return time.monotonic() - self.received

    def stage(self, name: str, progress: float = 0.0) -> None:
        """Report a step of the engine. Raises Cancelled after a cancel or the time limit."""
        if self.age_s > self.timeout_s:
            self.cancel(f"no answer within {self.timeout_s:g} s (parameter question_timeout_s)")
        if self.cancelled.is_set():
            raise Cancelled(self.reason)
        self._on_stage(name, progress)

    def cancel(self, reason: str) -> None:
        """Stop at the next stage, or at once if still queued; the first reason is kept."""
        if not self.cancelled.is_set():
            self.reason = reason
            self.cancelled.set()
        future = self._future  # another thread clears it at the end
        if future is not None:
            future.cancel()


class QuestionRunner:
    """Answers questions in order of arrival on one thread; `run` is thread-safe."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="question")
        self._lock = threading.Lock()
        self._open: dict[Future, Question] = {}

    @property
    def open(self) -> int:
        """The number of questions that run or wait."""
        return len(self._open)

    def run(self, question: Question, max_pending: int, work: Callable[[], Result]) -> Result:
        """Queue the question, run `work` on the worker thread, and return its result.

        Raises Busy at once if `max_pending` questions wait already, Cancelled after a cancel or the
        time limit of the question, and any exception of `work`.
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
        finally:
            # An error refers to this frame by its traceback, and the future to the error: together
            # they would keep the scene of each failed question until a full garbage collection.
            del future

    def cancel_all(self, reason: str) -> None:
        """Stop every question that runs or waits."""
        with self._lock:
            questions = list(self._open.values())
        for question in questions:
            question.cancel(reason)

    def shut_down(self) -> None:
        """Stop every question and refuse new ones."""
        self.cancel_all("the node is shutting down")
        self._pool.shutdown(wait=False)

    def _begin(self, question: Question, work: Callable[[], Result]) -> Result:
        question.stage("waiting", 0.0)  # raises if it was cancelled in the queue
        return work()

    def _close(self, future: Future) -> None:
        with self._lock:
            question = self._open.pop(future, None)
        if question is not None:
            question._future = None  # its error refers to the question


class RefreshWorker:
    """A thread that calls `refresh` after `notify`, at most once in `period_s()` seconds.

    Notifications during a refresh are merged into one. An exception of `refresh` goes to
    `on_error`, and the thread continues.
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
        self._requested = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="refresh", daemon=True)
        self._thread.start()

    def notify(self) -> None:
        """Request a refresh because the views changed."""
        self._requested.set()

    def stop(self) -> None:
        """Wait for the current refresh and end the thread."""
        self._stopped.set()
        self._requested.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._requested.wait()
            if self._stopped.is_set():
                return
            self._requested.clear()
            started = time.monotonic()
            try:
                self._refresh()
            except Exception as error:
                if not self._stopped.is_set():
                    self._on_error(error)
            trim_heap()
            self._stopped.wait(max(0.0, self._period_s() - (time.monotonic() - started)))
