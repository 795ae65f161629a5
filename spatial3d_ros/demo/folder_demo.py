"""The demo on a folder of real images: convert, recognise, map, ask, pictures. Without ROS."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from spatial3d_ros.bags.conversion import convert_folder
from spatial3d_ros.bags.folder_files import Intrinsics
from spatial3d_ros.bags.options import RecordingOptions
from spatial3d_ros.bags.reader import DEFAULTS
from spatial3d_ros.demo.demo import DemoResult
from spatial3d_ros.demo.explanation import explain_first
from spatial3d_ros.demo.offline import answered, draw, map_recording
from spatial3d_ros.demo.report import Row, write_answers, write_page
from spatial3d_ros.recognition.loading import load_recognisers
from spatial3d_ros.scene.objects import SceneObject
from spatial3d_ros.visualization.recognised_image import recognised_image

MODELS = Path("models")
DEFAULT_RECOGNISERS = ("dfine_small_obj365", "rtdetr_r50", "upernet_convnext_tiny", "recogniser")
"""Folders in MODELS that are used where no recogniser is given; the first that is there."""

PICTURES = 6  # of what the recogniser found
ASKED_LABELS = 4  # labels of the map that the demo asks about where it is given no question

Progress = Callable[[int, int | None], None]


def default_recogniser() -> tuple[str, ...]:
    """The first of the known folders that is there."""
    found = (MODELS / name for name in DEFAULT_RECOGNISERS)
    return tuple(str(folder) for folder in found if folder.is_dir())[:1]


def run_folder_demo(
    folder: Path,
    out: Path,
    questions: Sequence[str] = (),
    *,
    options: RecordingOptions = DEFAULTS,
    intrinsics: Intrinsics | None = None,
    model: str = "tiny",
    say: Callable[[str], None] = print,
    progress: Progress = lambda done, total: None,
) -> DemoResult:
    """Map a folder of RGB-D images and write the report into `out`.

    Without `questions`, where the objects of the map are is asked. Raises what converting, the
    recogniser and the engine raise.
    """
    out.mkdir(parents=True, exist_ok=True)
    bag = out / f"{folder.resolve().name}.mcap"
    convert_folder(folder, bag, intrinsics=intrinsics, overwrite=True, say=say)
    if not options.recogniser and not options.detections:
        options = replace(options, recogniser=default_recogniser())
    say(
        f"labels: {', '.join((*options.recogniser, options.detections)).strip(', ')}"
        if options.recogniser or options.detections
        else "labels: the network's own; a recogniser names more (spatial3d download)"
    )
    mapped = map_recording(bag, options, questions, model=model, progress=progress)
    say(str(mapped))
    if options.recogniser:
        _draw_recognised(out / "recognised", options.recogniser, [f.rgb for f in mapped.frames])
    questions = list(questions) or questions_about(mapped.objects)
    rows = [Row.unjudged(text, answered(mapped.engine, text)) for text in questions]
    rows = explain_first(rows, mapped.engine.scene(), out, model=model, say=say)
    say("drawing the figures")
    overview, pictures = draw(out, mapped.frames, mapped.objects, rows)
    write_answers(out / "answers.json", rows)
    page = out / "index.html"
    facts = {
        "objects in the map": str(len(mapped.objects)),
        "views in memory": str(mapped.engine.scene().views),
        "frames": str(mapped.recording.account),
    }
    write_page(
        page, rows, pictures, overview, title=f"What was found in {folder.name}", facts=facts
    )
    return DemoResult(tuple(rows), not all(row.failed for row in rows), page)


def questions_about(objects: Sequence[SceneObject]) -> list[str]:
    """Where the surest labels are, and how far the first two are apart."""
    surest: dict[str, float] = {}
    for item in objects:
        if item.label:
            surest[item.label] = max(surest.get(item.label, 0.0), item.score)
    counts = Counter(item.label for item in objects)
    names = sorted(surest, key=lambda label: -surest[label])[:ASKED_LABELS]
    asked = [f"where is the {name}?" for name in names]
    if single := [name for name in names if counts[name] == 1][:2]:
        asked += [f"how far is the {single[0]} from the {single[1]}?"] if len(single) > 1 else []
    return asked or ["where is the chair?"]


def _draw_recognised(out: Path, folders: Sequence[str], images: Sequence[np.ndarray]) -> None:
    out.mkdir(exist_ok=True)
    recogniser = load_recognisers(folders)
    for k, rgb in enumerate(images[:: max(1, len(images) // PICTURES)]):
        found = recogniser.recognise(rgb)
        picture = recognised_image(rgb, found.detections, found.class_image, found.labels)
        cv2.imwrite(str(out / f"{k}.png"), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
