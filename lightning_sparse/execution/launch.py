"""Which of the processes that share a run this one is; importing it is cheap.

A scheduler leaves its variables to everything that is started under it: to the ranks of a run, and
just as well to independent runs side by side, or to one plain command in an allocation of many
tasks. Lightning and others believe them, so what does not concern a run is taken out of the
environment before they are imported.
"""

import os
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any

from lightning_sparse.errors import UserError
from lightning_sparse.settings.batches import num_devices, num_nodes

# Who a process is among several: torchrun's and Lightning's, SLURM's, LSF's.
_RANKS = (
    "RANK",
    "LOCAL_RANK",
    "GROUP_RANK",
    "WORLD_SIZE",
    "LOCAL_WORLD_SIZE",
    "TORCHELASTIC_RUN_ID",
    "JSM_NAMESPACE_RANK",
    "JSM_NAMESPACE_SIZE",
    "JSM_NAMESPACE_LOCAL_RANK",
)
_SLURM_RANKS = (
    "SLURM_PROCID",
    "SLURM_LOCALID",
    "SLURM_NODEID",
    "SLURM_NTASKS",
    "SLURM_NPROCS",
    "SLURM_NTASKS_PER_NODE",
)
# Of these, what a run over several machines may be given by hand, as Lightning describes it.
_BY_HAND = ("NODE_RANK", "MASTER_ADDR", "MASTER_PORT")


def settle_ranks(trainer: Mapping[str, Any], environment: MutableMapping[str, str]) -> None:
    """Leave in ``environment`` what makes this process a rank of its run, if it is one.

    It is one if the Trainer's settings ask for several processes, and torchrun, srun or Lightning
    have started as many. A run of one process is never one.

    Args:
        trainer: Arguments of the Trainer.
        environment: Changed in place.

    Raises:
        UserError: If another number of processes was started for a run of several.
    """
    try:
        world = num_devices(trainer) * num_nodes(trainer)
    except UserError:  # "auto": only the machine knows
        return
    if world == 1:
        _refuse_several_by_torchrun(environment)
        _remove(environment, (*_RANKS, *_SLURM_RANKS, *_BY_HAND))
    else:
        _settle_several(world, num_nodes(trainer), environment)
    _tell_lightning(environment)


def is_first_of_run(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether this process is the first rank of its run, by an environment that is settled."""
    if "RANK" in environment:
        return environment["RANK"] == "0"
    if "LOCAL_RANK" in environment:
        return environment["LOCAL_RANK"] == "0" and environment.get("NODE_RANK", "0") == "0"
    return environment.get("SLURM_PROCID", "0") == "0"


def _refuse_several_by_torchrun(environment: Mapping[str, str]) -> None:
    started = environment.get("WORLD_SIZE", "1")
    if "TORCHELASTIC_RUN_ID" in environment and started != "1":
        raise UserError(
            f"torchrun has started {started} processes, and trainer.devices=1 asks for one; say "
            "trainer.devices and trainer.num_nodes, or start it without torchrun"
        )


def _settle_several(world: int, nodes: int, environment: MutableMapping[str, str]) -> None:
    if not _names_ranks_of(world, environment):
        _remove(environment, _RANKS)
    tasks = environment.get("SLURM_STEP_NUM_TASKS", environment.get("SLURM_NTASKS", str(world)))
    if "SLURM_STEP_ID" not in environment or tasks == "1":
        if "SLURM_NTASKS" in environment and nodes > 1 and "NODE_RANK" not in environment:
            raise UserError(
                f"trainer.num_nodes={nodes}: in an allocation of SLURM the ranks of a run are "
                "started by srun; begin the command with `srun`, or submit it with where=slurm"
            )
        # Lightning would wait for ranks that nobody has started.
        _remove(environment, _SLURM_RANKS)
        return
    if tasks != str(world) and "LOCAL_RANK" not in environment:
        raise UserError(
            f"srun has started {tasks} processes, and trainer.devices and trainer.num_nodes come "
            f"to {world}; make them agree"
        )


def _names_ranks_of(world: int, environment: Mapping[str, str]) -> bool:
    """Whether torchrun, Lightning, or its user by hand (``LOCAL_RANK`` alone) started the ranks."""
    if "TORCHELASTIC_RUN_ID" in environment:
        return True
    by_hand = "LOCAL_RANK" in environment and "RANK" not in environment
    return environment.get("WORLD_SIZE", str(world) if by_hand else None) == str(world)


def _remove(environment: MutableMapping[str, str], names: tuple[str, ...]) -> None:
    for name in names:
        environment.pop(name, None)


def _tell_lightning(environment: Mapping[str, str]) -> None:
    """Correct what Lightning has read from the environment if it was imported before."""
    module = sys.modules.get("lightning_utilities.core.rank_zero")
    if module is not None:
        module.rank_zero_only.rank = 0 if is_first_of_run(environment) else 1
