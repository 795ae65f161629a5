"""Masks of boxes: overlaps, and a tiny random SAM 2 end to end."""

from __future__ import annotations

import json
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch

from spatial3d_ros.errors import CheckpointError, ConfigError
from spatial3d_ros.recognition.box_segmenter import BATCH_SIZE, BoxSegmenter, stack_masks

SIDE = 64
MEAN, STD = [0.5, 0.5, 0.5], [0.25, 0.25, 0.25]
HEIGHT, WIDTH = 48, 80


def parts():
    """A SAM 2 of some 100,000 weights that sees 64 x 64 pixels."""
    backbone = {
        "model_type": "sam2_hiera_det_model", "hidden_size": 8, "image_size": [SIDE, SIDE],
        "blocks_per_stage": [1, 1, 2, 1], "embed_dim_per_stage": [8, 16, 32, 64],
        "num_attention_heads_per_stage": [1, 1, 2, 2], "window_size_per_stage": [8, 4, 4, 2],
        "global_attention_blocks": [3], "window_positional_embedding_background_size": [2, 2],
    }  # fmt: skip
    vision = {
        "model_type": "sam2_vision_model", "backbone_config": backbone, "fpn_hidden_size": 32,
        "backbone_channel_list": [64, 32, 16, 8],
        "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
    }  # fmt: skip
    return {
        "vision_config": vision,
        "prompt_encoder_config": {"hidden_size": 32, "image_size": SIDE, "patch_size": 16},
        "mask_decoder_config": {
            "hidden_size": 32, "mlp_dim": 32, "num_attention_heads": 2, "iou_head_hidden_dim": 32,
        },
    }  # fmt: skip


def video_parts():
    """The same with the memory of the video model, as the public folders have it."""
    return parts() | {
        "image_size": SIDE, "memory_attention_hidden_size": 32, "memory_attention_num_layers": 1,
        "memory_attention_feed_forward_hidden_size": 16, "memory_attention_rope_feat_sizes": [4, 4],
        "memory_encoder_hidden_size": 32, "memory_encoder_output_channels": 8,
        "mask_downsampler_embed_dim": 32, "memory_fuser_embed_dim": 32,
        "memory_fuser_num_layers": 1, "memory_fuser_intermediate_dim": 16,
    }  # fmt: skip


def saved(path, model):
    model.save_pretrained(path)
    numbers = {"image_mean": MEAN, "image_std": STD, "image_processor_type": "Sam2ImageProcessor"}
    (path / "preprocessor_config.json").write_text(json.dumps(numbers))
    (path / "processor_config.json").write_text('{"processor_class": "Sam2VideoProcessor"}')
    return path


@pytest.fixture(scope="module", params=["image", "video"])
def folder(request, tmp_path_factory):
    """Random weights of the image and of the video model, as a download would leave them."""
    from transformers import Sam2Config, Sam2Model, Sam2VideoConfig, Sam2VideoModel

    torch.manual_seed(0)
    model = (
        Sam2Model(Sam2Config(**parts()))
        if request.param == "image"
        else Sam2VideoModel(Sam2VideoConfig(**video_parts()))
    )
    return saved(tmp_path_factory.mktemp("sam2"), model)


def picture():
    return np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)


def test_masks_stay_within_their_boxes(folder):
    segmenter = BoxSegmenter.load(folder, "cpu")
    rng = np.random.default_rng(1)
    starts = rng.uniform(0, [WIDTH - 24, HEIGHT - 24], (BATCH_SIZE + 2, 2))
    corners = [(u, v, u + 20.0, v + 20.0) for u, v in starts.tolist()]
    labels = segmenter.label_image(picture(), corners)
    assert labels.shape == (HEIGHT, WIDTH) and labels.dtype == np.uint8
    rows, columns = np.nonzero(labels)
    assert len(rows) and labels.max() <= len(corners)
    left, top, right, bottom = np.array(corners)[labels[rows, columns] - 1].T
    assert (columns >= left - 2).all() and (columns <= right + 1).all()
    assert (rows >= top - 2).all() and (rows <= bottom + 1).all()


class Model:
    """Three masks for each box: empty, left of `edge`, full; the second scores highest."""

    def __init__(self, edge=0.5, logit=1.0):
        self.config = SimpleNamespace(prompt_encoder_config=SimpleNamespace(image_size=SIDE))
        self.edge, self.logit, self.images, self.boxes = edge, logit, [], []

    def to(self, device):
        return self

    def eval(self):
        return self

    def get_image_embeddings(self, pixels):
        self.images.append(pixels)
        return [pixels]

    def __call__(self, image_embeddings, input_boxes, multimask_output):
        assert multimask_output
        count = input_boxes.shape[1]
        self.boxes += input_boxes[0].tolist()
        masks = torch.full((1, count, 3, 16, 16), -1.0)
        masks[:, :, 1, :, : int(16 * self.edge)] = self.logit
        masks[:, :, 2] = 1.0
        scores = torch.tensor([0.1, 0.9, 0.5]).expand(1, count, 3)
        return SimpleNamespace(pred_masks=masks, iou_scores=scores)


