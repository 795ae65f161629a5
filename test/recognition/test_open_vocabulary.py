"""Open-vocabulary detection: prompts from questions, and a tiny random model end to end."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from spatial3d_ros.errors import CheckpointError, ConfigError
from spatial3d_ros.recognition.open_vocabulary import (
    Detection2D,
    OpenVocabularyDetector,
    suppress_duplicates,
)
from spatial3d_ros.recognition.prompts import PromptList, noun_phrases

SIDE, PATCH = 32, 8


@pytest.mark.parametrize(
    ("question", "names"),
    [
        ("where is the red mug next to the sink?", ["mug", "sink"]),
        ("the fire extinguisher", ["fire extinguisher"]),
        ("how far is the zorbik from the door?", ["zorbik", "door"]),
        ("move the chair 0.5 m towards the window", ["chair", "towards window"]),
        ("the largest plant", ["plant"]),
        ("what is it?", []),
        ("all chairs and the table", ["chairs", "table"]),
        ("赤い箱", ["赤い箱"]),
        ("<OBJ001> mug", ["obj", "mug"]),
        ("one two three four five six seven eight nine ten eleven", []),
    ],
)
def test_noun_phrases_of_a_question(question, names):
    assert noun_phrases(question) == names


def test_prompt_list_is_bounded_and_keeps_the_newest():
    prompts = PromptList(["Door", "fire_extinguisher"], max_count=4)
    assert prompts.current() == ("door", "fire extinguisher")
    assert prompts.add_question("the mug on the table")
    assert not prompts.add_question("the table")
    assert prompts.current() == ("door", "fire extinguisher", "table", "mug")
    assert prompts.add_question("the vase")
    assert prompts.current() == ("door", "fire extinguisher", "vase", "table")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """OWLv2 with random weights, as a download would leave it."""
    from transformers import CLIPTokenizer, Owlv2Config, Owlv2ForObjectDetection, Owlv2Processor
    from transformers.models.owlv2.image_processing_pil_owlv2 import Owlv2ImageProcessorPil

    path = tmp_path_factory.mktemp("owlv2")
    # the model ignores a prompt that begins with token 0
    letters = "abcdefghijklmnopqrstuvwxyz"
    pieces = ["!", "<|startoftext|>", "<|endoftext|>", *letters, *(f"{c}</w>" for c in letters)]
    tokenizer = CLIPTokenizer(
        vocab={piece: k for k, piece in enumerate(pieces)}, merges=[], model_max_length=16
    )
    small = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 2}
    config = Owlv2Config(
        text_config={
            **small, **heads, "vocab_size": len(pieces), "max_position_embeddings": 16,
            "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2,
        },
        vision_config={**small, **heads, "image_size": SIDE, "patch_size": PATCH},
        projection_dim=32,
    )  # fmt: skip
    torch.manual_seed(0)
    Owlv2ForObjectDetection(config).save_pretrained(path)
    images = Owlv2ImageProcessorPil(size={"height": SIDE, "width": SIDE})
    Owlv2Processor(images, tokenizer).save_pretrained(path)
    return path


def test_boxes_lie_in_the_image_and_have_a_prompt_as_label(folder):
    detector = OpenVocabularyDetector.load(folder, "cpu")
    rgb = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    found = detector.detect(rgb, ("zorbik", "red mug"), min_score=0.0)
    assert found and {one.label for one in found} <= {"zorbik", "red mug"}
    corners = np.array([one.corners for one in found])
    assert (corners >= 0).all() and (corners <= [64, 48, 64, 48]).all()
    assert (corners[:, 2:] - corners[:, :2] >= 1).all()
    scores = [one.score for one in found]
    assert scores == sorted(scores, reverse=True) and 0 <= scores[-1] <= scores[0] <= 1
    assert detector.detect(rgb, ("zorbik",), min_score=1.0) == []
    assert detector.detect(rgb, ()) == []


def test_load_errors_name_the_missing_file_and_the_download(folder, tmp_path):
    with pytest.raises(CheckpointError, match=r"nowhere.*spatial3d download owlv2_base"):
        OpenVocabularyDetector.load(tmp_path / "nowhere")
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(CheckpointError, match="safetensors"):
        OpenVocabularyDetector.load(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"'bert'.*owlv2, grounding-dino"):
        OpenVocabularyDetector.load(tmp_path)
    with pytest.raises(ConfigError, match="device"):
        OpenVocabularyDetector.load(folder, "quantum")


def test_duplicates_of_one_label_are_suppressed():
    boxes = [
        Detection2D((0, 0, 10, 10), "cup", 0.5),
        Detection2D((0, 0, 10, 11), "cup", 0.9),
        Detection2D((0, 0, 10, 10), "mug", 0.4),
        Detection2D((30, 30, 40, 40), "cup", 0.3),
    ]
    assert [(b.label, b.score) for b in suppress_duplicates(boxes)] == [
        ("cup", 0.9), ("mug", 0.4), ("cup", 0.3),
    ]  # fmt: skip
    assert suppress_duplicates([]) == []
