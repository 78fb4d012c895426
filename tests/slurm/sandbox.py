"""A SLURM of two nodes on this machine, in a folder of its own, for the user who calls.

Debian's packages can run several slurmd on one host, told apart by name and port. The nodes are
called after loopback addresses, since the first node's name becomes the address of rank 0.
"""

import contextlib
import getpass
import io
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from lightning_sparse.cli.main import main

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "squeue", "sinfo")
NODES = ("127.0.0.2", "127.0.0.3")

_LONGEST_FOLDER = 60  # of the 108 characters that the name of a Unix socket may have
_CPUS, _MEGABYTES = 8, 2000  # of each node; nothing enforces them

_CONFIGURATION = """\
ClusterName=sandbox
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
SlurmctldPort={port}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CredType=cred/munge
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=1,sched_interval=2,bf_interval=2,requeue_delay=1
JobRequeue=1
FirstJobId={first_job}
ReturnToService=2
MinJobAge=3600
KillWait=5
PropagateResourceLimits=NONE
SlurmdParameters=config_overrides
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmctldParameters=preempt_send_user_signal
{nodes}
PartitionName=low Nodes={names} Default=YES MaxTime=60 State=UP PriorityTier=1 GraceTime=50
PartitionName=high Nodes={names} Default=NO MaxTime=60 State=UP PriorityTier=10 PreemptMode=OFF
"""


