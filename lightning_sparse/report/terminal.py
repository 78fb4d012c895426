"""The claims as a table in the terminal."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from lightning_sparse.analysis.claim import ClaimResult
from lightning_sparse.report.claims_tables import estimate_words, interval_words, verdict_sentence
from lightning_sparse.report.style import VERDICT_SYMBOLS

_STYLES = {
    "supported": "bold green",
    "not supported": "bold red",
    "contradicted": "bold red",
    "undecided": "bold yellow",
}


def print_claims(claims: Sequence[ClaimResult], console: Console) -> None:
    """Print every claim with verdict, estimate and interval; parts below their whole."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("claim", no_wrap=True)
    table.add_column("what it says", ratio=1)
    table.add_column("verdict", no_wrap=True)
    table.add_column("estimate", justify="right", no_wrap=True)
    table.add_column("95 % interval", justify="right", no_wrap=True)
    table.add_column("seeds", justify="right", no_wrap=True)
    for claim in claims:
        _add(table, claim)
        for part in claim.parts:
            _add(table, part, style="dim")
    console.print(table)
    console.print(verdict_sentence(claims), highlight=False, markup=False)


def _add(table: Table, claim: ClaimResult, style: str = "") -> None:
    # Text, not str: what comes from a record must not be read as rich markup.
    symbol = VERDICT_SYMBOLS[claim.verdict]
    table.add_row(
        Text(f"  {claim.claim}" if style else claim.claim),
        Text(claim.statement),
        Text(f"{symbol} {claim.verdict_words}", style=_STYLES[claim.verdict]),
        Text(estimate_words(claim)),
        Text(interval_words(claim)),
        Text(str(claim.num_seeds)),
        style=style,
    )
