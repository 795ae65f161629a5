"""`spatial3d check`: what a recording holds, whether it can be used, and how."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE
from rich.table import Table

from spatial3d_ros.bags.options import RecordingOptions
from spatial3d_ros.cli.output import out, print_json, print_whole, progress_bar
from spatial3d_ros.cli.topics import reads_recording

if TYPE_CHECKING:
    from spatial3d_ros.bags.check import BagReport
    from spatial3d_ros.recognition.frame_labels import FrameLabels


@reads_recording
def check(
    bag: Annotated[Path, typer.Argument(help="A bag folder, .mcap, .db3, or .bag of ROS 1.")],
    seconds: Annotated[float, typer.Option(help="Check this much of it, from its start.")] = 60.0,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    *,
    options: RecordingOptions,
) -> None:
    """Check a recording without ROS: topics, rates, sync, poses, depth, and the launch line.

    Frames are made as the node makes them, so what is wrong with the recording shows here. Exit
    code 1 if no frame can be made, over 20 % are lost, or the geometry is wrong.

    spatial3d check drive.mcap

    spatial3d check drive.mcap --pose /odom --depth /cam/depth/image --json
    """
    from spatial3d_ros.bags.check import check_bag

    with progress_bar("frames") as progress:
        report = check_bag(bag, options, seconds=seconds, progress=progress)
    labels = _labels(bag, options, seconds) if report.frames.get("made") else None
    if json:
        found = {} if labels is None else {"labels": dict(labels.counts | labels.names)}
        print_json(report.plain() | found)
    else:
        _show(report)
        if labels is not None:
            names = ", ".join(f"{count} {name}" for name, count in labels.names.most_common())
            out.print(f"{labels}: {names or 'none'}", soft_wrap=True, highlight=False, markup=False)
    if not report.usable:
        raise typer.Exit(1)


def _labels(bag: Path, options: RecordingOptions, seconds: float) -> FrameLabels | None:
    """What the recogniser or the file finds; None without either."""
    if not (options.recogniser or options.detections):
        return None
    from spatial3d_ros.bags.reader import BagFrames
    from spatial3d_ros.recognition.frame_labels import FrameLabels

    recording = BagFrames(bag, options, seconds=seconds)
    labels = FrameLabels.of_recording(recording)
    with progress_bar("labels") as progress:
        for done, (_, frame) in enumerate(recording, 1):
            labels.count(frame)
            progress(done, recording.color_count)
    return labels


def _show(report: BagReport) -> None:
    roles = {topic: role for role, topic in report.roles.items()}
    table = Table("", "topic", "type", "messages", "Hz", "frame", "encoding", "size", box=SIMPLE)
    table.title, table.title_justify = f"{report.bag}, {report.duration_s:.1f} s", "left"
    for row in report.topics:
        table.add_row(
            roles.get(row["name"], ""), row["name"], row["type"].replace("/msg/", "/"),
            str(row["count"]), f"{row['hz']:.1f}",
            row.get("frame_id", ""), row.get("encoding", ""), row.get("size", ""),
        )  # fmt: skip
    print_whole(table)
    for line in _lines(report):
        out.print(line, soft_wrap=True, highlight=False, markup=False)
    for style, texts in (("red", report.problems), ("yellow", report.notes)):
        for text in texts:
            out.print(f"- {text}", style=style, soft_wrap=True, highlight=False, markup=False)
    for line in (report.ask, report.launch):
        if line:
            out.print(f"\n{line}", soft_wrap=True, highlight=False, markup=False)


def _lines(report: BagReport) -> list[str]:
    """A line for each part of the report that was found."""
    lines = []
    if report.sync:
        apart = report.sync["apart_ms"]
        lines.append(
            f"sync    {report.sync['paired']:.0%} of the colour images have depth within "
            f"{report.sync['slop_s'] * 1e3:.0f} ms; median {apart['median']} ms, "
            f"95 % within {apart['p95']} ms"
        )
    if report.poses:
        rate = f"{report.poses['hz']:.1f} Hz" if "hz" in report.poses else "one only"
        lines.append(
            f"poses   {report.poses['source']} in frame {report.poses['frame_id']!r}, {rate}, "
            f"longest gap {report.poses.get('longest_gap_s', 0.0):.2f} s"
        )
    lines += [f"TF      {link}" for link in report.tf]
    if "median_m" in report.depth:
        lines.append(
            f"depth   median {report.depth['median_m']:.2f} m, {report.depth['valid']:.0%} valid, "
            f"{report.depth['encoding']}, aligned: {report.depth['aligned']}"
        )
    if report.frames:
        left_out = ", ".join(f"{n} {why}" for why, n in report.frames["left_out"].items())
        found = report.frames["found"]
        lines.append(
            f"frames  {report.frames['made']} of {found} used; left out: {left_out or 'none'}"
        )
    return lines