def with_model(**options):
    model = Model(**options)
    return model, BoxSegmenter(model, MEAN, STD, "cpu")


def test_mask_with_highest_predicted_iou_is_cut_to_its_box():
    model, segmenter = with_model()
    labels = segmenter.label_image(picture(), [(20.0, 10.0, 60.0, 30.0)])
    expected = np.zeros((HEIGHT, WIDTH), np.uint8)
    expected[9:31, 18:40] = 1  # 5 % of the sides around the box, and the left half of the image
    assert np.array_equal(labels, expected)
    # image and box as the model sees them: squeezed into its square, in units of its training
    (pixels,) = model.images
    assert pixels.shape == (1, 3, SIDE, SIDE)
    assert pixels.mean().item() == pytest.approx((picture().mean() / 255 - 0.5) / 0.25, abs=0.05)
    assert model.boxes[0] == pytest.approx([16.0, 10 * 64 / 48, 48.0, 40.0])


def test_model_does_not_run_without_boxes():
    model, segmenter = with_model()
    labels = segmenter.label_image(picture(), [])
    assert labels.shape == (HEIGHT, WIDTH) and labels.dtype == np.uint8 and not labels.any()
    assert not model.images


def test_box_without_mask_has_no_pixels_and_other_indices_stay():
    _, segmenter = with_model()
    boxes = [(50.0, 5.0, 70.0, 25.0), (5.0, 5.0, 30.0, 25.0), (90.0, 60.0, 95.0, 70.0)]
    assert set(np.unique(segmenter.label_image(picture(), boxes))) == {0, 2}
    _, blind = with_model(logit=-1.0)
    assert not blind.label_image(picture(), boxes).any()


def test_more_than_255_boxes_give_uint16():
    _, segmenter = with_model(edge=1.0)
    boxes = [(u * 5.0 + 1, v * 3.0 + 1, u * 5.0 + 4, v * 3.0 + 3)
             for v in range(16) for u in range(16)]  # fmt: skip
    labels = segmenter.label_image(picture(), boxes)
    assert labels.dtype == np.uint16 and labels[1, 1] == 1 and labels[46, 77] == 256


def mask(rows, columns):
    made = np.zeros((20, 20), bool)
    made[rows, columns] = True
    return made


def test_smaller_mask_lies_on_top():
    table, cup = mask(slice(5, 20), slice(0, 20)), mask(slice(2, 8), slice(8, 12))
    for masks, numbers in (([table, cup], (1, 2)), ([cup, table], (2, 1))):
        labels = stack_masks(masks, (20, 20))
        assert (labels[10, 10], labels[6, 9], labels[0, 0]) == (*numbers, 0)
    first, second = mask(slice(0, 10), slice(0, 6)), mask(slice(0, 10), slice(4, 10))
    assert stack_masks([first, second], (20, 20))[0, 5] == 1


def test_mostly_hidden_mask_is_removed():
    whole, nearly = mask(slice(0, 10), slice(0, 10)), mask(slice(0, 10), slice(1, 10))
    assert set(np.unique(stack_masks([whole, nearly], (20, 20)))) == {0, 2}
    half = mask(slice(0, 10), slice(0, 5))
    assert set(np.unique(stack_masks([whole, half], (20, 20)))) == {0, 1, 2}


@pytest.fixture
def copy(folder, tmp_path):
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


def test_load_errors_name_the_missing_file_and_the_download(copy, tmp_path):
    with pytest.raises(CheckpointError, match=r"nowhere.*spatial3d download sam2_tiny"):
        BoxSegmenter.load(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="device"):
        BoxSegmenter.load(copy, "quantum")
    (copy / "preprocessor_config.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"image_mean.*mask_model"):
        BoxSegmenter.load(copy)
    (copy / "config.json").write_text('{"model_type": "owlv2"}')
    with pytest.raises(CheckpointError, match=r"'owlv2'.*sam2, sam2_video"):
        BoxSegmenter.load(copy)


def test_truncated_or_incomplete_weights_are_refused(copy):
    from safetensors.torch import load_file, save_file

    weights = load_file(copy / "model.safetensors")
    left = {name: value for name, value in weights.items() if "mask_decoder" not in name}
    save_file(left, copy / "model.safetensors", {"format": "pt"})
    with pytest.raises(CheckpointError, match=r"weights are missing, for example mask_decoder"):
        BoxSegmenter.load(copy)
    (copy / "model.safetensors").write_bytes(b"12345")
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        BoxSegmenter.load(copy)


def test_transformers_without_sam_2_is_named(monkeypatch, tmp_path):
    old = ModuleType("transformers")
    old.__version__ = "4.40.0"
    monkeypatch.setitem(sys.modules, "transformers", old)
    with pytest.raises(ConfigError, match=r"transformers 4\.40\.0.*pip install"):
        BoxSegmenter.load(tmp_path)
