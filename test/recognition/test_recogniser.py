"""Recognisers: made-up files and tiny random models in every run, real files where present."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from spatial3d_ros.errors import CheckpointError, ConfigError, RecognitionError
from spatial3d_ros.recognition import decoding
from spatial3d_ros.recognition.loading import load_recogniser
from spatial3d_ros.recognition.model_file import FileRecogniser, RecogniserSpec
from spatial3d_ros.recognition.recogniser import Recognition
from spatial3d_ros.recognition.transformers_models import clean_class
from spatial3d_ros.scene.lifting import Detection2D

SHARED = Path(os.environ.get("SPATIAL3D_SHARED", Path(__file__).resolve().parents[3] / "shared"))
RGB = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)
ANCHORS = np.array([[0.0, 0.0, 0.5, 0.5], [0.25, 0.5, 0.75, 1.0]])


def spec(**changes):
    given = {
        "kind": "onnx",
        "input": {"size": [32, 32], "layout": "nhwc"},
        "decode": "argmax",
        "labels": ["", "wall", "sofa"],
    }
    return RecogniserSpec.model_validate(given | changes)


def boxes_spec(**changes):
    return spec(decode="ssd", anchors_file="anchors.npy", labels=["", "cup", "sofa"], **changes)


def recogniser(given, outputs, anchors=None, seen=None):
    def run(tensor):
        if seen is not None:
            seen.append(tensor)
        return [np.asarray(output) for output in outputs]

    return FileRecogniser(given, given.labels, run, anchors)


def ssd_outputs(logits):
    return [np.zeros((1, 2, 1, 4), np.float32), np.array([logits], np.float32)]


# ---- boxes


def test_ssd_boxes_are_the_anchors_in_pixels_of_the_image():
    outputs = ssd_outputs([[-9, 3, -9], [-9, -9, 2]])
    found = recogniser(boxes_spec(), outputs, ANCHORS).recognise(RGB).objects()
    assert [one.label for one in found] == ["cup", "sofa"]
    assert found[0].corners == pytest.approx((0, 0, 32, 24))
    assert found[1].corners == pytest.approx((32, 12, 64, 36))
    assert found[0].score == pytest.approx(1 / (1 + np.exp(-3)))


def test_ssd_codes_shift_and_scale_the_anchors():
    codes = np.zeros((1, 2, 4), np.float32)
    codes[0, 0] = (5.0, 0.0, 5 * np.log(2), 0.0)  # half a height down, twice as high
    logits = np.array([[[-9, 3, -9], [-9, -9, -9]]], np.float32)
    (found,) = recogniser(boxes_spec(), [logits, codes], ANCHORS).recognise(RGB).detections
    assert found.corners == pytest.approx((0, 0, 32, 48))


def test_boxes_of_one_class_that_overlap_are_suppressed():
    boxes = decoding.Boxes(
        np.array([[0, 0, 1, 1], [0, 0, 1, 0.9], [0, 0, 1, 0.9], [0, 0, 0.2, 0.2]]),
        np.array([1, 1, 2, 1]),
        np.array([0.9, 0.8, 0.7, 0.6]),
    )
    kept = decoding.suppress(boxes, 0.5)
    assert kept.scores.tolist() == [0.9, 0.7, 0.6]
    assert len(decoding.suppress(decoding.Boxes(*(v[:0] for v in boxes)), 0.5).scores) == 0


def test_classes_without_label_and_low_scores_are_dropped():
    outputs = ssd_outputs([[9, -9, -9], [-9, -1.0, -9]])
    assert recogniser(boxes_spec(), outputs, ANCHORS).recognise(RGB).detections == ()
    low = boxes_spec(threshold=0.2)
    assert len(recogniser(low, outputs, ANCHORS).recognise(RGB).detections) == 1


def test_the_background_does_not_crowd_out_what_is_named():
    count = 2 * decoding.MAX_CANDIDATES
    logits = np.full((1, count, 3), (9.0, -9.0, -9.0), np.float32)
    logits[0, -1] = (9.0, 1.0, -9.0)
    anchors = np.tile(ANCHORS[:1], (count, 1))
    outputs = [np.zeros((1, count, 4), np.float32), logits]
    (found,) = recogniser(boxes_spec(), outputs, anchors).recognise(RGB).detections
    assert found.label == "cup" and found.score == pytest.approx(1 / (1 + np.exp(-1)))


def test_what_a_model_confuses_becomes_further_labels():
    outputs = ssd_outputs([[-9, 3, -9], [-9, -9, 2]])
    mistaken = {"cup": {"vase": 0.5, "bottle": 0.25}}
    cup, sofa = (
        recogniser(boxes_spec(confusion=mistaken), outputs, ANCHORS).recognise(RGB).objects()
    )
    whole = 1 / (1 + np.exp(-3))
    assert (cup.label, cup.score) == ("vase", pytest.approx(whole / 2))
    assert dict(cup.others) == pytest.approx({"cup": whole / 4, "bottle": whole / 4})
    assert sofa.others == ()
    with pytest.raises(ValueError, match=r"confusion\.cup: the shares add up"):
        boxes_spec(confusion={"cup": {"vase": 0.7, "bottle": 0.7}})


def test_yolox_boxes_are_in_units_of_their_stride_and_padding_is_undone():
    given = spec(decode="yolox", labels=["cup"], input={"size": [64, 64], "fit": "pad"})
    rows = np.zeros((1, 64 + 16 + 4, 6), np.float32)
    rows[0, 64 + 1] = (0.5, 0.5, np.log(2), 0.0, 0.9, 1.0)  # second cell of stride 16
    seen = []
    (found,) = recogniser(given, [rows], seen=seen).recognise(RGB).detections
    assert found.corners == pytest.approx((8, 0, 40, 16)) and found.score == pytest.approx(0.9)
    assert seen[0].shape == (1, 3, 64, 64) and (seen[0][0, :, 48:] == 114).all()


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ([np.zeros((1, 3, 4)), np.zeros((1, 3, 3))], r"expected box codes \(1, 2, 4\)"),
        ([np.zeros((1, 2, 4)), np.zeros((1, 2, 9))], r"class logits \(1, 2, 3\)"),
        ([], "outputs of the model are none"),
        (ssd_outputs([[np.nan, 0, 0], [0, 0, 0]]), "not finite"),
    ],
)
def test_boxes_of_another_form_are_an_error(outputs, message):
    with pytest.raises(RecognitionError, match=message):
        recogniser(boxes_spec(), outputs, ANCHORS).recognise(RGB)


def test_boxes_of_crops_are_moved_to_the_whole_image():
    seen = []
    given = boxes_spec(crops="halves")
    outputs = ssd_outputs([[-9, 3, -9], [-9, -9, 2]])
    found = recogniser(given, outputs, ANCHORS, seen).recognise(RGB).detections
    assert len(seen) == 3  # 64 x 48: the whole, and squares of 48 at both ends
    cups = {one.corners for one in found if one.label == "cup"}
    assert cups == {(0.0, 0.0, 32.0, 24.0), (16.0, 0.0, 40.0, 24.0)}  # the left square's is one
    sofas = {one.corners for one in found if one.label == "sofa"}
    assert sofas == {(32.0, 12.0, 64.0, 36.0), (24.0, 12.0, 48.0, 36.0)}
    with pytest.raises(ValueError, match="halves goes with boxes"):
        spec(crops="halves")


# ---- class images


def classes_image():
    image = np.zeros((1, 32, 32), np.int32)
    image[0, :16] = 1
    image[0, 20:30, 2:12] = 2
    image[0, 20:30, 20:30] = 2
    return image


@pytest.mark.parametrize("form", ["classes", "column", "nchw", "nhwc"])
def test_class_images_have_the_size_of_the_image_and_parts_become_detections(form):
    classes = classes_image()
    scores = np.eye(3, dtype=np.float32)[classes]
    output = {
        "classes": classes, "column": classes[..., None].astype(np.uint8),
        "nchw": scores.transpose(0, 3, 1, 2), "nhwc": scores,
    }[form]  # fmt: skip
    found = recogniser(spec(), [output]).recognise(RGB)
    assert found.class_image.shape == RGB.shape[:2]
    assert found.labels[found.class_image[0, 0]] == "wall"
    left, right = sorted(found.objects(), key=lambda one: one.corners[0])
    assert left.label == right.label == "sofa"
    assert left.corners == pytest.approx((4, 30, 24, 45), abs=1)
    assert left.mask.sum() == pytest.approx(20 * 15, abs=20) and not (left.mask & right.mask).any()


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (np.full((1, 8, 8), 3, np.int32), "class 3, but there are 3 labels"),
        (np.zeros((1, 7, 8, 8), np.float32), r"cannot read an output \(1, 7, 8, 8\)"),
        (np.full((1, 3, 8, 8), np.nan, np.float32), "not finite"),
        (np.zeros((8,), np.int32), "cannot read"),
    ],
)
def test_class_images_of_another_form_are_an_error(output, message):
    with pytest.raises(RecognitionError, match=message):
        recogniser(spec(), [output]).recognise(RGB)


def test_input_is_normalised_in_the_order_of_the_model():
    seen = []
    layout = {"size": [16, 8], "channels": "bgr", "scale": 1 / 255, "mean": [0.1, 0.2, 0.3],
              "std": 0.5}  # fmt: skip
    red = np.zeros((48, 64, 3), np.uint8)
    red[..., 0] = 255
    recogniser(spec(input=layout), [np.zeros((1, 16, 8), np.int32)], seen=seen).recognise(red)
    assert seen[0].shape == (1, 3, 16, 8) and seen[0].dtype == np.float32
    assert seen[0][0, :, 0, 0] == pytest.approx([-0.2, -0.4, 1.4])


# ---- recogniser.yaml


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kind: onnx", "input: Field required"),
        ("{kind: tensorrt, input: {size: [1, 1]}, decode: argmax, labels: [a]}", "kind: "),
        ("{kind: onnx, input: {size: [0, 1]}, decode: argmax, labels: [a]}", r"input\.size\.0"),
        ("{kind: onnx, input: {size: [1, 1]}, decode: argmax}", "needs labels or labels_file"),
        ("{kind: onnx, input: {size: [1, 1]}, decode: ssd, labels: [a]}", "anchors_file"),
        ("{kind: onnx, input: {size: [1, 1]}, decode: argmax, labels: [a], task: boxes}", "task"),
        ("{kind: onnx, input: {size: [1, 1]}, decode: argmax, labels: [a], lables: 1}", "lables"),
        ("{kind: onnx, input: {size: [1, 1]}, decode: argmax, labels_file: none.txt}", "none.txt"),
    ],
)
def test_a_wrong_description_names_the_key(tmp_path, text, message):
    (tmp_path / "recogniser.yaml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_recogniser(tmp_path)


MINIMAL = "{kind: onnx, input: {size: [8, 8]}, decode: argmax, labels: [a]}"


def test_folders_without_or_with_two_models_are_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"nowhere: no recogniser\.yaml"):
        load_recogniser(tmp_path / "nowhere")
    (tmp_path / "recogniser.yaml").write_text(MINIMAL)
    with pytest.raises(CheckpointError, match="has none"):
        load_recogniser(tmp_path)
    for name in ("a.onnx", "b.onnx"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"has a\.onnx, b\.onnx; name one as `file`"):
        load_recogniser(tmp_path)
    (tmp_path / "recogniser.yaml").write_text(MINIMAL.replace("kind", "file: c.onnx, kind"))
    with pytest.raises(CheckpointError, match=r"c\.onnx: no such file"):
        load_recogniser(tmp_path)


@pytest.mark.parametrize(("kind", "suffix"), [("onnx", ".onnx"), ("litert", ".tflite")])
def test_damaged_files_and_missing_runtimes_are_named(tmp_path, kind, suffix):
    (tmp_path / "recogniser.yaml").write_text(MINIMAL.replace("onnx", kind))
    (tmp_path / f"model{suffix}").write_bytes(b"damaged")
    with pytest.raises((CheckpointError, ConfigError), match=rf"cannot load it|\[{kind}\]"):
        load_recogniser(tmp_path)


def test_damaged_anchors_are_named(tmp_path):
    text = MINIMAL.replace("argmax", "ssd, anchors_file: anchors.npy")
    (tmp_path / "recogniser.yaml").write_text(text)
    (tmp_path / "m.onnx").write_bytes(b"")
    for content in (b"", b"damaged"):
        (tmp_path / "anchors.npy").write_bytes(content)
        with pytest.raises(CheckpointError, match=r"anchors\.npy"):
            load_recogniser(tmp_path)
    np.save(tmp_path / "anchors.npy", np.zeros((3, 5)))
    with pytest.raises(CheckpointError, match=r"must be \(N, 4\)"):
        load_recogniser(tmp_path)


# ---- transformers


def save_detector(folder):
    from transformers import YolosConfig, YolosForObjectDetection
    from transformers.models.yolos.image_processing_pil_yolos import YolosImageProcessorPil

    config = YolosConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        image_size=[32, 32], patch_size=8, num_detection_tokens=5,
        id2label={0: "N/A", 1: "potted-plant", 2: "TV"}, label2id={"N/A": 0},
    )  # fmt: skip
    YolosForObjectDetection(config).save_pretrained(folder)
    YolosImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder)


def save_semantic(folder):
    from transformers import SegformerConfig, SegformerForSemanticSegmentation
    from transformers.models.segformer.image_processing_pil_segformer import (
        SegformerImageProcessorPil,
    )

    config = SegformerConfig(
        depths=[1, 1, 1, 1], hidden_sizes=[8, 8, 8, 8], num_attention_heads=[1, 1, 1, 1],
        decoder_hidden_size=8, id2label={0: "wall", 1: "sofa"}, label2id={"wall": 0, "sofa": 1},
    )  # fmt: skip
    SegformerForSemanticSegmentation(config).save_pretrained(folder)
    SegformerImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder)


def save_panoptic(folder):
    from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, SwinConfig
    from transformers.models.mask2former.image_processing_pil_mask2former import (
        Mask2FormerImageProcessorPil,
    )

    backbone = SwinConfig(
        image_size=64, embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 1, 1], window_size=2,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )  # fmt: skip
    config = Mask2FormerConfig(
        backbone_config=backbone, feature_size=32, mask_feature_size=32, hidden_dim=32,
        encoder_feedforward_dim=8, dim_feedforward=8, encoder_layers=1, decoder_layers=2,
        num_attention_heads=1, num_queries=6,
        id2label={0: "wall", 1: "sofa"}, label2id={"wall": 0, "sofa": 1},
    )  # fmt: skip
    Mask2FormerForUniversalSegmentation(config).save_pretrained(folder)
    Mask2FormerImageProcessorPil(size={"height": 64, "width": 64}).save_pretrained(folder)


@pytest.mark.parametrize("save", [save_detector, save_semantic, save_panoptic])
def test_tiny_transformers_models_give_boxes_or_classes_of_the_image(tmp_path, save):
    torch.manual_seed(0)
    save(tmp_path)
    model = load_recogniser(tmp_path, "cpu", min_score=0.0)
    found = model.recognise(RGB)
    if save is save_detector:
        assert model.labels[1:3] == ("potted plant", "tv") and found.class_image is None
        assert {one.label for one in found.detections} <= {"potted plant", "tv"}
        scores = [one.score for one in found.detections]
        assert scores and scores == sorted(scores, reverse=True)
    else:
        assert model.labels == ("wall", "sofa") and found.class_image.shape == RGB.shape[:2]
        assert found.class_image.max() < len(found.labels)
    for one in found.objects():
        left, top, right, bottom = one.corners
        assert 0 <= left < right <= 64 and 0 <= top < bottom <= 48 and one.label != "wall"


def test_other_and_incomplete_transformers_models_are_named(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "bert", "architectures": ["BertModel"]}')
    with pytest.raises(CheckpointError, match=r"'BertModel'.*ForObjectDetection"):
        load_recogniser(tmp_path)
    (tmp_path / "config.json").write_text("[")
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_recogniser(tmp_path)
    save_semantic(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="safetensors"):
        load_recogniser(tmp_path)


@pytest.mark.parametrize(
    ("name", "label"),
    [("dining-table", "dining table"), ("N/A", ""), ("LABEL_7", ""), ("tv; television", "tv"),
     ("armchair, chair", "armchair"), ("windowpane, window", "window"),
     ("Wall_Other", "wall other")],
)  # fmt: skip
def test_class_names_as_labels(name, label):
    assert clean_class(name) == label


def test_structure_is_no_object():
    wall, sofa = (Detection2D((0, 0, 9, 9), label, 0.9) for label in ("wall", "sofa"))
    assert Recognition((wall, sofa)).objects() == (sofa,)


# ---- real files


def real_folder(tmp_path, name, runtime, text):
    """A folder with links to the files of a real model and a recogniser.yaml."""
    source = SHARED / "recognisers" / name
    if not source.is_dir():
        pytest.skip(f"no {source.name}: set SPATIAL3D_SHARED to the folder with recognisers/{name}")
    pytest.importorskip(runtime)
    for file in source.iterdir():
        (tmp_path / file.name).symlink_to(file)
    (tmp_path / "recogniser.yaml").write_text(text)
    return tmp_path


def lounge():
    path = SHARED / "data" / "lounge_3dmatch" / "frame-000000.color.png"
    if not path.exists():
        pytest.skip(f"no {path.name}: set SPATIAL3D_SHARED to the folder with data/lounge_3dmatch")
    return cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)


COCO = dict.fromkeys(range(91), "") | {
    1: "person", 44: "bottle", 47: "cup", 62: "chair", 63: "sofa", 64: "plant", 67: "table",
    72: "tv", 84: "book",
}  # fmt: skip
ADE_TEXT = """
other wall building sky floor tree ceiling road bed windowpane grass cabinet sidewalk person
earth door table mountain plant curtain chair car water painting sofa shelf house sea mirror
rug field armchair
"""
ADE = ADE_TEXT.split()


def test_a_real_ssd_finds_furniture(tmp_path):
    text = (
        "{kind: onnx, input: {size: [300, 300], layout: nhwc}, decode: ssd, threshold: 0.4, "
        f"anchors_file: cocossd_anchors.npy, labels: {list(COCO.values())}}}"
    )
    folder = real_folder(tmp_path, "coco_ssd", "onnxruntime", text)
    found = load_recogniser(folder).recognise(lounge()).objects()
    assert {"sofa", "chair"} & {one.label for one in found}
    assert all(0.4 <= one.score <= 1 for one in found)


def test_a_real_segmenter_finds_floor_and_furniture(tmp_path):
    labels = ["", *ADE[1:], *[""] * 225]
    text = (
        "{kind: litert, decode: argmax, input: {size: [512, 512], layout: nhwc, "
        f"scale: 0.00784313725, mean: 1.0}}, labels: {labels}}}"
    )
    folder = real_folder(tmp_path, "mosaic_ade20k", "ai_edge_litert", text)
    found = load_recogniser(folder).recognise(lounge())
    assert found.class_image.shape == lounge().shape[:2]
    shares = np.bincount(found.class_image.ravel(), minlength=256) / found.class_image.size
    assert shares[ADE.index("floor")] > 0.05
    assert {"sofa", "table", "chair", "plant"} & {one.label for one in found.objects()}
