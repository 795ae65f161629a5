"""The options of every command that reads a recording, declared once."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from spatial3d_ros.bags.options import RecordingOptions
from spatial3d_ros.cli.output import print_error, print_status

if TYPE_CHECKING:
    from spatial3d_ros.bags.reader import BagFrames

SHOWN_PROBLEMS = 3
OPTIONS: dict[str, tuple[Any, Any]] = {
    "camera": (
        Annotated[str, typer.Option(help="Which of several cameras: how its topics begin.")],
        "",
    ),
    "rgb": (Annotated[str, typer.Option(help="Topic of colour images.")], ""),
    "depth": (Annotated[str, typer.Option(help="Topic of depth images.")], ""),
    "camera_info": (Annotated[str, typer.Option(help="Topic of the calibration.")], ""),
    "depth_info": (
        Annotated[str, typer.Option(help="Calibration of depth that is not aligned.")],
        "",
    ),
    "pose": (Annotated[str, typer.Option(help="Topic of PoseStamped, Odometry or TF (/tf).")], ""),
    "depth_unit": (
        Annotated[float, typer.Option(help="Metres of the depth value 1 [16UC1: 0.001].", min=0.0)],
        0.0,
    ),
    "rectified": (
        Annotated[
            bool | None,
            typer.Option(
                "--rectified/--no-rectified", help="Colour is undistorted [by the topic's name]."
            ),
        ],
        None,
    ),
    "sync_slop_s": (
        Annotated[float, typer.Option(help="Colour and depth may be so far apart, seconds.")],
        0.02,
    ),
    "max_pose_gap_s": (
        Annotated[float, typer.Option(help="Longest gap between poses around an image, seconds.")],
        0.5,
    ),
    "recogniser": (
        Annotated[
            list[str] | None,
            typer.Option(help="Folder of a model that labels the images; repeat for more."),
        ],
        None,
    ),
    "detections": (
        Annotated[
            str,
            typer.Option(help="File of detections by frame, or topic of Detection2DArray."),
        ],
        "",
    ),
}


def print_findings(recording: BagFrames) -> None:
    """What is wrong with a recording that was read, on stderr: the cause first."""
    if recording.account.is_incomplete:
        print_error(f"{recording.path}: only {recording.account}")
        for problem in recording.problems[:SHOWN_PROBLEMS]:
            print_status(problem)
    for finding in recording.findings:
        (print_error if finding.fatal else print_status)(f"{recording.path}: {finding.text}")
    for note in recording.notes:
        print_status(note)


def reads_recording(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of a recording; it takes them as `options: RecordingOptions`."""
    return with_options(command, OPTIONS, "options", _recording)


def _recording(**given: Any) -> RecordingOptions:
    given["recogniser"] = tuple(given["recogniser"] or ())
    return RecordingOptions(**given)


def with_options(
    command: Callable[..., Any],
    options: Mapping[str, tuple[Any, Any]],
    name: str,
    build: Callable[..., Any],
) -> Callable[..., Any]:
    """Give a command more options, each its annotation and default; the command takes what `build`
    makes of them as its argument `name`.
    """
    hints = get_type_hints(command, include_extras=True)
    parameters = [
        parameter.replace(annotation=hints[own])
        for own, parameter in inspect.signature(command).parameters.items()
        if own != name
    ]
    parameters += [
        inspect.Parameter(option, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hint)
        for option, (hint, default) in options.items()
    ]

    @wraps(command)
    def wrapped(**values: Any) -> Any:
        given = {option: values.pop(option) for option in options}
        return command(**values, **{name: build(**given)})

    wrapped.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapped.__annotations__ = {p.name: p.annotation for p in parameters}
    return wrapped
