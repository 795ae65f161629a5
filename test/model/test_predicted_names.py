"""What the heads expect of an object meets the words of a question."""

import pytest
import torch

from helpers.small_model import small_config, small_scene, small_tokenizer
from spatial3d_ros.model.network import SpatialModel
from spatial3d_ros.research.experiments.knockout_parts import replaced
from spatial3d_ros.research.language.descriptions import Description
from spatial3d_ros.research.language.features import Feature
from spatial3d_ros.research.training.losses import asked_loss
from spatial3d_ros.research.training.patch_truth import asked_looks
from spatial3d_ros.research.training.setup import start_names
from spatial3d_ros.tasks.prompt import Prompt

CHANNELS = ["geometry", "labels", "color", "patches"]
OBJECTS = {
    "channels": CHANNELS, "identifier": "added", "label_bias": True, "predicted_names": True,
    "relation_hidden": 8, "relation_layers": 1, "member_fraction": 0.25,
}  # fmt: skip
NAMES = {
    "classes": ["chair", "table"], "colors": ["red", "blue"],
    "looks": {"pattern": ["plain", "striped"], "second_color": ["none", "red"]},
}  # fmt: skip
PARTS = {"objects": OBJECTS, "object_tokens": "object", "names": NAMES}


@pytest.fixture
def made():
    torch.manual_seed(0)
    model, tokenizer = SpatialModel(small_config(**PARTS)).eval(), small_tokenizer()
    start_names(model, tokenizer)
    with torch.no_grad():
        model.predicted.weight.fill_(0.4)
    return model, Prompt(tokenizer)


def test_names_start_from_the_tokens_of_their_words(made):
    model, prompt = made
    red = model.decoder.embed(torch.tensor(prompt.ids(" red")))[0]
    assert torch.equal(model.names["color"].names[0], red)
    before = model.names["class"].names.clone()
    start_names(model, prompt.tokenizer)  # not again
    assert torch.equal(model.names["class"].names, before)


def test_an_object_attends_to_the_words_that_name_it(made):
    model, prompt = made
    words = prompt.batch([prompt.grounding("the red chair next to the blue table")], [0])
    tokens, red = model.decoder.embed(words.ids), prompt.ids(" red")[0]
    shares = torch.zeros(1, 2, 8)  # of chairs, red and blue
    shares[0, :, :4] = torch.tensor([[0.9, 0.1, 0.9, 0.1], [0.9, 0.1, 0.2, 0.8]])
    bias = model.predicted.bias(shares, model.names, tokens, words.instruction)[0, 0]
    at = {word: int((words.ids[0] == prompt.ids(f" {word}")[0]).nonzero()[0]) for word in
          ("red", "blue", "next", "chair")}  # fmt: skip
    assert red == words.ids[0, at["red"]]
    assert bias[0, at["red"]] > 3 > bias[1, at["red"]] and bias[1, at["blue"]] > bias[0, at["blue"]]
    assert bias[0, at["chair"]] > 3 and bias[:, at["next"]].abs().max() < 0.1
    assert not bias[:, ~words.instruction[0]].any()


def test_what_a_head_expects_moves_scores_and_learns_from_them(made):
    model, prompt = made
    words = prompt.batch([prompt.grounding("the red chair")], [0])

    def scores():
        scene = model.encode_scene(small_scene(), prompt.tokens)
        return model(scene, words, prompt.tokens).scores

    full = scores()
    with replaced(model, "predicted", None):
        assert (scores() - full).abs().max() > 1e-3
    with torch.no_grad():
        model.names["color"].project[2].weight.mul_(-3)  # other colors are expected
    assert (scores() - full).abs().max() > 1e-4
    model.zero_grad()
    scores()[0, 0].backward()
    assert model.names["color"].project[0].weight.grad.abs().max() > 0


def test_looks_that_are_asked_for_count_as_evidence(made):
    model, prompt = made
    seen = [[1.0, 0, 0, 0, 0.9, 0.1, 1, 0], [1.0, 0, 0, 0, 0.2, 0.8, 1, 0]]  # a striped one last
    words = prompt.batch([prompt.grounding("the red chair")] * 2, [0, 0])
    given = model.names, model.decoder.embed(words.ids), words.instruction
    asked = model.predicted.asked["pattern"]
    with torch.no_grad():
        asked.weight.zero_()
        model.predicted.asked["second_color"].weight.zero_()
        model.predicted.asked["second_color"].bias.copy_(torch.tensor([0.0, 0.0, 30.0]))
        asked.bias.copy_(torch.tensor([-20.0, 20.0, 0.0]))  # "striped"
        found = model.predicted.evidence(torch.tensor([seen, seen[::-1]]), *given)
        assert found[0, 1] > found[0, 0] + 1 and found[1, 0] > found[1, 1] + 1
        assert not found[:, 2].any()
        asked.bias.copy_(torch.tensor([-20.0, -20.0, 20.0]))  # nothing
        found = model.predicted.evidence(torch.tensor([seen, seen]), *given)
        assert found.abs().max() < 1e-3


def test_what_a_description_asks_of_the_look_is_learnt():
    names = small_config(**PARTS).names
    striped = Description("chair", feature=Feature("pattern", "striped"))
    seat = Description("chair", feature=Feature("part", "red", "seat"))
    asked = asked_looks([striped, seat, Description("chair")], names)
    assert asked["pattern"].tolist() == [1, 2, 2] and asked["second_color"].tolist() == [2, 1, 2]
    logits = {what: torch.randn(3, 3) for what in asked}
    told = {what: rows.log_softmax(-1) for what, rows in logits.items()}
    expected = -sum(told[what][range(3), ids].sum() for what, ids in asked.items()) / 6
    torch.testing.assert_close(asked_loss(logits, asked), expected)
    assert asked_loss(logits, {what: torch.full((3,), -100) for what in asked}) == 0


def test_words_of_a_question_reach_what_it_asks_for(made):
    model, prompt = made
    words = prompt.batch([prompt.grounding(q) for q in ("the red chair", "the blue chair")], [0, 0])
    tokens = model.decoder.embed(words.ids)
    found = model.predicted.asked_looks(tokens, words.instruction)["pattern"]
    assert (found[0] - found[1]).abs().max() > 1e-4
    outside = tokens + 9.0 * ~words.instruction[..., None]
    again = model.predicted.asked_looks(outside, words.instruction)["pattern"]
    assert torch.equal(again, found)
