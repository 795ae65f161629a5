"""The query reader: architecture, the file that ships, and the sentences it learns from."""

import pytest
import torch

from spatial3d_ros.errors import CheckpointError
from spatial3d_ros.research.query.sentences import QuerySentences, templates
from spatial3d_ros.research.query.training import evaluate_reader, train_reader
from spatial3d_ros.tasks.query import INTENTS, PREDICATES, ROLES, SEGMENTS
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


def test_training_improves_roles_and_intents(tmp_path):
    path = tmp_path / "reader.safetensors"
    fresh = evaluate_reader(QueryReader(), 256, "train")
    train_reader(path, steps=60, batch=32, rate=3e-3, say=str)
    trained = evaluate_reader(load_reader(path), 256, "train")
    assert trained["role"] > max(0.6, fresh["role"] + 0.2)
    assert trained["intent"] > fresh["intent"] + 0.1


def test_sentences_are_reproducible_and_tagged_with_known_names():
    first, second = QuerySentences(7), QuerySentences(7)
    drawn = [first.draw() for _ in range(300)]
    assert drawn == [second.draw() for _ in range(300)]
    for sentence in drawn:
        assert sentence.intent in INTENTS and sentence.words
        for word, segment, role, predicate in sentence.words:
            assert word and segment in SEGMENTS and role in ROLES and predicate in PREDICATES
    assert {s.intent for s in drawn} >= {"locate", "distance", "edit.move", "unsupported.language"}


def test_every_intent_has_sentences_and_test_templates_are_kept_apart():
    train, test = templates("train"), templates("test")
    assert set(train) | {"unsupported.language"} <= set(INTENTS)
    for intent, texts in train.items():
        assert not set(texts) & set(test[intent]) or len(texts) < 8
