"""`spatial3d download`: fetch the weights of a large model once, for use offline."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from spatial3d_ros.cli.output import err, out, print_status


def download(
    name: Annotated[str, typer.Argument(help="Name of a model; left out: list them.")] = "",
    folder: Annotated[
        Path | None, typer.Option(help="Where to put it. [default: models/NAME]")
    ] = None,
    mirror: Annotated[
        str | None, typer.Option(help="Address of another server with the hub's interface.")
    ] = None,
) -> None:
    """Fetch a large model's weights into a folder; nodes never download anything.

    An interrupted download goes on where it stopped. Every file is checked.

    spatial3d download llava_video_7b
    """
    from spatial3d_ros.downloads import SOURCES
    from spatial3d_ros.downloads import download as fetch

    if not name:
        for known, source in SOURCES.items():
            out.print(f"[bold]{known}[/]: {source.about}")
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

        def tell(file: str, here: int, total: int) -> None:
            if file not in tasks:
                tasks[file] = progress.add_task(file, total=total)
            progress.update(tasks[file], completed=here)

        files = fetch(name, target, progress=tell, endpoint=mirror)
    print_status(f"{len(files)} files, every one checked")
    out.print(str(target), soft_wrap=True)
