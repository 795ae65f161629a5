"""The question runner and the refresh worker: order, limits, cancel, and threads that survive."""

from __future__ import annotations

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
    within_memory,
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


def test_results_and_errors_come_back_to_the_caller(runner):
    assert runner.run(Question(5.0), 1, lambda: 42) == 42
    with pytest.raises(ZeroDivisionError):
        runner.run(Question(5.0), 1, lambda: 1 // 0)
    assert runner.open == 0


def test_beyond_the_queue_it_is_busy_at_once(runner):
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
        question.cancel("nobody waits")
        thread.join(5.0)
        assert isinstance(outcome[0], Cancelled)
        assert str(outcome[0]) == "nobody waits"
    assert not second[1].began.is_set()


def test_the_time_limit_counts_from_arrival_and_the_engine_stays_busy_until_it_stops(runner):
    release = threading.Event()
    with pytest.raises(Cancelled, match=r"0\.05 s.*question_timeout_s"):
        runner.run(Question(0.05), 0, lambda: release.wait(20.0))
    with pytest.raises(Busy):
        runner.run(Question(5.0), 0, lambda: 0)
    release.set()
    while runner.open:
        time.sleep(0.001)
    assert runner.run(Question(5.0), 0, lambda: "again") == "again"


def test_stages_reach_the_listener_until_the_first_cancel():
    heard = []
    question = Question(5.0, lambda name, progress: heard.append((name, progress)))
    question.stage("objects", 0.25)
    question.cancel("first")
    question.cancel("second")
    with pytest.raises(Cancelled, match="first"):
        question.stage("decode", 0.5)
    assert heard == [("objects", 0.25)]


def test_shutting_down_answers_everybody():
    runner = QuestionRunner()
    asked = [start(runner) for _ in range(3)]
    while runner.open < 3:
        time.sleep(0.001)
    runner.shut_down()
    for _, _, thread, outcome in asked:
        thread.join(5.0)
        assert "shutting down" in str(outcome[0])


def test_refreshes_are_merged_and_survive_errors():
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


def too_much():
    torch.empty(2**60, dtype=torch.uint8)


def test_running_out_of_memory_is_told_with_the_way_out(runner):
    for step in (
        too_much,
        raising(MemoryError()),
        raising(torch.OutOfMemoryError("CUDA out of memory")),
    ):
        with (
            pytest.raises(OutOfMemory, match=r"the question was given up.*max_views.*weights"),
            within_memory("the question"),
        ):
            runner.run(Question(5.0), 0, step)
    with pytest.raises(RuntimeError, match="shapes"), within_memory("the question"):
        raise RuntimeError("shapes differ")
    assert runner.run(Question(5.0), 0, lambda: "again") == "again"


def test_what_the_step_held_is_free_when_the_error_is_told(runner):
    class Scratch:
        pass

    held = []

    def step():
        scratch = Scratch()
        held.append(weakref.ref(scratch))
        raise MemoryError

    with pytest.raises(OutOfMemory) as error, within_memory("the question"):
        runner.run(Question(5.0), 0, step)
    assert error.value is not None and held[0]() is None


def raising(error):
    def step():
        raise error

    return step


@pytest.mark.skipif(worker._trim is None, reason="the C library has no malloc_trim")
def test_what_is_free_goes_back_to_the_system():
    blocks = [np.ones(8192) for _ in range(2000)]  # 64 KB: no mapping of its own
    del blocks[:-1]
    before, _ = resident_mb(os.getpid())
    worker.give_back_memory()
    assert resident_mb(os.getpid())[0] < before - 60
