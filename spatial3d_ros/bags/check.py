"""What a recording holds, and whether frames can be made of it: the report of `spatial3d check`.

The frames are those of `BagFrames`: the same that the engine and the node get.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from spatial3d_ros.bags.bag import Bag
from spatial3d_ros.bags.launch_line import launch_line
from spatial3d_ros.bags.options import RecordingOptions, contents
from spatial3d_ros.bags.poses import read_transforms
from spatial3d_ros.bags.reader import DEFAULTS, BagFrames
from spatial3d_ros.bags.topics import (
    IMAGE_TYPES,
    INFO_TYPE,
    ODOMETRY_TYPE,
    TF_TYPE,
    Topics,
    topics_by_role,
)
from spatial3d_ros.errors import FrameError, Spatial3DError
from spatial3d_ros.sensors.accounting import MAX_LOST
from spatial3d_ros.sensors.plausibility import median_depth
from spatial3d_ros.sensors.transforms import TransformTree

FEW = 0.9  # a smaller share of pairs is a problem
DECODED = 120  # frames that are decoded; of the others damage and empty depth are seen without
LOW_VALID = 0.3  # a smaller share of pixels with a depth is a note
SHORT_S = 1e-3  # a recording shorter than that has equal times of recording, and no rates
CLOCKS_S = 1.0  # stamps further from the time of recording are of another clock

Progress = Callable[[int, int], None]


@dataclass
class BagReport:
    """Plain data, in the order of the printed report.

    `problems` prevent frames or cost some; `notes` are for information. `launch` is the command
    that runs the nodes on this recording, "" if there is none.
    """

    bag: str
    duration_s: float
    topics: list[dict[str, Any]]
    roles: dict[str, str] = field(default_factory=dict)
    sync: dict[str, Any] = field(default_factory=dict)
    poses: dict[str, Any] = field(default_factory=dict)
    tf: list[str] = field(default_factory=list)
    depth: dict[str, Any] = field(default_factory=dict)
    frames: dict[str, Any] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    ask: str = ""
    launch: str = ""
    sound: bool = True

    @property
    def usable(self) -> bool:
        """Whether frames could be made, few were lost, and their geometry is right."""
        return bool(self.frames.get("made")) and self.sound

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        data = asdict(self)
        del data["sound"]
        return {"usable": self.usable, **data}


def check_bag(
    path: str | Path,
    options: RecordingOptions = DEFAULTS,
    *,
    seconds: float = 60.0,
    progress: Progress = lambda done, total: None,
) -> BagReport:
    """Check the first `seconds` of a recording.

    Raises BagError when the file cannot be opened as a bag; all else becomes a problem.
    """
    with Bag(path) as bag:
        duration_s = bag.duration_s
        tree = read_transforms(bag)
        report = BagReport(str(path), round(duration_s, 3), _topics(bag), tf=tree.links())
        present, encodings = contents(bag)
        report.roles, missing = topics_by_role(path, present, options.given(), encodings)
        report.problems += [_unnamed(path, error) for error in missing]
        stamps = _stamps(bag, [*report.roles.values()], seconds)
        if {"rgb", "depth"} <= set(report.roles):
            _check_sync(report, stamps, options.sync_slop_s)
        if bag.is_ros1:
            report.notes.append(
                "a bag of ROS 1: `spatial3d ask` and `evaluate` read it as it is; for the nodes "
                "convert it (`pip install rosbags`, then rosbags-convert)"
            )
    if missing:
        return report
    topics = Topics(**report.roles)
    made = _check_frames(report, options.with_topics(topics), seconds, progress)
    _check_alignment(report, topics)
    _check_poses(report, topics, tree, stamps[topics.pose], stamps[topics.rgb], made)
    if report.usable:
        report.ask = f'spatial3d ask {path} "where is the ..." {options.command_line()}'.strip()
        if not bag.is_ros1:
            report.launch = launch_line(path, topics, report.poses, report.tf)
            if options.depth_unit:
                report.launch += f" depth_unit:={options.depth_unit:g}"
    return report


def _topics(bag: Bag) -> list[dict[str, Any]]:
    """Name, type, number and rate of all topics; of images also encoding, size and frame."""
    rows = []
    for name, (kind, count) in bag.topics.items():
        hz = (count - 1) / bag.duration_s if bag.duration_s > SHORT_S and count > 1 else 0.0
        row: dict[str, Any] = {"name": name, "type": kind, "count": count, "hz": round(hz, 2)}
        if count and kind in (*IMAGE_TYPES, INFO_TYPE):
            first = bag.first(name)
            row["frame_id"] = first.header.frame_id
            row["encoding"] = getattr(first, "encoding", getattr(first, "format", ""))
            if hasattr(first, "width"):
                row["size"] = f"{first.width}x{first.height}"
        rows.append(row)
    return rows


def _stamps(bag: Bag, names: list[str], seconds: float) -> dict[str, np.ndarray]:
    """Of each topic (stamp in ns, time of recording in ns) of its messages, (N, 2) int64."""
    found: dict[str, list[tuple[int, int]]] = {name: [] for name in names}
    for name, recorded, stamps in bag.stamps(*names):
        if recorded - bag.start_ns > seconds * 1e9:
            break
        found[name] += [(stamp, recorded) for stamp in stamps]
    return {name: np.array(pairs, np.int64).reshape(-1, 2) for name, pairs in found.items()}


def _check_sync(report: BagReport, stamps: dict[str, np.ndarray], slop_s: float) -> None:
    """How far the nearest depth image is from each colour image."""
    color, depth = (np.unique(stamps[report.roles[role]][:, 0]) for role in ("rgb", "depth"))
    for role in ("rgb", "depth"):
        seen = stamps[report.roles[role]]
        if len(seen) and not seen[:, 0].any():
            report.problems.append(f"{report.roles[role]}: header.stamp is 0 in every message")
            return
    if not len(color) or not len(depth):
        return
    after = np.clip(np.searchsorted(depth, color), 1, max(1, len(depth) - 1))
    near = depth[np.clip(np.stack([after - 1, after]), 0, len(depth) - 1)]
    apart = np.abs(near - color).min(0) * 1e-9
    share = float((apart <= slop_s).mean())
    report.sync = {
        "slop_s": slop_s,
        "paired": round(share, 4),
        "apart_ms": {
            "median": round(float(np.median(apart)) * 1e3, 2),
            "p95": round(float(np.percentile(apart, 95)) * 1e3, 2),
        },
        "clock_offset_s": round(_clock_offset(stamps[report.roles["rgb"]]), 3),
    }
    if share < FEW:
        enough = float(np.percentile(apart, 95))
        report.problems.append(
            f"only {share:.0%} of the colour images have a depth image within {slop_s * 1e3:.0f} "
            f"ms, the parameter sync_slop_s; 95 % have one within {enough * 1e3:.0f} ms"
            + (f": set sync_slop_s to {math.ceil(enough * 1e3) / 1e3:g}" if enough < 0.2 else "")
        )


def _clock_offset(stamps: np.ndarray) -> float:
    """Seconds by which stamps lie before the time of recording."""
    return float(np.median(stamps[:, 1] - stamps[:, 0])) * 1e-9


def _check_frames(
    report: BagReport, options: RecordingOptions, seconds: float, progress: Progress
) -> BagFrames:
    """Make the frames, as the engine would."""
    frames = BagFrames(report.bag, options, seconds=seconds, max_decoded=DECODED)
    medians, valid, sizes = [], [], set()
    try:
        for count, (_, frame) in enumerate(frames, 1):
            medians.append(median_depth(frame))
            valid.append(frame.valid_fraction)
            sizes.add((frame.camera.width, frame.camera.height))
            progress(count * frames.step, frames.color_count)
    except Spatial3DError as error:
        report.problems.insert(0, _unnamed(report.bag, error))
        report.sound = False
    account = frames.account
    report.frames = {
        "made": account.used if medians else 0,
        "left_out": dict(frames.left_out),
        **account.as_dict(),
    }
    if account.is_incomplete:
        report.problems.append(f"only {account}: at most {MAX_LOST:.0%} may be lost")
        report.sound = False
    report.problems += [
        problem for problem in frames.problems if not any(problem in p for p in report.problems)
    ]
    for finding in frames.findings:
        if any(finding.text in problem for problem in report.problems):
            continue
        (report.problems if finding.fatal else report.notes).append(finding.text)
        report.sound &= not finding.fatal
    report.notes += frames.notes
    if len(sizes) > 1:
        report.notes.append(f"the images change their size: {sorted(sizes)}")
    if medians:
        share = float(np.mean(valid))
        report.depth = {"median_m": round(float(np.median(medians)), 3), "valid": round(share, 4)}
        if share < LOW_VALID:
            report.notes.append(
                f"only {share:.0%} of the depth pixels hold a depth: glass, sun, or a range too far"
            )
    return frames


def _check_alignment(report: BagReport, topics: Topics) -> None:
    """Whether depth is in the pixels of colour, by frames and sizes."""
    by_name = {row["name"]: row for row in report.topics}
    color, depth = by_name[topics.rgb], by_name[topics.depth]
    sizes = {row["size"] for row in (color, depth) if "size" in row}
    same = color["frame_id"] == depth["frame_id"] and len(sizes) < 2
    aligned = "yes" if same else "by us" if report.usable else "no"
    report.depth |= {"aligned": aligned, "encoding": depth["encoding"]}
    if aligned == "by us":
        report.notes.append(
            f"{topics.depth} is {depth.get('size', '')} in frame {depth['frame_id']!r}, "
            f"{topics.rgb} is {color.get('size', '')} in {color['frame_id']!r}: depth is "
            "registered to colour here; a camera driver that does it saves that time"
        )


def _check_poses(
    report: BagReport,
    topics: Topics,
    tree: TransformTree,
    stamps: np.ndarray,
    color: np.ndarray,
    made: BagFrames,
) -> None:
    """Where poses come from, how often, and what the node needs to know to use them."""
    kind = next(row["type"] for row in report.topics if row["name"] == topics.pose)
    camera = next(row["frame_id"] for row in report.topics if row["name"] == topics.rgb)
    source = "tf" if kind == TF_TYPE else "odom" if kind == ODOMETRY_TYPE else "pose"
    report.poses = {"source": source, "frame_id": made.frame_id, "camera_frame": camera}
    if source == "tf":
        _check_tree(report, tree)
    else:
        steps = np.diff(np.unique(stamps[:, 0])) * 1e-9
        if len(steps):
            report.poses |= _rate(1 / float(steps.mean()), float(steps.max()))
    if len(stamps) and len(color) and stamps[:, 0].all() and color[:, 0].all():
        taken, recorded = np.median(stamps, 0) - np.median(color, 0)
        apart = float(recorded - taken) * 1e-9
        if abs(apart) > CLOCKS_S and abs(recorded) > abs(taken):
            report.notes.append(
                f"poses were recorded {apart:+.1f} s after images of the same stamp; the node "
                "waits max_pose_wait_s for them"
            )
        elif abs(apart) > CLOCKS_S:
            report.problems.insert(
                0,
                f"poses and images are stamped by clocks {abs(apart):.1f} s apart: synchronise "
                "the two computers (chrony), or correct the stamps",
            )
    if source == "odom":
        with Bag(report.bag) as bag:
            first = bag.first(topics.pose)
        child = first.child_frame_id
        report.poses |= {"frame_id": first.header.frame_id, "child_frame_id": child}
        if child and camera and child != camera:
            _check_extrinsics(report, tree, child, camera)


def _check_tree(report: BagReport, tree: TransformTree) -> None:
    """The slowest link between world and camera, and whether any link moves at all."""
    world, camera = report.poses["frame_id"], report.poses["camera_frame"]
    try:
        chain = tree.chain(world, camera)
    except FrameError:
        return  # reported already, as there are no frames
    held = chain.correction  # one that is slow is held, and does not limit the rate
    moving = chain.moving
    if held is not None and held.track.longest_gap_s * 1e9 > held.track.max_gap:
        moving = [track for track in moving if track is not held.track]
    if moving:
        gap = max(track.longest_gap_s for track in moving)
        report.poses |= _rate(min(track.hz for track in moving), gap)
        return
    report.problems.append(
        f"TF: the camera never moves in frame {world!r}, the topmost above it: the link from the "
        f"robot to the camera is missing (roots of the tree: {', '.join(tree.roots())})"
    )


def _rate(hz: float, longest_gap_s: float) -> dict[str, float]:
    return {"hz": round(hz, 2), "longest_gap_s": round(longest_gap_s, 3)}


def _check_extrinsics(report: BagReport, tree: TransformTree, child: str, camera: str) -> None:
    """An Odometry is the pose of the base: whether the camera's pose in it is known."""
    world = report.poses["frame_id"]
    try:
        tree.chain(world, camera)
    except FrameError:
        report.notes.append(
            f"the odometry is that of {child!r}, not of the camera: the node needs the pose of "
            f"{camera!r} in {child!r} as the parameter base_T_camera"
        )
    else:
        report.poses["source"] = "tf"
        report.notes.append(
            f"the odometry is that of {child!r}; TF links {world!r} with the camera, so the node "
            "can take poses from there"
        )


def _unnamed(path: str | Path, error: Exception) -> str:
    """An error's text without the file and the list of its topics, which the report gives once."""
    return str(error).removeprefix(f"{path}: ").partition("; the bag has ")[0]
