"""Nr3D and Sr3D, the CSV files of ReferIt3D (METHODS 5.2), and their splits."""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path

from pydantic import model_validator

from spatial3d_ros.research.datasets.files import Record, TextList, read_table

VIEW_WORDS = frozenset(
    {
        "front", "behind", "back", "right", "left", "facing", "leftmost", "rightmost", "looking",
        "across",
    }
)  # fmt: skip
EASY_COUNT = 2  # of the target's class in the room, the target among them
_STIMULUS = re.compile(r"(?P<scene>[^-]+)-(?P<label>.+?)-(?P<count>\d+)-(?P<ids>\d+(?:-\d+)*)")


def is_view_dependent(tokens: tuple[str, ...] | list[str]) -> bool:
    """Whether a word of the sentence depends on the viewpoint."""
    return not VIEW_WORDS.isdisjoint(tokens)


class Utterance(Record):
    """One line. Columns of only one of the two sets may be absent."""

    scan_id: str
    target_id: int
    utterance: str
    stimulus_id: str
    instance_type: str
    tokens: TextList
    mentions_target_class: bool
    dataset: str = ""
    correct_guess: bool | None = None
    """Whether the listener found the target: Nr3D only."""
    reference_type: str = ""

    @model_validator(mode="after")
    def _consistent(self) -> Utterance:
        match = _STIMULUS.fullmatch(self.stimulus_id)
        if match is None:
            raise ValueError("stimulus_id: expected scene-label-count-target[-distractors...]")
        ids = match["ids"].split("-")
        if (match["scene"], int(ids[0])) != (self.scan_id, self.target_id):
            raise ValueError("stimulus_id: differs from scan_id, target_id in scene or target")
        if len(ids) not in (1, int(match["count"])):
            raise ValueError(f"stimulus_id: count {match['count']}, but {len(ids)} object ids")
        return self

    @cached_property
    def class_count(self) -> int:
        """Objects of the target's class in the room, the target among them."""
        match = _STIMULUS.fullmatch(self.stimulus_id)
        assert match is not None  # as checked above
        return int(match["count"])

    @property
    def easy(self) -> bool:
        """At most one distractor of the target's class."""
        return self.class_count <= EASY_COUNT

    @property
    def view_dependent(self) -> bool:
        """Decided by the words of the sentence."""
        return is_view_dependent(self.tokens)

    @property
    def official(self) -> bool:
        """Whether the official evaluation counts it: the target's class is named and, where a
        listener was asked (Nr3D), the guess was right.
        """
        return self.mentions_target_class and self.correct_guess is not False


def read_utterances(path: str | Path) -> list[Utterance]:
    """All lines of an Nr3D or Sr3D file.

    Raises ConfigError naming file, line and field; a stimulus that contradicts its own line is an
    error.
    """
    return read_table(path, Utterance)
