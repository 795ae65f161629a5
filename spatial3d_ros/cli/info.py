"""`spatial3d info`: parameters that a preset trains, memory and input channels of a model."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.table import Table

from spatial3d_ros.cli.output import out, print_json
from spatial3d_ros.errors import NotAvailableError


def trainable_table(model: str, preset: str) -> dict[str, Any]:
    """Parameters that a preset trains; research replaces this function (`research.cli`)."""
    raise NotAvailableError("--train needs pip install 'spatial3d_ros[research]'")


def info(
    model: Annotated[str, typer.Option(help="Configuration: a name or a YAML file.")] = "tiny",
    train: Annotated[
        str | None,
        typer.Option(help="Preset whose trained part is counted: paper, lite, tiny or a file."),
    ] = None,
    memory: Annotated[
        bool, typer.Option("--memory", help="Memory needed, and computers that have it.")
    ] = False,
    channels: Annotated[
        bool, typer.Option("--channels", help="Effect of pixels, rays, colors; loads the weights.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Count the parameters or the memory of a model, or find input channels without effect.

    spatial3d info --model llava_video_7b --train paper

    spatial3d info --model llava_video_7b --memory --json

    spatial3d info --model tiny --channels
    """
    if train is not None:
        _show_trainable(trainable_table(model, train), json)
    elif memory:
        from spatial3d_ros.model.budget import memory_table

        _show_memory(memory_table(model), json)
    elif channels:
        _show_channels(model, json)
    else:
        raise typer.BadParameter("choose --train PRESET, --memory or --channels")


def _show_channels(model: str, json: bool) -> None:
    from spatial3d_ros.model.channels import channel_variation, dead_channels
    from spatial3d_ros.model.checkpoint import load_model, model_folder

    found = channel_variation(load_model(model_folder(model))[0])
    dead = dead_channels(found)
    if json:
        print_json({"model": model, "variation": found, "dead": dead})
        return
    table = Table("channel", "variation", "", title=f"{model}: relative variation of each channel")
    for name, value in found.items():
        table.add_row(name, f"{value:.4f}", "dead: no effect on any answer" * (name in dead))
    out.print(table)


def _show_trainable(result: dict[str, Any], json: bool) -> None:
    if json:
        print_json(result)
        return
    title = f"{result['model']}, preset {result['preset']}"
    table = Table(title=title, title_justify="left", show_footer=True)
    table.add_column("trained part", footer=f"total, of {result['network']:.2f}")
    table.add_column("million", footer=f"{result['total']:.2f}", justify="right")
    for part, millions in result["parts"].items():
        table.add_row(part, f"{millions:.2f}")
    out.print(table)


def _show_memory(result: dict[str, Any], json: bool) -> None:
    if json:
        print_json(result)
        return
    title = f"{result['model']}: GiB needed, and computers that have it free"
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
