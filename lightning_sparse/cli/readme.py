"""``lightning-sparse readme``: figures and tables of the pages, from the records under results/."""

from pathlib import Path

from rich.console import Console

from lightning_sparse.analysis.judge import judge_all
from lightning_sparse.analysis.triples import judge_triples
from lightning_sparse.cli.publish import results_dir
from lightning_sparse.cli.report import RECORDS_FILE, read_experiment
from lightning_sparse.records import NEWEST_RULES
from lightning_sparse.report.readme import has_markers, in_full, in_short, picture, update_page
from lightning_sparse.settings.compose import Composed

README, RESULTS_PAGE = Path("README.md"), Path("docs/results.md")


def run(settings: Composed) -> None:
    """Judge the published records again; replace what stands between the markers of both pages.

    ``report.rules=1`` takes the records that were published under rules 1. The README shows what
    it has markers for, in one row per claim; the page of results shows everything.
    """
    experiment, rules = settings.experiment_name, settings.report.rules or NEWEST_RULES
    name = experiment if rules == NEWEST_RULES else f"{experiment}, rules {rules}"
    folder = results_dir(experiment, rules)
    records = read_experiment(folder / RECORDS_FILE, settings)
    claims = judge_all(records, headline_sparsity=settings.sparsity, rules=rules)
    triples = judge_triples(records, headline_sparsity=settings.sparsity, rules=rules)
    figure = folder / "headline.png"
    shown = picture(figure, RESULTS_PAGE)
    update_page(RESULTS_PAGE, name, f"{shown}\n\n{in_full(records, claims, triples)}")
    if has_markers(README, name):
        shown = picture(figure, README)
        update_page(README, name, f"{shown}\n\n{in_short(records, claims)}")
    Console().print(f"{RESULTS_PAGE} shows {folder}", highlight=False)
