"""How much of each layer is kept: rows that name the records they come from."""

from dataclasses import dataclass

from lightning_sparse.analysis.experiment import ExperimentRecords


@dataclass(frozen=True, kw_only=True)
class SparsityRow:
    """How much of one layer is kept at one sparsity; runs with equal counts share a row.

    Attributes:
        target_sparsity: Nominal sparsity of the whole network.
        layer: Its name, or `ALL_LAYERS`.
        kept: Weights that the masks keep.
        prunable: Weights that could be masked.
        sparsity: Fraction that is masked.
        records: Run ids of the masked runs that have these counts.
    """

    target_sparsity: float
    layer: str
    kept: int
    prunable: int
    sparsity: float
    records: tuple[str, ...]


ALL_LAYERS = "all layers"


def sparsity_table(experiment: ExperimentRecords) -> list[SparsityRow]:
    """Count kept weights per layer and overall, for the masked arms; layers in network order."""
    records: dict[tuple[float, str, int, int], list[str]] = {}
    for run in sorted(experiment.runs, key=lambda run: run.target_sparsity):
        if not run.is_masked:
            continue
        counts = [(name, layer.kept, layer.prunable) for name, layer in run.layers.items()]
        for name, kept, prunable in [*counts, (ALL_LAYERS, run.kept, run.prunable)]:
            records.setdefault((run.target_sparsity, name, kept, prunable), []).append(run.run_id)
    return [
        SparsityRow(
            target_sparsity=target_sparsity,
            layer=layer,
            kept=kept,
            prunable=prunable,
            sparsity=1 - kept / prunable if prunable else 0.0,
            records=tuple(run_ids),
        )
        for (target_sparsity, layer, kept, prunable), run_ids in records.items()
    ]
