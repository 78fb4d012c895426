"""Records of experiments that never ran, with effects that are known because they were put in.

The judges and the report are tested on these: what is true of them is written in `Effects`.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lightning_sparse.points import parse_point
from lightning_sparse.records import (
    Evaluation,
    LayerSparsity,
    PathPoint,
    PathRecord,
    Record,
    RunRecord,
    curve_of_degree,
)

HEADLINE_SPARSITY = 0.98
CONTROL_SPARSITY = 0.8
SPARSITIES = (0.8, 0.9, 0.95, HEADLINE_SPARSITY)
FULL_GRID = tuple((i - 4) / 20 for i in range(29))
ENDS_AND_MIDDLE = (0.0, 0.5, 1.0)

RUN_OF_POINT: dict[str, tuple[str, str]] = {
    "dense:start": ("dense", "init"),
    "dense:end": ("dense", "init"),
    "dense2:end": ("dense", "init/scratch"),
    "prune:end": ("prune", "init"),
    "lottery:start": ("lottery", "init"),
    "lottery:end": ("lottery", "init"),
    "scratch:start": ("scratch", "init/scratch"),
    "scratch:end": ("scratch", "init/scratch"),
}

UNMASKED = {"dense", "dense2"}

_LAYERS = {"conv1": (144, 144), "conv2": (92, 4608), "conv3": (369, 18432), "fc": (128, 640)}
_CONFIG = {"optimizer": {"lr": 0.1, "weight_decay": 1e-4}, "data": {"name": "simulated"}}
_PROVENANCE = {
    "commit": "0" * 40,
    "dirty": False,
    "versions": {"python": "3.11.0", "torch": "2.11.0"},
    "hardware": "none, simulated",
    "num_threads": 1,
    "date": "2026-01-01T00:00:00+00:00",
}


@dataclass(frozen=True, kw_only=True)
class Effects:
    """The truth of a simulated experiment. Losses and rises in nats, accuracies in [0, 1].

    Attributes:
        start_loss: Loss of an untrained network.
        start_rise: Rise of every line from a start to an end.
        gap_at_low_sparsity: Share of the distance of scratch and lottery to pruned that is left
            at sparsities below the headline.
        loss_spread: Standard deviation over seeds of the log loss of an end point.
        rise_spread: Standard deviation over seeds of the log of a rise.
        rise_noise: Scale of what measurement adds to a rise, also to one that is truly zero.
        accuracy_spread: Standard deviation over seeds of an accuracy.
        relative_standard_error: Standard error of a loss over the loss.
        regulariser: What the objective has more than the loss, at every point.
    """

    dense_loss: float = 0.001
    pruned_loss: float = 0.08
    scratch_loss: float = 0.16
    lottery_loss: float = 0.075
    start_loss: float = 2.4
    dense_accuracy: float = 0.99
    pruned_accuracy: float = 0.97
    scratch_accuracy: float = 0.945
    lottery_accuracy: float = 0.965
    start_accuracy: float = 0.1
    start_rise: float = 0.0
    sparse_line_rise: float = 2.9
    sparse_quadratic_rise: float = 0.3
    sparse_cubic_rise: float = 0.25
    dense_quadratic_rise: float = 0.1
    dense_cubic_rise: float = 0.08
    lottery_line_rise: float = 0.03
    control_line_rise: float = 1.1
    control_quadratic_rise: float = 0.008
    mask_control_line_rise: float = 0.5
    mask_control_quadratic_rise: float = 0.002
    gap_at_low_sparsity: float = 0.3
    loss_spread: float = 0.15
    rise_spread: float = 0.25
    rise_noise: float = 0.002
    accuracy_spread: float = 0.003
    relative_standard_error: float = 0.05
    regulariser: float = 0.05


PAPER = Effects()


def evaluation(
    loss: float,
    accuracy: float = 0.9,
    *,
    standard_error: float | None = None,
    regulariser: float = 0.05,
    num_images: int = 1437,
) -> Evaluation:
    """Make one evaluation; the standard error is 5 % of the loss unless given."""
    return Evaluation(
        loss=loss,
        loss_standard_error=0.05 * loss if standard_error is None else standard_error,
        objective=loss + regulariser,
        accuracy=accuracy,
        num_images=num_images,
    )


def run_id(method: str, start: str, seed: int, target_sparsity: float) -> str:
    """Name a simulated run."""
    return f"{method}-{start.replace('/', '_')}-{target_sparsity:g}-seed{seed}"


def simulated_run(
    method: str,
    seed: int,
    target_sparsity: float,
    *,
    train: Evaluation,
    test: Evaluation,
    **changes: Any,
) -> RunRecord:
    """Make one run with ids, counts and mask source as the real program would have them.

    Args:
        method: The arm.
        seed: Its seed.
        target_sparsity: Nominal sparsity; ignored by the dense arm, which has none.
        train: On the fixed training subset.
        test: On the test set.
        changes: Any field of the record, to overwrite.
    """
    start = changes.get("start", "init/scratch" if method == "scratch" else "init")
    sparsity = 0.0 if method == "dense" else target_sparsity
    layers = {
        name: LayerSparsity(kept=_num_kept(name, sparsity), prunable=prunable)
        for name, (_, prunable) in _LAYERS.items()
    }
    needs_mask = method in {"scratch", "lottery"}
    fields: dict[str, Any] = {
        "run_id": run_id(method, start, seed, sparsity),
        "experiment": "simulated",
        "method": method,
        "start": start,
        "seed": seed,
        "target_sparsity": sparsity,
        "kept": sum(layer.kept for layer in layers.values()),
        "prunable": sum(layer.prunable for layer in layers.values()),
        "layers": layers,
        "num_steps": 2500,
        "train": train,
        "test": test,
        "mask_source": run_id("prune", "init", seed, sparsity) if needs_mask else None,
        "rewind_step": 0,
        "distance_from_start": 12.0,
        "wall_seconds": 40.0,
        "config": _CONFIG,
        "provenance": _PROVENANCE,
    }
    return RunRecord(**(fields | changes))


def simulated_path(
    start: str,
    end: str,
    seed: int,
    *,
    degree: int = 1,
    space: str = "dense",
    points: Sequence[PathPoint],
    **changes: Any,
) -> PathRecord:
    """Make one path between two points, named as in `PathRecord`.

    Args:
        start: Point at t = 0.
        end: Point at t = 1.
        seed: Seed of both.
        degree: Of a Bezier curve; 1 is the straight line.
        space: As in `PathRecord`.
        points: As `path_points` makes them.
        changes: Any field of the record, to overwrite.
    """
    asked = changes.pop("target_sparsity", HEADLINE_SPARSITY)
    sparsity = 0.0 if {parse_point(start).run, parse_point(end).run} <= UNMASKED else asked
    fields: dict[str, Any] = {
        "run_id": f"path-{in_id(start)}-{in_id(end)}-{degree}-{space}-{sparsity:g}-seed{seed}",
        "experiment": "simulated",
        "seed": seed,
        "target_sparsity": sparsity,
        "start": start,
        "end": end,
        "curve": curve_of_degree(degree),
        "space": space,
        "batch_norm": "recalibrated",
        "num_recalibration_images": 512,
        "points": points,
        "refinement_converged": True,
        "distance": 15.0,
        "length": 15.0 if degree == 1 else 21.0,
        "num_steps": 0 if degree == 1 else 1500,
        "fit_objective": None if degree == 1 else 0.4,
        "start_run": _run_of_point(start, seed, sparsity),
        "end_run": _run_of_point(end, seed, sparsity),
        "train_subset_hash": "simulated",
        "wall_seconds": 20.0,
        "config": _CONFIG,
        "provenance": _PROVENANCE,
    }
    return PathRecord(**(fields | changes))


def in_id(point: str) -> str:
    return str(parse_point(point).letters)


def path_points(
    first: Evaluation,
    last: Evaluation,
    rise: float,
    *,
    grid: Sequence[float] = FULL_GRID,
    relative_standard_error: float = 0.05,
) -> list[PathPoint]:
    """Draw a path whose largest rise is exactly ``rise``, attained at t = 0.5.

    It climbs smoothly from ``first`` to the peak and falls smoothly to ``last``. Where the last
    loss is more than ``rise`` above the first, the largest rise is that difference instead.
    The ends are the given evaluations.
    """
    regulariser = first.objective - first.loss
    rise = max(rise, last.loss - first.loss)
    peak = first.loss + rise

    def point(t: float) -> Evaluation:
        near = first if t < 0.5 else last
        if t in {0.0, 1.0}:
            return near
        # Beyond the ends the loss goes up again, as it does in extrapolation.
        height = math.sin(math.pi * t) ** 2
        loss = near.loss + height * (peak - near.loss if 0 < t < 1 else 1.0)
        return evaluation(
            loss,
            near.accuracy * math.exp(-rise * height / 3),
            standard_error=relative_standard_error * loss,
            regulariser=regulariser,
        )

    def on_test(train: Evaluation) -> Evaluation:
        return evaluation(1.2 * train.loss, 0.98 * train.accuracy, num_images=360)

    return [PathPoint(t=t, train=point(t), test=on_test(point(t))) for t in grid]


def simulated_records(  # noqa: PLR0913 (keyword-only: what is true, and how it is measured)
    seeds: Iterable[int],
    *,
    effects: Effects = PAPER,
    noise_seed: int = 0,
    sparsities: Sequence[float] = SPARSITIES,
    headline_sparsity: float = HEADLINE_SPARSITY,
    grid: Sequence[float] = FULL_GRID,
    rules: int = 1,
) -> list[Record]:
    """Make all runs and paths of the plan for the given seeds.

    Args:
        seeds: One complete set of records each.
        effects: What is true.
        noise_seed: Two values give two draws of the same truth.
        sparsities: Of the end points; must contain the headline.
        headline_sparsity: Where the paths are drawn.
        grid: Values of t; `ENDS_AND_MIDDLE` is enough for the judges, and fast.
        rules: By which the paths are measured; under rules 2 there is a control in the mask.
    """
    records: list[Record] = []
    for seed in seeds:
        generator = np.random.default_rng([noise_seed, seed])
        draw = _Draw(effects, generator, seed, grid, rules)
        for sparsity in sparsities:
            share = 1.0 if sparsity == headline_sparsity else effects.gap_at_low_sparsity
            records += draw.sparse_runs(sparsity, share)
        if rules > 1 and CONTROL_SPARSITY not in sparsities:
            records += draw.sparse_runs(CONTROL_SPARSITY, effects.gap_at_low_sparsity)
        records += draw.dense_runs()
        records += draw.paths(
            {record.run_id: record for record in records if isinstance(record, RunRecord)},
            headline_sparsity,
        )
    return records


class _Draw:
    """The noise of one seed."""

    def __init__(
        self,
        effects: Effects,
        generator: np.random.Generator,
        seed: int,
        grid: Sequence[float],
        rules: int,
    ) -> None:
        self.effects, self.generator, self.seed, self.grid = effects, generator, seed, grid
        self.rules = rules

    def dense_runs(self) -> list[Record]:
        """Draw the dense runs from both starts."""
        effects = self.effects
        return [
            self._run("dense", 0.0, effects.dense_loss, effects.dense_accuracy, start=start)
            for start in ("init", "init/scratch")
        ]

    def sparse_runs(self, sparsity: float, share: float) -> list[Record]:
        """Draw the three sparse arms; ``share`` scales their distances to the pruned arm."""
        effects = self.effects
        arms: list[tuple[str, float, float]] = [
            ("prune", effects.pruned_loss, effects.pruned_accuracy),
            ("scratch", effects.scratch_loss, effects.scratch_accuracy),
            ("lottery", effects.lottery_loss, effects.lottery_accuracy),
        ]
        return [
            self._run(
                method,
                sparsity,
                effects.pruned_loss + share * (loss - effects.pruned_loss),
                effects.pruned_accuracy + share * (accuracy - effects.pruned_accuracy),
            )
            for method, loss, accuracy in arms
        ]

    def paths(self, runs: dict[str, RunRecord], sparsity: float) -> list[Record]:
        """Draw the paths of the plan between ``runs``, which are this seed's among others."""
        effects = self.effects
        plan = [
            ("dense:start", "prune:end", 1, "dense", effects.start_rise),
            ("lottery:start", "prune:end", 1, "dense", effects.start_rise),
            ("scratch:start", "prune:end", 1, "dense", effects.start_rise),
            ("scratch:start", "scratch:end", 1, "dense", effects.start_rise),
            ("dense:start", "dense:end", 1, "dense", effects.start_rise),
            ("lottery:end", "prune:end", 1, "dense", effects.lottery_line_rise),
            ("scratch:end", "prune:end", 1, "dense", effects.sparse_line_rise),
            ("scratch:end", "prune:end", 2, "end_mask", effects.sparse_quadratic_rise),
            ("scratch:end", "prune:end", 2, "dense", effects.dense_quadratic_rise),
            ("scratch:end", "prune:end", 3, "end_mask", effects.sparse_cubic_rise),
            ("scratch:end", "prune:end", 3, "dense", effects.dense_cubic_rise),
            ("dense:end", "dense2:end", 1, "dense", effects.control_line_rise),
            ("dense:end", "dense2:end", 2, "dense", effects.control_quadratic_rise),
        ]
        marks: dict[str, Any] = {}
        if self.rules > 1:
            marks = {"rules": self.rules, "num_classes": 10}
        drawn = [(*path, sparsity) for path in plan]
        if self.rules > 1:
            drawn += [
                (
                    "scratch:end",
                    "prune:end",
                    1,
                    "dense",
                    effects.mask_control_line_rise,
                    CONTROL_SPARSITY,
                ),
                (
                    *(
                        "scratch:end",
                        "prune:end",
                        2,
                        "end_mask",
                        effects.mask_control_quadratic_rise,
                    ),
                    CONTROL_SPARSITY,
                ),
            ]
        return [
            simulated_path(
                start,
                end,
                self.seed,
                **marks,
                degree=degree,
                space=space,
                target_sparsity=of_path,
                points=path_points(
                    self._end_of(start, runs, of_path),
                    self._end_of(end, runs, of_path),
                    self._rise(rise),
                    grid=self.grid,
                    relative_standard_error=effects.relative_standard_error,
                ),
            )
            for start, end, degree, space, rise, of_path in drawn
        ]

    def _run(
        self, method: str, sparsity: float, loss: float, accuracy: float, **changes: Any
    ) -> RunRecord:
        loss *= math.exp(self.effects.loss_spread * self.generator.standard_normal())
        shift = self.effects.accuracy_spread * self.generator.standard_normal()
        return simulated_run(
            method,
            self.seed,
            sparsity,
            train=self._evaluation(loss, min(1.0, accuracy + 0.01 + shift)),
            test=self._evaluation(1.2 * loss, min(1.0, accuracy + shift), num_images=360),
            **changes,
        )

    def _evaluation(self, loss: float, accuracy: float, num_images: int = 1437) -> Evaluation:
        return evaluation(
            loss,
            accuracy,
            standard_error=self.effects.relative_standard_error * loss,
            regulariser=self.effects.regulariser,
            num_images=num_images,
        )

    def _end_of(self, point: str, runs: dict[str, RunRecord], sparsity: float) -> Evaluation:
        if point.endswith(":start"):
            return self._evaluation(self.effects.start_loss, self.effects.start_accuracy)
        return runs[_run_of_point(point, self.seed, sparsity)].train

    def _rise(self, truth: float) -> float:
        noisy = truth * math.exp(self.effects.rise_spread * self.generator.standard_normal())
        return noisy + self.effects.rise_noise * abs(self.generator.standard_normal())


def _run_of_point(point: str, seed: int, sparsity: float) -> str:
    method, start = RUN_OF_POINT.get(point, (parse_point(point).run, "init"))
    return run_id(method, start, seed, 0.0 if method == "dense" else sparsity)


def _num_kept(layer: str, sparsity: float) -> int:
    at_headline, prunable = _LAYERS[layer]
    if sparsity == 0:
        return prunable
    share = min(1.0, (1 - sparsity) / (1 - HEADLINE_SPARSITY) * at_headline / prunable)
    return round(share * prunable)
