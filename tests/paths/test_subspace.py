import pytest
import torch

from lightning_sparse.errors import UserError
from lightning_sparse.paths.subspace import subspace_masks

START = {"a": torch.tensor([True, True, False, False])}
END = {"a": torch.tensor([True, False, True, False])}


@pytest.mark.parametrize(
    ("space", "expected"),
    [
        ("start_mask", [True, True, False, False]),
        ("end_mask", [True, False, True, False]),
        ("union", [True, True, True, False]),
        ("intersection", [True, False, False, False]),
    ],
)
def test_the_space_is_made_from_the_masks_of_the_ends(space, expected):
    assert subspace_masks(space, START, END)["a"].tolist() == expected


def test_the_dense_space_has_no_masks():
    assert subspace_masks("dense", START, END) is None


@pytest.mark.parametrize(
    ("space", "masks", "lacking"),
    [
        ("start_mask", (None, END), "start"),
        ("end_mask", (START, None), "end"),
        ("union", (None, END), "start"),
        ("union", (START, None), "end"),
        ("intersection", (None, END), "start"),
    ],
)
def test_a_dense_end_has_no_mask_to_give(space, masks, lacking):
    message = f"path.space={space}: the {lacking} of the path has no masks; use path.space=dense"
    with pytest.raises(UserError, match=message):
        subspace_masks(space, *masks)


def test_only_the_mask_that_is_asked_for_is_needed():
    assert subspace_masks("end_mask", None, END) == END


def test_masks_of_different_networks_are_refused():
    with pytest.raises(UserError, match="masks do not fit"):
        subspace_masks("union", START, {"b": END["a"]})
