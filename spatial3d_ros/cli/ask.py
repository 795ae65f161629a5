"""`spatial3d ask`."""

from __future__ import annotations

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
    pictures: Annotated[
        Path | None, typer.Option("--out", help="Folder for pictures of the map and the answers.")
    ] = None,
    embeddings: Annotated[
        Path | None,
        typer.Option(help="Folder of CLIP or SigLIP, for words that no object has for a label."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    *,
    options: RecordingOptions,
) -> None:
    """Ask questions about a recording, without ROS: the engine of the node in this process.

    spatial3d ask room.mcap "where is the red chair next to the desk?"

    spatial3d ask room.mcap "how far is the lamp from the bed?" --json

    spatial3d ask room.mcap "where is the mug?" --recogniser models/d_fine --out mug
    """
    from spatial3d_ros.demo.offline import answered, draw, map_recording
    from spatial3d_ros.demo.report import Row

    if pictures is not None:
        pictures.mkdir(parents=True, exist_ok=True)  # a folder that cannot be made stops here
    with progress_bar("reading the recording") as progress:
        mapped = map_recording(
            bag, options, questions, model=model, device=device, embeddings=embeddings,
            progress=progress,
        )  # fmt: skip
    print_status(str(mapped))
    print_findings(mapped.recording)
    answers, replies = [], []
    for question in questions:
        reply = answered(mapped.engine, question)
        replies.append(reply)
        answers.append(
            {
                "question": question,
                "answer": reply.text,
                "success": reply.success,
                "no_target": reply.no_target,
                "metres": reply.metres,
                "boxes": [{"center": b.center, "size": b.size, "yaw": b.yaw} for b in reply.boxes],
                "latency_ms": reply.latency_ms,
                "intent": reply.intent,
                "objects": [{"id": id_, "label": label} for id_, label in reply.objects],
                "confidence": reply.confidence,
                "question_back": reply.question_back,
                "possible": reply.possible,
                "frames": mapped.recording.account.as_dict(),
            }
        )
        if not json and reply.success:
            out.print(f"[bold]{question}[/]\n  {reply.text}  [dim]{reply.latency_ms:.0f} ms[/]")
        elif not json:
            print_error(f"{question!r}: {reply.text}")
    if pictures is not None:
        rows = [Row.unjudged(q, reply) for q, reply in zip(questions, replies, strict=True)]
        draw(pictures, mapped.frames, mapped.objects, rows)
        print_status(f"pictures of the map and the answers are in {pictures}")
    if json:
        print_json(answers)
    if not all(reply.success for reply in replies):
        raise typer.Exit(1)
