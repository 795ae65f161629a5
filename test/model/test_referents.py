"""Referents: receptive field of each stage, effect in the network, scenes without any (METHODS
3.2, 4).
"""

from dataclasses import replace

import pytest
import torch
from pydantic import ValidationError

from helpers.referents_model import PSA, ROOM, WIDTH, model_with_referents
from helpers.small_model import small_config, small_model, small_scene
from helpers.uncached_decoding import FORMS, PHRASES, cached_scores, uncached_scores
from spatial3d_ros.errors import ConfigError
from spatial3d_ros.model.config import AwarenessConfig
from spatial3d_ros.model.position import coordinate_code
from spatial3d_ros.model.psa import (
    ClusterAbstraction,
    Context,
    EdgeConvolution,
    GraphConvolution,
    neighbours,
    sampled,
)
from spatial3d_ros.model.referents import MAX_IOU, Referents, with_referent_objects
from spatial3d_ros.model.seeds import SEED_M, PatchSeeds, Seeds
from spatial3d_ros.research.bench.network import bench_referents
from spatial3d_ros.research.experiments.ablations import load_ablation, plan
from spatial3d_ros.research.training.config import LossWeights
from spatial3d_ros.research.training.losses import objectness_loss, vote_loss
from spatial3d_ros.research.training.objective import Objective
from spatial3d_ros.research.training.presets import trainable_table
from spatial3d_ros.research.training.sample import Sample
from spatial3d_ros.resources import config_path

OFF = {"intra": False, "inter": "none", "context": False}


