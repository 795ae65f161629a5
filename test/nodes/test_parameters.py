"""The parameter table: every default is valid, and every invalid value is named in the error."""

from __future__ import annotations

import pytest
import yaml

from spatial3d_ros.errors import ConfigError
from spatial3d_ros.resources import config_path
from spatial3d_ros.runtime.parameters import (
    FIELDS,
    RENAMED,
    Parameters,
    as_yaml,
    check,
    explain_renamed,
    explain_unknown,
)


@pytest.mark.parametrize("name", FIELDS)
def test_defaults_are_valid_and_described(name):
    assert check(name, getattr(Parameters(), name)) == getattr(Parameters(), name)
    assert FIELDS[name].metadata["description"].endswith(".")


@pytest.mark.parametrize("name", FIELDS)
def test_wrong_type_is_refused_by_name(name):
    with pytest.raises(ConfigError, match=f"parameter {name} is"):
        check(name, b"bytes")
    wrong = 3 if isinstance(getattr(Parameters(), name), str | bool) else "three"
    with pytest.raises(ConfigError, match=f"parameter {name} is"):
        check(name, wrong)


@pytest.mark.parametrize("name", [n for n, e in FIELDS.items() if e.metadata["low"] is not None])
def test_range_is_inclusive_and_named_in_the_error(name):
    low, high = FIELDS[name].metadata["low"], FIELDS[name].metadata["high"]
    assert (check(name, low), check(name, high)) == (low, high)
    for beyond in (low - 1, high + 1):
        with pytest.raises(ConfigError, match=f"between {low} and {high}"):
            check(name, beyond)


def test_integers_are_accepted_for_floats_but_nan_is_not():
    value = check("max_seconds", 3)
    assert (value, type(value)) == (3.0, float)
    for invalid in (float("nan"), float("inf")):
        with pytest.raises(ConfigError, match="finite number"):
            check("max_seconds", invalid)


def test_errors_list_the_choices_and_the_known_parameters():
    with pytest.raises(ConfigError, match=r"'gps'.*pose, odom"):
        check("pose_source", "gps")
    with pytest.raises(ConfigError, match=r"max_view is unknown.*max_views"):
        check("max_view", 3)


def test_pose_parameter_has_seven_numbers_or_none():
    assert check("base_T_camera", []) == ()
    assert check("base_T_camera", [0, 0, 1, 0, 0, 0, 1]) == (0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
    for invalid in ([0.0], [float("nan")] * 7, ["a"] * 7):
        with pytest.raises(ConfigError, match="base_T_camera"):
            check("base_T_camera", invalid)


def test_base_yaml_holds_the_defaults():
    layers = yaml.safe_load(config_path("base.yaml").read_text())
    values = layers["/**"]["ros__parameters"]
    assert {name: check(name, value) for name, value in values.items()} == {
        name: default
        for name in FIELDS
        if not isinstance(default := getattr(Parameters(), name), tuple)  # ROS has no empty list
    }


def test_as_yaml_can_be_read_back():
    values = Parameters(max_views=8, color_T_depth=(0.0, 0.0, 0.1, 0.0, 0.0, 0.0, 1.0))
    printed = as_yaml(values)
    assert "max_views: 8  # default: 16" in printed.splitlines()
    read = {name: check(name, value) for name, value in yaml.safe_load(printed).items()}
    assert Parameters(**read) == values


def test_unknown_parameter_suggests_the_closest_name():
    assert explain_unknown("max_view") == "parameter max_view is unknown: did you mean max_views?"
    assert explain_unknown("zzz") == "parameter zzz is unknown: it has no effect."


def test_detection_classes_are_strings():
    assert check("detection_classes", ["cat", "7=dog"]) == ("cat", "7=dog")
    assert check("detection_classes", None) == ()
    for invalid in ("cat", [1], [b"cat"], 3):
        with pytest.raises(ConfigError, match=r"detection_classes.*list of strings"):
            check("detection_classes", invalid)


@pytest.mark.parametrize("name", RENAMED)
def test_former_parameter_name_is_an_error_with_the_new_name(name):
    assert name not in FIELDS and RENAMED[name] in FIELDS
    assert f"parameter {name} is now named {RENAMED[name]}" in explain_renamed(name)
