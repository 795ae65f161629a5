"""The file for the Rerun viewer: what stands in it, and what is said without the library."""

from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import pytest

from spatial3d_ros.errors import NotAvailableError
from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.geometry.camera import Camera
from spatial3d_ros.geometry.pose import look_at
from spatial3d_ros.scene.frame import Frame
from spatial3d_ros.scene.objects import SceneObject
from spatial3d_ros.tasks.reply import Reply
from spatial3d_ros.visualization.rerun_sink import ANSWER, CAMERA, OBJECTS, TEXT, RerunSink


def test_without_the_library_the_way_to_it_is_told(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "rerun", None)
    with pytest.raises(NotAvailableError, match=r"pip install 'spatial3d_ros\[rerun\]'"):
        RerunSink(tmp_path / "out.rrd")


def test_frames_objects_and_answers_stand_in_the_file(tmp_path):
    pytest.importorskip("rerun", reason="needs the extra 'rerun'")
    path = tmp_path / "out.rrd"
    rgb, depth = np.zeros((48, 64, 3), np.uint8), np.full((48, 64), 2.0, np.float32)
    pose = look_at((0, 0, 1), (1, 0, 1))
    frame = Frame(10**9, rgb, depth, Camera(64, 48, 60.0, 60.0, 31.5, 23.5), pose)
    box = Box3D((2, 0, 1), (0.5, 0.5, 0.5), 0.3)
    thing = SceneObject(1, box, (0, 0, 0), 0.5, 1, 10**9, np.zeros((1, 3)), "cup", "red")
    sink = RerunSink(path)
    sink.frame(frame)
    sink.objects([thing], 10**9)
    sink.objects([], 2 * 10**9)
    sink.answer("the cup", Reply("The red cup", (box,)), 2 * 10**9)
    sink.close()
    command = [sys.executable, "-m", "rerun", "rrd", "print", str(path)]
    told = subprocess.run(command, capture_output=True, text=True, timeout=120).stdout
    entities = set(re.findall(r" - /([\w/]+) - ", told))
    assert {CAMERA, f"{CAMERA}/rgb", f"{CAMERA}/depth", OBJECTS, ANSWER, TEXT} <= entities
