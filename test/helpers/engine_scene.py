"""Frames, proposals and a filled engine for tests of the engine and of tasks."""

from dataclasses import replace

import numpy as np

from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.geometry.camera import Camera
from spatial3d_ros.geometry.pose import look_at
from spatial3d_ros.scene.frame import Frame
from spatial3d_ros.scene.proposals import Proposal


def wall_frame(number):
    """A flat wall two metres ahead, seen from a place that moves with the number."""
    rng = np.random.default_rng(number)
    return Frame(
        stamp_ns=number * 10**9,
        rgb=rng.integers(0, 255, (48, 64, 3), dtype=np.uint8),
        depth=np.full((48, 64), 2.0, np.float32),
        camera=Camera(64, 48, 60.0, 60.0, 31.5, 23.5),
        world_T_camera=look_at((0.3 * number, 0.0, 1.0), (0.3 * number, 3.0, 1.0)),
    )


def proposals_in_a_row(count=3):
    point = np.zeros((1, 3), np.float32)
    return [
        Proposal(Box3D((0.5 * i, 2.0, 1.0), (0.4, 0.4, 0.4)), point, (200.0, 30, 30), 2, 0.9)
        for i in range(count)
    ]


def with_scene(engine, views=3, objects=3):
    for number in range(1, views + 1):
        assert engine.add_frame(wall_frame(number)).keyframe
    engine.refresh(proposals_in_a_row(objects))
    return engine


def labelled(engine, *names):
    """The objects of the map called "red chair", "brown table", ..., in order, each for certain."""
    scene = engine._memory._scene
    objects = [
        replace(known, color=name.split()[0], label=name.split()[1], labels=(), colors=())
        for known, name in zip(scene.objects, names, strict=True)
    ]
    engine._memory._scene = replace(scene, objects=tuple(objects))
    return engine
