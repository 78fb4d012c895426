"""The LightningModule whose trainable parameters are the control points of a curve."""

import copy
import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.lr_scheduler import LambdaLR

from lightning_sparse.errors import UserError
from lightning_sparse.models.batch_norm import fresh_statistics
from lightning_sparse.models.compiling import compile_
from lightning_sparse.models.stateless import StatelessCall
from lightning_sparse.paths.curve_point import CurvePoint
from lightning_sparse.paths.curves import AbstractCurve
from lightning_sparse.paths.geometry import on_straight_line, point_on_curve
from lightning_sparse.paths.layout import WeightLayout, both_ends
from lightning_sparse.paths.reinsertion import (
    NUM_BATCHES,
    chosen_move,
    middles,
    moved,
    shortcuts,
)
from lightning_sparse.sparsity.masks import Masks
from lightning_sparse.streams import stream_generator
from lightning_sparse.training.classifier_module import TrainingSettings
from lightning_sparse.training.lean_module import LeanModule
from lightning_sparse.training.network_probe import Batches
from lightning_sparse.training.observations import batch_results, gradient_norm
from lightning_sparse.training.optimizers import build_sgd
from lightning_sparse.training.ranks import gathered, mean_over_ranks, of_this_rank

_DRAWN_AT_ONCE = 64
_BUFFERS = "template_buffers"


