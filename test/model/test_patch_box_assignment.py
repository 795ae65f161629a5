"""Patches and colors of boxes against a plain loop over all pixels (METHODS 1.7)."""

from __future__ import annotations

import pytest
import torch

from spatial3d_ros.model.patch_box_assignment import assign_patches


def plain(points, valid, boxes, images, patch, grid, fraction):
    """Every pixel of the grid for every box of every scene."""
    size = grid * patch
    low, high = boxes[..., :3] - boxes[..., 3:] / 2, boxes[..., :3] + boxes[..., 3:] / 2
    members, pixels, colors = [], [], []
    for b in range(len(boxes)):
        where, real = points[b, :, :size, :size], valid[b, :, :size, :size]
        color = (images[b, :, :, :size, :size].movedim(1, -1) + 1) / 2
        for n in range(boxes.shape[1]):
            inside = ((where >= low[b, n]) & (where <= high[b, n])).all(-1) & real
            cells = inside.unflatten(-1, (grid, patch)).unflatten(-3, (grid, patch))
            members.append((cells.sum((-1, -3)) >= fraction * patch * patch).flatten())
            pixels.append(inside.sum())
            colors.append(color[inside].mean(0))
    shape = boxes.shape[:2]
    stacked = (torch.stack(part).unflatten(0, shape) for part in (members, pixels, colors))
    return tuple(stacked)


def scene(seed, batch=2, views=3, size=33):
    random = torch.Generator().manual_seed(seed)
    ramp = torch.linspace(-2, 2, size)
    down, right = torch.meshgrid(ramp, ramp, indexing="ij")
    points = torch.stack([right, down, right * down], -1).expand(batch, views, size, size, 3)
    points = points + 0.3 * torch.randn(batch, views, 1, 1, 3, generator=random)
    points = (points * 8).round() / 8  # many points exactly on the faces of boxes
    valid = torch.rand(batch, views, size, size, generator=random) > 0.1
    points[torch.rand(valid.shape, generator=random) > 0.98] = torch.nan
    center = torch.randint(-16, 17, (batch, 7, 3), generator=random) / 8
    extent = torch.randint(0, 24, (batch, 7, 3), generator=random) / 4
    images = torch.rand(batch, views, 3, size, size, generator=random) * 2 - 1
    return points, valid, torch.cat([center, extent], -1), images


@pytest.mark.parametrize("seed", range(20))
def test_equals_the_plain_pass(seed):
    points, valid, boxes, images = scene(seed)
    patches, pixels, colors = plain(points, valid, boxes, images, 4, 8, 0.5)
    ours = assign_patches(points, valid, boxes, patch=4, grid=8, fraction=0.5, images=images)
    assert patches.any() and not patches.all()
    assert torch.equal(ours.patches, patches) and torch.equal(ours.pixels, pixels)
    torch.testing.assert_close(ours.colors, colors, equal_nan=True, rtol=1e-4, atol=1e-5)


def test_without_images_colors_are_unknown():
    points, valid, boxes, _ = scene(0)
    assert assign_patches(points, valid, boxes, patch=4, grid=8, fraction=0.5).colors.isnan().all()


def test_without_boxes_or_depth():
    points, valid, boxes, images = scene(0)
    options = {"patch": 4, "grid": 8, "fraction": 0.5, "images": images}
    assert assign_patches(points, valid, boxes[:, :0], **options).patches.shape == (2, 0, 192)
    blind = assign_patches(points, torch.zeros_like(valid), boxes, **options)
    assert not blind.patches.any() and not blind.pixels.any() and blind.colors.isnan().all()


def test_boxes_are_closed_and_missing_depth_is_outside():
    points = torch.tensor([[0.0, 0, 0], [1, 0, 0], [1.01, 0, 0], [0.5, 0, 0]]).view(1, 1, 2, 2, 3)
    valid = torch.tensor([[[[True, True], [True, False]]]])
    boxes = torch.tensor([[[0.5, 0, 0, 1.0, 1, 1]]])
    images = torch.zeros(1, 1, 3, 2, 2)
    images[0, 0, 0] = torch.tensor([[1.0, -1.0], [1.0, 1.0]])
    for fraction, belongs in ((0.5, True), (0.51, False)):
        found = assign_patches(
            points, valid, boxes, patch=2, grid=1, fraction=fraction, images=images
        )
        assert found.pixels.tolist() == [[2]] and found.patches.tolist() == [[[belongs]]]
        assert found.colors[0, 0].tolist() == [0.5, 0.5, 0.5]
    far = boxes + torch.tensor([9.0, 0, 0, 0, 0, 0])
    empty = assign_patches(points, valid, far, patch=2, grid=1, fraction=0.5, images=images)
    assert empty.pixels.tolist() == [[0]] and empty.colors.isnan().all()
