"""Two memories become one: of two robots that disagree, the later evidence decides."""

from __future__ import annotations

import pytest

from helpers.box_world import SECOND, thing
from spatial3d_ros.errors import FrameError
from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.memory.database import MemoryDatabase
from spatial3d_ros.memory.edits import MemoryEdit, apply_edit
from spatial3d_ros.memory.maps import merge_maps
from spatial3d_ros.memory.object_memory import ObjectMemory
from spatial3d_ros.memory.peers import Peer, PeerObject
from spatial3d_ros.memory.questions import MemoryQuestions
from spatial3d_ros.memory.records import Observation
from spatial3d_ros.memory.store import MemoryStore


@pytest.fixture
def make_memory(tmp_path):
    opened = []

    def make(name, *things, at_s=100):
        memory = ObjectMemory(MemoryStore(MemoryDatabase(tmp_path / name)))
        memory.frame_id, memory.newest_ns = "map", at_s * SECOND
        for known in things:
            memory.put(known)
        memory.save(now=True)
        opened.append(memory)
        return memory

    yield make
    for memory in opened:
        memory.close()


def missing(memory, number, at_s):
    """Its place is seen empty."""
    known = memory.known[number]
    memory.newest_ns = at_s * SECOND
    memory.put(thing(number, known.label, *known.box.center[:2], last_ns=known.last_ns,
                     state="missing"))  # fmt: skip
    memory.emit("missing", memory.known[number], before=known.box)
    memory.save(now=True)
    memory.store.database.flush()


def at(seconds, number=7, x=1.0, label="mug", score=0.9):
    return PeerObject(number, Box3D((x, 0.0, 0.5), (0.3,) * 3), label, "", score, seconds * SECOND)


@pytest.mark.parametrize(
    "mine_s, mine_empty_s, theirs_s, theirs_empty_s, state",
    [
        (10, None, 20, None, "remembered"),
        (10, None, 5, 20, "missing"),  # they saw it empty after the last look here
        (30, None, 5, 20, "remembered"),  # it was seen here after that
        (10, 30, 20, None, "missing"),  # seen there, but empty here later
        (10, 15, 20, None, "remembered"),  # it is back
    ],
)
def test_of_two_maps_the_later_evidence_decides(
    make_memory, mine_s, mine_empty_s, theirs_s, theirs_empty_s, state
):
    one = make_memory("one", thing(1, "mug", 1.0, last_ns=mine_s * SECOND))
    two = make_memory("two", thing(5, "mug", 1.02, last_ns=theirs_s * SECOND))
    for memory, number, seconds in ((one, 1, mine_empty_s), (two, 5, theirs_empty_s)):
        if seconds is not None:
            missing(memory, number, seconds)
    result = merge_maps(one, two)
    assert (result["same"], result["added"]) == (1, 0)
    (known,) = one.objects()
    assert known.id == 1 and known.state == state


def test_looks_come_along_and_edits_stay(make_memory):
    one = make_memory("one", thing(1, "mug", 1.0), thing(2, "sofa", 4.0))
    apply_edit(one, MemoryEdit("delete", (2,)))
    apply_edit(one, MemoryEdit("rename", (1,), "cup"))
    two = make_memory("two", thing(1, "sofa", 4.0, last_ns=99), thing(2, "mug", 1.0, last_ns=99),
                      thing(3, "lamp", 9.0))  # fmt: skip
    two.store.add_observations([Observation(3, 5, 1, thing(3, "lamp", 9.0).box, "lamp", 0.9)])
    two.store.database.flush()
    result = merge_maps(one, two)
    assert (result["same"], result["updated"], result["added"]) == (2, 1, 1)
    found = {o.label: o for o in one.objects()}
    assert found["sofa"].state == "deleted" and found["cup"].last_ns == 99
    one.store.database.flush()
    assert len(one.store.observations(found["lamp"].id)) == 1


def test_a_peers_objects_move_go_missing_and_come_back(make_memory):
    memory = make_memory("one", thing(1, "sofa", 4.0))
    peer = Peer("/robot2/grounding_node")
    assert (
        peer.seen(memory, [at(110), at(110, 8, 3.0, "person"), at(1, 9, 2, "x", 0.1)], "map") == 1
    )
    assert peer.seen(memory, [at(110)], "map") == 0  # nothing is new
    (mug,) = [o for o in memory.objects() if o.label == "mug"]
    assert mug.source == peer.name
    assert "(1.00, 0.00" in MemoryQuestions(memory).last_seen("mug").text
    assert peer.seen(memory, [at(120, x=2.5)], "map") == 1
    assert memory.known[mug.id].box.center[0] == 2.5
    assert [e.kind for e in memory.events(object_id=mug.id)] == ["moved"]
    assert not peer.missed(memory, 7, 115 * SECOND)  # before it was seen there
    assert not peer.missed(memory, 99, 130 * SECOND)
    memory.newest_ns = 130 * SECOND
    assert peer.missed(memory, 7, 130 * SECOND)
    assert memory.known[mug.id].state == "missing"
    assert peer.seen(memory, [at(140, x=2.5)], "map") == 1 and memory.known[mug.id].present
    with pytest.raises(FrameError, match="'robot2/map'"):
        peer.seen(memory, [at(150)], "robot2/map")
