"""Frames, keyframe selection and the view buffer, also under concurrent load."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest

from spatial3d_ros.errors import ConfigError, FrameError
from spatial3d_ros.geometry.camera import Camera
from spatial3d_ros.geometry.pose import look_at
from spatial3d_ros.scene.buffer import ViewBuffer
from spatial3d_ros.scene.frame import Frame
from spatial3d_ros.scene.keyframes import KeyframeSelector

CAMERA = Camera(64, 48, 52.5, 52.5, 31.5, 23.5)
SECOND = 1_000_000_000


def make_frame(stamp_ns=0, eye=(0.0, 0.0, 1.0), yaw=0.0, metres=2.0, **changes):
    """A frame of a wall `metres` ahead of a camera at `eye` that looks level along `yaw`."""
    target = np.add(eye, (math.cos(yaw), math.sin(yaw), 0))
    fields = {
        "rgb": np.full((48, 64, 3), 127, np.uint8),
        "depth": np.full((48, 64), metres, np.float32),
        "camera": CAMERA,
        "world_T_camera": look_at(eye, target),
    }
    return Frame(stamp_ns, **(fields | changes))


# ---- frames


def test_depth_without_measurement_becomes_zero():
    depth = np.full((48, 64), 2.0)
    depth[0, :6] = np.nan, np.inf, -np.inf, -1, 0, 1e300
    frame = make_frame(depth=depth)
    assert frame.depth.dtype == np.float32
    assert (frame.depth[0, :6] == 0).all()
    assert (frame.depth.ravel()[6:] == 2).all()
    assert frame.valid_fraction == pytest.approx(1 - 6 / (48 * 64))


def test_frame_without_depth_is_valid_with_fraction_zero():
    frame = make_frame(metres=np.nan)
    assert frame.valid_fraction == 0
    assert np.isnan(frame.points_world()).all()
    assert len(frame.voxels(0.1)) == 0


def test_frames_are_read_only_and_own_their_pixels():
    rgb, depth, pose = np.zeros((48, 64, 3), np.uint8), np.ones((48, 64), np.float32), np.eye(4)
    frame = make_frame(rgb=rgb, depth=depth, world_T_camera=pose)
    for mine in (rgb, depth, pose):
        mine[:] = 9
    assert frame.rgb.max() == 0
    assert frame.depth.max() == 1
    np.testing.assert_array_equal(frame.world_T_camera, np.eye(4))
    for array in (frame.rgb, frame.depth, frame.world_T_camera):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
    with pytest.raises(FrozenInstanceError):
        frame.stamp_ns = 3
    assert frame.nbytes == 48 * 64 * (3 + 4)


def test_points_world_lie_on_the_wall():
    frame = make_frame(eye=(1.0, 5.0, 1.2), yaw=math.pi / 2, metres=2.0)
    points = frame.points_world(stride=5)
    assert points.shape == (10, 13, 3)
    assert points.dtype == np.float32
    np.testing.assert_allclose(points[..., 1], 7.0, atol=1e-5)
    assert points[0, 0, 2] > points[-1, 0, 2], "image rows run downwards"
    assert points[0, 0, 0] < points[0, -1, 0], "looking along y, image columns run along x"
    np.testing.assert_allclose(frame.points_world()[::5, ::5], points)


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"rgb": np.zeros((24, 32, 3), np.uint8)}, r"depth: 64 x 48 differs from rgb 32 x 24"),
        ({"rgb": np.zeros((48, 64), np.uint8)}, "rgb: .*uint8"),
        ({"rgb": np.zeros((48, 64, 3), np.float32)}, "rgb: .*float32"),
        ({"rgb": np.zeros((0, 0, 3), np.uint8)}, "rgb: "),
        ({"depth": np.zeros((48, 64), np.uint16)}, "depth: .*uint16.*millimetres"),
        ({"depth": np.zeros((48, 64, 1), np.float32)}, "depth: "),
        ({"camera": CAMERA.scaled(32, 24)}, "camera: made for 32 x 24"),
        (
            {"camera": replace(CAMERA, distortion_model="plumb_bob", distortion=(0.1, 0, 0, 0, 0))},
            "camera: has distortion",
        ),
        ({"world_T_camera": np.full((4, 4), np.nan)}, "world_T_camera: "),
        ({"world_T_camera": np.eye(4) * 2}, "world_T_camera: "),
        ({"world_T_camera": np.eye(3)}, "world_T_camera: "),
        ({"eye": (500_000.0, 4_000_000.0, 0.0)}, "world_T_camera: .*local map frame"),
        ({"stamp_ns": -1}, "stamp_ns: "),
        ({"stamp_ns": 0.5}, "stamp_ns: "),
    ],
)
def test_unusable_frames_name_the_field(changes, names):
    with pytest.raises(FrameError, match=names):
        make_frame(**changes)


# ---- keyframes


def test_keyframes_follow_the_motion():
    selector = KeyframeSelector(min_translation_m=0.15, min_rotation_rad=0.26)
    assert selector.accepts(make_frame())
    assert selector.reason == "first view"
    assert not selector.accepts(make_frame(eye=(0.0, 0.1, 1.0)))
    assert not selector.accepts(make_frame(yaw=0.1))
    assert selector.accepts(make_frame(eye=(0.0, 0.16, 1.0)))
    assert selector.reason.startswith("moved")
    assert selector.accepts(make_frame(eye=(0.0, 0.16, 1.0), yaw=0.3))
    assert selector.reason.startswith("rotated")
    assert not selector.accepts(make_frame(eye=(0.0, 0.16, 1.0), yaw=0.3))


def test_slow_motion_adds_up_to_keyframes():
    selector = KeyframeSelector(min_translation_m=0.15, min_new_voxels=1.1)
    accepted = [selector.accepts(make_frame(eye=(0.0, 0.01 * i, 1.0))) for i in range(100)]
    assert sum(accepted) == pytest.approx(100 / 15, abs=1)


def test_change_in_front_of_a_static_camera_is_a_keyframe():
    selector = KeyframeSelector()
    empty = make_frame(metres=3.0)
    assert selector.accepts(empty)
    depth = empty.depth.copy()
    depth[:, 20:44] = 1.5  # near surfaces fill fewer voxels than pixels
    assert selector.accepts(make_frame(depth=depth))
    assert selector.reason == "new surface in view"
    assert not selector.accepts(make_frame(depth=depth))


@pytest.mark.parametrize("metres", [1.0, 2.0, 3.0, 5.0])
def test_depth_noise_is_no_new_surface(metres):
    rng = np.random.default_rng(0)
    selector = KeyframeSelector()

    def noisy():
        return make_frame(depth=rng.normal(metres, 0.0012 * metres**2, (48, 64)))

    assert selector.accepts(noisy())
    assert not any(selector.accepts(noisy()) for _ in range(20))


def test_views_almost_without_depth_are_never_keyframes():
    selector = KeyframeSelector()
    depth = np.zeros((48, 64), np.float32)
    depth[:2, :64] = 2.0  # 4 %
    assert not selector.accepts(make_frame(depth=depth))
    assert "4% of the pixels" in selector.reason
    depth[:3] = 2.0
    assert selector.accepts(make_frame(depth=depth))
    assert not selector.accepts(make_frame(eye=(5.0, 5.0, 1.0), metres=0.0))


def test_a_reset_selector_starts_over():
    selector = KeyframeSelector()
    assert selector.accepts(make_frame())
    selector.reset()
    assert selector.accepts(make_frame())
    assert selector.reason == "first view"


# ---- buffer


def ids(buffer: ViewBuffer) -> list[int]:
    return [view.id for view in buffer.snapshot().views]


def test_versions_rise_and_snapshots_stay():
    buffer = ViewBuffer()
    empty = buffer.snapshot()
    assert (empty.version, empty.views) == (0, ())
    first, second = make_frame(1), make_frame(2, yaw=1.0)
    assert buffer.add(first) == 1
    before = buffer.snapshot()
    assert before is buffer.snapshot(), "nothing is built when nothing changed"
    assert buffer.add(second) == 2
    assert [view.frame for view in before.views] == [first]
    assert [view.frame for view in buffer.snapshot().views] == [first, second]
    buffer.clear()
    assert (buffer.snapshot().version, buffer.snapshot().views) == (3, ())
    buffer.add(first)
    assert ids(buffer) == [2], "ids are never used twice"


def test_most_redundant_view_is_dropped():
    buffer = ViewBuffer(max_views=3)
    for stamp, yaw in enumerate((0.0, 1.5, 0.0, 3.0)):
        buffer.add(make_frame(stamp, yaw=yaw))
    assert ids(buffer) == [1, 2, 3], "of two equal views the older one goes"
    buffer.add(make_frame(4, yaw=1.5))
    assert ids(buffer) == [2, 3, 4]
    buffer.add(make_frame(5, yaw=1.5, metres=0.0))
    assert ids(buffer)[-1] == 5, "the newest view stays, even if it shows nothing"


def test_a_view_covered_by_two_others_together_is_redundant():
    buffer = ViewBuffer(max_views=3)
    for stamp, yaw in enumerate((-0.3, 0.0, 0.3, 3.0)):
        buffer.add(make_frame(stamp, yaw=yaw))
    assert ids(buffer) == [0, 2, 3]


def test_old_views_are_dropped():
    buffer = ViewBuffer(max_seconds=10.0)
    for second in (0, 4, 8, 12):
        buffer.add(make_frame(second * SECOND, yaw=float(second)))
    assert ids(buffer) == [1, 2, 3]
    buffer.add(make_frame(100 * SECOND))
    assert ids(buffer) == [4]


def test_bytes_are_bounded():
    one = make_frame().nbytes
    buffer = ViewBuffer(max_bytes=3 * one + 10)
    for stamp in range(6):
        buffer.add(make_frame(stamp, yaw=float(stamp)))
        assert buffer.nbytes == min(stamp + 1, 3) * one
    assert ids(buffer) == [3, 4, 5]
    with pytest.raises(FrameError, match="max_bytes"):
        ViewBuffer(max_bytes=one - 1).add(make_frame())


def test_one_view_is_enough():
    buffer = ViewBuffer(max_views=1)
    for stamp in range(3):
        buffer.add(make_frame(stamp, yaw=float(stamp)))
        assert ids(buffer) == [stamp]


def test_older_stamps_are_refused_and_change_nothing():
    buffer = ViewBuffer()
    buffer.add(make_frame(5 * SECOND))
    buffer.add(make_frame(5 * SECOND, yaw=1.0))
    before = buffer.snapshot()
    with pytest.raises(FrameError, match=r"stamp_ns: 2\.000 s older"):
        buffer.add(make_frame(3 * SECOND))
    with pytest.raises(FrameError, match=r"frame_id: 'odom'.*'map'"):
        buffer.add(make_frame(6 * SECOND, frame_id="odom"))
    assert buffer.snapshot() is before
    buffer.clear()
    buffer.add(make_frame(3 * SECOND, frame_id="odom"))
    assert len(buffer.snapshot().views) == 1


def test_cameras_take_turns_and_views_stay_in_time_order():
    buffer = ViewBuffer()
    for stamp, source in ((3, "front"), (1, "rear"), (4, "front"), (2, "rear")):
        buffer.add(make_frame(stamp * SECOND, yaw=float(stamp), source=source))
    assert [view.frame.stamp_ns // SECOND for view in buffer.snapshot().views] == [1, 2, 3, 4]
    with pytest.raises(FrameError, match=r"stamp_ns: 1\.000 s older"):
        buffer.add(make_frame(1 * SECOND, source="rear"))


@pytest.mark.parametrize("bound", ["max_views", "max_seconds", "max_bytes"])
@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf])
def test_bounds_must_be_positive(bound, value):
    with pytest.raises(ConfigError, match=bound):
        ViewBuffer(**{bound: value})


def test_many_threads_at_once():
    buffer = ViewBuffer(max_views=5)
    frames = [make_frame(7, yaw=0.1 * i) for i in range(60)]
    per_thread, writers = 150, 4

    def write(seed: int) -> list[int]:
        rng = np.random.default_rng(seed)
        return [buffer.add(frames[rng.integers(60)]) for _ in range(per_thread)]

    def clear() -> None:
        for _ in range(20):
            buffer.clear()

    def read() -> None:
        last = buffer.snapshot()
        for _ in range(3000):
            now = buffer.snapshot()
            assert now.version >= last.version
            assert (now is last) == (now.version == last.version)
            assert len(now.views) <= 5
            numbers = [view.id for view in now.views]
            assert numbers == sorted(set(numbers))
            last = now

    with ThreadPoolExecutor(writers + 3) as pool:
        written = [pool.submit(write, seed) for seed in range(writers)]
        others = [pool.submit(task) for task in (read, read, clear)]
        versions = [version for future in written for version in future.result()]
        for future in others:
            future.result()

    assert len(set(versions)) == len(versions) == writers * per_thread
    assert buffer.snapshot().version == writers * per_thread + 20
    assert buffer.nbytes == sum(v.frame.nbytes for v in buffer.snapshot().views)
