"""Questions that have no good answer, each through the engine: what is wrong, and the way out."""

import pytest
import torch

from helpers.engine_scene import proposals_in_a_row, wall_frame
from helpers.small_model import small_model
from spatial3d_ros.engine import EngineConfig, Spatial3D
from spatial3d_ros.errors import NotFoundError, QueryError, UnreadableError
from spatial3d_ros.model.checkpoint import save_model

CHAIR, TABLE, ALIKE, ABSENT = (
    [5.0, 0.0, 0.0, -9.0], [0.0, 5.0, 0.0, -9.0], [5.0, 4.95, 0.0, -9.0], [1.0, 2.0, 0.0, 9.0],
)  # fmt: skip
"""Scores of three objects and of nothing, as the network would give them."""


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    path = tmp_path_factory.mktemp("words")
    model, prompt = small_model(tasks=("ground", "distance", "ask", "caption"))
    save_model(path, model, prompt.tokenizer, torch.float32)
    engine = Spatial3D(EngineConfig(model=str(path), device="cpu", max_views=4))
    engine.load()
    return engine


@pytest.fixture
def engine(loaded):
    """Three things in a row, half a metre apart, before a wall."""
    return seeing(loaded, 3)


def seeing(engine, objects):
    engine.clear()
    for number in (1, 2, 3):
        engine.add_frame(wall_frame(number))
    engine.refresh(proposals_in_a_row(objects))
    return engine


@pytest.fixture
def scored(engine, monkeypatch):
    def score(*rows):
        monkeypatch.setattr(engine._runner, "score_phrases", lambda *_: torch.tensor(rows))

    return score


@pytest.fixture
def writing(engine, monkeypatch):
    def write(text):
        generated = (text, torch.tensor([0.9, 0.1, 0.2]))
        monkeypatch.setattr(engine._runner, "generate_answer", lambda *_: generated)

    return write


# ---- no object matches -----------------------------------------------------------------------


def test_an_absent_object_is_named_with_the_nearest_objects(engine, scored):
    scored(ABSENT)
    found = engine.ground("the unicorn")
    assert found.no_target and len(found.objects) == 3
    assert "No object matches 'the unicorn'; nearest: the " in found.text
    for ask in (
        lambda: engine.edit_layout("remove the unicorn"),
        lambda: engine.edit_layout("turn the unicorn by 90 degrees"),
        lambda: engine.ask("describe the unicorn"),
    ):
        with pytest.raises(NotFoundError, match=r"'the unicorn'; nearest: (.*, ){2}"):
            ask()


@pytest.mark.parametrize(
    ("rows", "absent"), [((ABSENT, TABLE), "the unicorn"), ((CHAIR, ABSENT), "the dragon")]
)
def test_of_two_phrases_the_one_without_a_match_is_named(engine, scored, rows, absent):
    scored(*rows)
    for ask in (
        lambda: engine.measure_distance("how far is the unicorn from the dragon?"),
        lambda: engine.measure_distance(a="the unicorn", b="the dragon"),
        lambda: engine.edit_layout("move the unicorn next to the dragon"),
        lambda: engine.edit_layout("swap the unicorn and the dragon"),
    ):
        with pytest.raises(NotFoundError, match=f"'{absent}'; nearest: "):
            ask()


# ---- two equally good matches ------------------------------------------------------------------


def test_ties_are_listed(engine, scored):
    ids = [known.id for known in engine.scene().objects]
    first, second = (known.box.center for known in engine.scene().objects[:2])
    points = ["({:.2f}, {:.2f}, {:.2f}) m".format(*point) for point in (first, second)]
    scored(ALIKE)
    found = engine.ground("the chair", max_objects=1)
    assert found.num_ties == 2 and found.text.startswith("2 objects match about equally well: ")
    assert all(point in found.text for point in points) and found.text_points == (first, second)
    assert [o.object.id for o in engine.ground("the chair").objects[:2]] == ids[:2]
    removed = engine.edit_layout("remove the chair")
    assert removed.before[0].id == ids[0] and removed.text_points == (second,)
    assert removed.text.endswith(points[1]) and "the phrases also match" in removed.text
    scored(ALIKE, [0.0, 0.0, 5.0, -9.0])
    far = engine.measure_distance(a="the chair", b="the table")
    assert [o.object.id for o in (far.a, far.b, *far.alternatives)] == [ids[0], ids[2], ids[1]]
    assert far.uncertainty_m > 0.1 and points[1] in far.text


def test_ties_of_a_description_are_listed(engine, scored, writing):
    first, second = engine.scene().objects[:2]
    scored(ALIKE)
    writing("a red chair")
    answer = engine.ask("describe the chair")
    assert [o.object for o in answer.objects] == [first, second]
    point = "({:.2f}, {:.2f}, {:.2f}) m".format(*second.box.center)
    assert answer.text.startswith("a red chair; the phrases also match the ")
    assert answer.text.endswith(point) and answer.text_points == (second.box.center,)
    scored(CHAIR)
    assert engine.ask("describe the chair").text == "a red chair"


