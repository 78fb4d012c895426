"""Which layers the kept weights are in, at every sparsity."""

from collections.abc import Sequence

from lightning_sparse.analysis.experiment import ExperimentRecords
from lightning_sparse.analysis.tables import SparsityRow, sparsity_table
from lightning_sparse.report.blocks import Block, Row, Small, Table, Text
from lightning_sparse.report.findings import Findings
from lightning_sparse.report.style import NONE, nominal, percent


def layer_blocks(findings: Findings) -> list[Block]:
    """Return the table of kept weights: a row per layer, a column per nominal sparsity."""
    rows = sparsity_table(ExperimentRecords.from_records(findings.records)) if findings.runs else []
    if not rows:
        return []
    sparsities = list(dict.fromkeys(row.target_sparsity for row in rows))
    columns = {sparsity: f"kept at {nominal(sparsity)}" for sparsity in sparsities}
    layers = {row.layer: row.prunable for row in rows}
    table = Table(
        columns=["layer", "prunable", *columns.values()],
        rows=[
            *(_layer_row(layer, layers[layer], sparsities, rows) for layer in layers),
            Row(cells=["records", "", *(_records(s, rows, findings) for s in sparsities)]),
        ],
        caption=(
            "Kept weights of each layer, as counted from the masks, and below them the sparsity "
            "that they make. Several counts are those of different runs."
        ),
        numeric=frozenset({"prunable", *columns.values()}),
    )
    return [table]


def _layer_row(
    layer: str, prunable: int, sparsities: Sequence[float], rows: Sequence[SparsityRow]
) -> Row:
    return Row(
        cells=[layer, f"{prunable:,}", *(_counts(layer, value, rows) for value in sparsities)]
    )


def _counts(layer: str, sparsity: float, rows: Sequence[SparsityRow]) -> Text:
    found = [row for row in rows if row.layer == layer and row.target_sparsity == sparsity]
    if not found:
        return NONE
    counts = "; ".join(f"{row.kept:,}" for row in found)
    return [counts, Small("; ".join(percent(row.sparsity, 2) for row in found))]


def _records(sparsity: float, rows: Sequence[SparsityRow], findings: Findings) -> Text:
    run_ids = [run_id for row in rows if row.target_sparsity == sparsity for run_id in row.records]
    return findings.references(dict.fromkeys(run_ids))
