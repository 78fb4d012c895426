import pytest
import torch
from torch import nn

from lightning_sparse.models.batch_norm import (
    batch_norms,
    fresh_statistics,
    recalibrate_,
    use_batch_statistics,
)
from tests.training.problems import make_network


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


def test_batches_can_be_counted_where_reading_the_count_waits_for_nothing():
    elsewhere = torch.device("meta")  # stands for an accelerator
    network = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2)).to(elsewhere)

    fresh = fresh_statistics(network, count_on=torch.device("cpu"))

    counts = {name for name in fresh if name.endswith("num_batches_tracked")}
    assert len(counts) == 2
    assert {name for name, buffer in fresh.items() if not buffer.is_meta} == counts


def test_only_batch_norms_go_into_training_mode():
    network = nn.Sequential(nn.Linear(2, 2), nn.Dropout(), nn.BatchNorm1d(2))

    use_batch_statistics(network)

    assert [module.training for module in network] == [False, False, True]
    assert network[2].momentum is None


def test_recalibrated_statistics_are_the_mean_over_the_batches_and_nothing_else_changes():
    network = nn.Sequential(nn.BatchNorm1d(3), nn.Dropout(0.5), nn.Linear(3, 2))
    network(torch.full((4, 3), 100.0))
    weights = {name: weight.clone() for name, weight in network.named_parameters()}
    batches = torch.randn(5, 8, 3, generator=torch.Generator().manual_seed(1))

    recalibrate_(network, batches)

    torch.testing.assert_close(network[0].running_mean, batches.mean(dim=(0, 1)))
    torch.testing.assert_close(network[0].running_var, batches.var(dim=1).mean(dim=0))
    assert network[0].num_batches_tracked == 5
    assert network[0].momentum == pytest.approx(0.1)
    assert not any(module.training for module in network.modules())
    assert all(torch.equal(weight, weights[name]) for name, weight in network.named_parameters())


class WithFurther(nn.BatchNorm1d):
    """A batch norm that keeps something else as well."""

    def __init__(self, width):
        super().__init__(width)
        self.register_buffer("largest", torch.full((width,), 7.0))


def test_a_further_buffer_of_a_batch_norm_is_no_statistic_that_starts_at_zero():
    assert set(fresh_statistics(WithFurther(2))) == {
        "running_mean", "running_var", "num_batches_tracked",
    }  # fmt: skip


def test_instance_norm_that_tracks_is_recalibrated_over_all_batches_alike():
    network = nn.Sequential(nn.InstanceNorm1d(3, track_running_stats=True), nn.Dropout(0.5))
    network(torch.full((4, 3, 5), 100.0))
    batches = torch.randn(6, 8, 3, 5, generator=torch.Generator().manual_seed(1))

    recalibrate_(network, batches)

    torch.testing.assert_close(network[0].running_mean, batches.mean(dim=(0, 1, 3)))
    torch.testing.assert_close(network[0].running_var, batches.var(dim=3).mean(dim=(0, 1)))
    assert network[0].num_batches_tracked == 6
    assert network[0].momentum == pytest.approx(0.1)
    assert not network[0]._forward_pre_hooks
