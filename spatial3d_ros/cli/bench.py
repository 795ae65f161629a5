"""`spatial3d bench`: speed and memory of the running nodes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from spatial3d_ros.cli.output import out, print_json, say

app = typer.Typer(help="Measure speed and memory.")

Folder = Annotated[Path, typer.Option(help="Where recordings and logs are kept.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Rate = Annotated[float, typer.Option(help="Images a second.")]
Model = Annotated[str, typer.Option(help="Shipped model, or folder with weights.")]
FOLDER = Path("runs/bench")


@app.callback(invoke_without_command=True)
def bench(context: typer.Context) -> None:
    """Measure speed and memory of the running nodes, then accuracy: all that `make bench` prints.

    One by one: `spatial3d bench ingest`, `spatial3d bench query`, `spatial3d evaluate rooms`.
    """
    if context.invoked_subcommand is None:
        from spatial3d_ros.cli.evaluate import rooms

        ingest()
        query()
        rooms()
        rooms(true_boxes=True)


@app.command()
def ingest(
    seconds: Annotated[float, typer.Option(help="How long.")] = 60.0,
    rate: Rate = 30.0,
    model: Model = "tiny",
    folder: Folder = FOLDER,
    json: Json = False,
) -> None:
    """Play 640x480 colour and depth into the node: what arrives, what is lost, how long callbacks
    take, how much memory views need."""
    from spatial3d_ros.benchmarks import bench_ingest

    result = bench_ingest(folder, seconds=seconds, rate_hz=rate, model=model, say=say)
    _show(f"ingest, {seconds:.0f} s at {rate:.0f} Hz", result, json)


@app.command()
def query(
    questions: Annotated[int, typer.Option(help="How many, after a warm-up.")] = 48,
    rate: Rate = 30.0,
    model: Model = "tiny",
    folder: Folder = FOLDER,
    json: Json = False,
) -> None:
    """Time questions on a warm scene, from service call to reply, while frames keep arriving."""
    from spatial3d_ros.benchmarks import bench_query

    result = bench_query(folder, questions=questions, rate_hz=rate, model=model, say=say)
    _show(f"questions, frames at {rate:.0f} Hz meanwhile", result, json)


@app.command()
def masks(json: Json = False) -> None:
    """Time masks and box membership against plain loops over objects; both must agree."""
    from spatial3d_ros.evaluation.bench_masks import bench_masks

    _show("masks and membership, one thread", bench_masks(), json)


def _show(title: str, result: dict[str, object], json: bool) -> None:
    if json:
        print_json(result)
        return
    table = Table(title=title, title_justify="left", show_header=False)
    for name, value in result.items():
        table.add_row(name.replace("_", " "), _text(value))
    out.print(table)


def _text(value: object) -> str:
    if isinstance(value, dict):
        return "\n".join(
            f"{key}: {_text(part).replace(chr(10), ', ')}" for key, part in value.items()
        )
    return f"{value:.2f}" if isinstance(value, float) else str(value)
