"""Words after the question, greedily or by beams, behind the same cache and masks (METHODS 2.7,
2.8).

A new word sees everything real before it and nothing before it sees the word, so that the keys of
the question stay true and each step costs one place.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from spatial3d_ros.model.answer_conditioning import Subject
from spatial3d_ros.model.attention import AttentionContext, Keys
from spatial3d_ros.model.network import SpatialModel
from spatial3d_ros.model.sequence import EncodedScene, ModelOutput, PromptTokens, QuestionBatch

NAME_WORDS = 16
"""Tokens in which a network must have named what it looks for before `<ground>` is put to it."""


@dataclass(frozen=True)
class DecodeState:
    """Q questions read up to a place of their answers.

    state (Q, D): what the next word follows from; real (Q, T): which places so far are no padding;
    place (Q,): the next one; sight: what was seen last, and the keys of all T places; subject:
    what every further word is about, where an answer has begun.
    """

    state: Tensor
    real: Tensor
    place: Tensor
    sight: AttentionContext
    subject: Subject | None = None

    def repeated(self, times: int) -> DecodeState:
        """Each question so many times, one behind the other."""
        state, real, place = (
            part.repeat_interleave(times, 0) for part in (self.state, self.real, self.place)
        )
        rows = torch.arange(len(self.state), device=state.device).repeat_interleave(times)
        scenes = self.sight.scenes.repeat_interleave(times)
        laid = dict(enumerate(_rows(self.sight.keys, rows)))
        sight = replace(self.sight, scenes=scenes, laid=laid)
        subject = None if self.subject is None else self.subject.repeated(times)
        return DecodeState(state, real, place, sight, subject)


def begin(
    model: SpatialModel,
    scene: EncodedScene,
    words: QuestionBatch,
    opening: PromptTokens,
    new: int = 0,
) -> tuple[DecodeState, ModelOutput]:
    """Read questions up to their last word. Raises QueryError when `new` words more may not fit."""
    which = words.scene
    prefix_valid, valid = scene.prefix_valid[which], scene.valid[which]
    model.require_places(prefix_valid, valid, opening, words.real, new)
    reading = model(scene, words, opening)
    rows = torch.arange(len(which), device=which.device)
    state = reading.states[rows, words.real.sum(1) - 1]
    place = prefix_valid.sum(1) + reading.real.sum(1)
    sight = replace(reading.sight, bias=None, objects=0)
    return DecodeState(state, reading.real, place, sight), reading


def begin_answer(
    model: SpatialModel,
    scene: EncodedScene,
    words: QuestionBatch,
    opening: PromptTokens,
    new: int = 0,
) -> tuple[DecodeState, Subject]:
    """Read questions up to `<coord>`, which tells the words behind it what they are about."""
    turn, reading = begin(model, scene, words, opening, new + 1)
    subject = model.subject(scene, words, reading, opening)
    return start_answer(model, turn, subject, opening), subject


def start_answer(
    model: SpatialModel, turn: DecodeState, subject: Subject, opening: PromptTokens
) -> DecodeState:
    """One place further, past `<coord>`."""
    start = model.decoder.embed(opening.coord).expand_as(subject.embedding)
    return extend(model, replace(turn, subject=subject), start[:, None])[0]


def extend(
    model: SpatialModel, turn: DecodeState, embeddings: Tensor, real: Tensor | None = None
) -> tuple[DecodeState, Tensor]:
    """K places more (Q, K, D), each of which sees those before it; real (Q, K) where some are
    padding, at the end. Returns the turn up to the last place, and the states (Q, K, D).
    """
    count, new = embeddings.shape[:2]
    device = embeddings.device
    real = torch.ones(count, new, dtype=torch.bool, device=device) if real is None else real
    if turn.subject is not None:
        embeddings = embeddings + turn.subject.embedding[:, None]
    causal = torch.ones(new, new, dtype=torch.bool, device=device).tril()
    among = causal & real[:, None]
    keep = torch.cat([turn.real[:, None].expand(-1, new, -1), among], -1)
    sight = replace(turn.sight, keep=keep, earlier=turn.sight.keys, laid={})
    places = turn.place[:, None] + torch.arange(new, device=device)
    states = model.decoder(embeddings.to(turn.state.dtype), places, sight)
    real = torch.cat([turn.real, real], 1)
    return DecodeState(states[:, -1], real, turn.place + new, sight, turn.subject), states


@torch.no_grad()
def generate(
    model: SpatialModel,
    scene: EncodedScene,
    words: QuestionBatch,
    opening: PromptTokens,
    *,
    max_new_tokens: int = 64,
    beams: int = 1,
    repetition_penalty: float = 1.0,
) -> list[list[int]]:
    """The token ids that follow each of Q questions; see `write`. Raises QueryError when the new
    tokens may not fit.
    """
    turn = begin(model, scene, words, opening, max_new_tokens)[0]
    return write(
        model, turn, opening, max_new_tokens=max_new_tokens, beams=beams,
        repetition_penalty=repetition_penalty,
    )  # fmt: skip


@torch.no_grad()
def write(
    model: SpatialModel,
    turn: DecodeState,
    opening: PromptTokens,
    *,
    max_new_tokens: int = 64,
    beams: int = 1,
    repetition_penalty: float = 1.0,
    spelling: Tensor | None = None,
) -> list[list[int]]:
    """The token ids that follow each of Q turns, up to the end of the turn or `<ground>`, which are
    left out.

    The likeliest `beams` beginnings are kept, finished ones among them; of these, the best a token
    is the answer. 1 is greedy. Scores of tokens already used are divided by `repetition_penalty`
    (multiplied where negative). `spelling` (K,): the only tokens that may be written.
    """
    count, device = len(turn.state), turn.state.device
    rows = torch.arange(count, device=device)
    turn = turn.repeated(beams)
    tokens = torch.zeros(count, beams, 0, dtype=torch.long, device=device)
    score = torch.full((count, beams), -torch.inf, device=device)
    score[:, 0] = 0.0
    length, done = torch.zeros_like(score), torch.zeros_like(score, dtype=torch.bool)
    for step in range(max_new_tokens):
        logits = model.word_logits(turn.state, turn.subject).float().unflatten(0, (count, beams))
        logits = _penalised(logits, tokens, repetition_penalty)
        if spelling is not None:
            spelt = torch.full_like(logits, -torch.inf)
            logits = spelt.index_copy(-1, spelling, logits[..., spelling])
        total = score[..., None] + _finished(logits.log_softmax(-1), done, opening.stops[0])
        score, best = total.flatten(1).topk(beams)
        beam, token = best // logits.shape[-1], best % logits.shape[-1]
        done, length = done.gather(1, beam), length.gather(1, beam)
        tokens = tokens.gather(1, beam[..., None].expand(-1, -1, step))
        tokens = torch.cat([tokens, token[..., None]], dim=-1)
        length = length + ~done
        done = done | torch.isin(token, opening.stops)
        if done.all() or step + 1 == max_new_tokens:
            break
        if beams > 1:
            kept = _rows(turn.sight.keys, (rows[:, None] * beams + beam).flatten())
            turn = replace(turn, sight=replace(turn.sight, laid=dict(enumerate(kept))))
        turn = extend(model, turn, model.decoder.embed(token.flatten())[:, None])[0]
    best = (score / length).argmax(1)
    return [_before(row.tolist(), opening.stops) for row in tokens[rows, best]]


def read(
    model: SpatialModel, scene: EncodedScene, words: QuestionBatch, opening: PromptTokens
) -> ModelOutput:
    """Read Q questions the way that `s2.category_mode` says (METHODS 1.12).

    none: `<ground>` stands before any name. generate: the network names the object first, and what
    `words` may hold of the true answer is taken out. given: with the answer in `words`, for
    diagnosis.
    """
    if model.config.s2.category_mode == "generate":
        words = name_first(model, scene, words, opening)
    return model(scene, words, opening)


def name_first(
    model: SpatialModel, scene: EncodedScene, words: QuestionBatch, opening: PromptTokens
) -> QuestionBatch:
    """The same questions followed by the network's own words for the object and `<ground>`."""
    place = torch.arange(words.ids.shape[1], device=words.ids.device)
    end = (words.instruction * (place + 1)).amax(1)
    asked = int(end.max())
    bare = replace(
        words,
        ids=words.ids[:, :asked],
        real=(place < end[:, None])[:, :asked],
        instruction=words.instruction[:, :asked],
        ground=end - 1,
    )
    names = generate(model, scene, bare, opening, max_new_tokens=NAME_WORDS)
    longest = max(map(len, names)) + 1
    ids, real = F.pad(bare.ids, (0, longest)), F.pad(bare.real, (0, longest))
    ground = end + end.new_tensor([len(name) for name in names])
    for row, (name, start) in enumerate(zip(names, end.tolist(), strict=True)):
        ids[row, start : start + len(name)] = ids.new_tensor(name)
        real[row, start : start + len(name) + 1] = True
    ids[torch.arange(len(ids)), ground] = opening.stops[1]
    return replace(
        words, ids=ids, real=real, instruction=F.pad(bare.instruction, (0, longest)), ground=ground
    )


def _rows(keys: Keys, rows: Tensor) -> Keys:
    return tuple((key[rows], value[rows]) for key, value in keys)


def _penalised(logits: Tensor, tokens: Tensor, penalty: float) -> Tensor:
    if penalty == 1.0 or not tokens.shape[-1]:
        return logits
    used = logits.gather(-1, tokens)
    return logits.scatter(-1, tokens, torch.where(used > 0, used / penalty, used * penalty))


def _finished(logp: Tensor, done: Tensor, filler: Tensor) -> Tensor:
    """A finished beam goes on with one filler at no cost."""
    stay = torch.full_like(logp[:1, :1], -torch.inf)
    stay[..., filler] = 0.0
    return torch.where(done[..., None], stay, logp)


def _before(tokens: list[int], stops: Tensor) -> list[int]:
    ends = [i for i, token in enumerate(tokens) if token in stops.tolist()]
    return tokens[: ends[0]] if ends else tokens
