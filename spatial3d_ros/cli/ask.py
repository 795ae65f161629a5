"""`spatial3d ask`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spatial3d_ros.bags.options import RecordingOptions
from spatial3d_ros.cli.output import out, print_error, print_json, print_status, progress_bar
from spatial3d_ros.cli.topics import print_findings, reads_recording

if TYPE_CHECKING:
    from spatial3d_ros.engine import Spatial3D
    from spatial3d_ros.recognition.embeddings import ImageTextEmbeddings
    from spatial3d_ros.scene.frame import Frame

KEPT_FRAMES = 48


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
    from spatial3d_ros.bags.reader import BagFrames
    from spatial3d_ros.engine import EngineConfig, Spatial3D
    from spatial3d_ros.errors import Spatial3DError
    from spatial3d_ros.recognition.frame_labels import FrameLabels
    from spatial3d_ros.tasks.reply import Reply

    if pictures is not None:
        pictures.mkdir(parents=True, exist_ok=True)  # a folder that cannot be made stops here
    recording = BagFrames(bag, options)
    labels = FrameLabels.of_recording(recording, questions, device)
    engine = Spatial3D(EngineConfig(model=model, device=device))
    words = None
    if embeddings is not None:
        from spatial3d_ros.recognition.embeddings import ImageTextEmbeddings  # imports torch

        words = ImageTextEmbeddings.load(embeddings, device)
    frames: list[Frame] = []  # for pictures and crops
    step = max(1, recording.color_count // KEPT_FRAMES)
    with progress_bar("reading the recording") as progress:
        engine.load()
        for count, (_, frame) in enumerate(recording, 1):
            labels.add_to(engine, frame, keyframe=engine.add_frame(frame).keyframe)
            if (pictures or embeddings) and (count - 1) % step == 0:
                frames.append(frame)
            progress(count, recording.color_count)
        engine.refresh()
        if words is not None:
            _add_open_words(engine, words, questions, frames)
    scene = engine.scene()
    print_status(
        f"{recording.account}; {scene.views} views in memory, {len(scene.objects)} objects"
    )
    if labels:
        print_status(str(labels))
    print_findings(recording)
    answers, replies, failed = [], [], False
    for question in questions:
        begin = time.perf_counter()
        try:
            reply = Reply.from_result(engine.answer(question), 1e3 * (time.perf_counter() - begin))
        except Spatial3DError as error:
            reply, failed = Reply(str(error), success=False), True
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
                "frames": recording.account.as_dict(),
            }
        )
        if not json and reply.success:
            out.print(f"[bold]{question}[/]\n  {reply.text}  [dim]{reply.latency_ms:.0f} ms[/]")
        elif not json:
            print_error(f"{question!r}: {reply.text}")
    if pictures is not None:
        from spatial3d_ros.demo.figures import FigureWriter, boxes_of
        from spatial3d_ros.demo.report import Row

        rows = [Row.unjudged(q, reply) for q, reply in zip(questions, replies, strict=True)]
        figures = FigureWriter(frames, boxes_of(scene.objects))
        figures.overview(pictures / "map.png")
        for k, row in enumerate(rows, 1):
            figures.question(pictures / f"answer_{k}.png", row)
        print_status(f"pictures of the map and the answers are in {pictures}")
    if json:
        print_json(answers)
    if failed:
        raise typer.Exit(1)


def _add_open_words(
    engine: Spatial3D, words: ImageTextEmbeddings, questions: list[str], frames: list[Frame]
) -> None:
    """Label the objects that look like a noun of the questions which is no label of the map."""
    from spatial3d_ros.recognition.embeddings import open_word_detections
    from spatial3d_ros.recognition.prompts import noun_phrases

    objects = engine.scene().objects
    known = {item.label for item in objects}
    nouns = dict.fromkeys(noun for question in questions for noun in noun_phrases(question))
    unknown = [noun for noun in nouns if noun not in known]
    found = open_word_detections(objects, frames, unknown, words)
    if found and engine.add_detections(found):
        engine.refresh()
