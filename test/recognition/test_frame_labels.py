"""Labels of recorded frames: by recognisers, from a file of detections, or as vision_msgs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from helpers.bag_files import make_frames
from spatial3d_ros.bags.bag import BOX_TYPES, Bag
from spatial3d_ros.bags.frame_names import write_frame_names
from spatial3d_ros.bags.options import RecordingOptions
from spatial3d_ros.bags.reader import BagFrames
from spatial3d_ros.bags.writer import write_bag
from spatial3d_ros.errors import ConfigError, FrameError, RecognitionError
from spatial3d_ros.geometry.camera import Camera
from spatial3d_ros.recognition.frame_labels import FrameLabels, rectified
from spatial3d_ros.recognition.loading import CombinedRecognisers
from spatial3d_ros.recognition.recogniser import Recognition
from spatial3d_ros.recognition.recorded_detections import BOXES_TYPE
from spatial3d_ros.scene.detection_tracking import Detection3D
from spatial3d_ros.scene.label_voting import ClassImage
from spatial3d_ros.scene.lifting import Detection2D

BOX = [10.0, 12.0, 40.0, 36.0]


class FakeMemory:
    """Collects what labels add."""

    def __init__(self) -> None:
        self.detections: list[list[Detection3D]] = []
        self.images: list[ClassImage] = []

    def add_detections(self, detections: Any) -> bool:
        self.detections.append(list(detections))
        return True

    def add_class_image(self, image: ClassImage) -> None:
        self.images.append(image)


@pytest.fixture
def bag(tmp_path: Path) -> Path:
    path = tmp_path / "room.mcap"
    frames = make_frames()
    write_bag(path, frames)
    write_frame_names(path, [(f.stamp_ns, f"frame-{k:06d}") for k, f in enumerate(frames)])
    return path


def detections_file(folder: Path, *frames: dict[str, Any]) -> Path:
    path = folder / "detections.json"
    path.write_text(json.dumps({"format": "by frame", "frames": frames}))
    return path


def entry(box: list[float] = BOX, **keys: Any) -> dict[str, Any]:
    one = {"label": "dining_table", "score": 0.9, "box": box}
    own = ("mask", "others")
    return {"detections": [one | {k: v for k, v in keys.items() if k in own}]} | {
        k: v for k, v in keys.items() if k not in own
    }


def added(recording: BagFrames) -> tuple[FakeMemory, FrameLabels]:
    memory, labels = FakeMemory(), FrameLabels.of_recording(recording)
    for _, frame in recording:
        labels.add_to(memory, frame, keyframe=False)
    return memory, labels


# ---- a file


def test_a_file_labels_the_frame_of_its_name_or_stamp(bag: Path) -> None:
    file = detections_file(bag.parent, entry(frame="frame-000003"), entry(stamp_ns=10**9))
    memory, labels = added(BagFrames(bag, RecordingOptions(detections=str(file))))
    first, second = memory.detections
    assert [first[0].stamp_ns, second[0].stamp_ns] == [10**9, 10**9 + 3 * 10**8]
    assert first[0].label == "dining table" and first[0].score == 0.9
    assert str(labels) == "labels on 2 frames, 2 detections"


def test_a_mask_chooses_the_pixels(bag: Path) -> None:
    runs = [12 * 48 + 20, 8, 40, 8, 64 * 48 - (12 * 48 + 20) - 56]  # two columns of eight pixels
    file = detections_file(
        bag.parent, entry(stamp_ns=10**9, mask={"size": [48, 64], "counts": runs})
    )
    labels = FrameLabels.of_recording(BagFrames(bag, RecordingOptions(detections=str(file))))
    (found,) = labels.recognise(make_frames()[0]).detections
    assert found.mask is not None
    rows, columns = np.nonzero(found.mask)
    assert set(columns) == {12, 13} and (rows.min(), rows.max()) == (20, 27)


def test_run_lengths_as_letters_are_those_as_numbers(bag: Path) -> None:
    # 4, 3, 5 as COCO writes them; the fourth is a difference to the second: 0
    masks = [{"size": [3, 5], "counts": [4, 3, 5, 3]}, {"size": [3, 5], "counts": "4350"}]
    file = detections_file(bag.parent, *(entry(stamp_ns=10**9, mask=mask) for mask in masks))
    from spatial3d_ros.recognition.detections_file import read_detections

    first, second = read_detections(file, bag, "", (3, 5))[10**9]
    assert first.mask is not None and second.mask is not None
    assert first.mask.sum() == 6 and (first.mask == second.mask).all()


def test_polygons_and_further_labels(bag: Path) -> None:
    polygon = [12, 20, 13, 20, 13, 27, 12, 27]
    file = detections_file(
        bag.parent, entry(stamp_ns=10**9, mask=[polygon], others={"work_bench": 0.05})
    )
    labels = FrameLabels.of_recording(BagFrames(bag, RecordingOptions(detections=str(file))))
    (found,) = labels.recognise(make_frames()[0]).detections
    assert found.mask is not None and found.others == (("work bench", 0.05),)
    rows, columns = np.nonzero(found.mask)
    assert set(columns) == {12, 13} and (rows.min(), rows.max()) == (20, 27)


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (entry(frame="frame-000422"), r"no frame 'frame-000422'; .*room.frames.json has 'frame-0"),
        (entry(frame="3"), "no frame '3'"),  # never an index
        (entry(stamp_ns=5), "no frame '5'"),
        (entry(), "needs frame or stamp_ns"),
        (entry(frame="frame-000001", box=[1, 2, 1, 4]), "frames.0.detections.0.box.*has no size"),
        (entry(frame="frame-000001", box=[1, 2, 3]), r"frames\.0\.detections\.0\.box"),
        (entry(frame="frame-000001", box=[1, 2, float("nan"), 4]), "box"),
        (entry(frame="frame-000001", mask={"size": [3, 5], "counts": [1]}), "do not fill 5 x 3"),
        (entry(frame="frame-000001", mask={"size": [3, 5], "counts": " "}), "letter ' '"),
        (entry(frame="frame-000001", mask=[[1, 2, 3, 4, 5, 6, 7]]), "a polygon of 7 numbers"),
    ],
)
def test_a_wrong_file_is_named_with_its_field(bag: Path, frame: Any, words: str) -> None:
    file = detections_file(bag.parent, frame)
    with pytest.raises(ConfigError, match=rf"detections\.json: .*{words}"):
        FrameLabels.of_recording(BagFrames(bag, RecordingOptions(detections=str(file))))


def test_a_bag_without_names_says_how_to_get_them(bag: Path) -> None:
    bag.with_name("room.frames.json").unlink()
    file = detections_file(bag.parent, entry(frame="frame-000001"))
    with pytest.raises(ConfigError, match=r"there is no .*room\.frames\.json: convert the folder"):
        FrameLabels.of_recording(BagFrames(bag, RecordingOptions(detections=str(file))))


def test_a_mask_of_another_size_is_an_error() -> None:
    one = Detection2D((0.0, 0.0, 9.0, 9.0), "cup", 1.0, np.ones((5, 5), bool))
    with pytest.raises(FrameError, match=r"mask of 'cup': 5 x 5, but the image is 64 x 48"):
        rectified([one], Camera(64, 48, 60.0, 60.0, 31.5, 23.5))


def test_boxes_are_moved_to_the_rectified_image() -> None:
    distortion = (-0.3, 0.1, 0.0, 0.0, 0.0)
    camera = Camera(64, 48, 60.0, 60.0, 31.5, 23.5, "plumb_bob", distortion)
    (moved,) = rectified([Detection2D((50.0, 20.0, 62.0, 30.0), "cup", 1.0)], camera).detections
    assert moved.corners[2] > 63


# ---- recognisers


class Halves:
    """A cup in the right half of every image, and the class sofa in the left one."""

    labels = ("", "sofa")

    def __init__(self, classes: bool = True, boxes: bool = True, score: float = 0.8) -> None:
        self.classes, self.boxes, self.score = classes, boxes, score
        self.asked: list[tuple[str, ...]] = []

    def recognise(self, rgb: np.ndarray, prompts: Any = ()) -> Recognition:
        self.asked.append(tuple(prompts))
        height, width = rgb.shape[:2]
        image = np.zeros((height, width), np.int32)
        image[:, : width // 2] = 1
        box = (width / 2 + 2, 8.0, width - 4.0, height - 4.0)
        found = (Detection2D(box, "cup", self.score),) if self.boxes else ()
        return Recognition(found, image if self.classes else None, self.labels)


def source(recogniser: Any) -> Any:
    return lambda frame: recogniser.recognise(frame.rgb)


def test_boxes_are_lifted_and_classes_vote() -> None:
    memory, frames = FakeMemory(), make_frames()
    labels = FrameLabels(source(Halves()))
    labels.add_to(memory, frames[0], keyframe=True)
    assert [one.label for one in memory.detections[0]] == ["cup"]
    (image,) = memory.images
    assert image.frame is frames[0] and "wall" in image.structure


def test_a_slow_source_is_asked_for_keyframes_and_twice_a_second() -> None:
    halves, frames = Halves(), make_frames(12)  # ten a second
    labels, memory = FrameLabels(source(halves), slow=True), FakeMemory()
    for k, frame in enumerate(frames):
        labels.add_to(memory, frame, keyframe=k == 3)
    assert [one[0].stamp_ns for one in memory.detections] == [10**9 + k * 10**8 for k in (0, 3, 8)]


def test_low_scores_and_structure_add_nothing() -> None:
    memory, frame = FakeMemory(), make_frames(1)[0]
    FrameLabels(source(Halves(False, score=0.1))).add_to(memory, frame, keyframe=True)
    assert memory.detections == []
    wall = Recognition((Detection2D((2.0, 8.0, 60.0, 40.0), "wall", 0.9),))
    FrameLabels(lambda frame: wall).add_to(memory, frame, keyframe=True)
    assert memory.detections == []


def test_several_recognisers_are_one_but_only_one_gives_classes() -> None:
    rgb = make_frames(1)[0].rgb
    both = CombinedRecognisers([Halves(boxes=False), Halves(classes=False)])
    found = both.recognise(rgb, ("cup",))
    assert len(found.detections) == 1 and found.class_image is not None
    with pytest.raises(RecognitionError, match="two recognisers give a class for every pixel"):
        CombinedRecognisers([Halves(), Halves()]).recognise(rgb)


def test_one_of_recogniser_and_detections_is_given(bag: Path) -> None:
    options = RecordingOptions(recogniser=("a",), detections="b")
    with pytest.raises(ConfigError, match="give one of them"):
        FrameLabels.of_recording(BagFrames(bag, options))
    assert not FrameLabels.of_recording(BagFrames(bag))


# ---- vision_msgs in the bag


def add_boxes(bag: Path, topic: str, masks: bool = False) -> Path:
    """The bag with a box on its second image, and a label image where wanted."""
    store = get_typestore(Stores.ROS2_JAZZY)
    for name, fields in BOX_TYPES.items():
        store.register(get_types_from_msg(fields, f"vision_msgs/msg/{name}"))
    types, found = store.types, 0
    target = bag.with_name("with_boxes")
    made: dict[str, Any] = {}
    with (
        Bag(bag) as opened,
        Writer(target, version=9, storage_plugin=StoragePlugin.MCAP) as writer,
    ):

        def send(name: str, at: int, message: Any) -> None:
            kind = message.__msgtype__
            if name not in made:
                made[name] = writer.add_connection(name, kind, typestore=store)
            writer.write(made[name], at, store.serialize_cdr(message, kind))

        for name, at, message in opened.timed(*opened.topics):
            send(name, at, message)
            if name != "/camera/rgb/image":
                continue
            found += 1
            if found != 2:
                continue
            v = {name: types[f"vision_msgs/msg/{name}"] for name in BOX_TYPES}
            pose = types["geometry_msgs/msg/PoseWithCovariance"](
                types["geometry_msgs/msg/Pose"](
                    types["geometry_msgs/msg/Point"](0.0, 0.0, 0.0),
                    types["geometry_msgs/msg/Quaternion"](0.0, 0.0, 0.0, 1.0),
                ),
                np.zeros(36),
            )
            center = v["Pose2D"](v["Point2D"](25.0, 24.0), 0.0)
            result = v["ObjectHypothesisWithPose"](v["ObjectHypothesis"]("cup", 0.9), pose)
            box = v["BoundingBox2D"](center, 30.0, 24.0)
            one = v["Detection2D"](message.header, [result], box, "")
            send(topic, at + 1, v["Detection2DArray"](message.header, [one]))
            if masks:
                labels = np.zeros((48, 64), np.uint8)
                labels[20:28, 20:30] = 1
                send("/detector/masks", at + 2, types["sensor_msgs/msg/Image"](
                    message.header, 48, 64, "mono8", 0, 64, labels.ravel()
                ))  # fmt: skip
    return target


@pytest.mark.parametrize("masks", [False, True])
def test_detections_recorded_in_the_bag_label_their_frames(bag: Path, masks: bool) -> None:
    topic = "/detector/detections"
    recorded = add_boxes(bag, topic, masks)
    assert Bag(recorded)
    recording = BagFrames(recorded, RecordingOptions(rgb="/camera/rgb/image", detections=topic))
    labels = FrameLabels.of_recording(recording)
    found = [labels.recognise(frame).detections for _, frame in recording]
    assert [len(one) for one in found] == [0, 1, 0, 0, 0]
    assert found[1][0].label == "cup" and found[1][0].corners == (10.0, 12.0, 40.0, 36.0)
    mask = found[1][0].mask
    assert (mask is not None) == masks and (mask is None or mask.sum() == 80)


def test_a_topic_that_is_not_there_lists_those_that_are(bag: Path) -> None:
    recorded = add_boxes(bag, "/detector/detections")
    options = RecordingOptions(rgb="/camera/rgb/image", detections="/other")
    with pytest.raises(ConfigError, match=f"{BOXES_TYPE} .*; it has /detector/detections"):
        FrameLabels.of_recording(BagFrames(recorded, options))
