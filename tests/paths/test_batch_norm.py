import pytest
import torch

from lightning_sparse.paths.batch_norm import interpolated_statistics

START = {"m": torch.tensor([1.0, 2.0]), "n": torch.tensor(10)}
END = {"m": torch.tensor([3.0, 0.5]), "n": torch.tensor(20)}


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
