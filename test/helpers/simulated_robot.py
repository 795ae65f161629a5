"""A robot that drives past a frame pipeline, with messages that need no ROS."""

from __future__ import annotations

from functools import partial

import numpy as np

from helpers import messages
from spatial3d_ros.errors import FrameError
from spatial3d_ros.sensors.camera_poses import TopicPoses
from spatial3d_ros.sensors.frame_builder import FrameBuilder, Topics
from spatial3d_ros.sensors.frame_pipeline import FramePipeline, KeyframeGate, Problem, Rewind
from spatial3d_ros.sensors.synchronizer import SECOND, Synchronizer

TOPICS = Topics("/rgb/image", "/depth/image", "/rgb/camera_info", "/pose")
EPOCH = 1_700_000_000 * SECOND
MS = 1_000_000
COLOR = np.arange(6 * 8 * 3, dtype=np.uint8).reshape(6, 8, 3)
DEPTH = np.full((6, 8), 1500, dtype=np.uint16)


class Robot:
    """A pipeline, and a robot that drives along x at 0.3 m/s.

    `run` decodes a selected frame: at once, or later where a test passes a queue's append.
    """

    def __init__(self, *, source="pose", keyframe=True, info=None, run=None, poses=None, **images):
        self.frames, self.problems, self.rewinds = [], [], 0
        self.keyframe = keyframe
        self.run = run or (lambda work: work())
        self.pipeline = FramePipeline(
            FrameBuilder(TOPICS, **images),
            Synchronizer(),
            poses or TopicPoses(TOPICS.pose, source),
            KeyframeGate(),
        )
        if info is not False:
            self.pipeline.add_camera_info(info or messages.camera_info())

    def handle(self, items):
        for item in items:
            if isinstance(item, Problem):
                self.problems.append(str(item))
            elif isinstance(item, Rewind):
                self.run(self.rewind)
            elif item.selected:
                self.run(partial(self.decode, item))

    def decode(self, synced):
        keyframe, unusable = False, None
        try:
            self.add_frame(self.pipeline.decode(synced))
            keyframe = self.keyframe
        except FrameError as error:
            unusable = error
        finally:
            problem = self.pipeline.finish(synced, keyframe=keyframe, error=unusable)
        if problem:
            self.problems.append(str(problem))

    def add_frame(self, frame):
        self.frames.append(frame)

    def rewind(self):
        self.rewinds += 1

    def add_pose(self, message):
        self.handle(self.pipeline.add_pose(message))

    def add_color(self, message):
        self.handle(self.pipeline.add_color(message))

    def add_depth(self, message):
        self.handle(self.pipeline.add_depth(message))

    def pose(self, milliseconds, **options):
        x = 0.3 * milliseconds / 1000
        self.add_pose(messages.pose_stamped(EPOCH + milliseconds * MS, (x, 0, 0), **options))

    def images(self, milliseconds, color=None, depth=None):
        at = EPOCH + milliseconds * MS
        self.add_color(color or messages.image(COLOR, "rgb8", at=at))
        self.add_depth(depth or messages.image(DEPTH, "16UC1", at=at))

    def drive(self, start, end):
        for milliseconds in range(start, end, 33):
            self.pose(milliseconds - 10)
            self.images(milliseconds)
            self.pose(milliseconds + 10)
