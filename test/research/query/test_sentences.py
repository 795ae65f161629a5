"""Generated sentences: reproducible, with known tags, which make the right query."""

import pytest

from spatial3d_ros.research.query.grammar import HELD_OUT, frames, kept, macros, parse, phrases
from spatial3d_ros.research.query.sentences import QuerySentences
from spatial3d_ros.research.query.typing_noise import slip
from spatial3d_ros.tasks.query import INTENTS, PREDICATES, ROLES, SEGMENTS, split_words
from spatial3d_ros.tasks.query_assembly import assemble
from spatial3d_ros.tasks.query_reader import segments_of


@pytest.fixture(scope="module")
def drawn():
    source = QuerySentences(7)
    return [source.draw() for _ in range(3000)]


def test_sentences_are_reproducible_and_tagged_with_known_names(drawn):
    again = QuerySentences(7)
    assert drawn[:300] == [again.draw() for _ in range(300)]
    for sentence in drawn:
        assert sentence.intent in INTENTS and sentence.words
        for item in sentence.words:
            assert item.word and item.segment in SEGMENTS
            assert item.role in ROLES and item.predicate in PREDICATES


def test_an_intent_has_only_the_segments_that_the_reader_allows(drawn):
    for sentence in drawn:
        if not sentence.intent.startswith("unsupported"):
            found = {item.segment for item in sentence.words}
            assert found <= segments_of(sentence.intent), (sentence.intent, sentence.text)


def test_words_are_those_that_the_robot_splits_a_sentence_into(drawn):
    for sentence in drawn:
        words = [item.word for item in sentence.words]
        assert split_words(" ".join(words)) == words


def test_every_intent_has_frames_and_the_held_out_ones_are_kept_apart():
    train, test = frames("train"), frames("test")
    source = QuerySentences(0)
    assert set(source.intents) == set(INTENTS)
    for intent, trees in train.items():
        assert len(trees) >= 8 and test[intent], intent
        assert not set(trees) & set(test[intent]), intent
    assert set(macros("train")["whereis"]) < set(macros("test")["whereis"])
    assert len(kept(phrases("nouns", "all"), "test")) > 50 / HELD_OUT


def test_each_slot_of_each_frame_can_be_filled():
    source = QuerySentences(1, "all")
    for intent in source.intents:
        for _ in range(60):
            assert "{" not in source.sentence(intent).text


@pytest.mark.parametrize(
    ("intent", "targets"),
    [("distance", 2), ("compare", 3), ("compare_size", 2), ("edit.swap", 2), ("edit.remove", 1)],
)
def test_tags_make_queries_with_all_their_objects(intent, targets):
    source = QuerySentences(11)
    for _ in range(100):
        sentence = source.sentence(intent)
        query = assemble(sentence.text, intent, sentence.words)
        pair = any(item.word in ("two", "both") for item in sentence.words)  # "the two stools"
        assert len(query.targets) == targets or pair, sentence.text


def test_moves_have_a_destination_and_turns_an_amount_that_is_read():
    source = QuerySentences(12)
    read = [0, 0]
    for _ in range(200):
        turn = source.sentence("edit.turn")
        read[0] += assemble(turn.text, "edit.turn", turn.words).degrees is not None
        move = source.sentence("edit.place")
        if not any(item.segment == "number" for item in move.words):  # feet are refused
            read[1] += assemble(move.text, "edit.place", move.words).relation != ""
    assert read[0] > 60 and read[1] > 150


def test_brackets_that_do_not_match_are_named():
    with pytest.raises(ValueError, match=r"where \(is"):
        parse("where (is {t}")


def test_a_slip_changes_one_word_by_one_or_two_letters():
    import random

    rng = random.Random(0)
    for _ in range(50):
        assert abs(len(slip("cupboard", rng)) - len("cupboard")) <= 1
