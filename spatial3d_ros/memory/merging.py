"""What another robot knows of objects, added to a memory: the later look decides."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from spatial3d_ros.memory.association import MIN_MOVE_M, same_place
from spatial3d_ros.memory.object_memory import ObjectMemory
from spatial3d_ros.memory.records import MemoryObject

OTHERS = 0.9  # confidence of what another robot saw


@dataclass
class Merged:
    """Ids of another memory with those of this one: objects of both, those that were seen later
    there, and new ones.
    """

    ids: dict[int, int] = field(default_factory=dict)
    updated: list[int] = field(default_factory=list)
    added: list[int] = field(default_factory=list)


def merge_objects(
    memory: ObjectMemory,
    theirs: Sequence[MemoryObject],
    evidence: Mapping[int, int],
    known_ids: Mapping[int, int] | None = None,
) -> Merged:
    """Adds objects of another memory, in the frame of this one.

    Of an object in both, the later evidence decides: where it was seen, or that its place was seen
    empty. What a person pinned or deleted here stays.

    Args:
        evidence: stamps (`MemoryState.evidence_ns`) by id there.
        known_ids: ids here by ids there of an earlier merge: these follow a moved object.
    """
    result = Merged()
    with memory.lock:
        ours = memory.objects()
        of = {there: here for there, here in (known_ids or {}).items() if here in memory.known}
        taken = set(of.values())
        free = [o for o in ours if o.id not in taken]
        fresh = [o for o in theirs if o.id not in of]
        of |= {fresh[column].id: free[row].id for row, column in same_place(free, fresh)}
        for item in theirs:
            number = of.get(item.id)
            mine = None if number is None else memory.known[number]
            if mine is None or number is None:
                number = memory.reserve_id()
                memory.put(replace(item, id=number, session=memory.session.id))
                result.added.append(number)
            elif evidence[item.id] > memory.evidence_ns(mine) and not _kept(mine):
                _take_in(memory, mine, item)
                result.updated.append(number)
            result.ids[item.id] = number
    return result


def _kept(mine: MemoryObject) -> bool:
    return mine.pinned or mine.state in ("deleted", "merged")


def _take_in(memory: ObjectMemory, mine: MemoryObject, item: MemoryObject) -> None:
    """The later evidence of another memory becomes that of an object."""
    if not item.present:
        missing = replace(mine, state=item.state)
        memory.put(missing)
        if mine.present:
            memory.emit("missing", missing, before=mine.box, confidence=OTHERS)
        return
    known = replace(
        item,
        id=mine.id,
        label=mine.label if mine.label_pinned else item.label or mine.label,
        label_pinned=mine.label_pinned,
        first_ns=min(mine.first_ns, item.first_ns),
        hits=mine.hits + item.hits,
        session=mine.session,
        source=mine.source,
    )
    memory.put(known)
    if math.dist(mine.place, known.box.center) >= MIN_MOVE_M:
        memory.emit("moved", known, mine.box, known.box, confidence=OTHERS)
