"""That annotations are checked is seen where they are not kept to."""

import pytest
import torch
from beartype.roar import BeartypeCallHintParamViolation
from jaxtyping import TypeCheckError

from lightning_sparse.rises import margin
from lightning_sparse.settings.shipped import CONF_DIR
from lightning_sparse.sparsity.packed_masks import pack_mask, unpack_mask
from tests.typechecking import WITH_SHAPES


def test_another_type_than_the_annotated_one_fails_and_an_int_stands_for_a_float():
    with pytest.raises(BeartypeCallHintParamViolation, match="num_classes='ten'"):
        margin("ten")
    assert torch.isfinite(torch.tensor(margin(10)))


def test_where_tensors_are_their_types_and_shapes_are_checked():
    packed = pack_mask(torch.tensor([True, False]))

    with pytest.raises(TypeCheckError, match="packed"):
        unpack_mask(packed[None], [2])
    with pytest.raises(TypeCheckError, match="mask"):
        pack_mask(torch.zeros(2))


def test_every_room_that_writes_shapes_into_its_annotations_has_them_checked():
    package = CONF_DIR.parent / "lightning_sparse"
    named = {
        ".".join((package.name, *file.relative_to(package).parts[:1]))
        for file in package.rglob("*.py")
        if "from jaxtyping import" in file.read_text(encoding="utf-8")
    }
    assert named == set(WITH_SHAPES)
