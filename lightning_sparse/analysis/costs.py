"""What methods cost: operations of training, of a forward pass, and bytes of what is kept."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from lightning_sparse.records import Record, RunRecord

_BYTES = 4  # of a weight in single precision


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """An arm at one sparsity, beside others.

    Attributes:
        arm: Its name.
        sparsity: Nominal, in [0, 1); 0 where there are no masks.
        runs: By seed.
        training_flops: Of a run, and of all runs whose weights or masks it was given: the mean over
            seeds; None where a record does not say.
    """

    arm: str
    sparsity: float
    runs: Sequence[RunRecord]
    training_flops: float | None

    @property
    def inference_flops(self) -> float | None:
        """Of a forward pass of one image inside the masks: the mean over seeds."""
        counted = [run.flops.inference for run in self.runs if run.flops]
        return sum(counted) / len(counted) if counted else None

    @property
    def num_bytes(self) -> float:
        """Of what is kept: the mean over seeds."""
        return sum(map(stored_bytes, self.runs)) / len(self.runs)


def compared(records: Iterable[Record]) -> list[Comparison]:
    """Group runs by arm and sparsity, in the order of their first records."""
    runs = [record for record in records if isinstance(record, RunRecord)]
    by_id = {run.run_id: run for run in runs}
    groups: dict[tuple[str, float], list[RunRecord]] = {}
    for run in runs:
        groups.setdefault((run.arm, round(run.target_sparsity, 9)), []).append(run)
    return [
        Comparison(
            arm=arm,
            sparsity=sparsity,
            runs=sorted(group, key=lambda run: run.seed),
            training_flops=_mean([flops_behind(run, by_id) for run in group]),
        )
        for (arm, sparsity), group in groups.items()
    ]


def training_flops(run: RunRecord) -> float | None:
    """Count the operations of a run's own steps; None if its record does not say."""
    if run.flops is None or run.global_batch_size is None:
        return None
    return run.flops.training * run.global_batch_size * (run.num_steps - run.rewind_step)


def flops_behind(run: RunRecord, by_id: Mapping[str, RunRecord]) -> float | None:
    """Add to a run's operations those of every run that it needed, each once.

    Args:
        run: The run.
        by_id: All runs that there are; a needed one that is not there leaves the sum unknown.
    """
    behind: dict[str, float | None] = {}

    def visit(run_id: str) -> None:
        if run_id in behind:
            return
        found = by_id.get(run_id)
        behind[run_id] = training_flops(found) if found else None
        for source in (found.mask_source, found.start_source) if found else ():
            if source is not None:
                visit(source)

    visit(run.run_id)
    counted = [flops for flops in behind.values() if flops is not None]
    return sum(counted) if len(counted) == len(behind) else None


def stored_bytes(run: RunRecord) -> int:
    """Count the bytes of kept weights in single precision, and of masks of one bit an entry.

    A layer that keeps everything needs no mask. A method whose masks have a form that takes other
    bytes says so in its observations. Other parameters count as they are; statistics do not.
    """
    layers = run.layers.values()
    masks: float = sum(math.ceil(x.prunable / 8) for x in layers if x.kept < x.prunable)
    masks = (run.observations or {}).get("mask_bytes", masks)
    others = (run.num_parameters or run.prunable) - run.prunable
    return round(masks) + _BYTES * (run.kept + others)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None
