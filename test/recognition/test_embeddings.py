"""Image-text embeddings: a tiny random CLIP, and what its scores do."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from helpers.engine_scene import wall_frame
from spatial3d_ros.errors import CheckpointError, RecognitionError
from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.recognition.embeddings import (
    CONTRASTS,
    ImageTextEmbeddings,
    object_crops,
    open_word_detections,
)
from spatial3d_ros.scene.objects import SceneObject


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CLIP of random weights with a tokenizer of letters."""
    from transformers import CLIPConfig, CLIPModel, CLIPTokenizer
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    path = tmp_path_factory.mktemp("clip")
    torch.manual_seed(0)
    letters = [chr(code) for code in range(97, 123)]
    vocabulary = [*letters, *(f"{one}</w>" for one in letters), "<|startoftext|>", "<|endoftext|>"]
    (path / "vocab.json").write_text(json.dumps({w: k for k, w in enumerate(vocabulary)}))
    (path / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = CLIPTokenizer(
        str(path / "vocab.json"), str(path / "merges.txt"), model_max_length=40
    )
    tokenizer.save_pretrained(path)
    text = {
        "vocab_size": len(vocabulary), "hidden_size": 16, "intermediate_size": 16,
        "num_hidden_layers": 1, "num_attention_heads": 2, "max_position_embeddings": 40,
        "eos_token_id": len(vocabulary) - 1, "bos_token_id": len(vocabulary) - 2,
    }  # fmt: skip
    vision = {
        "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
        "num_attention_heads": 2, "image_size": 32, "patch_size": 16,
    }  # fmt: skip
    config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)
    CLIPModel(config).save_pretrained(path)
    CLIPImageProcessorPil(
        size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
    ).save_pretrained(path)
    return path


def test_a_folder_scores_nouns_against_crops(folder: Path) -> None:
    model = ImageTextEmbeddings.load(folder, "cpu")
    crops = [np.zeros((20, 30, 3), np.uint8), np.full((40, 24, 3), 200, np.uint8)]
    scores = model.probabilities(crops, ["mug", "zorbik", "mug"])
    assert scores.shape == (2, 3) and ((scores > 0) & (scores < 1)).all()
    assert (scores[:, 0] == scores[:, 2]).all()
    assert not np.allclose(scores[:, 0], scores[:, 1])  # it reads the word
    assert not np.allclose(scores[0], scores[1])  # and looks at the crop
    assert model.probabilities([], ["mug"]).shape == (0, 1)


def test_a_noun_is_compared_with_what_is_no_object(folder: Path) -> None:
    model = ImageTextEmbeddings.load(folder, "cpu")
    crop = [np.full((30, 30, 3), 90, np.uint8)]
    alike = model.probabilities(crop, [CONTRASTS[0]])[0, 0]
    assert alike < 0.5  # one of several contrasts never beats all of them


def test_values_that_are_not_finite_are_an_error(folder: Path) -> None:
    model = ImageTextEmbeddings.load(folder, "cpu")
    with torch.no_grad():
        model._model.visual_projection.weight.fill_(torch.nan)
    with pytest.raises(RecognitionError, match="not finite"):
        model.probabilities([np.zeros((9, 9, 3), np.uint8)], ["mug"])


def test_a_folder_of_another_model_or_none_is_named(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no config\.json.*siglip_base"):
        ImageTextEmbeddings.load(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match="holds a 'bert', not one of clip"):
        ImageTextEmbeddings.load(tmp_path)


def item(number: int, center: tuple[float, float, float]) -> SceneObject:
    return SceneObject(
        number, Box3D(center, (0.4, 0.4, 0.4)), (9.0, 9.0, 9.0), "box", "gray", 0.9, 1, 1,
        np.zeros((4, 3), np.float32),
    )  # fmt: skip


def test_crops_are_the_largest_parts_of_views_that_show_the_box() -> None:
    near, far = wall_frame(1), wall_frame(2)
    crops = object_crops(Box3D((0.3, 1.5, 1.0), (0.4, 0.2, 0.4)), [far, near, wall_frame(40)])
    assert len(crops) == 2  # the third looks elsewhere
    assert crops[0].size >= crops[1].size
    assert object_crops(Box3D((0.3, -3.0, 1.0), (0.4, 0.4, 0.4)), [near]) == []


def test_objects_that_look_like_a_word_become_detections_of_it(folder: Path) -> None:
    class Bright:
        """Takes bright crops for mugs."""

        def probabilities(self, crops, nouns):
            return np.array([[0.9 if crop.mean() > 100 else 0.1, 0.2] for crop in crops])

    frames = [wall_frame(1)]
    (found,) = open_word_detections(
        [item(1, (0.3, 1.5, 1.0)), item(2, (0.3, -3.0, 1.0))], frames, ["mug", "jar"], Bright()
    )
    assert (found.label, found.score) == ("mug", 0.9)
    assert found.box.center == (0.3, 1.5, 1.0)
    assert open_word_detections([item(1, (0.3, 1.5, 1.0))], frames, [], Bright()) == []
