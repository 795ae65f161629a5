"""A question on the cached prefix equals one pass over the whole sequence (METHODS 2.2, 2.8)."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from helpers.small_model import small_config, small_model, small_scene
from helpers.uncached_decoding import FORMS, PHRASES, cached_scores, question, uncached_scores
from spatial3d_ros.errors import ConfigError, QueryError
from spatial3d_ros.model.batch import SceneBatch
from spatial3d_ros.model.checkpoint import save_model
from spatial3d_ros.model.decoder import Decoder
from spatial3d_ros.research.bench.network import (
    SceneQuestion,
    bench_scale,
    bench_warm,
    order_stability,
)
from spatial3d_ros.research.bench.operations import bench_attention

MODES = ("causal", "full", "diagonal", "fixed_n", "geo")


def slim(mode, inst):
    return {"objects": mode, "inst": inst, "k_min": 1, "k_max": 3, "fixed_n": 2}


def boxes_of(seed, objects):
    generator = torch.Generator().manual_seed(seed)
    boxes = torch.rand(1, objects, 6, generator=generator) * 3 + 0.2
    return SceneBatch(boxes, torch.ones(1, objects, dtype=torch.bool))


def encoded(model, prompt, batch):
    with torch.no_grad():
        return model.encode_scene(batch, prompt.tokens)


@pytest.mark.parametrize("inst", [True, False])
@pytest.mark.parametrize("mode", MODES)
def test_cached_equals_uncached_in_every_mode_and_form(mode, inst):
    model, prompt = small_model(slim=slim(mode, inst))
    batch = small_scene()
    expected = [uncached_scores(model, prompt, batch, phrase) for phrase in PHRASES]
    scene = encoded(model, prompt, batch)
    for form in FORMS:
        together = cached_scores(model, prompt, scene, form=form)
        for i, (scores, states) in enumerate(expected):
            alone = cached_scores(model, prompt, scene, PHRASES[i : i + 1], form=form)
            torch.testing.assert_close(alone.scores, scores, atol=2e-4, rtol=1e-3)
            torch.testing.assert_close(alone.states[0], states, atol=2e-4, rtol=1e-3)
            torch.testing.assert_close(together.scores[i : i + 1], scores, atol=2e-4, rtol=1e-3)


def test_the_modes_differ():
    """Otherwise the comparison above would be vacuous."""
    scores = []
    for mode in MODES:
        for inst in (True, False):
            model, prompt = small_model(slim=slim(mode, inst))
            scores.append(
                cached_scores(model, prompt, encoded(model, prompt, small_scene())).scores
            )
    for i, one in enumerate(scores):
        assert all((one - other).abs().max() > 1e-3 for other in scores[:i])


@pytest.mark.parametrize("views", [2, 3])
@pytest.mark.parametrize("form", FORMS)
def test_rooms_of_different_size_in_one_batch(form, views):
    """Padded objects and words, and with two views a padded one; questions in any order of
    rooms.
    """
    model, prompt = small_model()
    small, large = small_scene(1, views=views, objects=3), small_scene(2, views=3, objects=6)

    def padded(name, fill=0.0):
        value, goal = getattr(small, name), getattr(large, name)
        missing = goal.shape[1] - value.shape[1]
        filler = value.new_full((1, missing, *value.shape[2:]), fill)
        return torch.cat([torch.cat([value, filler], 1), goal])

    names = ("pixels", "points", "valid", "rays", "view_valid", "object_valid")
    both = SceneBatch(boxes=padded("boxes", 1.5), **{name: padded(name) for name in names})
    phrases, scenes = (*PHRASES, "the table"), [1, 0, 1, 0]
    scores = cached_scores(
        model, prompt, encoded(model, prompt, both), phrases, scenes, form
    ).scores
    for phrase, which, row in zip(phrases, scenes, scores, strict=True):
        batch = (small, large)[which]
        objects = batch.boxes.shape[1]
        expected = uncached_scores(model, prompt, batch, phrase)[0][0]
        found = torch.cat([row[:objects], row[-1:]])
        torch.testing.assert_close(found, expected, atol=2e-4, rtol=1e-3)
        assert (row[objects:-1] == -torch.inf).all()


@pytest.mark.parametrize("form", FORMS)
def test_questions_in_sequence_while_the_memory_changes(form):
    model, prompt = small_model()
    before, after = small_scene(1, views=2, objects=4), small_scene(1, views=3, objects=6)
    first = encoded(model, prompt, before)
    answers = [cached_scores(model, prompt, first, [PHRASES[0]], form=form)]
    second = encoded(model, prompt, after)
    answers += [cached_scores(model, prompt, second, [p], form=form) for p in PHRASES]
    answers += [cached_scores(model, prompt, first, [PHRASES[2]], form=form)]
    asked = [(before, 0), (after, 0), (after, 1), (after, 2), (before, 2)]
    for (batch, i), found in zip(asked, answers, strict=True):
        expected, _ = uncached_scores(model, prompt, batch, PHRASES[i])
        torch.testing.assert_close(found.scores, expected, atol=2e-4, rtol=1e-3)


@pytest.mark.parametrize("form", FORMS)
def test_boxes_without_pixels_and_rooms_of_few_objects(form):
    model, prompt = small_model(objects={"identifier": "added", "relation_hidden": 8})
    for objects in (1, 2, 7):
        batch = boxes_of(objects, objects)
        found = cached_scores(model, prompt, encoded(model, prompt, batch), PHRASES[:1], form=form)
        expected, _ = uncached_scores(model, prompt, batch, PHRASES[0])
        torch.testing.assert_close(found.scores, expected, atol=2e-4, rtol=1e-3)


@pytest.mark.parametrize("form", FORMS)
def test_a_room_without_objects_scores_only_no_target(form):
    model, prompt = small_model()
    for batch in (small_scene(objects=0), boxes_of(0, 0)):
        scores = cached_scores(model, prompt, encoded(model, prompt, batch), form=form).scores
        assert scores.shape == (3, 1) and scores.isfinite().all()


def test_the_differentiable_forms_agree_in_their_gradients():
    model, prompt = small_model()
    gradients = []
    for form in FORMS:
        model.attention = form
        model.zero_grad()
        scene = model.encode_scene(small_scene(), prompt.tokens)
        model(scene, question(prompt), prompt.tokens).scores.square().sum().backward()
        gradients.append(
            torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
        )
    assert gradients[0].abs().max() > 1e-2
    for other in gradients[1:]:
        torch.testing.assert_close(other, gradients[0], atol=1e-3, rtol=1e-3)


def test_the_unpadded_prefix_equals_the_masked_one():
    """Padding forces a mask; without it the fused causal kernel runs."""
    decoder = Decoder(small_config().text).eval()
    torch.manual_seed(0)
    embeddings = torch.randn(2, 9, 24)
    valid = torch.ones(2, 9, dtype=torch.bool)
    with torch.no_grad():
        fused = decoder.encode_prefix(embeddings, valid)
        valid[1, 5:] = False
        masked = decoder.encode_prefix(embeddings, valid)
    for one, other in zip(fused, masked, strict=True):
        for a, b in zip(one, other, strict=True):
            torch.testing.assert_close(a[0], b[0], atol=1e-5, rtol=1e-4)
            torch.testing.assert_close(a[1, :, :5], b[1, :, :5], atol=1e-5, rtol=1e-4)


def test_half_precision_stays_close():
    model, prompt = small_model()
    scene = encoded(model, prompt, small_scene())
    exact = cached_scores(model, prompt, scene).scores
    with torch.autocast("cpu", torch.bfloat16):
        scene = encoded(model, prompt, small_scene())
        for form in FORMS:
            rough = cached_scores(model, prompt, scene, form=form).scores
            assert (rough - exact).abs().max() < 1.5  # of a range of +-14
    assert scene.prefix[0][0].dtype == torch.bfloat16


def test_unusable_boxes_are_left_out():
    model, prompt = small_model()
    batch = small_scene(objects=4)
    broken = batch.boxes.clone()
    broken[0, 1, 0], broken[0, 3, 4] = torch.nan, torch.inf
    scores = cached_scores(
        model, prompt, encoded(model, prompt, replace(batch, boxes=broken))
    ).scores
    assert (scores[:, [1, 3]] == -torch.inf).all() and scores[:, [0, 2, 4]].isfinite().all()
    away = replace(batch, object_valid=torch.tensor([[True, False, True, False]]))
    expected = cached_scores(model, prompt, encoded(model, prompt, away)).scores
    torch.testing.assert_close(scores, expected, atol=1e-4, rtol=1e-4)


def test_all_depth_missing():
    model, prompt = small_model()
    batch = small_scene()
    blind = replace(
        batch,
        points=torch.zeros_like(batch.points),
        valid=torch.zeros_like(batch.valid),
        rays=torch.zeros_like(batch.rays),
    )
    assert cached_scores(model, prompt, encoded(model, prompt, blind)).scores.isfinite().all()


class TestLimit:
    def model(self, positions):
        config = small_config()
        return small_model(text=config.text.model_dump() | {"max_positions": positions})

    def length(self, objects=5):
        """Positions of the longest question with three views."""
        model, prompt = small_model()
        scene = encoded(model, prompt, small_scene(objects=objects))
        return scene.prefix_valid.shape[1] + 2 * objects + question(prompt).real.sum(1).max().item()

    def test_the_longest_question_that_fits_and_a_longer_one(self):
        model, prompt = self.model(self.length())
        scene = encoded(model, prompt, small_scene())
        assert cached_scores(model, prompt, scene).scores.isfinite().all()
        with pytest.raises(QueryError, match=r"3 views .* 5 objects 10, the question .*shorter"):
            cached_scores(
                model, prompt, scene, ["the red chair next to the table on the shelf, please"]
            )

    def test_views_alone_exceed_the_positions(self):
        model, prompt = self.model(40)
        with pytest.raises(ConfigError, match=r"has 40 \(text.max_positions\): 3 views.*max_views"):
            encoded(model, prompt, small_scene())


class TestBenches:
    """What they compare is equal, and what they report is there."""

    @pytest.fixture
    def folder(self, tmp_path):
        model, prompt = small_model()
        save_model(tmp_path, model, prompt.tokenizer, torch.float32)
        return tmp_path

    def test_warm_and_scale(self, folder):
        warm = bench_warm(folder, (1, 2), objects=3, repeats=1)
        assert set(warm["2_views"]["warm_by_form_ms"]) == {"masked", "rows", "shared"}
        grown = bench_scale(folder, (1, 2), (3, 120), repeats=1)
        kept = [grown["views"][f"{n}_views"]["scene_mb"] for n in (1, 2)]
        assert kept[1] > kept[0] and np.isfinite(grown["objects"]["exponent"])

    def test_a_question_on_the_cache_is_the_one_without(self):
        model, prompt = small_model()
        timed = SceneQuestion.random(model, prompt, 2, 4)
        with torch.inference_mode():
            torch.testing.assert_close(timed.warm(), timed.cold())

    def test_every_form_of_one_layer(self):
        times = bench_attention((9,), (3,), ((8, 2),), words=4, repeats=1)
        assert set(times["width_8_prefix_9_objects_3"]) == {"eager", "masked", "rows", "shared"}

    def test_order(self, folder):
        found = order_stability(folder, rooms=1, questions=4, shuffles=2)
        assert 0 <= found["same"] <= 1 and found["pairs"] > 0
