"""`spatial3d bench`: speed and memory of the nodes, the network and its operations."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from spatial3d_ros.cli.output import out, print_json, print_status

app = typer.Typer(help="Measure speed and memory.")

Folder = Annotated[Path, typer.Option(help="Folder for recordings and logs.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Rate = Annotated[float, typer.Option(help="Images a second.")]
Model = Annotated[str, typer.Option(help="Shipped model, or folder with weights.")]
Network = Annotated[
    str, typer.Option("--model", help="Shipped model, folder, or a YAML for random weights.")
]
FOLDER = Path("runs/bench")


@app.callback(invoke_without_command=True)
def bench(context: typer.Context) -> None:
    """Measure operations, the network, the running nodes, then accuracy: as `make bench` does.

    Run one of them alone: `spatial3d bench ingest`, `spatial3d bench query`, `spatial3d evaluate
    rooms`.
    """
    if context.invoked_subcommand is None:
        from spatial3d_ros.research.cli.evaluate import rooms
        from spatial3d_ros.research.cli.knockout import knockout

        masks()
        warm()
        scale()
        referents()
        ingest()
        query()
        rooms()
        rooms(true_boxes=True)
        knockout()


@app.command()
def ingest(
    seconds: Annotated[float, typer.Option(help="Duration.")] = 60.0,
    rate: Rate = 30.0,
    model: Model = "tiny",
    folder: Folder = FOLDER,
    json: Json = False,
) -> None:
    """Play 640x480 color and depth images into the node: received and lost messages, callback
    times, memory of the views."""
    from spatial3d_ros.research.bench.nodes import bench_ingest

    result = bench_ingest(folder, seconds=seconds, rate_hz=rate, model=model, say=print_status)
    _show(f"ingest, {seconds:.0f} s at {rate:.0f} Hz", result, json)


@app.command()
def query(
    questions: Annotated[int, typer.Option(help="Number of questions, after a warm-up.")] = 48,
    rate: Rate = 30.0,
    model: Model = "tiny",
    folder: Folder = FOLDER,
    json: Json = False,
) -> None:
    """Time questions on a cached scene, from service call to reply, at a camera rate."""
    from spatial3d_ros.research.bench.nodes import bench_query

    result = bench_query(folder, questions=questions, rate_hz=rate, model=model, say=print_status)
    _show(f"questions while frames arrive at {rate:.0f} Hz", result, json)


@app.command()
def masks(json: Json = False) -> None:
    """Time object masks and patch-box assignment against plain loops; results must be equal."""
    from spatial3d_ros.research.bench.operations import bench_masks

    _show("object masks and patch-box assignment, one thread", bench_masks(), json)


@app.command()
def warm(
    model: Network = "tiny",
    views: Annotated[str, typer.Option(help="Numbers of views, comma-separated.")] = "4,8,16,32",
    repeats: Annotated[
        int, typer.Option(help="Timings without the cache; three times as many with it.")
    ] = 5,
    json: Json = False,
) -> None:
    """Time a question on the cached scene against recomputing everything."""
    from spatial3d_ros.research.bench.network import bench_warm

    result = bench_warm(model, tuple(map(int, views.split(","))), repeats=repeats)
    _show("a warm question, one thread", result, json)


@app.command()
def scale(
    model: Network = "tiny",
    repeats: Annotated[int, typer.Option(help="Questions for each size.")] = 100,
    json: Json = False,
) -> None:
    """Time and memory of a question as views and objects grow."""
    from spatial3d_ros.research.bench.network import bench_scale

    _show("growth, one thread", bench_scale(model, repeats=repeats), json)


@app.command()
def device(
    model: Annotated[str, typer.Option(help="Configuration: a name or a YAML file.")] = "tiny",
    views: Annotated[str, typer.Option(help="Numbers of views, comma-separated.")] = "8,16,32",
    repeats: Annotated[int, typer.Option(help="Timings of each.")] = 5,
    json: Json = False,
) -> None:
    """Measure build time, memory, scene and question of a network of any size, with random
    weights, on this computer's device.

    spatial3d bench device --model llava_video_7b
    """
    from spatial3d_ros.research.bench.network import bench_device

    result = bench_device(model, tuple(map(int, views.split(","))), repeats)
    _show("random weights on this device", result, json)


@app.command()
def memory(
    objects: Annotated[int, typer.Option(help="Objects of the map.")] = 10_000,
    observations: Annotated[int, typer.Option(help="Stored looks at them.")] = 1_000_000,
    model: Model = "tiny",
    json: Json = False,
) -> None:
    """Measure a large memory across sessions: start, retrieval, answers, size, load of writing."""
    from spatial3d_ros.research.bench.memory import bench_memory

    _show("a large memory, one thread", bench_memory(objects, observations, model), json)


@app.command()
def gpu(
    model: Annotated[
        str, typer.Option(help="Large network: a name or a YAML file.")
    ] = "llava_video_7b",
    views: Annotated[str, typer.Option(help="Numbers of views, comma-separated.")] = "8,16,32",
    questions: Annotated[int, typer.Option(help="Compared with the CPU's answers.")] = 50,
    preset: Annotated[str, typer.Option(help="Of the training step.")] = "lite",
    device: Annotated[str, typer.Option(help="cuda; cpu tries the command itself.")] = "cuda",
    repeats: Annotated[int, typer.Option(help="Timings of each.")] = 5,
    json: Json = False,
) -> None:
    """Check a GPU: the shipped network's answers against the CPU's, then a large network with
    random weights in bfloat16 and int4, and a training step. scripts/gpu_check.sh runs it.

        spatial3d bench gpu --device cpu --model config/models/ablation.yaml --views 2
    """
    from spatial3d_ros.research.bench.gpu_check import gpu_check

    counts = tuple(map(int, views.split(",")))
    result = gpu_check(model, counts, questions, preset, device, repeats, print_status)
    if json:
        print_json(result)
        return
    for name, figures in result.items():
        _show(name, figures, json=False)


@app.command()
def fleet(
    robots: Annotated[int, typer.Option(min=2, help="Simulated robots.")] = 4,
    questions: Annotated[int, typer.Option(min=1, help="Questions of each.")] = 25,
    views: Annotated[int, typer.Option(min=1, help="Views of each.")] = 8,
    model: Model = "tiny",
    json: Json = False,
) -> None:
    """Robots that ask one shared network: throughput one by one and at the same time."""
    from spatial3d_ros.research.bench.fleet import bench_fleet

    _show(f"{robots} robots", bench_fleet(robots, questions, views, model), json)


@app.command()
def attention(json: Json = False) -> None:
    """Time one layer's attention in each of its forms; all must give the same result."""
    from spatial3d_ros.research.bench.operations import bench_attention

    _show("attention, milliseconds, one thread", bench_attention(), json)


