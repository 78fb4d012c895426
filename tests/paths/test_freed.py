"""Subspaces between a mask and everything: nested, and at both ends what there was before."""

import numpy as np
import pytest
import torch

from lightning_sparse.errors import UserError
from lightning_sparse.files.tensor_files import load_tensors
from lightning_sparse.paths.curves import Bezier
from lightning_sparse.paths.freed import Freed, loss_gradients, with_share
from lightning_sparse.paths.run import PathIdentity, PathRun
from lightning_sparse.planning.runs import plan_path
from lightning_sparse.rises import descent
from lightning_sparse.settings.compose import compose_settings
from lightning_sparse.sparsity.masks import layer_counts
from tests.paths.test_run import EVALUATION
from tests.training.problems import make_data, make_network, make_settings, same_bits

ORDERS = ("random", "gradient", "magnitude")


@pytest.fixture
def masks_of(ends):
    def free(share, order="random", seed=1):
        freed = Freed(share=share, order=order, other=ends[1].state)
        return freed.masks(
            ends[1].masks, network=make_network(), state=ends[0].state, data=make_data(), seed=seed
        )

    return free


def fit(ends, folder, *, space="end_mask", freed=None, search_seed=None):
    """Fit and measure a curve; return its control points and record."""
    identity = PathIdentity(
        run_id="path", experiment="tests", seed=1, target_sparsity=0.4, search_seed=search_seed
    )
    record = PathRun(
        network=make_network(seed=7), data=make_data(), start=ends[0], end=ends[1],
        curve=Bezier(2), space=space, freed=freed,
        settings=make_settings(num_steps=10, weight_decay=0.01), evaluation=EVALUATION,
        identity=identity, run_dir=folder,
        trainer_options={"accelerator": "cpu", "devices": 1},
    ).make()  # fmt: skip
    return load_tensors(folder / "control_points.safetensors"), record


def test_nothing_freed_is_the_sparse_curve_and_everything_the_dense_one_bit_for_bit(ends, tmp_path):
    made = {
        name: fit(ends, tmp_path / name, **options)
        for name, options in {
            "sparse": {},
            "nothing": {"freed": Freed(share=0.0, order="random")},
            "half": {"freed": Freed(share=0.5, order="random")},
            "everything": {"freed": Freed(share=1.0, order="gradient")},
            "dense": {"space": "dense"},
            "again": {"search_seed": 1},
        }.items()
    }
    assert same_bits(made["nothing"][0], made["sparse"][0])
    assert same_bits(made["everything"][0], made["dense"][0])
    assert made["nothing"][1].points == made["sparse"][1].points
    assert made["everything"][1].points == made["dense"][1].points
    assert not same_bits(made["half"][0], made["sparse"][0])
    assert not same_bits(made["half"][0], made["dense"][0])
    assert made["sparse"][1].kept < made["half"][1].kept < made["dense"][1].kept
    assert not same_bits(made["again"][0], made["sparse"][0])


@pytest.mark.parametrize("order", ORDERS)
def test_sets_are_nested_and_count_whole_numbers_of_each_layer(ends, masks_of, order):
    masks, kept = ends[1].masks, layer_counts(ends[1].masks)
    smaller = masks
    for share in (0.0, 0.1, 0.29, 0.5, 1.0):
        larger = masks_of(share, order)
        for name, layer in layer_counts(larger).items():
            outside = kept[name].prunable - kept[name].kept
            assert layer.kept - kept[name].kept == round(share * 100) * outside // 100
            assert not bool((smaller[name] & ~larger[name]).any())
        smaller = larger


def test_the_largest_gradients_and_magnitudes_come_first(ends, masks_of):
    gradients = loss_gradients(make_network(), ends[0].state, make_data())
    for order, weights in (("gradient", gradients), ("magnitude", ends[1].state)):
        for name, mask in masks_of(0.3, order).items():
            outside = ~ends[1].masks[name]
            sizes = weights[name].abs()
            if bool((mask & outside).any()):
                assert sizes[mask & outside].min() >= sizes[~mask].max()


def test_a_gradient_is_that_of_the_mean_loss_in_evaluation_mode(ends):
    network = make_network(seed=3)
    network.load_state_dict(ends[0].state)
    network.eval()
    batches = list(make_data().train_subset_batches())
    images, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))
    torch.nn.functional.cross_entropy(network(images), labels).backward()
    found = loss_gradients(make_network(), ends[0].state, make_data())
    for name, gradient in found.items():
        assert torch.allclose(gradient, network.get_parameter(name).grad, atol=1e-6)


def test_random_orders_differ_by_seed_and_magnitudes_need_somebodys(masks_of, ends):
    first, again, other = masks_of(0.5), masks_of(0.5), masks_of(0.5, seed=2)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)
    with pytest.raises(UserError, match="needs the weights of a dense run"):
        Freed(share=0.1, order="magnitude").masks(
            ends[1].masks, network=make_network(), state=ends[0].state, data=make_data(), seed=1
        )


def test_nothing_can_be_freed_where_all_is_free():
    with pytest.raises(UserError, match=r"path\.space=dense leaves out nothing"):
        plan_path(compose_settings(["path.space=dense", "path.freed_share=0.5"]))


def test_a_share_makes_another_path_and_magnitudes_need_the_dense_run():
    words = ["experiment=smoke", "path.freed_share=0.5"]
    plans = {
        order: plan_path(compose_settings([*words, f"path.freed_order={order}"]))
        for order in ORDERS
    }
    assert len({job.run_id for job in plans.values()}) == 3
    assert [len(plans[order].needs) for order in ORDERS] == [2, 2, 3]


def landscape(a, b):
    """A ring of solutions around a hill of height 1, of which a mask on a leaves two points."""
    return (1 - a**2 - b**2) ** 2


def test_the_way_over_the_hill_climbs_by_its_height_and_the_way_around_it_by_nothing():
    ts = np.linspace(0, 1, 401)
    inside = landscape(2 * ts - 1, 0.0)
    around = landscape(-np.cos(np.pi * ts), np.sin(np.pi * ts))
    masked = descent(ts.tolist(), inside.tolist())

    assert (masked.value, masked.to_t) == (pytest.approx(1, abs=1e-12), 0.5)
    assert descent(ts.tolist(), around.tolist()).value < 1e-12


def test_a_coordinate_alone_can_open_the_way_and_inert_ones_cannot():
    """Known truth: which of N coordinates are free decides, and a random order finds it late."""
    num_coordinates = 20
    masks = {"w": torch.zeros(num_coordinates + 1, dtype=torch.bool)}
    masks["w"][0] = True  # a; b is the second, all others are inert
    found = []
    for seed in range(100):
        scores = torch.rand(num_coordinates + 1, generator=torch.Generator().manual_seed(seed))
        shares = [k / num_coordinates for k in range(1, num_coordinates + 1)]
        opened = (x for x in shares if with_share(masks, {"w": scores}, x)["w"][1])
        found.append(next(opened))
    # Uniform on {1/N, ..., 1}: mean (N + 1) / 2N.
    assert sum(found) / len(found) == pytest.approx(0.525, abs=0.06)
    # Where b is replaced by b - 0.1, the gradient at a = -1 is along b alone.
    gradient = torch.zeros(num_coordinates + 1)
    gradient[1] = 1.0
    assert with_share(masks, {"w": gradient}, 1 / num_coordinates)["w"][1]
