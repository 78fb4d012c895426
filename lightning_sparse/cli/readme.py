"""``lightning-sparse readme``: the README's figure and table, from the records under results/."""

from pathlib import Path

from rich.console import Console

from lightning_sparse.analysis.judge import judge_all
from lightning_sparse.analysis.triples import judge_triples
from lightning_sparse.cli.compose import Settings
from lightning_sparse.cli.publish import RESULTS_DIR
from lightning_sparse.cli.report import RECORDS_FILE, read_experiment
from lightning_sparse.report.readme import update_readme


def run(settings: Settings) -> None:
    """Judge the published records again and replace what stands between the README's markers."""
    experiment = settings["experiment_name"]
    folder = RESULTS_DIR / experiment
    records = read_experiment(folder / RECORDS_FILE, settings)
    sparsity, rules = settings["sparsity"], settings["report"]["rules"]
    claims = judge_all(records, headline_sparsity=sparsity, rules=rules)
    triples = judge_triples(records, headline_sparsity=sparsity, rules=rules)
    figure = folder / "headline.png"
    update_readme(Path("README.md"), experiment, records, claims, triples, figure)
    Console().print(f"README.md shows {folder}", highlight=False)
