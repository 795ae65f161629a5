"""How commands talk: results on stdout, progress and complaints on stderr."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

WHOLE_WIDTH = 200
out = Console()
err = Console(stderr=True)


def say(text: str) -> None:
    """A line of progress."""
    err.print(f"[bold]·[/] {escape(text)}", highlight=False, soft_wrap=True)


def complain(text: str) -> None:
    """What went wrong and the way out."""
    err.print(f"[bold red]error:[/] {escape(text)}", highlight=False, soft_wrap=True)


def print_whole(table: Table) -> None:
    """A table whose names are there to be copied: in a narrow terminal its lines run on, uncut."""
    Console(width=max(out.width, WHOLE_WIDTH)).print(table)


def print_json(data: Any) -> None:
    """Data for another program."""
    out.print_json(json.dumps(data))


@contextmanager
def progress_bar(text: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr; call what it gives with (done, total). It appears with the first call."""
    columns = (
        TextColumn("[bold]·[/] {task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err, transient=True) as progress:
        task = progress.add_task(text, total=None, visible=False)
        yield lambda done, total: progress.update(task, completed=done, total=total, visible=True)
