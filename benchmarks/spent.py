"""Where the time of a finished ``make reproduce`` went, from its published records alone."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from lightning_sparse.records import Record, RunRecord


@dataclass(frozen=True, kw_only=True)
class Spent:
    """What jobs of one kind took together.

    Attributes:
        num_jobs: How many there are.
        core_seconds: Wall time of each, times the threads it ran with.
    """

    num_jobs: int
    core_seconds: float


def time_spent(records: Iterable[Record]) -> Mapping[str, Spent]:
    """Add up jobs by kind: end points by arm and sparsity, paths by shape; the dearest first.

    A record counts its training, or its fit and evaluation. Starting processes, loading libraries
    and measuring end points is not in it, nor what a killed job had to do twice.
    """
    seconds: defaultdict[str, list[float]] = defaultdict(list)
    for record in records:
        threads = int(record.provenance.get("num_threads", 1))
        seconds[_kind(record)].append(record.wall_seconds * threads)
    spent = {
        kind: Spent(num_jobs=len(each), core_seconds=sum(each)) for kind, each in seconds.items()
    }
    return dict(sorted(spent.items(), key=lambda item: -item[1].core_seconds))


def _kind(record: Record) -> str:
    if isinstance(record, RunRecord):
        sparsity = f", {record.target_sparsity:.4g} sparse" if record.target_sparsity else ""
        return f"end points: {record.method}{sparsity}"
    name = record.curve.removeprefix("straight ")
    return f"paths: {name}{'s' if name.endswith(('line', 'curve')) else ''}"
