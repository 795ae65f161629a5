"""How many frames of a camera were used, and why the others were not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

MAX_LOST = 0.2  # a larger share of lost frames makes answers unreliable
NO_PARTNER, LATE, NO_STAMP = "no partner", "late", "no stamp"
NO_POSE, GAP, NO_DEPTH, DAMAGED = "no pose", "gap", "no depth", "damaged"


@dataclass(frozen=True)
class FrameAccount:
    """Messages that arrived by stream, frames that they made, and what became of the others.

    `lost` counts by reason: "late" (the partner was dropped before it arrived), "no partner" (of
    that stamp in the other stream), "no stamp", "no pose", "gap" (in the poses), "no depth" (in
    the whole image) and "damaged". Frames that are no keyframes are used.
    """

    color: int = 0
    depth: int = 0
    pose: int = 0
    used: int = 0
    lost: Mapping[str, int] = field(default_factory=dict)

    @property
    def found(self) -> int:
        """Frames that colour and depth images could make."""
        return min(self.color, self.depth)

    @property
    def lost_share(self) -> float:
        """Share of the frames found that were not used, 0 .. 1."""
        return max(0, self.found - self.used) / self.found if self.found else 0.0

    @property
    def is_incomplete(self) -> bool:
        """Whether so many are lost that answers are unreliable."""
        return self.lost_share > MAX_LOST

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "found": self.found,
            "used": self.used,
            "lost_share": round(self.lost_share, 4),
            "lost": dict(self.lost),
            "received": {"color": self.color, "depth": self.depth, "pose": self.pose},
        }

    def __str__(self) -> str:
        why = ", ".join(f"{count} {reason}" for reason, count in self.lost.items())
        return f"{self.used} of {self.found} frames used" + (f"; lost: {why}" if why else "")


def account(
    counts: Mapping[str, int], sync: Mapping[str, int], lost: Mapping[str, int], late_stream: str
) -> FrameAccount:
    """The account of a pipeline: its counts, those of its synchroniser, and losses by reason."""
    reasons = Counter(lost)
    partnerless = min(sync.get("color without depth", 0), sync.get("depth without color", 0))
    if counts.get("color", 0) != counts.get("depth", 0):
        fewer = min("color", "depth", key=lambda name: counts.get(name, 0))
        other = "depth" if fewer == "color" else "color"
        partnerless = sync.get(f"{fewer} without {other}", 0)
    reasons[LATE if late_stream else NO_PARTNER] += partnerless
    reasons[LATE] += sync.get("late", 0)
    # Colour and depth of one frame may both lack their stamp.
    reasons[NO_STAMP] = min(reasons[NO_STAMP], max(counts.get("color", 0), counts.get("depth", 0)))
    used = counts.get("synced", 0) - sum(lost.get(reason, 0) for reason in (NO_DEPTH, DAMAGED))
    duplicates = sync.get("duplicate", 0)
    return FrameAccount(
        counts.get("color", 0) - duplicates // 2,
        counts.get("depth", 0) - duplicates // 2,
        counts.get("pose", 0),
        used,
        {reason: count for reason, count in reasons.items() if count},
    )
