"""Measure the network at many points of a path: each batch is loaded once for all points."""

import copy
import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional

from lightning_sparse.data.datamodule import ImageDataModule
from lightning_sparse.models.batch_norm import fresh_statistics, use_batch_statistics
from lightning_sparse.models.stateless import StatelessCall
from lightning_sparse.paths.batch_norm import (
    average_over_ranks_,
    interpolated_statistics,
    nearer_end,
)
from lightning_sparse.paths.layout import WeightLayout
from lightning_sparse.paths.settings import EvaluationSettings
from lightning_sparse.records import Evaluation, PathPoint
from lightning_sparse.rises import barriers, descent, largest_rise
from lightning_sparse.training.measurement import (
    CPU,
    Batch,
    Measurement,
    decayed_half_squared_norms,
    on_device,
    results,
)

State = dict[str, Tensor]

_REST = 0.02
_WIDEST_AT_REST = 0.0075  # in t, beside what is judged: a peak may hide in an interval of 0.01
_NUM_FLATTEST = 2

EDGE_POINTS = (0.001, 0.01, 0.99, 0.999)
"""Measured beside every grid: filters of next to no norm change the loss within steps of 0.01."""


class PathEvaluator:
    """Evaluates points of one path.

    Where several processes work on the path, each evaluates all points on its share of the batches.

    Args:
        network: The architecture; a copy of it is used.
        data: Gives the fixed training subset, the test set and the recalibration images.
        settings: Batch-norm policy and sizes.
        weight_decay: Lambda of the objective, as in the training of the ends.
        buffers: Buffers of the ends at t = 0 and t = 1. Those that are no batch-norm statistics
            are taken from the nearer end under every policy.
        device: Where to compute.
        dtype: In what: single precision, or double for curves that are fitted in it.
    """

    def __init__(  # noqa: PLR0913 (keyword-only: all that a measurement depends on)
        self,
        *,
        network: nn.Module,
        data: ImageDataModule,
        settings: EvaluationSettings,
        weight_decay: float,
        buffers: tuple[Mapping[str, Tensor], Mapping[str, Tensor]],
        device: torch.device = CPU,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self._network = copy.deepcopy(network).requires_grad_(requires_grad=False).to(device)
        if dtype != torch.float32:
            self._network.to(dtype)
        self._run = StatelessCall(self._network)
        self._layout = WeightLayout(network)
        self._data = data
        self._settings = settings
        self._weight_decay = weight_decay
        self._buffers = tuple(
            {
                name: buffer.to(device, self._network.get_buffer(name).dtype)
                for name, buffer in end.items()
            }
            for end in buffers
        )
        self.device, self._dtype = device, dtype

    @property
    def network(self) -> nn.Module:
        """The architecture, where it is computed; its values say nothing."""
        return self._network

    @torch.no_grad()
    def state_at(self, t: float, weights_at: Callable[[float], Tensor]) -> State:
        """Return weights and buffers with which the loss at one point is measured."""
        ((state,), _) = self._prepared([t], weights_at)
        return state

    @property
    def num_classes(self) -> int:
        """Number of classes of the data."""
        return self._data.source.num_classes

    @torch.no_grad()
    def __call__(
        self, ts: Sequence[float], weights_at: Callable[[float], Tensor]
    ) -> list[PathPoint]:
        """Measure the points at ``ts``.

        Args:
            ts: Values of the curve parameter.
            weights_at: Gives the flat weights at one of them.
        """
        size = self._settings.points_at_once
        points: list[PathPoint] = []
        for first in range(0, len(ts), size):
            points += self._evaluate(ts[first : first + size], weights_at)
        return points

    @torch.no_grad()
    def difference_error(
        self, ts: tuple[float, float], weights_at: Callable[[float], Tensor]
    ) -> float:
        """Return the standard error of the difference of two points' losses, paired by image.

        Over the training subset, in nats; 0 where that is the whole training set, of which nothing
        is left to chance, or where the points are one.
        """
        if self._data.measures_whole_training_set or ts[0] == ts[1]:
            return 0.0
        states, _ = self._prepared(ts, weights_at)
        sums = torch.zeros(3, dtype=torch.float64, device=self.device)
        for images, labels in on_device(
            self._data.train_subset_batches(), self.device, self._dtype
        ):
            first, second = (
                functional.cross_entropy(self._run(state, images).float(), labels, reduction="none")
                for state in states
            )
            differences = (first - second).double()
            count = differences.new_tensor(len(differences))
            sums += torch.stack([count, differences.sum(), differences.square().sum()])
        if distributed.is_available() and distributed.is_initialized():
            distributed.all_reduce(sums)
        count, total, squares = sums.tolist()
        variance = max(0.0, squares / count - (total / count) ** 2)
        return math.sqrt(variance / max(1.0, count - 1))

    def _evaluate(
        self, ts: Sequence[float], weights_at: Callable[[float], Tensor]
    ) -> list[PathPoint]:
        full, penalties = self._prepared(ts, weights_at)
        train = self._measure(full, penalties, self._data.train_subset_batches())
        test = self._measure(full, penalties, self._data.test_batches())
        return [
            PathPoint(t=t, train=on_train, test=on_test)
            for t, on_train, on_test in zip(ts, train, test, strict=True)
        ]

    def _prepared(
        self, ts: Sequence[float], weights_at: Callable[[float], Tensor]
    ) -> tuple[list[State], list[float]]:
        """Return weights and buffers of every point, and what its objective adds to the loss."""
        states = [self._layout.unflatten(weights_at(t).to(self.device, self._dtype)) for t in ts]
        statistics = self._statistics(ts, states)
        if self._settings.batch_norm == "batch":
            use_batch_statistics(self._network)
        else:
            self._network.eval()
        full = [{**state, **buffers} for state, buffers in zip(states, statistics, strict=True)]
        norms = decayed_half_squared_norms(self._network, states)
        penalties = [self._weight_decay * norm for norm in norms]
        return full, penalties

    def _statistics(self, ts: Sequence[float], states: Sequence[State]) -> list[State]:
        """Return the buffers of every point under the policy."""
        policy = self._settings.batch_norm
        start, end = self._buffers
        # Copies: what a layer in training mode writes into one point must not reach the others.
        stored = [
            {name: buffer.clone() for name, buffer in nearer_end(start, end, t).items()} for t in ts
        ]
        if policy == "stored":
            return stored
        if policy == "interpolated":
            return [interpolated_statistics(start, end, t) for t in ts]
        statistics = [
            {**buffers, **fresh_statistics(self._network, count_on=CPU)} for buffers in stored
        ]
        if policy != "batch":
            use_batch_statistics(self._network)
            settings = self._settings
            batches = self._data.recalibration_batches(
                settings.num_recalibration_images,
                settings.recalibration_batch_size,
                augmented=policy == "recalibrated",
                shared=True,
            )
            for images, _ in on_device(batches, self.device, self._dtype):
                for state, buffers in zip(states, statistics, strict=True):
                    # Buffers that are passed in are the ones that change; the network's own do not.
                    self._run({**state, **buffers}, images)
            for buffers in statistics:
                average_over_ranks_(buffers, self._network)
        return statistics

    def _measure(
        self, states: Sequence[State], penalties: Sequence[float], batches: Iterable[Batch]
    ) -> list[Evaluation]:
        measurements = [Measurement(self.device) for _ in states]
        for images, labels in on_device(batches, self.device, self._dtype):
            for measurement, state in zip(measurements, states, strict=True):
                measurement.update(self._run(state, images), labels)
        return results(measurements, penalties)


def evaluate_path(
    evaluator: PathEvaluator,
    weights_at: Callable[[float], Tensor],
    settings: EvaluationSettings,
    margin: float,
    report: Callable[[int, int], None] | None = None,
    further: Sequence[float] = (),
) -> tuple[list[PathPoint], bool]:
    """Measure the grid, then refine around the points that the claims judge.

    Each round halves the intervals next to the points that attain descent, rise and barrier of the
    training loss (see `lightning_sparse.rises`), until some rounds in a row have moved none of the
    three by 2 %, of itself or of ``margin``, whichever is more, and the intervals next to those
    that attain one above 0 are at most 0.0075 long.

    Args:
        evaluator: Measures points.
        weights_at: Gives the flat weights at one t.
        settings: Grid, and when to rest.
        margin: Smallest rise that counts, in nats.
        report: Called with rounds done and rounds at most.
        further: Points of the first round beside the grid: `AbstractCurve.measured_at`.

    Returns:
        All points in increasing t, and whether the refinement came to rest.
    """
    points = evaluator(sorted({*settings.grid(), *EDGE_POINTS, *further}), weights_at)
    judged, quiet = _judged(points), 0
    for done in range(settings.max_refinements):
        if report:
            report(done, settings.max_refinements)
        new_ts = midpoints_around([point.t for point in points], *_centres(points))
        points = sorted([*points, *evaluator(new_ts, weights_at)], key=lambda point: point.t)
        previous, judged = judged, _judged(points)
        moved = any(
            abs(new - old) >= _REST * max(new, margin)
            for new, old in zip(judged, previous, strict=True)
        )
        quiet = 0 if moved else quiet + 1
        if quiet >= settings.quiet_rounds and _widest(points) <= _WIDEST_AT_REST:
            return points, True
    return points, False


def _widest(points: Sequence[PathPoint]) -> float:
    """Return how long the longest interval is beside a point that a climb goes from or to."""
    attaining = {t for climb, ts in _climbs(points) if climb > 0 for t in ts}
    inside = [point.t for point in points if 0 <= point.t <= 1]
    beside = [
        right - left
        for left, right in itertools.pairwise(inside)
        if left in attaining or right in attaining
    ]
    return max(beside, default=0.0)


def midpoints_around(ts: Sequence[float], *centres: float) -> list[float]:
    """Return the middles of the intervals of [0, 1] that touch one of ``centres``.

    Example:
        >>> midpoints_around([-0.5, 0.0, 0.5, 1.0], 0.0, 1.0)
        [0.25, 0.75]
    """
    inside = [t for t in ts if 0 <= t <= 1]
    return sorted(
        {
            (left + right) / 2
            for left, right in itertools.pairwise(inside)
            if left in centres or right in centres
        }
    )


def judged_pairs(points: Sequence[PathPoint]) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return the two points that attain the descent R, and those that attain the barrier H."""
    ts, losses = _losses(points)
    down, over = descent(ts, losses), barriers(ts, losses)
    worse_end = max((0.0, 1.0), key=lambda t: losses[ts.index(t)])
    return (down.from_t, down.to_t), (worse_end, over.top_t)


def _judged(points: Sequence[PathPoint]) -> tuple[float, ...]:
    return tuple(climb for climb, _ in _climbs(points))


def _climbs(points: Sequence[PathPoint]) -> list[tuple[float, set[float]]]:
    """Return descent, rise and barrier, each with the points that attain it."""
    ts, losses = _losses(points)
    down, up, over = descent(ts, losses), largest_rise(ts, losses), barriers(ts, losses)
    return [
        (down.value, {down.from_t, down.to_t}),
        (up.value, {up.from_t, up.to_t}),
        (over.worse_end, {over.top_t}),
    ]


def _centres(points: Sequence[PathPoint]) -> set[float]:
    """Return the points that attain what is judged; where one is 0, those that come nearest."""
    climbs = _climbs(points)
    centres = {t for _, attained in climbs for t in attained}
    if all(climb > 0 for climb, _ in climbs):
        return centres
    ts, losses = _losses(points)
    inside = [(t, loss) for t, loss in zip(ts, losses, strict=True) if 0 <= t <= 1]
    flattest = sorted(
        itertools.pairwise(inside), key=lambda pair: pair[1][1] - pair[0][1], reverse=True
    )
    highest = max(inside[1:-1], key=lambda point: point[1], default=inside[0])
    near = {t for pair in flattest[:_NUM_FLATTEST] for t, _ in pair}
    return centres | near | {0.0, 1.0, highest[0]}


def _losses(points: Sequence[PathPoint]) -> tuple[list[float], list[float]]:
    return [point.t for point in points], [point.train.loss for point in points]
