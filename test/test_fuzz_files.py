"""Whatever stands in a file: it is read, or refused with the name of the file."""

from __future__ import annotations

import gzip
import json
import tempfile
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from helpers.fuzzing import damaged, survives
from helpers.pcd import read_pcd
from spatial3d_ros.bags.bag import bag_topics
from spatial3d_ros.bags.check import check_bag
from spatial3d_ros.bags.folders import frames_from_folder
from spatial3d_ros.bags.options import RecordingOptions
from spatial3d_ros.bags.reader import read_bag
from spatial3d_ros.bags.scannet import read_axis_alignment
from spatial3d_ros.bags.writer import write_bag
from spatial3d_ros.demo.question_file import read_questions
from spatial3d_ros.errors import BagError, CheckpointError, ConfigError, FrameError
from spatial3d_ros.geometry.camera import Camera
from spatial3d_ros.model.checkpoint import read_tensors
from spatial3d_ros.model.config import load_config
from spatial3d_ros.model.tokens import load_tokenizer
from spatial3d_ros.research.datasets.boxes_only import read_box_rooms
from spatial3d_ros.research.datasets.label_classes import read_class_map
from spatial3d_ros.research.datasets.multi3drefer import read_multi_descriptions
from spatial3d_ros.research.datasets.referit3d import read_utterances
from spatial3d_ros.research.datasets.scannet_objects import read_vertices
from spatial3d_ros.research.datasets.scanqa import read_scene_questions
from spatial3d_ros.research.datasets.scanrefer import read_descriptions
from spatial3d_ros.research.datasets.sqa3d import read_situated_questions
from spatial3d_ros.research.evaluation.queries import read_queries
from spatial3d_ros.research.rooms.recorded_rooms import load_recorded_room, truth_file
from spatial3d_ros.research.training.config import load_train_config
from spatial3d_ros.resources import config_path, resource_path
from spatial3d_ros.scene.frame import Frame

pytestmark = pytest.mark.fuzz
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda part: st.lists(part, max_size=3)
    | st.dictionaries(st.text(max_size=8), part, max_size=3),
    max_leaves=8,
)  # fmt: skip
ODD_TEXT = st.sampled_from(
    [
        "[" * 500, '{"a":' * 500, "1" * 5000, "- 2001-99-99", "!!python/object:os.system {}",
        "? [a]", "&a [*a]", "{a: &b {c: *b}}", "0x", "!!binary x", "\x00", "\x85",
    ]
)  # fmt: skip
QUERIES = """frame_id: map
queries:
  - {id: q1, kind: ground, at: end, text: "the chair", expect: {center: [1, 2, 0], size: [1, 1, 1]}}
  - {id: q2, kind: distance, at: 12.5, text: "how far", expect: {distance: 2.31, measure: center}}
  - {id: q3, kind: ask, at: end, text: "what colour", expect: {text: [blue]}}
"""
PLY = (
    b"ply\nformat binary_little_endian 1.0\nelement vertex 1\nproperty float x\nproperty float y\n"
    b"property float z\nproperty uchar red\nproperty uchar green\nproperty uchar blue\n"
    b"property uchar alpha\nend_header\n" + bytes(16)
)
PCD = (
    b"VERSION .7\nFIELDS x y z rgb\nSIZE 4 4 4 4\nTYPE F F F F\nCOUNT 1 1 1 1\nWIDTH 2\nHEIGHT 1\n"
    b"POINTS 2\nDATA binary\n" + bytes(32)
)
ASCII_PCD = PCD.replace(b"binary\n", b"ascii\n")[:-32] + b"1 2 3 4\n5 6 7 8\n"


@pytest.fixture(scope="module")
def folder():
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def contents(whole):
    """Bytes of a text file: one like `whole`, anything, or what parsers are known to dislike."""
    return st.one_of(
        damaged(whole.encode()), JSON.map(lambda data: json.dumps(data).encode()),
        st.text(max_size=60).map(lambda text: text.encode("utf-8", "replace")),
        ODD_TEXT.map(str.encode),
    )  # fmt: skip


