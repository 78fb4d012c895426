"""Annotations are checked at run time, in tests and only there.

Shapes are followed from one argument to another, which costs every call of every function some ten
microseconds: only where there are shapes. Types are checked everywhere, which costs one.
"""

from beartype import BeartypeConf
from beartype.claw import beartype_package
from jaxtyping import install_import_hook

WITH_SHAPES = tuple(
    f"lightning_sparse.{room}" for room in ("data", "exchange", "models", "paths", "sparsity")
)


def check_annotations() -> None:
    """See to it that what is imported from now on checks its annotations."""
    install_import_hook(
        WITH_SHAPES,
        # An int may stand for a float.
        "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))",
    )
    types_only = BeartypeConf(
        is_pep484_tower=True, claw_is_pep526=False, claw_skip_package_names=WITH_SHAPES
    )
    beartype_package("lightning_sparse", conf=types_only)
