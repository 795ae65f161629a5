"""`grouping: release` equals the public code, written as plain index arithmetic."""

import torch

from spatial3d_ros.model.config import StructureConfig
from spatial3d_ros.model.structure import StructureEnhanced

VIEWS, PATCHES, WIDTH = 3, 4, 8


def module(grouping):
    torch.manual_seed(0)
    config = StructureConfig(heads=2, init="default", grouping=grouping, drop_path=0.0)
    return StructureEnhanced(WIDTH, config).eval()


def by_hand(block, x):
    """One scene (V, P, C): view-major tokens, "inter" groups of V neighbours in that order, "intra"
    groups of every V-th token with token 0 of the scene as one more key.
    """
    tokens = x.reshape(VIEWS * PATCHES, WIDTH)
    normed, mixed = block.norm_inter(tokens), torch.zeros_like(tokens)
    for group in range(PATCHES):
        members = [group * VIEWS + v for v in range(VIEWS)]
        mixed[members] = block.inter_out(block.inter(normed[members][None], None)[0])
    tokens = tokens + mixed
    normed, mixed = block.norm_intra(tokens), torch.zeros_like(tokens)
    for group in range(VIEWS):
        members = [i * VIEWS + group for i in range(PATCHES)]
        mixed[members] = block.intra(normed[[0, *members]][None], None)[0, 1:]
    tokens = tokens + mixed
    return (tokens + block.mlp(block.norm_mlp(tokens))).view_as(x)


def test_release_grouping_equals_its_index_arithmetic():
    block = module("release")
    x = torch.randn(2, VIEWS, PATCHES, WIDTH)
    valid = torch.ones(2, VIEWS, dtype=torch.bool)
    torch.testing.assert_close(block(x, valid), torch.stack([by_hand(block, scene) for scene in x]))


def test_release_inter_groups_stay_inside_one_view_where_clean_ones_join_all():
    x = torch.randn(1, VIEWS, PATCHES, WIDTH)
    y = x.clone()
    y[0, 1, 2] += torch.randn(WIDTH)
    tokens = torch.ones(1, VIEWS, PATCHES, dtype=torch.bool)
    reached = {
        grouping: (module(grouping)._inter(x, tokens) - module(grouping)._inter(y, tokens))
        .abs()
        .amax(-1)[0]
        > 1e-6
        for grouping in ("clean", "release")
    }
    assert reached["clean"].any(1).all()
    assert reached["release"].sum() == VIEWS and not reached["release"].any(1).all()


def test_padded_views_do_not_change_either_grouping():
    valid = torch.tensor([[True, True, False]])
    x = torch.randn(1, VIEWS, PATCHES, WIDTH)
    y = x.clone()
    y[:, 2] += torch.randn(PATCHES, WIDTH)
    for grouping in ("clean", "release"):
        block = module(grouping)
        torch.testing.assert_close(block(x, valid)[:, :2], block(y, valid)[:, :2])
        assert torch.isfinite(block(x, torch.zeros_like(valid))).all()
