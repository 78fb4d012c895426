"""Puts an experiment's figure and verdicts into a page, between two markers that stay there."""

import os
from collections.abc import Sequence
from pathlib import Path

from lightning_sparse.analysis.claim import ClaimResult
from lightning_sparse.analysis.question import Question
from lightning_sparse.analysis.triples import Triple
from lightning_sparse.errors import UserError
from lightning_sparse.files.storage import write_text_atomic
from lightning_sparse.records import Record, RunRecord
from lightning_sparse.report.claims_tables import (
    summary_table,
    triples_sentence,
    triples_table,
    verdict_sentence,
    verdict_table,
)
from lightning_sparse.report.laboratory_page import explanations_table
from lightning_sparse.report.machines import machines_sentence
from lightning_sparse.report.markdown import escape, render_table
from lightning_sparse.report.style import listed, seed_words


def markers(name: str) -> tuple[str, str]:
    """Return the lines between which results stand: of ``digits``, or of ``digits, rules 1``."""
    return (
        f"<!-- results of {name}: begin (made by `make readme`, do not edit) -->",
        f"<!-- results of {name}: end -->",
    )


def has_markers(page: Path, name: str) -> bool:
    """Whether a page shows these results."""
    return page.is_file() and markers(name)[0] in page.read_text(encoding="utf-8")


def update_page(page: Path, name: str, results: str) -> None:
    """Replace what is between the markers; the rest of the file stays byte for byte.

    Args:
        page: Must contain both `markers` of these results, once each.
        name: Theirs.
        results: Markdown.

    Raises:
        UserError: If the file or a marker is not where it should be.
    """
    if not page.is_file():
        raise UserError(f"no file {page}; give the page to update")
    begin, end = markers(name)
    text = page.read_text(encoding="utf-8")
    if (text.count(begin), text.partition(begin)[2].count(end), text.count(end)) != (1, 1, 1):
        raise UserError(
            f"{page}: needs the lines {begin} and {end}, once each and in this order; put "
            "them where the results belong"
        )
    before, _, rest = text.partition(begin)
    after = rest.partition(end)[2]
    write_text_atomic(page, f"{before}{begin}\n\n{results}\n\n{end}{after}")


HEADLINE = "Accuracy against sparsity, and loss between the two solutions"
SEARCH = "How far the loss climbs inside the mask, against the steps of the fit, seed by seed"


def picture(figure: Path, page: Path, words: str = HEADLINE) -> str:
    """Show a figure on a page.

    Args:
        figure: A file in the folder that the page is in, in one below it or in one beside that.
        page: Where it is shown.
        words: In its place.

    Raises:
        UserError: If the figure is not there, or lies elsewhere, where no reader would have it.
    """
    if not figure.is_file():
        raise UserError(f"figure={figure}: there is no such file; run `make report` first")
    place = Path(os.path.relpath(figure.resolve(), page.parent.resolve()))
    if place.parts.count("..") > 1:
        raise UserError(f"figure={figure}: must lie near {page}, so that the page can show it")
    return f"![{words}]({place.as_posix()})"


def in_short(records: Sequence[Record], claims: Sequence[ClaimResult]) -> str:
    """Say in a sentence and a table of one row per claim what came out."""
    return "\n\n".join([_sentence(records, claims), render_table(summary_table(claims))])


def explained(
    records: Sequence[Record], asked: Sequence[Question], claims: Sequence[ClaimResult]
) -> str:
    """Say in a sentence and a table what speaks for and against the laboratory's explanations."""
    return "\n\n".join(
        [_sentence(records, claims), render_table(explanations_table(asked, claims))]
    )


def listed_claims(claims: Sequence[ClaimResult]) -> str:
    """List every claim with its parts and remarks."""
    return render_table(verdict_table(claims, has_rules=False))


def in_full(
    records: Sequence[Record], claims: Sequence[ClaimResult], triples: Sequence[Triple]
) -> str:
    """Show every claim and its parts, and what a few seeds alone would have said.

    Args:
        records: What the claims were judged on.
        claims: The claims.
        triples: What groups of seeds say alone; empty to leave that out.
    """
    blocks = [_sentence(records, claims), render_table(verdict_table(claims, has_rules=False))]
    if triples:
        blocks += [
            escape(triples_sentence(claims, triples)),
            render_table(triples_table(claims, triples)),
        ]
    return "\n\n".join(blocks)


def _sentence(records: Sequence[Record], claims: Sequence[ClaimResult]) -> str:
    runs = [record for record in records if isinstance(record, RunRecord)]
    seeds = seed_words({record.seed for record in records})
    experiments = listed(sorted({record.experiment for record in records}))
    return escape(
        f"Experiment {experiments}, seeds {seeds}: {len(runs)} trained networks and "
        f"{len(records) - len(runs)} paths. "
        + " ".join(filter(None, [verdict_sentence(claims), machines_sentence(records)]))
    )
