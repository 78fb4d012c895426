"""``lightning-sparse line``: the straight line between two points."""

from lightning_sparse.cli import path
from lightning_sparse.cli.compose import Settings, with_values


def run(settings: Settings) -> None:
    """Measure the line that the settings name: a path of degree 1."""
    path.run(with_values(settings, ["path.degree=1"]))
