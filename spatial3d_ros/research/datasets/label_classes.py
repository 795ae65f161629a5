"""Maps from raw ScanNet names to the classes of "unique" and "multiple" (METHODS 5.1).

Two maps are in use whose splits differ slightly, so a report names the map: `scannet18` takes the
table's nyu40class, with "others" for all but 17 classes; `nyu40` takes its nyu40id, with 39 for ids
that are not on the benchmark's list. `raw` keeps names unchanged.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal, get_args

from spatial3d_ros.errors import ConfigError
from spatial3d_ros.research.datasets.files import Record, read_table

ClassMode = Literal["raw", "scannet18", "nyu40"]
CLASSES = frozenset(
    {
        "cabinet", "bed", "chair", "sofa", "table", "door", "window", "bookshelf", "picture",
        "counter", "desk", "curtain", "refrigerator", "shower curtain", "toilet", "sink",
        "bathtub",
    }
)  # fmt: skip
NYU40_IDS = frozenset({*range(1, 13), 14, 16, 24, 28, 33, 34, 36, 39})
OTHER_ID = 39


class _Row(Record):
    id: int = 0
    raw_category: str
    nyu40id: int = OTHER_ID
    nyu40class: str = ""


def read_class_map(mode: ClassMode, table: str | Path | None = None) -> Callable[[str], str]:
    """The map from a raw name to its class.

    `table` is ScanNet's `scannetv2-labels.combined.tsv`, required by the two maps. A name that
    is not in it belongs to the others. Raises ConfigError for another mode, and without
    the table or with a wrong one.
    """
    if mode not in get_args(ClassMode):
        raise ConfigError(f"classes: '{mode}' is unknown; use {', '.join(get_args(ClassMode))}")
    if mode == "raw":
        return str
    if table is None:
        raise ConfigError(
            f"classes: '{mode}' needs ScanNet's scannetv2-labels.combined.tsv; give it as label "
            "table, or use 'raw'"
        )
    rows = read_table(table, _Row, delimiter="\t")
    if mode == "nyu40":
        ids = {row.raw_category: str(row.nyu40id) for row in rows if row.nyu40id in NYU40_IDS}
        return lambda name: ids.get(name, str(OTHER_ID))
    named = {row.raw_category: row.nyu40class for row in rows if row.nyu40class in CLASSES}
    return lambda name: named.get(name, "others")


def read_label_names(ids: str, table: str | Path) -> dict[int, str]:
    """Class name of each label id of a detector, from the same table.

    ids: `nyu40` for the 20 classes of ScanNet's benchmark, `scannet200` for ids of the table's
    first column. Raises ConfigError as `read_class_map`.
    """
    if ids not in ("nyu40", "scannet200"):
        raise ConfigError(f"label ids: '{ids}' is unknown; use nyu40 or scannet200")
    rows = read_table(table, _Row, delimiter="\t")
    if ids == "nyu40":
        return {row.nyu40id: row.nyu40class for row in rows}
    return {row.id: row.raw_category for row in rows}
