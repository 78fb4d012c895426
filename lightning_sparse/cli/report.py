"""``lightning-sparse report``: judge and draw again, from records alone. No torch in here."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from lightning_sparse.analysis.claim import to_json
from lightning_sparse.analysis.judge import judge_all, rule_set
from lightning_sparse.analysis.rule_set import RuleSet
from lightning_sparse.analysis.triples import judge_triples
from lightning_sparse.cli import across
from lightning_sparse.cli.arms import arms
from lightning_sparse.cli.compose import Settings
from lightning_sparse.cli.objects import build_question
from lightning_sparse.cli.tracking import track_report
from lightning_sparse.errors import UserError
from lightning_sparse.records import Record, read_records
from lightning_sparse.report.document import write_report
from lightning_sparse.report.findings import Findings
from lightning_sparse.report.terminal import print_claims
from lightning_sparse.storage import write_text_atomic

RECORDS_FILE = "records.jsonl"
CLAIMS_FILE = "claims.json"

WIDTH_OF_LOGS = 140  # columns, so that the table stays readable where no terminal sets its width


def run(settings: Settings) -> None:
    """Write claims.json, report.html, report.md and the figures beside the records."""
    if settings["report"]["runs"] is not None:
        across.run(settings)
        return
    folder = report_dir(settings)
    records = read_experiment(folder / RECORDS_FILE, settings)
    rules, sparsity = asked(settings, records), settings["sparsity"]
    claims = judge_all(records, headline_sparsity=sparsity, rules=rules)
    write_text_atomic(folder / CLAIMS_FILE, to_json(claims))
    write_report(
        Findings(records, sparsity, rules, arms(settings)),
        claims,
        judge_triples(records, headline_sparsity=sparsity, rules=rules),
        title=settings["reproduce"]["title"],
        report_dir=folder,
    )
    console = Console()
    if not console.is_terminal:
        console.width = WIDTH_OF_LOGS
    print_claims(claims, console)
    track_report(settings, folder / "report.html")
    text = f"report: {folder / 'report.html'}"
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def asked(settings: Settings, records: Sequence[Record] = ()) -> RuleSet:
    """Return what is asked of an experiment: its rules, and the claims that it adds.

    Args:
        settings: As composed.
        records: What was measured already, by rules that are kept; none before the first run.

    Raises:
        UserError: If one of the added is no claim, or does not fit the others.
    """
    added = [build_question(name) for name in settings["reproduce"]["further_claims"]]
    return rule_set(settings["report"]["rules"] if records else None, records, added)


def report_dir(settings: Settings) -> Path:
    """Return the folder that records, claims and report go to."""
    return Path(settings["runs_dir"], settings["reproduce"]["dir"])


def read_experiment(record_file: Path, settings: Settings) -> list[Record]:
    """Read records and see that they are those of the experiment that the settings name.

    Raises:
        UserError: If they are of another one, whose headline sparsity may be another too.
    """
    records = read_records(record_file)
    others = {record.experiment for record in records} - {settings["experiment_name"]}
    if others:
        raise UserError(
            f"{record_file}: holds records of experiment {', '.join(sorted(others))}, not "
            f"{settings['experiment_name']}; say experiment=NAME (make: EXPERIMENT=NAME)"
        )
    return records