def written(path, data):
    path.write_bytes(data)
    return path


@given(data=contents(QUERIES))
def test_query_files(folder, data):
    path = written(folder / "queries.yaml", data)
    file = survives(lambda: read_queries(path), ConfigError)
    assert file is None or file.queries
    for name in ("q.yaml", "q.txt"):
        texts = survives(
            lambda name=name: read_questions(written(folder / name, data)), ConfigError
        )
        assert texts is None or all(isinstance(text, str) for text in texts)


@given(data=contents(config_path("models/tiny.yaml").read_text()))
def test_configurations_of_networks(folder, data):
    survives(lambda: load_config(written(folder / "config.yaml", data)), ConfigError)


@given(data=contents(config_path("train/joint.yaml").read_text()))
def test_configurations_of_training(folder, data):
    survives(lambda: load_train_config(written(folder / "train.yaml", data)), ConfigError)


@given(
    changes=st.dictionaries(
        st.sampled_from(list(yaml.safe_load(config_path("models/tiny.yaml").read_text()))), JSON,
        min_size=1, max_size=3,
    )
)  # fmt: skip
def test_configurations_with_wrong_values(folder, changes):
    values = yaml.safe_load(config_path("models/tiny.yaml").read_text())
    data = yaml.safe_dump({**values, **changes}).encode()
    survives(lambda: load_config(written(folder / "changed.yaml", data)), ConfigError)


WEIGHTS = b'\x48\x00\x00\x00\x00\x00\x00\x00{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'
WEIGHTS = WEIGHTS.ljust(80) + bytes(8)


@given(data=damaged(WEIGHTS))
def test_weights(folder, data):
    survives(lambda: read_tensors(written(folder / "model.safetensors", data)), CheckpointError)


@given(data=contents(resource_path("weights/tiny/tokenizer.json").read_text()[:4000]))
def test_tokenizers(folder, data):
    survives(lambda: load_tokenizer(written(folder / "tokenizer.json", data)), CheckpointError)


ROOM = '{"scene_id": "a", "objects": [{"id": 1, "label": "chair", "center": [0, 0, 0], "size": [1, 1, 1]}]}'  # noqa: E501
DESCRIPTION = '[{"scene_id": "a", "object_id": "1", "object_name": "b", "ann_id": "0", "description": "c", "token": ["c"]}]'  # noqa: E501
MULTI = (
    '[{"scene_id": "a", "object_ids": [1], "eval_type": "st_w_d", "description": "c", "ann_id": 1}]'
)
UTTERANCE = "scan_id,target_id,utterance,stimulus_id,tokens,instance_type\na,1,the chair,a-chair-2-1-0,\"['the', 'chair']\",chair\n"  # noqa: E501
SCANQA = '[{"scene_id": "a", "question_id": "1", "question": "what", "answers": ["b"], "object_ids": [1], "object_names": ["b"]}]'  # noqa: E501
SQA = '{"questions": [{"scene_id": "a", "question_id": 1, "question": "what", "situation": "b", "alternative_situation": ["c"]}]}'  # noqa: E501
TABLE = "id\traw_category\tcategory\tnyu40id\tnyu40class\n1\twall\twall\t1\twall\n"
ALIGNMENT = f"axisAlignment = {' '.join(['1.0'] * 16)}\nsceneType = Office\n"
READERS = [
    (read_box_rooms, ROOM), (read_descriptions, DESCRIPTION), (read_multi_descriptions, MULTI),
    (read_utterances, UTTERANCE), (read_scene_questions, SCANQA),
    (lambda path: read_situated_questions(path, path), SQA),
    (lambda path: read_class_map("nyu40", path), TABLE), (read_axis_alignment, ALIGNMENT),
]  # fmt: skip


