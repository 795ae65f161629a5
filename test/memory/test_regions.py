"""Named regions: which one an object is in, and polygons that are refused."""

from __future__ import annotations

import pytest

from spatial3d_ros.errors import ConfigError
from spatial3d_ros.memory.regions import Region, from_geojson, read_regions, region_at, to_geojson

KITCHEN = Region("The  Kitchen", ((0, 0), (4, 0), (4, 2), (2, 2), (2, 4), (0, 4)))


def test_a_point_is_in_the_smallest_region_around_it():
    flat = Region.from_box("flat", (-10, -10, 0), (10, 10, 2.5))
    assert KITCHEN.name == "kitchen" and KITCHEN.area == 12.0
    assert region_at([flat, KITCHEN], (1, 3, 1)) is KITCHEN
    assert region_at([flat, KITCHEN], (3, 3, 1)) is flat  # the notch of the L
    assert region_at([flat], (0, 0, 3)) is None


def test_collinear_edges_that_do_not_touch_are_no_crossing():
    corners = ((0, 0), (1, 0), (1, 1), (2, 1), (2, 0), (3, 0), (3, 3), (0, 3))
    assert Region("u", corners).contains((0.5, 0.5, 0))


@pytest.mark.parametrize(
    "corners, error",
    [
        (((0, 0), (2, 2), (2, 0), (0, 2)), "edges 1 and 3 cross"),
        (((0, 0), (1, 1)), "2 corners"),
        (((0, 0), (1, 1), (2, 2)), "area"),
        (((0, 0), (1, float("nan")), (2, 2)), "finite"),
    ],
)
def test_polygons_that_are_none_are_refused(corners, error):
    with pytest.raises(ConfigError, match=error):
        Region("bad", corners)


def test_regions_come_from_yaml_and_geojson(tmp_path):
    path = tmp_path / "regions.yaml"
    path.write_text(
        "regions:\n- {name: hall, corners: [[0, 0], [1, 0], [1, 1]]}\n"
        "- {name: shelf, low: [0, 0, 1], high: [1, 1, 2]}\n"
    )
    hall, shelf = read_regions(path)
    assert hall.name == "hall" and (shelf.low, shelf.high) == (1.0, 2.0)
    assert from_geojson(to_geojson([hall, shelf, KITCHEN])) == [hall, shelf, KITCHEN]
    for text in ("regions: 3", "[]", "regions: [{name: x}]", "regions: [{name: x, corners: 7}]"):
        path.write_text(text)
        with pytest.raises(ConfigError, match=r"regions\.yaml"):
            read_regions(path)
    with pytest.raises(ConfigError, match="GeoJSON"):
        from_geojson({"features": [{}]})
