"""A recording mapped and asked by the engine in this process, without ROS."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from spatial3d_ros.bags.options import RecordingOptions
from spatial3d_ros.bags.reader import BagFrames
from spatial3d_ros.demo.report import Row
from spatial3d_ros.engine import EngineConfig, Spatial3D
from spatial3d_ros.errors import Spatial3DError
from spatial3d_ros.recognition.frame_labels import FrameLabels
from spatial3d_ros.scene.frame import Frame
from spatial3d_ros.scene.objects import SceneObject
from spatial3d_ros.tasks.reply import Reply

KEPT_FRAMES = 48  # for pictures and crops, spread over the recording
# Keyframes between two refreshes: as many as the memory holds, so that every view is used once. A
# node on a small computer gets about as many between two of its refreshes.
REFRESH_EVERY = 16


@dataclass(frozen=True)
class MappedRecording:
    """An engine that was given all frames and labels of a recording, and about KEPT_FRAMES."""

    recording: BagFrames
    engine: Spatial3D
    labels: FrameLabels
    frames: Sequence[Frame]

    @property
    def objects(self) -> Sequence[SceneObject]:
        """The object map."""
        return self.engine.scene().objects

    def __str__(self) -> str:
        scene = self.engine.scene()
        text = f"{self.recording.account}; {scene.views} views in memory"
        text += f", {len(scene.objects)} objects"
        return f"{text}; {self.labels}" if self.labels else text


def map_recording(
    bag: Path,
    options: RecordingOptions,
    questions: Sequence[str] = (),
    *,
    model: str = "tiny",
    device: str = "auto",
    embeddings: Path | None = None,
    progress: Callable[[int, int | None], None] = lambda done, total: None,
) -> MappedRecording:
    """Map a recording with the labels its options name.

    The nouns of `questions` prompt open-vocabulary recognisers; with `embeddings`, a folder of CLIP
    or SigLIP, they name objects that look like them. Raises BagError, ConfigError, CheckpointError.
    """
    recording = BagFrames(bag, options)
    labels = FrameLabels.of_recording(recording, questions, device)
    words = None
    if embeddings is not None:
        from spatial3d_ros.recognition.embeddings import ImageTextEmbeddings  # imports transformers

        words = ImageTextEmbeddings.load(embeddings, device)
    engine = Spatial3D(EngineConfig(model=model, device=device))
    engine.load()
    frames: list[Frame] = []
    step = max(1, recording.color_count // KEPT_FRAMES)
    keyframes = 0
    for count, (_, frame) in enumerate(recording):
        keyframe = engine.add_frame(frame).keyframe
        labels.add_to(engine, frame, keyframe=keyframe)
        keyframes += keyframe
        if keyframe and keyframes % REFRESH_EVERY == 0:
            engine.refresh()
        if count % step == 0:
            frames.append(frame)
        progress(count + 1, recording.color_count)
    engine.refresh()
    if words is not None:
        from spatial3d_ros.recognition.embeddings import open_word_detections
        from spatial3d_ros.recognition.prompts import noun_phrases

        objects = engine.scene().objects
        known = {item.label for item in objects}
        nouns = dict.fromkeys(noun for question in questions for noun in noun_phrases(question))
        unknown = [noun for noun in nouns if noun not in known]
        found = open_word_detections(objects, frames, unknown, words)
        if found and engine.add_detections(found):
            engine.refresh()
    return MappedRecording(recording, engine, labels, frames)


def answered(engine: Spatial3D, question: str) -> Reply:
    """The reply to a question; an error of it is its text."""
    begin = time.perf_counter()
    try:
        return Reply.from_result(engine.answer(question), 1e3 * (time.perf_counter() - begin))
    except Spatial3DError as error:
        return Reply(str(error), success=False)


def draw(
    out: Path, frames: Sequence[Frame], objects: Sequence[SceneObject], rows: Sequence[Row]
) -> tuple[Path, list[Path]]:
    """Write `map.png`, and `answer_N.png` for each row, into an existing folder."""
    from spatial3d_ros.demo.figures import FigureWriter, boxes_of  # imports matplotlib

    figures = FigureWriter(frames, boxes_of(objects))
    overview = figures.overview(out / "map.png")
    return overview, [
        figures.question(out / f"answer_{k}.png", row) for k, row in enumerate(rows, 1)
    ]
