"""``lightning-sparse readme``: figures and tables of the pages, from the records under results/."""

from pathlib import Path

from rich.console import Console

from lightning_sparse.analysis.judge import judge_all
from lightning_sparse.analysis.triples import judge_triples
from lightning_sparse.cli import laboratory, methods
from lightning_sparse.cli.publish import HEADLINE_FILE, SEARCH_FILE, results_dir
from lightning_sparse.cli.report import RECORDS_FILE, read_experiment
from lightning_sparse.planning.laboratory import rules as rules_of_laboratory
from lightning_sparse.records import NEWEST_RULES
from lightning_sparse.report import methods_page
from lightning_sparse.report.laboratory_page import FIGURES
from lightning_sparse.report.readme import (
    SEARCH,
    explained,
    has_markers,
    in_full,
    in_short,
    listed_claims,
    picture,
    update_page,
)
from lightning_sparse.settings.arms import arms
from lightning_sparse.settings.compose import Composed

README, RESULTS_PAGE = Path("README.md"), Path("docs/results.md")
LABORATORY_PAGE = Path("docs/laboratory.md")
METHODS_PAGE = Path("docs/methods.md")


def run(settings: Composed) -> None:
    """Judge the published records again; replace what stands between the markers of the pages.

    ``report.rules=1`` takes the records that were published under rules 1. The README shows what
    it has markers for, in one row per claim; the page of results shows everything, and a page of
    its own the laboratory's table and figures, where it has been published. Methods beside each
    other have their table and figure on the page of methods.
    """
    if settings.methods.arms:
        _show_methods(settings)
        return
    of_laboratory = results_dir(settings.experiment_name, NEWEST_RULES) / laboratory.PLACE
    if settings.report.rules in {None, NEWEST_RULES} and (of_laboratory / RECORDS_FILE).is_file():
        _show_laboratory(settings, of_laboratory)
        if not (of_laboratory.parent / RECORDS_FILE).is_file():
            return
    experiment, rules = settings.experiment_name, settings.report.rules or NEWEST_RULES
    name = experiment if rules == NEWEST_RULES else f"{experiment}, rules {rules}"
    folder = results_dir(experiment, rules)
    records = read_experiment(folder / RECORDS_FILE, settings)
    claims = judge_all(records, headline_sparsity=settings.sparsity, rules=rules)
    triples = judge_triples(records, headline_sparsity=settings.sparsity, rules=rules)
    figure, search = folder / HEADLINE_FILE, folder / SEARCH_FILE
    shown = [picture(figure, RESULTS_PAGE)]
    if search.is_file():
        shown.append(picture(search, RESULTS_PAGE, SEARCH))
    blocks = "\n\n".join([*shown, in_full(records, claims, triples)])
    update_page(RESULTS_PAGE, name, blocks)
    if has_markers(README, name):
        short = f"{picture(figure, README)}\n\n{in_short(records, claims)}"
        update_page(README, name, short)
    Console().print(f"{RESULTS_PAGE} shows {folder}", highlight=False)


def _show_methods(settings: Composed) -> None:
    folder = results_dir(settings.experiment_name, NEWEST_RULES)
    records = read_experiment(folder / RECORDS_FILE, settings)
    claims = methods.judged(settings, records)
    shown = picture(folder / methods_page.FIGURE, METHODS_PAGE, methods_page.WORDS)
    table = methods_page.in_markdown(records, claims, arms(settings))
    update_page(METHODS_PAGE, settings.experiment_name, f"{shown}\n\n{table}")
    Console().print(f"{METHODS_PAGE} shows {folder}", highlight=False)


def _show_laboratory(settings: Composed, folder: Path) -> None:
    records = read_experiment(folder / RECORDS_FILE, settings)
    asked = rules_of_laboratory(settings)
    claims = judge_all(records, headline_sparsity=settings.sparsity, rules=asked)
    name = f"{settings.experiment_name}, laboratory"
    table = explained(records, asked.questions, claims)
    figures = [folder / "figures" / f"{figure}.png" for figure in FIGURES]
    shown = [
        picture(figure, LABORATORY_PAGE, words)
        for figure, words in zip(figures, FIGURES.values(), strict=True)
        if figure.is_file()
    ]
    update_page(LABORATORY_PAGE, name, "\n\n".join([table, *shown, listed_claims(claims)]))
    if has_markers(README, name):
        update_page(README, name, table)
    Console().print(f"{LABORATORY_PAGE} shows {folder}", highlight=False)
