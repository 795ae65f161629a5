"""Training of the query reader, and the file it writes."""

import pytest
import torch

from spatial3d_ros.errors import CheckpointError
from spatial3d_ros.research.query.training import evaluate_reader, train_reader
from spatial3d_ros.tasks.query_network import QueryReader, load_reader, save_reader, word_buckets


def test_padding_changes_nothing():
    reader = QueryReader().eval()
    with torch.no_grad():
        alone = reader([["the", "chair"]])
        beside = reader([["the", "chair"], ["where", "is", "the", "red", "mug"]])
    assert torch.allclose(alone.intent[0], beside.intent[0], atol=1e-5)
    assert torch.allclose(alone.role[0], beside.role[0, :2], atol=1e-5)


def test_words_alike_share_embeddings():
    chair = set(word_buckets("chair"))
    assert len(chair & set(word_buckets("chairs"))) >= 4
    assert not chair & set(word_buckets("lamp"))


def test_file_round_trip(tmp_path):
    reader = QueryReader().eval()
    save_reader(reader, tmp_path / "reader.safetensors")
    loaded = load_reader(tmp_path / "reader.safetensors")
    words = [["where", "is", "the", "chair"]]
    assert torch.allclose(reader(words).intent, loaded(words).intent, atol=0.05)
    with pytest.raises(CheckpointError, match=r"other\.safetensors"):
        load_reader(tmp_path / "other.safetensors")


def test_training_improves_tags(tmp_path):
    path = tmp_path / "reader.safetensors"
    fresh = evaluate_reader(QueryReader(), 128, "train")
    train_reader(path, steps=40, batch=32, rate=3e-3, say=str)
    trained = evaluate_reader(load_reader(path), 128, "train")
    assert trained["segment"] > fresh["segment"] + 0.1
    assert trained["role"] > fresh["role"] + 0.1
