"""Whatever a camera or a localisation sends: the sensor side gives it or refuses it by name."""

from __future__ import annotations

import math
import re
from functools import partial
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from helpers import messages
from helpers.fuzzing import NAMES, NUMBERS, UINT32, damaged, survives
from helpers.simulated_robot import Robot
from spatial3d_ros.errors import ConfigError, FrameError
from spatial3d_ros.geometry.camera import Camera
from spatial3d_ros.geometry.pose import pose_matrix
from spatial3d_ros.research.stress.message_corruption import CORRUPTIONS, ROLES, corruption
from spatial3d_ros.runtime.cameras import KEYS, camera_sources
from spatial3d_ros.runtime.parameters import FIELDS, Parameters, check
from spatial3d_ros.scene.frame import Frame
from spatial3d_ros.sensors import image_decoding as decoding
from spatial3d_ros.sensors.camera_poses import stamp_of
from spatial3d_ros.sensors.frame_builder import FrameBuilder, SyncedFrame, Topics
from spatial3d_ros.sensors.plausibility import check_views
from spatial3d_ros.sensors.pose_source import PoseReader, PoseTrack, extrinsic_matrix
from spatial3d_ros.sensors.synchronizer import Synchronizer
from spatial3d_ros.sensors.transforms import TransformTree

pytestmark = pytest.mark.fuzz
TOPIC = "/camera/image"
TOPICS = Topics("/rgb/image", "/depth/image", "/rgb/camera_info", "/pose")
ENCODINGS = st.one_of(st.sampled_from([*decoding.COLOR_ENCODINGS, *decoding.DEPTH_TYPES]), NAMES)
RAMP = np.arange(24 * 32 * 3, dtype=np.uint8).reshape(24, 32, 3)
JPEG = cv2.imencode(".jpg", RAMP)[1].tobytes()
PNG16 = messages.compressed_depth(np.arange(24 * 32, dtype=np.uint16).reshape(24, 32)).data
RVL = messages.compressed_rvl(np.arange(24 * 32, dtype=np.uint16).reshape(24, 32)).data
FORMATS = st.one_of(
    st.sampled_from(
        [
            "16UC1; compressedDepth rvl",
            "jpeg",
            "16UC1; compressedDepth png",
            "32FC1; compressedDepth png",
        ]
    ),
    NAMES,
)
STAMPS = st.one_of(
    st.integers(0, 10 * messages.SECOND), st.integers(-(2**31) * 10**9, 2**31 * 10**9)
)
POSITIONS = st.tuples(NUMBERS, NUMBERS, NUMBERS)
UNIT = st.sampled_from([(0.0, 0.0, 0.0, 1.0), (0.0, 0.0, math.sqrt(0.5), math.sqrt(0.5))])
TURNS = st.one_of(UNIT, st.tuples(NUMBERS, NUMBERS, NUMBERS, NUMBERS))
SMALL = st.integers(0, 12)
MODELS = st.sampled_from(
    ["", "plumb_bob", "rational_polynomial", "equidistant", "fisheye", "kannala_brandt", "?"]
)


@given(ENCODINGS, UINT32, UINT32, UINT32, st.booleans(), st.binary(max_size=300))
def test_raw_images(encoding, width, height, step, big_endian, data):
    message = messages.image(np.zeros((1, 1), np.uint8), encoding, big_endian=big_endian)
    vars(message).update(width=width, height=height, step=step, data=data)
    for decode in (decoding.decode_color, partial(decoding.decode_depth, unit=0.001)):
        image = survives(lambda decode=decode: decode(message, TOPIC), FrameError)
        assert image is None or image.shape[:2] == (height, width)
    survives(lambda: decoding.inspect_color(message, TOPIC), FrameError)
    share = survives(lambda: decoding.inspect_depth(message, TOPIC, 8), FrameError)
    assert share is None or 0 <= share <= 1


