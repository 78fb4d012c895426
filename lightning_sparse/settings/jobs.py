"""Jobs that run with settings: what a plan consists of, and what execution makes."""

from typing import TypeAlias

from lightning_sparse.pipeline import jobs
from lightning_sparse.settings.compose import Composed

Job: TypeAlias = jobs.Job[Composed]
"""A job of the pipeline, which itself knows no settings."""

PlannedPoint: TypeAlias = jobs.PlannedPoint[Composed]
"""A point of a run that such a job needs."""
