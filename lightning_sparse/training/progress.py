"""How a run reports how far it is, and stops when its loss is no number."""

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
from torch import Tensor

from lightning_sparse.errors import DivergedError
from lightning_sparse.training.after_step import AfterStepCallback
from lightning_sparse.training.observations import peak_memory_gib
from lightning_sparse.training.ranks import gathered, of_this_rank

Progress = Callable[[int, int], None]
"""Called with steps done and steps in all, now and then."""

Entry = Mapping[str, Any]
"""One line of history: numbers by name, and ``layer_sparsity``, numbers by layer."""

_NUM_ENTRIES = 50


@dataclass(frozen=True, kw_only=True)
class History:
    """How often a run looks at itself, and who is told besides ``history.jsonl``.

    Attributes:
        every_steps: Period in optimizer steps; None for fifty looks in a run.
        send: Called with each line as it comes; it must not raise.
    """

    every_steps: int | None = None
    send: Callable[[Entry], None] | None = None

    def period(self, num_steps: int) -> int:
        """Return the period for a run of ``num_steps`` optimizer steps.

        Example:
            >>> History().period(5000), History().period(12), History(every_steps=7).period(5000)
            (100, 1, 7)
        """
        return self.every_steps or max(1, num_steps // _NUM_ENTRIES)


def _finite(value: Any) -> Any:
    """Return None for what JSON cannot say: a gradient that overflows in 16-mixed has no norm."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


class ProgressCallback(AfterStepCallback):
    """Every ``every_steps`` steps: checks the loss, keeps a line of history, reports progress.

    Reading the loss waits for the device, so it is not done at every step.

    Args:
        every_steps: Period in optimizer steps; the last step is always included.
        report: Called with the steps done and the steps in all, or None.
        advice: What to change when the loss stops being a number.
        observe: Gives further entries for a line of history, from the images and labels of the
            batch; see `lightning_sparse.training.observations`.
        send: Called with each line of history.
    """

    def __init__(
        self,
        *,
        every_steps: int,
        report: Progress | None,
        advice: str,
        observe: Callable[[Any], Entry] | None = None,
        send: Callable[[Entry], None] | None = None,
    ) -> None:
        self._every_steps = every_steps
        self._report = report
        self._advice = advice
        self._observe = observe
        self._send = send
        self._num_images = 0
        self._outputs: Any = None
        self._batch: Any = None
        self._looked_at = math.nan
        self.history: list[dict[str, Any]] = []

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock; the step that a resumed run goes on from was looked at before."""
        super().on_train_start(trainer, pl_module)
        self._num_images, self._looked_at = 0, time.perf_counter()

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Count the images, and have them at hand for a look."""
        self._num_images += len(batch[1])
        self._outputs, self._batch = outputs, batch
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        self._outputs = self._batch = None

    def after_step(self, trainer: pl.Trainer, module: pl.LightningModule, step: int) -> None:
        """Look at the loss when a look is due.

        Raises:
            DivergedError: If it is no number.
        """
        last = trainer.max_steps
        if step % self._every_steps and step != last:
            return
        loss = float(_batch_loss(trainer, self._outputs))
        if not math.isfinite(loss):
            raise DivergedError(
                f"the training loss is {loss} at step {step} of {last}; {self._advice}"
            )
        seen = self._observe(self._batch) if self._observe else {}
        entry = {
            "step": step,
            "batch_loss": loss,
            "learning_rate": trainer.optimizers[0].param_groups[0]["lr"],
            **{name: _finite(value) for name, value in seen.items()},
            "images_per_second": self._images_per_second(trainer.world_size),
            "peak_memory_gib": peak_memory_gib(module.device),
        }
        self.history.append(entry)
        if self._send:
            self._send(entry)
        if self._report:
            self._report(step, last)

    def _images_per_second(self, num_ranks: int) -> float:
        """Return the mean rate since the last look; reading the loss has waited for the device."""
        now = time.perf_counter()
        rate = num_ranks * self._num_images / (now - self._looked_at)
        self._num_images, self._looked_at = 0, now
        return rate

    def history_lines(self) -> str:
        """Return the history as JSON Lines."""
        return "".join(json.dumps(entry) + "\n" for entry in self.history)

    def state_dict(self) -> dict[str, Any]:
        """Keep the history in the checkpoint, so that a resumed run has all of it."""
        return {"history": self.history}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the history of a checkpoint."""
        self.history = list(state_dict["history"])


class TailMean(pl.Callback):
    """Averages the training objective over the last steps, by which learning rates are tuned.

    One batch at one t says little; the mean over the tail of a schedule that has cooled down is the
    objective that was reached.

    Args:
        first_step: Optimizer steps that are left out.
    """

    def __init__(self, first_step: int) -> None:
        self._first_step = first_step
        self._sum: Tensor | float = 0.0
        self._count = 0

    @property
    def mean(self) -> float:
        """Mean over the steps seen so far, in nats."""
        return float(self._sum) / self._count

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Count this step if it belongs to the tail."""
        if trainer.global_step > self._first_step:
            self._sum = self._sum + _batch_loss(trainer, outputs).double()
            self._count += 1

    def state_dict(self) -> dict[str, Any]:
        """Keep the sums of all ranks, so that a resumed run averages over all steps."""
        return {"ranks": gathered({"sum": float(self._sum), "count": self._count})}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from the sum and count of a checkpoint."""
        mine = of_this_rank(state_dict["ranks"])
        self._sum, self._count = mine["sum"], mine["count"]


def _batch_loss(trainer: pl.Trainer, outputs: Any) -> Tensor:
    """Undo Lightning's division by the number of batches whose gradients are accumulated."""
    loss: Tensor = outputs["loss"].detach() * trainer.accumulate_grad_batches
    return loss
