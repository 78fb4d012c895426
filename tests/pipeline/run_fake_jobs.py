"""A program of its own, to be interrupted and killed: two jobs that do a deed, side by side."""

import sys
from pathlib import Path

from fake_jobs import execute, job
from rich.console import Console

from lightning_sparse.pipeline.places import Anywhere
from lightning_sparse.pipeline.runner import run_jobs

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    jobs = [job(folder, "a", sys.argv[2]), job(folder, "b", sys.argv[2]), job(folder, "c")]
    run_jobs(jobs, execute, places=Anywhere(2), console=Console())
