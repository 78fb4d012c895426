"""Jobs that train nothing: what each does stands in its settings. No torch in here."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from lightning_sparse.errors import DivergedError, UserError
from lightning_sparse.pipeline.jobs import Job
from lightning_sparse.records import RECORD_FILE


def job(
    folder: Path, name: str, *deeds: str, needs: tuple[Job, ...] = (), cost: float = 1.0
) -> Job:
    """Make a job that does ``deeds``, one of the functions of `_DEEDS` each, and finishes."""
    return Job(
        run_id=name,
        kind="train",
        title=f"job {name}",
        run_dir=folder / name,
        settings=deeds,
        needs=needs,
        cost=cost,
    )


def execute(work: Job, report: Callable[[int, int], None] | None = None) -> str:
    """Do the deeds, note begin and end in a common log, and leave an empty record."""
    note(work, "begin")
    missing = [need.run_id for need in work.needs if not need.is_finished]
    assert not missing, f"{work.run_id} began before {missing}"
    for deed in work.settings:
        _DEEDS[deed](work)
    if report:
        report(1, 2)
        report(2, 2)
    work.run_dir.mkdir()
    (work.run_dir / RECORD_FILE).touch()
    note(work, "end")
    return f"made by {os.getpid()}"


def note(work: Job, event: str) -> None:
    """Append one short line, which is atomic."""
    with (work.run_dir.parent / "log").open("a") as log:
        log.write(f"{event} {work.run_id} {os.getpid()}\n")


def look(folder: Path, refusal: str = "") -> None:
    """What is done before all jobs."""
    with (folder / "log").open("a") as log:
        log.write(f"look - {os.getpid()}\n")
    if refusal:
        raise UserError(refusal)


def events(folder: Path) -> list[tuple[str, str]]:
    """Return what was noted: (event, job)."""
    log = folder / "log"
    lines = log.read_text().splitlines() if log.is_file() else []
    return [(line.split()[0], line.split()[1]) for line in lines]


def pids(folder: Path) -> set[int]:
    """Return the processes that noted anything."""
    return {int(line.split()[2]) for line in (folder / "log").read_text().splitlines()}


def wait_until(condition: Callable[[], bool], seconds: float = 120) -> None:
    """Wait for something that another process does."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.05)


def is_running(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _refuse(work: Job) -> None:
    raise UserError(f"value={work.run_id}: cannot be; try another")


def _diverge(work: Job) -> None:
    raise DivergedError(f"the training loss is nan in {work.run_id}")


def _break(work: Job) -> None:
    raise UnpicklableError(work.run_id, "two arguments")


def _kill_itself(_: Job) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _kill_itself_once(work: Job) -> None:
    if events(work.run_dir.parent).count(("begin", work.run_id)) == 1:
        _kill_itself(work)


def _interrupt_itself(_: Job) -> None:
    os.kill(os.getpid(), signal.SIGINT)


def _sleep_long(_: Job) -> None:
    time.sleep(600)


def _wait_for_company(work: Job) -> None:
    """Stay until another job runs at the same time."""
    folder = work.run_dir.parent
    wait_until(lambda: len({name for event, name in events(folder) if event == "begin"}) > 1)


def _sleep_until_stopped(_: Job) -> None:
    """Answer the signal that stops a worker with an exception, as Lightning does."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    time.sleep(600)


def _note_gpu(work: Job) -> None:
    file = work.run_dir.parent / f"{work.run_id}.gpu"
    file.write_text(os.environ.get("CUDA_VISIBLE_DEVICES", "none"))


class UnpicklableError(Exception):
    """Fails to be read back by another process, as exceptions of some libraries do."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")


_DEEDS = {
    "refuse": _refuse,
    "diverge": _diverge,
    "break": _break,
    "die": _kill_itself,
    "die once": _kill_itself_once,
    "interrupt": _interrupt_itself,
    "sleep": _sleep_long,
    "sleep until stopped": _sleep_until_stopped,
    "wait for company": _wait_for_company,
    "note gpu": _note_gpu,
}
