"""`spatial3d info`: what a network weighs, what of it a preset trains, and where it fits."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.table import Table

from spatial3d_ros.cli.output import out, print_json
from spatial3d_ros.errors import NotAvailableError


def trainable_table(model: str, preset: str) -> dict[str, object]:
    """What a preset trains; `spatial3d_ros.__main__` puts that of research here."""
    raise NotAvailableError("--train needs pip install 'spatial3d_ros[research]'")


def info(
    model: Annotated[str, typer.Option(help="Configuration: a name or a YAML file.")] = "tiny",
    train: Annotated[
        str | None, typer.Option(help="What a preset trains: paper, lite, tiny, or a YAML file.")
    ] = None,
    memory: Annotated[
        bool, typer.Option("--memory", help="What it needs, and which computers have it.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """What a network weighs, counted without its weights.

    spatial3d info --model llava_video_7b --train paper

    spatial3d info --model llava_video_7b --memory --json
    """
    if train is not None:
        _show_trainable(trainable_table(model, train), json)
    elif memory:
        from spatial3d_ros.model.budget import memory_table

        _show_memory(memory_table(model), json)
    else:
        raise typer.BadParameter("say what about: --train PRESET or --memory")


def _show_trainable(result: dict[str, object], json: bool) -> None:
    if json:
        print_json(result)
        return
    title = f"{result['model']}, preset {result['preset']}"
    table = Table(title=title, title_justify="left", show_footer=True)
    table.add_column("what trains", footer=f"together, of {result['network']:.2f}")
    table.add_column("million", footer=f"{result['total']:.2f}", justify="right")
    for part, millions in result["parts"].items():
        table.add_row(part, f"{millions:.2f}")
    out.print(table)


def _show_memory(result: dict[str, Any], json: bool) -> None:
    if json:
        print_json(result)
        return
    title = f"{result['model']}: GiB needed, and where that is free"
    computers = (f"{name} ({share:.0f})" for name, share in result["usable_gib"].items())
    table = Table("weights", "views", *result["rows"][0]["gib"], *computers, title=title)
    for row in result["rows"]:
        table.add_row(
            row["weights"],
            str(row["views"]),
            *(f"{size:.2f}" for size in row["gib"].values()),
            *("fits" if fits else "-" for fits in row["fits"].values()),
        )
    out.print(table)
