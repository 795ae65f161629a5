"""A saved map answers as a node does: questions, history, changes, edits; without ROS."""

from __future__ import annotations

import pytest

from helpers.saved_map import CHAIR, LAST, MUG, SECOND, SOFA, jpeg, known_object, write_map
from spatial3d_ros.errors import MemoryFileError, NotAvailableError, NotFoundError, QueryError
from spatial3d_ros.memory.maps import change_map
from spatial3d_ros.servers import saved_map
from spatial3d_ros.servers.map_queries import change_question, select
from spatial3d_ros.servers.records import Box, Edit
from spatial3d_ros.servers.saved_map import SavedMap


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_map(tmp_path_factory.mktemp("memory"))


@pytest.fixture(scope="module")
def queries(folder):
    queries = SavedMap(folder)
    yield queries
    queries.close()


def ids(objects):
    return [known.id for known in objects]


@pytest.mark.parametrize(
    ("question", "expected", "about"),
    [
        ("where did I last see the mug?", "It is missing", [MUG]),
        ("when did you last see the sofa?", "I last saw the sofa", [SOFA]),
        ("what is missing from the table?", "the mug", [MUG]),
        ("has the chair been moved?", "Yes: the chair (#3) moved by 1.20 m", [CHAIR]),
        ("which room is the sofa in?", "living room", [SOFA]),
        ("how many chairs are in the kitchen?", "0 chairs", []),
        ("how far is the sofa from the table?", "5.11 m", [SOFA, 1]),
        ("how many sofas are there?", "1", [SOFA]),
    ],
)
def test_questions_of_every_kind(queries, question, expected, about):
    answer = queries.ask(question)
    assert expected.lower() in answer.text.lower() and ids(answer.objects) == about


def test_find_measure_and_layout(queries):
    found = queries.find("the red chair")
    assert ids(found.objects)[:1] == [CHAIR] and found.objects[0].region == "living room"
    measured = queries.measure("the sofa", "the table", "center")
    assert measured.metres == pytest.approx(5.11, abs=0.01)
    assert (measured.a.label, measured.b.label, measured.kind) == ("sofa", "table", "center")
    layout = queries.propose_layout("move the chair next to the sofa")
    assert layout.possible and ids(layout.before) == ids(layout.after) == [CHAIR]
    assert layout.after[0].center != layout.before[0].center
    answer = queries.ask("move the chair next to the sofa")
    assert answer.layout is not None and answer.layout.after[0].center == layout.after[0].center
    assert queries.objects().objects[CHAIR].center == layout.before[0].center  # only proposed


def test_it_is_the_last_answer_of_its_conversation(queries):
    queries.find("the table", conversation_id="a")
    with pytest.raises(QueryError, match="refers to no earlier answer"):
        queries.ask("how tall is it?", "b")
    assert queries.ask("how tall is it?", "a").value == "0.70 m"


def test_unknown_words_and_long_questions_are_refused(queries):
    with pytest.raises(QueryError, match="zorblax"):
        queries.ask("where is the zorblax?")
    with pytest.raises(QueryError, match="at most 500"):
        queries.find("x" * 501)
    with pytest.raises(NotFoundError, match="no region"):
        queries.what_changed("", "attic")


def test_history_changes_pictures_and_news(queries):
    history = queries.history(CHAIR)
    assert [e.kind for e in history.events] == ["moved"] and history.events[0].before[0] == 0.2
    assert queries.history(SOFA).pictures == [LAST / SECOND]
    assert queries.picture(SOFA, 0) == jpeg()
    for number in (1, -1):
        with pytest.raises(NotFoundError, match="1 pictures"):
            queries.picture(SOFA, number)
    with pytest.raises(NotFoundError, match="object 99"):
        queries.history(99)
    assert [e.kind for e in queries.what_changed().events] == ["moved", "missing"]
    assert [e.label for e in queries.what_changed("since I left").events] == ["chair", "mug"]
    assert [e.label for e in queries.what_changed("", "kitchen").events] == ["mug"]
    assert queries.what_changed("in the last second").events == []
    news = queries.news(-1)
    assert (news.last, news.events) == (2, [])
    assert [e.kind for e in queries.news(1).events] == ["missing"]
    assert [r.name for r in queries.regions().regions] == ["kitchen", "living room"]
    assert [r.high for r in queries.regions().regions] == [None, 2.5]


def test_objects_are_selected_by_noun_region_and_state(queries):
    objects = queries.objects().objects
    assert [o.state for o in objects] == ["present", "present", "missing", "present"]
    assert ids(select(objects, "chairs")) == [CHAIR]
    assert ids(select(objects, region="the kitchen", state="present")) == [1]
    assert change_question("this morning", "kitchen") == (
        "what has changed in the kitchen since this morning?"
    )
    assert change_question("since I left", "") == "what has changed since I left?"


def test_edits_only_where_they_are_allowed(queries, tmp_path):
    rename = Edit(action="rename", objects=[SOFA], label="couch")
    with pytest.raises(NotAvailableError, match="--allow-edits"):
        queries.edit(rename)
    editable = SavedMap(write_map(tmp_path), allow_edits=True)
    with pytest.raises(MemoryFileError, match="another process"):
        SavedMap(tmp_path, allow_edits=True)
    assert editable.edit(rename).objects[0].label == "couch"
    assert ids(editable.ask("where is the couch?").objects) == [SOFA]
    box = Box(center=(0.0, 0.0, 0.1), size=(0.2, 0.2, 0.2))
    (charger,) = editable.edit(Edit(action="add", label="charger", boxes=[box])).objects
    assert charger.id not in range(4)
    with pytest.raises(NotFoundError, match="object 77"):
        editable.edit(Edit(action="delete", objects=[77]))
    editable.close()
    again = SavedMap(tmp_path)
    assert [o.label for o in again.objects().objects][::4] == ["couch", "charger"]
    again.close()


def test_a_question_on_a_large_map_reads_what_it_names(folder, queries, monkeypatch):
    monkeypatch.setattr(saved_map, "MAX_OBJECTS", 2)
    measured = queries.measure("the sofa", "the table", "center")
    assert measured.metres == pytest.approx(5.11, abs=0.01)
    assert ids(queries.ask("where is the chair?").objects) == [CHAIR]
    assert ids(queries.find("the sofa").objects) == [SOFA]


def test_what_a_node_writes_appears(tmp_path, monkeypatch):
    monkeypatch.setattr(saved_map, "RELOAD_S", 0.0)
    queries = SavedMap(write_map(tmp_path))
    version = queries.news(-1).version
    memory = change_map(tmp_path)  # the node
    memory.put(known_object(7, "sofa"))
    memory.emit("new", memory.known[7])
    memory.save(now=True)
    assert memory.store.database.flush()
    assert 7 in ids(queries.objects().objects)
    news = queries.news(2)
    assert news.version > version and [e.object_id for e in news.events] == [7]
    memory.close()
    queries.close()
