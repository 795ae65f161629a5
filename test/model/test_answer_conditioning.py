"""Answers in words: the place they begin with, what it carries, how they are learnt and read."""

import math
from dataclasses import replace

import pytest
import torch

from helpers.engine_scene import with_scene
from helpers.small_model import small_config, small_model, small_scene, small_tokenizer
from helpers.training_samples import NAMES, samples
from spatial3d_ros.engine import EngineConfig, Spatial3D
from spatial3d_ros.errors import (
    ConfigError,
    NotAvailableError,
    NotFoundError,
    QueryError,
    UnreadableError,
)
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
from spatial3d_ros.model.checkpoint import load_model, save_model
from spatial3d_ros.model.config import ModelConfig
from spatial3d_ros.model.generation import decode, extend, prefill, prefill_answer
from spatial3d_ros.model.network import SpatialModel
from spatial3d_ros.model.tokens import identifier
from spatial3d_ros.research.training.config import LossWeights
from spatial3d_ros.research.training.objective import Objective, count_items
from spatial3d_ros.research.training.validation import evaluate
from spatial3d_ros.tasks.answer_parser import read_count, read_metres, read_words
from spatial3d_ros.tasks.prompt import Prompt
from spatial3d_ros.tasks.question_router import (
    answer_characters,
    check_answer,
    is_free_form,
    phrase_to_describe,
)

TASKS = ("ground", "distance", "ask", "caption")
ASKED = {"answers": {"questions": 6}}


def answering(seed=0, **parts):
    return small_model(seed, tasks=TASKS, **parts)


def encoded(model, prompt, *scenes):
    with torch.no_grad():
        return model.encode_scene(scenes[0] if scenes else small_scene(), prompt.tokens)


def questions(prompt, *texts):
    return prompt.batch([prompt.asking(text) for text in texts], [0] * len(texts))


# What the first place carries


def test_each_digit_of_a_number_can_be_read_linearly():
    hundredths = torch.arange(0, 5000)
    code = number_code((hundredths + 0.5) / 100, METRE_PERIODS)
    for k, unit in enumerate((1, 10, 100)):  # hundredths, tenths, metres
        truth = hundredths // unit % 10
        angle = 2 * math.pi * (torch.arange(10) + 0.5) / 10
        cos, sin = code[:, k], code[:, k + len(METRE_PERIODS)]
        said = (cos[:, None] * angle.cos() + sin[:, None] * angle.sin()).argmax(1)
        assert (said == truth).float().mean() > 0.99


def test_pairs_know_both_their_distances():
    boxes = torch.tensor([[[0.0, 0, 0, 1, 1, 1], [3.0, 4, 0, 1, 1, 1], [0.5, 0, 0, 1, 1, 1]]])
    code = pair_code(boxes)
    assert code.shape == (1, 3, 3, PAIR_FEATURES)
    center, surface = code[0, 0, 1, -4:-2] * 2
    assert center == pytest.approx(5.0) and surface == pytest.approx(math.hypot(2, 3))
    assert (code[0, 0, 2, -4:-2] * 2).tolist() == pytest.approx([0.5, 0.0])
    assert torch.equal(code, code.transpose(1, 2))


def aspects(named):
    return torch.stack([named, named], 2)


def test_two_sure_objects_have_their_exact_distance_whatever_else_is_there():
    torch.manual_seed(0)
    start = AnswerContext(8)
    boxes = torch.rand(1, 6, 6) * 5
    valid = torch.ones(1, 6, dtype=torch.bool)
    told = torch.zeros(1, 6, dtype=torch.bool)
    told[0, [1, 4]] = True
    heard, named = torch.randn(2, 1, 6, 8)
    state = torch.randn(1, 8)
    named[0, [0, 2, 3, 5]] *= 100.0
    whole = start(heard, state, named, aspects(named), pair_code(boxes), valid & False, valid, told)
    two = [1, 4]
    alone = start(
        heard[:, two],
        state,
        named[:, two],
        aspects(named[:, two]),
        pair_code(boxes[:, two]),
        valid[:, two] & False,
        valid[:, two],
        told[:, two],
    )
    torch.testing.assert_close(whole.embedding, alone.embedding, atol=5e-3, rtol=0)
    numbers = slice(2 * NAMED_OBJECTS, None)
    torch.testing.assert_close(
        whole.candidates[:, numbers], alone.candidates[:, numbers], atol=5e-3, rtol=0
    )


