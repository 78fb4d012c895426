"""Submits commands to SLURM through submitit, each after the jobs that it needs."""

import getpass
import json
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning_sparse.cluster.settings import SlurmSettings
from lightning_sparse.errors import UserError
from lightning_sparse.pipeline.jobs import AnyJob, unfinished, with_needs

RunCommand = Callable[[Sequence[str]], None]
"""Runs one command line, without the program's name, in each process of a job."""

# In the folder of the output: one line for each job, its name and SLURM's number.
_SUBMISSIONS = "submissions.jsonl"

# A rank that is left alone waits for the others in vain.
_SRUN_ARGUMENTS = ("--wait=60",)


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What one job needs.

    Attributes:
        slurm: What every job asks for.
        nodes: Machines.
        tasks_per_node: Processes on each, one per device.
        gpus_per_node: GPUs on each.
    """

    slurm: SlurmSettings
    nodes: int = 1
    tasks_per_node: int = 1
    gpus_per_node: int = 0

    def parameters(self, name: str, after: Sequence[str]) -> dict[str, Any]:
        """Return submitit's parameters of a job that starts once those ``after`` have succeeded."""
        slurm = self.slurm
        wanted = {
            "job_name": name,
            "nodes": self.nodes,
            "ntasks_per_node": self.tasks_per_node,
            "gpus_per_node": self.gpus_per_node or None,
            "time": slurm.minutes,
            "partition": slurm.partition,
            "account": slurm.account,
            "qos": slurm.qos,
            "constraint": slurm.constraint,
            "cpus_per_task": slurm.cpus_per_task,
            "mem": f"{slurm.mem_gb}GB" if slurm.mem_gb else None,
            "setup": list(slurm.setup),
            "dependency": f"afterok:{':'.join(after)}" if after else None,
            "srun_args": list(_SRUN_ARGUMENTS),
            "stderr_to_stdout": True,
            "additional_parameters": {
                # Not submitit's own signal, on which it would start the command anew by itself.
                "signal": f"USR1@{slurm.warn_seconds}",
                "requeue": True,
                "kill-on-invalid-dep": "yes",
                **slurm.options,
            },
        }
        return {name: value for name, value in wanted.items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class Submitted:
    """One job in SLURM's queue.

    Attributes:
        job_id: SLURM's number; of an element of an array with the element's.
        name: Id of the run that it makes.
        failed: Where the output of an earlier job is that ended without having made the run.
    """

    job_id: str
    name: str
    failed: Path | None = None


class Submitter:
    """Submits commands, and knows which jobs of this user are in the queue already.

    Args:
        run_command: A function of a module, so that the job's processes find it.
        folder: Where scripts and output go; it must be shared by all nodes.

    Raises:
        UserError: If there is no SLURM, or no submitit.
    """

    def __init__(self, run_command: RunCommand, folder: Path) -> None:
        if shutil.which("sbatch") is None:
            raise UserError(
                "there is no SLURM here: sbatch is not on the PATH; submit from a login node, or "
                "say where=here to run on this machine"
            )
        try:
            import submitit  # noqa: PLC0415 (an extra)
        except ImportError as error:
            raise UserError(
                "submitting needs submitit, which is not installed; "
                "pip install 'lightning-sparse[slurm]'"
            ) from error
        self._submitit = submitit
        self._run_command = run_command
        self._folder = folder
        self._earlier = _submissions(folder)
        waiting = _queued_jobs(folder)
        self._queued = {name: id_ for name, id_ in self._earlier.items() if id_ in waiting}

    def submit_jobs(
        self,
        jobs: Sequence[AnyJob],
        resources: Resources,
        words: Callable[[AnyJob], Sequence[str]],
        *,
        array_name: str | None = None,
    ) -> list[Submitted]:
        """Submit what is not finished, and all that it needs, each once.

        A job that is in the queue already is left there, and waited for.

        Args:
            jobs: What is wanted.
            resources: What each of them asks for.
            words: Gives the command of a job.
            array_name: Jobs that need nothing become one array of this name; None: each by itself.

        Returns:
            What is in the queue now for these jobs, needed ones first.
        """
        waiting = unfinished(with_needs(jobs))
        failed = {job.run_id: self._failed(job.run_id) for job in waiting}
        first = [job for job in waiting if not unfinished(job.needs)]
        new = {job.run_id: words(job) for job in first if job.run_id not in self._queued}
        if array_name is not None and len(new) > 1:
            self._submit(array_name, new, resources, ())
        for job in waiting:
            after = [self._queued[need.run_id] for need in unfinished(job.needs)]
            self._submit_once(job.run_id, words(job), resources, after)
        return [
            Submitted(job_id=self._queued[name], name=name, failed=output)
            for name, output in failed.items()
        ]

    def submit(
        self, name: str, words: Sequence[str], resources: Resources, after: Sequence[str] = ()
    ) -> Submitted:
        """Submit one command, unless a job of this name is in the queue."""
        self._submit_once(name, words, resources, after)
        return Submitted(job_id=self._queued[name], name=name)

    def submit_array(
        self, name: str, commands: Sequence[Sequence[str]], resources: Resources
    ) -> list[Submitted]:
        """Submit commands as one job array, whatever is in the queue."""
        elements = {f"{name}-{number}": words for number, words in enumerate(commands, start=1)}
        ids = self._submit(name, elements, resources, ())
        return [Submitted(job_id=job_id, name=name) for job_id in ids]

    def _failed(self, name: str) -> Path | None:
        """Where the output of an earlier job is that is not in the queue any more."""
        job_id = self._earlier.get(name)
        return None if job_id is None or name in self._queued else self._folder / job_id

    def _submit_once(
        self, name: str, words: Sequence[str], resources: Resources, after: Sequence[str]
    ) -> None:
        if name not in self._queued:
            self._submit(name, {name: words}, resources, after)

    def _submit(
        self,
        name: str,
        commands: Mapping[str, Sequence[str]],
        resources: Resources,
        after: Sequence[str],
    ) -> list[str]:
        """Submit commands, by the names under which they are found again in the queue."""
        self._folder.mkdir(parents=True, exist_ok=True)
        executor = self._submitit.SlurmExecutor(folder=self._folder / "%j")
        # Jobs of other folders, and of a cluster that counts from 1 again, are none of these.
        executor.update_parameters(
            **resources.parameters(name, after), comment=str(self._folder.absolute())
        )
        try:
            jobs = executor.map_array(self._run_command, [list(w) for w in commands.values()])
        except self._submitit.core.utils.FailedJobError as error:
            raise UserError(_explain(str(error), resources)) from error
        ids = dict(zip(commands, (str(job.job_id) for job in jobs), strict=True))
        with (self._folder / _SUBMISSIONS).open("a", encoding="utf-8") as stream:
            stream.writelines(json.dumps([name, job_id]) + "\n" for name, job_id in ids.items())
        self._queued |= ids
        return list(ids.values())


def _explain(error: str, resources: Resources) -> str:
    """Say in one line why SLURM refused a job."""
    if "partition" in error and resources.slurm.partition:
        known = sorted({name.rstrip("*") for name in _slurm("sinfo", "-h", "-o", "%P")})
        return (
            f"slurm.partition={resources.slurm.partition}: SLURM has no such partition, or it is "
            f"closed to you; it has {', '.join(known)}"
        )
    lines = [line.partition("sbatch: error: ")[2] for line in error.splitlines()]
    reason = "; ".join(line.strip() for line in lines if line) or " ".join(error.split())
    return f"SLURM refused the job: {reason}; see slurm.* in conf/config.yaml"


def _submissions(folder: Path) -> dict[str, str]:
    """Return the last job that was submitted under each name."""
    file = folder / _SUBMISSIONS
    if not file.is_file():
        return {}
    lines = file.read_text(encoding="utf-8").splitlines()
    try:
        return {str(name): str(job_id) for name, job_id in map(json.loads, lines)}
    except ValueError as error:
        raise UserError(
            f"{file} is damaged ({error}); see by squeue that no job waits, and remove it"
        ) from error


def _queued_jobs(folder: Path) -> set[str]:
    """Return the ids of this user's jobs in ``folder`` that wait or run; arrays by element."""
    jobs = [
        line.split("|", 1)
        for line in _slurm("squeue", "--array", "-h", "-u", getpass.getuser(), "-o", "%i|%k")
    ]
    return {job_id for job_id, place in jobs if place == str(folder.absolute())}


def _slurm(*command: str) -> list[str]:
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise UserError(
            f"SLURM does not answer: {' '.join(done.stderr.split())}; see that its controller runs"
        )
    return [line.strip() for line in done.stdout.splitlines() if line.strip()]
