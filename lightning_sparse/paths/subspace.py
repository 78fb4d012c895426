"""Where the control points of a curve may move: everywhere, or on a mask made from the ends'."""

from lightning_sparse.errors import UserError
from lightning_sparse.paths.settings import Space
from lightning_sparse.sparsity.masks import Masks, intersection, union


def subspace_masks(space: Space, start: Masks | None, end: Masks | None) -> Masks | None:
    """Return the masks that control points live on, or None for the dense space.

    Scratch, lottery and pruned solutions share one mask, so that all four sparse choices agree for
    them. For ends with different masks the union is the smallest space that holds both.

    Args:
        space: The choice.
        start: Masks of the end at t = 0, if it has any.
        end: Masks of the end at t = 1, if it has any.

    Raises:
        UserError: If the choice is unknown or the end it names has no masks.
    """
    if space == "dense":
        return None
    if space == "start_mask":
        return _require(start, space, "start")
    if space == "end_mask":
        return _require(end, space, "end")
    if space == "union":
        return union(_require(start, space, "start"), _require(end, space, "end"))
    if space == "intersection":
        return intersection(_require(start, space, "start"), _require(end, space, "end"))
    raise UserError(
        f"path.space={space}: choose dense, start_mask, end_mask, union or intersection"
    )


def _require(masks: Masks | None, space: Space, which: str) -> Masks:
    if masks is None:
        raise UserError(
            f"path.space={space}: the {which} of the path has no masks; use path.space=dense"
        )
    return masks
