"""Curvature by products, against the exact matrices of small networks."""

import numpy as np
import pytest
import torch

from lightning_sparse.analysis.spectra import density, extremes, mean_eigenvalue, negative_share
from lightning_sparse.models.batch_norm import recalibrate_
from lightning_sparse.models.prunable import prunable_weights
from lightning_sparse.paths.curvature import (
    Curvature,
    quadrature,
    quadratures,
)
from lightning_sparse.records import Spectrum
from tests.reference.curvature import exact_matrices
from tests.training.problems import TwoLayers, make_data, make_masks, make_network

BATCHES = [*make_data().train_subset_batches()]


@pytest.fixture(scope="module")
def network():
    """With statistics that are not those of its start, in evaluation mode."""
    made = make_network(seed=3)
    recalibrate_(made, (images for images, _ in BATCHES))
    return made


@pytest.fixture(scope="module")
def matrices(network):
    return exact_matrices(make_like(network), BATCHES)


@pytest.mark.parametrize("masks", [None, make_masks()], ids=["dense space", "mask"])
def test_products_are_those_with_the_exact_matrices(network, matrices, masks):
    curvature = Curvature(network, BATCHES, masks)
    size = curvature.num_coordinates
    assert size == (sum(int(m.sum()) for m in masks.values()) if masks else 231)
    full, gauss_newton = (inside(matrix, masks) for matrix in matrices)
    for vector in np.random.default_rng(0).standard_normal((5, size)):
        assert curvature.hessian_times(vector) == pytest.approx(full @ vector, abs=1e-9)
        assert curvature.gauss_newton_times(vector) == pytest.approx(
            gauss_newton @ vector, abs=1e-9
        )
    assert np.linalg.eigvalsh(gauss_newton).min() > -1e-12


def inside(matrix, masks):
    """The rows and columns of what is kept."""
    if masks is None:
        return matrix
    kept = torch.cat([mask.reshape(-1) for mask in masks.values()]).numpy()
    return matrix[np.ix_(kept, kept)]


def make_like(network):
    other = make_network()
    other.load_state_dict(network.state_dict())
    return other.eval()


def test_a_gradient_is_what_the_hessian_changes(network):
    """The mean loss over batches of unequal sizes, with the statistics that are there."""
    curvature, step = Curvature(network, BATCHES, make_masks()), 1e-5
    direction = np.random.default_rng(0).standard_normal(curvature.num_coordinates)
    moved = []
    for sign in (1, -1):
        other = make_like(network).double()
        spread = curvature._spread(sign * step * direction)
        with torch.no_grad():
            for weight, part in zip(prunable_weights(other).values(), spread, strict=True):
                weight.add_(part)
        moved.append(Curvature(other, BATCHES, make_masks()).gradient())
    by_differences = (moved[0] - moved[1]) / (2 * step)
    assert curvature.hessian_times(direction) == pytest.approx(by_differences, abs=1e-6)


def test_a_network_in_training_mode_has_no_one_loss():
    with pytest.raises(ValueError, match="is in training mode"):
        Curvature(make_network(), BATCHES)


def test_without_batch_norm_it_works_alike():
    network = make_network(network_type=TwoLayers).eval()
    curvature = Curvature(network, BATCHES)
    full, _ = exact_matrices(make_network(network_type=TwoLayers).eval(), BATCHES)
    vector = np.random.default_rng(1).standard_normal(curvature.num_coordinates)
    assert curvature.hessian_times(vector) == pytest.approx(full @ vector, abs=1e-10)


EIGENVALUES = np.concatenate([np.zeros(60), np.linspace(-1, 1, 30), [5.0] * 10])


def symmetric():
    basis, _ = np.linalg.qr(np.random.default_rng(2).standard_normal((100, 100)))
    return basis @ np.diag(EIGENVALUES) @ basis.T


def test_a_quadrature_has_the_moments_of_the_matrix():
    matrix = symmetric()
    start = np.full(100, 0.1)
    nodes, weights = quadrature(lambda vector: matrix @ vector, start, 10)
    assert len(nodes) == 10
    for degree in range(20):
        expected = start @ np.linalg.matrix_power(matrix, degree) @ start
        assert (weights * nodes**degree).sum() == pytest.approx(expected, rel=1e-8, abs=1e-10)
    # There are 32 distinct eigenvalues, after which nothing is left to add.
    nodes, weights = quadrature(lambda vector: matrix @ vector, start, 100)
    real = nodes[weights > 1e-9]
    assert len(real) <= 32
    assert np.abs(real[:, None] - EIGENVALUES).min(axis=1).max() < 1e-8


def test_a_density_is_that_of_the_eigenvalues_within_its_error():
    matrix = symmetric()
    rules = quadratures(lambda v: matrix @ v, 100, seed=1, num_probes=40, num_steps=40)
    spectrum = Spectrum(
        t=0.0, num_coordinates=100, nodes=[[*nodes] for nodes, _ in rules],
        weights=[[*weights] for _, weights in rules],
    )  # fmt: skip
    assert extremes(spectrum) == pytest.approx((-1, 5), abs=1e-6)
    # Both as they are known: the mean is that of 60 zeros, of 30 around 0 and of ten fives.
    assert mean_eigenvalue(spectrum) == pytest.approx(0.5, abs=0.1)
    sizes = np.abs(EIGENVALUES)
    assert negative_share(spectrum) == pytest.approx(
        sizes[EIGENVALUES < 0].sum() / sizes.sum(), abs=0.03
    )
    width, grid = 0.06, np.linspace(-1.3, 5.3, 401)
    found = density([spectrum], grid, width)
    assert found.density.sum() * (grid[1] - grid[0]) == pytest.approx(1, abs=1e-3)
    distances = (grid[:, None] - EIGENVALUES) / width
    exact = np.exp(-0.5 * distances**2).mean(axis=1) / (width * np.sqrt(2 * np.pi))
    # Of points whose error is more than rounding, nearly all lie within three of it.
    has_error = found.standard_error > 1e-6
    within = np.abs(found.density - exact)[has_error] <= 3 * found.standard_error[has_error]
    assert within.mean() > 0.95
