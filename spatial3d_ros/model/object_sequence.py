"""Objects in the decoder's sequence: their tokens, and the learned bias of attention among them and
to the question (METHODS 4).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from spatial3d_ros.model.config import ModelConfig
from spatial3d_ros.model.heads import PredictedNames
from spatial3d_ros.model.relations import AttentionBias, LabelBias
from spatial3d_ros.model.sequence import EncodedScene, PromptTokens, QuestionBatch


def object_tokens(
    config: ModelConfig,
    embed: nn.Embedding,
    scene: EncodedScene,
    index: Tensor,
    prompt_tokens: PromptTokens,
) -> Tensor:
    """Decoder inputs of the objects of each question's scene: (Q, N * c, D), for each object its
    identifier, its token of referents or points if it has one, and itself. The object comes last,
    where its state is read.
    """
    objects = scene.object_embeddings[index]
    if config.object_tokens == "none":
        return objects[:, :0]
    identifiers = embed(prompt_tokens.slot_identifiers(objects.shape[1]))
    identifiers = identifiers.expand_as(objects)
    if config.objects.identifier == "added":
        return objects + identifiers
    parts = [identifiers, objects]
    if scene.referent_tokens is not None:
        parts.insert(1, scene.referent_tokens[index])
    return torch.stack([part.to(objects.dtype) for part in parts], dim=2).flatten(1, 2)


def attention_bias(
    config: ModelConfig,
    scene: EncodedScene,
    questions: QuestionBatch,
    text: Tensor,
    prompt_tokens: PromptTokens,
    pairs: AttentionBias | None,
    label_bias: LabelBias | None,
    predicted: PredictedNames | None,
    names: nn.ModuleDict,
) -> Tensor | None:
    """Learned additive bias of object rows on object columns and, with `label_bias`, on text
    columns: (Q, heads, N * c, N * c or N * c + L); text (Q, L, D), the embedded questions. None
    without any.
    """
    index, per_object = questions.scene, config.tokens_per_object
    bias = None if pairs is None else pairs(scene.edges[index])
    if scene.mask_bias is not None and per_object:
        learnt = scene.mask_bias[index][:, None].expand(-1, config.text.heads, -1, -1)
        bias = learnt if bias is None else bias + learnt
    if bias is not None:
        bias = bias.repeat_interleave(per_object, 2).repeat_interleave(per_object, 3)
    if label_bias is None:
        return bias
    identifiers = prompt_tokens.slot_identifiers(scene.valid.shape[1])
    text_bias = label_bias(
        scene.labels[index],
        None if scene.label_shares is None else scene.label_shares[index],
        identifiers,
        questions.ids,
        questions.instruction,
    )
    if predicted is not None and scene.name_shares is not None:
        named = scene.name_shares[index], names, text, questions.instruction
        text_bias = text_bias + predicted.bias(*named)
    text_bias = text_bias.repeat_interleave(per_object, 2)
    if bias is None:
        bias = text_bias.new_zeros(*text_bias.shape[:3], text_bias.shape[2])
    return torch.cat([bias, text_bias.to(bias.dtype)], -1)
