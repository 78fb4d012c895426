"""The first losses of the published arms and of a curve, bit for bit, per kind of machine.

``python -m tests.golden.first_losses`` writes those of this machine into ``first_losses.json``. Do
it before a refactoring, and again only after a change that is meant to move the numbers.
"""

import json
import platform
import sys
import tempfile
from pathlib import Path

import torch

from lightning_sparse.execution.execute import execute
from lightning_sparse.execution.worker import silence_lightning
from lightning_sparse.files.storage import write_text_atomic
from lightning_sparse.pipeline.jobs import Job, with_needs
from lightning_sparse.planning.runs import plan_path, plan_training
from lightning_sparse.settings.compose import compose_settings

_CPU_FILE = Path("/proc/cpuinfo")  # of Linux
GOLDEN_FILE = Path(__file__).with_name("first_losses.json")

CURVE = "PathModule"
# The arms that published records are of; every other method has oracles that are exact.
NAMES = ["dense", "lottery", "prune", "scratch", CURVE]

NUM_STEPS = 20
# Pruning begins, goes on and ends within the steps that are looked at.
SETTINGS = [
    "experiment=smoke",
    "num_threads=1",
    f"training.num_steps={NUM_STEPS}",
    f"path.training.num_steps={NUM_STEPS}",
    "pruning.start_step=4",
    "pruning.end_step=14",
    "pruning.update_every=2",
]


def machine() -> str:
    """Name what the last bits of a loss depend on: torch's build, instruction set, processor."""
    capability = torch.backends.cpu.get_cpu_capability()
    return f"torch {torch.__version__}, {capability}, {processor()}, 1 thread"


def processor() -> str:
    """Name the kind of processor: libraries choose their loops by maker and model too."""
    if not _CPU_FILE.is_file():
        return f"{platform.machine()} {platform.processor()}"
    lines = (line.partition(":") for line in _CPU_FILE.read_text(encoding="utf-8").splitlines())
    values = {name.strip(): value.strip() for name, _, value in lines}  # the last core's
    known_as = [values.get(name, "unknown") for name in ("vendor_id", "cpu family", "model")]
    return "{} {}, family {}, model {}".format(platform.machine(), *known_as)


def first_losses(name: str, runs_dir: Path) -> list[str]:
    """Train an arm, or fit the curve, and return its batch losses in nats as hexadecimal floats."""
    job = _planned(name, runs_dir)
    for needed in with_needs([job]):
        execute(needed)
    lines = (job.run_dir / "history.jsonl").read_text(encoding="utf-8").splitlines()
    return [float(json.loads(line)["batch_loss"]).hex() for line in lines]


def known() -> dict[str, dict[str, list[str]]]:
    """Read the losses of every machine that has written its own."""
    if not GOLDEN_FILE.is_file():
        return {}
    losses: dict[str, dict[str, list[str]]] = json.loads(GOLDEN_FILE.read_text(encoding="utf-8"))
    return losses


def _planned(name: str, runs_dir: Path) -> Job:
    settings = [*SETTINGS, f"runs_dir={runs_dir}"]
    if name == CURVE:
        return plan_path(compose_settings(settings))
    return plan_training(compose_settings([*settings, f"method={name}"]))


def _main() -> None:
    torch.set_num_threads(1)
    silence_lightning()
    with tempfile.TemporaryDirectory() as folder:
        losses = {name: first_losses(name, Path(folder)) for name in NAMES}
    text = json.dumps({**known(), machine(): losses}, indent=1, sort_keys=True)
    write_text_atomic(GOLDEN_FILE, text + "\n")
    sys.stdout.write(f"{GOLDEN_FILE}: losses of {machine()}\n")


if __name__ == "__main__":
    _main()
