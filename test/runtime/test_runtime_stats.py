"""Running figures."""

from __future__ import annotations

import pytest

from spatial3d_ros.runtime import runtime_stats as measures


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(measures.time, "monotonic", lambda: now[0])
    return now


def test_durations_tell_median_tail_and_maximum_of_the_last():
    durations = measures.Durations(size=100)
    assert durations.summary() == ""
    for value in range(200):
        durations.add(float(value))
    assert durations.summary().startswith("149.50 / 198.01 / 199.00 ms")


def test_a_rate_follows_its_window(clock):
    rate = measures.Rate(window=2)
    for per_second in (30, 30, 10, 10):
        for _ in range(per_second):
            rate.add()
        clock[0] += 1.0
        rate.tick()
    assert rate.hz == pytest.approx(10.0)
    assert rate.count == 80
    assert rate.silence_s == pytest.approx(1.0)


def test_a_complaint_is_repeated_only_after_a_while(clock):
    say = measures.Throttle(5.0)
    assert (say("a"), say("a"), say("b")) == (True, False, True)
    clock[0] += 5.0
    assert say("a")


def test_a_rate_limit_counts_the_last_second(clock):
    allow = measures.RateLimit()
    assert [allow(2) for _ in range(3)] == [True, True, False]
    clock[0] += 0.5
    assert not allow(2)
    clock[0] += 0.5
    assert allow(2)