# ---- impossible edits ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("instruction", "reason"),
    [
        ("move the chair 9 m towards the table", "out of the room|in the way"),
        ("put a lamp of 9 x 9 x 9 m next to the table", "out of the room|no such place"),
    ],
)
def test_an_impossible_edit_has_a_reason_and_changes_nothing(engine, scored, instruction, reason):
    scored(*[CHAIR, TABLE] if "chair" in instruction else [TABLE])
    before = engine.scene()
    edit = engine.edit_layout(instruction, apply=True)
    assert not edit.possible and not edit.applied and edit.after == ()
    assert torch.tensor([word in edit.reason for word in reason.split("|")]).any(), edit.reason
    assert edit.reason in edit.text and engine.scene() is before


def test_what_no_edit_can_mean_is_refused(engine, scored):
    scored(CHAIR)
    with pytest.raises(QueryError, match="both the object to change and a reference; name two"):
        engine.edit_layout("swap the chair and the chair")
    with pytest.raises(QueryError, match=r"the robot is not furniture; for example 'move"):
        engine.edit_layout("move yourself next to the table")
    with pytest.raises(QueryError, match="usual size of 'gadget' is not known; give it"):
        engine.edit_layout("put a gadget next to the chair")


# ---- units, and the same object twice --------------------------------------------------------


@pytest.mark.parametrize(
    "ask",
    [
        lambda e: e.measure_distance("how many feet is the chair from the table?"),
        lambda e: e.measure_distance("how far is the chair from the table in inches?"),
        lambda e: e.edit_layout("move the chair 3 feet towards the table"),
        lambda e: e.edit_layout("move the chair 2 yards towards the table"),
        lambda e: e.answer("how far is the chair from the table in feet?"),
    ],
)
def test_other_units_are_refused_and_metres_named(engine, scored, ask):
    scored(CHAIR, TABLE)
    with pytest.raises(QueryError, match="metres"):
        ask(engine)


def test_centimetres_are_understood(engine, scored):
    scored(CHAIR, TABLE)
    assert engine.edit_layout("move the chair 20 cm away from the table").query
    up = engine.edit_layout("move the chair 20 cm up") if scored(CHAIR) is None else None
    assert up.after[0].box.center[2] - up.before[0].box.center[2] == pytest.approx(0.2)


@pytest.mark.parametrize(
    "ask",
    [
        lambda e: e.measure_distance("how far is the chair from the chair?"),
        lambda e: e.measure_distance(a="the chair", b="chair"),
        lambda e: e.measure_distance("how far am I from you?"),
    ],
)
def test_nothing_is_measured_to_itself(engine, scored, ask):
    scored(CHAIR, CHAIR)
    with pytest.raises(QueryError, match="same object, 0 m apart; name two"):
        ask(engine)


# ---- an empty scene --------------------------------------------------------------------------


def test_an_empty_scene_says_so(loaded):
    engine = seeing(loaded, 0)
    assert engine.scene().objects == ()
    found = engine.ground("the chair")
    assert (found.no_target, found.objects, found.num_ties) == (True, (), 1)
    assert engine.ask("how many chairs are there?").text == found.text
    for ask in (
        lambda: engine.measure_distance("how far is the chair from the table?"),
        lambda: engine.measure_distance("how far am I from the chair?"),
        lambda: engine.edit_layout("remove the chair"),
        lambda: engine.edit_layout("put a lamp next to the table"),
    ):
        with pytest.raises(NotFoundError, match="The object map is empty"):
            ask()
    with pytest.raises(NotFoundError, match="object 0 is not in the map"):
        engine.caption(0)
    far = engine.measure_distance("how far am I from (0, 0, 0)?")
    assert far.metres > 0 and far.network_m is None


# ---- text of the network that nobody can read ------------------------------------------------


@pytest.mark.parametrize(
    ("question", "said"),
    [
        ("how many chairs are there?", "many"),
        ("how many chairs are there?", "1e9"),
        ("how far is the chair from the table?", "1.8"),
        ("how far is the chair from the table?", "about two metres"),
        ("what colour is the chair?", ""),
        ("what colour is the chair?", "<OBJ003>"),
        ("describe object 1", "?!"),
    ],
)
def test_text_that_is_no_answer_is_reported_and_no_number_invented(
    engine, scored, writing, question, said
):
    scored(CHAIR)
    writing(said)
    with pytest.raises(UnreadableError, match="which is not a") as raised:
        engine.ask(question)
    assert f"the network generated '{said}'" in str(raised.value)
    scored(CHAIR, TABLE)
    measured = engine.measure_distance("how far is the chair from the table?")
    assert measured.network_m is None and measured.disagreement_m is None
    assert measured.metres == pytest.approx(0.5) and measured.route == "geometry"


def test_readable_text_is_given_as_it_is(engine, writing):
    writing("3")
    answer = engine.ask("how many chairs are there?")
    assert answer.text == "3" and [o.object for o in answer.objects] == [engine.scene().objects[0]]
