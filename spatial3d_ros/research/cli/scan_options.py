"""The options of benchmarks on scans with views, declared once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spatial3d_ros.cli.topics import with_options

if TYPE_CHECKING:
    from spatial3d_ros.research.evaluation.public.scan_runner import ScanSetup

OPTIONS: dict[str, tuple[Any, Any]] = {
    "scans": (
        Annotated[
            Path | None,
            typer.Option(
                help="ScanNet's scans/, or scans of ARKitScenes or MultiScan: the network sees "
                "views of the scenes, and no labels."
            ),
        ],
        None,
    ),
    "proposals": (
        Annotated[
            Path | None,
            typer.Option(help="With --scans: boxes of a detector, a folder of Mask3D or a file."),
        ],
        None,
    ),
    "top": (
        Annotated[int, typer.Option(min=1, help="Best-scored proposals of a scene: 50 or 100.")],
        50,
    ),
    "views": (Annotated[int, typer.Option(min=1, help="Views of a scene: 16, 24, 32.")], 16),
    "frames": (Annotated[str, typer.Option(help="Which frames: uniform, or coverage.")], "uniform"),
    "category_mode": (
        Annotated[
            str | None,
            typer.Option(
                help="none, generate, or given (diagnosis only: the true class is told). Default: "
                "as the weights were trained, but never given."
            ),
        ],
        None,
    ),
}


def reads_scans(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command these options; it takes them as `setup: ScanSetup | None`."""
    return with_options(command, OPTIONS, "setup", _setup)


def _setup(
    scans: Path | None,
    proposals: Path | None,
    top: int,
    views: int,
    frames: Any,
    category_mode: Any,
) -> ScanSetup | None:
    if scans is not None:
        from spatial3d_ros.research.evaluation.public.scan_runner import ScanSetup

        return ScanSetup(scans, proposals, top, views, frames, category_mode)
    if proposals is not None or category_mode is not None:
        raise typer.BadParameter("--proposals and --category-mode need --scans")
    return None
