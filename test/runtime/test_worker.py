"""The question runner and the refresh worker: order, limits, cancel, and threads that survive."""

from __future__ import annotations

import contextlib
import gc
import os
import threading
import time
import weakref

import numpy as np
import pytest
import torch

from spatial3d_ros.errors import Cancelled
from spatial3d_ros.research.stress.soak import resident_mb
from spatial3d_ros.runtime import worker
from spatial3d_ros.runtime.worker import (
    Busy,
    OutOfMemory,
    Question,
    QuestionRunner,
    RefreshWorker,
    convert_out_of_memory,
)


@pytest.fixture
def runner():
    runner = QuestionRunner()
    yield runner
    runner.shut_down()


class Blocked:
    """Work that waits for `gate` at each stage of its question."""

    def __init__(self, question):
        self.question, self.gate, self.began = question, threading.Event(), threading.Event()

    def __call__(self):
        self.began.set()
        while not self.gate.wait(0.005):
            self.question.stage("decode", 0.5)
        return "done"


def in_thread(call):
    outcome = []

    def run():
        try:
            outcome.append(call())
        except Exception as error:
            outcome.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, outcome


def start(runner, max_pending=8, timeout_s=20.0):
    question = Question(timeout_s)
    work = Blocked(question)
    return question, work, *in_thread(lambda: runner.run(question, max_pending, work))


def test_results_and_errors_are_returned_to_the_caller(runner):
    assert runner.run(Question(5.0), 1, lambda: 42) == 42
    with pytest.raises(ZeroDivisionError):
        runner.run(Question(5.0), 1, lambda: 1 // 0)
    assert runner.open == 0


@pytest.mark.parametrize("ends", ["answered", "failed", "late"])
def test_what_a_question_used_is_freed_without_garbage_collection(runner, ends):
    used, finished = [], threading.Event()
    question = Question(0.05 if ends == "late" else 30.0)

    def work():
        scene = np.zeros(3)
        used.append(weakref.ref(scene))
        if ends == "late":
            finished.wait(30)
            question.stage("decode")
        elif ends == "failed":
            raise ValueError("no")

    gc.disable()
    try:
        with contextlib.suppress(ValueError, Cancelled):
            runner.run(question, 1, work)
        finished.set()
        deadline = time.monotonic() + 10
        while used[0]() is not None and time.monotonic() < deadline:
            time.sleep(0.01)
        assert used[0]() is None
    finally:
        gc.enable()


def test_full_queue_raises_busy_at_once(runner):
    asked = [start(runner, max_pending=1) for _ in range(2)]
    while runner.open < 2:
        time.sleep(0.001)
    with pytest.raises(Busy, match="max_pending_questions"):
        runner.run(Question(5.0), 1, lambda: 0)
    for _, work, thread, outcome in asked:
        work.gate.set()
        thread.join()
        assert outcome == ["done"]
    assert runner.run(Question(5.0), 0, lambda: "free again") == "free again"


def test_cancel_reaches_running_and_waiting_questions(runner):
    first = start(runner)
    assert first[1].began.wait(5.0)
    second = start(runner)
    while runner.open < 2:
        time.sleep(0.001)
    for question, _, thread, outcome in (second, first):
        question.cancel("client left")
        thread.join(5.0)
        assert isinstance(outcome[0], Cancelled)
        assert str(outcome[0]) == "client left"
    assert not second[1].began.is_set()


def test_time_limit_counts_from_arrival_and_engine_stays_busy_until_it_stops(runner):
    release = threading.Event()
    with pytest.raises(Cancelled, match=r"0\.05 s.*question_timeout_s"):
        runner.run(Question(0.05), 0, lambda: release.wait(20.0))
    with pytest.raises(Busy):
        runner.run(Question(5.0), 0, lambda: 0)
    release.set()
    while runner.open:
        time.sleep(0.001)
    assert runner.run(Question(5.0), 0, lambda: "again") == "again"


def test_stages_reach_the_callback_until_the_first_cancel():
    stages = []
    question = Question(5.0, lambda name, progress: stages.append((name, progress)))
    question.stage("objects", 0.25)
    question.cancel("first")
    question.cancel("second")
    with pytest.raises(Cancelled, match="first"):
        question.stage("decode", 0.5)
    assert stages == [("objects", 0.25)]


def test_shut_down_cancels_every_question():
    runner = QuestionRunner()
    asked = [start(runner) for _ in range(3)]
    while runner.open < 3:
        time.sleep(0.001)
    runner.shut_down()
    for _, _, thread, outcome in asked:
        thread.join(5.0)
        assert "shutting down" in str(outcome[0])


def test_refresh_requests_are_merged_and_survive_errors():
    entered, release, errors, runs = threading.Event(), threading.Event(), [], []

    def refresh():
        runs.append(len(runs))
        entered.set()
        release.wait(5.0)
        if len(runs) == 1:
            raise RuntimeError("out of memory")

    worker = RefreshWorker(refresh, lambda: 0.0, errors.append)
    worker.notify()
    assert entered.wait(5.0)
    for _ in range(100):
        worker.notify()
    release.set()
    while len(runs) < 2:
        time.sleep(0.001)
    worker.stop()
    assert len(runs) == 2
    assert [str(error) for error in errors] == ["out of memory"]


def allocate_too_much():
    torch.empty(2**60, dtype=torch.uint8)


def test_out_of_memory_error_names_the_parameters_to_lower(runner):
    for step in (
        allocate_too_much,
        raising(MemoryError()),
        raising(torch.OutOfMemoryError("CUDA out of memory")),
    ):
        with (
            pytest.raises(OutOfMemory, match=r"the question ran out of memory.*max_views.*weights"),
            convert_out_of_memory("the question"),
        ):
            runner.run(Question(5.0), 0, step)
    with pytest.raises(RuntimeError, match="shapes"), convert_out_of_memory("the question"):
        raise RuntimeError("shapes differ")
    assert runner.run(Question(5.0), 0, lambda: "again") == "again"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you "
         "tried to allocate 8589934592 bytes. Error code 12", " (8192 MiB more were needed);"),
        ("CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has", " (2560 MiB more were needed "
         "on the GPU);"),
        ("CUBLAS_STATUS_ALLOC_FAILED when calling", " (on the GPU);"),
        ("out of memory", ";"),
    ],
)  # fmt: skip
def test_out_of_memory_is_said_in_plain_words(text, said):
    with pytest.raises(OutOfMemory) as error, convert_out_of_memory("the question"):
        raise RuntimeError(text)
    assert str(error.value).startswith(f"the question ran out of memory{said} the views")


def test_out_of_memory_frees_the_variables_of_the_failed_step(runner):
    class Scratch:
        pass

    references = []

    def step():
        scratch = Scratch()
        references.append(weakref.ref(scratch))
        raise MemoryError

    with pytest.raises(OutOfMemory) as error, convert_out_of_memory("the question"):
        runner.run(Question(5.0), 0, step)
    assert error.value is not None and references[0]() is None


def raising(error):
    def step():
        raise error

    return step


@pytest.mark.skipif(worker._malloc_trim is None, reason="the C library has no malloc_trim")
def test_trim_heap_returns_free_memory_to_the_system():
    blocks = [np.ones(8192) for _ in range(2000)]  # 64 KB: no mapping of its own
    del blocks[:-1]
    before, _ = resident_mb(os.getpid())
    worker.trim_heap()
    assert resident_mb(os.getpid())[0] < before - 60
