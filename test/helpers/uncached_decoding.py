"""Scores of a question with and without the cached scene prefix."""

import torch
from transformers import Qwen2Config, Qwen2Model

from spatial3d_ros.model.object_sequence import object_tokens

PHRASES = ("the red chair", "where is the blue lamp on the table?", "find the lamp")
FORMS = ("masked", "rows", "shared")


def question(prompt, phrases=PHRASES, scenes=None):
    return prompt.batch([prompt.grounding(p) for p in phrases], scenes or [0] * len(phrases))


def cached_scores(model, prompt, scene, phrases=PHRASES, scenes=None, form="auto"):
    model.attention = form
    with torch.no_grad():
        return model(scene, question(prompt, phrases, scenes), prompt.tokens)


def plain_mask(prefix, neighbours, per_object, before, instruction, length, *, inst, causal):
    """Row by row as in the paper: causal, then objects to objects, then objects to the
    instruction.
    """
    objects = per_object * len(neighbours)
    mask = [[column <= row for column in range(length)] for row in range(length)]
    for row in range(prefix, prefix + objects):
        for column in range(prefix, prefix + objects):
            i, j = (row - prefix) // per_object, (column - prefix) // per_object
            mask[row][column] = bool(neighbours[i][j]) and (not causal or column <= row)
        if inst:
            for column in range(instruction):
                mask[row][prefix + objects + before + column] = True
    return torch.tensor(mask)


def uncached_scores(model, prompt, batch, phrase):
    """Scores of one question from one pass of transformers' own eager decoder over the whole
    sequence.
    """
    config, decoder = model.config, model.decoder
    text = config.text
    eager = Qwen2Model(
        Qwen2Config(
            vocab_size=text.vocab, hidden_size=text.width, intermediate_size=text.mlp,
            num_hidden_layers=text.layers, num_attention_heads=text.heads,
            num_key_value_heads=text.kv_heads, max_position_embeddings=text.max_positions,
            rope_parameters={"rope_type": "default", "rope_theta": text.rope_theta},
            attn_implementation="eager",
        )
    ).eval()  # fmt: skip
    eager.load_state_dict(decoder.qwen.state_dict())
    sentence = prompt.grounding(phrase)
    with torch.no_grad():
        scene = model.encode_scene(batch, prompt.tokens)
        tokens = None
        if batch.has_views:
            tokens = model._scene_tokens(batch, model.project_views(batch))[1]
        _, prefix = model._prefix(batch, tokens, scene.referents, prompt.tokens)
        slots = object_tokens(
            model.config, model.decoder.embed, scene, torch.tensor([0]), prompt.tokens
        )
        text_embeddings = decoder.embed(torch.tensor([sentence.ids]))
        sequence = torch.cat([prefix, slots, text_embeddings], dim=1)
        start, length = prefix.shape[1], sequence.shape[1]
        per_object, objects = config.tokens_per_object, slots.shape[1]
        allowed = plain_mask(
            start, scene.object_mask[0], per_object, sentence.instruction,
            sentence.answer - sentence.instruction, length,
            inst=config.slim.inst, causal=config.slim.objects == "causal",
        )  # fmt: skip
        mask = torch.zeros(1, text.heads, length, length)
        pairs = model.bias(scene.edges)
        for i in range(objects):
            for j in range(objects):
                mask[0, :, start + i, start + j] = pairs[0, :, i // per_object, j // per_object]
        mask = mask.masked_fill(~allowed, torch.finfo(torch.float32).min)
        states = eager(
            inputs_embeds=sequence,
            attention_mask=mask,
            position_ids=torch.arange(length)[None],
            use_cache=False,
        ).last_hidden_state
        object_states = states[:, start + per_object - 1 : start + objects : per_object]
        candidates = model.readout(object_states, scene.edges, scene.valid)
        query = states[:, start + objects + sentence.ground]
        return model.head(query, candidates, scene.valid), states[0, start + objects :]
