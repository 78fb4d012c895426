"""Puts an experiment's figure and verdicts into the README, between two markers that stay there."""

from collections.abc import Sequence
from pathlib import Path

from lightning_sparse.analysis.claim import ClaimResult
from lightning_sparse.analysis.triples import Triple
from lightning_sparse.errors import UserError
from lightning_sparse.records import Record, RunRecord
from lightning_sparse.report.claims_tables import (
    triples_sentence,
    triples_table,
    verdict_sentence,
    verdict_table,
)
from lightning_sparse.report.markdown import escape, render_table
from lightning_sparse.report.style import listed, seed_words
from lightning_sparse.storage import write_text_atomic


def markers(experiment: str) -> tuple[str, str]:
    """Return the lines between which an experiment's results stand."""
    return (
        f"<!-- results of {experiment}: begin (made by `make readme`, do not edit) -->",
        f"<!-- results of {experiment}: end -->",
    )


def update_readme(
    readme_file: Path,
    experiment: str,
    records: Sequence[Record],
    claims: Sequence[ClaimResult],
    triples: Sequence[Triple],
    figure: Path,
) -> None:
    """Replace what is between the markers; the rest of the file stays byte for byte.

    Args:
        readme_file: Must contain both `markers` of the experiment, once each.
        experiment: Its name.
        records: What the claims were judged on.
        claims: The claims.
        triples: What triples of seeds say alone; empty to leave that out.
        figure: The headline figure, in the README's folder or below it.

    Raises:
        UserError: If the file, a marker or the figure is not where it should be.
    """
    if not readme_file.is_file():
        raise UserError(f"no file {readme_file}; give the README to update")
    begin, end = markers(experiment)
    text = readme_file.read_text(encoding="utf-8")
    if (text.count(begin), text.partition(begin)[2].count(end), text.count(end)) != (1, 1, 1):
        raise UserError(
            f"{readme_file}: needs the lines {begin} and {end}, once each and in this order; put "
            "them where the results belong"
        )
    before, _, rest = text.partition(begin)
    after = rest.partition(end)[2]
    verdicts = _verdicts(claims, triples)
    results = _results(records, verdicts, _relative(figure, readme_file.parent))
    write_text_atomic(readme_file, f"{before}{begin}\n\n{results}\n\n{end}{after}")


def _relative(figure: Path, folder: Path) -> str:
    if not figure.is_file():
        raise UserError(f"figure={figure}: there is no such file; run `make report` first")
    try:
        return figure.resolve().relative_to(folder.resolve()).as_posix()
    except ValueError as error:
        raise UserError(
            f"figure={figure}: must lie below {folder}, so that the README can show it"
        ) from error


def _verdicts(claims: Sequence[ClaimResult], triples: Sequence[Triple]) -> list[str]:
    tables = [render_table(verdict_table(claims, has_rules=False))]
    if triples:
        tables += [
            escape(triples_sentence(claims, triples)),
            render_table(triples_table(claims, triples)),
        ]
    return [escape(verdict_sentence(claims)), *tables]


def _results(records: Sequence[Record], verdicts: Sequence[str], figure: str) -> str:
    runs = [record for record in records if isinstance(record, RunRecord)]
    seeds = seed_words({record.seed for record in records})
    experiments = listed(sorted({record.experiment for record in records}))
    measured = (
        f"Experiment {experiments}, seeds {seeds}: {len(runs)} trained networks and "
        f"{len(records) - len(runs)} paths. "
    )
    sentence, *tables = verdicts
    picture = f"![Accuracy against sparsity, and loss between the two solutions]({figure})"
    return "\n\n".join([picture, escape(measured) + sentence, *tables])
