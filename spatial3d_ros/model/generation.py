"""Autoregressive decoding after a question, greedy or by beam search, on the same cache and masks
(METHODS 2.7, 2.8).

A new token attends to every earlier token that is not padding, and no earlier token attends to it.
So the keys of the question stay valid and each step computes one position.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from spatial3d_ros.model.answer_conditioning import AnswerCondition
from spatial3d_ros.model.attention import AttentionContext, KeyValues
from spatial3d_ros.model.network import SpatialModel
from spatial3d_ros.model.sequence import (
    EncodedScene,
    ModelOutput,
    PromptTokens,
    QuestionBatch,
    check_sequence_length,
)

MAX_CATEGORY_TOKENS = 16
"""Length of the class name that the network writes before `<ground>` in `category_mode:
generate`.
"""


@dataclass(frozen=True)
class DecodeState:
    """Q questions decoded up to some position of their answers.

    hidden (Q, D): the state from which the next token follows; real (Q, T): which positions so far
    are no padding; position (Q,): the next one; context: keys and values of all T positions;
    condition: what the tokens of an answer are conditioned on, once the answer has begun.
    """

    hidden: Tensor
    real: Tensor
    position: Tensor
    context: AttentionContext
    condition: AnswerCondition | None = None

    def repeated(self, times: int) -> DecodeState:
        """Each question `times` times in a row."""
        hidden, real, position, rows = (
            part.repeat_interleave(times, 0)
            for part in (self.hidden, self.real, self.position, torch.arange(len(self.hidden)))
        )
        context = _reordered(self.context, rows.to(hidden.device))
        assert context.scenes is not None
        context = replace(context, scenes=context.scenes.repeat_interleave(times))
        condition = None if self.condition is None else self.condition.repeated(times)
        return DecodeState(hidden, real, position, context, condition)


def prefill(
    model: SpatialModel,
    scene: EncodedScene,
    questions: QuestionBatch,
    prompt_tokens: PromptTokens,
    new: int = 0,
) -> tuple[DecodeState, ModelOutput]:
    """Run the questions up to their last token. Raises QueryError if `new` more tokens may not
    fit.
    """
    index = questions.scene
    prefix_valid, valid = scene.prefix_valid[index], scene.valid[index]
    check_sequence_length(model.config, prefix_valid, valid, prompt_tokens, questions.real, new)
    output = model(scene, questions, prompt_tokens)
    rows = torch.arange(len(index), device=index.device)
    hidden = output.states[rows, questions.last]
    position = prefix_valid.sum(1) + output.real.sum(1)
    context = replace(output.context, bias=None, object_length=0)
    return DecodeState(hidden, output.real, position, context), output


def prefill_answer(
    model: SpatialModel,
    scene: EncodedScene,
    questions: QuestionBatch,
    prompt_tokens: PromptTokens,
    new: int = 0,
) -> tuple[DecodeState, AnswerCondition]:
    """Run the questions up to and including `<coord>`, with which the answer begins."""
    state, output = prefill(model, scene, questions, prompt_tokens, new + 1)
    condition = model.condition_answers(scene, questions, output, prompt_tokens)
    return append_coord(model, state, condition, prompt_tokens), condition


def append_coord(
    model: SpatialModel, state: DecodeState, condition: AnswerCondition, prompt_tokens: PromptTokens
) -> DecodeState:
    """Append `<coord>`; from here on all tokens are conditioned on `condition`."""
    coord = model.decoder.embed(prompt_tokens.coord).expand_as(condition.embedding)
    return extend(model, replace(state, condition=condition), coord[:, None])[0]


def extend(
    model: SpatialModel, state: DecodeState, embeddings: Tensor, real: Tensor | None = None
) -> tuple[DecodeState, Tensor]:
    """Append K positions, embeddings (Q, K, D), each of which attends to those before it; real
    (Q, K) is False where padded, at the end. Returns the state at the last position, and the hidden
    states (Q, K, D).
    """
    count, new = embeddings.shape[:2]
    device = embeddings.device
    real = torch.ones(count, new, dtype=torch.bool, device=device) if real is None else real
    if state.condition is not None:
        embeddings = embeddings + state.condition.embedding[:, None]
    causal = torch.ones(new, new, dtype=torch.bool, device=device).tril()
    mask = torch.cat([state.real[:, None].expand(-1, new, -1), causal & real[:, None]], -1)
    context = replace(state.context, mask=mask, past=state.context.key_values, cache={})
    positions = state.position[:, None] + torch.arange(new, device=device)
    states = model.decoder(embeddings.to(state.hidden.dtype), positions, context)
    real = torch.cat([state.real, real], 1)
    state = DecodeState(states[:, -1], real, state.position + new, context, state.condition)
    return state, states


@torch.no_grad()
def generate(
    model: SpatialModel,
    scene: EncodedScene,
    questions: QuestionBatch,
    prompt_tokens: PromptTokens,
    *,
    max_new_tokens: int = 64,
    beams: int = 1,
    repetition_penalty: float = 1.0,
) -> list[list[int]]:
    """The token ids that follow each of Q questions; see `decode`. Raises QueryError if the new
    tokens may not fit.
    """
    state = prefill(model, scene, questions, prompt_tokens, max_new_tokens)[0]
    return decode(
        model, state, prompt_tokens, max_new_tokens=max_new_tokens, beams=beams,
        repetition_penalty=repetition_penalty,
    )  # fmt: skip


@torch.no_grad()
def decode(
    model: SpatialModel,
    state: DecodeState,
    prompt_tokens: PromptTokens,
    *,
    max_new_tokens: int = 64,
    beams: int = 1,
    repetition_penalty: float = 1.0,
    allowed_tokens: Tensor | None = None,
) -> list[list[int]]:
    """The token ids that follow each of Q states, up to the end of the turn or `<ground>`, which
    are left out.

    Keeps the `beams` most probable sequences, finished ones included, and returns the one with the
    highest log-probability per token; 1 is greedy. Logits of tokens already used are divided by
    `repetition_penalty` (multiplied if negative). `allowed_tokens` (K,): the only token ids that
    may be written.
    """
    count, device = len(state.hidden), state.hidden.device
    rows = torch.arange(count, device=device)
    state = state.repeated(beams)
    tokens = torch.zeros(count, beams, 0, dtype=torch.long, device=device)
    score = torch.full((count, beams), -torch.inf, device=device)
    score[:, 0] = 0.0
    length, done = torch.zeros_like(score), torch.zeros_like(score, dtype=torch.bool)
    for step in range(max_new_tokens):
        logits = model.token_logits(state.hidden, state.condition).float()
        logits = _penalised(logits.unflatten(0, (count, beams)), tokens, repetition_penalty)
        if allowed_tokens is not None:
            allowed = torch.full_like(logits, -torch.inf)
            logits = allowed.index_copy(-1, allowed_tokens, logits[..., allowed_tokens])
        finished = _with_filler(logits.log_softmax(-1), done, prompt_tokens.stops[0])
        score, best = (score[..., None] + finished).flatten(1).topk(beams)
        beam, token = best // logits.shape[-1], best % logits.shape[-1]
        done, length = done.gather(1, beam), length.gather(1, beam)
        tokens = tokens.gather(1, beam[..., None].expand(-1, -1, step))
        tokens = torch.cat([tokens, token[..., None]], dim=-1)
        length = length + ~done
        done = done | torch.isin(token, prompt_tokens.stops)
        if done.all() or step + 1 == max_new_tokens:
            break
        if beams > 1:
            source = (rows[:, None] * beams + beam).flatten()
            state = replace(state, context=_reordered(state.context, source))
        state = extend(model, state, model.decoder.embed(token.flatten())[:, None])[0]
    best = (score / length).argmax(1)
    return [_until_stop(row.tolist(), prompt_tokens.stops) for row in tokens[rows, best]]


def score_questions(
    model: SpatialModel,
    scene: EncodedScene,
    questions: QuestionBatch,
    prompt_tokens: PromptTokens,
) -> ModelOutput:
    """Run Q questions as `s2.category_mode` requires (METHODS 1.12).

    none: `<ground>` precedes any class name. generate: the network writes the class name
    first; the true answer in `questions`, if any, is removed. given: the true answer is in
    `questions`, for diagnosis.
    """
    if model.config.s2.category_mode == "generate":
        questions = generate_category(model, scene, questions, prompt_tokens)
    return model(scene, questions, prompt_tokens)


def generate_category(
    model: SpatialModel,
    scene: EncodedScene,
    questions: QuestionBatch,
    prompt_tokens: PromptTokens,
) -> QuestionBatch:
    """The same questions, each followed by the class name that the network writes and by
    `<ground>`.
    """
    position = torch.arange(questions.ids.shape[1], device=questions.ids.device)
    end = (questions.instruction * (position + 1)).amax(1)
    longest = int(end.max())
    unanswered = replace(
        questions,
        ids=questions.ids[:, :longest],
        real=(position < end[:, None])[:, :longest],
        instruction=questions.instruction[:, :longest],
        ground=end - 1,
    )
    names = generate(model, scene, unanswered, prompt_tokens, max_new_tokens=MAX_CATEGORY_TOKENS)
    added = (0, max(map(len, names)) + 1)
    ids, real = F.pad(unanswered.ids, added), F.pad(unanswered.real, added)
    ground = end + end.new_tensor([len(name) for name in names])
    for row, (name, start) in enumerate(zip(names, end.tolist(), strict=True)):
        ids[row, start : start + len(name)] = ids.new_tensor(name)
        real[row, start : start + len(name) + 1] = True
    ids[torch.arange(len(ids)), ground] = prompt_tokens.stops[1]
    instruction = F.pad(unanswered.instruction, added)
    return replace(questions, ids=ids, real=real, instruction=instruction, ground=ground)


def _reordered(context: AttentionContext, rows: Tensor) -> AttentionContext:
    """The context with the cached keys and values of these rows."""
    kept: KeyValues = tuple((key[rows], value[rows]) for key, value in context.key_values)
    return replace(context, cache=dict(enumerate(kept)))


def _penalised(logits: Tensor, tokens: Tensor, penalty: float) -> Tensor:
    if penalty == 1.0 or not tokens.shape[-1]:
        return logits
    used = logits.gather(-1, tokens)
    return logits.scatter(-1, tokens, torch.where(used > 0, used / penalty, used * penalty))


def _with_filler(log_probability: Tensor, done: Tensor, filler: Tensor) -> Tensor:
    """Finished beams continue with one filler token at no cost."""
    stay = torch.full_like(log_probability[:1, :1], -torch.inf)
    stay[..., filler] = 0.0
    return torch.where(done[..., None], stay, log_probability)


def _until_stop(tokens: list[int], stops: Tensor) -> list[int]:
    ends = [i for i, token in enumerate(tokens) if token in stops.tolist()]
    return tokens[: ends[0]] if ends else tokens
