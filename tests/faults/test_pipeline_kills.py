"""``reproduce`` killed again and again at random times, at whatever stage it then is."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lightning_sparse.process.preemption import EXIT_STATUS
from tests.faults.findings import IS_ASKED, note

pytestmark = [pytest.mark.faults, pytest.mark.slow_faults, pytest.mark.pipeline]

# The page shows twenty, each of which costs the imports of three processes.
NUM_KILLS = 20 if IS_ASKED else 6
WORDS = ["experiment=smoke", "reproduce.seeds=[21,22]", "reproduce.num_processes=2",
         "checkpoint.every_seconds=0.000001", "checkpoint.largest_share=1.0"]  # fmt: skip


def start(runs_dir: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "lightning_sparse.cli.main", "reproduce", *WORDS,
         f"runs_dir={runs_dir}"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip


def finished(runs_dir: Path) -> dict[str, bytes]:
    """Return the files of all finished runs and paths."""
    return {
        str(file.relative_to(runs_dir)): file.read_bytes()
        for record in runs_dir.glob("*/record.json")
        for file in record.parent.glob("*.*")
    }


def workers_of(parent: int) -> list[int]:
    """Return the processes that ``parent`` started."""
    children = Path(f"/proc/{parent}/task/{parent}/children")
    return [int(pid) for pid in children.read_text().split()] if children.exists() else []


def run_to_the_end(runs_dir: Path) -> bytes:
    """Run, and return the claims."""
    process = start(runs_dir)
    output, _ = process.communicate(timeout=900)
    assert process.returncode == 0, output
    return (runs_dir / "reproduce_smoke/claims.json").read_bytes()


def interrupt(runs_dir: Path, how: str, seconds: float, draw: random.Random) -> bool:
    """Start, kill after so many seconds, and look at what is left; return whether it still ran."""
    before = finished(runs_dir)
    process = start(runs_dir)
    time.sleep(seconds)
    is_running = process.poll() is None
    if is_running:
        workers = workers_of(process.pid)
        if how == "a worker killed" and not workers:
            how = "all killed"  # none has begun yet
        victim = draw.choice(workers) if how == "a worker killed" else process.pid
        os.kill(victim, signal.SIGTERM if how == "asked to stop" else signal.SIGKILL)
    output, _ = process.communicate(timeout=900)

    assert "Traceback" not in output, output
    if process.returncode == EXIT_STATUS:
        assert "stopped by SIGTERM; start the same command again to go on" in output
    after = finished(runs_dir)
    lost = [name for name in before if after.get(name) != before[name]]
    note(test="pipeline kills", of=how, running=is_running, differences=lost)
    assert lost == []
    return is_running


def test_kills_lose_nothing_and_change_no_claim(tmp_path):
    began = time.monotonic()
    claims = run_to_the_end(tmp_path / "undisturbed")
    whole = time.monotonic() - began
    draw = random.Random(20)

    num_kills = 0
    while num_kills < NUM_KILLS:
        how = draw.choice(["all killed", "a worker killed", "asked to stop"])
        # Its imports take a part of each.
        if interrupt(tmp_path / "killed", how, draw.uniform(0.02, 0.3) * whole, draw):
            num_kills += 1
        else:
            # It had come to its end, which must be the same: once more from the beginning.
            assert run_to_the_end(tmp_path / "killed") == claims
            shutil.rmtree(tmp_path / "killed")

    is_equal = run_to_the_end(tmp_path / "killed") == claims
    note(test="pipeline claims", differences=[] if is_equal else ["claims.json"])
    assert is_equal
    assert not [file for file in tmp_path.rglob(".*") if file.name.endswith((".part", ".lock"))]
