"""The objects of a large memory that a question is about are found and read by the network."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from helpers.box_world import thing
from helpers.engine_scene import proposals_in_a_row, wall_frame
from helpers.small_model import small_model
from spatial3d_ros.engine import EngineConfig, Spatial3D
from spatial3d_ros.errors import QueryError
from spatial3d_ros.memory.regions import Region
from spatial3d_ros.memory.retrieval import ObjectIndex, Wanted
from spatial3d_ros.model.checkpoint import save_model

HERE = np.zeros(3)


def labels(*names):
    return frozenset(names)


def test_noun_colour_neighbour_region_and_time_choose():
    index = ObjectIndex()
    for n in range(300):
        index.put(thing(n, "chair", float(n), color="red"))
    index.put(thing(300, "Chair", 250.0, 1.0, color="green"))
    index.put(thing(301, "piano", 120.5))
    index.put(thing(302, "chair", 40.0, size=0.9, last_ns=99))
    index.put(thing(303, "vase", 2.0, state="missing"))

    def best(wanted, **options):
        return index.retrieve([wanted], HERE, 10, **options)

    assert best(Wanted(labels("chair")))[:3] == [0, 1, 2]  # the nearest
    assert best(Wanted(labels("chair"), "green"))[0] == 300
    at_piano = best(Wanted(labels("chair"), anchors=(Wanted(labels("piano")),)))
    assert set(at_piano[:2]) == {120, 121} and 301 in at_piano
    index.put(thing(304, "piano", 20.5, color="red"))
    index.put(thing(305, "piano", 200.5, color="blue"))
    at_blue = best(Wanted(labels("chair"), anchors=(Wanted(labels("piano"), "blue"),)))
    assert set(at_blue[:2]) == {200, 201} and 305 in at_blue
    assert {*at_blue} == {*range(198, 204), 301, 305}, "chairs at other pianos are not read"
    at_chair = best(Wanted(labels("chair"), anchors=(Wanted(labels("chair"), "green"),)))
    assert at_chair[:2] == [250, 249], "the green chair does not stand next to itself"
    index.remove(304)
    index.remove(305)
    assert best(Wanted(labels("chair"), order="largest"))[0] == 302
    room = Region("room", ((29.5, -1), (33.5, -1), (33.5, 1), (29.5, 1)))
    assert set(best(Wanted(labels("chair")), region=room)) == {30, 31, 32, 33}
    assert best(Wanted(labels("chair")), since_ns=50) == [302]
    assert best(Wanted(labels("vase"))) == [] and index.present == 303
    assert len(best(Wanted(None))) == 10
    two = index.retrieve([Wanted(labels("piano")), Wanted(labels("chair"))], HERE, 10)
    assert two[:2] == [301, 0] and len(two) == 10


def test_the_index_follows_the_objects():
    index = ObjectIndex()
    index.put(thing(1, "mug", 1.0))
    index.put(thing(1, "cup", 5.0))
    assert index.labels == ["cup"]
    assert index.near(np.array([[5.0, 0, 0.5]]), 1.0) == [1]
    assert index.near(np.array([[1.0, 0, 0.5]]), 1.0) == []
    index.put(thing(2, "mug", 2.0, state="gone"))
    assert index.nearest(HERE, 5) == [1] and index.near(np.array([[2.0, 0, 0.5]]), 0.1) == [2]
    index.remove(1)
    index.remove(1)
    index.put(thing(3, "lamp", 0.0))  # in the row of the removed one
    assert index.labels == ["mug", "lamp"] and index.nearest(HERE, 5) == [3]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model")
    network, prompt = small_model()
    save_model(path, network, prompt.tokenizer, torch.float32)
    return path


def test_a_question_finds_what_is_far_away_in_a_large_memory(model, tmp_path):
    config = EngineConfig(model=str(model), device="cpu", memory_folder=str(tmp_path))
    engine = Spatial3D(config)
    engine.load()
    for n in range(400):
        engine.memory.put(thing(1000 + n, "chair", 20.0 + n // 20, float(n % 20)))
    engine.memory.put(thing(2000, "kettle", 39.0, 10.4, "blue"))
    for number in (1, 2):
        engine.add_frame(wall_frame(number))
        engine.refresh(proposals_in_a_row(3))
    shown = {known.id for known in engine.scene().objects}
    assert len(shown) <= 100 and 2000 not in shown
    found = engine.ground("the blue kettle")
    assert found.objects[0].object.id == 2000 and not found.no_target
    near = engine.ground("the chair next to the kettle").objects[0].object
    assert np.hypot(near.box.center[0] - 39.0, near.box.center[1] - 10.4) < 2.5
    assert engine.measure_distance(a="the kettle", b="the robot").metres > 30
    assert {known.id for known in engine.scene().objects} == shown  # the scene itself stays
    with pytest.raises(QueryError, match="zebra"):
        engine.ground("the zebra")
    engine.close()
