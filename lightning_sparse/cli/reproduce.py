"""``lightning-sparse reproduce``: train, connect, judge and report everything. No torch in here."""

from rich.console import Console

from lightning_sparse.cli import report
from lightning_sparse.cli.slurm import submit_whole
from lightning_sparse.errors import UserError
from lightning_sparse.execution.session import make_all_that_converge, places
from lightning_sparse.files.storage import write_text_atomic
from lightning_sparse.planning.reproduce import check, plan_all
from lightning_sparse.process.locks import held
from lightning_sparse.records import to_json
from lightning_sparse.settings.compose import Composed
from lightning_sparse.settings.variants import one_device_each


def run(settings: Composed) -> None:
    """Make every run and path that is missing, then judge and report on all of them.

    Raises:
        DivergedError: After the report, if something left the finite numbers, and is missing there.
    """
    check(settings)
    console = Console()
    given, settings = settings, one_device_each(settings)
    jobs = plan_all(settings)
    folder = report.report_dir(settings)
    with held(folder / ".lock", refuse):
        diverged = make_all_that_converge(jobs, places(given, console), console)
        if lines := [to_json(job.record()) for job in jobs if job.is_finished]:
            write_text_atomic(folder / report.RECORDS_FILE, "\n".join(lines) + "\n")
            report.run(settings)
        if diverged is not None:
            raise diverged


def submit(settings: Composed) -> None:
    """Submit every run and path that is missing, and a job that reports on all of them."""
    check(settings)
    name = f"report-{settings.reproduce.dir}"
    submit_whole(settings, plan_all(settings), verb="reproduce", name=name)


def refuse(owner: str) -> None:
    """Refuse to write into a folder that another command writes into.

    Raises:
        UserError: Always.
    """
    raise UserError(
        f"{owner} makes or reports on this experiment already; wait for it, stop it, or "
        "choose another folder with reproduce.dir=..."
    )
