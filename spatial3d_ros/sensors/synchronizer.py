"""Pairs colour and depth images by stamp; late, repeated and looping stamps are handled.

Semantics follow message_filters' approximate policy (`slop`, `queue_size`), with two differences
that robots need: a pair leaves as soon as no better partner is due, and a clock that jumps back
(a looping bag) starts the matching anew instead of silencing it.
"""

from __future__ import annotations

from bisect import insort
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any, NamedTuple

SECOND = 1_000_000_000  # in nanoseconds
DEFAULT_QUEUE_SIZE = 30  # images per topic that wait for an image of the other topic


class Pair(NamedTuple):
    """A matched colour and depth item; `stamp_ns` is that of the colour image."""

    stamp_ns: int
    color: Any
    depth: Any


HISTORY = 200  # stamps of dropped items that are remembered


@dataclass
class _Stream:
    """One topic: items waiting in time order as (stamp, item), newest stamp, newest period.

    `recent` are the stamps of all items, and `dropped` of those without partner, as they came.
    """

    waiting: list[tuple[int, Any]] = field(default_factory=list)
    newest: int | None = None
    matched: int | None = None
    period: int = 0
    recent: deque[int] = field(default_factory=lambda: deque(maxlen=HISTORY))
    dropped: deque[int] = field(default_factory=lambda: deque(maxlen=HISTORY))

    def add(self, stamp: int, item: Any) -> None:
        self.recent.append(stamp)
        insort(self.waiting, (stamp, item), key=lambda entry: entry[0])
        if self.newest is None or stamp > self.newest:
            self.period = stamp - self.newest if self.newest is not None else 0
            self.newest = stamp

    def nearest(self, stamp: int) -> tuple[int, Any]:
        return min(self.waiting, key=lambda entry: abs(entry[0] - stamp))


class Synchronizer:
    """Pairs the items of two streams whose stamps differ by at most `slop_s` seconds.

    Not thread-safe: the caller's lock keeps calls apart. `counts` has the number of "matched"
    pairs, and items dropped as "color without depth", "depth without color", "duplicate" or
    "late" (older than what was matched). `rewinds` counts the clock going back by over `jump_s`.

    `longest_queue` is the most items that waited when a pair was found.
    `late_stream` is "color" or "depth" if items of that stream arrive after their partners were
    dropped, and `needed_queue` the queue size that would have kept these.
    """

    def __init__(self, slop_s: float = 0.02, queue_size: int = 10, jump_s: float = 1.0) -> None:
        self.slop = round(slop_s * SECOND)
        self.queue_size = queue_size
        self.jump = round(jump_s * SECOND)
        self.counts: Counter[str] = Counter()
        self.rewinds = 0
        self.late_stream = ""
        self.needed_queue = 0
        self.longest_queue = 0
        self._color, self._depth = _Stream(), _Stream()

    def add_color(self, stamp_ns: int, item: Any) -> list[Pair]:
        """Take a colour item; return the pairs that it completes, in time order."""
        return self._add(self._color, stamp_ns, item)

    def add_depth(self, stamp_ns: int, item: Any) -> list[Pair]:
        """Take a depth item; return the pairs that it completes, in time order."""
        return self._add(self._depth, stamp_ns, item)

    @property
    def offset_s(self) -> float | None:
        """Newest depth stamp minus newest colour stamp in seconds; None until both have come."""
        if self._color.newest is None or self._depth.newest is None:
            return None
        return (self._depth.newest - self._color.newest) / SECOND

    @property
    def newest(self) -> int | None:
        """Newest stamp of a colour image in nanoseconds; None before the first."""
        return self._color.newest

    def _add(self, stream: _Stream, stamp: int, item: Any) -> list[Pair]:
        if stream.newest is not None and stamp < stream.newest - self.jump:
            self._rewind(stamp)
        if stamp == stream.matched or any(known == stamp for known, _ in stream.waiting):
            self.counts["duplicate"] += 1
            return []
        if stream.matched is not None and stamp < stream.matched:
            self.counts["late"] += 1
            return []
        stream.add(stamp, item)
        self._watch_late(stream, stamp)
        pairs = list(iter(self._next_pair, None))
        if len(stream.waiting) > self.queue_size:
            self._drop(stream, 1)
        return pairs

    def _watch_late(self, stream: _Stream, stamp: int) -> None:
        """Note an item whose partner has been dropped already, because it waited too long."""
        other = self._depth if stream is self._color else self._color
        if any(abs(dropped - stamp) <= self.slop for dropped in other.dropped):
            self.late_stream = "color" if stream is self._color else "depth"
            newer = sum(recent > stamp for recent in other.recent)
            self.needed_queue = max(self.needed_queue, newer + 2)

    def _next_pair(self) -> Pair | None:
        """The oldest pair for which no better partner is due."""
        if not self._color.waiting or not self._depth.waiting:
            return None
        for stamp, item in self._color.waiting:
            partner, depth = self._depth.nearest(stamp)
            mutual = self._color.nearest(partner)[0] == stamp
            if abs(partner - stamp) <= self.slop and mutual:
                if self._better_is_due(stamp, partner):
                    return None
                waiting = max(len(self._color.waiting), len(self._depth.waiting))
                self.longest_queue = max(self.longest_queue, waiting)
                self._take(self._color, stamp)
                self._take(self._depth, partner)
                self.counts["matched"] += 1
                return Pair(stamp, item, depth)
        return None

    def _better_is_due(self, color: int, depth: int) -> bool:
        """Whether the next item of the lagging stream will be nearer than its newest one."""
        lagging, early, late = (
            (self._color, color, depth) if color < depth else (self._depth, depth, color)
        )
        if lagging.newest != early or lagging.period == 0:
            return False
        return abs(early + lagging.period - late) < late - early

    def _take(self, stream: _Stream, stamp: int) -> None:
        """Remove the item of that stamp, and drop everything older."""
        older = sum(known < stamp for known, _ in stream.waiting)
        self._drop(stream, older)
        del stream.waiting[0]
        stream.matched = stamp

    def _drop(self, stream: _Stream, number: int) -> None:
        reason = "color without depth" if stream is self._color else "depth without color"
        self.counts[reason] += number
        stream.dropped.extend(known for known, _ in stream.waiting[:number])
        del stream.waiting[:number]

    def _rewind(self, stamp: int) -> None:
        """Forget what lies in the future of a clock that jumped back to `stamp`.

        A straggler of the old loop that arrives after this is forgotten by a second rewind, which
        counts as one with the first because nothing was matched in between.
        """
        future = stamp + self.jump
        streams = (self._color, self._depth)
        self.rewinds += any(s.matched is not None and s.matched > future for s in streams)
        for stream in streams:
            stream.waiting = [entry for entry in stream.waiting if entry[0] <= future]
            stream.newest = stream.waiting[-1][0] if stream.waiting else None
            stream.period = 0
            stream.recent.clear()
            stream.dropped.clear()
            if stream.matched is not None and stream.matched > future:
                stream.matched = None