class PathModule(LeanModule):
    """Fits a curve between two fixed ends, as in Garipov et al. 2018.

    One t per batch and rank, uniform in [0, 1]; the loss is the smoothed cross-entropy of the
    network at that point plus half lambda times the squared norm of the *interpolated* convolution
    and linear weights; the optimizer itself has no weight decay. Batch-norm scale and shift lie on
    the curve, running statistics do not. Deviations: any network works unchanged, since the
    interpolated weights enter through `StatelessCall` instead of curve twins of layers; all
    parameters lie in one vector, so a control point is one row of one parameter.

    Batch norm sees the batch of one device; ``trainer.sync_batchnorm`` does not reach the hidden
    network.

    The ends are plain attributes: as buffers they would be sent to all ranks at every step.

    Args:
        network: The architecture; a copy of it is used, its values are not read.
        start: State dict of the end at t = 0.
        end: State dict of the end at t = 1.
        curve: Its shape, with control points between the ends; `AbstractCurve.basis` alone says
            how they enter.
        subspace: Masks that the control points live on, or None for the dense space. Control points
            start on the straight line between the ends *within* the subspace, and coordinates
            outside it are exactly zero at all times.
        settings: How the curve is fitted; ``weight_decay`` is the lambda above.
        loss: From the network's output and a batch's second part to a number; None for the smoothed
            cross-entropy of ``settings``.
        seed: Seed of the ``curve`` stream that t is drawn from.
        compiled: Whether to compile the network, once for every size of images; t enters through
            tensors.
        probe_batches: Gives this rank's fixed batches for curves whose bends move; None for none.

    Raises:
        UserError: If the curve has nothing to be fitted, or its bends move by the loss on fixed
            batches and there are none.
    """

    def __init__(  # noqa: PLR0913 (keyword-only: what a curve is made of)
        self,
        *,
        network: nn.Module,
        start: Mapping[str, Tensor],
        end: Mapping[str, Tensor],
        curve: AbstractCurve,
        settings: TrainingSettings,
        subspace: Masks | None = None,
        seed: int = 0,
        loss: Callable[[Tensor, Tensor], Tensor] | None = None,
        compiled: bool = False,
        probe_batches: Batches | None = None,
    ) -> None:
        super().__init__()
        if not curve.is_fitted:
            raise UserError(f"a {curve.name} has no control points between its ends to be fitted")
        self.curve = curve
        self.layout = WeightLayout(network)
        self.settings = settings
        self._loss = loss or functools.partial(
            functional.cross_entropy, label_smoothing=settings.label_smoothing
        )
        self._seed = seed
        template = copy.deepcopy(network).requires_grad_(requires_grad=False).train()
        for name, buffer in template.named_buffers():
            buffer.copy_(start.get(name, buffer))
        # Hidden from torch: the template's values are never read, so they must not be saved,
        # moved between ranks, or counted as parameters.
        self._template = [template]
        if compiled:
            compile_(template)
        self._ends = both_ends(self.layout, start, end)
        self._subspace = self.layout.subspace(subspace) if subspace is not None else None
        self._prepare()
        self._restored: list[dict[str, Any]] | None = None
        self._reinserts_at = set(curve.reinserts_at(settings.num_steps))
        if self._reinserts_at and probe_batches is None:
            raise UserError(
                f"a {curve.name} moves its bends by the loss on fixed batches; give a function of "
                "them as probe_batches, or leave out its re-insertions"
            )
        self._probe_batches = probe_batches or tuple
        self._latest = (torch.empty(0), torch.empty(0))  # logits and penalty of the last batch
        # In single precision, which Lightning changes if the fit is in another one.
        inner = on_straight_line(curve, *self._ends.unbind())[1:-1].float()
        self.control_points = nn.Parameter(
            # A copy: a view would take the memory of the ends into every checkpoint.
            inner * self._subspace if self._subspace is not None else inner.clone()
        )

    @property
    def all_points(self) -> Tensor:
        """End, control points, end: shape (num_points, num_weights)."""
        # After the fit Lightning takes the parameters, and only these, back to the CPU.
        start, end = self._ends.to(self.control_points.device).split(1)
        return torch.cat([start, self.control_points, end])

    def state_at(self, t: float) -> dict[str, Tensor]:
        """Return all parameters at ``t`` by name, to be loaded with ``strict=False``.

        Buffers lie on no curve: running statistics are computed anew, by
        `lightning_sparse.models.batch_norm.recalibrate_` for example.
        """
        point = point_on_curve(self.curve, self.all_points.detach(), t)
        return {name: value.clone() for name, value in self.layout.unflatten(point).items()}

    def on_fit_start(self) -> None:
        """Follow the parameters to their device, and into their precision."""
        self._ends = self._ends.to(self.device)
        if self._subspace is not None:
            self._subspace = self._subspace.to(self.device)
        dtype = self.control_points.dtype
        self._template[0].to(self.device)
        if dtype != torch.float32:
            self._template[0].to(dtype)
        self._prepare(dtype)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what the hidden network keeps in buffers as it trains, on every rank its own."""
        checkpoint[_BUFFERS] = gathered(self._buffers_by_name())

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take them; they are put in place when everything is on its device."""
        self._restored = checkpoint.get(_BUFFERS)

    def on_train_start(self) -> None:
        """Go on with the buffers of a checkpoint, if there is one."""
        if self._restored:
            for name, buffer in self._buffers_by_name().items():
                buffer.copy_(of_this_rank(self._restored)[name])
            self._restored = None

    def _buffers_by_name(self) -> dict[str, Tensor]:
        return {**dict(self._template[0].named_buffers()), **self._statistics}

    def _prepare(self, dtype: torch.dtype = torch.float32) -> None:
        """Allocate, on the device of the ends, what every step uses again."""
        template = self._template[0]
        subspace = None if self._subspace is None else self._subspace.to(dtype)
        self._point = CurvePoint(
            self.layout, self._ends.to(dtype), subspace, self.settings.weight_decay
        )
        self._run = StatelessCall(template)
        # Training mode writes torch's running statistics and does not read them: thrown away.
        self._statistics = fresh_statistics(template)
        self._drawn: Mapping[int, Sequence[float]] = {}

    def draw_t(self, step: int) -> float:
        """Draw the t of one step on this rank, from its own place in the ``curve`` stream."""
        generator = stream_generator(self._seed, "curve", step, self.global_rank)
        return float(torch.rand((), generator=generator, dtype=torch.float64))

    def basis_at(self, t: float) -> Tensor:
        """Return the weights of all control points at ``t``, in the precision of the points."""
        basis = torch.tensor(self.curve.basis(t), dtype=torch.float64)
        return basis.to(self.control_points.dtype)

    def _basis_of(self, step: int) -> Sequence[float]:
        """Return the weights of all control points at the t of one step.

        Many steps are drawn at once, since each is a function of its number alone: a draw right
        after another takes a seventh of what it takes between batches, 3 % of a digits step.
        """
        if step not in self._drawn:
            steps = range(step, max(step + 1, min(step + _DRAWN_AT_ONCE, self.settings.num_steps)))
            self._drawn = {k: self.basis_at(self.draw_t(k)).tolist() for k in steps}
        return self._drawn[step]

    def training_step(self, batch: Sequence[Tensor], batch_index: int) -> Tensor:
        """Return the objective at one point of the curve, whose t belongs to this step."""
        if self.global_step in self._reinserts_at:
            # Before the step, so that a checkpoint has what it was before; once, where gradients of
            # several batches are added up.
            self._reinserts_at.discard(self.global_step)
            self._reinsert_()
        images, labels = batch
        weights, penalty = self._point(self.control_points, self._basis_of(self.global_step))
        state = {**weights, **self._statistics}
        logits = self._run(state, images)
        loss = self._loss(logits, labels)
        self._latest = (logits.detach(), penalty.detach())
        return loss + penalty

    @torch.no_grad()
    def _reinsert_(self) -> None:
        """Put a bend where the loss between bends is highest, if one can be spared elsewhere."""
        points = self.all_points
        between = middles(points)
        losses = self._losses_at([*between, *shortcuts(points)])
        move = chosen_move(losses[: len(between)], losses[len(between) :])
        if move is None:
            return
        new = between[move[1]]
        new = new if self._subspace is None else new * self._subspace.to(new.dtype)
        self.control_points.copy_(moved(self.control_points, move, new))
        for state in (optimizer.state for optimizer in self.trainer.optimizers):
            momentum = state.get(self.control_points, {}).get("momentum_buffer")
            if momentum is not None:
                momentum.copy_(moved(momentum, move, torch.zeros_like(new)))

    def _losses_at(self, points: Sequence[Tensor]) -> list[float]:
        """Return the fitted loss at points, each batch normalised by itself as in a step."""
        batches = [
            (images.to(self.device, self.control_points.dtype), labels.to(self.device))
            for images, labels in itertools.islice(self._probe_batches(), NUM_BATCHES)
        ]
        losses = []
        for point in points:
            state = {**self.layout.unflatten(point), **self._statistics}
            found = [float(self._loss(self._run(state, images), to)) for images, to in batches]
            losses.append(mean_over_ranks(sum(found) / len(found), self.device))
        return losses

    def observe(self, batch: tuple[Tensor, Tensor]) -> dict[str, float]:
        """Return what can be seen after a step on ``batch``, at the t of that step.

        The gradient norm is that of the control points: outside their subspace it is zero.
        """
        logits, penalty = self._latest
        return {
            **batch_results(logits, batch[1], penalty=float(penalty)),
            "gradient_norm": gradient_norm([self.control_points]),
        }

    def configure_optimizers(self) -> Any:
        """Build SGD for the control points, without weight decay, and the schedule."""
        settings = self.settings
        optimizer = build_sgd(
            [{"params": [self.control_points]}],
            learning_rate=settings.learning_rate,
            momentum=settings.momentum,
        )
        schedule = LambdaLR(
            optimizer, lambda step: settings.lr_schedule.factor(step, settings.num_steps)
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
