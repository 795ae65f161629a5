"""Questions answered in words: answer parser, question router, and the engine."""

from dataclasses import replace

import pytest
import torch

from helpers.engine_scene import with_scene
from helpers.small_model import small_model
from spatial3d_ros.engine import EngineConfig, Spatial3D
from spatial3d_ros.errors import NotAvailableError, NotFoundError, QueryError, UnreadableError
from spatial3d_ros.model.checkpoint import load_model, save_model
from spatial3d_ros.tasks.answer_parser import read_count, read_metres, read_words
from spatial3d_ros.tasks.question_router import (
    answer_characters,
    check_answer,
    is_free_form,
    phrase_to_describe,
)

TASKS = ("ground", "distance", "ask", "caption")


def test_text_that_is_no_number_is_none():
    assert read_metres("1.84 m") == 1.84 and read_count("12") == 12
    for text in ("", "1.8 m", "1.84", "1.84 m.", " 1.84 m", "-1.84 m", "1.84 m 2.00 m", "1,84 m",
                 "\u0661.\u0668\u0664 m", "nan m", "about 1.84 m"):  # fmt: skip
        assert read_metres(text) is None
    for text in ("", "two", "-1", "1.0", "1234", "\u0663"):
        assert read_count(text) is None
    for text in ("", "<|im_start|>", "red <coord>", "\ufffd", "no."):
        assert read_words(text) is None


def test_an_answer_must_have_the_type_of_its_question():
    assert check_answer("how far is the bed from the door?", "1.84 m") == "1.84 m"
    assert check_answer("How many chairs are there?", "3") == "3"
    assert check_answer("what is on the table?", "2 books and a vase") == "2 books and a vase"
    for question, answer, wanted in (
        ("how far is the bed from the door?", "3", "a distance"),
        ("please count the chairs", "a chair", "a number"),
        ("what colour is it?", "<ground>", "an answer"),
    ):
        with pytest.raises(UnreadableError, match=f"is not {wanted}"):
            check_answer(question, answer)


def test_router_finds_free_form_questions():
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


def test_characters_of_an_answer_are_known_for_numbers_only():
    assert set("3 12") <= set(answer_characters("tell me the number of vases"))
    assert set("1.84 m") <= set(answer_characters("how far is the lamp from the sofa?"))
    assert (
        answer_characters("what colour is the sofa?") == answer_characters("is there a lamp?") == ""
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("answering")
    model, prompt = small_model(tasks=TASKS)
    save_model(path, model, prompt.tokenizer, torch.float32)
    assert load_model(path)[0].config.tasks == TASKS
    return path


@pytest.fixture
def engine(folder):
    made = Spatial3D(EngineConfig(model=str(folder), device="cpu", max_views=4))
    made.load()
    return with_scene(made)


def generate_text(monkeypatch, engine, text, probabilities=(0.2, 0.9, 0.6)):
    monkeypatch.setattr(
        engine._runner, "generate_answer", lambda *a, **k: (text, torch.tensor(probabilities))
    )


def test_an_answer_lists_its_objects_and_provenance(engine, monkeypatch):
    generate_text(monkeypatch, engine, "a book and a mug")
    answer = engine.answer("what is on the table?")
    assert answer.text == "a book and a mug" and answer.views_used == 3
    known = engine.scene().objects
    assert [o.object.id for o in answer.objects] == [known[1].id, known[2].id]
    assert answer.objects[0].score == pytest.approx(0.9)
    assert set(answer.stages_ms) >= {"preprocess", "objects and words"}


def test_unreadable_network_output_is_an_error(engine, monkeypatch):
    generate_text(monkeypatch, engine, "1.8 metres or so")
    scene = engine.scene().encoded
    assert engine._runner.generate_distance(scene, "how far is the bed from the door?") is None
    for question in ("how far is the bed from the door?", "how many chairs are there?"):
        with pytest.raises(UnreadableError, match=r"1\.8 metres or so"):
            engine.ask(question)
    generate_text(monkeypatch, engine, "1.80 m")
    assert engine._runner.generate_distance(scene, "how far is the bed from the door?") == 1.8


def test_an_untrained_network_returns_text_or_an_unreadable_error(engine):
    for question in ("what is on the table?", "how many chairs are there?"):
        try:
            assert engine.ask(question).text
        except UnreadableError as error:
            assert "the network generated" in str(error)


def test_captions_of_an_object_and_of_a_phrase(engine, monkeypatch):
    known = engine.scene().objects
    generate_text(monkeypatch, engine, "a red chair")
    assert engine.caption(known[2].id).objects[0].object.id == known[2].id
    with pytest.raises(NotFoundError, match="object 99"):
        engine.caption(99)
    scores = torch.tensor([[0.0, 9.0, 0.0, 1.0], [0.0, 1.0, 0.0, 9.0]])
    monkeypatch.setattr(engine._runner, "score_phrases", lambda scene, p: scores[: len(p)])
    assert engine.ask("describe the red chair").objects[0].object.id == known[1].id
    monkeypatch.setattr(engine._runner, "score_phrases", lambda scene, p: scores[1:])
    with pytest.raises(NotFoundError, match="the unicorn"):
        engine.ask("describe the unicorn")


def test_weights_not_trained_for_answers_raise_an_error(folder, tmp_path):
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


def test_special_tokens_are_refused(engine):
    for token in ("<OBJ003>", "<coord>"):
        with pytest.raises(QueryError, match="special token of the network"):
            engine.ask(f"describe {token}")


def test_a_scene_without_objects(engine, monkeypatch):
    monkeypatch.setattr(engine._memory, "_scene", replace(engine.scene(), objects=(), encoded=None))
    answer = engine.ask("what is on the table?")
    assert answer.text == "The object map is empty." and answer.objects == ()
