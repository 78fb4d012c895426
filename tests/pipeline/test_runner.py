import functools
import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import fake_jobs
import pytest
from fake_jobs import events, is_running, job, pids, wait_until
from rich.console import Console

from lightning_sparse.errors import DivergedError, UserError
from lightning_sparse.pipeline.places import Anywhere, Gpu, OnGpus
from lightning_sparse.pipeline.runner import run_here, run_jobs
from lightning_sparse.records import RECORD_FILE


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), width=200)


def printed(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def run(jobs, console, num_processes=2):
    run_jobs(jobs, fake_jobs.execute, places=Anywhere(num_processes), console=console)


def test_needs_come_first_and_nothing_runs_twice(tmp_path, console):
    mask = job(tmp_path, "mask")
    scratch, lottery = (job(tmp_path, name, needs=(mask,)) for name in ("scratch", "lottery"))
    path = job(tmp_path, "path", needs=(scratch, mask))

    run([path, lottery, scratch], console)

    begun = [name for event, name in events(tmp_path) if event == "begin"]
    assert sorted(begun) == ["lottery", "mask", "path", "scratch"]
    assert "job path: made by" in printed(console)
    assert "[4/4]" in printed(console)


def look_and_run(folder, console, **refusal):
    run_jobs(
        [job(folder, name) for name in ("a", "b")],
        fake_jobs.execute,
        places=Anywhere(1),
        console=console,
        first=functools.partial(fake_jobs.look, folder, **refusal),
    )


def test_what_comes_first_is_done_before_all_jobs_by_the_process_that_makes_them(tmp_path, console):
    look_and_run(tmp_path, console)
    assert events(tmp_path)[0] == ("look", "-")
    assert len(events(tmp_path)) == 5
    assert len(pids(tmp_path)) == 1


def test_no_job_begins_when_what_comes_first_refuses(tmp_path, console):
    with pytest.raises(UserError, match=r"^path\.space=start_mask: no$"):
        look_and_run(tmp_path, console, refusal="path.space=start_mask: no")
    assert events(tmp_path) == [("look", "-")]


def test_finished_jobs_are_skipped(tmp_path, console):
    done = job(tmp_path, "done", "refuse")
    done.run_dir.mkdir()
    (done.run_dir / RECORD_FILE).touch()

    run([job(tmp_path, "new", needs=(done,))], console)

    assert events(tmp_path) == [("begin", "new"), ("end", "new")]
    assert "2 runs and paths, 1 of them finished" in printed(console)


def test_no_process_is_started_when_all_is_finished(tmp_path, console, monkeypatch):
    monkeypatch.setattr("lightning_sparse.pipeline.workers._Worker", None)
    done = job(tmp_path, "done")
    done.run_dir.mkdir()
    (done.run_dir / RECORD_FILE).touch()

    run([done], console)


def test_jobs_run_side_by_side(tmp_path, console):
    run([job(tmp_path, name, "wait for company") for name in ("a", "b")], console)

    assert len(pids(tmp_path)) == 2


def test_a_process_is_used_again(tmp_path, console):
    run([job(tmp_path, name) for name in ("a", "b", "c")], console, num_processes=1)

    assert len(pids(tmp_path)) == 1


def test_what_others_need_begins_before_what_is_long(tmp_path, console):
    needed = job(tmp_path, "needed", cost=1)
    jobs = [
        job(tmp_path, "short", cost=2),
        job(tmp_path, "long", cost=9),
        job(tmp_path, "after", needs=(needed,), cost=3),
    ]

    run([*jobs, needed], console, num_processes=1)

    begun = [name for event, name in events(tmp_path) if event == "begin"]
    assert begun == ["needed", "long", "after", "short"]


def test_a_failure_drops_what_needs_it_and_nothing_else(tmp_path, console):
    bad = job(tmp_path, "bad", "refuse", cost=9)
    child = job(tmp_path, "child", needs=(bad,))
    grandchild = job(tmp_path, "grandchild", needs=(child,))
    others = [job(tmp_path, name) for name in ("x", "y")]

    with pytest.raises(UserError) as caught:
        run([grandchild, *others], console, num_processes=1)

    assert {name for event, name in events(tmp_path) if event == "end"} == {"x", "y"}
    assert str(caught.value) == (
        "job bad: value=bad: cannot be; try another; 2 jobs in need of these not begun"
    )


@pytest.mark.parametrize("others", [(), ("die",), ("refuse",)])
def test_leaving_the_finite_numbers_is_told_from_what_is_no_answer(tmp_path, console, others):
    deeds = ["diverge", "diverge", *others]
    jobs = [job(tmp_path, str(number), deed) for number, deed in enumerate(deeds)]
    with pytest.raises(UserError, match=r"^job 0: the training loss is nan in 0; ") as caught:
        run(jobs, console)
    assert isinstance(caught.value, DivergedError) != bool(others)


def test_errors_come_in_the_order_of_the_plan_not_of_the_ends(tmp_path, console):
    jobs = [job(tmp_path, str(number), "refuse", cost=number) for number in range(3)]
    with pytest.raises(UserError, match=r"^job 0: value=0: .*; job 1: value=1: .*; job 2: "):
        run(jobs, console, num_processes=1)
    assert [name for event, name in events(tmp_path) if event == "begin"] == ["2", "1", "0"]


def test_one_error_of_many_jobs_is_said_once(tmp_path, console):
    jobs = [job(tmp_path, name, "die") for name in ("a", "b", "c")]

    with pytest.raises(UserError, match=r"^job a and 2 others: its process was killed \(SIGKILL\)"):
        run(jobs, console, num_processes=1)


def test_an_error_that_cannot_travel_arrives_with_its_traceback(tmp_path, console):
    with pytest.raises(UserError, match=r"^job bad: UnpicklableError: bad: two arguments$"):
        run([job(tmp_path, "bad", "break"), job(tmp_path, "good")], console)

    assert "in _break" in printed(console)
    assert ("end", "good") in events(tmp_path)


def test_a_killed_process_is_one_clear_message_and_the_others_go_on(tmp_path, console):
    jobs = [job(tmp_path, "doomed", "die", cost=9), *(job(tmp_path, name) for name in ("a", "b"))]

    with pytest.raises(UserError, match=r"^job doomed: .*SIGKILL.*num_processes=1") as caught:
        run(jobs, console, num_processes=1)

    assert "\n" not in str(caught.value)
    assert {name for event, name in events(tmp_path) if event == "end"} == {"a", "b"}


def test_the_same_command_goes_on_after_a_killed_process(tmp_path, console):
    jobs = [job(tmp_path, "doomed", "die once"), job(tmp_path, "other")]
    with pytest.raises(UserError, match="SIGKILL"):
        run(jobs, console)

    run(jobs, console)

    assert sorted(events(tmp_path)).count(("begin", "other")) == 1
    assert ("end", "doomed") in events(tmp_path)


@pytest.mark.parametrize("deed", ["sleep", "sleep until stopped"])
def test_an_interrupt_stops_everything_within_seconds(deed, program, tmp_path):
    process = program(deed)
    wait_until(lambda: len(events(tmp_path)) == 2)

    process.send_signal(signal.SIGINT)

    _, errors = process.communicate(timeout=120)
    assert "KeyboardInterrupt" in errors
    assert errors.count("Traceback") == 1, "only the parent answers Ctrl-C"
    assert not any(map(is_running, pids(tmp_path)))
    assert ("begin", "c") not in events(tmp_path)


def test_workers_never_see_ctrl_c_which_reaches_the_whole_group_of_a_terminal(program):
    output, errors = program("interrupt").communicate(timeout=300)

    assert errors == ""
    assert "[3/3]" in output


def test_workers_do_not_outlive_a_killed_parent(program, tmp_path):
    process = program("sleep")
    wait_until(lambda: len(events(tmp_path)) == 2)

    process.kill()
    process.communicate(timeout=120)

    wait_until(lambda: not any(map(is_running, pids(tmp_path))))


@pytest.fixture
def program(tmp_path, popen):
    """Start the program of its own with a deed."""

    def start(deed: str) -> "subprocess.Popen[str]":
        path = os.pathsep.join([os.environ["PYTHONPATH"], *sys.path])
        file = Path(__file__).parent / "run_fake_jobs.py"
        return popen(
            [sys.executable, str(file), str(tmp_path), deed], {**os.environ, "PYTHONPATH": path}
        )

    return start


def test_here_jobs_run_one_by_one_in_this_process(tmp_path, console):
    first = job(tmp_path, "first")

    run_here([job(tmp_path, "second", needs=(first,))], fake_jobs.execute, console=console)

    assert pids(tmp_path) == {os.getpid()}
    assert [name for event, name in events(tmp_path) if event == "end"] == ["first", "second"]


def test_here_an_error_stops_what_follows(tmp_path, console):
    jobs = [job(tmp_path, "bad", "refuse"), job(tmp_path, "other")]

    with pytest.raises(UserError, match=r"^value=bad: cannot be"):
        run_here(jobs, fake_jobs.execute, console=console)

    assert events(tmp_path) == [("begin", "bad")]


def test_each_process_is_told_its_own_gpu(tmp_path, console):
    """What the processes see, of GPUs that are not there."""
    free = {"GPU-a": 9_000, "GPU-b": 9_000}
    gpus = OnGpus(
        list(free),
        num_processes=4,
        setting="reproduce.num_processes",
        num_cores=8,
        measure=lambda: {
            uuid: Gpu(uuid=uuid, total_mib=10_000, free_mib=mib) for uuid, mib in free.items()
        },
        say=console.print,
    )
    jobs = [job(tmp_path, name, "note gpu", "wait for company") for name in "abcd"]

    run_jobs(jobs, fake_jobs.execute, places=gpus, console=console)

    seen = [(tmp_path / f"{name}.gpu").read_text() for name in "abcd"]
    assert sorted(seen) == ["GPU-a", "GPU-a", "GPU-b", "GPU-b"]
    assert os.environ.get("CUDA_VISIBLE_DEVICES") not in free
