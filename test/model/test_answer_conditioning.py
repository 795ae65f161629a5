"""Answer conditioning: codes of numbers and pairs, copy candidates, decoding of answers."""

import math
from dataclasses import replace

import pytest
import torch

from helpers.small_model import small_config, small_model, small_scene
from spatial3d_ros.errors import ConfigError, QueryError
from spatial3d_ros.model.answer_conditioning import (
    CANDIDATES,
    METRE_PERIODS,
    NAMED_OBJECTS,
    PAIR_FEATURES,
    AnswerContext,
    CopyCandidates,
    CopyHead,
    number_code,
    pair_code,
)
from spatial3d_ros.model.config import ModelConfig
from spatial3d_ros.model.generation import decode, extend, prefill, prefill_answer
from spatial3d_ros.model.tokens import identifier

TASKS = ("ground", "distance", "ask", "caption")


def answering(seed=0, **parts):
    return small_model(seed, tasks=TASKS, **parts)


def encoded(model, prompt, *scenes):
    with torch.no_grad():
        return model.encode_scene(scenes[0] if scenes else small_scene(), prompt.tokens)


def questions(prompt, *texts):
    return prompt.batch([prompt.free_form(text) for text in texts], [0] * len(texts))


def test_each_digit_of_a_number_can_be_read_linearly():
    hundredths = torch.arange(0, 5000)
    code = number_code((hundredths + 0.5) / 100, METRE_PERIODS)
    for k, unit in enumerate((1, 10, 100)):  # hundredths, tenths, metres
        truth = hundredths // unit % 10
        angle = 2 * math.pi * (torch.arange(10) + 0.5) / 10
        cos, sin = code[:, k], code[:, k + len(METRE_PERIODS)]
        vectors = (cos[:, None] * angle.cos() + sin[:, None] * angle.sin()).argmax(1)
        assert (vectors == truth).float().mean() > 0.99


def test_pair_code_has_distances_of_centres_and_surfaces():
    boxes = torch.tensor([[[0.0, 0, 0, 1, 1, 1], [3.0, 4, 0, 1, 1, 1], [0.5, 0, 0, 1, 1, 1]]])
    code = pair_code(boxes)
    assert code.shape == (1, 3, 3, PAIR_FEATURES)
    center, surface = code[0, 0, 1, -4:-2] * 2
    assert center == pytest.approx(5.0) and surface == pytest.approx(math.hypot(2, 3))
    assert (code[0, 0, 2, -4:-2] * 2).tolist() == pytest.approx([0.5, 0.0])
    assert torch.equal(code, code.transpose(1, 2))


def name_embeddings(features):
    return torch.stack([features, features], 2)


def test_two_given_objects_have_their_exact_distance_among_others():
    torch.manual_seed(0)
    module = AnswerContext(8)
    boxes = torch.rand(1, 6, 6) * 5
    valid = torch.ones(1, 6, dtype=torch.bool)
    true_objects = torch.zeros(1, 6, dtype=torch.bool)
    true_objects[0, [1, 4]] = True
    contextual, features = torch.randn(2, 1, 6, 8)
    state = torch.randn(1, 8)
    features[0, [0, 2, 3, 5]] *= 100.0
    full = module(
        contextual,
        state,
        features,
        name_embeddings(features),
        pair_code(boxes),
        valid & False,
        valid,
        true_objects,
    )
    two = [1, 4]
    alone = module(
        contextual[:, two],
        state,
        features[:, two],
        name_embeddings(features[:, two]),
        pair_code(boxes[:, two]),
        valid[:, two] & False,
        valid[:, two],
        true_objects[:, two],
    )
    torch.testing.assert_close(full.embedding, alone.embedding, atol=5e-3, rtol=0)
    numbers = slice(2 * NAMED_OBJECTS, None)
    torch.testing.assert_close(
        full.candidates[:, numbers], alone.candidates[:, numbers], atol=5e-3, rtol=0
    )


def test_order_and_padding_of_objects_do_not_matter():
    torch.manual_seed(1)
    module, order = AnswerContext(8), torch.randperm(5)
    contextual, features = torch.randn(2, 1, 5, 8)
    state = torch.randn(1, 8)
    boxes, valid = torch.rand(1, 5, 6) * 4, torch.ones(1, 5, dtype=torch.bool)
    first = module(
        contextual,
        state,
        features,
        name_embeddings(features),
        pair_code(boxes),
        valid & False,
        valid,
    )
    permuted = module(
        contextual[:, order],
        state,
        features[:, order],
        name_embeddings(features[:, order]),
        pair_code(boxes[:, order]),
        valid & False,
        valid,
    )
    torch.testing.assert_close(first.embedding, permuted.embedding)
    torch.testing.assert_close(first.logits[:, order], permuted.logits)
    torch.testing.assert_close(first.candidates, permuted.candidates)
    pad = [
        torch.cat([part, torch.full_like(part[:, :2], 9.0)], 1) for part in (contextual, features)
    ]
    more = torch.cat([boxes, torch.full_like(boxes[:, :2], 9.0)], 1)
    real = torch.tensor([[True] * 5 + [False] * 2])
    padded = module(
        pad[0], state, pad[1], name_embeddings(pad[1]), pair_code(more), real & False, real
    )
    torch.testing.assert_close(first.embedding, padded.embedding)
    assert padded.logits[0, 5:].tolist() == [-torch.inf] * 2


