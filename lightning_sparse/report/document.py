"""Puts the report together, and writes it."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lightning_sparse.analysis.claim import ClaimResult
from lightning_sparse.analysis.experiment import Route
from lightning_sparse.analysis.triples import Triple
from lightning_sparse.report.blocks import (
    Block,
    Definitions,
    Document,
    Link,
    Paragraph,
    Picture,
    Section,
)
from lightning_sparse.report.claims_tables import (
    rules_table,
    seeds_table,
    triples_sentence,
    triples_table,
    verdict_sentence,
    verdict_table,
)
from lightning_sparse.report.endpoint_tables import endpoint_blocks
from lightning_sparse.report.findings import Findings
from lightning_sparse.report.glossary import glossary
from lightning_sparse.report.headline import headline_picture
from lightning_sparse.report.layer_tables import layer_blocks
from lightning_sparse.report.machines import machines_sentence
from lightning_sparse.report.measurement_tables import measurement_blocks, record_blocks
from lightning_sparse.report.pages import PAGE, write_pages
from lightning_sparse.report.path_figures import (
    Panel,
    control_panels,
    paths_picture,
    solution_panels,
    start_panels,
)
from lightning_sparse.report.path_tables import missing_routes, path_blocks
from lightning_sparse.report.search_figure import search_blocks
from lightning_sparse.report.sparsity_figure import sparsity_picture
from lightning_sparse.report.style import PAPER_ADDRESS

QUESTION = (
    "Does a network that loses its weights step by step while it trains (pruned) end better than "
    "the same sparse network trained with the final mask from new random weights (scratch)? And "
    "is it the mask that keeps them apart: does every path from the scratch solution to the "
    "pruned one climb as long as removed weights stay zero, but not once they may be used?"
)

_CONTROL_LEAD = (
    "Training loss between two dense solutions from different starts, which a quadratic curve is "
    "known to join (Garipov et al. 2018)"
)
_CONTROL_LEADS = {
    1: f"{_CONTROL_LEAD}.",
    2: f"{_CONTROL_LEAD}, and inside the mask at a lower sparsity, where there is more room.",
}


def write_report(
    findings: Findings,
    claims: Sequence[ClaimResult],
    triples: Sequence[Triple] = (),
    *,
    title: str,
    report_dir: Path,
) -> None:
    """Write ``report.html``, ``report.md`` and ``figures/`` into a folder.

    What has no record is named as missing; nothing here fails for want of a run or a path.

    Args:
        findings: Every run and path of one experiment, and what is asked of them.
        claims: The claims as judged on them.
        triples: What groups of seeds say alone; empty to leave that out.
        title: Heading of the page.
        report_dir: Where to write; made if absent.

    Raises:
        UserError: If a path record is damaged or the folder cannot be written.
    """
    document = make_document(findings, claims, triples, title=title)
    document = replace(document, opening=[*document.opening, *_laboratory(report_dir)])
    write_pages(document, report_dir, [headline_picture(findings)] if findings.runs else [])


def _laboratory(report_dir: Path) -> list[Block]:
    """Lead to the page of the laboratory, if there is one beside this."""
    if not (report_dir / LABORATORY_PAGE).is_file():
        return []
    why = "Whether it is the subspace, the start or the time that holds the scratch solution back: "
    return [Paragraph([why, Link("the laboratory", LABORATORY_PAGE), "."])]


LABORATORY_PAGE = f"laboratory/{PAGE}"


def make_document(
    findings: Findings, claims: Sequence[ClaimResult], triples: Sequence[Triple] = (), *, title: str
) -> Document:
    """Put the page together."""
    starts, solutions = start_panels(findings), solution_panels(findings)
    return Document(
        title=title,
        opening=_opening(findings, claims),
        sections=[
            Section(
                f"Lines from the starts to the pruned solution {_claims_on(findings, starts)}",
                _path_figure(
                    findings,
                    starts,
                    "starts",
                    "Training loss on the straight line from each start to the pruned solution; "
                    "in grey, for comparison, to the solution that training from it reaches.",
                ),
            ),
            Section(
                f"Between the scratch and the pruned solution {_claims_on(findings, solutions)}",
                _path_figure(
                    findings,
                    solutions,
                    "solutions",
                    "Training loss between solutions that share a mask: on the straight line, and "
                    "on curves trained to keep the loss low, inside the mask and in the dense "
                    "space of all weights.",
                )
                + search_blocks(findings),
            ),
            Section(
                "Positive control: does the search find flat curves where there are some?",
                _path_figure(
                    findings,
                    control_panels(findings),
                    "positive-control",
                    _CONTROL_LEADS[findings.asked.number],
                ),
            ),
            Section("End points", [*endpoint_blocks(findings), *layer_blocks(findings)]),
            Section("Paths", path_blocks(findings)),
            *_sections_on_verdicts(findings, claims, triples),
            Section("How it was measured", measurement_blocks(findings)),
            Section("Terms", [Definitions(_terms(findings))]),
            Section("Records", record_blocks(findings)),
        ],
    )


def _sections_on_verdicts(
    findings: Findings, claims: Sequence[ClaimResult], triples: Sequence[Triple]
) -> list[Section]:
    sections = []
    if triples:
        blocks: list[Block] = [
            Paragraph(triples_sentence(claims, triples)),
            triples_table(claims, triples),
        ]
        sections.append(Section("What other seeds would have said", blocks))
    if findings.asked.number > 1 and claims:
        sections.append(Section("Seed by seed", [seeds_table(claims)]))
    if claims:
        sections.append(Section("How each claim is decided", [rules_table(claims, findings)]))
    return sections


def _terms(findings: Findings) -> list[tuple[str, str]]:
    names = (*findings.unmasked, *findings.masked)
    arms = [findings.arms[name] for name in names if name in findings.arms]
    return glossary(arms, findings.page.terms)


def _opening(findings: Findings, claims: Sequence[ClaimResult]) -> list[Block]:
    return [
        Paragraph(QUESTION),
        Paragraph(
            [
                "The claims are those of the abstract of “The Difficulty of Training Sparse Neural "
                "Networks” (Evci, Pedregosa, Gomez and Elsen 2019, ",
                Link("arXiv 1906.10732", PAPER_ADDRESS),
                "); its full text is not claimed to be reproduced. Masks simulate sparsity: "
                "nothing here is faster for being sparse.",
            ]
        ),
        Paragraph(verdict_sentence(claims)),
        *([Paragraph(mixed)] if (mixed := machines_sentence(findings.records)) else []),
        *([verdict_table(claims)] if claims else []),
        *_sparsity_figure(findings),
    ]


def _sparsity_figure(findings: Findings) -> list[Block]:
    if not findings.runs:
        return [Paragraph("No end point has been trained: no accuracies to show.", "note")]
    return [sparsity_picture(findings)]


def _routes(panels: Sequence[Panel]) -> list[Route]:
    return list(dict.fromkeys(trace.route for panel in panels for trace in panel.traces))


def _claims_on(findings: Findings, panels: Sequence[Panel]) -> str:
    """Name the claims that a figure is about: ``(claim A)``, or nothing if there is none."""
    names = findings.asked.about(_routes(panels))
    return f"(claim{'s' if len(names) > 1 else ''} {', '.join(names)})" if names else ""


def _path_figure(findings: Findings, panels: Sequence[Panel], name: str, lead: str) -> list[Block]:
    """Return the figure of some panels, and a note on those of their paths that lack."""
    routes = _routes(panels)
    # What an experiment does not plan by default is drawn where there is some, and else not missed.
    expected = findings.asked.routes
    missing = missing_routes(findings, [route for route in routes if route in expected])
    note: list[Block] = [Paragraph(missing, "note")] if missing else []
    if not any(findings.along(route) for route in routes):
        return note
    picture: Picture = paths_picture(findings, panels, name, lead)
    return [picture, *note]
