"""`spatial3d explain`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from spatial3d_ros.bags.options import RecordingOptions
from spatial3d_ros.cli.output import out, print_json, print_status, progress_bar
from spatial3d_ros.cli.topics import print_findings, reads_recording


@reads_recording
def explain(
    bag: Annotated[Path, typer.Argument(help="Recording: a bag folder, .mcap or .db3.")],
    question: Annotated[str, typer.Argument(help="What to ask, in quotes.")],
    pictures: Annotated[
        Path, typer.Option("--out", help="Folder for the pictures and explanation.html.")
    ] = Path("explanation"),
    model: Annotated[str, typer.Option(help="Shipped model, or folder with weights.")] = "tiny",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, ...")] = "auto",
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    *,
    options: RecordingOptions,
) -> None:
    """Show what the network attends to for a question: a patch in other views, words and objects,
    what the mask hides, and referents with their votes.

    spatial3d explain room.mcap "the red chair next to the desk" --out why
    """
    from spatial3d_ros.demo.explanation import explain_answer  # imports matplotlib
    from spatial3d_ros.demo.offline import answered, map_recording

    with progress_bar("reading the recording") as progress:
        mapped = map_recording(
            bag, options, [question], model=model, device=device, progress=progress
        )
    print_status(str(mapped))
    print_findings(mapped.recording)
    reply = answered(mapped.engine, question)
    state = mapped.engine.scene()
    record, parts = explain_answer(
        state, question, reply.text, pictures, model=model, device=device
    )
    if json:
        print_json(
            {
                "question": question,
                "answer": reply.text,
                "network": record.objects[record.chosen].id,
                "parts": [
                    {"title": part.title, "text": part.text, "picture": str(part.picture)}
                    for part in parts
                ],
            }
        )
        return
    out.print(f"[bold]{question}[/]\n  {reply.text}")
    for part in parts:
        out.print(f"[bold]{part.title}[/] ({part.picture})\n  {part.text}", soft_wrap=True)
    print_status(f"all on one page: {pictures / 'explanation.html'}")
