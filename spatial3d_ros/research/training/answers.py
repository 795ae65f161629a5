"""Free-form questions for training, in addition to grounding questions (METHODS 3.4).

The language loss covers only the tokens of the answer, which follow `<coord>`. A second loss trains
a score of each object, whether the question is about it, on which the answer is conditioned.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from spatial3d_ros.errors import LocationError
from spatial3d_ros.geometry.box import Box3D, iou_matrix, vector
from spatial3d_ros.model.generation import (
    DecodeState,
    append_coord,
    decode,
    extend,
    prefill,
    prefill_answer,
)
from spatial3d_ros.model.network import SpatialModel
from spatial3d_ros.model.sequence import EncodedScene, PromptTokens, QuestionBatch
from spatial3d_ros.model.tokens import MAX_IDENTIFIERS, identifier
from spatial3d_ros.research.language.edits import edit_questions
from spatial3d_ros.research.language.location_text import LocationCodec
from spatial3d_ros.research.language.qa_generator import EDIT, OpenQuestion, make_open_questions
from spatial3d_ros.research.language.qa_templates import OBJECT_SLOT
from spatial3d_ros.research.language.templates import TEMPLATE_SPLIT
from spatial3d_ros.research.rooms.catalog import Room, RoomObject
from spatial3d_ros.research.training.augmentation import turn_boxes
from spatial3d_ros.research.training.config import AnswersConfig
from spatial3d_ros.research.training.losses import language_loss
from spatial3d_ros.tasks.answer_parser import read_metres
from spatial3d_ros.tasks.prompt import Prompt

CLOSE_M = 0.1
BOX_IOU = 0.25
LONGEST = 24  # most tokens of an answer in validation


@dataclass(frozen=True)
class Answers:
    """Q questions and their true answers.

    Attributes:
        words: the questions `[P1 | I]` as tokens.
        replies: tokens of the answers (Q, T), padded by -100.
        about: 1.0 for each object that the question is about (Q, N).
        kinds: task and kind of each question.
        right: all accepted answers of each question.
    """

    words: QuestionBatch
    replies: Tensor
    about: Tensor
    kinds: tuple[str, ...]
    right: tuple[tuple[str, ...], ...]

    def to(self, device: torch.device | str) -> Answers:
        """The same questions on another device."""
        moved = {f.name: getattr(self, f.name) for f in fields(self)}
        return Answers(**{k: v if isinstance(v, tuple) else v.to(device) for k, v in moved.items()})


def draw_open_questions(
    objects: Sequence[RoomObject],
    rng: np.random.Generator,
    config: AnswersConfig,
    split: str,
    room: Room | None = None,
) -> list[OpenQuestion]:
    """Questions about a room, drawn from a child of `rng`, whose own state does not change; those
    about edits need the `room`.
    """
    n, kinds = config.questions, config.kinds
    if not n or not objects:
        return []
    rng = rng.spawn(1)[0]
    if split == "train" and config.wording == "template":
        split = TEMPLATE_SPLIT
    made: list[OpenQuestion] = []
    if kinds is not None and EDIT in kinds and room is not None:
        made = edit_questions(
            replace(room, objects=tuple(objects)), rng, n // len(kinds), split=split
        )
        kinds = tuple(kind for kind in kinds if kind != EDIT)
    rest = n - len(made)
    return made + make_open_questions(
        objects, rng, rest, split=split, tasks=config.tasks, kinds=kinds
    )


def with_turned_box(question: OpenQuestion, quarter: int, shift: np.ndarray) -> OpenQuestion:
    """The question with its answer `<box>` written, in the turned and shifted room."""
    if question.box is None:
        return question
    box = turn_boxes(np.array([question.box]), quarter, shift)[0]
    text = LocationCodec().box(Box3D(vector(box[:3]), vector(box[3:])))
    return replace(question, answers=(text,))


def collate_answers(
    prompt: Prompt,
    rooms: Sequence[tuple[Mapping[int, int], Sequence[OpenQuestion]]],
    count: int,
) -> Answers | None:
    """Tokenise the questions of rooms; None if there are no questions.

    rooms: for each, the slot of every object id, and the questions. count: number of slots.
    """
    sentences, scene, replies, about, kinds, right = [], [], [], [], [], []
    for b, (slot, questions) in enumerate(rooms):
        for question in questions:
            slots = [slot[i] for i in question.about if i in slot]
            text = question.text
            if OBJECT_SLOT in text:
                text = text.replace(OBJECT_SLOT, identifier(slots[0] % MAX_IDENTIFIERS))
            sentences.append(prompt.free_form(text))
            scene.append(b)
            replies.append(torch.tensor(prompt.reply(question.answers[0])))
            about.append(torch.zeros(count))
            about[-1][slots] = 1.0
            kinds.append(f"{question.task}/{question.kind}")
            right.append(question.answers)
    if not sentences:
        return None
    return Answers(
        prompt.batch(sentences, scene),
        torch.nn.utils.rnn.pad_sequence(replies, batch_first=True, padding_value=-100),
        torch.stack(about),
        tuple(kinds),
        tuple(right),
    )


def answer_losses(
    model: SpatialModel, scene: EncodedScene, prompt_tokens: PromptTokens, answers: Answers
) -> dict[str, Tensor]:
    """The losses of answers.

    "answer": next-token cross-entropy, the mean of two passes: conditioned on the predicted objects
    and on the true ones. "about": binary cross-entropy of the objects that a question is about.
    A network without an answer head has "answer" only, conditioned on nothing.
    """
    words, valid = answers.words, scene.valid[answers.words.scene]
    state, reading = prefill(model, scene, words, prompt_tokens)
    if model.answers is None:
        return {"answer": language_loss(*_teacher_forced(model, state, answers.replies))}
    predicted, truth = (
        model.condition_answers(scene, words, reading, prompt_tokens, objects)
        for objects in (None, answers.about > 0)
    )
    losses = [
        language_loss(
            *_teacher_forced(
                model, append_coord(model, state, context, prompt_tokens), answers.replies
            )
        )
        for context in (predicted, truth)
    ]
    return {
        "answer": sum(losses) / 2,
        "about": F.binary_cross_entropy_with_logits(predicted.logits[valid], answers.about[valid]),
    }


@torch.no_grad()
def answered(
    model: SpatialModel,
    scene: EncodedScene,
    prompt: Prompt,
    prompt_tokens: PromptTokens,
    answers: Answers,
) -> list[bool]:
    """Whether each answer is right, as `is_right_text`."""
    most = max(LONGEST, answers.replies.shape[1] + 4)
    if model.answers is None:
        state, _ = prefill(model, scene, answers.words, prompt_tokens, most)
    else:
        state, _ = prefill_answer(model, scene, answers.words, prompt_tokens, most)
    texts = [prompt.text(ids) for ids in decode(model, state, prompt_tokens, max_new_tokens=most)]
    return [is_right_text(*pair) for pair in zip(texts, answers.right, strict=True)]


def is_right_text(text: str, right: tuple[str, ...]) -> bool:
    """Whether a text is one of the accepted ones, a length within CLOSE_M, or a `<box>` that
    overlaps the true one by BOX_IOU.
    """
    if right[0].startswith("<box>"):
        try:
            found, true = (LocationCodec().read_box(t).array() for t in (text, right[0]))
        except LocationError:
            return False
        return bool(iou_matrix(found[None], true[None])[0, 0] >= BOX_IOU)
    metres, truth = read_metres(text), read_metres(right[0])
    if truth is None:
        return text in right
    return metres is not None and abs(metres - truth) <= CLOSE_M


def _teacher_forced(
    model: SpatialModel, state: DecodeState, replies: Tensor
) -> tuple[Tensor, Tensor]:
    """Logits and labels (T',) of all answer tokens, each after the true preceding tokens."""
    inputs = replies[:, :-1]
    _, states = extend(model, state, model.decoder.embed(inputs.clamp(min=0)), inputs >= 0)
    states = torch.cat([state.hidden[:, None], states], 1)
    labelled = replies >= 0
    return model.token_logits(states, state.condition)[labelled], replies[labelled]
