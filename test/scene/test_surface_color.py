"""Names of colors under the exposure and tint of a camera."""

from __future__ import annotations

import numpy as np
import pytest

from spatial3d_ros.scene.surface_color import Light, mixed

WHITE_WALL = np.full((160, 160, 3), 235, np.uint8)
SURFACES = {
    "red": (150, 60, 55),
    "brown": (110, 78, 52),
    "green": (120, 140, 80),
    "blue": (70, 85, 130),
    "white": (205, 204, 200),
    "black": (38, 36, 37),
    "gray": (128, 128, 126),
    "orange": (215, 120, 40),
    "yellow": (215, 190, 60),
}


def scene(gain=(1.0, 1.0, 1.0)):
    """A white wall beside every surface, as a camera with these gains of linear RGB sees them."""
    rows = [WHITE_WALL, *(np.full((20, 160, 3), rgb, np.uint8) for rgb in SURFACES.values())]
    image = np.concatenate(rows).astype(float) / 255
    linear = np.clip(image**2.2 * gain, 0, 1)
    return (255 * linear ** (1 / 2.2)).astype(np.uint8)


@pytest.mark.parametrize("gain", [(1, 1, 1), (0.45, 0.45, 0.45), (0.75, 0.65, 0.5)])
def test_names_survive_exposure_and_a_warm_light(gain):
    image = scene(gain)
    light = Light.of([image])
    found = [light.color_names(image[160 + 20 * k, :20])[0][0] for k in range(len(SURFACES))]
    assert found == list(SURFACES)


def test_without_the_light_of_the_image_they_would_not():
    image = scene((0.25, 0.25, 0.25))
    found = [Light().color_names(image[160 + 20 * k, :20])[0][0] for k in range(len(SURFACES))]
    assert found != list(SURFACES)


def test_shadow_glare_and_legs_do_not_name_a_chair():
    seat, legs = np.tile(SURFACES["green"], (60, 1)), np.tile((30, 30, 30), (30, 1))
    glare, shadow = np.tile((255, 255, 255), (4, 1)), np.tile((10, 12, 8), (6, 1))
    names = Light.of([scene()]).color_names(np.concatenate([seat, legs, glare, shadow]))
    assert names[0][0] == "green" and "white" not in dict(names)
    assert dict(names)["black"] > 0.1


def test_nothing_measured_names_nothing():
    assert Light.of([]) == Light() == Light.of([np.zeros((64, 64, 3), np.uint8)])
    assert Light().color_names(np.empty((0, 3))) == ()
    assert mixed((), (("red", 1.0),), 0.2) == (("red", 1.0),)
    assert dict(mixed((("red", 1.0),), (("blue", 1.0),), 0.2)) == {"red": 0.8, "blue": 0.2}