@example(case=(read_utterances, b'"', False), spoil=0)
@given(
    case=st.sampled_from(READERS).flatmap(
        lambda one: st.tuples(st.just(one[0]), contents(one[1]), st.booleans())
    ),
    spoil=st.integers(0, 400),
)
def test_benchmark_files(folder, case, spoil):
    read, data, packed = case
    if packed:
        data = bytearray(gzip.compress(data))
        data[spoil % len(data)] ^= spoil & 0xFF
    survives(lambda: read(written(folder / "benchmark", bytes(data))), ConfigError)


@given(data=damaged(PLY))
def test_meshes(folder, data):
    read = survives(lambda: read_vertices(written(folder / "mesh.ply", data)), ConfigError)
    assert read is None or read[0].shape == read[1].shape


@example(data=b"FIELDS x y z\nSIZE 1 0 0\nTYPE 0 f f\nWIDTH 0\nHEIGHT 0\nDATA\n")
@given(data=st.one_of(damaged(PCD), damaged(ASCII_PCD)))
def test_point_clouds(folder, data):
    cloud = survives(lambda: read_pcd(written(folder / "cloud.pcd", data)), BagError)
    assert cloud is None or cloud.xyz.shape[2] == 3


@pytest.fixture(scope="module")
def bags(folder):
    """A bag of two frames in either storage, and its truth file, as bytes by suffix."""
    camera = Camera(16, 12, 10.0, 10.0, 7.5, 5.5)
    rgb, depth = np.full((12, 16, 3), 90, np.uint8), np.full((12, 16), 1.5, np.float32)
    frames = [Frame(10**9 + k * 10**8, rgb, depth, camera, np.eye(4)) for k in range(2)]
    whole = {}
    for suffix in (".mcap", ".db3"):
        path = folder / f"whole{suffix}"
        write_bag(path, frames)
        whole[suffix] = path.read_bytes()
    return whole


@given(data=st.data(), suffix=st.sampled_from([".mcap", ".db3", ".bag"]))
def test_bags(folder, bags, data, suffix):
    path = folder / f"damaged{suffix}"
    written(path, data.draw(damaged(bags.get(suffix, bags[".mcap"]))))
    topics = survives(lambda: bag_topics(path), BagError)
    assert topics is None or all(isinstance(name, str) for name in topics)
    survives(lambda: list(read_bag(path)), BagError, FrameError)
    options = RecordingOptions(depth_unit=0.001, rectified=True, sync_slop_s=0.1)
    survives(lambda: check_bag(path, options), BagError)


@given(
    data=contents(
        '{"version": 1, "seed": 1, "size": [1, 1, 1], "objects": [], "pixels": [], "stamps_ns": []}'
    )
)
def test_truth_beside_a_bag(folder, bags, data):
    written(truth_file(folder / "whole.mcap"), data)
    survives(lambda: load_recorded_room(folder / "whole.mcap"), BagError)


@pytest.fixture(scope="module")
def images(folder):
    """A folder of one colour and one depth image."""
    for name, image in (
        ("rgb", np.zeros((4, 4, 3), np.uint8)), ("depth", np.ones((4, 4), np.uint16))
    ):  # fmt: skip
        (folder / "images" / name).mkdir(parents=True)
        cv2.imwrite(str(folder / "images" / name / "0.png"), image)
    return folder / "images"


@given(
    k=contents("10 0 2\n0 10 2\n0 0 1\n"), poses=contents("0 0 0 0 0 0 1\n"),
    names=st.none() | contents("0.png\n"), tum=st.booleans(),
)  # fmt: skip
def test_folders_of_images(images, k, poses, names, tum):
    written(images / "K.txt", k)
    written(images / ("groundtruth.txt" if tum else "poses.txt"), poses)
    lists = ("rgb.txt", "depth.txt", "all_image_names.txt")
    for name in lists:
        (images / name).unlink(missing_ok=True)
        if names is not None and (tum or name == lists[2]):
            written(images / name, names)
    frames = survives(lambda: frames_from_folder(images), BagError)
    if frames is not None:
        survives(lambda: list(frames), BagError, FrameError)
