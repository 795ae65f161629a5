"""`spatial3d soak` and `spatial3d faults`: stress tests of the running nodes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from spatial3d_ros.cli.output import out, print_json, print_status

if TYPE_CHECKING:
    from spatial3d_ros.research.stress.fault import Outcome

FOLDER = Path("runs/reliability")
RIGHT_ANSWERS = 7  # of eight, by each channel of two_days
Folder = Annotated[Path, typer.Option(help="Where recordings and logs are kept.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
MARKS = {True: "[green]ok[/]", False: "[red]no[/]", None: "[yellow]-[/]"}


def soak(
    minutes: Annotated[float, typer.Option(help="How long.")] = 30.0,
    model: Annotated[str, typer.Option(help="Shipped model, or folder with weights.")] = "tiny",
    memory: Annotated[
        bool, typer.Option("--memory", help="Store objects across sessions, in an empty folder.")
    ] = False,
    folder: Folder = FOLDER,
    json: Json = False,
) -> None:
    """Run the nodes with a camera at 30 Hz, a changing room and a question a second.

    Exit code 1 if a process died, a question got no reply, or memory grew by 1 MB a minute.

        spatial3d soak --minutes 5
    """
    from spatial3d_ros.research.stress.soak import run_soak, table_of

    result = run_soak(folder, minutes=minutes, model=model, remember=memory, say=print_status)
    if json:
        print_json(result)
    else:
        table = Table(title=f"soak, {minutes:g} minutes", title_justify="left", show_header=False)
        for name, value in table_of(result).items():
            table.add_row(name, value)
        out.print(table)
    if not result["ok"]:
        raise typer.Exit(1)


def faults(
    only: Annotated[
        list[str] | None, typer.Option(help="Faults whose names contain this; repeat for more.")
    ] = None,
    folder: Folder = FOLDER,
    json: Json = False,
) -> None:
    """Inject every known fault into running nodes; check that they keep running and keep the map.

    Exit code 1 if a fault does not end as expected.

        spatial3d faults --only "clock" --only "silent"
    """
    from spatial3d_ros.research.stress.faults import run_faults

    outcomes = []
    for outcome in run_faults(folder, only or (), say=print_status):
        outcomes.append(outcome)
        print_status(f"  {outcome.seen}")
    if json:
        print_json([outcome.to_dict() for outcome in outcomes])
    else:
        out.print(_table(outcomes))
    if any(outcome.ok is False for outcome in outcomes):
        raise typer.Exit(1)


def two_days(
    seed: Annotated[int, typer.Option(help="The generated home.")] = 850_035,
    speed: Annotated[float, typer.Option(help="Of playing the recordings.", min=0.01)] = 0.5,
    model: Annotated[str, typer.Option(help="Shipped model, or folder with weights.")] = "tiny",
    folder: Annotated[Path, typer.Option(help="For recordings, logs and pictures.")] = Path(
        "runs/two_days"
    ),
    json: Json = False,
) -> None:
    """Drive through two rooms, kill the node, change the home, and ask about it on the next day:
    over DDS, as an agent (MCP), in the browser, and about the saved map.

    Exit code 1 if fewer than seven of the eight questions are answered right by one of them.

        spatial3d two-days --json
    """
    from spatial3d_ros.research.stress.two_days import run_two_days

    story = run_two_days(folder, seed, speed=speed, model=model, say=print_status)
    if json:
        print_json(story.to_dict())
    else:
        out.print(f"{story.known} objects known, {story.remembered} of them after the kill")
        for question in story.asked:
            marks = "  ".join(f"{MARKS[ok]} {name}" for name, ok in question.right.items())
            out.print(f"{escape(question.text)}   {marks}")
            for answer in dict.fromkeys(question.answers.values()):
                out.print(f"   {escape(answer)}")
        out.print(f"pictures of both days in {folder}")
    if min(story.right.values()) < RIGHT_ANSWERS:
        raise typer.Exit(1)


def _table(outcomes: list[Outcome]) -> Table:
    table = Table("fault", "expected", "seen", "ok", "s", show_lines=True)
    for one in outcomes:
        table.add_row(
            escape(one.fault), escape(one.expected), escape(one.seen), MARKS[one.ok],
            f"{one.seconds:.0f}",
        )  # fmt: skip
    return table
