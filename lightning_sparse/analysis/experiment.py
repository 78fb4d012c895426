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
        share: Share of what the mask leaves out that a sparse curve may use too; None for nothing.
        order: What of it comes first, as in `PathRecord`.
        search: Which draw of t a curve was fitted with; None for the first.
        ray: Coordinates along which a line goes down from the start, as in `PathRecord`; None for a
            path between two points.
        spectrum: The matrix whose eigenvalues are looked at along a curve, likewise; None for none.
    """

    start: str
    end: str
    curve: str = STRAIGHT_LINE
    space: Literal["line", "dense", "sparse"] = "line"
    times: int = 1
    share: float | None = None
    order: str | None = None
    search: int | None = None
    ray: str | None = None
    spectrum: str | None = None

    @property
    def name(self) -> str:
        """Words for a legend or a note.

        Example:
            >>> Route("scratch:end", "prune:end", QUADRATIC, "sparse").name
            'sparse quadratic scratch:end to prune:end'
            >>> Route("scratch:start", "prune:end").name
            'line scratch:start to prune:end'
            >>> Route("prune:end", "prune:end", ray="outside").name
            'ray outside from prune:end'
        """
        if self.ray is not None:
            return f"ray {self.ray.replace('_', ' ')} from {self.start}"
        curve = self.curve.removesuffix(" curve")
        shape = f"{self.space} {curve}" if self.is_fitted else curve.removeprefix("straight ")
        return f"{shape} {self.start} to {self.end}{self.details}"

    @property
    def details(self) -> str:
        """What tells it from others of its shape and ends, each after a comma.

        Example:
            >>> Route("scratch:end", "prune:end", QUADRATIC, "sparse", 4, search=1).details
            ', 4 times the steps, search 1'
        """
        more = f", {self.times} times the steps" if self.times > 1 else ""
        more += "" if self.share is None else f", {self.share:g} of the rest free by {self.order}"
        more += "" if self.search is None else f", search {self.search}"
        return more + ("" if self.spectrum is None else f", spectrum {self.spectrum}")

    @property
    def is_fitted(self) -> bool:
        """Whether there was something to train."""
        return self.space != "line"

    @property
    def arms(self) -> tuple[str, str]:
        """The arms of its ends."""
        return parse_point(self.start).run, parse_point(self.end).run


def route_of(path: PathRecord) -> Route:
    """Return the kind of a recorded path."""
    start, end = str(path.start_point), str(path.end_point)
    if not path.is_fitted:
        return Route(start, end, path.curve, ray=path.ray)
    space: Literal["dense", "sparse"] = "dense" if path.space == "dense" else "sparse"
    return Route(
        start,
        end,
        path.curve,
        space,
        path.steps_multiplier or 1,
        path.freed_share,
        path.freed_order,
        path.search_seed,
        spectrum=path.spectrum,
    )


class _RunKey(NamedTuple):
    arm: str
    seed: int
    sparsity: float

    def __str__(self) -> str:
        return f"the {self.arm} run, seed {self.seed}, sparsity {self.sparsity:g}"


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
        unmasked: Arms without masks, whose runs have no sparsity, nor the paths between them.
    """

    seeds: tuple[int, ...]
    runs: tuple[RunRecord, ...]
    paths: tuple[PathRecord, ...]
    unmasked: frozenset[str]
    _run_of: Mapping[_RunKey, RunRecord]
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
        experiment = cls(
            seeds=tuple(sorted({record.seed for record in records})),
            runs=runs,
            paths=paths,
            unmasked=unmasked_arms(runs, paths),
            _run_of=_unique((_run_key(run), run) for run in runs),
            _path_of=_unique((_path_key(path), path) for path in paths),
        )
        for run in runs:
            experiment._check_mask_source(run)
        for path in paths:
            experiment._check_ends(path)
            _check_same_measurement(paths[0], path)
        return experiment

    @property
    def name(self) -> str:
        """Name of the experiment."""
        return (self.runs or self.paths)[0].experiment

    def run(self, point: str, seed: int, sparsity: float) -> RunRecord | None:
        """Return the run that a point belongs to; those without masks have no sparsity."""
        arm = parse_point(point).run
        sparsity = 0.0 if arm in self.unmasked else sparsity
        return self._run_of.get(_RunKey(arm, seed, _rounded(sparsity)))

    def path(self, route: Route, seed: int, sparsity: float) -> PathRecord | None:
        """Return a path; between ends without masks there is no sparsity."""
        sparsity = sparsity if self.has_sparsity(route) else 0.0
        return self._path_of.get(_PathKey(route, seed, _rounded(sparsity)))

    def has_sparsity(self, route: Route) -> bool:
        """Whether either end has masks."""
        return not self.unmasked.issuperset(route.arms)

    def label(self, route: Route, sparsity: float) -> str:
        """Name a path for a remark."""
        return f"{route.name} at sparsity {sparsity:g}" if self.has_sparsity(route) else route.name

    def lowest_sparsity(self, routes: Collection[Route], below: float) -> float | None:
        """Return the lowest sparsity below another that has a path along one of ``routes``."""
        found = [
            path.target_sparsity
            for path in self.paths
            if path.target_sparsity < below and route_of(path) in routes
        ]
        return min(found, default=None)

    def _check_mask_source(self, run: RunRecord) -> None:
        if run.mask_source is None:
            return
        source = self._run_of.get(_RunKey(run.mask_arm, run.seed, _rounded(run.target_sparsity)))
        if source is None:
            return
        if run.mask_source != source.run_id:
            raise UserError(
                f"run {run.run_id}: its mask is from {run.mask_source}, but the {source.arm} run "
                f"of its seed and sparsity is {source.run_id}; train it again"
            )
        is_longer = run.config.get("method", {}).get("length") is not None
        for count in ("kept", "prunable", *(() if is_longer else ("num_steps",))):
            if getattr(run, count) != getattr(source, count):
                raise UserError(
                    f"run {run.run_id}: {count}={getattr(run, count)}, but {source.run_id}, whose "
                    f"mask it has, says {getattr(source, count)}; train both alike"
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
    return _RunKey(run.arm, run.seed, _rounded(run.target_sparsity))


def unmasked_arms(runs: Iterable[RunRecord], paths: Iterable[PathRecord]) -> frozenset[str]:
    """Return the arms without masks, by their runs, or else by paths that have no sparsity."""
    masked = {run.arm: run.is_masked for run in runs}
    ends = {arm for path in paths if not path.target_sparsity for arm in route_of(path).arms}
    return frozenset(
        {arm for arm, is_masked in masked.items() if not is_masked} | ends - set(masked)
    )


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
