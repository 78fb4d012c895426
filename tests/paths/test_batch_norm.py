import pytest
import torch
from torch import nn

from lightning_sparse.paths.batch_norm import (
    batch_norms,
    fresh_statistics,
    interpolated_statistics,
    use_batch_statistics,
)
from tests.training.problems import make_network

START = {"m": torch.tensor([1.0, 2.0]), "n": torch.tensor(10)}
END = {"m": torch.tensor([3.0, 0.5]), "n": torch.tensor(20)}


def test_fresh_statistics_are_those_of_a_new_network():
    network = make_network()
    expected = {name: buffer.clone() for name, buffer in network.named_buffers()}
    network(torch.randn(4, 1, 6, 6))

    fresh = fresh_statistics(network)

    assert fresh.keys() == expected.keys()
    assert all(torch.equal(fresh[name], buffer) for name, buffer in expected.items())
    assert all(
        fresh[name].data_ptr() != buffer.data_ptr() for name, buffer in network.named_buffers()
    )


def test_a_network_that_is_one_batch_norm_has_names_without_a_dot():
    assert set(fresh_statistics(nn.BatchNorm1d(2))) == {
        "running_mean", "running_var", "num_batches_tracked",
    }  # fmt: skip


def test_batch_norms_without_running_statistics_have_none_to_set():
    network = nn.Sequential(nn.BatchNorm1d(2), nn.BatchNorm1d(2, track_running_stats=False))

    assert list(batch_norms(network)) == ["0"]


def test_only_batch_norms_go_into_training_mode():
    network = nn.Sequential(nn.Linear(2, 2), nn.Dropout(), nn.BatchNorm1d(2))

    use_batch_statistics(network)

    assert [module.training for module in network] == [False, False, True]
    assert network[2].momentum is None


@pytest.mark.parametrize(
    ("t", "mean", "count"),
    [
        (0.0, [1.0, 2.0], 10),
        (0.25, [1.5, 1.625], 10),
        (0.5, [2.0, 1.25], 20),
        (1.0, [3.0, 0.5], 20),
        # Going on along the line would make the second one negative at t = 1.4.
        (-0.2, [1.0, 2.0], 10),
        (1.4, [3.0, 0.5], 20),
    ],
)
def test_statistics_are_interpolated_and_never_extrapolated(t, mean, count):
    between = interpolated_statistics(START, END, t)

    assert between["m"].tolist() == mean
    assert between["n"].item() == count
