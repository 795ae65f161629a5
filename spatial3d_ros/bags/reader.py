"""The frames of a recording, by the pipeline of the node: `BagFrames` and `read_bag`.

It is read frame by frame, so memory stays bounded however long the recording is.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from spatial3d_ros.bags.bag import Bag, bag_topics, check_clock, stamp_ns
from spatial3d_ros.bags.poses import RecordedPoses, read_transforms
from spatial3d_ros.bags.topics import IMAGE_TYPES, Topics, choose_topics
from spatial3d_ros.errors import BagError, FrameError
from spatial3d_ros.scene.frame import Frame
from spatial3d_ros.sensors import frame_builder
from spatial3d_ros.sensors.frame_builder import FrameBuilder, SyncedFrame
from spatial3d_ros.sensors.frame_pipeline import FramePipeline, Item, Problem
from spatial3d_ros.sensors.synchronizer import Synchronizer

MAX_PROBLEMS = 5  # of one reason; further ones are only counted


def find_topics(path: str | Path, topics: Topics | None = None, **named: str) -> Topics:
    """The four topics of a bag: those given, checked, or chosen by types and names.

    `topics` gives all, `named` some of them (`depth="/cam/depth"`). Raises BagError that lists the
    topics of the bag when one is missing, empty or ambiguous.
    """
    present = {topic: kind for topic, (kind, count) in bag_topics(path).items() if count}
    if not present:
        raise BagError(f"{path}: the bag holds no messages")
    return choose_topics(path, present, (vars(topics) if topics else {}) | named)


class BagFrames:
    """The frames of a recording in time order, each with its seconds since the bag began.

    The node's own `FramePipeline` makes them: a bag gives the same frames on disk as on the wire.
    Pairs further apart than `slop_s` and images outside the poses are left out and counted in
    `left_out`. Poses must be in `world_frame`, or may be in any frame when it is empty; `frame_id`
    is the one found.

    Frames and poses that cannot be used are left out as in the node, and `problems` says why;
    `strict` raises the FrameError instead. Frames end `seconds` after the bag began. Always raises
    BagError: missing, damaged, lacking a topic, stamps that start again, or without one usable
    frame.
    """

    def __init__(
        self,
        path: str | Path,
        topics: Topics | None = None,
        *,
        slop_s: float = 0.02,
        max_pose_gap_s: float = 0.5,
        world_frame: str = "",
        strict: bool = False,
        seconds: float = math.inf,
    ) -> None:
        self.path = Path(path)
        self.topics = find_topics(path, topics)
        self.seconds = seconds
        self.slop_s = slop_s
        self.max_pose_gap_s = max_pose_gap_s
        self.strict = strict
        self.frame_id = world_frame
        self.left_out: Counter[str] = Counter()
        self.problems: list[str] = []

    @cached_property
    def color_count(self) -> int:
        """Colour images in the bag: at most so many frames."""
        return bag_topics(self.path)[self.topics.rgb][1]

    def __iter__(self) -> Iterator[tuple[float, Frame]]:
        found = False
        self.left_out.clear()
        self.problems.clear()
        with Bag(self.path) as bag:
            pipeline = self._pipeline(bag)
            for recorded_ns, item in self._items(bag, pipeline):
                if isinstance(item, Problem) and item.reason != "jump":
                    self._leave_out(item.reason, f"{item.reason}: {item}")
                if not isinstance(item, SyncedFrame):
                    continue
                try:
                    frame = pipeline.decode(item)
                except FrameError as error:
                    self._refuse("unusable", error)
                    continue
                found = True
                yield round((recorded_ns - bag.start_ns) * 1e-9, 9), frame
            del pipeline.sync.counts["matched"]
            self.left_out.update(+pipeline.sync.counts)  # those that are more than none
        if not found:
            self._raise_no_frame()

    def _pipeline(self, bag: Bag) -> FramePipeline:
        """The pipeline of an open bag, with its calibration and all its poses."""
        topics = self.topics
        kinds = {topic: kind for topic, (kind, _) in bag.topics.items()}
        color = bag.first(topics.rgb)
        poses = RecordedPoses(
            bag, topics, color.header.frame_id, self.frame_id, self.max_pose_gap_s,
            refuse=partial(self._refuse, "unusable pose"),
        )  # fmt: skip
        self.frame_id = poses.frame_id
        builder = FrameBuilder(
            frame_builder.Topics(
                topics.rgb,
                topics.depth,
                topics.camera_info,
                topics.pose,
                topics.depth_info or "the camera_info next to it",
            ),
            "raw" if kinds[topics.rgb] == IMAGE_TYPES[0] else "compressed",
            "raw" if kinds[topics.depth] == IMAGE_TYPES[0] else "compressedDepth",
            extrinsics=self._extrinsics(bag, color),
        )
        pipeline = FramePipeline(builder, Synchronizer(self.slop_s), poses, None)
        pipeline.add_camera_info(bag.first(topics.camera_info))
        if topics.depth_info:
            pipeline.add_depth_info(bag.first(topics.depth_info))
        return pipeline

    def _extrinsics(self, bag: Bag, color: Any) -> frame_builder.Extrinsics:
        """The transforms of the bag, read only where depth is in another frame."""
        depth = bag.first(self.topics.depth)
        if depth.header.frame_id == color.header.frame_id:
            return frame_builder.no_extrinsics
        return read_transforms(bag, self.max_pose_gap_s).latest

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

    def _refuse(self, reason: str, error: FrameError) -> None:
        if self.strict:
            raise error
        self._leave_out(reason, str(error))

    def _leave_out(self, reason: str, problem: str) -> None:
        self.left_out[reason] += 1
        if self.left_out[reason] <= MAX_PROBLEMS:
            self.problems.append(problem)

    def _raise_no_frame(self) -> None:
        topics = self.topics
        reason = f" First problem: {self.problems[0]}" if self.problems else ""
        raise BagError(
            f"{self.path}: no frame: colour ({topics.rgb}) and depth ({topics.depth}) never come "
            f"within {self.slop_s * 1e3:.0f} ms of each other with a pose ({topics.pose}) around "
            f"them.{reason}"
        )


def read_bag(
    path: str | Path,
    topics: Topics | None = None,
    *,
    slop_s: float = 0.02,
    max_pose_gap_s: float = 0.5,
) -> Iterator[Frame]:
    """The frames of `BagFrames` alone; one that cannot be used raises FrameError."""
    frames = BagFrames(path, topics, slop_s=slop_s, max_pose_gap_s=max_pose_gap_s, strict=True)
    return (frame for _, frame in frames)
