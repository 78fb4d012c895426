import random

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from lightning_sparse.errors import UserError
from lightning_sparse.models.build import build_model
from lightning_sparse.models.starts import check_starts
from tests.training.problems import SOURCE

ENTROPY = np.random.default_rng(1)


class Net(nn.Module):
    """A network whose weights come from where a test says."""

    def __init__(self, draw=None, own_seed=None):
        super().__init__()
        if own_seed is not None:
            torch.manual_seed(own_seed)
        self.hidden = nn.Linear(36, 5)
        self.head = nn.Linear(5, 3)
        if draw is not None:
            self.head.weight.data = torch.tensor(draw(15), dtype=torch.float32).view(3, 5)
            self.hidden.weight.data = torch.tensor(draw(180), dtype=torch.float32).view(5, 36)

    def forward(self, images):
        return self.head(self.hidden(images.flatten(1)).relu())


DRAWS = {
    "NumPy": np.random.standard_normal,
    "SciPy": lambda size: stats.truncnorm.rvs(-2, 2, size=size),
    "Python": lambda size: [random.gauss(0, 1) for _ in range(size)],
    "torch": lambda size: torch.randn(size).tolist(),
}


def build(stream="init", seed=1, **options):
    return build_model(lambda: Net(**options), SOURCE, seed, stream)


def check(stream, **options):
    return check_starts(build(stream, **options), stream, lambda other: build(other, **options))


@pytest.mark.parametrize("library", DRAWS)
def test_whichever_generator_a_constructor_draws_from_it_follows_seed_and_stream(library):
    def weight(stream, seed):
        return build(stream, seed, draw=DRAWS[library]).hidden.weight

    first = weight("init", 1)
    assert torch.equal(weight("init", 1), first)
    assert not torch.equal(weight("init/scratch", 1), first)
    assert not torch.equal(weight("init", 2), first)
    assert check("init", draw=DRAWS[library]) == []
    assert check("init/scratch", draw=DRAWS[library]) == []


def test_a_constructor_that_seeds_itself_is_refused_for_the_scratch_arm_and_said_for_others():
    with pytest.raises(UserError, match=r"start weights are the same from .*init/scratch as from"):
        check("init/scratch", own_seed=0)
    (remark,) = check("init", own_seed=0)
    assert "the same for every seed" in remark


def test_a_constructor_that_cannot_be_repeated_is_refused():
    with pytest.raises(UserError, match=r"built twice .* differ \(hidden.weight, head.weight\)"):
        check("init", draw=ENTROPY.standard_normal)


def test_a_part_that_is_the_same_everywhere_is_named():
    class Half(Net):
        def __init__(self):
            super().__init__()
            self.hidden.weight.data = torch.linspace(-1, 1, 180).view(5, 36)

    def build_half(stream):
        return build_model(Half, SOURCE, 1, stream)

    (remark,) = check_starts(build_half("init/scratch"), "init/scratch", build_half)
    assert remark.endswith("in every arm and for every seed: hidden.weight")


def test_weights_that_are_one_number_are_no_sign_of_equal_starts():
    class ZeroHead(Net):
        def __init__(self):
            super().__init__()
            nn.init.zeros_(self.head.weight)

    def build_zero(stream):
        return build_model(ZeroHead, SOURCE, 1, stream)

    assert check_starts(build_zero("init/scratch"), "init/scratch", build_zero) == []
