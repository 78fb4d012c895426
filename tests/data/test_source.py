import pytest
import torch

from lightning_sparse.data.source import TensorImages
from lightning_sparse.errors import UserError


def test_the_length_is_the_number_of_images():
    assert len(TensorImages(torch.zeros(3, 1, 2, 2), torch.zeros(3, dtype=torch.int64))) == 3


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (
            torch.zeros(3, 2, 2),
            torch.zeros(3, dtype=torch.int64),
            r"expected float32 \[n, c, h, w\]",
        ),
        (torch.zeros(3, 1, 2, 2).double(), torch.zeros(3, dtype=torch.int64), "expected float32"),
        (torch.zeros(3, 1, 2, 2), torch.zeros(2, dtype=torch.int64), r"expected int64 \[3\]"),
        (torch.zeros(3, 1, 2, 2), torch.zeros(3), r"expected int64 \[3\]"),
    ],
)
def test_what_the_loaders_would_misread_is_refused(images, labels, message):
    # Under pytest jaxtyping would speak first, and only under pytest.
    unchecked = TensorImages.__new__(TensorImages)
    object.__setattr__(unchecked, "images", images)
    object.__setattr__(unchecked, "labels", labels)

    with pytest.raises(UserError, match=message):
        unchecked.__post_init__()
