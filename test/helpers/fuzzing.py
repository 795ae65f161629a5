"""What all fuzz tests share: made-up input may raise only what is documented, and say why."""

from __future__ import annotations

from hypothesis import strategies as st

from spatial3d_ros.errors import Spatial3DError

NAMES = st.one_of(st.sampled_from(["", "/camera", "map", "odom"]), st.text(max_size=8))
NUMBERS = st.floats(allow_nan=True, allow_infinity=True)
UINT32 = st.one_of(st.integers(0, 8), st.integers(0, 2**32 - 1))


def survives(call, *documented):
    """The result of a call, or None where it raised a documented error that says something."""
    try:
        return call()
    except documented as error:
        assert issubclass(type(error), Spatial3DError) and str(error).strip()
        return None


def damaged(whole):
    """Bytes like those of a file, with a piece cut out and noise put in."""
    places = st.integers(0, len(whole))
    return st.one_of(
        st.binary(max_size=200),
        st.builds(
            lambda a, b, noise: whole[: min(a, b)] + noise + whole[max(a, b) :],
            places,
            places,
            st.binary(max_size=16),
        ),
        st.builds(lambda at, byte: whole[:at] + bytes([byte]) + whole[at + 1 :],
                  places, st.integers(0, 255)),
    )  # fmt: skip


PIECES = (
    "move the lamp", "put", "put a lamp", "take it", "swap", "turn", "remove", "add", "a", "the",
    "chair", "and", "and put it", "to", "onto", "on", "next to", "left", "to the left of", "of",
    "in front of", "behind", "between", "towards", "away", "from", "seen from", "0.5", "1 m",
    "50 cm", "3 feet", "half a metre", "degrees", "90", "by", "so that it is", "with", "around",
    "up", "along x", "-", ",", ".", "me",
)  # fmt: skip