def test_order_and_padding_of_objects_do_not_matter():
    torch.manual_seed(1)
    start, order = AnswerContext(8), torch.randperm(5)
    heard, named = torch.randn(2, 1, 5, 8)
    state = torch.randn(1, 8)
    boxes, valid = torch.rand(1, 5, 6) * 4, torch.ones(1, 5, dtype=torch.bool)
    first = start(heard, state, named, aspects(named), pair_code(boxes), valid & False, valid)
    turned = start(
        heard[:, order],
        state,
        named[:, order],
        aspects(named[:, order]),
        pair_code(boxes[:, order]),
        valid & False,
        valid,
    )
    torch.testing.assert_close(first.embedding, turned.embedding)
    torch.testing.assert_close(first.logits[:, order], turned.logits)
    torch.testing.assert_close(first.candidates, turned.candidates)
    pad = [torch.cat([part, torch.full_like(part[:, :2], 9.0)], 1) for part in (heard, named)]
    more = torch.cat([boxes, torch.full_like(boxes[:, :2], 9.0)], 1)
    real = torch.tensor([[True] * 5 + [False] * 2])
    padded = start(pad[0], state, pad[1], aspects(pad[1]), pair_code(more), real & False, real)
    torch.testing.assert_close(first.embedding, padded.embedding)
    assert padded.logits[0, 5:].tolist() == [-torch.inf] * 2


def test_each_digit_of_a_distance_and_of_a_number_is_a_fact_of_its_own():
    candidates = CopyCandidates(10)
    candidates.digits.data[:] = torch.eye(10)
    metres = torch.tensor([2.7, 13.06, 0.994, 4.999])
    boxes = torch.zeros(4, 2, 6)
    boxes[:, 1, 0] = metres
    logits = torch.tensor([[3.0, 2.0]] * 4)
    said = candidates(torch.zeros(4, 2, 2, 10), logits, pair_code(boxes))[:, 2 * NAMED_OBJECTS :]
    assert torch.equal(said.sum(-1), torch.ones_like(said[..., 0]))
    digits = said.argmax(-1)  # hundredths, tenths, metres, tens; twice; number, its tens, the same
    assert digits[:, :4].tolist() == [[0, 7, 2, 0], [6, 0, 3, 1], [9, 9, 0, 0], [0, 0, 5, 0]]
    assert torch.equal(digits[:, 4:8], digits[:, :4])
    assert digits[:, 8:].tolist() == [[2, 0, 2]] * 4
    unsure = candidates(torch.zeros(4, 2, 2, 10), -logits, pair_code(boxes))[:, 2 * NAMED_OBJECTS :]
    assert torch.equal(unsure[:, :8], said[:, :8])
    assert unsure[:, 8:].argmax(-1).tolist() == [[0, 0, 0]] * 4
    logits[:, 1] = -torch.inf
    alone = candidates(torch.zeros(4, 2, 2, 10), logits, pair_code(boxes))[:, 2 * NAMED_OBJECTS :]
    assert not alone[:, :8].any() and alone[:, 8:].argmax(-1).tolist() == [[1, 0, 1]] * 4


def test_what_is_called_by_its_identifier_is_what_a_question_is_about():
    model, prompt = answering(4)
    scene = encoded(model, prompt)
    plain, called = (
        prefill_answer(model, scene, questions(prompt, text), prompt.tokens)[1].logits[0]
        for text in ("describe it", f"describe {identifier(2)}")
    )
    moved = (called - plain).detach()
    assert moved.argmax() == 2 and moved[2] > 3 + moved[[0, 1, 3, 4]].max()