@app.command()
def referents(
    model: Annotated[str, typer.Option(help="Configuration: a name or a YAML file.")] = "tiny",
    objects: Annotated[
        str, typer.Option(help="Numbers of objects, comma-separated.")
    ] = "10,50,100,200",
    source: Annotated[
        str | None, typer.Option(help="patches or points; by default the configuration's.")
    ] = None,
    repeats: Annotated[int, typer.Option(help="Timings of each.")] = 10,
    json: Json = False,
) -> None:
    """Time point sampling at full size, and with random weights each stage of the referents and
    of the network around them, from pixels to a question.
    """
    from spatial3d_ros.research.bench.network import bench_referents

    result = bench_referents(
        model, tuple(map(int, objects.split(","))), repeats=repeats, source=source
    )
    stages = {} if json else result.pop("stages")
    _show("referents, milliseconds, one thread", result, json)
    if stages:
        out.print(_columns("stages, least milliseconds by number of objects", stages))


@app.command()
def order(
    model: Network = "tiny",
    rooms: Annotated[int, typer.Option(help="Held-out rooms.")] = 40,
    json: Json = False,
) -> None:
    """Measure how often the chosen object stays the same when the objects are shuffled."""
    from spatial3d_ros.research.bench.network import order_stability

    _show("order of objects", order_stability(model, rooms), json)


def _columns(title: str, results: dict[str, dict[str, object]]) -> Table:
    """One column for each size: the least time of each stage, or its count."""
    table = Table(title=title, title_justify="left")
    table.add_column("stage")
    for name in results:
        table.add_column(name.replace("_", " "), justify="right")
    for stage in next(iter(results.values())):
        found = [result[stage] for result in results.values()]
        cells = (_text(one["least"] if isinstance(one, dict) else one) for one in found)
        table.add_row(stage.removesuffix("_ms").replace("_", " "), *cells)
    return table


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
