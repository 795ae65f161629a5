"""The generated room of `spatial3d demo`: recorded once, with questions of every trained task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from spatial3d_ros.demo.demo import PreparedRoom
from spatial3d_ros.errors import BagError
from spatial3d_ros.model.checkpoint import CONFIG, model_folder
from spatial3d_ros.model.config import load_config
from spatial3d_ros.research.evaluation.demo_questions import demo_questions
from spatial3d_ros.research.rooms.catalog import Catalog, catalog_of
from spatial3d_ros.research.rooms.recorded_rooms import (
    RecordedRoom,
    load_recorded_room,
    record_room,
)

SECONDS, RATE_HZ = 15.0, 10.0
FREE_FORM = {"caption": "captions"}


def prepare_room(
    out: Path,
    bag: Path | None,
    seed: int,
    model: str,
    say: Callable[[str], None],
    progress: Callable[[int, int], None],
) -> PreparedRoom | None:
    """A recorded room and questions about it for the tasks that `model` was trained for.

    Without a `bag` the generated room `seed`, of the kinds that `model` names, is recorded into
    `out`, or an earlier recording is used. None for a bag without a truth file. Raises ConfigError
    for an unknown model.
    """
    config = load_config(model_folder(model) / CONFIG)
    trained = config.tasks
    room = _recorded(out, bag, seed, catalog_of(config.names.classes), say, progress)
    if room is None:
        return None
    left_out = tuple(task for task in FREE_FORM if task not in trained)
    notes = {"not asked": _not_trained(model, left_out)} if left_out else {}
    for note in notes.values():
        say(note)
    boxes = [item.box for item in room.seen()]
    return PreparedRoom(room.bag, demo_questions(room, seed, trained), boxes, notes)


def _not_trained(model: str, tasks: Sequence[str]) -> str:
    return (
        f"{' and '.join(FREE_FORM[task] for task in tasks)}: the model '{model}' was not trained "
        f"for {', '.join(tasks)} (tasks in its {CONFIG})"
    )


def _recorded(
    out: Path,
    bag: Path | None,
    seed: int,
    catalog: Catalog,
    say: Callable[[str], None],
    progress: Callable[[int, int], None],
) -> RecordedRoom | None:
    if bag is not None:
        try:
            return load_recorded_room(bag)
        except BagError:
            return None  # a recording of the real world
    out.mkdir(parents=True, exist_ok=True)
    bag = out / f"{'room' if catalog == 'basic' else catalog}_{seed}.mcap"
    try:
        room = load_recorded_room(bag)
        say(f"using {bag} of an earlier run")
        return room
    except BagError:
        say(f"recording room {seed}, not used in training ({SECONDS * RATE_HZ:.0f} frames)")
        return record_room(
            bag, seed, seconds=SECONDS, rate_hz=RATE_HZ, progress=progress, overwrite=True,
            catalog=catalog,
        )  # fmt: skip
