"""Reconstruction guidance (METHODS 1.9): its loss, its targets; no question pays for it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from helpers.small_model import small_config, small_model, small_scene
from spatial3d_ros.errors import ConfigError
from spatial3d_ros.geometry.pose import look_at
from spatial3d_ros.model import network
from spatial3d_ros.model.network import SpatialModel
from spatial3d_ros.research.training import reconstruction
from spatial3d_ros.research.training.reconstruction import (
    Pointmap,
    Reconstruction,
    build_guidance,
    pointmap_loss,
    pointmap_targets,
)

ALPHA = 0.2


def config(**sg):
    return small_config(
        s2={"se": {"heads": 2}, "sg": {"enabled": True, "width": 16, "layers": 2, "heads": 2} | sg}
    )


def scene(views=3, seed=0):
    """A scene with cameras; its points lie in front of none of them in particular."""
    poses = [look_at((0.5 * i, -2.0, 1.5), (0.0, 0.3 * i, 0.5)) for i in range(views)]
    return replace(small_scene(seed, views), poses=torch.tensor(np.array(poses)).float()[None])


def branch(**sg):
    torch.manual_seed(0)
    return Reconstruction(config(**sg))


def projected(batch, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*batch.points.shape[:2], 16, 24, generator=generator)


def test_a_perfect_prediction_leaves_the_confidence_alone():
    torch.manual_seed(0)
    target, valid = torch.randn(2, 3, 4, 4, 3), torch.rand(2, 3, 4, 4) > 0.3
    sure = 1 + torch.rand(2, 3, 4, 4).exp()
    pixels = valid.sum((2, 3))
    wanted = -ALPHA * ((sure.log() * valid).sum((2, 3)) / pixels).mean()
    for scale in (1.0, 7.0):  # known up to one scale
        found = pointmap_loss(Pointmap(scale * target, sure, False), target, valid, ALPHA)
        torch.testing.assert_close(found, wanted)
    shifted = pointmap_loss(Pointmap(target + 1, sure, False), target, valid, ALPHA)
    assert shifted > wanted + 0.1


def test_the_loss_by_hand():
    target = torch.tensor([[0.0, 0, 2.0], [0, 0, 4.0]]).view(1, 1, 1, 2, 3)
    guess = torch.tensor([[0.0, 0, 1.0], [0, 0, 1.0]]).view(1, 1, 1, 2, 3)
    sure = torch.tensor([2.0, 3.0]).view(1, 1, 1, 2)
    known = torch.ones(1, 1, 1, 2, dtype=torch.bool)
    # Mean distances are 3 and 1: targets 2/3 and 4/3, guesses 1 and 1, errors 1/3 and 1/3.
    wanted = (2 / 3 - ALPHA * torch.tensor(2.0).log() + 1 - ALPHA * torch.tensor(3.0).log()) / 2
    torch.testing.assert_close(
        pointmap_loss(Pointmap(guess, sure, False), target, known, 0.2), wanted
    )


def test_targets_are_metres_in_the_frame_of_the_first_view_or_of_each():
    batch = scene(views=2)
    # The first camera stands at (1, 2, 1.5) and looks along +y: right is +x, down is -z.
    first = look_at((1.0, 2.0, 1.5), (1.0, 5.0, 1.5))
    second = look_at((1.0, 6.0, 1.5), (1.0, 3.0, 1.5))  # faces the first one
    points = torch.zeros_like(batch.points)
    points[...] = torch.tensor([1.5, 4.0, 1.2])
    poses = torch.tensor(np.array([first, second])).float()[None]
    known = torch.ones_like(batch.valid)
    batch = replace(batch, points=points, poses=poses, valid=known)
    target, valid = pointmap_targets(batch, 32, 16, local=False)
    assert target.shape == (1, 2, 16, 16, 3) and target.dtype == torch.float32 and valid.all()
    torch.testing.assert_close(target, torch.tensor([0.5, 0.3, 2.0]).expand_as(target))
    own, _ = pointmap_targets(batch, 32, 16, local=True)
    torch.testing.assert_close(own[:, 0], target[:, 0])
    torch.testing.assert_close(own[:, 1], torch.tensor([-0.5, 0.3, 2.0]).expand_as(own[:, 1]))


def test_targets_pick_every_second_pixel_of_the_patches():
    batch = scene()
    target, valid = pointmap_targets(batch, 32, 16, local=False)
    assert torch.equal(valid, batch.valid[:, :, 1::2, 1::2])
    world = torch.einsum("ij,bvhwj->bvhwi", batch.poses[0, 0, :3, :3], target)
    world = world + batch.poses[0, 0, :3, 3]
    torch.testing.assert_close(world, batch.points[:, :, 1::2, 1::2], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("local", [False, True])
def test_without_depth_the_loss_is_finite_and_such_views_do_not_count(local):
    batch, module = scene(), branch(local=local)
    features = projected(batch).requires_grad_()
    blind = batch.valid.clone()
    blind[:, 2] = False
    loss = module(features, replace(batch, valid=blind))
    moved = replace(batch, valid=blind, points=batch.points + 100 * ~blind[..., None])
    torch.testing.assert_close(loss, module(features, moved))
    nothing = module(features, replace(batch, valid=torch.zeros_like(blind)))
    assert nothing == 0 and torch.isfinite(loss)
    (loss + nothing).backward()
    assert torch.isfinite(features.grad).all() and features.grad.abs().sum() > 0
    grads = [p.grad for p in module.parameters() if p.grad is not None]
    assert grads and all(torch.isfinite(grad).all() for grad in grads)


def test_padded_views_do_not_count():
    two, three = scene(views=2), scene(views=3, seed=1)
    fields = ("pixels", "points", "valid", "rays", "view_valid", "poses")
    padded = replace(
        three, **{f: torch.cat([getattr(two, f), getattr(three, f)[:, 2:]], 1) for f in fields}
    )
    padded.view_valid[:, 2] = False
    module, features = branch(), projected(three)
    torch.testing.assert_close(module(features, padded), module(features[:, :2], two))
    assert not torch.isclose(module(features, three), module(features, padded))


def test_local_adds_a_pointmap_in_every_camera():
    batch = scene()
    both, one = branch(local=True), branch()
    guesses = both.decoder(both.input(projected(batch)), batch.view_valid)
    assert [guess.local for guess in guesses] == [False, True]
    assert all(guess.points.shape == (1, 3, 16, 16, 3) for guess in guesses)
    assert all((guess.confidence > 1).all() for guess in guesses)
    assert len(one.decoder(one.input(projected(batch)), batch.view_valid)) == 1
    parts = [
        pointmap_loss(guess, *pointmap_targets(batch, 32, 16, guess.local), ALPHA)
        for guess in guesses
    ]
    torch.testing.assert_close(both(projected(batch), batch), sum(parts))


def test_another_decoder_is_plugged_in_behind_the_same_interface():
    batch = scene()
    lacking = branch(backend="external")
    with pytest.raises(ConfigError, match=r"s2\.sg\.backend: external needs a decoder"):
        lacking(projected(batch), batch)
    assert [name for name, _ in lacking.named_parameters()] == ["input.weight", "input.bias"]

    def flat(features, view_valid):
        assert features.shape == (1, 3, 16, 16) and view_valid.shape == (1, 3)
        points = features[..., :3].unflatten(2, (4, 4))
        return [Pointmap(points, torch.ones_like(points[..., 0]), False)]

    module = build_guidance(config(backend="external"), flat)
    loss = module(projected(batch), batch)
    loss.backward()
    assert loss > 0 and module.input.weight.grad.abs().sum() > 0
    with pytest.raises(ConfigError, match="no camera poses"):
        module(projected(batch), replace(batch, poses=None))


def test_no_question_builds_or_calls_it(monkeypatch):
    def forbidden(*_, **__):
        raise AssertionError("guidance belongs to training alone")

    for part in ("Reconstruction.__init__", "Reconstruction.forward", "OwnDecoder.forward"):
        owner, _, method = part.rpartition(".")
        monkeypatch.setattr(getattr(reconstruction, owner), method, forbidden)
    guided, plain = config(), config(enabled=False)
    assert SpatialModel(guided).state_dict().keys() == SpatialModel(plain).state_dict().keys()
    assert not hasattr(network, "build_guidance")
    model, prompt = small_model(s2=guided.s2.model_dump())
    batch = scene()
    with torch.no_grad():
        read = model.encode_scene(batch, prompt.tokens)
        words = prompt.batch([prompt.grounding("the red chair")], [0])
        scores = model(read, words, prompt.tokens).scores
        without = model.encode_scene(replace(batch, poses=None), prompt.tokens)
        assert torch.equal(model(without, words, prompt.tokens).scores, scores)
    assert torch.isfinite(scores).all() and scores.shape == (1, 6)