class Sandbox:
    """A cluster that has been started.

    Args:
        folder: Empty, with a short name.

    Attributes:
        variables: By which the commands of SLURM find this cluster.
    """

    def __init__(self, folder: Path) -> None:
        if len(str(folder)) > _LONGEST_FOLDER:
            raise ValueError(f"{folder}: too long for the sockets in it; use {_LONGEST_FOLDER}")
        self.folder = folder
        self.variables = {
            "SLURM_CONF": str(folder / "slurm.conf"),
            # Debian's daemons live where an ordinary user's PATH does not lead.
            "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin",
            "GLOO_SOCKET_IFNAME": "lo",
        }

    def start(self) -> None:
        """Start munge, the controller and two nodes; return when both are idle."""
        # Munge serves all users of a machine, and insists that they could reach its socket.
        self.folder.chmod(0o755)
        for name in ("state", "munge", *(f"spool/{node}" for node in NODES)):
            (self.folder / name).mkdir(parents=True)
        key = self.folder / "munge" / "key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o600)
        (self.folder / "slurm.conf").write_text(self._configuration())
        self.run(
            "munged", f"--key-file={key}", f"--socket={self.folder}/munge.socket",
            f"--pid-file={self.folder}/munged.pid", f"--log-file={self.folder}/munged.log",
            f"--seed-file={self.folder}/munge/seed", "--num-threads=2",
        )  # fmt: skip
        self.run("slurmctld")
        for node in NODES:
            self.run("slurmd", "-N", node)
        self.wait_until(
            lambda: self.run("sinfo", "-hNp", "low", "-o", "%T").split() == ["idle"] * 2
        )

    def stop(self) -> None:
        """Cancel every job, then stop the daemons that this sandbox started, by their pid files."""
        files = [*sorted(self.folder.glob("slurmd.*.pid")), self.folder / "slurmctld.pid"]
        if files[-1].is_file():
            with contextlib.suppress(subprocess.SubprocessError, TimeoutError):
                self.run("scancel", "-u", getpass.getuser())
                self.wait_until(lambda: not self.run("squeue", "-h"), seconds=20)
        for file in (*files, self.folder / "munged.pid"):
            if file.is_file():
                self._stop(int(file.read_text()), file.name.partition(".")[0])

    def run(self, *command: str, **variables: str) -> str:
        """Run one command against this cluster and return what it printed."""
        done = subprocess.run(
            command, env=self._environment(variables), capture_output=True, text=True, timeout=300,
            check=False,
        )  # fmt: skip
        if done.returncode:
            raise subprocess.CalledProcessError(
                done.returncode, command, done.stdout, f"{done.stderr}\n{self.logs()}"
            )
        return done.stdout.strip()

    def main(self, *words: str) -> tuple[int, str, str]:
        """Call this project's command line as from a shell of this cluster.

        In this process, which has imported what takes a command the longest.

        Returns:
            Its exit status, and what it printed as its result and as errors.
        """
        said, errors = io.StringIO(), io.StringIO()
        before = dict(os.environ)
        os.environ.update(self.variables)
        try:
            with contextlib.redirect_stdout(said), contextlib.redirect_stderr(errors):
                status = main(words)
        finally:
            os.environ.clear()
            os.environ.update(before)
        return status, said.getvalue(), errors.getvalue()

    def state(self, job_id: str) -> str:
        """State of a job, in SLURM's word."""
        return self._field(job_id, "JobState")

    def restarts(self, job_id: str) -> int:
        """How often a job was requeued."""
        return int(self._field(job_id, "Restarts"))

    def wait_for(self, *job_ids: str, state: str = "COMPLETED", seconds: float = 240) -> None:
        """Wait until jobs are in a state; do not wait for jobs that have failed."""
        for job_id in job_ids:

            def is_there(job_id: str = job_id) -> bool:
                now = self.state(job_id)
                if now in {"FAILED", "TIMEOUT", "CANCELLED", "NODE_FAIL"} and now != state:
                    output = self._field(job_id, "StdOut")
                    raise AssertionError(f"job {job_id} {now}: {_tail(Path(output))}")
                return now == state

            self.wait_until(is_there, seconds=seconds)

    def wait_until(self, holds: Callable[[], bool], *, seconds: float = 30) -> None:
        """Wait for something, but not for ever."""
        deadline = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > deadline:
                raise TimeoutError(f"waited {seconds} s\n{self.run('squeue')}\n{self.logs()}")
            time.sleep(0.2)

    @contextlib.contextmanager
    def nothing_begins(self) -> Iterator[None]:
        """Let jobs be submitted and wait: what is looked at meanwhile does not depend on speed."""
        change = ("scontrol", "update", "PartitionName=low")
        self.run(*change, "State=DOWN")
        try:
            yield
        finally:
            self.run(*change, "State=UP")

    def logs(self) -> str:
        """The last lines of every daemon's log."""
        return "\n".join(f"{file.name}: {_tail(file)}" for file in self.folder.glob("*.log"))

    def _environment(self, variables: Mapping[str, str]) -> dict[str, str]:
        return {**os.environ, **self.variables, **variables}

    def _field(self, job_id: str, name: str) -> str:
        words = self.run("scontrol", "-o", "show", "job", job_id).split()
        return next(word.partition("=")[2] for word in words if word.startswith(f"{name}="))

    def _configuration(self) -> str:
        first_port = _free_ports(1 + len(NODES))
        host = socket.gethostname()
        nodes = "\n".join(
            f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} "
            f"CPUs={_CPUS} RealMemory={_MEGABYTES} State=UNKNOWN"
            for port, node in enumerate(NODES, start=first_port + 1)
        )
        return _CONFIGURATION.format(
            host=host, user=getpass.getuser(), port=first_port, folder=self.folder, nodes=nodes,
            names=",".join(NODES),
            # The last four digits of a job's number become the port of its rank 0.
            first_job=1 + first_port % 9000,
        )  # fmt: skip

    def _stop(self, pid: int, name: str) -> None:
        if not _is_alive(pid, name):
            return
        os.kill(pid, signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            self.wait_until(lambda: not _is_alive(pid, name), seconds=10)
            return
        os.kill(pid, signal.SIGKILL)


def _is_alive(pid: int, name: str) -> bool:
    """Whether that daemon still runs under this number, and is no zombie that nobody has reaped."""
    process = Path("/proc", str(pid))
    try:
        comm = (process / "comm").read_text().strip()
        status = (process / "stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return comm == name and status != "Z"


def _tail(file: Path) -> str:
    if not file.is_file():
        return ""
    return "\n".join(file.read_text(errors="replace").splitlines()[-25:])


def _free_ports(count: int) -> int:
    """First of ``count`` neighbouring ports that nobody listens on."""
    for first in range(21_000 + os.getpid() % 9000, 32_000, count):
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            for port in range(first, first + count):
                stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
            return first
    raise RuntimeError("no free ports")