@given(FORMATS, st.one_of(damaged(JPEG), damaged(PNG16), damaged(RVL)))
def test_compressed_images(name, data):
    message = messages.compressed(data, name)
    color = survives(lambda: decoding.decode_compressed_color(message, TOPIC), FrameError)
    assert color is None or (color.ndim == 3 and color.dtype == np.uint8)
    depth = survives(lambda: decoding.decode_compressed_depth(message, TOPIC), FrameError)
    assert depth is None or (depth.ndim == 2 and depth.dtype == np.float32)
    survives(lambda: decoding.inspect_color(message, TOPIC), FrameError)
    decoding.is_dense_png(message)


@st.composite
def calibrations(draw):
    """A CameraInfo for an image of 8 x 6, right or wrong in any field."""
    near = st.floats(1.0, 100.0)
    info = messages.camera_info(focal=draw(st.one_of(near, NUMBERS)), model=draw(MODELS))
    info.width, info.height = draw(
        st.one_of(st.just((8, 6)), st.tuples(SMALL, SMALL), st.tuples(UINT32, UINT32))
    )
    info.d = draw(st.lists(st.one_of(st.floats(-1, 1), NUMBERS), max_size=14))
    info.k[draw(st.integers(0, 8))] = draw(st.one_of(near, NUMBERS))
    info.p = draw(st.lists(st.one_of(near, NUMBERS), min_size=12, max_size=12))
    info.binning_x, info.binning_y = draw(st.tuples(SMALL, SMALL))
    info.roi = SimpleNamespace(
        x_offset=draw(SMALL), y_offset=draw(SMALL), width=draw(SMALL), height=draw(SMALL)
    )
    return info


@given(calibrations(), st.booleans())
def test_calibrations(info, rectified):
    builder = FrameBuilder(TOPICS, rectified=rectified)
    color = messages.image(np.full((6, 8, 3), 100, np.uint8), "rgb8")
    depth = messages.image(np.full((6, 8), 1500, np.uint16), "16UC1")
    frame = survives(
        lambda: builder.build(SyncedFrame(1, color, depth, info, info, np.eye(4), "map")),
        FrameError,
    )
    assert frame is None or np.isfinite(frame.depth).all()


@given(st.lists(NUMBERS, max_size=12), st.integers(-5, 40), st.integers(-5, 40))
def test_calibrations_of_any_length(k, width, height):
    survives(lambda: Camera.from_calibration(width, height, k), FrameError)


@given(st.sampled_from(["pose", "odom"]), STAMPS, POSITIONS, TURNS, NAMES, NAMES)
def test_poses(source, at, position, turn, frame_id, child):
    reader, track = PoseReader("/pose", source), PoseTrack("/pose")
    if source == "pose":
        message = messages.pose_stamped(at, position, turn, frame_id)
    else:
        message = messages.odometry(at, position, turn, child)
    pose = survives(lambda: reader.read(message), FrameError)
    stamp = survives(lambda: stamp_of(message, "/pose"), FrameError)
    if pose is not None and stamp is not None:
        assert np.isfinite(pose).all()
        track.add(stamp, pose)
        survives(lambda: track.at(at + 1), FrameError)


@example(
    [("", "/camera", 0, (0.0, 0.0, 1.7e308), (0.0, 0.0, 0.7071067811865476, 0.7071067811865476))],
    "/camera",
    "",
)
@given(st.lists(st.tuples(NAMES, NAMES, STAMPS, POSITIONS, TURNS), max_size=8), NAMES, NAMES)
def test_transforms(links, parent, child):
    tree = TransformTree(live=True)
    for link in links:
        tree.add(messages.transforms(link), fixed=False)
    for parent, child in ((parent, child), *((a, b) for a, b, *_ in links)):  # noqa: B020
        for look in (lambda a, b: tree.lookup(a, b, 10**9), tree.latest):
            pose = survives(lambda look=look, a=parent, b=child: look(a, b), FrameError)
            assert pose is None or np.isfinite(pose).all()


@given(st.lists(st.tuples(st.booleans(), STAMPS), max_size=40))
def test_stamps_in_any_order(arrivals):
    sync = Synchronizer()
    pairs = [
        pair
        for color, at in arrivals
        for pair in (sync.add_color(at, at) if color else sync.add_depth(at, at))
    ]
    assert all(abs(pair.color - pair.depth) <= sync.slop for pair in pairs)
    assert len(pairs) == sync.counts["matched"]


