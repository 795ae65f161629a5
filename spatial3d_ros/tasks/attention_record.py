"""What the network attends to when it answers: weights of all layers, recorded in one pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from transformers import AttentionInterface

from spatial3d_ros.errors import NoSceneError
from spatial3d_ros.model.attention import ATTENTION_NAME, AttentionContext, attend
from spatial3d_ros.model.network import SpatialModel
from spatial3d_ros.model.position import patch_centroids
from spatial3d_ros.model.referents import Referents
from spatial3d_ros.scene.buffer import Snapshot
from spatial3d_ros.scene.objects import SceneObject
from spatial3d_ros.tasks.model_runner import ModelRunner
from spatial3d_ros.tasks.prompt import clean_query

NEAR_M = 0.25
"""Patches of two views show the same place if their mean points are this close."""
_ABOVE_FLOOR = 0.4  # of the height of a box, below its middle
_NAME = f"{ATTENTION_NAME}_recorded"


@dataclass(frozen=True)
class AttentionRecord:
    """One question about V views and N objects; all weights are means over heads and layers.

    objects: those of the network, by row; scores (N + 1,), of "nothing" last. patches (V, P, V, P):
    attention of the tokens of views to those of views, P = side * side, zero to later views;
    block (P', V, V): inter-view attention of the structure block by fine patch, None without it;
    same (V, P, V, P) bool: pairs that show the same place by depth; of_object (N, V, P) bool:
    tokens on each object. words: of the question; to_words (N, W), to_objects (N, N), to_views
    (N,): what each object attends to; answer_to_words (W,), answer_to_objects (N,): the
    same of `<ground>`; allowed (N, N) bool: what the mask of objects allows. origin (3,): of
    referents and boxes.
    """

    objects: Sequence[SceneObject]
    scores: Tensor
    patches: Tensor
    block: Tensor | None
    same: Tensor
    of_object: Tensor
    words: tuple[str, ...]
    to_words: Tensor
    to_objects: Tensor
    to_views: Tensor
    answer_to_words: Tensor
    answer_to_objects: Tensor
    allowed: Tensor
    referents: Referents | None
    origin: tuple[float, float, float]

    @property
    def side(self) -> int:
        """Tokens along one side of a view."""
        return round(self.patches.shape[1] ** 0.5)

    @property
    def chosen(self) -> int:
        """Row of the object with the largest score."""
        return int(self.scores[:-1].argmax())


@contextmanager
def recorded_attention(model: SpatialModel) -> Iterator[list[list[Tensor]]]:
    """In a `with` block, the weights (Q, L, S + L) of each layer of each pass of the decoder, mean
    over heads, prefix first.
    """
    passes: list[list[Tensor]] = []

    def record(
        module: nn.Module, query: Tensor, key: Tensor, value: Tensor, context: AttentionContext,
        scaling: float, **rest: object,
    ) -> tuple[Tensor, None]:  # fmt: skip
        out = attend(module, query, key, value, context, scaling, **rest)
        layer = cast(int, module.layer_idx)
        keys = context.cache[layer][0]
        if context.prefix:
            keys = torch.cat([context.prefix[layer][0][context.scenes], keys], 2)
        keys = keys.repeat_interleave(query.shape[1] // keys.shape[1], 1)
        scores = (query.float() @ keys.float().mT) * scaling
        if context.prefix:
            scores = scores + context.full_bias
        elif context.mask is not None:
            scores = scores + context.suffix_bias
        else:
            later = torch.ones_like(scores[0, 0], dtype=torch.bool).triu(1)
            scores = scores.masked_fill(later, -torch.inf)
        if layer == 0:
            passes.append([])
        passes[-1].append(scores.softmax(-1).mean(1))
        return out

    AttentionInterface.register(_NAME, record)
    model.decoder.qwen.set_attn_implementation(_NAME)
    try:
        yield passes
    finally:
        model.decoder.qwen.set_attn_implementation(ATTENTION_NAME)


@torch.inference_mode()
def record_attention(
    runner: ModelRunner, views: Snapshot, objects: Sequence[SceneObject], question: str
) -> AttentionRecord:
    """Ask a network about the objects of views that lie along the axes, as the engine does, and
    record what attends to what. Raises NoSceneError without objects, QueryError for a question
    that it cannot read.
    """
    model, prompt = runner.model, runner.prompt
    sentence = prompt.grounding(clean_query(question))
    questions = prompt.batch([sentence], [0]).to(runner.device)
    entered: list[Tensor] = []
    hooks = [] if model.structure is None else [
        model.structure.register_forward_pre_hook(lambda _, inputs: entered.append(inputs[0]))
    ]  # fmt: skip
    try:
        with recorded_attention(model) as passes:
            known, scene = runner.encode_scene(views, objects)
            if scene is None:
                raise NoSceneError("no object was found in the views; record a longer walk")
            with runner.autocast():
                output = model(scene, questions, runner.prompt_tokens)
    finally:
        for hook in hooks:
            hook.remove()
    prefix, rows = (torch.stack(layers).float().mean(0)[0].cpu() for layers in passes)
    batch = runner.view_batch(scene.origin)
    config = model.config
    side, grid = config.pooled_grid, config.vision.grid
    count, tokens = len(views.views), side * (side + 1)
    first = len(runner.prompt_tokens.before)
    span = prefix[first : first + count * tokens, first : first + count * tokens]
    shape = (count, side, side + 1)
    patches = span.unflatten(1, shape)[..., :side].flatten(2).unflatten(0, shape)[:, :, :side]
    patches = patches.flatten(1, 2)
    cell = grid * config.vision.patch_size // side
    centers, usable = patch_centroids(
        batch.views.points[..., : cell * side, : cell * side, :],
        batch.views.valid[..., : cell * side, : cell * side], cell, side,
    )  # fmt: skip
    places, seen = centers[0].flatten(0, 1).cpu(), usable[0].flatten().cpu()
    near = (torch.cdist(places, places) < NEAR_M) & seen[:, None] & seen
    same = near.unflatten(1, (count, -1)).unflatten(0, (count, -1))
    boxes = torch.tensor([[*o.box.center, *o.box.size] for o in known]).float()
    boxes[:, :3] -= torch.tensor(scene.origin)
    inside = ((places - boxes[:, None, :3]).abs() <= boxes[:, None, 3:] / 2).all(-1) & seen
    # Between the legs of a table the box shows the floor.
    inside &= places[:, 2] > boxes[:, None, 2] - _ABOVE_FLOOR * boxes[:, None, 5]
    each = config.tokens_per_object
    start, number = prefix.shape[0], len(known)
    of_objects = rows[: number * each]
    to_objects = of_objects[:, start : start + number * each]
    place = number * each + sentence.ground
    begins = start + number * each + sentence.instruction
    words, groups = _words(runner, sentence.ids[sentence.instruction : sentence.answer])
    return AttentionRecord(
        objects=known,
        scores=output.scores[0].float().cpu(),
        patches=patches,
        block=None if not entered or model.structure is None
        else model.structure.inter_view_attention(entered[-1]).float().cpu(),
        same=same,
        of_object=inside.unflatten(1, (count, -1)),
        words=words,
        to_words=_summed(of_objects[:, begins:], groups).unflatten(0, (number, each)).mean(1),
        to_objects=to_objects.unflatten(1, (number, each)).sum(2).unflatten(0, (number, each))
        .mean(1),
        to_views=of_objects[:, first : first + count * tokens].sum(1).unflatten(0, (number, each))
        .mean(1),
        answer_to_words=_summed(rows[place : place + 1, begins:], groups)[0],
        answer_to_objects=rows[place, start : start + number * each].unflatten(0, (number, each))
        .sum(1),
        allowed=scene.object_mask[0].cpu(),
        referents=scene.referents,
        origin=scene.origin,
    )  # fmt: skip


def _words(runner: ModelRunner, ids: Sequence[int]) -> tuple[tuple[str, ...], list[list[int]]]:
    """The words of tokens, and the tokens of each; special tokens and breaks are in none."""
    tokenizer = runner.prompt.tokenizer
    words: list[str] = []
    groups: list[list[int]] = []
    for k, token in enumerate(ids):
        piece, text = tokenizer.id_to_token(token) or "", tokenizer.decode([token])
        if piece.startswith("<|"):
            break
        if piece.startswith("\u0120") or not words:
            words.append("")
            groups.append([])
        words[-1] += text.strip()
        groups[-1].append(k)
    return tuple(words), groups


def _summed(weights: Tensor, groups: Sequence[Sequence[int]]) -> Tensor:
    """Weights (R, L) summed over the tokens of each word: (R, W)."""
    return torch.stack([weights[:, list(group)].sum(1) for group in groups], 1)
