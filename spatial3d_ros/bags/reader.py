"""The frames of a recording, by the pipeline of the node: `BagFrames` and `read_bag`.

It is read frame by frame, so memory stays bounded however long the recording is.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

from spatial3d_ros.bags.bag import Bag, bag_topics, check_clock, stamp_ns
from spatial3d_ros.bags.options import RecordingOptions
from spatial3d_ros.bags.poses import RecordedPoses, read_transforms
from spatial3d_ros.bags.topics import IMAGE_TYPES, Topics
from spatial3d_ros.errors import BagError, FrameError
from spatial3d_ros.geometry.camera import Camera
from spatial3d_ros.scene.frame import Frame
from spatial3d_ros.sensors import frame_builder
from spatial3d_ros.sensors.accounting import FrameAccount
from spatial3d_ros.sensors.frame_builder import FrameBuilder, SyncedFrame
from spatial3d_ros.sensors.frame_pipeline import (
    JUMP,
    RESTART,
    UNUSABLE_POSE,
    FramePipeline,
    Item,
    Problem,
)
from spatial3d_ros.sensors.image_decoding import MILLIMETRES
from spatial3d_ros.sensors.plausibility import MAX_VIEWS, Finding, check_views
from spatial3d_ros.sensors.synchronizer import DEFAULT_QUEUE_SIZE, Synchronizer

DEFAULTS = RecordingOptions()
QUEUE_SIZE = 150  # images of a stream that wait for the other: 5 s of a 30 Hz camera
MAX_PROBLEMS = 2  # of one reason; further ones are only counted


def find_topics(path: str | Path, topics: Topics | None = None, **named: str) -> Topics:
    """The four topics of a bag: those given, checked, or chosen by types, names and encodings.

    `topics` gives all, `named` some of them (`depth="/cam/depth"`). Raises BagError that lists the
    topics of the bag when one is missing, empty or ambiguous.
    """
    return RecordingOptions(**((asdict(topics) if topics else {}) | named)).topics(path)


class BagFrames:
    """The frames of a recording in time order, each with its seconds since the bag began.

    The node's own `FramePipeline` makes them: a bag gives the same frames on disk as on the wire.
    Images without partner or pose, and those that cannot be used, are left out: `left_out` counts
    them by reason, `account` sums them up, and `problems` says why. Poses must be in
    `world_frame`, or may be in any frame when it is empty; `frame_id` is the one found. `notes`
    are decisions that were made for the user.

    Frames end `seconds` after the bag began. With `max_decoded` only about so many, spread evenly,
    are decoded and yielded; the others are inspected and counted.

    Raises BagError: missing, damaged, lacking a topic, stamps that start again, depth that looks
    like another unit than it has, or without one usable frame.
    """

    def __init__(
        self,
        path: str | Path,
        options: RecordingOptions = DEFAULTS,
        *,
        world_frame: str = "",
        seconds: float = math.inf,
        max_decoded: float = math.inf,
    ) -> None:
        self.path = Path(path)
        self.options = options
        self.topics = options.topics(path)
        self.seconds = seconds
        self.max_decoded = max_decoded
        self.step = 1
        self.frame_id = world_frame
        self.account = FrameAccount()
        self.left_out: Counter[str] = Counter()
        self.problems: list[str] = []
        self.notes: list[str] = []
        self.findings: list[Finding] = []

    @cached_property
    def camera(self) -> Camera:
        """The colour camera with its distortion, as recorded. Raises BagError or FrameError."""
        with Bag(self.path) as bag:
            return self._builder(bag).camera(
                bag.first(self.topics.camera_info), self.topics.camera_info
            )

    @cached_property
    def color_count(self) -> int:
        """Colour images in the bag: at most so many frames."""
        return bag_topics(self.path)[self.topics.rgb][1]

    def __iter__(self) -> Iterator[tuple[float, Frame]]:
        found = False
        self.left_out.clear()
        self.problems.clear()
        self.notes.clear()
        self.findings.clear()
        sample = _Sample()
        number = 0
        with Bag(self.path) as bag:
            pipeline = self._pipeline(bag)
            self.step = self._decoding_step(bag)
            for recorded_ns, item in self._items(bag, pipeline):
                if isinstance(item, Problem) and item.reason not in (JUMP, RESTART):
                    self._leave_out(item.reason, f"{item.reason}: {item}")
                if not isinstance(item, SyncedFrame):
                    continue
                number += 1
                try:
                    if (number - 1) % self.step:
                        pipeline.inspect(item)
                        continue
                    frame = pipeline.decode(item)
                except FrameError as error:
                    problem = pipeline.finish(item, error=error)
                    self._leave_out(getattr(problem, "reason", ""), str(error))
                    continue
                found = True
                sample.add(frame)
                self.account = pipeline.account
                yield round((recorded_ns - bag.start_ns) * 1e-9, 9), frame
            self.account = pipeline.account
            sync = pipeline.sync
            self.left_out.update({k: n for k, n in sync.counts.items() if n and k != "matched"})
            self._note_queue(sync)
            if held := pipeline.poses.held:
                self.notes.append(held)
        if not found:
            self._raise_no_frame()
        self._check_views(sample.frames)

    def _decoding_step(self, bag: Bag) -> int:
        """Every how many-th frame is decoded."""
        share = min(1.0, self.seconds / bag.duration_s) if bag.duration_s else 1.0
        return max(1, math.ceil(self.color_count * share / self.max_decoded))

    def _check_views(self, frames: list[Frame]) -> None:
        """Fill `findings`. Raises BagError for another unit of depth than the one used."""
        unit = self.options.depth_unit
        self.findings = check_views(
            frames, self._camera_frame, unit or self._encoding_unit, unit_given=bool(unit)
        )
        wrong = next(
            (finding for finding in self.findings if finding.kind in ("unit", "range")), None
        )
        if wrong is not None:
            raise BagError(f"{self.path}: {self.topics.depth}: {wrong.text} (--depth-unit)")

    def _note_queue(self, sync: Synchronizer) -> None:
        """Whether the node would need a longer queue than it has by default."""
        if sync.longest_queue > DEFAULT_QUEUE_SIZE:
            self.notes.append(
                f"colour and depth of one stamp were recorded up to {sync.longest_queue} images "
                f"apart: for the node set sync_queue_size to {sync.longest_queue + 2}"
            )

    def _pipeline(self, bag: Bag) -> FramePipeline:
        """The pipeline of an open bag, with its calibration and all its poses."""
        topics = self.topics
        color, depth = bag.first(topics.rgb), bag.first(topics.depth)
        self._camera_frame = color.header.frame_id
        encoding = getattr(depth, "encoding", getattr(depth, "format", ""))
        self._encoding_unit = 1.0 if encoding.startswith("32FC1") else MILLIMETRES
        poses = RecordedPoses(
            bag, topics, color.header.frame_id, self.frame_id, self.options.max_pose_gap_s,
            refuse=lambda error: self._leave_out(UNUSABLE_POSE, str(error)),
        )  # fmt: skip
        self.frame_id = poses.frame_id
        builder = self._builder(bag, self._extrinsics(bag, color, depth))
        pipeline = FramePipeline(
            builder, Synchronizer(self.options.sync_slop_s, QUEUE_SIZE), poses, None
        )
        info = bag.first(topics.camera_info)
        pipeline.add_camera_info(info)
        pipeline.counts["pose"] = bag.topics[topics.pose][1]
        if note := builder.rectified_note(info):
            self.notes.append(note)
        if topics.depth_info:
            pipeline.add_depth_info(bag.first(topics.depth_info))
        return pipeline

    def _builder(
        self, bag: Bag, extrinsics: frame_builder.Extrinsics = frame_builder.no_extrinsics
    ) -> FrameBuilder:
        topics = self.topics
        kinds = {topic: kind for topic, (kind, _) in bag.topics.items()}
        return FrameBuilder(
            frame_builder.Topics(
                topics.rgb,
                topics.depth,
                topics.camera_info,
                topics.pose,
                topics.depth_info or "the camera_info next to it",
            ),
            "raw" if kinds[topics.rgb] == IMAGE_TYPES[0] else "compressed",
            "raw" if kinds[topics.depth] == IMAGE_TYPES[0] else "compressedDepth",
            self.options.rectified,
            extrinsics=extrinsics,
            depth_unit=self.options.depth_unit,
        )

    def _extrinsics(self, bag: Bag, color: Any, depth: Any) -> frame_builder.Extrinsics:
        """The transforms of the bag, read only where depth is in another frame."""
        if depth.header.frame_id == color.header.frame_id:
            return frame_builder.no_extrinsics
        return read_transforms(bag, self.options.max_pose_gap_s).latest

    def _items(self, bag: Bag, pipeline: FramePipeline) -> Iterator[tuple[int, Item]]:
        """(when it was ready, item); the clock of the images may not start again."""
        topics = self.topics
        add = {topics.rgb: pipeline.add_color, topics.depth: pipeline.add_depth}
        newest = dict.fromkeys(add, 0)
        for topic, recorded_ns, message in bag.timed(topics.rgb, topics.depth):
            if recorded_ns - bag.start_ns > self.seconds * 1e9:
                break
            stamp = stamp_ns(message)
            check_clock(bag, topic, newest[topic], stamp)
            newest[topic] = max(stamp, newest[topic])
            for item in add[topic](message):
                yield recorded_ns, item

    def _leave_out(self, reason: str, problem: str) -> None:
        self.left_out[reason] += 1
        if self.left_out[reason] <= MAX_PROBLEMS:
            self.problems.append(problem)

    def _raise_no_frame(self) -> None:
        topics = self.topics
        if self.problems:
            reason = f"{self.problems[0]} ({self.account})"
        else:
            reason = (
                f"colour ({topics.rgb}) and depth ({topics.depth}) never come within "
                f"{self.options.sync_slop_s * 1e3:.0f} ms of each other, the sync_slop_s"
            )
        raise BagError(f"{self.path}: no frame: {reason}")


class _Sample:
    """Frames evenly spread over a sequence of unknown length, at most 2 * MAX_VIEWS."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self._step, self._count = 1, 0

    def add(self, frame: Frame) -> None:
        if self._count % self._step == 0:
            self.frames.append(frame)
            if len(self.frames) == 2 * MAX_VIEWS:
                self.frames, self._step = self.frames[::2], 2 * self._step
        self._count += 1


def read_bag(path: str | Path, options: RecordingOptions = DEFAULTS) -> Iterator[Frame]:
    """The frames of `BagFrames` alone."""
    return (frame for _, frame in BagFrames(path, options))
