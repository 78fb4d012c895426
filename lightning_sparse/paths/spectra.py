"""Eigenvalues of the curvature at both ends of a fitted curve and at its highest point."""

import copy
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from torch import Tensor, nn

from lightning_sparse.errors import UserError
from lightning_sparse.paths.curvature import Curvature, quadratures
from lightning_sparse.paths.settings import EvaluationSettings, SpectrumKind
from lightning_sparse.records import PathRecord, Spectrum, read_record
from lightning_sparse.sparsity.masks import Masks
from lightning_sparse.training.measurement import Batch

_ROUNDING = 1e-6
_LOSS_ROUNDING = 1e-3
"""Relative; another number of threads adds up in another order."""


@dataclass(frozen=True, kw_only=True)
class CurveSpectra:
    """What is asked of a curve that was fitted before.

    Attributes:
        kind: Of which matrix, and whether ``inside`` the mask that the curve lies in.
        num_probes: Random directions, at least 2, from the ``network`` stream.
        num_steps: Of Lanczos, for each of them.
        curve_dir: Folder of the fitted curve.
    """

    kind: SpectrumKind
    num_probes: int
    num_steps: int
    curve_dir: Path

    @cached_property
    def curve(self) -> PathRecord:
        """The record of the curve."""
        record = read_record(self.curve_dir)
        assert isinstance(record, PathRecord)
        return record

    def masks(self, subspace: Masks | None) -> Masks | None:
        """Return which coordinates the matrix has; None for all prunable weights.

        Raises:
            UserError: If it is to be the mask of a curve that has none.
        """
        if not self.kind.endswith("inside"):
            return None
        if subspace is None:
            raise UserError(
                f"path.spectrum={self.kind}: the curve lies in no mask; choose "
                "path.space=end_mask, or leave out inside"
            )
        return subspace

    def at(
        self,
        t: float,
        network: nn.Module,
        state: Mapping[str, Tensor],
        batches: Iterable[Batch],
        masks: Masks | None,
        seed: int,
    ) -> Spectrum:
        """Estimate the spectrum at one point.

        Args:
            t: Where.
            network: The architecture, on the device to compute on.
            state: Weights, and the buffers with which the loss was measured there.
            batches: Images that the loss is the mean over: this rank's share.
            masks: As `masks` gives them.
            seed: Of the probes.
        """
        twin = copy.deepcopy(network)
        twin.load_state_dict(state)
        curvature = Curvature(twin.eval().requires_grad_(), batches, masks)
        is_hessian = self.kind.startswith("hessian")
        product = curvature.hessian_times if is_hessian else curvature.gauss_newton_times
        rules = quadratures(
            product,
            curvature.num_coordinates,
            seed=seed,
            num_probes=self.num_probes,
            num_steps=self.num_steps,
        )
        return Spectrum(
            t=t,
            num_coordinates=curvature.num_coordinates,
            nodes=[nodes.tolist() for nodes, _ in rules],
            weights=[weights.tolist() for _, weights in rules],
        )


def check_statistics(evaluation: EvaluationSettings) -> None:
    """Refuse statistics that belong to a batch, of which no point has a spectrum.

    Raises:
        UserError: If every batch is measured with its own.
    """
    if evaluation.batch_norm == "batch":
        raise UserError(
            "evaluation.batch_norm=batch: a spectrum needs statistics that belong to a point; "
            "choose recalibrated"
        )


def points_of_spectra(curve: PathRecord) -> list[float]:
    """Return where the spectra of a curve are asked for: its ends, and its highest point between.

    Highest in training loss, in increasing t; where that is an end, the ends alone.
    """
    between = [point for point in curve.points if 0 <= point.t <= 1]
    highest = max(between, key=lambda point: point.train.loss)
    return sorted({0.0, highest.t, 1.0})


def problems_of_spectra(record: PathRecord, run_dir: Path) -> Iterator[str]:
    """Yield one line for everything that no spectrum is, or that is not its curve's.

    Args:
        record: Of a path with spectra.
        run_dir: Its folder; the curve is compared if it lies beside it.
    """
    spectra = record.spectra or ()
    if [spectrum.t for spectrum in spectra] != [point.t for point in record.points]:
        yield "record.json: its spectra are not at its points"
    for spectrum in spectra:
        for line in _odd_numbers(record, spectrum):
            yield f"record.json: the spectrum at t = {spectrum.t:g} {line}"
    curve_dir = run_dir.parent / (record.curve_run or "")
    if record.curve_run and curve_dir.is_dir():
        try:
            yield from _of_another_curve(record, curve_dir)
        except UserError as error:
            yield f"cannot be compared with {record.curve_run}: {error}"


def _odd_numbers(record: PathRecord, spectrum: Spectrum) -> Iterator[str]:
    path = record.config.get("path")
    said: Mapping[str, object] = path if isinstance(path, Mapping) else {}
    if len(spectrum.nodes) != said.get("num_probes"):
        yield f"has {len(spectrum.nodes)} probes, config has {said.get('num_probes')}"
    # Inside a mask they are those that the ends keep, some of which may be zero by chance.
    is_inside = (record.spectrum or "").endswith("inside")
    if not is_inside and spectrum.num_coordinates != record.prunable:
        yield f"has {spectrum.num_coordinates} coordinates, the network {record.prunable} weights"
    for nodes, weights in zip(spectrum.nodes, spectrum.weights, strict=False):
        if len(nodes) != len(weights) or sorted(set(nodes)) != list(nodes):
            yield "has nodes that are not in increasing order, or not as many as weights"
        elif min(weights) < 0 or abs(sum(weights) - 1) > _ROUNDING:
            yield f"has weights that do not sum to 1 but to {sum(weights):.6g}"
        elif _is_semi_definite(record) and min(nodes) < -_ROUNDING * max(nodes):
            yield f"has the eigenvalue {min(nodes):.3g}, which no Gauss-Newton matrix has"


def _is_semi_definite(record: PathRecord) -> bool:
    return (record.spectrum or "").startswith("gauss_newton")


def _of_another_curve(record: PathRecord, curve_dir: Path) -> Iterator[str]:
    curve = read_record(curve_dir)
    if not isinstance(curve, PathRecord):
        yield f"record.json: {record.curve_run} is no curve"
        return
    for name in ("curve", "space", "start", "end", "start_run", "end_run", "fit_objective"):
        if getattr(record, name) != getattr(curve, name):
            yield f"record.json: {name} is not that of its curve {curve.run_id}"
    losses = {point.t: point.train.loss for point in curve.points}
    if [point.t for point in record.points] != points_of_spectra(curve):
        yield f"record.json: its points are not the ends and the highest one of {curve.run_id}"
    for point in record.points:
        known = losses.get(point.t)
        if known is not None and abs(point.train.loss - known) > _LOSS_ROUNDING * max(known, 1e-3):
            yield (
                f"record.json: the loss at t = {point.t:g} is {point.train.loss:.6g}, on "
                f"{curve.run_id} it is {known:.6g}: other weights or statistics"
            )
