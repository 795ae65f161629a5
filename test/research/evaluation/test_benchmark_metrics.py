"""The measures of the public benchmarks, against examples worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from spatial3d_ros.geometry.box import Box3D
from spatial3d_ros.research.datasets.scan2cap import CaptionTarget, caption_targets, wrapped
from spatial3d_ros.research.datasets.scanrefer import Description
from spatial3d_ros.research.datasets.sqa3d import SituatedQuestion
from spatial3d_ros.research.evaluation.metrics.answers import (
    clean_answer,
    refined_match,
    scanqa_scores,
    sqa3d_scores,
)
from spatial3d_ros.research.evaluation.metrics.captions import Caption, caption_scores
from spatial3d_ros.research.evaluation.metrics.distance import distance_scores, parse_metres
from spatial3d_ros.research.evaluation.metrics.grounding import (
    accuracy_at,
    f1_at,
    multi_scores,
)
from spatial3d_ros.research.evaluation.metrics.layout import EditOutcome, layout_scores
from spatial3d_ros.research.evaluation.metrics.text import (
    bleu,
    caption_words,
    cider,
    meteor_exact,
    rouge_l,
    text_scores,
)


def cubes(*x: float) -> np.ndarray:
    """Unit cubes along x. Two of them `s` apart overlap by (1 - s) / (1 + s)."""
    return np.array([(v, 0, 0, 1, 1, 1) for v in x], dtype=float).reshape(-1, 6)


def test_accuracy_counts_a_threshold_that_is_just_reached() -> None:
    half = np.array([[0.0, 0, 0, 0.5, 1, 1]])  # shares 0.5 of 1.0
    assert accuracy_at(half, cubes(0), 0.5) == 1.0
    assert accuracy_at(cubes(0, 5), cubes(0.6, 5.7), 0.25) == 0.5  # 0.4/1.6 and 0.3/1.7


def test_f1_matches_boxes_for_the_greatest_total() -> None:
    # 0.5 is 1/3 from either true box, -0.4 is 3/7 from the first: both can be matched.
    assert f1_at(cubes(0.5, -0.4), cubes(0, 1), 0.25) == 1.0
    assert f1_at(cubes(0.5, -0.4), cubes(0, 1), 0.4) == 0.5  # one of the pairs: 2 / (2 + 2)
    assert f1_at(cubes(0, 9, 10), cubes(0), 0.5) == 0.5  # 2 * 1 / (3 + 1)
    assert f1_at(cubes(), cubes(), 0.5) == 1.0
    assert f1_at(cubes(1), cubes(), 0.25) == f1_at(cubes(), cubes(1), 0.25) == 0.0


def test_multi_scores_by_type() -> None:
    scores = multi_scores(
        [cubes(), cubes(3), cubes(0)], [cubes(), cubes(3), cubes(0, 5)], ["zt_wo_d", "st_w_d", "mt"]
    )
    assert scores["mt"] == {"n": 1, "f1@0.25": pytest.approx(2 / 3), "f1@0.5": pytest.approx(2 / 3)}
    assert scores["overall"]["f1@0.5"] == pytest.approx((1 + 1 + 2 / 3) / 3)
    assert scores["zt_wo_d"]["n"] == scores["st_w_d"]["f1@0.5"] == 1


def words(*texts: str) -> list[list[str]]:
    return [text.split() for text in texts]


def test_bleu() -> None:
    answer = words("the red chair near the door")
    known = [words("the red chair by the door", "a chair near the door")]
    # 1-grams 6 of 6, 2-grams 5 of 5; "red chair near" is in neither: 3 of 4; of the 4-grams only
    # "chair near the door": 1 of 3. The closest reference has 6 words as well: no brevity penalty.
    expected = [1.0, 1.0, (3 / 4) ** (1 / 3), (3 / 4 * 1 / 3) ** (1 / 4)]
    assert bleu(answer, known) == pytest.approx(expected)


def test_bleu_clips_repeated_words_and_punishes_short_ones() -> None:
    assert bleu(words("red red red"), [words("a red one")])[:2] == pytest.approx([1 / 3, 0])
    # one word against two: exp(1 - 2/1)
    assert bleu(words("chair"), [words("the chair")])[0] == pytest.approx(math.exp(-1))
    # 2 and 4 words are as close to 3: the shorter counts, so nothing is punished
    assert bleu(words("a b c"), [words("a b c d", "a b")])[0] == pytest.approx(1)
    assert bleu([[]], [words("chair")]) == [0.0] * 4


def test_bleu_is_of_the_corpus_not_a_mean() -> None:
    # 1 of 1 and 1 of 3 words: 2 of 4
    assert bleu(words("a", "b x y"), [words("a"), words("b c d")])[0] == pytest.approx(0.5)


def test_rouge_l() -> None:
    # longest common subsequence "the chair" or "the red": P = 2/3, R = 2/4;
    # 2.44 * (2/3) * (1/2) / (1/2 + 1.44 * 2/3) = 0.81333 / 1.46
    assert rouge_l(words("the red chair")[0], words("the chair is red")) == pytest.approx(0.5570776)
    assert rouge_l(["a", "lamp"], words("the red chair", "a lamp")) == pytest.approx(1)
    assert rouge_l([], words("a lamp")) == rouge_l(["x"], words("a lamp")) == 0.0


def test_meteor_with_exact_words() -> None:
    known = words("the lamp stood on the desk")
    # 6 words in one run: 1 - 0.5 * (1/6)^3
    assert meteor_exact(known[0], known) == pytest.approx(1 - 0.5 / 216)
    # one word too many, 2 runs: P = 6/7, R = 1, mean 60/61, times 1 - 0.5 * (2/6)^3
    longer = words("the lamp was stood on the desk")[0]
    assert meteor_exact(longer, known) == pytest.approx(60 / 61 * (1 - 0.5 / 27))
    # the same words as "on the desk" + "stood" + "the lamp": 3 runs of 6 words
    turned = words("on the desk stood the lamp")[0]
    assert meteor_exact(turned, [["x"], known[0]]) == pytest.approx(1 - 0.5 / 8)
    assert meteor_exact([], known) == meteor_exact(["x"], known) == 0.0


def test_cider() -> None:
    # Of two reference sets, "a" is in both and weighs log(2/2) = 0; "b", "d", "a b", "a d" are in
    # one, "c" and "c d" in none: log 2.
    # First: cosine 1 for 1-grams and 2-grams, none longer: 10 * 2/4.
    # Second: "c d" = (log 2, log 2) against "a d" = (0, log 2): 1/sqrt(2) for 1-grams, no 2-gram.
    scores = cider(words("a b", "c d"), [words("a b"), words("a d")])
    assert scores == pytest.approx([5.0, 10 * math.sqrt(0.5) / 4])


def test_cider_clips_and_punishes_length() -> None:
    # "x y y" against "x y", all weights log 2. 1-grams (1, 2) and (1, 1): clipped 2 / sqrt(10);
    # 2-grams {xy, yy} and {xy}: 1 / sqrt(2). One word too long: exp(-1 / 72).
    scores = cider(words("x y y", "z"), [words("x y"), words("z")])
    assert scores[0] == pytest.approx(
        10 * (2 / math.sqrt(10) + 1 / math.sqrt(2)) / 4 * math.exp(-1 / 72)
    )
    # averaged over the references: the second has nothing in common
    scores = cider(words("x", "z"), [words("x", "y"), words("z")])
    assert scores == pytest.approx([10 * 0.5 / 4, 10 / 4])


def test_caption_words() -> None:
    text = "It doesn\u2019t matter; it's a U-shaped table, 3.5 ft. wide!"
    assert caption_words(text) == words("it does n't matter it 's a u-shaped table 3.5 ft wide")[0]


def test_text_scores_are_in_percent() -> None:
    same = words("the red chair by the door", "a lamp on the desk over there")
    scores = text_scores(same, [[one] for one in same])
    assert scores["bleu4"] == scores["rouge_l"] == pytest.approx(100)
    assert scores["cider"] == pytest.approx(1000)  # its scale goes to 10


@pytest.mark.parametrize(
    ("answer", "cleaned"),
    [
        ("The 2 chairs.", "two chairs"),
        ("a TV, letf of it!", "tv, left of it"),
        ("23", "twenty-three"),
        ("u-shaped 2-seat sofa", "u-shaped 2-seat sofa"),
        ("  on   the table ", "on table"),
        ("12 o'clock", "twelve o'clock"),
        ("", ""),
    ],
)
def test_clean_answer(answer: str, cleaned: str) -> None:
    assert clean_answer(answer) == cleaned


def test_refined_match_ignores_spaces_and_takes_parts() -> None:
    assert refined_match("book shelf", ["bookshelf"])
    assert refined_match("brown chair", ["brown"])
    assert refined_match("brown", ["dark brown chair"])
    assert not refined_match("black", ["brown"])
    assert not refined_match("", ["brown"])


def test_the_two_normalisations_of_scanqa_differ() -> None:
    predictions, answers = ["The 3 chairs.", "brown."], [["three chairs"], ["brown", "dark"]]
    leo, raw = (scanqa_scores(predictions, answers, norm) for norm in ("leo", "raw"))
    assert (leo["em"], leo["em_refined"], leo["bleu1"]) == (1.0, 1.0, pytest.approx(100))
    assert (raw["em"], raw["em_refined"]) == (0.5, 0.5)
    # "The 3 chairs" and "brown" as they stand: 2 of 4 words; as long as or longer than the truth.
    assert raw["bleu1"] == pytest.approx(50)
    assert leo["rouge_l"] == pytest.approx(100) != raw["rouge_l"]


def test_sqa3d_cleans_both_sides_and_splits_by_first_word() -> None:
    def asked(text: str, answer: str) -> SituatedQuestion:
        return SituatedQuestion("s", text, text, "", (), (answer,), (0, 0, 0), (0, 0, 0, 1))

    questions = [asked("What is it?", "The Table"), asked("Is it?", "yes"), asked("Am I?", "2")]
    scores = sqa3d_scores(["table", "no", "two chairs"], questions)
    assert scores["overall"] == {"n": 3, "em": pytest.approx(1 / 3), "em_refined": 2 / 3}
    assert scores["what"]["em"] == 1.0
    assert scores["is"]["em_refined"] == 0.0
    assert scores["other"] == {"n": 1, "em": 0.0, "em_refined": 1.0}


def test_captions_count_only_where_the_box_is_right() -> None:
    targets = [
        CaptionTarget("s", 1, (wrapped("the red chair by the door"),)),
        CaptionTarget("s", 2, (wrapped("a lamp on the desk over there"),)),
        CaptionTarget("s", 3, (wrapped("one of four pillows here"),)),
    ]
    boxes = {("s", k): cubes(10 * k)[0] for k in (1, 2, 3)}
    captions = {
        ("s", 1): Caption("The red chair by the door.", cubes(10)[0]),
        ("s", 2): Caption("A lamp on the desk over there.", cubes(20.5)[0]),  # overlaps by 1/3
    }
    scores = caption_scores(targets, boxes, captions)
    assert scores["n"] == 3
    # An empty caption is "sos eos", of which no 1-gram weighs anything: it is in every set.
    # The others share all 1-grams to 4-grams: two of three are 10, then one.
    assert scores["cider@0.25"] == pytest.approx(100 * 20 / 3)
    assert scores["cider@0.5"] == pytest.approx(100 * 10 / 3)


def test_all_descriptions_of_an_object_are_its_references() -> None:
    def entry(object_id: int, text: str) -> Description:
        return Description(
            scene_id="s", object_id=object_id, object_name="chair", ann_id=0, description=text
        )

    targets = caption_targets([entry(1, "red"), entry(2, "blue"), entry(1, "the first")])
    assert [(t.object_id, t.references) for t in targets] == [
        (1, ("sos red eos", "sos the first eos")), (2, ("sos blue eos",)),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "metres"),
    [
        ("about 1.5 m", 1.5), ("it is 2 meters", 2.0), ("150cm apart", 1.5), ("300 mm", 0.3),
        ("2 ft", 0.6096), ("1 foot", 0.3048), ("10 inches", 0.254), (".5 metres", 0.5),
        ("two chairs, 3 m", 3.0), ("2 chairs", None), ("-2 m", None), ("", None), ("5", None),
    ],
)  # fmt: skip
def test_parse_metres(text: str, metres: float | None) -> None:
    assert parse_metres(text) == (None if metres is None else pytest.approx(metres))


def test_distance_scores() -> None:
    # errors 0.05 of 0.5, 0.2 of 2, 1 of 4, one unread of 1
    scores = distance_scores([0.55, 2.2, 3.0, None], [0.5, 2.0, 4.0, 1.0])
    overall = scores["overall"]
    assert overall["n"] == 4
    assert overall["parse_rate"] == 0.75
    assert overall["mae"] == pytest.approx(1.25 / 3)
    assert overall["rmse"] == pytest.approx(math.sqrt((0.0025 + 0.04 + 1) / 3))
    assert overall["abs_rel"] == pytest.approx((0.1 + 0.1 + 0.25) / 3)
    assert overall["acc@0.1m"] == 0.25
    assert overall["acc@0.25m"] == 0.5
    # 10 limits from 0.5 to 0.05: 0.25 is under five of them
    assert distance_scores([3.0], [4.0])["overall"]["mra"] == 0.5
    assert distance_scores([2.0], [2.0])["1 to 3 m"]["mra"] == 1.0
    assert {name: s["n"] for name, s in scores.items() if name != "overall"} == {
        "under 1 m": 1, "1 to 3 m": 2, "over 3 m": 1,
    }  # fmt: skip


def test_distance_scores_of_nothing_read() -> None:
    scores = distance_scores([None], [0.0])["overall"]
    assert scores["mra"] == scores["parse_rate"] == 0.0
    assert "mae" not in scores
    assert distance_scores([0.05], [0.0])["overall"]["abs_rel"] == pytest.approx(0.5)  # over 0.1 m


def test_layout_scores() -> None:
    def box(x: float, side: float = 1.0) -> Box3D:
        return Box3D((x, 0, 0), (side, 1, 1))

    outcomes = [
        EditOutcome(box(0), box(0), True, True, True, before=box(5)),
        EditOutcome(box(0), box(0.4), True, False, True, before=box(5, 1.1)),  # overlap 3/7
        EditOutcome(box(0), box(2), False, True),
        EditOutcome(box(0), None, right_object=False),
    ]
    scores = layout_scores(outcomes)
    assert scores["n"] == 4
    assert scores["returned"] == 0.75
    assert scores["right_object"] == pytest.approx(2 / 3)
    assert (scores["acc@0.25m"], scores["acc@0.5m"]) == (0.25, 0.5)
    assert (scores["acc@0.25iou"], scores["acc@0.5iou"]) == (0.5, 0.25)
    assert scores["valid"] == 0.5
    assert scores["relation"] == pytest.approx(2 / 3)
    assert scores["headline"] == pytest.approx(1 / 3)
    assert scores["center_error_m"] == pytest.approx(0.8)
    assert scores["size_change_m"] == pytest.approx(0.1)
