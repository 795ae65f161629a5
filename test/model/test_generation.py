"""Words after the question, and naming before `<ground>` (METHODS 1.12, 2.7, 2.8)."""

from dataclasses import replace

import pytest
import torch

from helpers.small_model import small_config, small_model, small_scene
from spatial3d_ros.errors import QueryError
from spatial3d_ros.model.generation import generate, generate_category, score_questions
from spatial3d_ros.tasks.prompt import Prompt, clean_query

PHRASES = ("the red chair", "where is the blue lamp on the table?", "find the lamp")


def generating(mode="generate", seed=0, **text):
    """A network whose next words differ from state to state, and a prompt in `mode`."""
    config = small_config()
    model, prompt = small_model(
        seed,
        s2=config.s2.model_dump() | {"category_mode": mode},
        text=config.text.model_dump() | {"tie_embeddings": False} | text,
    )
    model.decoder.lm_head.weight.data.mul_(3.0)
    return model, Prompt(prompt.tokenizer, mode)


def encoded(model, prompt, *batches):
    parts = [torch.cat(p) for p in zip(*[(b.boxes, b.object_valid) for b in batches], strict=True)]
    batch = replace(batches[0], boxes=parts[0], object_valid=parts[1])
    for name in ("pixels", "points", "valid", "rays", "view_valid"):
        batch = replace(batch, **{name: torch.cat([getattr(b, name) for b in batches])})
    with torch.no_grad():
        return model.encode_scene(batch, prompt.tokens)


def asked(prompt, phrases=PHRASES, scenes=None, answers=None):
    answers = answers or [""] * len(phrases)
    sentences = [prompt.grounding(p, a) for p, a in zip(phrases, answers, strict=True)]
    return prompt.batch(sentences, scenes or [0] * len(phrases))


def followed(words, row, tokens):
    """One question alone, followed by its answer so far."""
    length = int(words.real[row].sum())
    ids = torch.cat([words.ids[row, :length], torch.tensor(tokens, dtype=torch.long)])[None]
    instruction = words.instruction[row, :length]
    return replace(
        words,
        ids=ids,
        real=torch.ones_like(ids, dtype=torch.bool),
        instruction=torch.nn.functional.pad(instruction, (0, len(tokens)))[None],
        ground=words.ground[row : row + 1],
        scene=words.scene[row : row + 1],
    )


@torch.no_grad()
def next_scores(model, scene, words, row, tokens, prompt_tokens):
    output = model(scene, followed(words, row, tokens), prompt_tokens)
    return model.decoder.logits(output.states[0, -1]).log_softmax(-1)


@pytest.mark.parametrize("form", ["masked", "rows", "shared"])
def test_cached_decoding_equals_decoding_from_the_start(form):
    model, prompt = generating()
    scene = encoded(model, prompt, small_scene(1), small_scene(2))
    words = asked(prompt, scenes=[1, 0, 1])
    model.attention = form
    written = generate(model, scene, words, prompt.tokens, max_new_tokens=6)
    model.attention = "masked"
    assert len({tuple(t) for t in written}) > 1 and max(map(len, written)) == 6
    stops = prompt.tokens.stops.tolist()
    for row, tokens in enumerate(written):
        for step in range(min(len(tokens) + 1, 6)):
            best = next_scores(model, scene, words, row, tokens[:step], prompt.tokens).argmax()
            assert best == tokens[step] if step < len(tokens) else best in stops


def test_beam_search_equals_exhaustive_search():
    """Beams as many as there are words try every pair of words."""
    model, prompt = generating(seed=1)
    scene, words = encoded(model, prompt, small_scene()), asked(prompt, PHRASES[:1])
    vocab = model.config.text.vocab
    found = generate(model, scene, words, prompt.tokens, max_new_tokens=2, beams=vocab)[0]
    first = next_scores(model, scene, words, 0, [], prompt.tokens)
    stops = prompt.tokens.stops.tolist()
    best, tokens = max((first[s].item(), []) for s in stops)
    for token in first.topk(40).indices.tolist():
        if token in stops:
            continue
        second = next_scores(model, scene, words, 0, [token], prompt.tokens)
        mean = (first[token] + second.max()).item() / 2
        if mean > best:
            best, tokens = mean, [token, int(second.argmax())]
    assert found == [t for t in tokens if t not in stops]


