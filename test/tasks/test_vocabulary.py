"""Known and unknown nouns."""

import pytest

from spatial3d_ros.categories import CATEGORIES, CLASSES
from spatial3d_ros.english import singular
from spatial3d_ros.resources import resource_path
from spatial3d_ros.storage import read_yaml
from spatial3d_ros.tasks.vocabulary import Vocabulary, is_anything


def test_synonyms_plurals_and_hypernyms():
    words = Vocabulary(["chair", "sofa"])
    assert words.labels_of("couch") == words.labels_of("sofas") == ("sofa",)
    assert words.labels_of("telly") == ("tv",)
    assert words.labels_of("bookshelves") == ("shelf",)
    assert "chair" in words.labels_of("furniture")
    both = Vocabulary(["couch", "sofa", "armchair"])  # of two recognisers
    assert both.labels_of("sofa") == both.labels_of("couches") == ("couch", "sofa")
    assert "couch" in both.labels_of("furniture")


def test_labels_of_the_map_are_words():
    words = Vocabulary(["zorbik", "red book", "fire extinguisher"])
    assert words.labels_of("zorbiks") == ("zorbik",)
    assert "red book" in words.labels_of("book")
    assert words.labels_of("fire extinguisher") == ("fire extinguisher",)
    assert Vocabulary([]).labels_of("zorbik") is None


@pytest.mark.parametrize(
    "noun", ["toaster", "bicycle", "zebra", "guitar", "mesa", "cable", "boot", "lamb", "shell"]
)
def test_unknown_nouns_are_not_bent_into_known_ones(noun):
    words = Vocabulary(["chair", "table"])
    assert words.labels_of(noun) is None and words.corrected(noun) is None


def test_a_compound_noun_stands_for_its_last_noun_and_for_no_other_compound():
    words = Vocabulary(["vending machine", "sofa"])
    assert words.labels_of("machine") == ("vending machine",)
    assert words.labels_of("sewing machine") is None
    laundry = Vocabulary(["washing machine"])
    assert laundry.labels_of("machines") == ("washing machine",)
    assert laundry.labels_of("sewing machine") is None
    assert words.labels_of("leather sofa") == ("sofa",)


def test_a_plural_that_is_a_class_too_is_also_several_of_the_other():
    words = Vocabulary(["book"], classes=("book", "books"))
    assert words.labels_of("books") == ("book", "books")
    assert words.labels_of("book") == ("book",)


def test_the_whole_of_a_name_that_was_read_in_part():
    words = Vocabulary(["mini fridge"], classes=("bulletin board", "door"))
    assert words.name_around("mini", "nearer to the mini fridge") == "mini fridge"
    assert words.name_around("bulletin", "closer to the bulletin board: door") == "bulletin board"
    assert words.name_around("mini", "a mini skirt") is None


def test_slips_of_typing():
    words = Vocabulary(["chair"])
    assert words.corrected("chiar") == "chair"
    assert words.corrected("refrigirator") == "refrigerator"
    assert words.corrected("cat") is None
    assert words.corrected_modifier("purpel") == "purple"
    assert words.corrected_modifier("back") is None  # a word of its own
    assert words.corrected_modifier("gray") is None  # right as it is


def test_the_noun_that_the_network_knows():
    words = Vocabulary(["futon"])
    assert words.canonical("settee") == "sofa"
    assert words.canonical("couch") == "couch"
    assert words.canonical("zorbik") == "zorbik"
    assert words.canonical("futon") == "futon"  # a label of the map stays
    assert (
        singular("shelves") == "shelf"
        and singular("boxes") == "box"
        and singular("glass") == "glass"
    )
    assert is_anything("thing") and is_anything("objects") and not is_anything("chair")


def test_a_label_in_a_text_of_any_script():
    words = Vocabulary(["赤い箱", "mug"])
    assert words.label_in("赤い箱はどこ") == "赤い箱"
    assert words.label_in("こんにちは") is None


def test_the_shipped_table_fits_the_classes():
    table = read_yaml(resource_path("nouns.yaml"))
    assert table["synonyms"].keys() <= CATEGORIES.keys()
    words = [word for text in table["synonyms"].values() for word in text.split(", ")]
    assert len(words) == len(set(words)) > 100
    assert {"cable", "boot", "soda"} <= set(table["other_words"].split())
    assert resource_path("nouns.yaml").stat().st_size < 10_000
    assert "Princeton" in resource_path("nouns.LICENSE").read_text()


def test_a_class_of_its_own_is_no_synonym():
    old, new = Vocabulary([]), Vocabulary([], ("tv", "monitor", "toaster"))
    assert old.labels_of("monitor") == ("tv",) and new.labels_of("monitor") == ("monitor",)
    assert old.labels_of("toaster") is None and new.labels_of("toaster") == ("toaster",)
    assert new.labels_of("telly") == ("tv",) and new.labels_of("sofa") is None


def test_a_label_with_modifiers_stands_for_itself_and_answers_to_its_head():
    words = Vocabulary(["coffee table", "table", "low coffee table", "red book"])
    assert words.labels_of("coffee table") == ("coffee table", "low coffee table")
    assert {"coffee table", "table", "low coffee table"} <= set(words.labels_of("table") or ())
    assert "red book" in (words.labels_of("book") or ())
    assert "table" in (Vocabulary(["table"]).labels_of("coffee table") or ())


def test_broader_words_of_a_recogniser_stand_in_where_the_map_has_no_other():
    found = ["windowpane", "dining table", "rug", "cabinet"]
    words = Vocabulary(found, recognised=found)
    assert "windowpane" in (words.labels_of("window") or ())
    assert "dining table" in (words.labels_of("desks") or ())
    assert "rug" in (words.labels_of("carpet") or ())
    assert words.labels_of("zorbik") is None and words.labels_of("stool") == ("stool",)
    both = Vocabulary([*found, "desk"], recognised=[*found, "desk"])
    assert both.labels_of("desk") == ("desk",)
    assert Vocabulary(found).labels_of("desk") == ("desk",)  # the network's names are not so coarse


def test_a_noun_stands_for_narrower_labels_only_where_none_is_called_so():
    narrow = Vocabulary(["bookshelf", "mini fridge", "armchair"], CLASSES)
    assert "bookshelf" in narrow.labels_of("shelf")
    assert "bookshelf" in narrow.labels_of("shelving unit")
    assert "mini fridge" in narrow.labels_of("refrigerator")
    assert "detergent" not in Vocabulary(["detergent"], CLASSES).labels_of("bottle")
    both = Vocabulary(["bookshelf", "shelf", "armchair", "chair"], CLASSES)
    assert both.labels_of("shelf") == ("shelf",)
    assert "armchair" not in both.labels_of("chair")
    assert "shelf" not in Vocabulary(["shelf"], CLASSES).labels_of("box")
