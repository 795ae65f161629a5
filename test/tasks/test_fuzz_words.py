"""Whatever people, or the network, write: it is read, or refused in words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.fuzzing import NUMBERS, PIECES, survives
from spatial3d_ros.errors import FrameError, LocationError, QueryError
from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.model.tokens import LOCATION_MARKS, load_tokenizer
from spatial3d_ros.research.language.location_text import LocationCodec
from spatial3d_ros.resources import resource_path
from spatial3d_ros.tasks.answer_parser import read_count, read_metres, read_words
from spatial3d_ros.tasks.edit_query import instruction_of
from spatial3d_ros.tasks.points import read_point
from spatial3d_ros.tasks.prompt import Prompt, clean_query
from spatial3d_ros.tasks.query_limits import check_length
from spatial3d_ros.tasks.query_network import load_reader
from spatial3d_ros.tasks.reading import read_ends, read_question
from spatial3d_ros.tasks.unit_parser import take_angle, take_length
from spatial3d_ros.tasks.vocabulary import Vocabulary

pytestmark = pytest.mark.fuzz
DISTANCES = (
    "how far is", "how far am I", "from", "to", "between", "and", "the lamp", "the chair", "it",
    "distance", "what is the", "(1.0, 2, 3)", "(", "1e400", "nan", "m", "in feet", "inches", "?",
    "robot", "me", "'", '"', "surface", "apart", "nearest",
)  # fmt: skip
ASKS = ("how many", "what colour is", "what is", "is there", "describe", "object 3", "chairs", "?")


def sentences(pieces):
    parts = st.lists(st.one_of(st.sampled_from(pieces), st.text(max_size=4)), max_size=10)
    return st.one_of(st.text(max_size=80), parts.map(" ".join))


READER = load_reader(resource_path("weights/reader.safetensors"))


@given(sentences((*PIECES, *DISTANCES, *ASKS)))
def test_questions_are_read_or_refused(text):
    read = survives(lambda: read_question(text, READER, Vocabulary(["zorbik"])), QueryError)
    if read is not None and read.query.intent.startswith("edit."):
        edit = survives(lambda: instruction_of(read.query), QueryError)
        assert edit is None or (edit.target and all(edit.anchors))
        assert edit is None or edit.relation or edit.action in ("swap", "remove", "turn")


@given(sentences(DISTANCES), sentences(DISTANCES))
def test_two_phrases_are_read_or_refused(text, other):
    read = survives(lambda: read_ends(text, other, READER, Vocabulary([])), QueryError)
    assert read is None or len(read.query.targets) == 2


@given(sentences((*DISTANCES, *PIECES)))
def test_lengths_angles_and_points(text):
    for read in (take_length, take_angle, read_point):
        survives(lambda read=read: read(text), QueryError)


@pytest.fixture(scope="module")
def prompt():
    return Prompt(load_tokenizer(resource_path("weights/tiny/tokenizer.json")))


@given(text=st.one_of(st.text(max_size=200), sentences((*DISTANCES, "<ground>", "<LOC000>"))))
def test_questions_become_tokens(prompt, text):
    survives(lambda: check_length(text), QueryError)
    clean = survives(lambda: clean_query(text), QueryError)
    if clean is not None:
        assert prompt.grounding(clean) and prompt.free_form(clean)


@given(sentences(("1.84 m", "3", "a red chair", "no")))
def test_answers_in_words(said):
    metres, count, words = read_metres(said), read_count(said), read_words(said)
    assert metres is None or metres >= 0
    assert count is None or count >= 0
    assert words in (None, said)


LOCATION_PIECES = (
    *LOCATION_MARKS, "<LOC000>", "<LOC999>", "<LOC1>", "1.0", "-2", ",", "1e999", "nan", "+.5", " ",
)  # fmt: skip


@given(
    st.lists(st.one_of(st.sampled_from(LOCATION_PIECES), st.text(max_size=3)), max_size=16).map(
        "".join
    )
)
def test_locations_in_text(text):
    frame = LocationCodec((1.0, 2.0, 0.0))
    for read in (frame.read, frame.read_box, frame.read_point):
        survives(lambda read=read: read(text), LocationError)


@given(st.tuples(NUMBERS, NUMBERS, NUMBERS), st.sampled_from(["text", "tokens"]))
def test_places_written_are_read_back(point, form):
    frame = LocationCodec(format=form)
    text = survives(lambda: frame.point(point), LocationError)
    if text is not None:
        assert len(frame.read_point(text)) == 3


@given(
    st.tuples(*[st.floats(-9, 9)] * 3), st.tuples(*[st.floats(0, 9)] * 3), NUMBERS,
    st.sampled_from(["text", "tokens"]),
)  # fmt: skip
def test_boxes_written_are_read_back(center, size, yaw, form):
    frame = LocationCodec(format=form)
    text = survives(lambda: frame.box(Box3D(center, size, yaw)), FrameError, LocationError)
    if text is not None:
        assert frame.read_box(text).center == pytest.approx(center, abs=0.02)
