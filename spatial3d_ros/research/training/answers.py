"""Training questions that are answered in words, beside those that ask for a place (METHODS 3.4).

The answer's words alone are learnt, behind `<coord>`; and each object learns whether a question is
about it, by which the network finds them before it can write.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

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
from spatial3d_ros.research.language.qa_generator import OpenQuestion, Task, make_open_questions
from spatial3d_ros.research.language.qa_templates import OBJECT_SLOT
from spatial3d_ros.research.rooms.catalog import RoomObject
from spatial3d_ros.research.training.losses import language_loss
from spatial3d_ros.tasks.answer_parser import read_metres
from spatial3d_ros.tasks.prompt import Prompt

CLOSE_M = 0.1
LONGEST = 24  # tokens of an answer, at validation


@dataclass(frozen=True)
class Answers:
    """Q questions `[P1 | I]`, their answers in tokens (Q, T), -100 padded, which objects (Q, N)
    they are about, their kinds, and all right answers.
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
    n: int,
    split: str,
    tasks: tuple[Task, ...],
) -> list[OpenQuestion]:
    """Questions about a room; the stream of `rng` goes on as if none had been drawn."""
    if not n or not objects:
        return []
    return make_open_questions(objects, rng.spawn(1)[0], n, split=split, tasks=tasks)


def collate_answers(
    prompt: Prompt,
    rooms: Sequence[tuple[Mapping[int, int], Sequence[OpenQuestion]]],
    count: int,
) -> Answers | None:
    """Tokenised questions of some rooms, each given as the slot of every object id and what is
    asked; `count` slots. None where nothing is asked.
    """
    sentences, scene, replies, about, kinds, right = [], [], [], [], [], []
    for b, (slot, questions) in enumerate(rooms):
        for question in questions:
            meant = [slot[i] for i in question.about]
            text = question.text
            if OBJECT_SLOT in text:
                text = text.replace(OBJECT_SLOT, identifier(meant[0] % MAX_IDENTIFIERS))
            sentences.append(prompt.free_form(text))
            scene.append(b)
            replies.append(torch.tensor(prompt.reply(question.answers[0])))
            about.append(torch.zeros(count))
            about[-1][meant] = 1.0
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
    """answer: next-word cross-entropy over the answers, behind what the network takes a question to
    be about and behind the truth, in equal parts; about: whether each object is spoken of.
    """
    words, valid = answers.words, scene.valid[answers.words.scene]
    state, reading = prefill(model, scene, words, prompt_tokens)
    subject, truth = (
        model.condition_answers(scene, words, reading, prompt_tokens, told)
        for told in (None, answers.about > 0)
    )
    said = [
        language_loss(
            *_followed(model, append_coord(model, state, one, prompt_tokens), answers.replies)
        )
        for one in (subject, truth)
    ]
    return {
        "answer": sum(said) / 2,
        "about": F.binary_cross_entropy_with_logits(subject.logits[valid], answers.about[valid]),
    }


@torch.no_grad()
def answered(
    model: SpatialModel,
    scene: EncodedScene,
    prompt: Prompt,
    prompt_tokens: PromptTokens,
    answers: Answers,
) -> list[bool]:
    """Whether each question is answered right: one of the right texts, or a length within
    CLOSE_M.
    """
    state, _ = prefill_answer(model, scene, answers.words, prompt_tokens, LONGEST)
    said = [prompt.text(ids) for ids in decode(model, state, prompt_tokens, max_new_tokens=LONGEST)]
    return [_is_right(*pair) for pair in zip(said, answers.right, strict=True)]


def _is_right(said: str, right: tuple[str, ...]) -> bool:
    metres, truth = read_metres(said), read_metres(right[0])
    if truth is None:
        return said in right
    return metres is not None and abs(metres - truth) <= CLOSE_M


def _followed(model: SpatialModel, state: DecodeState, replies: Tensor) -> tuple[Tensor, Tensor]:
    """Logits and labels (T',) of all words of the answers, each read behind the true ones."""
    given = replies[:, :-1]
    _, states = extend(model, state, model.decoder.embed(given.clamp(min=0)), given >= 0)
    states = torch.cat([state.hidden[:, None], states], 1)
    said = replies >= 0
    return model.token_logits(states, state.condition)[said], replies[said]