def seeds(count=40, padded=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    valid = torch.ones(1, count, dtype=torch.bool)
    valid[:, count - padded :] = False
    points = torch.rand(1, count, 3, generator=generator) * ROOM
    return Seeds(points, torch.randn(1, count, WIDTH, generator=generator), valid)


def randomised(kind, *sizes):
    """A module without zeros that could hide a path."""
    torch.manual_seed(0)
    module = kind(*sizes)
    for weight in module.parameters():
        weight.data += 0.3 * torch.randn_like(weight)
    return module.eval()


def touched(before, after):
    """Which of the rows (1, R, ...) differ."""
    return (before - after).abs().flatten(2).amax(-1)[0] > 1e-6


def perturbed(values, row):
    values = values.clone()
    values[0, row] += torch.linspace(-2, 2, values.shape[-1])
    return values


class TestSeeds:
    def seeds(self, batch, seed=0):
        torch.manual_seed(seed)
        module = PatchSeeds(small_config(psa=PSA | {"seeds": 64}))
        projected = torch.randn(
            1, batch.points.shape[1], 16, 24, generator=torch.Generator().manual_seed(3)
        )
        return module, projected, module(batch, projected)

    def test_a_patch_changes_only_the_seed_of_its_voxel(self):
        batch = small_scene()
        module, projected, before = self.seeds(batch)
        changed = projected.clone()
        changed[0, 1, 5] += 3.0
        after = module(batch, changed)
        assert touched(before.features, after.features).sum() == 1
        assert torch.equal(before.points, after.points)

    def test_patches_in_one_voxel_are_one_seed(self):
        batch = small_scene(views=1)
        twice = {
            name: torch.cat([getattr(batch, name)] * 2, 1)
            for name in ("pixels", "points", "valid", "rays", "view_valid")
        }
        once, module = self.seeds(batch)[2], self.seeds(batch)[0]
        projected = self.seeds(batch)[1]
        seen = module(replace(batch, **twice), torch.cat([projected] * 2, 1))
        assert once.valid.sum() == seen.valid.sum() <= 16
        torch.testing.assert_close(seen.features, once.features)

    def test_padded_views_and_patches_without_depth_give_no_seeds(self):
        batch = small_scene()
        _, projected, before = self.seeds(batch)
        hidden = replace(batch, view_valid=torch.tensor([[True, False, True]]))
        module = self.seeds(batch)[0]
        kept = module(hidden, projected)
        parts = ("pixels", "points", "valid", "rays", "view_valid")
        alone = replace(batch, **{n: getattr(batch, n)[:, [0, 2]] for n in parts})
        expected = module(alone, projected[:, [0, 2]])
        torch.testing.assert_close(kept.features, expected.features)
        assert kept.valid.sum() < before.valid.sum()
        nothing = module(replace(batch, valid=batch.valid & False), projected)
        assert not nothing.valid.any() and not nothing.features.any()


class TestIntra:
    """Votes start on their seeds, so that a feature moves no centre."""

    def run(self, given, offsets=False):
        module = randomised(ClusterAbstraction, WIDTH, 8)
        if not offsets:
            module.vote[-1].weight.data[:3] = 0.0
            module.vote[-1].bias.data[:3] = 0.0
        return module(given)

    def test_a_seed_changes_only_its_clusters(self):
        given = seeds(120, 20)
        before = self.run(given)
        for row in range(0, 100, 9):
            after = self.run(replace(given, features=perturbed(given.features, row)))
            within = (before.members[0] == row).any(-1)
            moved = touched(before.features, after.features)
            assert not (moved & ~within).any()
            gaps = (before.centers[0] - given.points[0, row]).norm(dim=-1)
            assert (gaps[within] < 0.3).all()
        assert (before.members != before.members[..., :1]).any()

    def test_a_centre_is_a_member_of_its_ball(self):
        given = seeds()
        before = self.run(given)
        own = before.members[0, :, 0].tolist()
        for place, row in enumerate(own):
            after = self.run(replace(given, features=perturbed(given.features, row)))
            assert touched(before.features, after.features)[place]

    def test_untrained_votes_lie_on_their_seeds_and_trained_ones_move(self):
        given = seeds()
        assert torch.equal(ClusterAbstraction(WIDTH, 8)(given).votes, given.points)
        moved = self.run(given, offsets=True)
        assert not torch.allclose(moved.votes, given.points)
        expected = moved.votes[0, moved.members[0, :, 0]]
        torch.testing.assert_close(moved.centers[0], expected)

    def test_padded_seeds_are_in_no_cluster(self):
        given = seeds()
        before = self.run(given, offsets=True)
        features = given.features.clone()
        features[:, 34:] = 50.0
        after = self.run(replace(given, features=features), offsets=True)
        assert torch.equal(before.features, after.features) and before.members.max() < 34

    def test_without_the_stage_referents_are_seeds(self):
        given = seeds()
        clusters = sampled(given, 8)
        rows = clusters.members[0, :, 0]
        assert torch.equal(clusters.features[0], given.features[0, rows])
        assert torch.equal(clusters.centers[0], given.points[0, rows])


class TestInter:
    def graph(self, count=30, padded=4):
        given = seeds(count, padded)
        return given.features * given.valid[..., None], given.points, given.valid

    def test_neighbours_are_mutual_nearest_and_never_oneself_or_padding(self):
        _, centers, found = self.graph()
        adjacent = neighbours(centers, found, 3)[0]
        gaps = torch.cdist(centers, centers)[0]
        gaps[:, ~found[0]] = torch.inf
        gaps.fill_diagonal_(torch.inf)
        expected = torch.zeros_like(adjacent)
        for i in range(26):
            expected[i, gaps[i].argsort()[:3]] = True
        assert torch.equal(adjacent, expected | expected.T)
        assert not adjacent[26:].any() and not adjacent.diagonal().any()

    @pytest.mark.parametrize("kind", [GraphConvolution, EdgeConvolution])
    def test_two_layers_reach_two_steps_and_no_farther(self, kind):
        features, centers, found = self.graph()
        module = randomised(kind, WIDTH)
        sizes = torch.full_like(centers, 0.4)
        adjacent = neighbours(centers, found)[0]
        near = adjacent | torch.eye(len(adjacent), dtype=torch.bool)
        within = (near.float() @ near.float()) > 0
        before = module(features, centers, sizes, found)
        reached = 0
        for row in range(26):
            moved = touched(before, module(perturbed(features, row), centers, sizes, found))
            assert moved[row] and not (moved & ~within[row]).any()
            reached += int((moved & ~near[row]).sum())
        assert reached and not within[:26, :26].all()
        assert not before[0, 26:].any()

    @pytest.mark.parametrize("kind", [GraphConvolution, EdgeConvolution])
    @pytest.mark.parametrize("count", [0, 1, 2])
    def test_few_referents(self, kind, count):
        features, centers, found = self.graph(9, 9 - count)
        module = randomised(kind, WIDTH)
        out = module(features, centers, torch.ones_like(centers), found)
        assert out.isfinite().all() and out.any() == (count > 0)

    def test_convolution_is_the_formula(self):
        features, centers, found = self.graph(5, 0)
        module = randomised(GraphConvolution, WIDTH)
        gaps = torch.cdist(centers, centers)[0]
        weight = torch.exp(-(gaps**2))  # five referents are all neighbours; itself counts 1
        degree = weight.sum(1)
        weight = weight / (degree[:, None] * degree[None]).sqrt()
        expected = features[0]
        for layer, norm in zip(module.layers, module.norms, strict=True):
            expected = expected + norm(weight @ expected @ layer.weight.T).relu()
        out = module(features, centers, centers, found)[0]
        torch.testing.assert_close(out, expected, atol=1e-5, rtol=1e-4)

    def test_only_edge_convolution_depends_on_sizes_and_directions(self):
        features, centers, found = self.graph()
        sizes, turned = torch.full_like(centers, 0.4), centers[..., [1, 0, 2]]
        for kind, sees in ((GraphConvolution, False), (EdgeConvolution, True)):
            module = randomised(kind, WIDTH)
            plain = module(features, centers, sizes, found)
            grown = module(features, centers, perturbed(sizes, 3).clamp(min=0.1), found)
            mirrored = module(features, turned, sizes, found)
            assert torch.allclose(plain, grown, atol=1e-5) != sees
            assert torch.allclose(plain, mirrored, atol=1e-5) != sees


class TestContext:
    def test_every_referent_attends_to_every_seed_and_no_other_referent(self):
        given = seeds()
        module = randomised(Context, WIDTH, 2)
        clusters = sampled(given, 8)

        def run(features=clusters.features, of=given):
            return module(features, clusters.centers, clusters.found, of)

        before = run()
        for row in range(34):
            moved = touched(before, run(of=replace(given, features=perturbed(given.features, row))))
            assert moved.all()
        for row in range(8):
            moved = touched(before, run(perturbed(clusters.features, row)))
            assert moved.tolist() == [place == row for place in range(8)]
        changed = given.features.clone()
        changed[:, 34:] = 9.0
        assert torch.equal(before, run(of=replace(given, features=changed)))


class TestNetwork:
    def referents(self, model, batch):
        with torch.no_grad():
            return model.psa(batch, model.project_views(batch))

    def test_all_stages_off_leaves_sampled_seed_features(self):
        model, _ = model_with_referents(**OFF, tokens=8)
        batch = small_scene()
        found = self.referents(model, batch)
        chosen = sampled(found.seeds, 8)
        assert torch.equal(found.features, chosen.features) and found.scene is None
        tokens, valid = model.psa.sequence_tokens(found)
        assert tokens.shape == (1, 8, 24) and valid.all()
        place = coordinate_code(found.centers, 24)
        torch.testing.assert_close(tokens, model.psa.project(found.features) + place)

    def test_referents_of_highest_objectness_and_the_scene_are_in_the_sequence(self):
        model, prompt = model_with_referents()
        batch = small_scene()
        found = self.referents(model, batch)
        odds = torch.tensor([[0.0, 3, 1, -2, 5, 4, -1, 2]])
        tokens, valid = model.psa.sequence_tokens(replace(found, objectness=odds))
        each, _ = model.psa.sequence_tokens(replace(found, objectness=-torch.arange(8.0)[None]))
        assert tokens.shape == (1, 6, 24) and valid.all()
        torch.testing.assert_close(tokens[:, 0], each[:, 1])  # the one at place 1 of 8
        mean = model.psa.project(found.features.mean(1))
        torch.testing.assert_close(tokens[:, -1], mean)
        without = small_model()[0].encode_scene(batch, prompt.tokens).prefix_valid.shape[1]
        scene = model.encode_scene(batch, prompt.tokens)
        assert scene.prefix_valid.shape[1] == without + 6 == without + model.config.psa.max_tokens
        none = model_with_referents(tokens=0)[0].encode_scene(batch, prompt.tokens)
        assert none.prefix_valid.shape[1] == without

    @pytest.mark.parametrize("source", ["patches", "points"])
    @pytest.mark.parametrize("identifier", ["token", "added"])
    def test_cached_equals_uncached(self, identifier, source):
        model, prompt = model_with_referents(identifier, source=source, inter="edgeconv")
        assert model.config.tokens_per_object == (3 if identifier == "token" else 1)
        batch = small_scene()
        with torch.no_grad():
            scene = model.encode_scene(batch, prompt.tokens)
        for phrase in PHRASES[:2]:
            scores, states = uncached_scores(model, prompt, batch, phrase)
            for form in FORMS:
                alone = cached_scores(model, prompt, scene, [phrase], form=form)
                torch.testing.assert_close(alone.scores, scores, atol=2e-4, rtol=1e-3)
                torch.testing.assert_close(alone.states[0], states, atol=2e-4, rtol=1e-3)

    def test_a_question_computes_no_referents(self, monkeypatch):
        model, prompt = model_with_referents()
        scene = model.encode_scene(small_scene(), prompt.tokens)
        monkeypatch.setattr(model.psa, "forward", None)
        monkeypatch.setattr(model.psa, "project", None)
        assert cached_scores(model, prompt, scene).scores.isfinite().all()

    @pytest.mark.parametrize("identifier", ["token", "added"])
    def test_a_referent_token_depends_on_the_nearest_referents_only(self, identifier):
        model, _ = model_with_referents(identifier)
        found = self.referents(model, small_scene())
        centers = torch.tensor([[[i * 2.0, 0, 0] for i in range(8)]])
        found = replace(found, centers=centers, valid=torch.ones(1, 8, dtype=torch.bool))
        boxes = torch.tensor([[[0.1, 0, 0, 1, 1, 1], [4.2, 0, 0, 1, 1, 1], [90, 0, 0, 1, 1, 1.0]]])
        before = model.psa.referent_tokens(boxes, found)
        after = model.psa.referent_tokens(
            boxes, replace(found, features=perturbed(found.features, 2))
        )
        assert touched(before, after).tolist() == [False, True, False]
        torch.testing.assert_close(before[:, :1], model.psa.project(found.features[:, :1]))
        torch.testing.assert_close(before[0, 2], model.psa.nothing)

    def test_referents_change_the_scores(self):
        for psa in ({"tokens": 5}, {"tokens": 0}):
            model, prompt = model_with_referents(**psa)
            batch = small_scene()
            first = cached_scores(model, prompt, model.encode_scene(batch, prompt.tokens)).scores
            model.psa.project[2].weight.data *= 2.0
            again = cached_scores(model, prompt, model.encode_scene(batch, prompt.tokens)).scores
            assert not torch.allclose(first, again, atol=1e-3)

    def test_a_scene_without_depth_and_one_without_views_have_none(self):
        model, prompt = model_with_referents()
        batch = small_scene()
        dark = replace(batch, valid=batch.valid & False)
        scene = model.encode_scene(dark, prompt.tokens)
        assert not scene.referents.valid.any()
        assert torch.equal(
            scene.referent_tokens, model.psa.nothing.expand_as(scene.referent_tokens)
        )
        assert cached_scores(model, prompt, scene).scores.isfinite().all()
        from spatial3d_ros.model.batch import SceneBatch

        boxes = SceneBatch(batch.boxes, batch.object_valid)
        scene = model.encode_scene(boxes, prompt.tokens)
        assert scene.referents is None and scene.referent_tokens.shape == (1, 5, 24)
        words = prompt.batch([prompt.grounding("the red chair")], [0])
        scores = model(scene, words, prompt.tokens).scores
        assert scores.isfinite().all()
        scores.sum().backward()
        assert model.psa.nothing.grad.any()

    @pytest.mark.parametrize("source", ["patches", "points"])
    def test_a_scene_batched_with_an_empty_one_scores_as_alone(self, source):
        model, prompt = model_with_referents(source=source, inter="edgeconv")
        batch = small_scene()
        parts = {
            name: torch.cat([value] * 2)
            for name, value in vars(batch).items()
            if isinstance(value, torch.Tensor)
        }
        parts["valid"][0] = False
        both = type(batch)(**parts)
        words = prompt.batch([prompt.grounding("the red chair")] * 2, [0, 1])
        with torch.no_grad():
            scene = model.encode_scene(both, prompt.tokens)
            scores = model(scene, words, prompt.tokens).scores
            alone = cached_scores(
                model, prompt, model.encode_scene(batch, prompt.tokens), ["the red chair"]
            )
        assert scores.isfinite().all()
        torch.testing.assert_close(scores[1:], alone.scores, atol=2e-4, rtol=1e-3)

    @pytest.mark.parametrize("source", ["patches", "points"])
    @pytest.mark.parametrize("inter", ["none", "gcn", "edgeconv"])
    def test_every_parameter_has_a_gradient(self, source, inter):
        model, prompt = model_with_referents(source=source, inter=inter)
        model.train()
        scene = model.encode_scene(small_scene(), prompt.tokens)
        words = prompt.batch([prompt.grounding("the red chair")], [0])
        scores = model(scene, words, prompt.tokens).scores
        (scores[scores.isfinite()].square().sum() + scene.referents.objectness.sum()).backward()
        still = [n for n, p in model.psa.named_parameters() if p.grad is None or not p.grad.any()]
        assert still == []


class TestAsObjects:
    def test_clusters_become_boxes_around_their_seeds(self):
        model, prompt = model_with_referents(seeds=48, referents=16)
        batch = small_scene(views=3)
        with torch.no_grad():
            found = model.psa(batch, model.project_views(batch))
            made, likely = model.propose(batch)
        assert likely.shape == made.boxes.shape[:2] and (likely.diff() <= 0).all()
        assert made.object_valid.all() and 1 < made.boxes.shape[1] <= 16
        assert made.boxes[..., 3:].min() >= SEED_M - 1e-5
        low = (made.boxes[0, :, None, :3] - made.boxes[0, :, None, 3:] / 2) - 1e-5
        high = (made.boxes[0, :, None, :3] + made.boxes[0, :, None, 3:] / 2) + 1e-5
        points = found.seeds.points[0][found.seeds.valid[0]]
        assert ((points >= low) & (points <= high)).all(-1).any(1).all()
        scene = model.encode_scene(made, prompt.tokens)
        scores = cached_scores(model, prompt, scene, ["the red chair"]).scores
        assert scores.shape == (1, made.boxes.shape[1] + 1) and scores.isfinite().all()

    def test_of_overlapping_referents_the_one_of_highest_objectness_stays(self):
        model, _ = model_with_referents()
        with torch.no_grad():
            found = model.psa(small_scene(), model.project_views(small_scene()))
        boxes = torch.zeros(1, 8, 6)
        boxes[..., 3:] = 1.0
        boxes[0, :, 0] = torch.tensor([0.0, 0.1, 5, 5.1, 9, 9.9, 20, 20])
        odds = torch.tensor([[0.0, 1, 2, 1, 5, 4, 3, 9]])
        valid = torch.tensor([[True] * 7 + [False]])
        found = replace(found, boxes=boxes, objectness=odds, valid=valid)
        made, likely = with_referent_objects(small_scene(), found, 100)
        torch.testing.assert_close(likely, torch.tensor([[5.0, 4, 3, 2, 1]]).sigmoid())
        assert made.boxes[0, :, 0].tolist() == pytest.approx([9.0, 9.9, 20, 5, 0.1])
        assert 0 < 0.1 / 1.9 < MAX_IOU  # what 9 and 9.9 share
        fewer, _ = with_referent_objects(small_scene(), found, 2)
        assert fewer.boxes[0, :, 0].tolist() == pytest.approx([9.0, 9.9])
        none, _ = with_referent_objects(small_scene(), replace(found, valid=valid & False), 5)
        assert none.boxes.shape == (1, 0, 6) and none.object_valid.shape == (1, 0)

    def test_refused_without_referents_or_views(self):
        with pytest.raises(ConfigError, match=r"psa\.enabled: true"):
            small_model()[0].propose(small_scene())
        batch = small_scene()
        with pytest.raises(ConfigError, match="give proposals instead"):
            model_with_referents()[0].propose(type(batch)(batch.boxes, batch.object_valid))


class TestLosses:
    def referents(self, seeds_at, votes_at, centers=((0.0, 0, 0),)):
        points, votes, middles = (torch.tensor([x]) for x in (seeds_at, votes_at, centers))
        there = torch.ones(points.shape[:2], dtype=torch.bool)
        found = torch.ones(middles.shape[:2], dtype=torch.bool)
        seeds = Seeds(points, points, there)
        return Referents(middles, middles, middles, found, middles[..., 0], None, seeds, votes)

    def test_seeds_vote_for_the_centre_of_the_smallest_box_around_them(self):
        boxes = torch.tensor(
            [[[0.0, 0, 0, 4, 4, 2], [1.5, 0, 0, 0.5, 0.5, 0.5], [9, 9, 9, 9, 9, 9]]]
        )
        real = torch.tensor([[True, True, False]])
        at = [[-1.0, 0.0, 0.0], [1.6, 0.0, 0.0], [5.0, 5.0, 5.0]]  # on the first, the second, none
        votes = [[-0.5, 0.0, 0.25], [1.5, 0.1, 0.0], [7.0, 7.0, 7.0]]
        found = self.referents(at, votes)
        assert vote_loss(found, boxes, real).item() == pytest.approx((0.75 + 0.1) / 2)
        assert vote_loss(found, boxes, real & False) == 0
        assert vote_loss(found, boxes[:, :0], real[:, :0]) == 0

    def test_objectness_targets_by_distance_to_the_object_centre(self):
        boxes, real = torch.tensor([[[0.0, 0, 0, 1, 1, 1]]]), torch.tensor([[True]])
        centers = [[0.2, 0.0, 0.0], [0.45, 0.0, 0.0], [2.0, 0.0, 0.0]]
        found = self.referents(centers, centers, centers)  # logits are 0.2, 0.45 and 2
        expected = (torch.tensor(-0.2).exp().log1p() + torch.tensor(2.0).exp().log1p()) / 2
        torch.testing.assert_close(objectness_loss(found, boxes, real), expected)
        none = objectness_loss(found, boxes, real & False)
        torch.testing.assert_close(none, torch.tensor([0.2, 0.45, 2]).exp().log1p().mean())
        torch.testing.assert_close(objectness_loss(found, boxes[:, :0], real[:, :0]), none)

    def sample(self, prompt):
        scenes = small_scene()
        words = prompt.batch([prompt.grounding("the red chair", "the red chair")], [0])
        return Sample(
            scenes, words, torch.eye(6, dtype=torch.bool)[:1], torch.zeros(1, 5, 2),
            words.ids.masked_fill(~words.real, -100),
            {head: torch.tensor([[0, 1, 0, 1, -100]]) for head in ("class", "color")},
            {}, ("attribute/color",), (False,),
        )  # fmt: skip

    @pytest.mark.parametrize("weight", [0.0, 0.5])
    def test_referent_losses_are_used_if_their_weight_is_positive(self, weight):
        model, prompt = model_with_referents()
        objective = Objective(model, prompt, LossWeights(vote=weight, objectness=weight))
        loss, figures = objective([self.sample(prompt)])
        loss.backward()
        names = {"rendered/vote", "rendered/objectness"}
        assert (
            (names <= set(figures))
            == (names <= set(objective.metric_names("rendered")))
            == bool(weight)
        )
        assert set(figures) - {"loss"} == set(objective.metric_names("rendered"))
        assert (model.psa.objectness.weight.grad is not None) == bool(weight)
        assert not names & set(objective.metric_names("boxes"))

    def test_without_the_intra_stage_there_is_no_vote_loss(self):
        model, prompt = model_with_referents(intra=False)
        _, figures = Objective(model, prompt, LossWeights())([self.sample(prompt)])
        assert "rendered/objectness" in figures and "rendered/vote" not in figures
        plain, prompt = small_model()
        _, figures = Objective(plain, prompt, LossWeights())([self.sample(prompt)])
        assert "rendered/objectness" not in figures


def test_bench_times_every_stage():
    found = bench_referents("tiny", (3,), views=2, repeats=1)
    steps = {"seeds", "balls_of_seeds", "referents", "balls_of_referents", "total"}
    assert set(found["sampling"]) == {f"{step}_ms" for step in steps}
    stages = found["stages"]["3_objects"]
    assert {"seeds_ms", "intra_ms", "inter_gcn_ms", "inter_edgeconv_ms", "context_ms"} <= set(
        stages
    )
    assert stages["referents"] == 32 and stages["context_ms"]["least"] > 0
    for stage in ("vision", "views_together", "scene_with_referents", "question"):
        assert stages[f"{stage}_ms"]["least"] > 0


def test_the_ablation_changes_the_stages_one_by_one():
    planned = plan(load_ablation(config_path("ablations/psa.yaml")))
    runs = {run.variant: run for run in planned if run.seed == 0}
    full = runs["full"].model
    assert full.object_tokens == "object+referent" and full.psa.referents == 32
    changed = {
        name: {k for k, v in run.model.psa.model_dump().items() if v != getattr(full.psa, k)}
        for name, run in runs.items()
    }
    assert changed["no intra"] == {"intra"} and changed["no inter"] == {"inter"}
    assert changed["no context"] == {"context"}
    assert changed["all stages off"] == {"intra", "inter", "context"}
    assert changed["edgeconv"] == {"inter"} and changed["128 referents"] == {"referents"}
    assert not runs["no referents"].model.psa.enabled
    s2 = next(iter(plan(load_ablation(config_path("ablations/s2.yaml")))))
    assert runs["no referents"].settings == s2.settings  # is trained once for both


class TestConfiguration:
    @pytest.mark.parametrize(
        ("values", "complaint"),
        [
            (
                {"psa": {"seeds": 8, "referents": 9}},
                r"referents \(9\) are chosen among seeds \(8\)",
            ),
            ({"psa": {"width": 30, "heads": 4}}, "multiple of heads"),
            ({"psa": {"inter": "gat"}}, "edgeconv"),
            ({"psa": {"intro": True}}, "Extra inputs"),
            ({"object_tokens": "object+referent"}, r"needs psa\.enabled: true"),
        ],
    )
    def test_invalid_configurations_are_refused(self, values, complaint):
        with pytest.raises(ValidationError, match=complaint):
            small_config(**values)

    def test_off_by_default_and_large_as_in_the_specification(self):
        config = AwarenessConfig()
        assert not config.enabled
        assert (config.points, config.seeds, config.referents) == (40_000, 1024, 256)
        assert (config.width, config.heads, config.tokens, config.max_tokens) == (256, 8, 64, 65)
        assert small_model()[0].psa is None

    def test_all_other_weights_start_the_same(self):
        plain, other = small_model_weights(), small_model_weights(psa=PSA)
        assert all(torch.equal(value, other[name]) for name, value in plain.items())
        assert {n.split(".")[0] for n in other.keys() - plain.keys()} == {"psa"}

    def test_presets_count_them_as_a_trained_part(self, tmp_path):
        import yaml

        path = tmp_path / "small.yaml"
        config = small_config(psa=PSA, object_tokens="object+referent")
        path.write_text(yaml.safe_dump(config.model_dump(mode="json")))
        own = sum(p.numel() for p in model_with_referents()[0].psa.parameters())
        for preset in ("tiny", "lite"):
            parts = trainable_table(str(path), preset)["parts"]
            assert parts["spatial awareness"] == round(own / 1e6, 2)
        assert "spatial awareness" not in trainable_table("llava_video_7b", "lite")["parts"]


def small_model_weights(**parts):
    from spatial3d_ros.model.network import SpatialModel

    torch.manual_seed(0)
    return SpatialModel(small_config(**parts)).state_dict()