def test_names_of_the_likeliest_objects_are_facts():
    candidates, words = CopyCandidates(8), torch.randn(1, 5, 2, 8)
    logits = torch.tensor([[-9.0, 4.0, -torch.inf, 9.0, 6.0]])
    said = candidates(words, logits, torch.zeros(1, 5, 5, PAIR_FEATURES))[0, : 2 * NAMED_OBJECTS]
    expected = torch.cat([words[0, i] * logits[0, i].sigmoid() for i in (3, 4, 1)]) * 2.0
    torch.testing.assert_close(said, expected)


def test_a_word_takes_up_one_fact_or_none():
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
    start = AnswerContext(8)
    empty = torch.zeros(1, count, 8)
    valid = torch.ones(1, count, dtype=torch.bool)
    made = start(
        empty,
        torch.zeros(1, 8),
        empty,
        aspects(empty),
        pair_code(torch.ones(1, count, 6)),
        valid,
        valid,
    )
    assert made.embedding.isfinite().all()
    made.embedding.sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in start.parameters())


# ModelOutput and writing


@pytest.mark.parametrize("form", ["masked", "rows", "shared"])
def test_an_answer_is_the_one_that_starting_over_would_write(form):
    model, prompt = answering(2)
    scene, words = encoded(model, prompt), questions(prompt, "how far?", "what is on the table?")
    model.attention = form
    prompt_tokens = prompt.tokens
    with torch.no_grad():
        state, condition = prefill_answer(model, scene, words, prompt_tokens, 8)
        told = decode(model, state, prompt_tokens, max_new_tokens=5)
        for row, tokens in enumerate(told):
            again, output = prefill(model, scene, words, prompt_tokens)
            again = replace(again, condition=condition)
            ids = torch.tensor([[*prompt_tokens.coord.tolist(), *tokens]] * 2)
            _, states = extend(model, again, model.decoder.embed(ids))
            best = model.token_logits(states, condition)[row].argmax(-1).tolist()
            assert best[: len(tokens)] == tokens
            if len(tokens) < 5:
                assert best[len(tokens)] in prompt_tokens.stops.tolist()
        assert output.contextual_objects is not None


def test_every_word_stands_on_what_the_question_is_about():
    model, prompt = answering(2)
    scene, words = encoded(model, prompt), questions(prompt, "how far?")
    with torch.no_grad():
        state, condition = prefill_answer(model, scene, words, prompt.tokens)
        other = replace(state, condition=replace(condition, embedding=condition.embedding + 1.0))
        word = model.decoder.embed(torch.tensor([[9]]))
        assert not torch.allclose(extend(model, state, word)[1], extend(model, other, word)[1])


def test_padding_of_answers_changes_nothing():
    model, prompt = answering(3)
    scene, words = encoded(model, prompt), questions(prompt, "a", "b")
    with torch.no_grad():
        state, _ = prefill_answer(model, scene, words, prompt.tokens)
        embedded = torch.randn(2, 4, 24)
        real = torch.tensor([[True] * 4, [True] * 2 + [False] * 2])
        states = extend(model, state, embedded, real)[1]
        short = extend(model, state, embedded[:, :2])[1]
    torch.testing.assert_close(states[:, :2], short)


def test_beams_write_as_greedy_when_there_is_one():
    model, prompt = answering(4)
    scene, words = encoded(model, prompt), questions(prompt, "what is it?")
    with torch.no_grad():
        state, _ = prefill_answer(model, scene, words, prompt.tokens, 6)
        greedy = decode(model, state, prompt.tokens, max_new_tokens=6)
        several = decode(model, state, prompt.tokens, max_new_tokens=6, beams=3)
    assert len(greedy) == len(several) == 1