def test_each_digit_of_distances_and_of_the_count_is_a_candidate():
    candidates = CopyCandidates(10)
    candidates.digits.data[:] = torch.eye(10)
    metres = torch.tensor([2.7, 13.06, 0.994, 4.999])
    boxes = torch.zeros(4, 2, 6)
    boxes[:, 1, 0] = metres
    logits = torch.tensor([[3.0, 2.0]] * 4)
    vectors = candidates(torch.zeros(4, 2, 2, 10), logits, pair_code(boxes))[:, 2 * NAMED_OBJECTS :]
    assert torch.equal(vectors.sum(-1), torch.ones_like(vectors[..., 0]))
    digits = vectors.argmax(
        -1
    )  # hundredths, tenths, metres, tens; twice; number, its tens, the same
    assert digits[:, :4].tolist() == [[0, 7, 2, 0], [6, 0, 3, 1], [9, 9, 0, 0], [0, 0, 5, 0]]
    assert torch.equal(digits[:, 4:8], digits[:, :4])
    assert digits[:, 8:].tolist() == [[2, 0, 2]] * 4
    unsure = candidates(torch.zeros(4, 2, 2, 10), -logits, pair_code(boxes))[:, 2 * NAMED_OBJECTS :]
    assert torch.equal(unsure[:, :8], vectors[:, :8])
    assert unsure[:, 8:].argmax(-1).tolist() == [[0, 0, 0]] * 4
    logits[:, 1] = -torch.inf
    alone = candidates(torch.zeros(4, 2, 2, 10), logits, pair_code(boxes))[:, 2 * NAMED_OBJECTS :]
    assert not alone[:, :8].any() and alone[:, 8:].argmax(-1).tolist() == [[1, 0, 1]] * 4


def test_a_question_is_about_the_object_whose_identifier_it_contains():
    model, prompt = answering(4)
    scene = encoded(model, prompt)
    plain, identified = (
        prefill_answer(model, scene, questions(prompt, text), prompt.tokens)[1].logits[0]
        for text in ("describe it", f"describe {identifier(2)}")
    )
    moved = (identified - plain).detach()
    assert moved.argmax() == 2 and moved[2] > 3 + moved[[0, 1, 3, 4]].max()


def test_names_of_the_most_probable_objects_are_candidates():
    candidates, batch = CopyCandidates(8), torch.randn(1, 5, 2, 8)
    logits = torch.tensor([[-9.0, 4.0, -torch.inf, 9.0, 6.0]])
    vectors = candidates(batch, logits, torch.zeros(1, 5, 5, PAIR_FEATURES))[0, : 2 * NAMED_OBJECTS]
    expected = torch.cat([batch[0, i] * logits[0, i].sigmoid() for i in (3, 4, 1)]) * 2.0
    torch.testing.assert_close(vectors, expected)


def test_copy_head_adds_one_candidate_or_none():
    torch.manual_seed(2)
    copy, states, candidates = CopyHead(8), torch.randn(2, 3, 8), torch.randn(2, CANDIDATES, 8)
    torch.testing.assert_close(copy(states[:, 1], candidates), copy(states, candidates)[:, 1])
    assert torch.equal(copy(states, candidates * 0), states)
    copy.query = torch.nn.Identity()
    copy.keys.data = torch.zeros(CANDIDATES + 1, 8)
    copy.keys.data[4] = 100.0 * states[0, 0]
    torch.testing.assert_close(copy(states, candidates)[0, 0], states[0, 0] + candidates[0, 3])


@pytest.mark.parametrize("count", [0, 1])
def test_less_than_two_objects_have_no_distance(count):
    module = AnswerContext(8)
    empty = torch.zeros(1, count, 8)
    valid = torch.ones(1, count, dtype=torch.bool)
    made = module(
        empty,
        torch.zeros(1, 8),
        empty,
        name_embeddings(empty),
        pair_code(torch.ones(1, count, 6)),
        valid,
        valid,
    )
    assert made.embedding.isfinite().all()
    made.embedding.sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in module.parameters())


