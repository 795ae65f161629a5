"""Output of the commands: results on stdout, progress and errors on stderr."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

WHOLE_WIDTH = 200
SHOW_AFTER_S = 2.0  # seconds until a progress bar appears
out = Console()
err = Console(stderr=True)


def print_status(text: str) -> None:
    """A line of progress or of information, on stderr."""
    err.print(f"[bold]·[/] {escape(text)}", highlight=False, soft_wrap=True)


def print_error(text: str) -> None:
    """An error and the way out, on stderr."""
    err.print(f"[bold red]error:[/] {escape(text)}", highlight=False, soft_wrap=True)


def print_whole(table: Table) -> None:
    """A table whose names can be copied: in a narrow terminal its lines wrap, uncut."""
    Console(width=max(out.width, WHOLE_WIDTH)).print(table)


def print_json(data: Any) -> None:
    """Data for another program."""
    out.print_json(json.dumps(data))


@contextmanager
def progress_bar(text: str) -> Iterator[Callable[[int, int | None], None]]:
    """A progress bar on stderr for work of more than SHOW_AFTER_S, then how long the work took.

    Yields a callback for (done, total); total is None if it is not known.
    """
    columns = (
        TextColumn("[bold]·[/] {task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    begin = time.monotonic()
    with Progress(*columns, console=err, transient=True) as progress:
        task = progress.add_task(text, total=None, visible=False)
        show = threading.Timer(SHOW_AFTER_S, lambda: progress.update(task, visible=True))
        show.daemon = True
        show.start()
        try:
            yield lambda done, total: progress.update(task, completed=done, total=total)
        finally:
            show.cancel()
    seconds = time.monotonic() - begin
    if seconds >= SHOW_AFTER_S:
        print_status(f"{text} took {seconds:.1f} s")
