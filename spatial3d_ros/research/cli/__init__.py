"""The commands that need the extra `research`: generated data, training, evaluation, benchmarks."""

from __future__ import annotations

import typer

from spatial3d_ros.cli import demo, info
from spatial3d_ros.research.cli import (
    ablate,
    assemble,
    bench,
    evaluate,
    extensions,
    knockout,
    stress,
    synth,
    train,
)


def add_commands(app: typer.Typer) -> None:
    """Add the research commands to the robot's, and what they extend: `demo` without a bag plays a
    generated room, `info --train` counts what a preset trains.
    """
    app.add_typer(synth.synth, name="synth")
    app.command("scannet-boxes")(synth.scannet_boxes)
    app.add_typer(evaluate.app, name="evaluate")
    app.add_typer(bench.app, name="bench")
    app.command("soak")(stress.soak)
    app.command("faults")(stress.faults)
    app.command("two-days")(stress.two_days)
    app.command("train")(train.train)
    app.command("train-reader")(train.train_reader)
    app.command("fit-proposals")(train.fit_proposals)
    app.command("fit-resolution")(train.fit_resolution)
    app.command("assemble")(assemble.assemble)
    app.command("ablate")(ablate.ablate)
    app.command("knockout")(knockout.knockout)
    demo.prepare_room = extensions.prepare_room
    info.trainable_table = extensions.trainable_table