def test_a_long_answer_must_fit():
    model, prompt = answering()
    scene = encoded(model, prompt)
    with pytest.raises(QueryError, match="max_positions"):
        prefill_answer(model, scene, questions(prompt, "a"), prompt.tokens, 4000)


def test_grounding_is_the_same_with_and_without_the_part():
    plain, prompt = small_model(5)
    model, _ = answering(5)
    model.load_state_dict(plain.state_dict(), strict=False)
    assert not [name for name in plain.state_dict() if name.startswith("answers.")]
    words = prompt.batch([prompt.grounding("the red chair")], [0])
    with torch.no_grad():
        scores = [m(encoded(m, prompt), words, prompt.tokens).scores for m in (plain, model)]
    torch.testing.assert_close(*scores)


def test_tasks_need_object_tokens_and_are_known():
    with pytest.raises(ValueError, match="tasks"):
        small_config(tasks=TASKS, object_tokens="none", head={"object_source": "input"})
    with pytest.raises(ConfigError, match="tasks"):
        small_config().trained_for(["dance"])
    assert ModelConfig(name="x").tasks == ("ground",)


# Learning


def test_captions_name_the_slot_of_their_object(tmp_path):
    changes = {"answers": {"questions": 4, "tasks": ["caption"]}}
    sample = samples(tmp_path, changes)[0][0][0]
    slots = Prompt(small_tokenizer()).tokens.identifiers
    for row, about in enumerate(sample.answers.about):
        named = torch.isin(slots, sample.answers.words.ids[row]).nonzero()[:, 0]
        assert named.tolist() == about.nonzero()[:, 0].tolist()


def test_answers_are_drawn_beside_the_same_questions(tmp_path):
    with_answers = samples(tmp_path, ASKED)[1][0][0]
    without = samples(tmp_path)[1][0][0]
    assert without.answers is None and len(with_answers.answers.kinds) == 12
    assert torch.equal(with_answers.words.ids, without.words.ids)
    assert torch.equal(with_answers.scenes.boxes, without.scenes.boxes)


def test_only_the_answer_is_learnt_and_what_it_is_about(tmp_path):
    sample = samples(tmp_path, ASKED)[0][0][0]
    answers, prompt = sample.answers, Prompt(small_tokenizer())
    end = prompt.tokens.stops[0]
    for row, (kind, right) in enumerate(zip(answers.kinds, answers.right, strict=True)):
        ids = answers.replies[row][answers.replies[row] >= 0]
        assert ids[-1] == end and prompt.text(ids[:-1].tolist()) == right[0]
        about = int(answers.about[row].sum())
        if kind.startswith("distance"):
            assert about == 2 and read_metres(right[0]) is not None
        elif kind == "ask/count":
            assert about == int(right[0])
        assert not answers.words.instruction[row][answers.words.real[row].sum() - 1 + 1 :].any()


def test_losses_fall_and_scores_tell_every_kind(tmp_path):
    data = samples(tmp_path, ASKED)
    torch.manual_seed(0)
    model = SpatialModel(small_config(names=NAMES, tasks=TASKS))
    objective = Objective(model, data.prompt, LossWeights())
    assert {"boxes/answer", "boxes/about"} <= set(objective.metric_names("boxes"))
    optimizer = torch.optim.AdamW(objective.parameters(), lr=3e-3)
    batch, first = data[0][0], None
    for _ in range(12):
        loss, figures = objective(batch)
        first = first or figures
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert figures["boxes/answer"] < 0.9 * first["boxes/answer"]
    assert all(p.grad is not None for p in model.answers.parameters())
    scores = evaluate(objective, batch)
    assert scores["answers/boxes"]["n"] == 12 and "answers/boxes/distance" in scores


