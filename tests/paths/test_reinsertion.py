"""Bends that go where the loss between them is highest, and a fit that may be killed meanwhile."""

import pytest
import torch
from torch import nn

from lightning_sparse.errors import UserError
from lightning_sparse.paths.curves import PolygonalChain
from lightning_sparse.paths.geometry import point_on_curve
from lightning_sparse.paths.path_module import PathModule
from lightning_sparse.paths.reinsertion import chosen_move, middles, moved, shortcuts
from lightning_sparse.process.preemption import Preempted
from lightning_sparse.training.checkpoints import RunCheckpoints, fit_resumably
from tests.paths.test_path_module import StopAt, make_module, run
from tests.training.problems import make_data, make_masks, make_settings


def test_what_touches_the_highest_piece_stays_and_of_the_others_the_least_needed_goes():
    # Pieces lie between points; bend k lies between pieces k and k + 1.
    assert chosen_move([9, 1, 1, 1], [0, 3, 2]) == (2, 0)
    assert chosen_move([1, 1, 1, 9], [3, 2, 0]) == (1, 3)
    assert chosen_move([1, 9, 1, 1], [0, 0, 8]) == (2, 1)
    assert chosen_move([1, 9, 1, 1], [0, 0, 9]) is None
    assert chosen_move([9, 1], [0]) is None


@pytest.mark.parametrize("move", [(0, 2), (0, 4), (2, 0), (4, 1), (3, 1)])
def test_a_chain_keeps_its_other_bends_in_order_and_goes_through_the_new_one(move):
    points = torch.randn(7, 3, generator=torch.Generator().manual_seed(1))
    new = middles(points)[move[1]]
    inner = moved(points[1:-1], move, new)
    assert inner.shape == (5, 3)
    walked = [tuple(row) for row in torch.cat([points[:1], inner, points[-1:]]).tolist()]
    place = walked.index(tuple(new.tolist()))
    # The new bend lies between the ends of its piece, both of which are still there.
    around = [walked[place - 1], walked[place + 1]]
    assert around == [tuple(points[move[1]].tolist()), tuple(points[move[1] + 1].tolist())]
    kept = [tuple(row) for k, row in enumerate(points.tolist()) if k != move[0] + 1]
    assert [row for row in walked if row != tuple(new.tolist())] == kept


class Place(nn.Module):
    """A network that is a place in the plane, whatever it is shown."""

    def __init__(self):
        super().__init__()
        self.place = nn.Linear(2, 1, bias=False)

    def forward(self, images):
        return self.place.weight.expand(len(images), 2)


def ring(place, _):
    """Known truth: a ring of solutions around a hill of height 1."""
    return ((1 - place.square().sum(dim=1)) ** 2).mean()


def on_ring(*degrees):
    angles = torch.tensor(degrees).deg2rad()
    return torch.stack([angles.cos(), angles.sin()], dim=1)


def at(place):
    return {"place.weight": torch.tensor([place])}


def test_the_piece_over_the_hill_gets_a_bend_from_where_the_chain_is_nearly_straight():
    """Four of five bends crowd at the start, and the last piece cuts through the hill."""
    module = PathModule(
        network=Place(), start=at([-1.0, 0.0]), end=at([1.0, 0.0]), seed=1, loss=ring,
        curve=PolygonalChain(5, reinsertions=1),
        settings=make_settings(num_steps=4, learning_rate=1e-9),
        probe_batches=make_data().probe_batches,
    )  # fmt: skip
    module.control_points.data = on_ring(170.0, 165.0, 160.0, 150.0, 120.0)
    before = module.all_points.detach()

    def highest(points):
        ts = [k / 600 for k in range(601)]
        walk = torch.stack([point_on_curve(module.curve, points, t) for t in ts])
        return max(float(ring(place[None], None)) for place in walk)

    # A fit that moves nothing else.
    run(module, num_steps=4)
    after = module.all_points.detach().round(decimals=6)
    before = before.round(decimals=6)

    assert highest(before) > 0.5
    assert torch.allclose(after[-2], (before[-2] + before[-1]) / 2, atol=1e-5)
    assert len(set(map(tuple, before.tolist())) - set(map(tuple, after.tolist()))) == 1
    # Where a bend was spared the chain has not become worse than it is elsewhere.
    assert highest(after) == pytest.approx(highest(before), abs=1e-4)
    of_shortcuts = [float(ring(place[None], None)) for place in shortcuts(before)]
    spared = min(range(4), key=of_shortcuts.__getitem__)
    assert tuple(before[spared + 1].tolist()) not in set(map(tuple, after.tolist()))


def fitted(folder, *stops, reinsertions=3, **changes):
    data = make_data()
    module = make_module(
        curve=PolygonalChain(5, reinsertions=reinsertions),
        masks=make_masks(),
        probe_batches=data.probe_batches,
        **changes,
    )
    # Far from straight, so that some pieces are worse than others.
    noise = torch.randn(module.control_points.shape, generator=torch.Generator().manual_seed(5))
    module.control_points.data += 0.5 * noise * module._subspace
    options = {"accelerator": "cpu", "devices": 1}
    checkpoints = RunCheckpoints(folder, None, {})
    fit_resumably(module, data, 12, [*map(StopAt, stops)], options, checkpoints)
    return module


@pytest.mark.parametrize("stop", [3, 7])
def test_a_fit_that_was_killed_goes_on_as_if_it_had_not_been_also_right_before_a_bend_moves(
    stop, tmp_path
):
    with pytest.raises(Preempted):
        fitted(tmp_path / "cut", stop)
    straight = fitted(tmp_path / "straight")
    resumed = fitted(tmp_path / "cut")
    assert straight.curve.reinserts_at(12) == [3, 6, 9]
    assert torch.equal(resumed.control_points, straight.control_points)


def test_bends_stay_in_the_mask_and_without_reinsertions_the_chain_is_the_plain_one(tmp_path):
    plain, moving = (fitted(tmp_path / str(number), reinsertions=number) for number in (0, 3))
    outside = moving._subspace == 0
    assert bool(outside.any())
    assert not bool(moving.control_points[:, outside].any())
    assert not torch.equal(plain.control_points, moving.control_points)
    assert plain.curve == PolygonalChain(5)


def test_a_chain_whose_bends_move_is_refused_without_batches_to_move_them_by():
    with pytest.raises(UserError, match=r"moves its bends by .* give a function .* probe_batches"):
        make_module(curve=PolygonalChain(5, reinsertions=1))
