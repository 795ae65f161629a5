"""Training samples and losses of questions that are answered in words."""

import pytest
import torch

from helpers.small_model import small_config, small_tokenizer
from helpers.training_samples import NAMES, samples
from spatial3d_ros.model.network import SpatialModel
from spatial3d_ros.research.training.config import LossWeights
from spatial3d_ros.research.training.objective import Objective, count_items
from spatial3d_ros.research.training.validation import evaluate
from spatial3d_ros.tasks.answer_parser import read_metres
from spatial3d_ros.tasks.prompt import Prompt

TASKS = ("ground", "distance", "ask", "caption")
WITH_ANSWERS = {"answers": {"questions": 6}}


def test_captions_contain_the_identifier_of_their_object(tmp_path):
    changes = {"answers": {"questions": 4, "tasks": ["caption"]}}
    sample = samples(tmp_path, changes)[0][0][0]
    slots = Prompt(small_tokenizer()).tokens.identifiers
    for row, about in enumerate(sample.answers.about):
        named = torch.isin(slots, sample.answers.words.ids[row]).nonzero()[:, 0]
        assert named.tolist() == about.nonzero()[:, 0].tolist()


def test_answers_leave_the_grounding_questions_unchanged(tmp_path):
    with_answers = samples(tmp_path, WITH_ANSWERS)[1][0][0]
    without = samples(tmp_path)[1][0][0]
    assert without.answers is None and len(with_answers.answers.kinds) == 12
    assert torch.equal(with_answers.words.ids, without.words.ids)
    assert torch.equal(with_answers.scenes.boxes, without.scenes.boxes)


def test_labels_are_the_answer_and_the_objects_it_is_about(tmp_path):
    sample = samples(tmp_path, WITH_ANSWERS)[0][0][0]
    answers, prompt = sample.answers, Prompt(small_tokenizer())
    end = prompt.tokens.stops[0]
    for row, (kind, right) in enumerate(zip(answers.kinds, answers.right, strict=True)):
        ids = answers.replies[row][answers.replies[row] >= 0]
        assert ids[-1] == end and prompt.text(ids[:-1].tolist()) == right[0]
        about = int(answers.about[row].sum())
        if kind.startswith("distance"):
            assert about == 2 and read_metres(right[0]) is not None
        elif kind == "ask/count":
            assert about == int(right[0])
        assert not answers.words.instruction[row][answers.words.real[row].sum() - 1 + 1 :].any()


def test_losses_fall_and_scores_are_given_by_kind(tmp_path):
    data = samples(tmp_path, WITH_ANSWERS)
    torch.manual_seed(0)
    model = SpatialModel(small_config(names=NAMES, tasks=TASKS))
    objective = Objective(model, data.prompt, LossWeights())
    assert {"boxes/answer", "boxes/about"} <= set(objective.metric_names("boxes"))
    optimizer = torch.optim.AdamW(objective.parameters(), lr=3e-3)
    batch, first = data[0][0], None
    for _ in range(12):
        loss, figures = objective(batch)
        first = first or figures
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert figures["boxes/answer"] < 0.9 * first["boxes/answer"]
    assert all(p.grad is not None for p in model.answers.parameters())
    scores = evaluate(objective, batch)
    assert scores["answers/boxes"]["n"] == 12 and "answers/boxes/distance" in scores


def test_losses_of_parts_of_a_step_add_up(tmp_path):
    data = samples(tmp_path, WITH_ANSWERS)
    objective = Objective(
        SpatialModel(small_config(names=NAMES, tasks=TASKS)).eval(), data.prompt, LossWeights()
    )
    totals = count_items([*data[0][0], *data[1][0]])
    with torch.no_grad():
        both, _ = objective([*data[0][0], *data[1][0]], totals)
        parts = [objective(data[step][0], totals)[0] for step in (0, 1)]
    assert float(both) == pytest.approx(float(sum(parts)), rel=1e-4)
