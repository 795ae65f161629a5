"""Questions that have no good answer, each through the engine: what is wrong, and the way out."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from helpers.engine_scene import labelled, proposals_in_a_row, wall_frame
from helpers.small_model import small_model
from spatial3d_ros.engine import EngineConfig, Spatial3D
from spatial3d_ros.errors import NotAvailableError, NotFoundError, QueryError
from spatial3d_ros.model.checkpoint import save_model
from spatial3d_ros.tasks.vocabulary import UnknownWordError


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    path = tmp_path_factory.mktemp("words")
    model, prompt = small_model(tasks=("ground", "distance", "ask", "caption"))
    save_model(path, model, prompt.tokenizer, torch.float32)
    engine = Spatial3D(EngineConfig(model=str(path), device="cpu", max_views=4))
    engine.load()
    return engine


def seeing(engine, *labels):
    engine.clear()
    for number in (1, 2, 3):
        engine.add_frame(wall_frame(number))
    engine.refresh(proposals_in_a_row(len(labels)))
    return labelled(engine, *labels)


@pytest.fixture
def engine(loaded, monkeypatch):
    """A chair, a table and a sofa half a metre apart before a wall; the network has no opinion."""
    monkeypatch.setattr(loaded._runner, "score_phrases", lambda _, p: torch.zeros(len(p), 4))
    monkeypatch.setattr(loaded._runner, "generate_distance", lambda *_: None)
    return seeing(loaded, "red chair", "brown table", "gray sofa")


# ---- no object matches -----------------------------------------------------------------------


def test_a_known_noun_that_the_map_lacks(engine):
    seeing(engine, "red chair", "gray sofa", "gray sofa")
    found = engine.ground("where is the table?")
    assert found.no_target and "nothing that fits 'the table'" in found.text
    assert "nearest: the " in found.text
    for ask in (
        lambda: engine.measure_distance("how far is the table from the chair?"),
        lambda: engine.edit_layout("remove the table"),
        lambda: engine.edit_layout("move the chair next to the table"),
        lambda: engine.ask("describe the table"),
    ):
        with pytest.raises(NotFoundError, match="'the table'; nearest: the "):
            ask()


@pytest.mark.parametrize(
    "question",
    [
        "where is the toaster?", "is there a toaster?", "how many toasters are there?",
        "how far is the toaster from the sofa?", "remove the toaster",
        "move the chair next to the toaster", "what colour is the toaster?",
        "the chair next to the toaster",
    ],
)  # fmt: skip
def test_nothing_is_done_for_a_word_that_nobody_knows(engine, question):
    with pytest.raises(UnknownWordError, match=r"I do not know the word 'toaster.*recogniser"):
        engine.answer(question)


def test_a_slip_of_typing_is_read_and_shown(engine):
    found = engine.ground("where is the chiar?")
    assert found.objects[0].object.label == "chair"
    assert "I read 'chiar' as 'chair'" in found.text


# ---- two equally good matches ------------------------------------------------------------------


def test_two_that_fit_are_asked_back(engine):
    seeing(engine, "red chair", "blue chair", "gray sofa")
    first, second = engine.scene().objects[:2]
    found = engine.ground("where is the chair?")
    assert found.question_back == "the red or the blue chair?" and found.num_ties == 2
    assert found.num_targets == 1 and not found.no_target
    assert {o.object.id for o in found.objects} == {first.id, second.id}
    far = engine.measure_distance(a="the chair", b="the sofa")
    assert far.question_back and len(far.alternatives) == 1 and far.uncertainty_m > 0.1
    removed = engine.edit_layout("remove the chair", apply=True)
    assert removed.question_back and not removed.applied
    one = engine.ground("where is the blue chair?")
    assert one.objects[0].object.id == second.id and not one.question_back


# ---- edits -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("instruction", "reason"),
    [
        ("move the chair 9 m towards the table", "in the way|out of the room"),
        ("put a lamp of 9 x 9 x 9 m next to the table", "out of the room|no such place"),
    ],
)
def test_an_impossible_edit_has_a_reason_and_changes_nothing(engine, instruction, reason):
    before = engine.scene()
    edit = engine.edit_layout(instruction, apply=True)
    assert not edit.possible and not edit.applied and edit.after == ()
    assert any(words in edit.reason for words in reason.split("|")), edit.reason
    assert edit.reason in edit.text and engine.scene() is before


def test_what_no_edit_can_mean_is_refused(engine):
    with pytest.raises(QueryError, match=r"both the object to change and a reference|two objects"):
        engine.edit_layout("swap the chair and the chair")
    with pytest.raises(QueryError, match="usual size of 'gadget' is not known; give it"):
        engine.edit_layout("put a gadget next to the chair")
    with pytest.raises(QueryError, match="asks for no change"):
        engine.edit_layout("what is on the table?")


# ---- units, and the same object twice --------------------------------------------------------


@pytest.mark.parametrize(
    "ask",
    [
        lambda e: e.measure_distance("how far is the chair from the table in inches?"),
        lambda e: e.edit_layout("move the chair 3 feet towards the table"),
        lambda e: e.edit_layout("move the chair 2 yards towards the table"),
        lambda e: e.answer("how far is the chair from the table in feet?"),
    ],
)
def test_other_units_are_refused_and_metres_named(engine, ask):
    with pytest.raises(QueryError, match="metres"):
        ask(engine)


def test_centimetres_are_understood(engine):
    up = engine.edit_layout("move the chair 20 cm up")
    assert up.after[0].box.center[2] - up.before[0].box.center[2] == pytest.approx(0.2)


@pytest.mark.parametrize(
    "ask",
    [
        lambda e: e.measure_distance("how far is the chair from the chair?"),
        lambda e: e.measure_distance(a="the chair", b="chair"),
    ],
)
def test_nothing_is_measured_to_itself(engine, ask):
    with pytest.raises(QueryError, match="same object, 0 m apart; name two"):
        ask(engine)


# ---- text that is no question ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"), ("  \u200b\u202e ", "empty"), ('"" << >>', "empty"), ("?!", "empty"),
        ("12345 678", "numbers only"), ("\u0433\u0434\u0435 \u0441\u0442\u0443\u043b", "Latin"),
        ("x" * 501, "501 characters"),
        ("\u00bfd\u00f3nde est\u00e1 el sof\u00e1?", "English"), ("wo steht der Stuhl?", "English"),
        ("where is the chair and where is the table?", "one at a time"), ("hello", "no question"),
    ],
)  # fmt: skip
def test_what_is_no_question_is_refused_with_its_own_reason(engine, text, reason):
    with pytest.raises(QueryError, match=reason):
        engine.answer(text)


@pytest.mark.parametrize(
    "text",
    [
        "where is the \u202echair\u202c?", "'where is the \"chair\"?'",
        "where is\tthe\u0007 chair?", "<b>where is the chair?</b>",
    ],
)  # fmt: skip
def test_marks_and_quotes_are_stripped(engine, text):
    assert engine.answer(text).objects[0].object.label == "chair"


def test_a_purpose_is_a_noun(engine):
    assert engine.answer("find something to sit on").objects[0].object.label in ("chair", "sofa")


def test_database_commands_point_at_nothing(engine):
    with pytest.raises(QueryError):
        engine.answer("'; DROP TABLE objects; --")


# ---- conversations -----------------------------------------------------------------------------


def test_it_is_the_object_of_the_last_minute(engine, monkeypatch):
    with pytest.raises(QueryError, match="refers to no earlier answer"):
        engine.answer("how tall is it?", conversation_id="never used")
    with pytest.raises(QueryError, match="refers to no earlier answer"):
        engine.answer("how tall is it?")
    engine.answer("where is the table?", conversation_id="a")
    tall = engine.answer("how tall is it?", conversation_id="a")
    assert tall.value == "0.40 m" and tall.objects[0].object.label == "table"
    with pytest.raises(QueryError, match="conversation_id: 201 letters"):
        engine.answer("how tall is it?", conversation_id="a" * 201)
    later = engine._conversations._clock() + 61
    monkeypatch.setattr(engine._conversations, "_clock", lambda: later)
    with pytest.raises(QueryError, match="refers to no earlier answer"):
        engine.answer("how tall is it?", conversation_id="a")


# ---- an empty scene, and what needs a memory -------------------------------------------------


def test_an_empty_scene_says_so(loaded):
    engine = seeing(loaded)
    found = engine.ground("the chair")
    assert (found.no_target, found.objects, found.num_ties) == (True, (), 1)
    assert "the object map is empty" in found.text
    assert engine.ask("how many chairs are there?").value == "0"
    for ask in (
        lambda: engine.measure_distance("how far is the chair from the table?"),
        lambda: engine.edit_layout("remove the chair"),
    ):
        with pytest.raises(NotFoundError, match="the object map is empty"):
            ask()
    with pytest.raises(NotFoundError, match="object 0 is not in the map"):
        engine.caption(0)
    far = engine.measure_distance(a="me", b="(0, 0, 0)")
    assert far.metres > 0 and far.network_m is None


def test_earlier_times_need_a_memory(engine):
    for question in ("when did you last see the chair?", "what has changed since yesterday?"):
        with pytest.raises(NotAvailableError, match="memory_folder"):
            engine.answer(question)


def test_words_never_contradict_the_map(engine):
    assert engine.ask("how many chairs are there?").value == "1"
    assert engine.ask("what colour is the sofa?").value == "gray"
    assert engine.ask("is there a table?").value == "yes"
    scene = engine._memory._scene
    engine._memory._scene = replace(
        scene, objects=tuple(replace(o, color="blue") for o in scene.objects)
    )
    assert engine.ask("what colour is the sofa?").value == "blue"
    assert np.isfinite(engine.ground("the sofa").confidence)
