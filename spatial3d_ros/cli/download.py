"""`spatial3d download`: the weights of a large model, for use offline."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from spatial3d_ros.cli.output import err, out, print_status


def download(
    name: Annotated[str, typer.Argument(help="Name of a model; without it, list the names.")] = "",
    folder: Annotated[Path | None, typer.Option(help="Destination. [default: models/NAME]")] = None,
    mirror: Annotated[
        str | None, typer.Option(help="Address of another server with the hub's interface.")
    ] = None,
) -> None:
    """Download the weights of a large model into a folder; nodes never download anything.

    An interrupted download resumes. Every file is verified. Licence and size of each model are
    listed. Recognisers serve `--recogniser` and `recogniser:=`.

    spatial3d download llava_video_7b
    """
    from spatial3d_ros.downloads import SOURCES
    from spatial3d_ros.downloads import download as fetch

    if not name:
        for known, source in SOURCES.items():
            size = (
                f"{source.megabytes} MB"
                if source.megabytes < 1000
                else (f"{source.megabytes / 1000:.0f} GB")
            )
            out.print(f"[bold]{known}[/]: {source.description} ({source.license}, {size})")
        return
    target = folder or Path("models") / name
    columns = (
        TextColumn("[bold]·[/] {task.description}"),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err) as progress:
        tasks = {}

        def on_progress(file: str, received: int, total: int) -> None:
            if file not in tasks:
                tasks[file] = progress.add_task(file, total=total)
            progress.update(tasks[file], completed=received)

        files = fetch(name, target, progress=on_progress, endpoint=mirror)
    print_status(f"{len(files)} files, all verified")
    out.print(str(target), soft_wrap=True)
