"""RefCOCO's public forms: what is read, what is refused, and a set made of our renders."""

import json

import pytest
import torch
from typer.testing import CliRunner

from helpers.small_model import small_config, small_tokenizer
from spatial3d_ros.__main__ import app
from spatial3d_ros.errors import ConfigError
from spatial3d_ros.model.checkpoint import save_model
from spatial3d_ros.model.network import SpatialModel
from spatial3d_ros.research.datasets.refcoco import Photograph, Reference, read_refcoco

INSTANCES = {
    "images": [{"id": 7, "file_name": "a.jpg", "width": 64, "height": 48, "license": 1}],
    "annotations": [
        {"id": 3, "image_id": 7, "category_id": 1, "bbox": [4, 5, 10, 20], "area": 200},
        {"id": 4, "image_id": 7, "category_id": 2, "bbox": [30, 5, 10, 20]},
    ],
    "categories": [{"id": 1, "name": "person"}, {"id": 2, "name": "dog"}],
}
REFS = [
    {"ref_id": 0, "ann_id": 4, "image_id": 7, "split": "testA", "sent_ids": [0],
     "sentences": [{"sent": "the dog", "raw": "The dog", "sent_id": 0, "tokens": []}]},
]  # fmt: skip
ROWS = [
    {"file_name": "a_3.jpg", "split": "val", "sentences": [{"raw": "left man", "sent": "left man"}],
     "raw_anns": json.dumps(INSTANCES["annotations"][0]),
     "raw_image_info": json.dumps(INSTANCES["images"][0])},
    {"file_name": "a_4.jpg", "split": "val", "sentences": [{"raw": "dog", "sent": "dog"}],
     "raw_anns": json.dumps(INSTANCES["annotations"][1]),
     "raw_image_info": json.dumps(INSTANCES["images"][0])},
]  # fmt: skip


def written(path, values):
    path.write_text(json.dumps(values))
    return path


def test_references_with_instances(tmp_path):
    refs = written(tmp_path / "refs.json", REFS)
    instances = written(tmp_path / "instances.json", INSTANCES)
    boxes = ((4, 5, 14, 25), (30, 5, 40, 25))
    expected = Photograph(
        "a.jpg", (64, 48), boxes, ("person", "dog"), (Reference(1, ("the dog",)),)
    )
    assert read_refcoco(refs, instances, "testA") == [expected]
    with pytest.raises(ConfigError, match="no references of split val; there are testA"):
        read_refcoco(refs, instances, "val")
    other = written(tmp_path / "other.json", [REFS[0] | {"ann_id": 9}])
    with pytest.raises(ConfigError, match="entry 0: annotation 9 of image 7 is not in"):
        read_refcoco(other, instances)


@pytest.mark.parametrize("lines", [True, False])
def test_rows_share_the_boxes_of_their_picture(tmp_path, lines):
    path = tmp_path / ("rows.jsonl" if lines else "rows.json")
    path.write_text("\n".join(map(json.dumps, ROWS)) if lines else json.dumps(ROWS))
    [found] = read_refcoco(path)
    assert found.boxes == ((4, 5, 14, 25), (30, 5, 40, 25)) and found.file == "a.jpg"
    assert found.references == (Reference(0, ("left man",)), Reference(1, ("dog",)))


@pytest.mark.parametrize(
    ("name", "message"),
    [("refs(unc).p", "a pickle, and reading one runs the code in it; convert"),
     ("refs.parquet", r"convert it to JSON lines: pandas\.read_parquet"),
     ("refs.json", "no such file")],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_with_the_conversion(tmp_path, name, message):
    with pytest.raises(ConfigError, match=message):
        read_refcoco(tmp_path / name)


def test_a_set_of_renders_is_asked(tmp_path):
    shown = CliRunner().invoke(app, ["synth", "refcoco", str(tmp_path / "set"), "--rooms", "2"])
    assert shown.exit_code == 0, shown.output
    photographs = read_refcoco(tmp_path / "set/refs.json", tmp_path / "set/instances.json", "val")
    assert len(photographs) == 2 and all(one.references for one in photographs)
    for one in photographs:
        for left, top, right, bottom in one.boxes:
            assert 0 <= left < right <= one.size[0] and 0 <= top < bottom <= one.size[1]
    config = small_config(
        object_tokens="none", head={"object_source": "input"}, slim={"objects": "causal"},
        objects={"relation_layers": 0, "decoder_bias": False},
    )  # fmt: skip
    save_model(tmp_path / "model", SpatialModel(config), small_tokenizer(), torch.float32)
    arguments = ["evaluate", "refcoco", str(tmp_path / "set/refs.json"), "--json", "--instances",
                 str(tmp_path / "set/instances.json"), "--images", str(tmp_path / "set"),
                 "--model", str(tmp_path / "model")]  # fmt: skip
    shown = CliRunner().invoke(app, arguments)
    assert shown.exit_code == 0, shown.output
    report = json.loads(shown.stdout)
    assert report["sentences"] == sum(len(one.references) for one in photographs)
    assert 0 < report["chance"] < 50 and 0 <= report["right"] <= 100
