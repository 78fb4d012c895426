"""What each process of a SLURM job does; importing it is cheap, so that signals are soon heard."""

import sys
from collections.abc import Sequence


def run_command(words: Sequence[str]) -> None:
    """Run one command of this program, and exit with its status if that is not 0."""
    from lightning_sparse.cli.main import main

    if status := main(words):
        sys.exit(status)
