"""The Trainer that fits end points and curves alike."""

import contextlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, final

import pytorch_lightning as pl
from pytorch_lightning.profilers import PassThroughProfiler
from typing_extensions import override

from lightning_sparse.data.loader import loader_deaths_said
from lightning_sparse.errors import UserError, theirs

_NOT_OUR_WARNINGS = (
    # The data module can validate, end points and curves are measured once, after the fit.
    ".*no `validation_step`",
    # Lightning 2.6.6 asks torch 2.14 an outdated question about its trees.
    ".*LeafSpec.*deprecated",
    # On a machine that has SLURM, a run that was not submitted through it is no mistake.
    ".*`srun` command is available",
    # The gradient of one control point is a row of stride one, which DDP takes for another layout.
    ".*Grad strides do not match bucket view strides",
    # The weights of a curve are made of its control points; compiling asks them for gradients.
    r".*The \.grad attribute of a Tensor that is not a leaf",
    # In 16-mixed the scaler leaves out steps that overflow, the first ones as a rule.
    r".*`lr_scheduler.step\(\)` before `optimizer.step\(\)`",
)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Leave out the warnings that tell a user of this program nothing."""
    with warnings.catch_warnings():
        for message in _NOT_OUR_WARNINGS:
            warnings.filterwarnings("ignore", message=message)
        yield


@final
class NoProfiler(PassThroughProfiler):
    """Profiles nothing, at no cost.

    Lightning enters a context for each of about 45 hooks per step, and its own pass-through makes a
    new generator for each: 4 % of a step of the digits network.
    """

    _NOTHING: AbstractContextManager[None] = contextlib.nullcontext()

    @override
    def profile(self, action_name: str) -> AbstractContextManager[None]:  # type: ignore[override]
        """Return one context for all actions; it may be entered while it is entered."""
        return self._NOTHING


def quiet_trainer(
    num_steps: int, callbacks: Sequence[pl.Callback], options: Mapping[str, Any]
) -> pl.Trainer:
    """Build a Trainer for ``num_steps`` optimizer steps without bars, files and validation.

    Args:
        num_steps: Optimizer steps.
        callbacks: In the order in which their hooks run.
        options: Further `pytorch_lightning.Trainer` arguments; they win.

    Raises:
        UserError: If Lightning refuses them.
    """
    with quiet(), theirs(said(options)):
        trainer = pl.Trainer(
            **{
                "max_steps": num_steps,
                "max_epochs": -1,
                "callbacks": list(callbacks),
                "logger": False,
                "enable_checkpointing": False,
                "enable_progress_bar": False,
                "enable_model_summary": False,
                "num_sanity_val_steps": 0,
                "limit_val_batches": 0,
                "use_distributed_sampler": False,
                "profiler": NoProfiler(),
                **options,
            }
        )
    # Lightning's ranks tell each other before every batch whether SIGTERM came, for which each
    # waits for its device. They vote now and then: see `training/checkpoints.py`.
    trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = _tell_nothing  # type: ignore[method-assign]  # noqa: SLF001
    return trainer


def _tell_nothing() -> None:
    """Stand in for what Lightning's ranks would tell each other."""


def check_trainer(options: Mapping[str, Any]) -> None:
    """Refuse Trainer arguments that Lightning refuses, or that would undo what a run is made of.

    Args:
        options: Further `pytorch_lightning.Trainer` arguments.

    Raises:
        UserError: Naming them.
    """
    for name, reason in _OURS.items():
        if name in options:
            raise UserError(f"trainer.{name}={options[name]}: {reason}; leave it out")
    quiet_trainer(1, [], options)


_OURS = {
    "callbacks": "the callbacks of a run keep its masks and its checkpoints",
    "max_steps": "how long a run is says training.num_steps",
    "use_distributed_sampler": "loaders share out their images themselves",
}


def said(options: Mapping[str, Any]) -> str:
    """Write Trainer arguments as they were typed."""
    plain = {name: value for name, value in options.items() if _is_plain(value)}
    return " ".join(f"trainer.{name}={value}" for name, value in plain.items()) or "trainer"


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float | list)


def fit(
    trainer: pl.Trainer,
    module: pl.LightningModule,
    data: pl.LightningDataModule,
    num_steps: int,
    checkpoint: Path | None = None,
) -> None:
    """Fit, and see that it went on to the end: a record says how many steps it took.

    Args:
        trainer: Made for ``num_steps``.
        module: What is fitted.
        data: The batches.
        num_steps: Optimizer steps.
        checkpoint: What to go on from; None to begin.

    Raises:
        UserError: If it stopped earlier, as ``trainer.max_epochs`` or ``trainer.max_time`` can ask,
            or a loader process ended.
    """
    # Lightning reads a checkpoint first, and would lose what double precision has more than single.
    trainer.precision_plugin.convert_module(module)
    with quiet(), loader_deaths_said():
        trainer.fit(module, datamodule=data, ckpt_path=checkpoint, weights_only=True)
    if trainer.global_step != num_steps:
        raise UserError(
            f"training stopped after {trainer.global_step} of {num_steps} steps; leave out "
            "trainer.* settings that end it early, and set num_steps instead"
        )
