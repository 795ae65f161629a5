"""Whatever people, or the network, write: it is read, or refused in words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.fuzzing import NUMBERS, PIECES, survives
from spatial3d_ros.errors import FrameError, LocationError, QueryError, UnreadableError
from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.model.tokens import LOCATION_MARKS, load_tokenizer
from spatial3d_ros.research.language.location_text import LocationCodec
from spatial3d_ros.resources import resource_path
from spatial3d_ros.tasks.answer_parser import read_count, read_metres, read_words
from spatial3d_ros.tasks.distance import fixed_end, read_distance
from spatial3d_ros.tasks.distance_parser import parse_distance, read_point
from spatial3d_ros.tasks.layout_parser import parse_layout, read_layout
from spatial3d_ros.tasks.prompt import Prompt, clean_query
from spatial3d_ros.tasks.query_limits import check_length
from spatial3d_ros.tasks.question_router import check_answer, is_free_form, phrase_to_describe
from spatial3d_ros.tasks.unit_parser import take_angle, take_length

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


@given(sentences(PIECES))
def test_layout_words(text):
    read = survives(lambda: parse_layout(text), QueryError)
    if read is not None:
        assert read.target and all(read.anchors)
        assert read.metres is None or 0 <= read.metres < float("inf")
        assert read.relation or read.action in ("swap", "remove", "turn")
        assert read_layout(text) == read


@given(sentences(DISTANCES), sentences(DISTANCES), st.sampled_from(["auto", "center", "surface"]))
def test_distance_words(text, other, kind):
    survives(lambda: parse_distance(text), QueryError)
    for given_words in ((text, "", ""), ("", text, other)):
        wanted = survives(lambda words=given_words: read_distance(*words, kind), QueryError)
        for phrase in (wanted.a, wanted.b) if wanted else ():
            assert phrase
            survives(lambda phrase=phrase: fixed_end(phrase, None), QueryError)


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


@given(sentences((*ASKS, "1.84 m", "3", "-", ",")), sentences(("1.84 m", "3", "a red chair", "no")))
def test_answers_in_words(question, said):
    assert is_free_form(question) in (True, False)
    phrase_to_describe(question)
    metres, count, words = read_metres(said), read_count(said), read_words(said)
    assert metres is None or metres >= 0
    assert count is None or count >= 0
    assert words in (None, said)
    survives(lambda: check_answer(question, said), UnreadableError)


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
