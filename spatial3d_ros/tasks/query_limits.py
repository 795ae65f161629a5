"""Limits of a question that are checked before it waits for the network."""

from __future__ import annotations

from spatial3d_ros.errors import QueryError

MAX_CHARACTERS = 500


def check_length(text: str) -> None:
    """Raises QueryError for a question that is too long."""
    if len(text) > MAX_CHARACTERS:
        raise QueryError(
            f"query: {len(text)} characters; at most {MAX_CHARACTERS}, ask a shorter question"
        )
