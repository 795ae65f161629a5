"""`spatial3d synth instructions`: questions, instructions and their answers as JSON lines."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, TextIO

import typer

from spatial3d_ros.cli.output import print_status, progress_bar
from spatial3d_ros.errors import ConfigError

UPDATE_EVERY = 200  # items between two updates of the progress bar


def instructions(
    rooms: Annotated[int, typer.Option(min=1, help="How many rooms.")] = 100,
    out: Annotated[Path | None, typer.Option(help="File to write [standard output].")] = None,
    each: Annotated[int, typer.Option(min=1, help="Items about one room, at most.")] = 40,
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = 0,
    first: Annotated[int, typer.Option(help="Seed of the first room.")] = 2_000_000,
    split: Annotated[str, typer.Option(help="Wordings: train or test.")] = "train",
    families: Annotated[
        str, typer.Option(help="Some of vg, distance, vqa, densecap, layout; with commas.")
    ] = "vg,distance,vqa,densecap,layout",
    loc_format: Annotated[str, typer.Option(help="Places as text or as tokens.")] = "text",
    rendered: Annotated[
        Path | None, typer.Option(help="Rooms from a folder of rendered ones, as training keeps.")
    ] = None,
) -> None:
    """Make instruction data for every task: grounding, distances, questions, captions, edits.

    A JSON object a line: id, dataset, task, scene_id, question, answer, meta, and for rendered
    rooms the frames. Answers are exact; wordings of the two splits have none in common.

        spatial3d synth instructions --rooms 8000 --out instructions.jsonl    # 250,000 and more

        spatial3d synth instructions --rooms 3 --split test --families distance,vqa
    """
    from spatial3d_ros.research.language.instructions import FAMILIES, line
    from spatial3d_ros.research.language.instructions import instructions as make
    from spatial3d_ros.research.language.location_text import LocationCodec
    from spatial3d_ros.research.rooms.view_store import ViewStore

    chosen = tuple(name.strip() for name in families.split(","))
    for option, values, allowed in (
        ("--families", chosen, tuple(FAMILIES)),
        ("--split", (split,), ("train", "test")),
        ("--loc-format", (loc_format,), ("text", "tokens")),
    ):
        wrong = [value for value in values if value not in allowed]
        if wrong:
            raise ConfigError(f"{option}: '{wrong[0]}' is unknown; use {', '.join(allowed)}")
    store = None if rendered is None else ViewStore(rendered)
    items = make(
        rooms=rooms, seed=seed, first=first, each=each, split=split, families=chosen,
        codec=LocationCodec(format=loc_format), store=store,
    )  # fmt: skip
    begin, count = time.monotonic(), 0
    with _opened(out) as file, progress_bar("instructions") as progress:
        for item in items:
            file.write(line(item))
            count += 1
            if count % UPDATE_EVERY == 0:
                progress(count, None)
    seconds = time.monotonic() - begin
    print_status(f"{count} items in {seconds:.1f} s, {count / max(seconds, 1e-9):.0f} a second")


@contextmanager
def _opened(out: Path | None) -> Iterator[TextIO]:
    """Standard output, or a file that is only there once it is whole."""
    if out is None:
        yield sys.stdout
        return
    part = out.with_name(f"{out.name}.part")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with part.open("w", encoding="utf-8", newline="\n") as file:
            yield file
    except OSError as error:
        raise ConfigError(f"--out {out}: cannot be written ({error})") from error
    part.replace(out)
