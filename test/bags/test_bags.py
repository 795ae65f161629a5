"""Bags: what is written comes back, every damage has a message, folders become bags."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from rosbags.convert import convert
from rosbags.rosbag2 import Reader, StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from helpers.bag_files import (
    BASE_T_MOUNT,
    CAMERA,
    EYE,
    KINDS,
    MAP_T_ODOM,
    MOUNT_T_CAMERA,
    STORE,
    Change,
    link,
    make_frames,
    odometry,
    rewritten,
    shared_data,
    shifted,
    transforms,
    unchanged,
)
from spatial3d_ros.bags.bag import bag_topics
from spatial3d_ros.bags.folders import frames_from_folder
from spatial3d_ros.bags.options import RecordingOptions
from spatial3d_ros.bags.reader import BagFrames, find_topics, read_bag
from spatial3d_ros.bags.topics import (
    IMAGE_TYPES,
    INFO_TYPE,
    ODOMETRY_TYPE,
    POSE_TYPE,
    TF_TYPE,
    Topics,
    choose_topics,
)
from spatial3d_ros.bags.writer import OPTICAL_FRAME, write_bag
from spatial3d_ros.errors import BagError, FrameError, Spatial3DError
from spatial3d_ros.geometry.pose import invert
from spatial3d_ros.scene.frame import Frame
from spatial3d_ros.sensors.pose_source import PoseTrack
from spatial3d_ros.sensors.transforms import TransformTree


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
        ("notes.txt", "not a bag"),
        ("empty", "metadata"),
    ]:
        with pytest.raises(BagError, match=words):
            find_topics(tmp_path / name)


def test_missing_topic_lists_those_present(tmp_path: Path) -> None:
    path = tmp_path / "b.mcap"
    write_bag(path, make_frames(2))
    with pytest.raises(BagError, match=r"/other \(depth\).*/camera/rgb/image .*Image"):
        read_bag(path, RecordingOptions(depth="/other"))
    with pytest.raises(BagError, match="CameraInfo, but pose needs"):
        read_bag(path, RecordingOptions(pose="/camera/rgb/camera_info"))


def test_topics_are_guessed(tmp_path: Path) -> None:
    topics = Topics(
        "/front/color/image_raw", "/front/depth/image", "/front/color/camera_info", "/slam"
    )
    write_bag(tmp_path / "b.mcap", make_frames(2), topics=topics)
    assert find_topics(tmp_path / "b.mcap") == topics


# ---- poses of other kinds, other bags --------------------------------------------------------


def assert_same_poses(old: list[Frame], new: Iterable[Frame], left: np.ndarray = EYE) -> None:
    for was, now in zip(old, new, strict=True):
        np.testing.assert_allclose(now.world_T_camera, left @ was.world_T_camera, atol=1e-9)


def test_odometry_of_the_camera(tmp_path: Path) -> None:
    path = rewritten(make_frames(3), tmp_path, odometry(OPTICAL_FRAME))
    assert_same_poses(make_frames(3), read_bag(path))


def test_odometry_of_a_base_needs_the_way_to_the_camera(tmp_path: Path) -> None:
    frames = make_frames(3)
    path = rewritten(frames, tmp_path, odometry("base"))
    with pytest.raises(BagError, match=r"no chain from 'base' to 'camera_optical_frame'.*nothing"):
        list(read_bag(path))

    def with_transforms(topic: str, message: Any) -> list[tuple[str, str, Any]]:
        return odometry("base")(topic, message) + transforms("odom", "base")(topic, message)[:2]

    path = rewritten(frames, tmp_path, lambda t, m: with_transforms(t, m), "both")
    given = find_topics(path, pose="/odom")
    assert given.pose == find_topics(path).pose == "/odom"  # there is no moving TF
    poses = [frame.world_T_camera @ BASE_T_MOUNT @ MOUNT_T_CAMERA for frame in frames]
    for frame, pose in zip(read_bag(path, RecordingOptions.of(given)), poses, strict=True):
        np.testing.assert_allclose(frame.world_T_camera, pose, atol=1e-9)


def test_poses_from_transforms(tmp_path: Path) -> None:
    frames = make_frames(4)
    path = rewritten(frames, tmp_path, transforms())
    assert find_topics(path).pose == "/tf"
    back = BagFrames(path)
    assert_same_poses(frames, [frame for _, frame in back])
    assert back.frame_id == "map"
    assert [round(seconds, 9) for seconds, _ in back] == [0.0, 0.1, 0.2, 0.3]
    odom = BagFrames(path, world_frame="odom")
    assert_same_poses(frames, [frame for _, frame in odom], invert(MAP_T_ODOM))


@pytest.mark.parametrize(
    ("left_out", "words"),
    [
        ("base", "no chain from 'map' to 'camera_optical_frame'.*ends at 'base'.*map -> odom"),
        (OPTICAL_FRAME, "ends at 'camera_optical_frame'.*base -> mount"),
        ("odom", "ends at 'odom'"),
    ],
)
def test_a_missing_transform_is_named(tmp_path: Path, left_out: str, words: str) -> None:
    path = rewritten(make_frames(2), tmp_path, transforms(left_out))
    with pytest.raises(BagError, match=words):
        list(BagFrames(path, world_frame="map"))


def test_transforms_between_and_outside_of_stamps() -> None:
    def stamped(second: float, x: float, child: str = "b") -> Any:
        time = KINDS["builtin_interfaces/msg/Time"](int(second), round(second % 1 * 1e9))
        pose = np.eye(4)
        pose[0, 3] = x
        header = KINDS["std_msgs/msg/Header"](time, "")
        return KINDS[TF_TYPE]([link(header, "a", child, pose)])

    tree = TransformTree(max_gap_s=0.5)
    for second, x in ((3.0, 9.0), (1.0, 0.0), (1.4, 4.0)):
        tree.add(stamped(second, x), fixed=False)
    tree.add(stamped(0.0, 1.0, "c"), fixed=True)
    chain = tree.chain("c", "b")  # neither is above the other
    assert chain.at(1_100_000_000)[0, 3] == pytest.approx(0.0)
    assert chain.at(3_000_000_001) is None
    for stamp, words in ((900_000_000, "older than the first"), (2 * 10**9, "a -> b: no pose for")):
        with pytest.raises(FrameError, match=words):
            chain.at(stamp)
    broken = stamped(1.0, 0.0, "wheel")
    broken.transforms[0].transform.rotation.w = 0.0
    tree.add(broken, fixed=False)
    with pytest.raises(FrameError, match="no chain"):
        tree.chain("a", "wheel")
    other = stamped(1.0, 0.0)
    other.transforms[0].header.frame_id = "elsewhere"
    tree.add(other, fixed=False)
    with pytest.raises(FrameError, match=r"'b' has several parents \(a and elsewhere"):
        tree.chain("a", "b")


def test_another_world_frame_is_refused(tmp_path: Path) -> None:
    write_bag(tmp_path / "b.mcap", make_frames(2))
    with pytest.raises(BagError, match="/camera/pose are in frame 'map', not in 'odom'"):
        list(BagFrames(tmp_path / "b.mcap", world_frame="odom"))


@pytest.mark.parametrize("change", [unchanged, transforms()], ids=["pose", "tf"])
@pytest.mark.parametrize("compressed", [False, True])
def test_ros1_bags(tmp_path: Path, change: Change, compressed: bool) -> None:
    frames = make_frames(3)
    source = rewritten(frames, tmp_path, change)
    if compressed and change is unchanged:
        source = tmp_path / "packed.mcap"
        write_bag(source, frames, compressed=True)
    old = get_typestore(Stores.ROS1_NOETIC)
    old.register(get_types_from_msg("geometry_msgs/TransformStamped[] transforms", TF_TYPE))
    convert(
        [source], tmp_path / "old.bag", dst_storage="", dst_version=0, compress=None,
        compress_mode="none", default_typestore=STORE, typestore=old, exclude_topics=(),
        include_topics=(), exclude_msgtypes=(), include_msgtypes=(),
    )  # fmt: skip
    back = list(read_bag(tmp_path / "old.bag"))
    assert_same_poses(frames, back)
    np.testing.assert_allclose(back[0].depth, frames[0].depth, atol=0.00051)
    assert back[0].camera == CAMERA


def test_types_that_nobody_knows_do_no_harm(tmp_path: Path) -> None:
    write_bag(tmp_path / "b.mcap", make_frames(2))
    with (
        Reader(tmp_path / "b.mcap") as reader,
        Writer(tmp_path / "odd", version=9, storage_plugin=StoragePlugin.MCAP) as writer,
    ):
        made = {c.id: writer.add_connection(c.topic, c.msgtype, typestore=STORE)
                for c in reader.connections}  # fmt: skip
        odd = writer.add_connection(
            "/odd_depth", "my_msgs/msg/Odd", msgdef="no/Such[ message", rihs01="RIHS01_0"
        )
        for connection, stamp, raw in reader.messages():
            writer.write(made[connection.id], stamp, raw)
            writer.write(odd, stamp, b"??")
    assert len(list(read_bag(tmp_path / "odd"))) == 2
    with pytest.raises(
        BagError, match="/odd_depth is my_msgs/msg/Odd, but depth needs sensor_msgs"
    ):
        find_topics(tmp_path / "odd", depth="/odd_depth")


# ---- which topics ----------------------------------------------------------------------------


IMAGE, PACKED = IMAGE_TYPES
ROBOT = {
    "/cam/color/image_raw": IMAGE,
    "/cam/color/image_raw/compressed": PACKED,
    "/cam/color/image_raw/compressedDepth": PACKED,
    "/cam/color/camera_info": INFO_TYPE,
    "/cam/depth/image_rect_raw": IMAGE,
    "/cam/depth/camera_info": INFO_TYPE,
    "/cam/aligned_depth_to_color/image_raw": IMAGE,
    "/cam/infra1/image_rect_raw": IMAGE,
    "/goal_pose": POSE_TYPE,
    "/odom": ODOMETRY_TYPE,
    "/tf": TF_TYPE,
    "/tf_static": TF_TYPE,
}


def test_topics_of_a_whole_robot() -> None:
    found = choose_topics("b", ROBOT, {})
    assert vars(found) == {
        "rgb": "/cam/color/image_raw",
        "depth": "/cam/aligned_depth_to_color/image_raw",
        "camera_info": "/cam/color/camera_info",
        "pose": "/tf",
        "depth_info": "",
    }
    assert choose_topics("b", ROBOT, {"pose": "/odom"}).pose == "/odom"


def test_several_or_no_candidates_are_listed() -> None:
    two = ROBOT | {"/cam/color2/image_raw": IMAGE}
    with pytest.raises(BagError, match=r"several rgb topics \(/cam/color/image_raw, /cam/color2"):
        choose_topics("b", two, {})
    assert choose_topics("b", two, {"rgb": "/cam/color/image_raw"}) == choose_topics("b", ROBOT, {})
    blind = {name: kind for name, kind in ROBOT.items() if "depth" not in name.lower()}
    with pytest.raises(BagError, match=r"found no depth topic .*the bag has /cam/color/image_raw"):
        choose_topics("b", blind, {})
    lost = {n: k for n, k in ROBOT.items() if k in IMAGE_TYPES or k == INFO_TYPE}
    with pytest.raises(BagError, match=r"found no pose topic .*PoseStamped or .*TFMessage"):
        choose_topics("b", lost, {})


# ---- stamps and frames that are not right ----------------------------------------------------


def test_stamps_in_disorder_are_treated_as_by_the_node(tmp_path: Path) -> None:
    # The third image comes with the stamp of before the second: too late, it is dropped.
    path = rewritten(make_frames(), tmp_path, shifted({2: -0.15}, "images"))
    frames = BagFrames(path)
    stamps = [frame.stamp_ns for _, frame in frames]
    assert stamps == sorted(stamps)
    assert len(stamps) == 4
    assert frames.left_out == {"late": 2}
    # Poses may come in any order.
    path = rewritten(make_frames(), tmp_path, shifted({2: 0.1, 4: -0.1}, "/camera/pose"), "poses")
    assert len(list(read_bag(path))) == 5


@pytest.mark.parametrize("name", ["images", "/camera/pose"])
def test_a_clock_that_starts_again_is_refused(tmp_path: Path, name: str) -> None:
    path = rewritten(make_frames(), tmp_path, shifted({2: 60.0}, name))
    with pytest.raises(BagError, match=r"go back by (59\.\d|60\.0) s"):
        list(read_bag(path))


def test_an_unusable_frame_is_left_out_and_counted(tmp_path: Path) -> None:
    frames = make_frames(3)
    covered = replace(frames[1], depth=np.zeros_like(frames[1].depth))
    write_bag(tmp_path / "b.mcap", [frames[0], covered, frames[2]])
    reader = BagFrames(tmp_path / "b.mcap")
    assert len(list(reader)) == 2
    assert reader.left_out == {"no depth": 1}
    assert str(reader.account) == "2 of 3 frames used; lost: 1 no depth"
    assert "Is the lens covered" in reader.problems[0]
    assert len(list(read_bag(tmp_path / "b.mcap"))) == 2
    write_bag(tmp_path / "all.mcap", [covered] * 2)
    with pytest.raises(BagError, match=r"no frame: .*Is the lens covered.*lost: 1 no depth"):
        list(BagFrames(tmp_path / "all.mcap"))


def test_a_message_without_a_pose_is_left_out_and_named(tmp_path: Path) -> None:
    broken = iter([False, True] + [False] * 9)

    def change(topic: str, message: Any) -> list[tuple[str, str, Any]]:
        if topic == "/camera/pose" and next(broken):
            message.pose.orientation.w = np.nan
        return unchanged(topic, message)

    path = rewritten(make_frames(3), tmp_path, change)
    frames = BagFrames(path)
    assert len(list(frames)) == 3
    assert frames.left_out == {"unusable pose": 1}
    assert "/camera/pose: field pose.orientation" in frames.problems[0]


def test_an_empty_bag(tmp_path: Path) -> None:
    with Writer(tmp_path / "empty", version=9, storage_plugin=StoragePlugin.MCAP):
        pass
    with pytest.raises(BagError, match="empty: the bag holds no messages"):
        read_bag(tmp_path / "empty")


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
