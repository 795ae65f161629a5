"""A map without ROS and network for the tests of the servers: one chair, fixed answers."""

from __future__ import annotations

import time

from spatial3d_ros.errors import NotFoundError, QueryError
from spatial3d_ros.servers.records import (
    Answered,
    Change,
    Changes,
    Found,
    History,
    Layout,
    MapObject,
    Measured,
    News,
    Objects,
    Region,
    Regions,
)

CHAIR = MapObject(
    id=3, label="chair", color="red", center=(1.0, 2.0, 0.45), size=(0.5, 0.5, 0.9),
    region="hall", last_seen_s=12.0,
)  # fmt: skip
MUG = CHAIR.model_copy(update={"id": 4, "label": "mug", "state": "missing", "last_seen_s": 5.0})
MOVED = Change(kind="moved", stamp_s=12.0, object_id=3, label="chair", text="the chair moved")


class FakeMap:
    """`MapQueries`; `events` is what `news` tells, `asked` what came in."""

    def __init__(self, live=False):
        self.live = live
        self.asked, self.edits, self.events = [], [], [MOVED]
        self.version = 1
        self.crash = False

    def find(self, phrase, max_objects=5, conversation_id=""):
        self.asked.append((phrase, max_objects, conversation_id))
        return Found(text="the red chair", objects=[CHAIR], no_target=False, confidence=0.9)

    def measure(self, a, b, kind="auto", conversation_id=""):
        ends = {"point_a": CHAIR.center, "point_b": MUG.center}
        return Measured(
            text="1 m", metres=1.0, uncertainty_m=0.1, kind="center", a=CHAIR, b=MUG, **ends
        )

    def ask(self, question, conversation_id=""):
        self.asked.append((question, conversation_id))
        if self.crash:
            raise RuntimeError("secret of the server")
        if "wait" in question:
            time.sleep(0.2)
        if "zorblax" in question:
            raise QueryError("query: the word 'zorblax' is unknown")
        return Answered(text="<b>1</b>", value="1", objects=[CHAIR])

    def propose_layout(self, instruction, conversation_id=""):
        return Layout(
            text="moved", action="move", possible=True, satisfied=True, before=[CHAIR],
            after=[CHAIR],
        )  # fmt: skip

    def objects(self):
        return Objects(frame_id="map", stamp_s=12.0, objects=[MUG, CHAIR])

    def history(self, object_id):
        if object_id != 3:
            raise NotFoundError(f"object {object_id} is not in the map")
        return History(object=CHAIR, events=[MOVED], pictures=[11.0])

    def what_changed(self, since="", region=""):
        self.asked.append((since, region))
        return Changes(text="1 change", events=[MOVED])

    def regions(self):
        return Regions(regions=[Region(name="hall", corners=[(0, 0), (4, 0), (4, 4)])])

    def edit(self, edit):
        self.edits.append(edit)
        return Objects(frame_id="map", stamp_s=12.0, objects=[CHAIR])

    def picture(self, object_id, number):
        if number:
            raise NotFoundError("1 pictures")
        return b"\xff\xd8jpeg"

    def view(self):
        return b"\xff\xd8view"

    def news(self, after):
        events = self.events[after:] if after >= 0 else []
        return News(version=self.version, last=len(self.events), events=events)

    def close(self):
        pass
