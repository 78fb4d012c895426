import os
import socket
import subprocess
import sys
import threading
import time

import pytest

from lightning_sparse.errors import UserError
from lightning_sparse.process.locks import held

HOLD = """
import sys, time
from pathlib import Path
from lightning_sparse.process.locks import held
with held(Path(sys.argv[1]), print):
    print("held", flush=True)
    time.sleep(600)
"""


def refuse(owner: str) -> None:
    raise UserError(f"held by {owner}")


@pytest.fixture
def holder(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "lock")],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_lock_that_is_taken_names_its_owner(tmp_path, holder):
    owner = f"^held by process {holder.pid} on {socket.gethostname()}$"
    with pytest.raises(UserError, match=owner), held(tmp_path / "lock", refuse):
        pytest.fail("held twice")


def test_a_killed_owner_stops_nobody(tmp_path, holder):
    holder.kill()
    holder.wait()
    assert (tmp_path / "lock").read_text().startswith(f"process {holder.pid} on ")

    with held(tmp_path / "lock", refuse):
        assert (tmp_path / "lock").read_text().startswith(f"process {os.getpid()} on ")


def test_a_lock_leaves_no_file(tmp_path):
    with held(tmp_path / "new" / "lock", refuse):
        pass

    assert list(tmp_path.iterdir()) == []


def test_a_lock_is_given_back_after_an_error(tmp_path):
    with pytest.raises(RuntimeError), held(tmp_path / "lock", refuse):
        raise RuntimeError

    with held(tmp_path / "lock", refuse):
        pass


def test_who_may_wait_goes_on_when_the_owner_is_gone(tmp_path, holder):
    owners = []
    killer = threading.Timer(0.3, holder.kill)
    killer.start()

    with held(tmp_path / "lock", owners.append):
        assert owners == [f"process {holder.pid} on {socket.gethostname()}"]
    killer.join()


def test_no_two_hold_a_lock_that_changes_hands_many_times(tmp_path):
    holders, most = [], []

    def take_often() -> None:
        for _ in range(50):
            with held(tmp_path / "lock", lambda _: None):
                holders.append(1)
                time.sleep(0.0005)
                most.append(len(holders))
                holders.pop()

    threads = [threading.Thread(target=take_often) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert most == [1] * 200


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").touch()

    with (
        pytest.raises(UserError, match=r"^cannot lock .*: .* exists; .*runs_dir"),
        held(tmp_path / "file" / "lock", refuse),
    ):
        pytest.fail("locked")
