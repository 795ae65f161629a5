"""The parameter table: every default is possible, every impossible value is named."""

from __future__ import annotations

import pytest
import yaml

from spatial3d_ros.errors import ConfigError
from spatial3d_ros.resources import config_path
from spatial3d_ros.runtime.parameters import (
    FIELDS,
    Parameters,
    as_yaml,
    check,
    explain_unknown,
)


@pytest.mark.parametrize("name", FIELDS)
def test_defaults_pass_their_own_check_and_are_described(name):
    assert check(name, getattr(Parameters(), name)) == getattr(Parameters(), name)
    assert FIELDS[name].metadata["description"].endswith(".")


@pytest.mark.parametrize("name", FIELDS)
def test_another_type_is_refused_by_name(name):
    with pytest.raises(ConfigError, match=f"parameter {name} is"):
        check(name, b"bytes")
    wrong = 3 if isinstance(getattr(Parameters(), name), str | bool) else "three"
    with pytest.raises(ConfigError, match=f"parameter {name} is"):
        check(name, wrong)


@pytest.mark.parametrize("name", [n for n, e in FIELDS.items() if e.metadata["low"] is not None])
def test_the_range_is_told_and_its_ends_belong_to_it(name):
    low, high = FIELDS[name].metadata["low"], FIELDS[name].metadata["high"]
    assert (check(name, low), check(name, high)) == (low, high)
    for beyond in (low - 1, high + 1):
        with pytest.raises(ConfigError, match=f"between {low} and {high}"):
            check(name, beyond)


def test_whole_numbers_are_real_numbers_but_nan_is_not():
    value = check("max_seconds", 3)
    assert (value, type(value)) == (3.0, float)
    for impossible in (float("nan"), float("inf")):
        with pytest.raises(ConfigError, match="finite number"):
            check("max_seconds", impossible)


def test_choices_are_listed_and_unknown_names_too():
    with pytest.raises(ConfigError, match=r"'gps'.*pose, odom"):
        check("pose_source", "gps")
    with pytest.raises(ConfigError, match=r"max_view is unknown.*max_views"):
        check("max_view", 3)


def test_the_extrinsic_has_seven_numbers_or_none():
    assert check("base_T_camera", []) == ()
    assert check("base_T_camera", [0, 0, 1, 0, 0, 0, 1]) == (0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
    for impossible in ([0.0], [float("nan")] * 7, ["a"] * 7):
        with pytest.raises(ConfigError, match="base_T_camera"):
            check("base_T_camera", impossible)


def test_the_base_file_tells_the_defaults():
    layers = yaml.safe_load(config_path("base.yaml").read_text())
    told = layers["/**"]["ros__parameters"]
    assert {name: check(name, value) for name, value in told.items()} == {
        name: default
        for name in FIELDS
        if not isinstance(default := getattr(Parameters(), name), tuple)  # ROS has no empty list
    }


def test_what_the_node_prints_can_be_given_to_it_again():
    values = Parameters(max_views=8, color_T_depth=(0.0, 0.0, 0.1, 0.0, 0.0, 0.0, 1.0))
    printed = as_yaml(values)
    assert "max_views: 8  # not 16" in printed.splitlines()
    read = {name: check(name, value) for name, value in yaml.safe_load(printed).items()}
    assert Parameters(**read) == values


def test_a_parameter_that_nobody_has_is_told_with_the_likeliest_one():
    assert explain_unknown("max_view") == "parameter max_view is unknown: did you mean max_views?"
    assert explain_unknown("zzz") == "parameter zzz is unknown: it changes nothing here."


def test_names_of_classes_are_texts():
    assert check("detection_classes", ["cat", "7=dog"]) == ("cat", "7=dog")
    assert check("detection_classes", None) == ()
    for impossible in ("cat", [1], [b"cat"], 3):
        with pytest.raises(ConfigError, match=r"detection_classes.*list of texts"):
            check("detection_classes", impossible)
