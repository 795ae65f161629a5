"""`spatial3d evaluate sessions`."""

from __future__ import annotations

from typing import Annotated

import typer

from spatial3d_ros.cli.output import out, print_json


def sessions(
    homes: Annotated[int, typer.Option(help="Number of generated homes.", min=1)] = 4,
    seed: Annotated[int, typer.Option(help="The first home.")] = 850_000,
    count: Annotated[int, typer.Option("--sessions", help="Sessions in each.", min=2)] = 5,
    changes: Annotated[
        int, typer.Option(help="Things moved, taken and brought between two sessions, each.")
    ] = 2,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """The memory across sessions of generated homes: ids kept, moved and missing things told.

    The object map is simulated, with the faults of a real one, so these are figures of the memory
    alone.

        spatial3d evaluate sessions --homes 4 --json
    """
    from spatial3d_ros.research.evaluation.sessions import evaluate_sessions

    tally = evaluate_sessions(homes, seed, count, changes)
    if json:
        print_json(tally.report)
        return
    for name, value in tally.report.items():
        unit = "" if name in ("ghosts", "ghosts_after_jump", "objects") else " %"
        out.print(f"{name:20} {value:.1f}{unit}")
