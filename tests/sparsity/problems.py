"""Masks that tests of masks, of their bits and of their files share."""

import torch


def random_mask(shape, seed=0):
    return torch.rand(tuple(shape), generator=torch.Generator().manual_seed(seed)) < 0.5
