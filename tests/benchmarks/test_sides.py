"""The sides of a row do the same work: nothing is faster by computing something else."""

import pytest
import torch

from benchmarks.evaluation import Work
from benchmarks.layer_twins import CurveNetwork
from benchmarks.rows.mask_update import by_sort, by_topk
from benchmarks.rows.masked_step import _masked_by, _parametrize_, _prune_
from benchmarks.workloads import SPARSITY, Scale, masked_step, masks_of, random_batch, resnet50
from lightning_sparse.data.digits import build_digits
from lightning_sparse.models.convnet import ConvNet
from lightning_sparse.models.prunable import prunable_weights
from lightning_sparse.paths.curves import Bezier
from lightning_sparse.paths.path_module import PathModule
from lightning_sparse.sparsity.distributions import Uniform
from lightning_sparse.sparsity.methods.gradual_magnitude import GradualMagnitude
from lightning_sparse.sparsity.view import SparseView
from tests.reference.curve_points import plain_point
from tests.training.problems import make_network, make_settings

TINY = Scale(is_tiny=True)


def test_all_ways_to_update_masks_agree():
    weights = prunable_weights(resnet50(TINY))
    method = GradualMagnitude(
        sparsity=SPARSITY, start_step=0, end_step=1, update_every=1, distribution=Uniform()
    )

    ours = method.updated_masks(SparseView.at_start(weights, step=1))

    for theirs in (by_topk(weights), by_sort(weights)):
        assert all(torch.equal(mask, theirs[name]) for name, mask in ours.items())


@pytest.mark.parametrize("peer_", [_prune_, _parametrize_])
def test_masked_steps_of_all_sides_agree_on_the_kept_weights(monkeypatch, peer_):
    """Weights that a peer keeps under its mask differ, but what the network computes does not."""
    networks = []

    def kept_network(scale):
        networks.append(resnet50(scale))
        return networks[-1]

    for module in ("workloads", "rows.masked_step"):
        monkeypatch.setattr(f"benchmarks.{module}.resnet50", kept_network)
    batch = random_batch(4, 16, TINY)

    steps = [masked_step(TINY, batch), _masked_by(peer_, TINY, batch)]
    for step in steps:
        step()
        step()

    ours, theirs = (network(batch[0]) for network in networks)
    untrained = resnet50(TINY)(batch[0])
    assert torch.allclose(ours, theirs, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(ours, untrained, rtol=1e-3, atol=1e-3)


def test_layer_twins_compute_what_the_path_module_does():
    start, end = (make_network(seed).state_dict() for seed in (1, 2))
    module = PathModule(
        network=make_network(), start=start, end=end, curve=Bezier(2), subspace=None,
        settings=make_settings(weight_decay=0.0), seed=1,
    )  # fmt: skip
    middle = {name: (value + end[name]) / 2 for name, value in start.items()}
    twins = CurveNetwork(make_network(), [start, middle, end]).train()
    images, labels = torch.randn(8, 1, 6, 6), torch.arange(8) % 3

    logits, squared_norm = twins(images, module.draw_t(0))

    loss = torch.nn.functional.cross_entropy(logits, labels)
    assert torch.allclose(loss, module.training_step((images, labels), 0), rtol=1e-5)
    vector = plain_point(module, module.draw_t(0))
    assert torch.allclose(squared_norm, vector.square().sum(), rtol=1e-5)
    loss.backward()
    assert sum(parameter.grad is not None for parameter in twins.parameters()) == 8


def test_masks_of_a_workload_have_the_sparsity_that_is_named():
    masks = masks_of(resnet50(TINY)).values()

    kept = sum(int(mask.sum()) for mask in masks) / sum(mask.numel() for mask in masks)
    assert kept == pytest.approx(1 - SPARSITY, abs=0.01)


def test_points_evaluated_together_and_one_by_one_have_the_same_losses():
    work = Work(build_digits(), 16, num_points=8)

    together, one_by_one = work.together(), work.one_by_one()

    assert together == pytest.approx(one_by_one, rel=1e-6)
    assert len(set(together)) == 8


def test_bare_passes_see_as_many_images_as_the_points_do():
    class Counting(ConvNet):
        num_images = 0

        def forward(self, images):
            Counting.num_images += len(images)
            return super().forward(images)

    work = Work(build_digits(), 16, num_points=8, constructor=Counting)
    passes = work.bare_passes()

    counts = []
    for way in (work.together, passes):
        Counting.num_images = 0
        way()
        counts.append(Counting.num_images)

    assert counts[0] == counts[1] > 8 * 16
