"""Bags: what is written comes back, every damage has a message, folders become bags."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from spatial3d_ros.data.bag_writer import write_bag
from spatial3d_ros.data.bags import Topics, bag_topics, find_topics, read_bag
from spatial3d_ros.data.folders import frames_from_folder
from spatial3d_ros.errors import BagError, Spatial3DError
from spatial3d_ros.geometry.camera import Camera
from spatial3d_ros.geometry.pose import look_at
from spatial3d_ros.scene.frame import Frame
from spatial3d_ros.sensors.pose_source import PoseTrack

CAMERA = Camera(64, 48, 60.0, 61.0, 31.5, 23.5)


def make_frames(count: int = 5) -> list[Frame]:
    rng = np.random.default_rng(3)
    smooth = cv2.resize(rng.integers(0, 255, (6, 8, 3), np.uint8), (64, 48))
    frames = []
    for k in range(count):
        depth = rng.uniform(0.5, 4.0, (48, 64)).astype(np.float32)
        depth[:4] = 0
        pose = look_at((0.1 * k, 0, 1), (3, 0.2 * k, 1))
        frames.append(Frame(10**9 + k * 10**8, smooth, depth, CAMERA, pose))
    return frames


@pytest.mark.parametrize("name", ["folder_bag", "one.mcap", "one.db3"])
@pytest.mark.parametrize("compressed", [False, True])
def test_round_trip(tmp_path: Path, name: str, compressed: bool) -> None:
    frames = make_frames()
    path = tmp_path / name
    assert write_bag(path, iter(frames), compressed=compressed) == 5
    assert path.is_file() == ("." in name)
    back = list(read_bag(path))
    assert [f.stamp_ns for f in back] == [f.stamp_ns for f in frames]
    for old, new in zip(frames, back, strict=True):
        np.testing.assert_allclose(new.depth, old.depth, atol=0.00051)
        np.testing.assert_allclose(new.world_T_camera, old.world_T_camera, atol=1e-9)
        error = np.abs(new.rgb.astype(int) - old.rgb)
        assert error.mean() < (3 if compressed else 1e-9)
        assert new.camera == CAMERA
        assert new.frame_id == "map"
    topics = bag_topics(path)
    assert topics["/camera/pose"] == ("geometry_msgs/msg/PoseStamped", 9)
    image = "/camera/rgb/image/compressed" if compressed else "/camera/rgb/image"
    assert topics[image][1] == 5
    assert not list(tmp_path.glob(".*"))


def test_sqlite_folder_is_a_rosbag2_folder(tmp_path: Path) -> None:
    write_bag(tmp_path / "walk", make_frames(2), storage="sqlite3")
    assert (tmp_path / "walk" / "walk.db3").exists()
    assert "walk.db3" in (tmp_path / "walk" / "metadata.yaml").read_text()


def test_nothing_stays_behind_when_a_frame_fails(tmp_path: Path) -> None:
    def broken():
        yield make_frames(1)[0]
        raise BagError("no more")

    with pytest.raises(BagError, match="no more"):
        write_bag(tmp_path / "b.mcap", broken())
    with pytest.raises(BagError, match="no frames"):
        write_bag(tmp_path / "b.mcap", [])
    assert not list(tmp_path.iterdir())


def test_an_existing_bag_is_kept_unless_asked(tmp_path: Path) -> None:
    path = tmp_path / "b.mcap"
    write_bag(path, make_frames(2))
    with pytest.raises(BagError, match="exists already"):
        write_bag(path, make_frames(3))
    write_bag(path, make_frames(3), overwrite=True)
    assert len(list(read_bag(path))) == 3


@pytest.mark.parametrize("keep", [0, 5, 100, 20_000])
@pytest.mark.parametrize("suffix", [".mcap", ".db3"])
def test_truncated_bag(tmp_path: Path, suffix: str, keep: int) -> None:
    path = tmp_path / f"b{suffix}"
    write_bag(path, make_frames())
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(BagError, match=f"b{suffix}"):
        list(read_bag(path))


def test_garbage_inside_raises_nothing_but_our_errors(tmp_path: Path) -> None:
    path = tmp_path / "b.mcap"
    write_bag(path, make_frames())
    good = path.read_bytes()
    rng = np.random.default_rng(8)
    for at in rng.integers(8, len(good) - 200, 40):
        path.write_bytes(good[:at] + rng.bytes(150) + good[at + 150 :])
        with contextlib.suppress(Spatial3DError):
            assert len(list(read_bag(path))) <= 5  # pixels and stamps can change unnoticed


def test_what_is_not_a_bag(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "empty").mkdir()
    for name, words in [
        ("nothing", "no such bag"),
        ("notes.txt", "not a ROS 2 bag"),
        ("empty", "metadata"),
    ]:
        with pytest.raises(BagError, match=words):
            find_topics(tmp_path / name)


def test_missing_topic_lists_those_present(tmp_path: Path) -> None:
    path = tmp_path / "b.mcap"
    write_bag(path, make_frames(2))
    with pytest.raises(BagError, match=r"/other \(depth\).*/camera/rgb/image .*Image"):
        read_bag(path, Topics(depth="/other"))
    with pytest.raises(BagError, match="CameraInfo, but pose needs"):
        read_bag(path, Topics(pose="/camera/rgb/camera_info"))


def test_topics_are_guessed(tmp_path: Path) -> None:
    topics = Topics(
        "/front/color/image_raw", "/front/depth/image", "/front/color/camera_info", "/slam"
    )
    write_bag(tmp_path / "b.mcap", make_frames(2), topics=topics)
    assert find_topics(tmp_path / "b.mcap") == topics


def test_odometry_is_read(tmp_path: Path) -> None:
    from rosbags.rosbag2 import Reader, StoragePlugin, Writer
    from rosbags.typesys import Stores, get_typestore

    write_bag(tmp_path / "pose.mcap", make_frames(3))
    store = get_typestore(Stores.ROS2_JAZZY)
    odometry, kinds = "nav_msgs/msg/Odometry", store.types
    with (
        Reader(tmp_path / "pose.mcap") as reader,
        Writer(tmp_path / "odom", version=9, storage_plugin=StoragePlugin.MCAP) as writer,
    ):
        made = {}
        zero = kinds["geometry_msgs/msg/Vector3"](0.0, 0.0, 0.0)
        twist = kinds["geometry_msgs/msg/TwistWithCovariance"](
            kinds["geometry_msgs/msg/Twist"](zero, zero), np.zeros(36)
        )
        for connection, stamp, raw in reader.messages():
            kind = odometry if connection.topic == "/camera/pose" else connection.msgtype
            if connection.topic not in made:
                made[connection.topic] = writer.add_connection(
                    connection.topic, kind, typestore=store
                )
            if kind == odometry:
                pose = store.deserialize_cdr(raw, connection.msgtype)
                full = kinds["geometry_msgs/msg/PoseWithCovariance"](pose.pose, np.zeros(36))
                raw = store.serialize_cdr(kinds[odometry](pose.header, "base", full, twist), kind)
            writer.write(made[connection.topic], stamp, raw)
    for old, new in zip(make_frames(3), read_bag(tmp_path / "odom"), strict=True):
        np.testing.assert_allclose(new.world_T_camera, old.world_T_camera, atol=1e-9)


def test_pose_track_interpolates_but_not_over_gaps() -> None:
    track = PoseTrack.of_recording("/pose", max_gap_s=0.5)
    for second, x in [(3.0, 3.0), (0.0, 0.0), (0.2, 1.0)]:  # order does not matter
        pose = np.eye(4)
        pose[0, 3] = x
        track.add(int(second * 1e9), pose)
    assert track.known(10**8)[0, 3] == pytest.approx(0.5)
    assert track.known(2 * 10**8)[0, 3] == 1.0
    assert track.known(10**9) is None
    assert track.known(4 * 10**9) is None


# ---- folders ---------------------------------------------------------------------------------


def numbered_folder(path: Path, count: int = 3) -> Path:
    for name in ("images", "depth"):
        (path / name).mkdir(parents=True)
    for k in range(count):
        cv2.imwrite(str(path / "images" / f"{k + 9}.png"), np.full((4, 6, 3), 40 * k, np.uint8))
        cv2.imwrite(str(path / "depth" / f"{k + 9}.png"), np.full((4, 6), 1000 + k, np.uint16))
    np.savetxt(path / "K.txt", [[5, 0, 3], [0, 5, 2], [0, 0, 1]])
    poses = []
    for k in range(count):
        pose = np.eye(4)
        pose[:3, 3] = (k, 10, 20)
        poses.append(pose.reshape(-1))
    np.savetxt(path / "poses.txt", poses)
    return path


def test_numbered_folder(tmp_path: Path) -> None:
    recording = frames_from_folder(numbered_folder(tmp_path), rate_hz=5, up="y")
    frames = list(recording)
    assert len(recording) == len(frames) == 3
    assert [f.stamp_ns for f in frames] == [10**9, 12 * 10**8, 14 * 10**8]
    assert [int(f.rgb[0, 0, 0]) for f in frames] == [0, 40, 80]  # 9, 10, 11: by number, not by text
    assert frames[2].depth[0, 0] == pytest.approx(1.002)
    # The world's y (10) points up: it becomes z.
    np.testing.assert_allclose(frames[1].world_T_camera[:3, 3], (1, -20, 10), atol=1e-12)


def test_tum_folder(tmp_path: Path) -> None:
    for name in ("rgb", "depth"):
        (tmp_path / name).mkdir()
    cv2.imwrite(str(tmp_path / "rgb" / "a.png"), np.zeros((4, 6, 3), np.uint8))
    cv2.imwrite(str(tmp_path / "depth" / "b.png"), np.full((4, 6), 10_000, np.uint16))
    (tmp_path / "rgb.txt").write_text("# colour\n100.05 rgb/a.png\n200.0 rgb/a.png\n")
    (tmp_path / "depth.txt").write_text("100.06 depth/b.png\n")
    (tmp_path / "groundtruth.txt").write_text("100.0 0 0 1 0 0 0 1\n100.1 1 0 1 0 0 0 1\n")
    recording = frames_from_folder(tmp_path, intrinsics=(5, 5, 3, 2))
    (frame,) = recording
    assert frame.depth[0, 0] == pytest.approx(2.0)  # TUM's 5000 a metre
    np.testing.assert_allclose(frame.world_T_camera[:3, 3], (0.5, 0, 1), atol=1e-6)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda p: (p / "K.txt").unlink(), "K.txt: missing.*--intrinsics"),
        (lambda p: (p / "K.txt").write_text("0 0 0\n0 0 0\n0 0 1"), "K.txt: focal lengths"),
        (lambda p: (p / "K.txt").write_text("1 2"), "K.txt: expected 4, 9 or 16"),
        (lambda p: (p / "poses.txt").unlink(), "poses.txt: missing"),
        (lambda p: (p / "poses.txt").write_text("1 2 3\n" * 3), "poses.txt:1: a pose has"),
        (lambda p: (p / "poses.txt").write_text("x y\n"), "poses.txt:1: expected numbers"),
        (lambda p: (p / "poses.txt").write_text("1 " * 16), "poses.txt: 1 poses, .* 3 images"),
        (
            lambda p: (p / "poses.txt").write_text("0 0 0 0 0 0 9\n" * 3),
            "poses.txt:1: pose",
        ),
        (lambda p: (p / "depth" / "9.png").unlink(), "no depth image for 9.png"),
        (lambda p: (p / "images" / "10.png").write_bytes(b"no"), "10.png: cannot be read"),
        (
            lambda p: (p / "all_image_names.txt").write_text("7.png\n8.png\n9.png"),
            "not name 10.png",
        ),
        (
            lambda p: cv2.imwrite(str(p / "depth" / "9.png"), np.zeros((2, 2), np.uint16)),
            "9.png is 2x2 but .*6x4",
        ),
    ],
)
def test_folder_errors_name_the_file(tmp_path: Path, damage, words: str) -> None:
    damage(numbered_folder(tmp_path))
    with pytest.raises(Exception, match=words) as caught:
        list(frames_from_folder(tmp_path))
    assert type(caught.value).__name__ in ("BagError", "FrameError")


def shared_data(name: str) -> Path:
    root = os.environ.get("SPATIAL3D_SHARED") or Path(__file__).parents[2] / "shared"
    folder = Path(root) / "data" / name
    if not folder.exists():
        pytest.skip(f"{folder} is not here (set SPATIAL3D_SHARED)")
    return folder


def test_real_corridor_stands_upright() -> None:
    recording = frames_from_folder(shared_data("hololens_corridor_94"), up="y")
    assert len(recording) == 94
    frames = [frame for k, frame in enumerate(recording) if k % 10 == 0]
    ups = np.array([-f.world_T_camera[:3, 1] for f in frames])
    assert ups.mean(0)[2] > 0.85  # the camera's up is the world's z
    points = np.concatenate([f.points_world(8).reshape(-1, 3) for f in frames])
    heights = points[np.isfinite(points[:, 2]), 2]
    # People's eyes are above the floor, and a room is about as high as rooms are.
    floor = np.percentile(heights, 1)
    assert 1.2 < frames[0].world_T_camera[2, 3] - floor < 2.0
    assert np.percentile(heights, 99) - floor < 4.0
