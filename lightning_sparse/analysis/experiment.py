"""The records of one experiment, checked and looked up by what they are of."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeVar

from lightning_sparse.errors import UserError
from lightning_sparse.points import parse_point
from lightning_sparse.records import (
    STRAIGHT_LINE,
    PathRecord,
    Record,
    RunRecord,
    curve_of_degree,
)

QUADRATIC, CUBIC = map(curve_of_degree, (2, 3))


class Route(NamedTuple):
    """One kind of path: from where, to where, of what shape.

    Attributes:
        start: Point at t = 0.
        end: Point at t = 1.
        curve: As in `PathRecord`.
        space: ``dense`` or ``sparse`` for a curve; a line has no control point, hence no space. The
            two ends of a sparse curve share their mask, so all four masks of `PathRecord` are one.
        times: How many times the experiment's own steps a curve was fitted for.
    """

    start: str
    end: str
    curve: str = STRAIGHT_LINE
    space: Literal["line", "dense", "sparse"] = "line"
    times: int = 1

    @property
    def name(self) -> str:
        """Words for a legend or a note.

        Example:
            >>> Route("scratch:end", "prune:end", QUADRATIC, "sparse").name
            'sparse quadratic scratch:end to prune:end'
            >>> Route("scratch:start", "prune:end").name
            'line scratch:start to prune:end'
        """
        curve = self.curve.removesuffix(" curve")
        shape = f"{self.space} {curve}" if self.is_fitted else curve.removeprefix("straight ")
        longer = f", {self.times} times the steps" if self.times > 1 else ""
        return f"{shape} {self.start} to {self.end}{longer}"

    @property
    def is_fitted(self) -> bool:
        """Whether there was something to train."""
        return self.space != "line"

    @property
    def is_in_mask(self) -> bool:
        """Whether it leads from the scratch to the pruned solution inside their mask."""
        return (self.start, self.end) == ("scratch:end", "prune:end") and self.space != "dense"

    @property
    def is_between_dense_ends(self) -> bool:
        """Whether no mask is involved, so that the record's sparsity is 0."""
        return all(parse_point(point).is_dense for point in (self.start, self.end))


def route_of(path: PathRecord) -> Route:
    """Return the kind of a recorded path."""
    start, end = str(path.start_point), str(path.end_point)
    if not path.is_fitted:
        return Route(start, end, path.curve)
    space: Literal["dense", "sparse"] = "dense" if path.space == "dense" else "sparse"
    return Route(start, end, path.curve, space, path.steps_multiplier or 1)


class _RunKey(NamedTuple):
    method: str
    start: str
    seed: int
    sparsity: float

    def __str__(self) -> str:
        arm = f"{self.method} run from {self.start}"
        return f"the {arm}, seed {self.seed}, sparsity {self.sparsity:g}"


class _PathKey(NamedTuple):
    route: Route
    seed: int
    sparsity: float

    def __str__(self) -> str:
        return f"the {self.route.name}, seed {self.seed}, sparsity {self.sparsity:g}"


