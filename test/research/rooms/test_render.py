"""Pictures agree with the truth: shapes fill their boxes, depth lands on them, noise is as told."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from helpers.camera_recording import make_recording
from spatial3d_ros.errors import ConfigError
from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.geometry.camera import Camera, backproject
from spatial3d_ros.geometry.pose import look_at, motion, transform
from spatial3d_ros.research.rooms.generator import FLOOR, Room, RoomObject, generate_room
from spatial3d_ros.research.rooms.meshes import object_mesh
from spatial3d_ros.research.rooms.paths import hand_path, robot_path
from spatial3d_ros.research.rooms.recorded_rooms import record_room
from spatial3d_ros.research.rooms.render import SHELL, Rendered, RoomRenderer
from spatial3d_ros.research.rooms.sensor import DepthNoise, PoseNoise
from spatial3d_ros.research.rooms.view_store import NO_OBJECT, ViewStore, render_room
from spatial3d_ros.research.rooms.views import training_views

CAMERA = Camera(160, 120, 135.0, 135.0, 80.0, 60.0)


def cube_room(size: float = 0.5) -> Room:
    box = Box3D((0.0, 0.0, size / 2), (size, size, size))
    cube = RoomObject(0, "box", "red", (200, 30, 30), box, FLOOR, 0.0, "plastic", 0)
    return Room(1, (5.0, 5.0, 2.5), (cube,))


def test_every_shape_has_exactly_the_bounds_of_its_box() -> None:
    seen = set()
    for seed in range(40):
        for item in generate_room(seed).objects:
            mesh = object_mesh(item)
            points = mesh.triangles.reshape(-1, 3)
            lo, hi = item.box.bounds()
            np.testing.assert_allclose(points.min(0), lo, atol=1e-5)
            np.testing.assert_allclose(points.max(0), hi, atol=1e-5)
            assert len(mesh.rgb) == len(mesh.texture) == len(mesh.triangles)
            seen.add((item.category, item.variant))
    assert len(seen) > 45


def test_depth_and_instance_of_a_cube() -> None:
    view = RoomRenderer(cube_room()).render(CAMERA, look_at((2, 0, 0.25), (0, 0, 0.25)))
    assert view.depth[60, 80] == pytest.approx(1.75, abs=1e-3)  # to its front at x = 0.25
    assert view.instance[60, 80] == 0 and view.instance[60, 5] == SHELL
    assert view.depth[60, 5] == pytest.approx(
        4.5, abs=1e-3
    )  # the wall, along the axis, not the ray
    assert view.normal_cos[60, 80] == pytest.approx(1, abs=1e-3)
    width = (view.instance[60] == 0).sum()
    assert width == pytest.approx(0.5 / 1.75 * CAMERA.fx, abs=1.5)
    red, green, blue = view.rgb[view.instance == 0].mean(0)
    assert red > 2.5 * green and red > 2.5 * blue


def test_back_projected_pixels_lie_in_the_box_of_their_object() -> None:
    for seed in (3, 8):
        room = generate_room(seed)
        renderer = RoomRenderer(room)
        for pose in hand_path(room, 4, np.random.default_rng(seed)):
            view = renderer.render(CAMERA, pose)
            points = transform(pose, backproject(view.depth, CAMERA))
            assert np.isfinite(points).all()
            assert set(np.unique(view.instance)) - {SHELL}
            for index in set(np.unique(view.instance)) - {SHELL}:
                assert room.objects[index].box.contains(points[view.instance == index], 2e-3).all()


def test_supersampling_changes_only_the_colour() -> None:
    room = generate_room(2)
    renderer = RoomRenderer(room)
    pose = robot_path(room, 3, np.random.default_rng(0))[1]
    plain, fine = renderer.render(CAMERA, pose), renderer.render(CAMERA, pose, supersample=2)
    np.testing.assert_allclose(plain.depth, fine.depth, atol=1e-4)
    assert (plain.instance == fine.instance).mean() > 0.999
    difference = np.abs(plain.rgb.astype(int) - fine.rgb).mean()
    assert 0 < difference < 12


def test_rendering_is_deterministic() -> None:
    room = generate_room(4)
    pose = hand_path(room, 2, np.random.default_rng(1))[0]
    one, two = (RoomRenderer(room).render(CAMERA, pose) for _ in range(2))
    np.testing.assert_array_equal(one.rgb, two.rgb)
    np.testing.assert_array_equal(one.depth, two.depth)


def flat_view(z: float, cosine: float = 1.0, shape: tuple[int, int] = (200, 200)) -> Rendered:
    return Rendered(
        rgb=np.zeros((*shape, 3), np.uint8),
        depth=np.full(shape, z, np.float32),
        instance=np.full(shape, SHELL, np.int32),
        normal_cos=np.full(shape, cosine, np.float32),
        color=np.zeros(shape, np.uint8),
        material=np.zeros(shape, np.uint8),
        pattern=np.zeros(shape, np.uint8),
    )


def test_depth_noise_grows_with_the_square_of_depth_and_is_quantised() -> None:
    rng = np.random.default_rng(0)
    noise = DepthNoise()
    spread = []
    for z in (1.0, 4.0):
        depth = noise.apply(flat_view(z), rng)
        valid = depth[depth > 0]
        assert len(valid) > 0.98 * depth.size
        np.testing.assert_allclose(valid * 1000, np.round(valid * 1000), atol=1e-2)
        assert valid.mean() == pytest.approx(z, abs=2e-3)
        spread.append(valid.std())
    assert spread[1] / spread[0] == pytest.approx(16, rel=0.1)


def test_depth_misses_at_grazing_angles_edges_and_out_of_range() -> None:
    rng = np.random.default_rng(0)
    noise = DepthNoise()
    assert not noise.apply(flat_view(2.0, cosine=0.03), rng).any()
    assert not noise.apply(flat_view(12.0), rng).any()
    step = flat_view(1.0)
    step.depth[:, 100:] = 3.0
    depth = noise.apply(step, rng)
    assert (depth[:, 99] > 0).mean() > 0.98  # the near side of the edge stays
    assert 0.3 < (depth[:, 100] > 0).mean() < 0.7
    assert (depth[:, 101] > 0).mean() > 0.98


def test_pose_noise_is_small_and_rigid() -> None:
    rng = np.random.default_rng(0)
    pose = look_at((1, 2, 1), (0, 0, 0.5))
    moved = [motion(pose, PoseNoise().apply(pose, rng)) for _ in range(50)]
    assert 0.004 < np.mean([metres for metres, _ in moved]) < 0.02
    assert 0 < max(angle for _, angle in moved) < 0.03


@pytest.mark.parametrize(
    ("path", "lowest", "highest"), [(robot_path, 0.6, 1.4), (hand_path, 1.2, 1.7)]
)
def test_paths_are_smooth_and_free(path: object, lowest: float, highest: float) -> None:
    for seed in range(12):
        room = generate_room(seed)
        poses = np.stack(path(room, 200, np.random.default_rng(seed)))
        eyes = poses[:, :3, 3]
        assert ((eyes[:, 2] >= lowest) & (eyes[:, 2] <= highest)).all()
        assert (np.abs(eyes[:, :2]) < np.array(room.size[:2]) / 2).all()
        assert not any(item.box.contains(eyes).any() for item in room.objects)
        steps = [motion(a, b) for a, b in pairwise(poses)]
        assert max(metres for metres, _ in steps) < 0.3
        assert max(angle for _, angle in steps) < np.radians(25)


def test_a_recording_shows_the_room(tmp_path: Path) -> None:
    room = generate_room(7)
    camera = CAMERA.scaled(80, 60)
    recording = make_recording(room, 1, 80, camera, "robot", rate_hz=10)
    assert recording.pixels.shape == (80, len(room.objects))
    assert ((recording.pixels > 3).sum(0) > 0).mean() > 0.9
    stamps = [frame.stamp_ns for frame in recording.frames]
    assert stamps[:3] == [0, 100_000_000, 200_000_000]
    counted = (recording.instances[5] == 2).sum()
    assert recording.pixels[5, 2] == counted
    assert all(frame.valid_fraction > 0.8 for frame in recording.frames)
    exact = make_recording(room, 1, 2, camera, "hand", noise=False).frames[0]
    assert exact.valid_fraction == 1
    with pytest.raises(ConfigError, match="robot, hand"):
        record_room(tmp_path / "room", 1, room=room, path="drone")


def test_training_views_cover_the_room_and_repeat() -> None:
    shares = []
    for seed in range(6):
        room = generate_room(seed)
        views = training_views(room, np.random.default_rng(seed), 8, size=(56, 42), supersample=1)
        assert views["rgb"].shape == (8, 42, 56, 3) and views["rgb"].dtype == np.uint8
        assert views["depth"].shape == (8, 42, 56) and views["depth"].dtype == np.float32
        assert views["instance"].dtype == np.int32 and views["poses"].shape == (8, 4, 4)
        pixels = [(views["instance"] == item.id).sum() for item in room.objects]
        shares.append(np.mean(np.array(pixels) > 0))
    assert np.mean(shares) > 0.95
    again = training_views(room, np.random.default_rng(seed), 8, size=(56, 42), supersample=1)
    for name, value in views.items():
        np.testing.assert_array_equal(value, again[name])


def test_the_training_camera_is_a_squeezed_one() -> None:
    room = generate_room(1)
    fx, fy, cx, cy = training_views(room, np.random.default_rng(0), 1, supersample=1)["camera"]
    assert (cx, cy) == (56, 56)
    assert fy / fx == pytest.approx(640 / 480)
    assert 55 <= np.degrees(2 * np.arctan(56 / fx)) <= 70


def test_turned_objects_keep_their_shape() -> None:
    """A chair turned by a quarter has its back where its heading says."""
    for heading, axis, sign in (
        (0.0, 0, 1),
        (np.pi / 2, 1, 1),
        (np.pi, 0, -1),
        (-np.pi / 2, 1, -1),
    ):
        box = Box3D((0, 0, 0.5), (0.5, 0.5, 1.0))
        chair = RoomObject(0, "chair", "red", (200, 0, 0), box, FLOOR, heading, "wood", 0)
        points = object_mesh(chair).triangles.reshape(-1, 3)
        assert sign * points[points[:, 2] > 0.7, axis].mean() < -0.15


def test_a_store_renders_a_room_once_and_keeps_it(tmp_path, monkeypatch) -> None:
    store = ViewStore(tmp_path, rooms=2, views=2, first=800_210, size=(64, 48))
    room = store[1]
    assert room.room == generate_room(800_211) and len(store) == 2
    assert room.rgb.shape == (2, 48, 64, 3) and room.instance.shape == (2, 24, 32)
    monkeypatch.setattr(ViewStore, "render", lambda *_: pytest.fail("rendered again"))
    again = store[1]
    for name in ("rgb", "depth", "pose", "instance"):
        assert np.array_equal(getattr(room, name), getattr(again, name))
    assert not list(tmp_path.rglob("*.part"))
    now = render_room(800_211, views=2, size=(64, 48))
    assert np.array_equal(now.rgb, room.rgb) and np.array_equal(now.seen, room.seen)
    # The truth agrees with the pixels: an object that is seen has depth there.
    seen = room.instance[0] != NO_OBJECT
    assert (room.depth[0, ::2, ::2][seen] > 0).mean() > 0.5
    with pytest.raises(IndexError):
        store[2]