def test_one_beam_is_greedy_and_more_are_never_less_likely():
    model, prompt = generating(seed=1)  # four beams find something else
    scene, words = encoded(model, prompt, small_scene()), asked(prompt)

    def likelihood(row, tokens):
        total = 0.0
        for step, token in enumerate(tokens):
            total += next_scores(model, scene, words, row, tokens[:step], prompt.tokens)[token]
        return total / len(tokens)

    greedy = []
    for row in range(len(PHRASES)):
        tokens = []
        for _ in range(4):
            scores = next_scores(model, scene, words, row, tokens, prompt.tokens)
            tokens.append(int(scores.argmax()))
        greedy.append(tokens)
    assert not any(s in t for t in greedy for s in prompt.tokens.stops.tolist())
    one, four = (
        generate(model, scene, words, prompt.tokens, max_new_tokens=4, beams=b) for b in (1, 4)
    )
    assert one == greedy and four != greedy
    assert all(likelihood(i, four[i]) >= likelihood(i, one[i]) - 1e-4 for i in range(3))


def test_repetition_penalty_lowers_repeated_tokens():
    model, prompt = generating()
    model.decoder.embed.weight.data[:] = model.decoder.embed.weight[300].clone()
    scene, words = encoded(model, prompt, small_scene()), asked(prompt)
    free, held = (
        generate(model, scene, words, prompt.tokens, max_new_tokens=8, repetition_penalty=p)
        for p in (1.0, 1e4)
    )
    assert any(len(set(t)) < len(t) for t in free)
    assert all(len(set(t)) == len(t) for t in held)


def test_generation_stops_at_the_end_of_the_turn():
    model, prompt = generating()
    scene, words = encoded(model, prompt, small_scene()), asked(prompt)
    free = generate(model, scene, words, prompt.tokens, max_new_tokens=5)
    last = free[0][2]
    prompt_tokens = replace(prompt.tokens, stops=torch.tensor([last, prompt.tokens.stops[1]]))
    stopped = generate(model, scene, words, prompt_tokens, max_new_tokens=5)
    for tokens, short in zip(free, stopped, strict=True):
        assert short == (tokens[: tokens.index(last)] if last in tokens else tokens)


def test_answers_that_may_not_fit_are_refused_before_decoding():
    model, prompt = generating(max_positions=160)
    scene, words = encoded(model, prompt, small_scene()), asked(prompt)
    generate(model, scene, words, prompt.tokens, max_new_tokens=2)
    with pytest.raises(QueryError, match="shorter question"):
        generate(model, scene, words, prompt.tokens, max_new_tokens=100)


class TestCategory:
    """The true class is seen in mode `given` only."""

    def scores(self, mode, answers):
        model, prompt = generating(mode)
        scene = encoded(model, prompt, small_scene())
        with torch.no_grad():
            return score_questions(
                model, scene, asked(prompt, PHRASES, answers=answers), prompt.tokens
            ).scores

    @pytest.mark.parametrize("mode", ["none", "generate"])
    def test_the_true_class_does_not_change_scores(self, mode):
        without = self.scores(mode, None)
        for answers in (["the red chair"] * 3, ["the blue lamp", "the table", "the red shelf"]):
            torch.testing.assert_close(self.scores(mode, answers), without, atol=1e-4, rtol=1e-4)

    def test_mode_given_uses_the_class_and_requires_it(self):
        chair, lamp = (self.scores("given", [a] * 3) for a in ("the red chair", "the blue lamp"))
        assert (chair - lamp).abs().max() > 1e-2
        with pytest.raises(QueryError, match="diagnosis"):
            self.scores("given", None)

    def test_mode_generate_writes_the_class_then_grounds(self):
        model, prompt = generating()
        scene, words = encoded(model, prompt, small_scene()), asked(prompt)
        named = generate_category(model, scene, words, prompt.tokens)
        written = generate(model, scene, words, prompt.tokens, max_new_tokens=16)
        ground = prompt.tokenizer.token_to_id("<ground>")
        for row, tokens in enumerate(written):
            start, end = int(words.real[row].sum()), int(named.ground[row])
            assert named.ids[row, :start].tolist() == words.ids[row, :start].tolist()
            assert named.ids[row, start:end].tolist() == tokens
            assert named.ids[row, end] == ground and int(named.real[row].sum()) == end + 1

    def test_the_assistant_turn_is_the_same_in_training_and_evaluation(self):
        _, prompt = generating()
        open_turn, written = (
            prompt.grounding("the red chair"),
            prompt.grounding("the red chair", "the red chair"),
        )
        assert written.ids[: written.answer] == open_turn.ids and open_turn.answer == written.answer
        assert written.ids[written.ground :] == tuple(prompt.tokens.stops.flip(0).tolist())
        words = prompt.batch([written], [0])
        labels = prompt.labels(words, [written])[0]
        assert labels[labels >= 0].tolist() == list(written.ids[written.answer :])


@pytest.mark.parametrize("token", ["<ground>", "<|im_end|>", "<|im_start|>"])
def test_a_question_cannot_contain_special_tokens(token):
    with pytest.raises(QueryError, match="special token"):
        clean_query(f"the chair {token} and the lamp")
