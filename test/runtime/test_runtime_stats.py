"""Durations, rates, log throttle and rate limit."""

from __future__ import annotations

import pytest

from spatial3d_ros.runtime import runtime_stats


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(runtime_stats.time, "monotonic", lambda: now[0])
    return now


def test_durations_summarize_median_p99_and_maximum():
    durations = runtime_stats.Durations(size=100)
    assert durations.summary() == ""
    for value in range(200):
        durations.add(float(value))
    assert durations.summary().startswith("149.50 / 198.01 / 199.00 ms")


def test_rate_follows_its_window(clock):
    rate = runtime_stats.Rate(window=2)
    for per_second in (30, 30, 10, 10):
        for _ in range(per_second):
            rate.add()
        clock[0] += 1.0
        rate.tick()
    assert rate.hz == pytest.approx(10.0)
    assert rate.count == 80
    assert rate.idle_s == pytest.approx(1.0)


def test_throttle_admits_a_key_once_per_period(clock):
    throttle = runtime_stats.Throttle(5.0)
    assert (throttle("a"), throttle("a"), throttle("b")) == (True, False, True)
    clock[0] += 5.0
    assert throttle("a")


def test_rate_limit_counts_the_last_second(clock):
    allow = runtime_stats.RateLimit()
    assert [allow(2) for _ in range(3)] == [True, True, False]
    clock[0] += 0.5
    assert not allow(2)
    clock[0] += 0.5
    assert allow(2)
