"""Location text: what is written comes back, and nothing that is no place gets through."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spatial3d_ros.errors import LocationError
from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.model.config import IoConfig, load_config
from spatial3d_ros.model.tokens import (
    LOCATION_MARKS,
    LOCATION_TOKENS,
    SPECIAL_TOKENS,
    load_tokenizer,
    special_tokens,
    with_special_tokens,
)
from spatial3d_ros.research.language.location_text import LocationCodec
from spatial3d_ros.resources import resource_path

coordinate = st.floats(-9.5, 9.5)
point = st.tuples(coordinate, coordinate, coordinate)
size = st.tuples(*[st.floats(0.0, 9.9)] * 3)
anywhere = st.tuples(*[st.floats(-1e4, 1e4)] * 3)
ERROR = {"text": 0.005 + 1e-9, "tokens": 0.01 + 1e-9}


@given(local=point, size=size, origin=anywhere, form=st.sampled_from(["text", "tokens"]))
def test_a_box_comes_back_into_the_map(local, size, origin, form):
    frame = LocationCodec(origin, form)
    center = tuple(a + b for a, b in zip(local, origin, strict=True))
    back = frame.read_box(f"it is {frame.box(Box3D(center, size))}.")
    assert back.center == pytest.approx(center, abs=ERROR[form] + 1e-6)
    assert back.size == pytest.approx(size, abs=ERROR[form])


@given(local=point, origin=anywhere, form=st.sampled_from(["text", "tokens"]))
def test_a_point_comes_back_into_the_map(local, origin, form):
    frame = LocationCodec(origin, form)
    there = tuple(a + b for a, b in zip(local, origin, strict=True))
    assert frame.read_point(frame.point(there)) == pytest.approx(there, abs=ERROR[form] + 1e-6)


def test_the_published_form():
    box = Box3D((1.0, 2.0, 0.5), (0.5, 0.25, 1.0))
    frame = LocationCodec((1.0, -1.0, 0.0))
    assert frame.box(box) == "<box>0.00, 3.00, 0.50, 0.50, 0.25, 1.00</box>"
    assert LocationCodec().point((-0.001, 0, -1.239)) == "<pt>0.00, 0.00, -1.24</pt>"
    tokens = LocationCodec(format="tokens")
    assert tokens.point((-10.0, 0.0, 9.99)) == "<pt><LOC000><LOC500><LOC999></pt>"
    assert frame.read_box("<box>0,3,.5,0.5,0.25,1</box>") == box
    assert frame.read("a <pt>0,0,0</pt> b <box>0,3,.5,.5,.25,1</box>") == [(1.0, -1.0, 0.0), box]
    assert frame.read("no place at all") == []


def test_a_quarter_turn_swaps_sides_and_other_turns_are_refused():
    turned = Box3D((0, 0, 0), (1.0, 2.0, 3.0), math.pi / 2)
    assert LocationCodec().read_box(LocationCodec().box(turned)).size == (2.0, 1.0, 3.0)
    with pytest.raises(LocationError, match=r"turned by 0\.3 rad"):
        LocationCodec().box(Box3D((0, 0, 0), (1, 1, 1), 0.3))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<box>1, 2, 3, 4, 5</box>", "5 numbers"),
        ("<pt>1, 2, 3, 4</pt>", "4 numbers"),
        ("<box>1, 2, 3, 4, -5, 6</box>", "negative size"),
        ("<box>1, 2, nan, 4, 5, 6</box>", "'nan' is not a number"),
        ("<box>1, 2, inf, 4, 5, 6</box>", "'inf' is not a number"),
        (f"<pt>1, 2, {'9' * 400}</pt>", "not finite"),
        ("<pt>1, 2, 1e3</pt>", "'1e3' is not a number"),
        ("<pt>1, 2, 3 m</pt>", "'3 m' is not a number"),
        ("<pt>1, 2, </pt>", "'' is not a number"),
        ("<pt>1, 2, \u0663</pt>", "is not a number"),
        ("<pt>1, 2, 3", "<pt>: unpaired"),
        ("1, 2, 3</pt>", "</pt>: unpaired"),
        ("<box>1, 2, 3</pt>", "unpaired"),
        ("<box><LOC500><LOC500></box>", "2 numbers"),
        ("<pt><LOC500>, 1, 2</pt>", "'<LOC500>' is not a number"),
        ("<box>" + "<LOC500>" * 3 + "<LOC400>" * 3 + "</box>", "negative size"),
        ("1, 2, 3, 4, 5, 6", "0 in"),
        ("<pt>1, 2, 3</pt><pt>1, 2, 3</pt>", "2 in"),
    ],
)
def test_invalid_locations_are_named(text, message):
    read = LocationCodec().read_point if "pt>" in text else LocationCodec().read_box
    with pytest.raises(LocationError, match=message):
        read(text)


pieces = st.sampled_from([*LOCATION_MARKS, "<LOC1>", "<LOC001>", "1", "-", ",", "."])


@given(st.text() | st.lists(pieces).map("".join))
def test_garbage_is_read_or_refused(text):
    try:
        places = LocationCodec().read(text)
    except LocationError as error:
        assert len(str(error)) < 200
    else:
        for place in places:
            values = (*place.center, *place.size) if isinstance(place, Box3D) else place
            assert all(map(math.isfinite, values))


def test_tokens_tell_where_they_end():
    with pytest.raises(LocationError, match="reach 10 m"):
        LocationCodec(format="tokens").point((0.0, 10.0, 0.0))
    with pytest.raises(LocationError, match="finite"):
        LocationCodec().point((math.nan, 0.0, 0.0))
    assert len(set(LOCATION_TOKENS)) == 1004


def test_location_tokens_come_behind_all_others_and_no_id_changes():
    shipped = load_tokenizer(resource_path("weights/tiny/tokenizer.json"))
    config = load_config(resource_path("weights/tiny/config.yaml"))
    before = shipped.get_vocab()
    wanted = config.model_copy(update={"io": IoConfig(loc_format="tokens")})
    assert special_tokens(config) == SPECIAL_TOKENS
    after = with_special_tokens(shipped, special_tokens(wanted)).get_vocab()
    assert {token: after[token] for token in before} == before
    assert len(after) == len(before) + len(LOCATION_TOKENS)
    encoded = LocationCodec(format="tokens").box(Box3D((1, 2, 3), (1, 1, 1)))
    ids = shipped.encode(encoded).ids
    assert (
        len(ids) == 8 and shipped.decode(ids, skip_special_tokens=False).replace(" ", "") == encoded
    )


def test_digits_stand_alone_in_the_shipped_tokenizer():
    shipped = load_tokenizer(resource_path("weights/tiny/tokenizer.json"))
    assert shipped.encode(" 12.84 m", add_special_tokens=False).tokens[1:-1] == list("12.84")