@dataclass(frozen=True)
class ExperimentRecords:
    """Runs and paths of one experiment; at most one record of each thing.

    Attributes:
        seeds: Every seed that has a record, in increasing order. A claim asks for all of them, so
            that a seed whose training failed cannot drop out of an average unseen.
        runs: All runs, in file order.
        paths: All paths, in file order.
    """

    seeds: tuple[int, ...]
    runs: tuple[RunRecord, ...]
    paths: tuple[PathRecord, ...]
    _run_of_arm: Mapping[tuple[str, int, float], RunRecord]
    _path_of: Mapping[_PathKey, PathRecord]

    @classmethod
    def from_records(cls, records: Iterable[Record]) -> "ExperimentRecords":
        """Index the records of one experiment.

        Raises:
            UserError: If there are none, if they are of several experiments, if a run id comes
                twice, if two records are of the same thing, or if they do not fit together: a mask
                or a path that belongs to another run, paths measured in different ways.
        """
        records = list(records)
        runs = tuple(record for record in records if isinstance(record, RunRecord))
        paths = tuple(record for record in records if isinstance(record, PathRecord))
        _check_one_experiment(records)
        _unique((_run_key(run), run) for run in runs)
        experiment = cls(
            seeds=tuple(sorted({record.seed for record in records})),
            runs=runs,
            paths=paths,
            _run_of_arm={(run.arm, run.seed, _rounded(run.target_sparsity)): run for run in runs},
            _path_of=_unique((_path_key(path), path) for path in paths),
        )
        for run in runs:
            experiment._check_mask_source(run)
        for path in paths:
            experiment._check_ends(path)
            _check_same_measurement(paths[0], path)
        return experiment

    def run(self, point: str, seed: int, sparsity: float) -> RunRecord | None:
        """Return the run that a point belongs to; dense runs have no sparsity."""
        of = parse_point(point)
        sparsity = 0.0 if of.is_dense else sparsity
        return self._run_of_arm.get((of.run, seed, _rounded(sparsity)))

    def path(self, route: Route, seed: int, sparsity: float) -> PathRecord | None:
        """Return a path; between dense ends there is no sparsity."""
        sparsity = 0.0 if route.is_between_dense_ends else sparsity
        return self._path_of.get(_PathKey(route, seed, _rounded(sparsity)))

    def lowest_sparsity(self, routes: Collection[Route], below: float) -> float | None:
        """Return the lowest sparsity below another that has a path along one of ``routes``."""
        found = [
            path.target_sparsity
            for path in self.paths
            if path.target_sparsity < below and route_of(path) in routes
        ]
        return min(found, default=None)

    def _check_mask_source(self, run: RunRecord) -> None:
        pruned = self.run("prune:end", run.seed, run.target_sparsity)
        if run.mask_source is None or pruned is None:
            return
        if run.mask_source != pruned.run_id:
            raise UserError(
                f"run {run.run_id}: its mask is from {run.mask_source}, but the pruned run of its "
                f"seed and sparsity is {pruned.run_id}; train it again"
            )
        for count in ("kept", "prunable", "num_steps"):
            if getattr(run, count) != getattr(pruned, count):
                raise UserError(
                    f"run {run.run_id}: {count}={getattr(run, count)}, but {pruned.run_id}, whose "
                    f"mask it has, says {getattr(pruned, count)}; train both alike"
                )

    def _check_ends(self, path: PathRecord) -> None:
        for point, run_id in ((path.start_point, path.start_run), (path.end_point, path.end_run)):
            run = self.run(str(point), path.seed, path.target_sparsity)
            if run is not None and run.run_id != run_id:
                raise UserError(
                    f"path {path.run_id}: its {point} is of run {run_id}, but the run of its seed "
                    f"and sparsity is {run.run_id}; draw the path again"
                )


_Recorded = TypeVar("_Recorded", RunRecord, PathRecord)
_Key = TypeVar("_Key")


def _unique(items: Iterable[tuple[_Key, _Recorded]]) -> dict[_Key, _Recorded]:
    found: dict[_Key, _Recorded] = {}
    for key, record in items:
        if key in found:
            raise UserError(
                f"runs {found[key].run_id} and {record.run_id} are both {key}; remove one of them"
            )
        found[key] = record
    return found


def _run_key(run: RunRecord) -> _RunKey:
    return _RunKey(run.method, run.start, run.seed, _rounded(run.target_sparsity))


def _path_key(path: PathRecord) -> _PathKey:
    return _PathKey(route_of(path), path.seed, _rounded(path.target_sparsity))


def _rounded(sparsity: float) -> float:
    """Make sparsities that were computed in two ways (1 - 0.02, 0.98) one dictionary key."""
    return round(sparsity, 9)


def _check_one_experiment(records: list[Record]) -> None:
    if not records:
        raise UserError("no records; run `make reproduce` first")
    names = sorted({record.experiment for record in records})
    if len(names) > 1:
        raise UserError(f"records of several experiments: {', '.join(names)}; judge one at a time")
    seen: set[str] = set()
    for record in records:
        if record.run_id in seen:
            raise UserError(f"run id {record.run_id} comes twice; remove one of the two records")
        seen.add(record.run_id)


def _check_same_measurement(first: PathRecord, other: PathRecord) -> None:
    for name in ("batch_norm", "num_recalibration_images", "train_subset_hash", "rules"):
        if getattr(first, name) != getattr(other, name):
            raise UserError(
                f"paths {first.run_id} and {other.run_id} cannot be compared: {name} is "
                f"{getattr(first, name)!r} and {getattr(other, name)!r}; measure both alike"
            )