@pytest.mark.parametrize("form", ["masked", "rows", "shared"])
def test_cached_decoding_equals_decoding_from_the_start(form):
    model, prompt = answering(2)
    scene, batch = encoded(model, prompt), questions(prompt, "how far?", "what is on the table?")
    model.attention = form
    prompt_tokens = prompt.tokens
    with torch.no_grad():
        state, condition = prefill_answer(model, scene, batch, prompt_tokens, 8)
        answers = decode(model, state, prompt_tokens, max_new_tokens=5)
        for row, tokens in enumerate(answers):
            again, output = prefill(model, scene, batch, prompt_tokens)
            again = replace(again, condition=condition)
            ids = torch.tensor([[*prompt_tokens.coord.tolist(), *tokens]] * 2)
            _, states = extend(model, again, model.decoder.embed(ids))
            best = model.token_logits(states, condition)[row].argmax(-1).tolist()
            assert best[: len(tokens)] == tokens
            if len(tokens) < 5:
                assert best[len(tokens)] in prompt_tokens.stops.tolist()
        assert output.contextual_objects is not None


def test_every_token_depends_on_the_condition():
    model, prompt = answering(2)
    scene, batch = encoded(model, prompt), questions(prompt, "how far?")
    with torch.no_grad():
        state, condition = prefill_answer(model, scene, batch, prompt.tokens)
        other = replace(state, condition=replace(condition, embedding=condition.embedding + 1.0))
        word = model.decoder.embed(torch.tensor([[9]]))
        assert not torch.allclose(extend(model, state, word)[1], extend(model, other, word)[1])


def test_padded_answer_tokens_change_no_state():
    model, prompt = answering(3)
    scene, batch = encoded(model, prompt), questions(prompt, "a", "b")
    with torch.no_grad():
        state, _ = prefill_answer(model, scene, batch, prompt.tokens)
        embedded = torch.randn(2, 4, 24)
        real = torch.tensor([[True] * 4, [True] * 2 + [False] * 2])
        states = extend(model, state, embedded, real)[1]
        short = extend(model, state, embedded[:, :2])[1]
    torch.testing.assert_close(states[:, :2], short)


def test_greedy_and_beam_search_return_one_sequence_per_question():
    model, prompt = answering(4)
    scene, batch = encoded(model, prompt), questions(prompt, "what is it?")
    with torch.no_grad():
        state, _ = prefill_answer(model, scene, batch, prompt.tokens, 6)
        greedy = decode(model, state, prompt.tokens, max_new_tokens=6)
        several = decode(model, state, prompt.tokens, max_new_tokens=6, beams=3)
    assert len(greedy) == len(several) == 1


def test_an_answer_must_fit_into_the_decoder_positions():
    model, prompt = answering()
    scene = encoded(model, prompt)
    with pytest.raises(QueryError, match="max_positions"):
        prefill_answer(model, scene, questions(prompt, "a"), prompt.tokens, 4000)


def test_grounding_is_the_same_with_and_without_answer_context():
    plain, prompt = small_model(5)
    model, _ = answering(5)
    model.load_state_dict(plain.state_dict(), strict=False)
    assert not [name for name in plain.state_dict() if name.startswith("answers.")]
    batch = prompt.batch([prompt.grounding("the red chair")], [0])
    with torch.no_grad():
        scores = [m(encoded(m, prompt), batch, prompt.tokens).scores for m in (plain, model)]
    torch.testing.assert_close(*scores)


def test_tasks_need_object_tokens_and_must_be_known():
    with pytest.raises(ValueError, match="tasks"):
        small_config(tasks=TASKS, object_tokens="none", head={"object_source": "input"})
    with pytest.raises(ConfigError, match="tasks"):
        small_config().trained_for(["dance"])
    assert ModelConfig(name="x").tasks == ("ground",)


@pytest.mark.parametrize("beams", [1, 3])
def test_only_allowed_tokens_are_written(beams):
    model, prompt = answering(3)
    scene, asked = encoded(model, prompt), questions(prompt, "how many chairs are there?", "huh?")
    letters = "0123456789 "
    with torch.no_grad():
        state, _ = prefill_answer(model, scene, asked, prompt.tokens, 6)
        free = decode(model, state, prompt.tokens, max_new_tokens=6, beams=beams)
        restricted = decode(
            model, state, prompt.tokens, max_new_tokens=6, beams=beams,
            allowed_tokens=prompt.allowed_tokens(letters),
        )  # fmt: skip
    assert any(set(prompt.text(ids)) - set(letters) for ids in free)
    assert all(set(prompt.text(ids)) <= set(letters) for ids in restricted)
