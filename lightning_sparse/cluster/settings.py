"""Settings of jobs that are submitted; no result depends on them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from lightning_sparse.errors import UserError
from lightning_sparse.fields import setting

Where = Literal["here", "slurm"]
"""Whether a command runs on this machine, or is submitted as jobs that do."""


@dataclass(frozen=True, kw_only=True)
class SlurmSettings:
    """What jobs ask SLURM for; None leaves it to the cluster.

    Attributes:
        partition: Where to.
        account: Who is charged.
        qos: Quality of service.
        constraint: Features that nodes must have.
        cpus_per_task: Cores of each process.
        mem_gb: Memory of each node, in GB.
        minutes: Time limit.
        warn_seconds: How long before the limit, or before pre-emption, the run is told.
        setup: Shell lines that come before the run.
        options: Further options of ``sbatch``, by name.
        seeds: Of train: one job each; empty for the one seed.
    """

    partition: str | None = setting(None, example="gpu")
    account: str | None = setting(None, example="vision")
    qos: str | None = setting(None, example="normal")
    constraint: str | None = setting(None, example="h100")
    cpus_per_task: int | None = setting(None, example=10, at_least=1)
    mem_gb: int | None = setting(None, example=500, at_least=1)
    minutes: int = setting(at_least=1)
    warn_seconds: int = setting(at_least=1)
    setup: Sequence[str] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    seeds: Sequence[int] = setting((), example="[11,12,13]")

    def __post_init__(self) -> None:
        """Refuse a job that would be told to stop as soon as it begins, over and over.

        Raises:
            UserError: If the time limit leaves it no time.
        """
        if 60 * self.minutes <= 2 * self.warn_seconds:
            raise UserError(
                f"slurm.minutes={self.minutes}, slurm.warn_seconds={self.warn_seconds}: a job is "
                "told to stop that long before its limit, and would do nothing but be requeued; "
                "ask for more than twice as much time"
            )
