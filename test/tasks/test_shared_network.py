"""One network for several robots: the same scores as alone, from one pass."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import torch

from helpers.small_model import small_model, small_scene
from spatial3d_ros.errors import QueryError
from spatial3d_ros.model.checkpoint import save_model
from spatial3d_ros.tasks.model_runner import ModelRunner
from spatial3d_ros.tasks.shared_network import SharedNetworks

ASKED = [["the red chair"], ["the lamp", "the blue lamp on the shelf"], ["the table"]]
AWARE = {
    "psa": {"enabled": True, "seeds": 24, "referents": 8, "tokens": 5, "width": 12, "heads": 2},
    "object_tokens": "object+referent",
}


def runners(tmp_path: Path, count: int, parts: dict) -> list[ModelRunner]:
    model, prompt = small_model(**parts)
    save_model(tmp_path, model, prompt.tokenizer, torch.float32)
    networks = SharedNetworks()
    return [networks.load(str(tmp_path), "cpu", "float32") for _ in range(count)]


def scenes(runner: ModelRunner) -> list:
    with torch.inference_mode():
        return [
            runner.model.encode_scene(small_scene(k, views=1 + k, objects=3 + 2 * k), tokens)
            for k, tokens in enumerate([runner.prompt_tokens] * 3)
        ]


@pytest.mark.parametrize("parts", [{}, AWARE], ids=["objects", "referents"])
def test_questions_of_several_robots_take_one_pass(tmp_path: Path, parts: dict) -> None:
    fleet = runners(tmp_path, 3, parts)
    network = fleet[0]._network
    assert all(one.model is fleet[0].model and one._network is network for one in fleet)
    assert len({id(one._views) for one in fleet}) == 3
    held = scenes(fleet[0])
    alone = [one.score_phrases(*asked) for one, *asked in zip(fleet, held, ASKED, strict=True)]
    passes = network.passes
    found: list = [None] * 3

    def ask(k: int) -> None:
        found[k] = fleet[k].score_phrases(held[k], ASKED[k])

    with network._running:  # all wait
        threads = [threading.Thread(target=ask, args=(k,)) for k in range(3)]
        for thread in threads:
            thread.start()
        while len(network._waiting) < 3:
            pass
    for thread in threads:
        thread.join()
    assert network.passes == passes + 1
    for scores, together in zip(alone, found, strict=True):
        assert torch.allclose(scores, together, atol=1e-4)


def test_a_question_that_fails_fails_alone(tmp_path: Path) -> None:
    (runner,) = runners(tmp_path, 1, {})
    held = scenes(runner)
    network = runner._network
    wanted = network._score

    def refuses(batch: list) -> None:
        if any(one.phrases == ["the table"] for one in batch):
            raise QueryError("too long")
        wanted(batch)

    network._score = refuses
    from spatial3d_ros.tasks.shared_network import _Request

    batch = [_Request(scene, asked) for scene, asked in zip(held, ASKED, strict=True)]
    network._answer(batch)
    assert [one.scores is None for one in batch] == [False, False, True]
    with pytest.raises(QueryError, match="too long"):
        runner.score_phrases(held[2], ["the table"])