def test_a_share_of_a_step_adds_up(tmp_path):
    data = samples(tmp_path, ASKED)
    objective = Objective(
        SpatialModel(small_config(names=NAMES, tasks=TASKS)).eval(), data.prompt, LossWeights()
    )
    totals = count_items([*data[0][0], *data[1][0]])
    with torch.no_grad():
        both, _ = objective([*data[0][0], *data[1][0]], totals)
        parts = [objective(data[step][0], totals)[0] for step in (0, 1)]
    assert float(both) == pytest.approx(float(sum(parts)), rel=1e-4)


# ModelOutput what was written


def test_what_is_no_number_is_none():
    assert read_metres("1.84 m") == 1.84 and read_count("12") == 12
    for text in ("", "1.8 m", "1.84", "1.84 m.", " 1.84 m", "-1.84 m", "1.84 m 2.00 m", "1,84 m",
                 "\u0661.\u0668\u0664 m", "nan m", "about 1.84 m"):  # fmt: skip
        assert read_metres(text) is None
    for text in ("", "two", "-1", "1.0", "1234", "\u0663"):
        assert read_count(text) is None
    for text in ("", "<|im_start|>", "red <coord>", "\ufffd", "no."):
        assert read_words(text) is None


def test_an_answer_has_to_fit_its_question():
    assert check_answer("how far is the bed from the door?", "1.84 m") == "1.84 m"
    assert check_answer("How many chairs are there?", "3") == "3"
    assert check_answer("what is on the table?", "2 books and a vase") == "2 books and a vase"
    for question, said, wanted in (
        ("how far is the bed from the door?", "3", "a distance"),
        ("please count the chairs", "a chair", "a number"),
        ("what colour is it?", "<ground>", "an answer"),
    ):
        with pytest.raises(UnreadableError, match=f"is not {wanted}"):
            check_answer(question, said)


def test_words_decide_what_is_asked():
    for text in ("What is on the table?", "can you tell me how many mugs there are?",
                 "Is there a tv", "which is bigger, the bed or the sofa?",
                 "describe the red chair, please",
                 "What's under the desk?", "are any books on the shelf?"):  # fmt: skip
        assert is_free_form(text), text
    for text in ("where is the table?", "what is the thing on the table?", "the bigger chair",
                 "which chair is next to the bed?", "how far is the bed from the door?",
                 "how many metres is it from the bed to the door?",
                 "do you see a chair?"):  # fmt: skip
        assert not is_free_form(text), text
    assert phrase_to_describe("can you describe the red chair?") == "the red chair"
    assert phrase_to_describe("what is on the table?") is None


# The engine


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("answering")
    model, prompt = answering()
    save_model(path, model, prompt.tokenizer, torch.float32)
    assert load_model(path)[0].config.tasks == TASKS
    return path


@pytest.fixture
def engine(folder):
    made = Spatial3D(EngineConfig(model=str(folder), device="cpu", max_views=4))
    made.load()
    return with_scene(made)


def say(monkeypatch, engine, text, likely=(0.2, 0.9, 0.6)):
    monkeypatch.setattr(
        engine._runner, "generate_answer", lambda *a, **k: (text, torch.tensor(likely))
    )


def test_an_answer_names_its_objects_and_what_it_rests_on(engine, monkeypatch):
    say(monkeypatch, engine, "a book and a mug")
    told = engine.answer("what is on the table?")
    assert told.text == "a book and a mug" and told.views_used == 3
    known = engine.scene().objects
    assert [o.object.id for o in told.objects] == [known[1].id, known[2].id]
    assert told.objects[0].score == pytest.approx(0.9)
    assert set(told.stages_ms) >= {"preprocess", "objects and words"}


def test_what_the_network_does_not_write_is_not_made_up(engine, monkeypatch):
    say(monkeypatch, engine, "1.8 metres or so")
    scene = engine.scene().encoded
    assert engine._runner.generate_distance(scene, "how far is the bed from the door?") is None
    for question in ("how far is the bed from the door?", "how many chairs are there?"):
        with pytest.raises(UnreadableError, match=r"1\.8 metres or so"):
            engine.ask(question)
    say(monkeypatch, engine, "1.80 m")
    assert engine._runner.generate_distance(scene, "how far is the bed from the door?") == 1.8


