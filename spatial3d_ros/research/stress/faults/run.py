"""Injects faults one after the other; nodes keep running from one fault to the next."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from itertools import groupby
from pathlib import Path

import numpy as np

from spatial3d_ros.demo.processes import require_ros
from spatial3d_ros.errors import ConfigError
from spatial3d_ros.research.stress.fault import FAULTS, Fault, Outcome, run_fault
from spatial3d_ros.research.stress.question_stream import questions_about
from spatial3d_ros.research.stress.rooms import SEED, recorded_room
from spatial3d_ros.research.stress.system_under_test import FAULTY_NODE, Setting, SystemUnderTest

Say = Callable[[str], None]
SETTINGS = ("plain", "jpeg", "tf", "memory")


def run_faults(
    folder: Path, only: Sequence[str] = (), *, say: Say = lambda text: None
) -> Iterator[Outcome]:
    """Inject the faults whose names contain a text of `only`, default all, and yield outcomes.

    Raises ConfigError if no name matches.
    """
    chosen = sorted(choose(only), key=lambda one: SETTINGS.index(one.setting))
    require_ros()
    for name, group in groupby(chosen, key=lambda one: one.setting):
        faults = list(group)
        for one in faults:
            if not _is_possible(one):
                missing = f"not run: {one.requires} is not installed here"
                yield Outcome(one.name, one.expected, missing, None, 0.0)
        faults = [one for one in faults if _is_possible(one)]
        with ExitStack() as stack:
            if faults:
                say(f"starting the nodes ({name})")
                room = recorded_room(folder, compressed=name == "jpeg")
                setting = Setting(
                    room.bag,
                    node=FAULTY_NODE,
                    transforms=name == "tf",
                    memory=new_folder(folder / "memory") if name == "memory" else None,
                )
                logs = folder / f"logs_{name}"
                places = np.array([item.box.center for item in room.seen()])
                system = stack.enter_context(SystemUnderTest(setting, logs, places))
            for one in faults:
                say(one.name)
                yield run_fault(one, system, questions_about(room.seen(), SEED))


def new_folder(folder: Path) -> Path:
    """The folder, without what an earlier run left in it."""
    shutil.rmtree(folder, ignore_errors=True)
    return folder


def choose(only: Sequence[str]) -> list[Fault]:
    """The faults whose names contain one of these texts, default all."""
    chosen = [one for one in FAULTS if not only or any(text in one.name for text in only)]
    if not chosen:
        names = ", ".join(one.name for one in FAULTS)
        raise ConfigError(f"no fault is called {' or '.join(only)}. Faults: {names}")
    return chosen


def _is_possible(one: Fault) -> bool:
    return not one.requires or importlib.util.find_spec(one.requires) is not None
