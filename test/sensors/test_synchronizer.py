"""The synchroniser on the streams that robots really send."""

from __future__ import annotations

import numpy as np
import pytest

from spatial3d_ros.sensors.synchronizer import SECOND, Synchronizer

MS = 1_000_000


def play(sync, color, depth, latency_ms=(0, 0)):
    """Deliver stamps (ms) in the order of arrival; the pairs that come out, in ms."""
    events = [(t + latency_ms[0], 0, t) for t in color] + [(t + latency_ms[1], 1, t) for t in depth]
    pairs = []
    for _, stream, t in sorted(events):
        add = sync.add_depth if stream else sync.add_color
        pairs += [(pair.color, pair.depth) for pair in add(round(t * MS), t)]
    return pairs


def test_equal_stamps_match_at_once_and_completely():
    stamps = [1000 + 33 * k for k in range(300)]
    sync = Synchronizer()
    assert play(sync, stamps, stamps) == [(t, t) for t in stamps]
    assert +sync.counts == {"matched": 300}


def test_late_transport_of_one_stream_loses_nothing():
    stamps = [1000 + 33 * k for k in range(100)]
    assert len(play(Synchronizer(), stamps, stamps, latency_ms=(0, 120))) == 100


def test_constant_offset_matches_nearest_without_waiting_for_the_next():
    color = [1000 + 33 * k for k in range(50)]
    depth = [t + 8 for t in color]
    sync = Synchronizer(slop_s=0.02)
    assert play(sync, color, depth) == list(zip(color, depth, strict=True))


def test_the_nearer_partner_wins_when_both_are_within_slop():
    sync = Synchronizer(slop_s=0.03)
    color = [1000 + 66 * k for k in range(40)]
    depth = [985 + 22 * k for k in range(122)]
    pairs = play(sync, color, depth)
    assert len(pairs) >= 39
    for c, d in pairs[1:]:
        assert abs(c - d) == min(abs(c - other) for other in depth)


def test_colour_15_hz_and_depth_30_hz_over_three_bag_loops():
    loop = [1000 + 33.3 * k for k in range(600)]
    sync = Synchronizer()
    matched = [len(play(sync, loop[::2], loop)) for _ in range(3)]
    assert matched == [300, 300, 300]
    assert sync.rewinds == 2


def test_stragglers_of_the_old_loop_count_as_one_rewind():
    sync = Synchronizer()
    play(sync, [50_000, 50_033], [50_000, 50_033])
    assert sync.add_color(1000 * MS, "new") == []
    assert sync.add_depth(50_066 * MS, "straggler") == []
    (pair,) = sync.add_depth(1000 * MS, "new")
    assert (pair.color, pair.depth) == ("new", "new")
    assert sync.rewinds == 1


def test_one_stamp_from_the_far_future_does_not_silence_the_stream():
    sync = Synchronizer()
    sync.add_color(100_000 * MS, "bogus")
    stamps = [1000 + 33 * k for k in range(10)]
    assert len(play(sync, stamps, stamps)) == 10
    assert sync.rewinds == 0


def test_duplicates_and_late_stamps_are_dropped_with_a_reason():
    sync = Synchronizer()
    play(sync, [1000, 1033], [1000, 1033])
    assert sync.add_color(1033 * MS, "again") == []
    assert sync.add_color(1010 * MS, "late") == []
    sync.add_color(1066 * MS, "a")
    sync.add_color(1066 * MS, "twice")
    assert +sync.counts == {"matched": 2, "duplicate": 2, "late": 1}


def test_out_of_order_arrival_still_matches():
    stamps = [1000 + 33 * k for k in range(60)]
    shuffled = [stamps[k ^ 1] for k in range(60)]
    sync = Synchronizer()
    pairs = []
    for t in shuffled:
        pairs += sync.add_color(t * MS, t)
    assert pairs == []  # depth is silent: the queue holds the newest ten
    assert sync.counts["color without depth"] == 50
    for t in stamps:
        pairs += sync.add_depth(t * MS, t)
    assert [pair.color for pair in pairs] == stamps[-10:]


def test_silent_partner_keeps_the_queue_bounded_and_the_offset_tells_why():
    sync = Synchronizer(queue_size=5)
    play(sync, [1000 + 33 * k for k in range(100)], [3500])
    assert sync.counts["color without depth"] >= 90
    assert sync.offset_s == pytest.approx(3500 / 1000 - (1000 + 33 * 99) / 1000)


@pytest.mark.parametrize("seed", range(20))
def test_random_loss_and_jitter_never_pair_twice_or_beyond_slop(seed):
    rng = np.random.default_rng(seed)
    ticks = 1000 + 33.3 * np.arange(400)
    color = [float(t) for t in ticks[rng.random(400) > 0.2]]
    depth = [float(t + rng.uniform(-6, 6)) for t in ticks[rng.random(400) > 0.2]]
    sync = Synchronizer(slop_s=0.015)
    pairs = play(sync, color, depth, latency_ms=(0, float(rng.uniform(0, 60))))
    assert all(abs(c - d) <= 15 for c, d in pairs)
    assert len({c for c, _ in pairs}) == len({d for _, d in pairs}) == len(pairs)
    possible = sum(any(abs(c - d) <= 15 for d in depth) for c in color)
    assert len(pairs) >= possible - 1
    assert [c for c, _ in pairs] == sorted(c for c, _ in pairs)


def test_stamps_since_1970_keep_their_nanoseconds():
    sync = Synchronizer(slop_s=1e-9)
    epoch = 1_700_000_000 * SECOND
    sync.add_color(epoch + 1, "c")
    assert len(sync.add_depth(epoch + 2, "d")) == 1