GOOD = {
    "color": lambda at: messages.image(np.full((6, 8, 3), 100, np.uint8), "rgb8", at=at),
    "depth": lambda at: messages.image(np.full((6, 8), 1500, np.uint16), "16UC1", at=at),
    "camera_info": lambda at: messages.camera_info(at=at),
    "pose": lambda at: messages.pose_stamped(at),
}
CORRUPTED = [
    name for name in CORRUPTIONS if name != "downsample"
]  # whose matrices are arrays, as in ROS


@given(
    st.lists(
        st.tuples(
            st.sampled_from(ROLES), st.integers(0, 300), st.none() | st.sampled_from(CORRUPTED)
        ),
        max_size=40,
    )
)
def test_streams_of_valid_and_corrupted_messages(arrivals):
    robot = Robot(info=False)
    add = {role: getattr(robot.pipeline, f"add_{role}") for role in ROLES}
    for role, step, name in arrivals:
        sent = [GOOD[role](messages.SECOND * 10 + step * 11_000_000)]
        if name:
            options = {"seconds": 5.0} if name == "shift_stamps" else {}
            message = sent[0]
            if role == "camera_info":
                message.k = np.array(message.k)
            sent = corruption(name, **options)(role, message)
        for message in sent:
            robot.handle(add[role](message))
    assert all(re.match(r"/\S+: .", problem) for problem in robot.problems)
    assert all(np.isfinite(frame.world_T_camera).all() for frame in robot.frames)


ANY_VALUE = st.one_of(
    st.none(), st.booleans(), st.integers(), NUMBERS, st.text(max_size=10),
    st.lists(NUMBERS, max_size=8), st.lists(st.text(max_size=3), max_size=8), st.binary(max_size=4),
)  # fmt: skip


@given(st.one_of(st.sampled_from(list(FIELDS)), st.text(max_size=10)), ANY_VALUE)
def test_parameters(name, value):
    checked = survives(lambda: check(name, value), ConfigError)
    assert checked is None or type(checked) is type(FIELDS[name].default)


ENTRIES = st.dictionaries(
    st.one_of(st.sampled_from(KEYS), st.text(max_size=6)),
    st.one_of(st.sampled_from(["zed", "realsense", "/a", "b"]), ANY_VALUE),
    max_size=5,
)


@given(st.lists(st.one_of(st.sampled_from(["front", "rear"]), NAMES), max_size=3), ENTRIES, ENTRIES)
def test_cameras_of_a_node(names, front, rear):
    given = Parameters(cameras=tuple(names))
    cameras = survives(lambda: camera_sources(given, {"front": front, "rear": rear}), ConfigError)
    assert cameras is None or len(cameras) == max(1, len(names))


@given(
    st.lists(
        st.tuples(POSITIONS, st.tuples(*[st.floats(-1, 1)] * 4), st.floats(0, 1e4)), max_size=10
    ),
    NAMES,
    st.floats(1e-6, 1e3),
    st.booleans(),
)
def test_plausibility_of_any_views(views, camera_frame, unit, unit_given):
    frames = []
    for number, (position, turn, depth) in enumerate(views):
        image = np.full((6, 8), depth, np.float32)
        frame = survives(
            lambda number=number, position=position, turn=turn, image=image: Frame(
                number, RAMP[:6, :8], image, Camera(8, 6, 9.0, 9.0, 4.0, 3.0),
                pose_matrix(position, turn),
            ),
            FrameError,
        )  # fmt: skip
        frames += [frame] if frame is not None else []
    found = check_views(frames, camera_frame, unit, unit_given=unit_given)
    assert all(finding.text and "nan" not in finding.text for finding in found)


@given(st.lists(NUMBERS, max_size=9))
def test_extrinsics(numbers):
    pose = survives(lambda: extrinsic_matrix("base_T_camera", tuple(numbers)), ConfigError)
    assert pose is None or np.isfinite(pose).all()
