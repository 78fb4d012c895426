"""``lightning-sparse report``: judge and draw again, from records alone. No torch in here."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from lightning_sparse.analysis.claim import ClaimResult, to_json
from lightning_sparse.analysis.judge import judge_all
from lightning_sparse.analysis.triples import judge_triples
from lightning_sparse.cli import across
from lightning_sparse.errors import UserError
from lightning_sparse.execution.tracker_choice import track_report
from lightning_sparse.files.storage import write_text_atomic
from lightning_sparse.planning.reproduce import asked
from lightning_sparse.records import Record, read_records
from lightning_sparse.records import to_json as to_line
from lightning_sparse.report.document import write_report
from lightning_sparse.report.findings import Findings
from lightning_sparse.report.pages import PAGE
from lightning_sparse.report.terminal import print_claims
from lightning_sparse.settings.arms import arms
from lightning_sparse.settings.compose import Composed

RECORDS_FILE = "records.jsonl"
CLAIMS_FILE = "claims.json"

WIDTH_OF_LOGS = 140  # columns, so that the table stays readable where no terminal sets its width


def run(settings: Composed) -> None:
    """Write claims.json, report.html, report.md and the figures beside the records.

    Records of other machines, where the settings name some, are put into the file of records first.
    Where there are records of the laboratory beside them, its page is written again too.
    """
    from lightning_sparse.cli import laboratory  # whose own command ends with a report

    if settings.report.runs is not None:
        across.run(settings, Path(settings.report.runs))
        return
    folder = report_dir(settings)
    if others := settings.report.records:
        put_together([Path(other) for other in others], folder / RECORDS_FILE, settings)
    if laboratory.is_there(settings):
        laboratory.report_again(settings, Console())
        if not (folder / RECORDS_FILE).is_file():
            return
    records = read_experiment(folder / RECORDS_FILE, settings)
    rules, sparsity = asked(settings, records), settings.sparsity
    claims = judge_all(records, headline_sparsity=sparsity, rules=rules)
    write_text_atomic(folder / CLAIMS_FILE, to_json(claims))
    write_report(
        Findings(records, sparsity, rules, arms(settings)),
        claims,
        judge_triples(records, headline_sparsity=sparsity, rules=rules),
        title=settings.reproduce.title,
        report_dir=folder,
    )
    say_verdicts(claims, folder / PAGE, Console())
    track_report(settings, folder / PAGE)


def say_verdicts(claims: Sequence[ClaimResult], page: Path, console: Console) -> None:
    """Print the claims as a table, and where the page is that shows them."""
    if not console.is_terminal:
        console.width = WIDTH_OF_LOGS
    print_claims(claims, console)
    console.print(f"report: {page}", markup=False, highlight=False, soft_wrap=True)


def put_together(others: Sequence[Path], target: Path, settings: Composed) -> None:
    """Add the records of other machines to those of this one, which may have none.

    Args:
        others: Files of records, or folders that hold one.
        target: The file that is written; what it holds stays.
        settings: Name the experiment.

    Raises:
        UserError: If a file cannot be read or is of another experiment, or if a run has been done
            on two machines, whose numbers differ in their last bits at least.
    """
    files = [other / RECORDS_FILE if other.is_dir() else other for other in others]
    found: dict[str, tuple[Path, Record]] = {}
    for file in [*([target] if target.is_file() else []), *files]:
        for record in read_experiment(file, settings):
            first, known = found.setdefault(record.run_id, (file, record))
            if known != record:
                raise UserError(
                    f"report.records: {record.run_id} is in {first} and, with other results, in "
                    f"{file}; a run counts once: leave it out of one of them"
                )
    lines = [to_line(record) for _, record in found.values()]
    write_text_atomic(target, "".join(f"{line}\n" for line in lines))


def report_dir(settings: Composed) -> Path:
    """Return the folder that records, claims and report go to."""
    return Path(settings.runs_dir, settings.reproduce.dir)


def read_experiment(record_file: Path, settings: Composed) -> list[Record]:
    """Read records and see that they are those of the experiment that the settings name.

    Raises:
        UserError: If they are of another one, whose headline sparsity may be another too.
    """
    records = read_records(record_file)
    others = {record.experiment for record in records} - {settings.experiment_name}
    if others:
        raise UserError(
            f"{record_file}: holds records of experiment {', '.join(sorted(others))}, not "
            f"{settings.experiment_name}; say experiment=NAME (make: EXPERIMENT=NAME)"
        )
    return records
