"""Settings of arms and of pruning. No torch in here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lightning_sparse.fields import ARGUMENT, NOTHING, setting


@dataclass(frozen=True, kw_only=True)
class MethodSettings:
    """One arm: where its weights start, where its masks come from, and what changes them.

    `lightning_sparse.arms.Arm` is what is made of it, where start and masks stand in full.

    Attributes:
        name: That of its file under ``conf/method/``, which need not say it.
        start: A random stream, or a point: ``prune:100``.
        masks: ``none``, ``own``, or ``prune:end``: the masks that its method is given.
        sparse_method: ``_target_`` names the class.
        start_change: ``_target_`` names what changes the weights at the start; None for nothing.
        start_changed_by: The point whose weights that is given; None for none.
        cycles: How many schedules of the learning rate follow each other; None for one.
        length: Of its runs, so many times ``training.num_steps``; None for once.
        repeats: The arm that it is another run of; None for one of its own.
        sparsity: Nominal, of its runs; None for the experiment's.
        keeps: Steps of its runs whose weights are kept, for other arms to start from.
        learning_rate: Peak learning rate; where the file says nothing, that of
            ``tuned.learning_rate``.
        tuned_as: The arm whose tuned rate and numbers it takes, as a control does; None: its own.
        trials: What a pilot tries; None for ``pilot.learning_rates``.
        words: What a reader calls it; where the file says nothing, its name.
        definition: What it is, for the terms of a report.
        colour: Of its line in figures.
        marker: Of its points there.
    """

    name: str
    start: str
    masks: str
    sparse_method: Mapping[str, Any]
    start_change: Mapping[str, Any] | None
    start_changed_by: str | None = setting(example="runs/NAME:end")
    cycles: int | None = setting(decides=(ARGUMENT,), example=2, at_least=1)
    length: int | None = setting(decides=(ARGUMENT,), example=5, at_least=1)
    repeats: str | None = setting(example="dense")
    sparsity: float | None = setting(decides=(ARGUMENT,), example=0.5)
    keeps: Sequence[int] = setting(decides=(ARGUMENT,))
    learning_rate: float = setting(decides=NOTHING)
    tuned_as: str | None = setting(decides=NOTHING, example="rigl")
    trials: Sequence[Mapping[str, Any]] | None = setting(decides=NOTHING)
    words: str = setting(decides=NOTHING)
    definition: str = setting(decides=NOTHING)
    colour: str | None = setting(decides=NOTHING, example="'#0072b2'")
    marker: str | None = setting(decides=NOTHING, example="o")


@dataclass(frozen=True, kw_only=True)
class PruningSettings:
    """When the pruned arm's masks change, in optimizer steps; arguments of its method.

    Attributes:
        start_step: Up to here every weight is kept.
        end_step: From here on the masks stay.
        update_every: Steps between two changes.
    """

    start_step: int = setting(decides=(ARGUMENT,))
    end_step: int = setting(decides=(ARGUMENT,))
    update_every: int = setting(at_least=1, decides=(ARGUMENT,))