def test_an_untrained_network_answers_something_or_says_that_it_is_unreadable(engine):
    for question in ("what is on the table?", "how many chairs are there?"):
        try:
            assert engine.ask(question).text
        except UnreadableError as error:
            assert "the network generated" in str(error)


def test_describing(engine, monkeypatch):
    known = engine.scene().objects
    say(monkeypatch, engine, "a red chair")
    assert engine.caption(known[2].id).objects[0].object.id == known[2].id
    with pytest.raises(NotFoundError, match="object 99"):
        engine.caption(99)
    scores = torch.tensor([[0.0, 9.0, 0.0, 1.0], [0.0, 1.0, 0.0, 9.0]])
    monkeypatch.setattr(engine._runner, "score_phrases", lambda scene, p: scores[: len(p)])
    assert engine.ask("describe the red chair").objects[0].object.id == known[1].id
    monkeypatch.setattr(engine._runner, "score_phrases", lambda scene, p: scores[1:])
    with pytest.raises(NotFoundError, match="the unicorn"):
        engine.ask("describe the unicorn")


def test_weights_that_were_not_trained_for_it_say_so(folder, tmp_path):
    model, prompt = small_model()
    save_model(tmp_path, model, prompt.tokenizer, torch.float32)
    engine = Spatial3D(EngineConfig(model=str(tmp_path), device="cpu"))
    engine.load()
    with_scene(engine)
    with pytest.raises(NotAvailableError, match="not trained to answer free-form questions"):
        engine.ask("what is on the table?")
    scene = engine.scene().encoded
    assert engine._runner.generate_distance(scene, "how far is a from b?") is None
    with pytest.raises(NotAvailableError, match="only for ground"):
        engine._runner.generate_answer(scene, "what is on the table?")
    with pytest.raises(NotAvailableError, match="'caption'"):
        engine.caption(engine.scene().objects[0].id)
    assert hasattr(engine.answer("what is on the table?"), "no_target")  # a place, as before


def test_signs_of_the_network_are_refused(engine):
    for sign in ("<OBJ003>", "<coord>"):
        with pytest.raises(QueryError, match="sign of the network"):
            engine.ask(f"describe {sign}")


def test_a_scene_without_objects(engine, monkeypatch):
    monkeypatch.setattr(engine._memory, "_scene", replace(engine.scene(), objects=(), encoded=None))
    told = engine.ask("what is on the table?")
    assert told.text == "The object map is empty." and told.objects == ()


@pytest.mark.parametrize("beams", [1, 3])
def test_only_a_number_is_written_where_only_a_number_can_answer(beams):
    model, prompt = answering(3)
    scene, asked = encoded(model, prompt), questions(prompt, "how many chairs are there?", "huh?")
    letters = answer_characters("how many chairs are there?")
    with torch.no_grad():
        state, _ = prefill_answer(model, scene, asked, prompt.tokens, 6)
        free = decode(model, state, prompt.tokens, max_new_tokens=6, beams=beams)
        spelt = decode(
            model, state, prompt.tokens, max_new_tokens=6, beams=beams,
            allowed_tokens=prompt.allowed_tokens(letters),
        )  # fmt: skip
    assert any(set(prompt.text(ids)) - set(letters) for ids in free)
    assert all(set(prompt.text(ids)) <= set(letters) for ids in spelt)


def test_what_an_answer_is_made_of_is_known_of_numbers_only():
    assert set("3 12") <= set(answer_characters("tell me the number of vases"))
    assert set("1.84 m") <= set(answer_characters("how far is the lamp from the sofa?"))
    assert (
        answer_characters("what colour is the sofa?") == answer_characters("is there a lamp?") == ""
    )
