"""The options of commands whose work is distributed over processes or a Ray cluster."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from spatial3d_ros.cli.output import print_error
from spatial3d_ros.research.spread import Places

Workers = Annotated[int, typer.Option(min=1, help="Processes of this machine that share the work.")]
RayAddress = Annotated[
    str | None,
    typer.Option(
        "--ray",
        help="Share the work over a Ray cluster: auto, local or ray://HOST:10001 (extra `ray`). "
        "Its machines need the same paths.",
    ),
]


def places_of(workers: int, ray: str | None) -> Places:
    """Where the options send the work."""
    if workers > 1 and ray not in (None, "local"):
        raise typer.BadParameter("--workers counts processes of this machine, --ray has its own")
    return Places(workers, ray)


def end_with_failures(failed: Mapping[Any, str]) -> None:
    """Name the pieces that failed twice, and exit with code 1 if there are any."""
    for name, reason in failed.items():
        print_error(f"{name}: left out, failed twice: {reason}")
    if failed:
        raise typer.Exit(1)
