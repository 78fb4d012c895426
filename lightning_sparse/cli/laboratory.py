"""``lightning-sparse laboratory``: is it the subspace, the start or the time? No torch in here."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from lightning_sparse.analysis.claim import to_json as claims_to_json
from lightning_sparse.analysis.judge import judge_all
from lightning_sparse.analysis.laboratory import ESCAPES
from lightning_sparse.cli import report, reproduce
from lightning_sparse.cli.slurm import submit_whole
from lightning_sparse.errors import UserError
from lightning_sparse.execution.session import make_all_that_converge, places
from lightning_sparse.files.storage import write_text_atomic
from lightning_sparse.planning.laboratory import plan_all, rules
from lightning_sparse.process.locks import held
from lightning_sparse.records import Record, RunRecord, to_json
from lightning_sparse.report.findings import Findings
from lightning_sparse.report.laboratory_page import Course, write_page
from lightning_sparse.report.pages import PAGE
from lightning_sparse.settings.arms import arms
from lightning_sparse.settings.compose import Composed
from lightning_sparse.settings.jobs import Job
from lightning_sparse.settings.variants import one_device_each

PLACE = "laboratory"
COURSES_FILE = "courses.jsonl"
_HISTORY_FILE = "history.jsonl"


def run(settings: Composed) -> None:
    """Make every run and path that is missing, judge them by PROTOCOL.md, section 11, and report.

    What is finished is read, so the same command goes on after it was killed.

    Raises:
        DivergedError: After the report, if something left the finite numbers, and is missing there.
    """
    console = Console()
    given, settings = settings, one_device_each(settings)
    jobs = plan_all(settings)
    folder = folder_of(settings)
    with held(folder / ".lock", reproduce.refuse):
        at, diverged = places(given, console), None
        tried, new = set[str](), jobs
        while new:
            diverged = make_all_that_converge(new, at, console) or diverged
            tried |= {job.run_id for job in jobs}
            # What a search found says where it goes on.
            jobs = plan_all(settings)
            new = [job for job in jobs if job.run_id not in tried]
        if finished := [job for job in jobs if job.is_finished]:
            _write(settings, finished, folder, console)
        if diverged is not None:
            raise diverged


def submit(settings: Composed) -> None:
    """Submit every run and path that is missing, and a job that judges and reports."""
    name = f"laboratory-{settings.reproduce.dir}"
    submit_whole(settings, plan_all(settings), verb="laboratory", name=name)


def report_again(settings: Composed, console: Console) -> None:
    """Judge and draw again from what `run` has left, or from what of it is published.

    Raises:
        UserError: If a file is missing or damaged.
    """
    folder = folder_of(settings)
    records = report.read_experiment(folder / report.RECORDS_FILE, settings)
    _report(settings, records, read_courses(folder / COURSES_FILE), folder, console)


def is_there(settings: Composed) -> bool:
    """Whether there are records of the laboratory beside those of the experiment."""
    return (folder_of(settings) / report.RECORDS_FILE).is_file()


def folder_of(settings: Composed) -> Path:
    """Return where records, verdicts and page of the laboratory go: beside the main report."""
    return report.report_dir(settings) / PLACE


def _write(settings: Composed, jobs: Sequence[Job], folder: Path, console: Console) -> None:
    records = [job.record() for job in jobs]
    courses = [course for job in jobs if (course := course_of(job))]
    lines = [to_json(record) for record in records]
    write_text_atomic(folder / report.RECORDS_FILE, "\n".join(lines) + "\n")
    courses_text = "".join(json.dumps(asdict(course)) + "\n" for course in courses)
    write_text_atomic(folder / COURSES_FILE, courses_text)
    _report(settings, records, courses, folder, console)


def _report(
    settings: Composed,
    records: Sequence[Record],
    courses: Sequence[Course],
    folder: Path,
    console: Console,
) -> None:
    asked, sparsity = rules(settings), settings.sparsity
    claims = judge_all(records, headline_sparsity=sparsity, rules=asked)
    write_text_atomic(folder / report.CLAIMS_FILE, claims_to_json(claims))
    write_page(
        Findings(records, sparsity, asked, arms(settings)),
        claims,
        courses,
        title=settings.reproduce.title,
        folder=folder,
    )
    report.say_verdicts(claims, folder / PAGE, console)


def read_courses(file: Path) -> list[Course]:
    """Read the courses of the runs that go on from the scratch solution.

    Raises:
        UserError: If there is no such file, or it holds something else.
    """
    if not file.is_file():
        raise UserError(f"no file {file}; run `make laboratory` first, or copy it there too")
    courses = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            courses.append(Course(**json.loads(line)))
        except (TypeError, ValueError) as error:
            raise UserError(
                f"{file}:{number}: is no course ({error}); the file is damaged"
            ) from None
    return courses


def course_of(job: Job) -> Course | None:
    """Return how the loss of a run went that goes on from the scratch solution; None of others."""
    record = job.record()
    if not isinstance(record, RunRecord) or record.arm not in ESCAPES:
        return None
    text = (job.run_dir / _HISTORY_FILE).read_text(encoding="utf-8")
    looks = [json.loads(line) for line in text.splitlines()]
    return Course(
        arm=record.arm,
        seed=record.seed,
        steps=[look["step"] for look in looks],
        losses=[look["batch_cross_entropy"] for look in looks],
    )
