"""Makes faults happen, one after the other, in nodes that live on from one to the next."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from itertools import groupby
from pathlib import Path

from spatial3d_ros.demo.processes import require_ros
from spatial3d_ros.errors import ConfigError
from spatial3d_ros.research.stress.fault import FAULTS, Fault, Outcome, suffer
from spatial3d_ros.research.stress.questions import questions_about
from spatial3d_ros.research.stress.rooms import SEED, filmed
from spatial3d_ros.research.stress.system_under_test import FAULTY_NODE, Setting, SystemUnderTest

Say = Callable[[str], None]
SETTINGS = ("plain", "jpeg", "tf")


def run_faults(
    folder: Path, only: Sequence[str] = (), *, say: Say = lambda text: None
) -> Iterator[Outcome]:
    """Each fault and what was seen, as it happens. Raises ConfigError for a name that none has."""
    chosen = sorted(choose(only), key=lambda one: SETTINGS.index(one.world))
    require_ros()
    for name, group in groupby(chosen, key=lambda one: one.world):
        faults = list(group)
        for one in faults:
            if not _can_be_made(one):
                missing = f"not made: {one.needs} is not installed here"
                yield Outcome(one.name, one.expected, missing, None, 0.0)
        faults = [one for one in faults if _can_be_made(one)]
        with ExitStack() as stack:
            if faults:
                say(f"starting the nodes ({name})")
                room = filmed(folder, compressed=name == "jpeg")
                setting = Setting(room.bag, node=FAULTY_NODE, transforms=name == "tf")
                world = stack.enter_context(SystemUnderTest(setting, folder / f"logs_{name}"))
            for one in faults:
                say(one.name)
                yield suffer(one, world, questions_about(room.seen(), SEED))


def choose(only: Sequence[str]) -> list[Fault]:
    """The faults whose names hold one of these texts; all of them by default."""
    chosen = [one for one in FAULTS if not only or any(text in one.name for text in only)]
    if not chosen:
        names = ", ".join(one.name for one in FAULTS)
        raise ConfigError(f"no fault is called {' or '.join(only)}. There are: {names}")
    return chosen


def _can_be_made(one: Fault) -> bool:
    return not one.needs or importlib.util.find_spec(one.needs) is not None
