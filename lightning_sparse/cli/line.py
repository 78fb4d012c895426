"""``lightning-sparse line``: the straight line between two points."""

from lightning_sparse.cli import path
from lightning_sparse.settings.compose import Composed
from lightning_sparse.settings.variants import with_curve


def run(settings: Composed) -> None:
    """Measure the line that the settings name: a path whose curve is one."""
    path.run(with_curve(settings, "line"))


def submit(settings: Composed) -> None:
    """Submit the line, with the runs at its ends, unless they are finished."""
    path.submit(with_curve(settings, "line"))
