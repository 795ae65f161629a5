"""Multi3DRefer: descriptions of none, one or several objects (METHODS 5.3)."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import model_validator

from spatial3d_ros.research.datasets.files import Record, read_entries

EvalType = Literal["zt_w_d", "zt_wo_d", "st_w_d", "st_wo_d", "mt"]


class MultiDescription(Record):
    """One entry. `eval_type`: zero, single or multiple targets, with or without distractors."""

    scene_id: str
    object_ids: tuple[int, ...]
    object_name: str
    ann_id: int
    description: str
    eval_type: EvalType

    @model_validator(mode="after")
    def _count_matches_type(self) -> MultiDescription:
        count = len(set(self.object_ids))
        wanted = {"zt": count == 0, "st": count == 1, "mt": count > 1}
        if not wanted[self.eval_type[:2]]:
            raise ValueError(f"eval_type: {self.eval_type} with {count} objects in object_ids")
        return self


def read_multi_descriptions(path: str | Path) -> list[MultiDescription]:
    """All entries of `multi3drefer_*.json`. Raises ConfigError naming file, entry and field."""
    return read_entries(path, MultiDescription)
