"""`spatial3d map`: saved maps without ROS."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from spatial3d_ros.cli.output import out, print_json

app = typer.Typer(no_args_is_help=True, help="Look at and change what a robot remembers.")

Folder = Annotated[Path, typer.Argument(help="The memory_folder of a node.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def info(folder: Folder, json: Json = False) -> None:
    """What is in a map; a node may be using it.

    spatial3d map info ~/memory
    """
    from spatial3d_ros.memory.maps import object_json, read_map, summary
    from spatial3d_ros.memory.time_words import clock

    memory = read_map(folder)
    found = summary(memory)
    if json:
        print_json(found | {"list": [object_json(o) for o in memory.objects()]})
        return
    labels = ", ".join(f"{count} {label}" for label, count in found["labels"].items()) or "none"
    out.print(f"{found['objects']} objects in frame '{found['frame_id']}': {labels}")
    states = ", ".join(f"{count} {state}" for state, count in found["states"].items())
    out.print(f"states: {states or 'none'}; regions: {', '.join(found['regions']) or 'none'}")
    out.print(
        f"{found['observations']} looks, {found['pictures']} pictures and {found['events']} events "
        f"in {found['sessions']} sessions, {found['bytes'] / 2**20:.1f} MiB"
        + (f"; last seen {clock(found['last_ns'])}" if clock(found["last_ns"]) else "")
    )


@app.command()
def export(
    folder: Folder,
    file: Annotated[Path, typer.Argument(help=".json, .geojson (regions) or .ply.")],
) -> None:
    """Write a map to a file; .json has everything but looks, pictures as base64.

    spatial3d map export ~/memory home.json
    """
    from spatial3d_ros.memory.maps import export_map, read_map

    export_map(read_map(folder), file)
    out.print(f"wrote {file}")


@app.command("import")
def import_(
    folder: Folder,
    file: Annotated[Path, typer.Argument(help=".json, .geojson (regions) or .yaml (regions).")],
) -> None:
    """Add objects and regions of a file to a map.

    spatial3d map import ~/memory rooms.yaml
    """
    from spatial3d_ros.memory.maps import change_map, import_map

    memory = change_map(folder)
    try:
        count = import_map(memory, file)
    finally:
        memory.close()
    out.print(f"added {count} entries of {file}")


@app.command()
def merge(
    folder: Folder,
    other: Annotated[Path, typer.Argument(help="Folder of the map to add.")],
    align: Annotated[bool, typer.Option(help="Align it by three or more objects.")] = False,
    json: Json = False,
) -> None:
    """Add what another robot's map knows; the later look at an object decides.

    spatial3d map merge ~/memory ~/memory_of_robot2 --align
    """
    from spatial3d_ros.memory.maps import change_map, merge_maps, read_map

    memory = change_map(folder)
    try:
        result = merge_maps(memory, read_map(other), align)
    finally:
        memory.close()
    if json:
        print_json(result)
    else:
        out.print(
            f"{result['same']} objects are in both maps ({result['updated']} were newer there), "
            f"{result['added']} were added; residual {result['residual_m']:.2f} m"
        )


@app.command()
def prune(
    folder: Folder,
    days: Annotated[float, typer.Option(help="Forget looks older than this [days].", min=0)] = 30.0,
    max_megabytes: Annotated[float, typer.Option(help="Largest size [MiB].", min=1)] = 1000.0,
) -> None:
    """Forget old looks, and objects that have been gone since then.

    spatial3d map prune ~/memory --days 7
    """
    from spatial3d_ros.memory.maps import change_map

    memory = change_map(folder)
    try:
        newest = memory.newest_ns or time.time_ns()
        limit = max(0, newest - round(days * 86400e9))
        memory.store.prune(limit, round(max_megabytes * 2**20))
    finally:
        memory.close()
    out.print(f"forgot looks older than {days:g} days")


@app.command()
def forget(
    folder: Folder,
    ids: Annotated[list[int] | None, typer.Option("--id", help="An object.")] = None,
    label: Annotated[str, typer.Option(help="All objects with this label.")] = "",
    everything: Annotated[bool, typer.Option("--all", help="All objects.")] = False,
    pictures: Annotated[bool, typer.Option("--pictures", help="All pictures only.")] = False,
) -> None:
    """Remove objects with all their history, pictures and events, or all pictures.

    spatial3d map forget ~/memory --label laptop
    """
    from spatial3d_ros.memory.maps import change_map, forget_objects

    memory = change_map(folder)
    try:
        if pictures:
            memory.store.remove_pictures()
            out.print("forgot all pictures")
            return
        count = forget_objects(memory, tuple(ids or ()), label, everything)
    finally:
        memory.close()
    out.print(f"forgot {count} objects")
