"""`spatial3d ask`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from spatial3d_ros.bags.options import RecordingOptions
from spatial3d_ros.cli.output import out, print_error, print_json, print_status, progress_bar
from spatial3d_ros.cli.topics import print_findings, reads_recording


@reads_recording
def ask(
    bag: Annotated[Path, typer.Argument(help="Recording: a bag folder, .mcap or .db3.")],
    questions: Annotated[list[str], typer.Argument(help="What to ask, each in quotes.")],
    model: Annotated[str, typer.Option(help="Shipped model, or folder with weights.")] = "tiny",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, ...")] = "auto",
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    *,
    options: RecordingOptions,
) -> None:
    """Ask questions about a recording, without ROS: the engine of the node in this process.

    spatial3d ask room.mcap "where is the red chair next to the desk?"

    spatial3d ask room.mcap "how far is the lamp from the bed?" --json
    """
    from spatial3d_ros.bags.reader import BagFrames
    from spatial3d_ros.engine import EngineConfig, Spatial3D
    from spatial3d_ros.errors import Spatial3DError
    from spatial3d_ros.tasks.reply import Reply

    recording = BagFrames(bag, options)
    engine = Spatial3D(EngineConfig(model=model, device=device))
    with progress_bar("reading the recording") as progress:
        engine.load()
        for count, (_, frame) in enumerate(recording, 1):
            engine.add_frame(frame)
            progress(count, recording.color_count)
        engine.refresh()
    scene = engine.scene()
    print_status(
        f"{recording.account}; {scene.views} views in memory, {len(scene.objects)} objects"
    )
    print_findings(recording)
    answers, failed = [], False
    for question in questions:
        begin = time.perf_counter()
        try:
            reply = Reply.from_result(engine.answer(question), 1e3 * (time.perf_counter() - begin))
        except Spatial3DError as error:
            reply, failed = Reply(str(error), success=False), True
        answers.append(
            {
                "question": question,
                "answer": reply.text,
                "success": reply.success,
                "no_target": reply.no_target,
                "metres": reply.metres,
                "boxes": [{"center": b.center, "size": b.size, "yaw": b.yaw} for b in reply.boxes],
                "latency_ms": reply.latency_ms,
                "frames": recording.account.as_dict(),
            }
        )
        if not json and reply.success:
            out.print(f"[bold]{question}[/]\n  {reply.text}  [dim]{reply.latency_ms:.0f} ms[/]")
        elif not json:
            print_error(f"{question!r}: {reply.text}")
    if json:
        print_json(answers)
    if failed:
        raise typer.Exit(1)
