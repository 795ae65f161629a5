"""`spatial3d knockout`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from spatial3d_ros.cli.output import out, print_json, print_status

if TYPE_CHECKING:
    from rich.table import Table


def knockout(
    model: Annotated[str, typer.Option(help="Shipped model, or folder with weights.")] = "tiny",
    rooms: Annotated[int, typer.Option(min=1, help="Number of rendered rooms.")] = 24,
    seed: Annotated[int, typer.Option(help="Seed of the first room.")] = 870_000,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """What each part is worth: accuracy on held-out rooms with true boxes, without one part after
    the other; of the network alone, of the engine as it ships, and of the names of objects.

        spatial3d knockout --rooms 48

        spatial3d knockout --model runs/tiny/model --rooms 12 --json > knockout.json

    The pipeline has two rows of its own: network relation score off (the network is asked the noun
    with its modifiers, geometry alone says which relations hold), and network score off (the
    network names objects and scores no phrase).
    """
    from spatial3d_ros.research.experiments.knockout import knock_out

    report = knock_out(model, rooms=rooms, seed=seed, say=print_status)
    if json:
        print_json(report)
        return
    for key, title in (("rows", "the network alone"), ("pipeline", "the pipeline that ships")):
        out.print(_table(report[key], f"{model}: {title}, {rooms} rooms", report["questions"]))
    out.print(_table(report["names"], f"{model}: names without labels", report["objects"]))


def _table(rows: dict[str, dict[str, float | None]], title: str, asked: dict[str, int]) -> Table:
    from rich.table import Table

    table = Table(
        title=title,
        caption="share of questions whose first object is right, or of objects whose first name "
        "is; below the headings: their number",
    )
    table.add_column("knocked out", no_wrap=True)
    for name, count in asked.items():
        heading = name.replace("_", " ").replace("viewpoint", "view")
        table.add_column(f"{heading}\n{count}", justify="right", min_width=6)
    for row, scores in rows.items():
        shares = ("" if scores[name] is None else f"{scores[name]:.1%}" for name in asked)
        table.add_row(row.replace("_", " "), *shares)
    return table
