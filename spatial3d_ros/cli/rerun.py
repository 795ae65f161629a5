"""`spatial3d rerun`: a recording, its object map and answers, for the Rerun viewer."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from spatial3d_ros.bags.options import RecordingOptions
from spatial3d_ros.cli.output import out, print_status
from spatial3d_ros.cli.topics import print_findings, reads_recording


@reads_recording
def rerun(
    bag: Annotated[Path, typer.Argument(help="Recording: a bag folder, .mcap or .db3.")],
    to: Annotated[Path, typer.Option("--out", help="The file to write.")] = Path("spatial3d.rrd"),
    question: Annotated[list[str] | None, typer.Option(help="What to ask at the end.")] = None,
    every: Annotated[
        int, typer.Option(min=1, help="Views between two updates of the object map.")
    ] = 8,
    model: Annotated[str, typer.Option(help="Shipped model, or folder with weights.")] = "tiny",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, ...")] = "auto",
    *,
    options: RecordingOptions,
) -> None:
    """Write a recording and what is understood of it to a file for the Rerun viewer.

    Needs the extra: pip install 'spatial3d_ros[rerun]'. Open it with: rerun spatial3d.rrd

    spatial3d rerun room.mcap --question "where is the sofa?"
    """
    from spatial3d_ros.bags.reader import BagFrames
    from spatial3d_ros.engine import EngineConfig, Spatial3D
    from spatial3d_ros.errors import Spatial3DError
    from spatial3d_ros.recognition.frame_labels import FrameLabels
    from spatial3d_ros.tasks.reply import Reply
    from spatial3d_ros.visualization.rerun_sink import RerunSink

    sink = RerunSink(to)
    engine = Spatial3D(EngineConfig(model=model, device=device))
    engine.load()
    views = 0
    recording = BagFrames(bag, options)
    labels = FrameLabels.of_recording(recording, question or (), device)
    for _, frame in recording:
        keyframe = engine.add_frame(frame).keyframe
        labels.add_to(engine, frame, keyframe=keyframe)
        if not keyframe:
            continue
        views += 1
        sink.frame(frame)
        if views % every == 0:
            engine.refresh()
            sink.objects(engine.scene().objects, frame.stamp_ns)
    engine.refresh()
    scene = engine.scene()
    sink.objects(scene.objects, scene.stamp_ns)
    for asked in question or ():
        begin = time.perf_counter()
        try:
            reply = Reply.from_result(engine.answer(asked), 1e3 * (time.perf_counter() - begin))
        except Spatial3DError as error:
            reply = Reply(str(error), success=False)
        sink.answer(asked, reply, scene.stamp_ns)
        out.print(f"[bold]{asked}[/]\n  {reply.text}")
    sink.close()
    print_status(f"{recording.account}; {views} views, {len(scene.objects)} objects")
    print_findings(recording)
    out.print(str(to), soft_wrap=True)
