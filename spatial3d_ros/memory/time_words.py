"""Times in words: "this morning", "since yesterday", "in the last two hours"; ages in words."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

_SECOND = 10**9
_UNITS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400, "week": 604800}
_NUMBERS = {
    "a": 1, "an": 1, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7,
    "eight": 8, "nine": 9, "ten": 10, "half": 0.5, "few": 3, "couple": 2,
}  # fmt: skip
_HOURS = {"morning": 5, "noon": 12, "afternoon": 12, "evening": 18, "night": 22}
_CALENDAR_NS = 978_307_200 * _SECOND  # stamps before 2001 are the clock of a simulation


def time_range(words: str, now_ns: int, left_ns: int = 0) -> tuple[int, int]:
    """First and last stamp that words name; everything until now for words without a time.

    "since I left" and "last time" begin at `left_ns`, the end of the last session.
    """
    text = words.lower()
    amount = re.search(r"(\d+(?:\.\d+)?|[a-z]+)?\s*(second|minute|hour|day|week)s?\b", text)
    now = datetime.fromtimestamp(now_ns / _SECOND, tz=_zone())
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    if re.search(r"\b(left|last time|last session|last visit|was here|were here)\b", text):
        return left_ns, now_ns
    if "yesterday" in text:
        begin = midnight - timedelta(days=1)
        return _ns(begin), now_ns if "since" in text else _ns(midnight)
    for word, hour in _HOURS.items():
        if word in text:
            begin = midnight + timedelta(hours=hour)
            if begin > now:
                begin -= timedelta(days=1)
            return _ns(begin), now_ns
    if "today" in text:
        return _ns(midnight), now_ns
    if amount:
        count = amount[1] or "1"
        number = float(count) if count[0].isdigit() else _NUMBERS.get(count, 1.0)
        span = round(number * _UNITS[amount[2]] * _SECOND)
        return max(0, now_ns - span), now_ns
    return 0, now_ns


def age(seconds: float) -> str:
    """An age in words: "5 s ago", "3 minutes ago", "2 hours ago", "3 days ago". After the clock was
    set back, ages can be negative.
    """
    if seconds < -60:
        return "at a time that this clock has not reached"
    if seconds < 2:
        return "now"
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= 1.5 * size:
            count = round(seconds / size)
            return f"{count} {unit}s ago"
    return f"{seconds:.0f} s ago"


def clock(stamp_ns: int) -> str:
    """A stamp as date and time of this computer's zone, "" for the clock of a simulation."""
    if not is_calendar(stamp_ns):
        return ""
    return datetime.fromtimestamp(stamp_ns / _SECOND, tz=_zone()).strftime("%Y-%m-%d %H:%M")


def is_calendar(stamp_ns: int) -> bool:
    """Whether a stamp is a date, not the clock of a simulation."""
    return stamp_ns >= _CALENDAR_NS


def _zone() -> timezone:
    offset = datetime.now().astimezone().utcoffset() or timedelta()
    return timezone(offset)


def _ns(moment: datetime) -> int:
    return max(0, round(moment.timestamp() * _SECOND))
