"""`spatial3d recognise`: draws what a recogniser finds in the images of a recording."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spatial3d_ros.bags.options import RecordingOptions
from spatial3d_ros.cli.output import out, print_status, progress_bar
from spatial3d_ros.cli.topics import reads_recording
from spatial3d_ros.errors import BagError, ConfigError

if TYPE_CHECKING:
    import numpy as np


@reads_recording
def recognise(
    source: Annotated[Path, typer.Argument(help="A bag, or a folder of images.")],
    folder: Annotated[Path, typer.Option("--out", help="Folder for the pictures.")] = Path(
        "recognised"
    ),
    prompt: Annotated[
        list[str] | None, typer.Option(help="What an open-vocabulary model looks for; repeat.")
    ] = None,
    every: Annotated[int, typer.Option(min=1, help="Draw every n-th image.")] = 1,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, ...")] = "auto",
    *,
    options: RecordingOptions,
) -> None:
    """Draw what a recogniser finds: boxes, masks and classes, with labels and scores.

    Images of a folder need no depth and no poses.

    spatial3d recognise room.mcap --recogniser models/d_fine --out pictures

    spatial3d recognise my_frames/ --recogniser models/owlv2_base --prompt mug --prompt "red book"
    """
    import cv2

    from spatial3d_ros.recognition.frame_labels import classes_shown
    from spatial3d_ros.recognition.loading import load_recognisers
    from spatial3d_ros.visualization.recognised_image import recognised_image

    if not options.recogniser:
        raise ConfigError("--recogniser: name the folder of a model")
    recogniser = load_recognisers(options.recogniser, device)
    folder.mkdir(parents=True, exist_ok=True)
    counts: Counter[str] = Counter()
    images, total = _images(source, options)
    drawn = 0
    with progress_bar("images") as progress:
        for number, (name, rgb) in enumerate(images):
            progress(number + 1, total)
            if number % every:
                continue
            found = recogniser.recognise(rgb, prompt or ())
            counts.update(one.label for one in found.detections)
            counts.update(classes_shown(found))
            picture = recognised_image(rgb, found.detections, found.class_image, found.labels)
            file = folder / f"{name}.png"
            if not cv2.imwrite(str(file), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)):
                raise OSError(f"{file}: cannot be written")
            drawn += 1
    names = ", ".join(f"{count} {name}" for name, count in counts.most_common())
    print_status(f"{drawn} images: {names or 'nothing found'}")
    out.print(str(folder), soft_wrap=True)


def _images(
    source: Path, options: RecordingOptions
) -> tuple[Iterator[tuple[str, np.ndarray]], int | None]:
    """(name, image (H, W, 3) uint8 RGB) of a bag or a folder, and how many there may be."""
    from spatial3d_ros.bags.frame_names import read_frame_names
    from spatial3d_ros.bags.reader import BagFrames

    if source.is_dir() and not (source / "metadata.yaml").exists():
        return _of_folder(source)
    recording = BagFrames(source, options)
    names = {stamp: name for name, stamp in read_frame_names(source).items()}
    frames = (frame for _, frame in recording)
    return ((names.get(f.stamp_ns, str(f.stamp_ns)), f.rgb) for f in frames), recording.color_count


def _of_folder(source: Path) -> tuple[Iterator[tuple[str, np.ndarray]], int | None]:
    import cv2

    from spatial3d_ros.bags.folder_files import IMAGE_SUFFIXES, natural, read_image
    from spatial3d_ros.bags.folder_layouts import COLOR_FOLDERS

    places = [source, *(source / name for name in COLOR_FOLDERS)]
    files = [
        file
        for place in places
        if place.is_dir()
        for file in sorted(place.iterdir(), key=natural)
        if file.suffix.lower() in IMAGE_SUFFIXES and "depth" not in file.stem
    ]
    if not files:
        raise BagError(f"{source}: no images there, nor in {', '.join(COLOR_FOLDERS)}")
    read = (
        (file.stem, cv2.cvtColor(read_image(file, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB))
        for file in files
    )
    return read, len(files)
