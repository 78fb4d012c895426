"""What a finished run or path leaves behind: frozen records, and their JSON Lines form.

The only thing that the training side and the analysis side share. No torch in here, so that a claim
can be judged again on any machine from the records alone.
"""

import dataclasses
import json
import math
import reprlib
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from lightning_sparse.arms import arm_as_recorded, is_masked_as_recorded, masks_as_recorded
from lightning_sparse.errors import UserError
from lightning_sparse.points import Point, parse_point

RECORD_VERSION = 1

NEWEST_RULES = 2
"""The set of rules of PROTOCOL.md by which paths are measured now."""

RECORD_FILE = "record.json"
"""Written last into a run folder: a folder without it is a run that has not finished."""

_LONGEST_NAME = 200  # bytes; file systems take 255, and locks and parts of files add to a name

_MOST_OFF = 0.001

STRAIGHT_LINE = "straight line"
"""`PathRecord.curve` of the path that every other is compared with."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """A network measured on one fixed set of images, in evaluation mode, without augmentation.

    Attributes:
        loss: Mean cross-entropy in nats; no label smoothing, no regulariser.
        loss_standard_error: Standard error of ``loss`` over the images, in nats.
        objective: ``loss`` plus half the weight decay times the squared norm of decayed weights.
        accuracy: Top-1, micro-averaged, in [0, 1].
        num_images: How many images were counted, exactly.
    """

    loss: float
    loss_standard_error: float
    objective: float
    accuracy: float
    num_images: int

    def __post_init__(self) -> None:
        """Refuse what no measurement gives."""
        if not 0 <= self.accuracy <= 1:
            raise ValueError(f"accuracy={self.accuracy}: must lie in [0, 1]")
        if self.loss_standard_error < 0:
            raise ValueError(
                f"loss_standard_error={self.loss_standard_error}: must not be negative"
            )


@dataclass(frozen=True, kw_only=True)
class LayerSparsity:
    """Kept and prunable weights of one layer, as integers."""

    kept: int
    prunable: int

    def __post_init__(self) -> None:
        """Refuse counts that no mask gives."""
        _check_counts(self.kept, self.prunable)


@dataclass(frozen=True, kw_only=True)
class Flops:
    """What one image costs: floating-point operations by `lightning_sparse.models.flops`.

    Attributes:
        dense: Forward pass of the network without masks.
        inference: Forward pass with the masks at the end; along a path, of the space it lies in.
        training: Forward and backward pass, the mean over the steps of the run; 0 for a line.
    """

    dense: float
    inference: float
    training: float

    def __post_init__(self) -> None:
        """Refuse what no network costs."""
        if not 0 <= self.inference <= self.dense or self.training < 0:
            raise ValueError(
                f"inference={self.inference} of dense={self.dense} operations, "
                f"training={self.training}: must not be negative, nor above dense"
            )


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """One trained end point.

    Attributes:
        run_id: Readable stem plus a hash of the settings that differ from the defaults.
        experiment: Name of the experiment configuration.
        method: The arm, or the one that it repeats from another start.
        start: Random stream of the start weights, ``init`` or ``init/scratch``; or the point that
            they are of, as the arm has it. Lottery runs of earlier versions have a stream.
        seed: The seed that names the family of random streams.
        target_sparsity: Nominal sparsity asked for, in [0, 1); 0 for dense runs.
        kept: Weights that the masks keep, over all prunable layers.
        prunable: Weights that could be masked.
        layers: The same two counts per layer.
        num_steps: Optimizer steps of the whole schedule.
        train: On the fixed training subset.
        test: On the test set.
        mask_source: Run id of the run that gave the masks, if any.
        rewind_step: Optimizer step that the start weights come from and the schedule goes on from.
        distance_from_start: Euclidean distance in weight space from start to end; None for a
            network that was trained elsewhere and whose start is not known.
        wall_seconds: Duration of the training; 0 for a network that was trained elsewhere.
        config: The resolved configuration.
        provenance: Commit, versions, hardware, number of threads, date.
        global_batch_size: Images per optimizer step, over all ranks; None in records written
            before it was counted. Batch norm sees ``config["batch_size"]`` of them at a time.
        flops: What an image costs, in training and at the end; None likewise.
        num_parameters: Entries of all parameters, prunable or not; None likewise.
        observations: What the sparse method says of the run at its end, as the share of weights
            that was ever kept; None if nothing.
        remarks: What was said of network and data before the run, and of weights that exploded in
            it, a sentence each; None if nothing.
        start_source: Run id of the run whose weights it started from; None for a random stream,
            and in lottery runs of earlier versions, where it is ``mask_source``.
        change_source: Run id of the run whose weights its start was changed by; None for none.
    """

    kind: ClassVar[str] = "run"

    run_id: str
    experiment: str
    method: str
    start: str
    seed: int
    target_sparsity: float
    kept: int
    prunable: int
    layers: Mapping[str, LayerSparsity]
    num_steps: int
    train: Evaluation
    test: Evaluation
    mask_source: str | None
    rewind_step: int
    distance_from_start: float | None
    wall_seconds: float
    config: Mapping[str, Any] = field(repr=False)
    provenance: Mapping[str, Any] = field(repr=False)
    global_batch_size: int | None = None
    flops: Flops | None = None
    num_parameters: int | None = None
    observations: Mapping[str, float] | None = None
    remarks: Sequence[str] | None = None
    start_source: str | None = None
    change_source: str | None = None

    def __post_init__(self) -> None:
        """Refuse counts that no mask gives."""
        _check_counts(self.kept, self.prunable)
        if self.num_parameters is not None:
            _check_counts(self.prunable, self.num_parameters)

    @property
    def arm(self) -> str:
        """The arm as points name it."""
        return arm_as_recorded(self.method, self.start, self.config.get("method"))

    @property
    def is_masked(self) -> bool:
        """Whether the arm has masks, and hence a sparsity."""
        return is_masked_as_recorded(self.method, self.config.get("method"))

    @property
    def mask_arm(self) -> str:
        """The arm that its masks are of, if ``mask_source`` names a run."""
        return masks_as_recorded(self.config.get("method"))

    @property
    def measured_sparsity(self) -> float:
        """Fraction of prunable weights that the masks remove, in [0, 1]; 0 if there are none."""
        return 1 - self.kept / self.prunable if self.prunable else 0.0

    @property
    def misses_sparsity(self) -> bool:
        """Whether its masks end more than a tenth of a percentage point from what was asked for."""
        return self.is_masked and abs(self.measured_sparsity - self.target_sparsity) > _MOST_OFF

    @property
    def overall_sparsity(self) -> float | None:
        """Fraction of all parameters that the masks remove, in [0, 1]; None if not counted."""
        if not self.num_parameters:
            return None
        return (self.prunable - self.kept) / self.num_parameters


@dataclass(frozen=True, kw_only=True)
class PathPoint:
    """The network at one curve parameter ``t``; train is the fixed training subset."""

    t: float
    train: Evaluation
    test: Evaluation


@dataclass(frozen=True, kw_only=True)
class Spectrum:
    """What stochastic Lanczos found of the eigenvalues of one matrix at one point of a path.

    For each random direction v of norm 1 nodes and weights, with which sum of weight times f(node)
    is v' f(matrix) v: exactly for polynomials of degree below twice the number of nodes. The mean
    over directions estimates the mean of f over all eigenvalues.

    Attributes:
        t: Where.
        num_coordinates: Rows of the matrix.
        nodes: By direction, in increasing order.
        weights: By direction, of the nodes; they sum to 1.
    """

    t: float
    num_coordinates: int
    nodes: Sequence[Sequence[float]]
    weights: Sequence[Sequence[float]]


@dataclass(frozen=True, kw_only=True)
class PathRecord:
    """One line or curve between two end points, measured at increasing ``t``.

    Attributes:
        run_id: As in `RunRecord`.
        experiment: Name of the experiment configuration.
        seed: The seed of both ends.
        target_sparsity: Nominal sparsity of the pruned end, in [0, 1); 0 between dense ends.
        start: Point at t = 0, as `lightning_sparse.points` writes it; in records of earlier
            versions in letters (``S-end``): what is compared is `start_point`.
        end: Point at t = 1, likewise.
        degree: Of a Bezier curve in a record that was written when there were no others, with 1 for
            the straight line; None since.
        curve: Name of its shape, ``AbstractCurve.name``: ``straight line``, ``quadratic curve``.
        space: Where control points may move: ``dense``, or the mask (``start_mask``, ``end_mask``,
            ``union``, ``intersection``).
        batch_norm: Policy for batch-norm statistics along the path.
        num_recalibration_images: Training images behind recalibrated statistics, else 0.
        points: Measured points in increasing ``t``; those outside [0, 1] are drawn, never judged.
        refinement_converged: Whether the refinement came to rest: the last two rounds moved neither
            descent, rise nor barrier by 2 %; in records of rules 1, the last one not the rise.
        distance: Euclidean distance between the ends in weight space.
        length: Length of the path in weight space; equals ``distance`` for a line.
        num_steps: Optimizer steps the curve was trained for; 0 for a line.
        fit_objective: Mean smoothed, regularised training objective over the last tenth of the
            curve's steps, in nats; None for a line.
        start_run: Run id of the run that the start belongs to.
        end_run: Run id of the run that the end belongs to.
        train_subset_hash: Names the fixed training subset.
        wall_seconds: Duration of fit and evaluation.
        config: The resolved configuration.
        provenance: Commit, versions, hardware, number of threads, date.
        kept: Prunable weights that may differ from zero between the ends: those that either end
            keeps, and on a curve those of its space as well; None in records written before this
            was counted.
        prunable: Weights that could be masked; None likewise.
        flops: What an image costs there; None likewise.
        rules: Set of rules of PROTOCOL.md that it was measured by; None in records of rules 1,
            whose ``recalibrated`` is ``recalibrated_plain`` now.
        num_classes: Number of classes, from which the margin of rules 2 follows; None likewise.
        descent_standard_error: Of the descent R of the training loss over images, in nats, from
            paired differences; 0 where all training images were measured; None likewise.
        barrier_standard_error: Of the barrier H likewise.
        steps_multiplier: How many times the experiment's own steps the curve was fitted for, where
            that is asked; None for once.
        remarks: As in `RunRecord`.
        freed_share: Share of what the mask of ``space`` leaves out in each layer that control
            points used too, in [0, 1]; None for nothing.
        freed_order: What of it came first.
        freed_by: The point whose magnitudes that is, as run id and moment; None where it is not.
        search_seed: Which draw of t the fit was made with; None for the first.
        ray: The coordinates along which a line goes straight down the gradient at its start,
            ``inside`` the mask, ``outside`` or ``outside_random``; its end is no point of a run
            then, and ``end`` is ``start``. None for a path between two points.
        spectrum: The matrix whose eigenvalues were looked at along a fitted curve, ``hessian`` or
            ``gauss_newton`` of the mean training loss, over all prunable weights or ``_inside`` the
            mask; ``points`` are then the ends and the highest point of that curve. None for none.
        spectra: What was found at each of ``points``; None likewise.
        curve_run: Run id of that curve; None likewise.
    """

    kind: ClassVar[str] = "path"

    run_id: str
    experiment: str
    seed: int
    target_sparsity: float
    start: str
    end: str
    degree: int | None = None
    curve: str
    space: str
    batch_norm: str
    num_recalibration_images: int
    points: Sequence[PathPoint]
    refinement_converged: bool
    distance: float
    length: float
    num_steps: int
    fit_objective: float | None
    start_run: str
    end_run: str
    train_subset_hash: str
    wall_seconds: float
    config: Mapping[str, Any] = field(repr=False)
    provenance: Mapping[str, Any] = field(repr=False)
    kept: int | None = None
    prunable: int | None = None
    flops: Flops | None = None
    rules: int | None = None
    num_classes: int | None = None
    descent_standard_error: float | None = None
    barrier_standard_error: float | None = None
    steps_multiplier: int | None = None
    remarks: Sequence[str] | None = None
    freed_share: float | None = None
    freed_order: str | None = None
    freed_by: str | None = None
    search_seed: int | None = None
    ray: str | None = None
    spectrum: str | None = None
    spectra: Sequence[Spectrum] | None = None
    curve_run: str | None = None

    def __post_init__(self) -> None:
        """Refuse counts that no mask gives."""
        if self.kept is not None and self.prunable is not None:
            _check_counts(self.kept, self.prunable)
        if self.degree is not None and self.curve != curve_of_degree(self.degree):
            raise ValueError(f"degree={self.degree}: is not that of a {self.curve}")

    @property
    def start_point(self) -> Point:
        """Point at t = 0."""
        return parse_point(self.start)

    @property
    def end_point(self) -> Point:
        """Point at t = 1."""
        return parse_point(self.end)

    @property
    def is_fitted(self) -> bool:
        """Whether there was something to train: not on a line."""
        return self.fit_objective is not None


def curve_of_degree(degree: int) -> str:
    """Name a Bezier curve; that of degree 1 is the line.

    Example:
        >>> [curve_of_degree(degree) for degree in (1, 2, 3, 4)]
        ['straight line', 'quadratic curve', 'cubic curve', 'curve of degree 4']
    """
    names = {1: STRAIGHT_LINE, 2: "quadratic curve", 3: "cubic curve"}
    return names.get(degree, f"curve of degree {degree}")


Record = RunRecord | PathRecord


_RECORD_TYPES: Mapping[str, type[RunRecord] | type[PathRecord]] = {
    record_type.kind: record_type for record_type in (RunRecord, PathRecord)
}


def is_plain_name(name: str) -> bool:
    """Whether ``name`` can only be that of a file or folder inside the folder it is looked for in.

    Run ids and experiment names become names of folders, and a record may be a stranger's.

    Example:
        >>> [is_plain_name(name) for name in ("dense-seed11", "../dense", "/etc", "..", "")]
        [True, False, False, False, False]
    """
    return (
        name.isprintable()
        and 0 < len(name.encode()) <= _LONGEST_NAME
        and not name.startswith((".", "-"))
        and not {"/", "\\"} & set(name)
    )


def to_json(record: Record) -> str:
    """Write one record as a single line of strict JSON (no NaN, no infinity).

    Fields that records have only lately are left out where they hold nothing, so that an earlier
    record that is read and written again is the same line.
    """
    fields = dataclasses.asdict(record)
    for item in dataclasses.fields(record):
        if item.default is None and fields[item.name] is None:
            del fields[item.name]
    if fields.get("degree") is not None:
        del fields["curve"]
    body = {"kind": record.kind, "version": RECORD_VERSION, **fields}
    return json.dumps(body, allow_nan=False, sort_keys=False)


def from_json(line: str, *, where: str = "record") -> Record:
    """Read one record back.

    Args:
        line: One line as written by `to_json`.
        where: File and line, for the error message.

    Raises:
        UserError: If the text is not JSON, not a record of this version, a field is missing,
            unknown or of the wrong type, or a name is one that leads out of a folder.
    """
    try:
        body = json.loads(line, parse_constant=_finite, parse_float=_finite)
        # Half a character, which JSON can escape and no report can show.
        json.dumps(body, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where}: not JSON ({error}); the file is damaged") from error
    # A list, because what was read may be anything, also something that has no hash.
    if not isinstance(body, dict) or body.get("kind") not in list(_RECORD_TYPES):
        raise UserError(f"{where}: not a record of a run or a path")
    if body.get("version") != RECORD_VERSION:
        raise UserError(
            f"{where}: record version {reprlib.repr(body.get('version'))}, this program reads "
            f"{RECORD_VERSION}; make the record again with this version"
        )
    record_type = _RECORD_TYPES[body["kind"]]
    values = {name: value for name, value in body.items() if name not in {"kind", "version"}}
    if record_type is PathRecord and type(values.get("degree")) is int:
        values = {"curve": curve_of_degree(values["degree"]), **values}
    record = typing.cast("Record", _build(record_type, values, where))
    _check_names(record, where)
    return record


def read_record(run_dir: Path) -> Record:
    """Read the record of a finished run or path.

    Raises:
        UserError: If it has not finished, or its record is damaged.
    """
    record_file = run_dir / RECORD_FILE
    if not record_file.is_file():
        raise UserError(
            f"{run_dir} is not a finished run: it has no {RECORD_FILE}; train it to the end first"
        )
    text = record_file.read_text(encoding="utf-8", errors="replace").strip()
    return from_json(text, where=str(record_file))


def read_records(record_file: Path) -> list[Record]:
    """Read every record of a JSON Lines file; blank lines are allowed."""
    if not record_file.is_file():
        raise UserError(f"no records at {record_file}; run `make reproduce` first")
    try:
        # Not splitlines, which also splits at line separators that JSON allows inside a string.
        lines = record_file.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise UserError(f"{record_file}: not UTF-8 ({error}); the file is damaged") from error
    return [
        from_json(line, where=f"{record_file}:{number}")
        for number, line in enumerate(lines, start=1)
        if line.strip()
    ]


def select_runs(
    records: Iterable[Record], *, method: str | None = None, target_sparsity: float | None = None
) -> list[RunRecord]:
    """Return the run records that match what is given, in file order."""
    return [
        record
        for record in records
        if isinstance(record, RunRecord)
        and method in {None, record.method}
        and (target_sparsity is None or math.isclose(record.target_sparsity, target_sparsity))
    ]


def _check_names(record: Record, where: str) -> None:
    """Refuse names that are looked for as folders and lie elsewhere, and points that are none."""
    if isinstance(record, PathRecord):
        for point in (record.start, record.end):
            try:
                parse_point(point)
            except UserError as error:
                raise UserError(f"{where}: {error}; the file is damaged") from None
    fields = (
        "experiment",
        "run_id",
        "method",
        "mask_source",
        "start_source",
        "change_source",
        "start_run",
        "end_run",
        "curve_run",
    )
    for name in fields:
        value = getattr(record, name, None)
        _require(
            value is None or is_plain_name(value),
            f"{where}.{name}: {value!r} is not the plain name of a folder; the file is damaged or "
            "made to reach out of its folder",
        )


def _build(annotation: Any, value: Any, where: str) -> Any:
    """Turn decoded JSON into ``annotation``, or say which field does not fit."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if type(None) in arguments and value is not None and not _is_plain_type(arguments[0]):
        annotation = arguments[0]
        origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if dataclasses.is_dataclass(annotation):
        return _build_dataclass(annotation, value, where)
    if origin is Mapping:
        _require(isinstance(value, dict), f"{where}: {reprlib.repr(value)} should be an object")
        return {key: _build(arguments[1], item, f"{where}.{key}") for key, item in value.items()}
    if origin is Sequence:
        _require(isinstance(value, list), f"{where}: {reprlib.repr(value)} should be a list")
        return [_build(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(value)]
    if origin is Literal:
        known = ", ".join(map(repr, arguments))
        _require(value in arguments, f"{where}: {reprlib.repr(value)} is none of {known}")
        return value
    if annotation is Any:
        return value
    return _build_plain(annotation, value, where)


def _is_plain_type(annotation: Any) -> bool:
    return isinstance(annotation, type) and not dataclasses.is_dataclass(annotation)


def _build_plain(annotation: Any, value: Any, where: str) -> Any:
    allowed = typing.get_args(annotation) or (annotation,)
    if float in allowed and type(value) is int:
        try:
            return float(value)
        except OverflowError as error:
            raise UserError(f"{where}: {reprlib.repr(value)} is too large") from error
    # Not isinstance: a truth value is no count.
    known = " or ".join(item.__name__ for item in allowed)
    _require(type(value) in allowed, f"{where}: {reprlib.repr(value)} is not of type {known}")
    return value


def _build_dataclass(record_type: Any, value: Any, where: str) -> Any:
    _require(isinstance(value, dict), f"{where}: {reprlib.repr(value)} should be an object")
    hints = typing.get_type_hints(record_type)
    fields = dataclasses.fields(record_type)
    for item in fields:
        # What has a default was added after records had been published.
        is_there = item.name in value or item.default is not dataclasses.MISSING
        _require(is_there, f"{where}: field {item.name!r} is missing")
    for name in value:
        _require(name in hints, f"{where}: unknown field {reprlib.repr(name)}")
    built = {
        item.name: _build(hints[item.name], value[item.name], f"{where}.{item.name}")
        for item in fields
        if item.name in value
    }
    try:
        return record_type(**built)
    except ValueError as error:
        raise UserError(f"{where}: {error}; the file is damaged") from error


def _require(condition: object, otherwise: str) -> None:
    if not condition:
        raise UserError(otherwise)


def _finite(text: str) -> float:
    """Read a number of JSON; Python's reader also takes NaN, Infinity and 1e999."""
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is not a finite number")
    return value


def _check_counts(kept: int, prunable: int) -> None:
    if not 0 <= kept <= prunable:
        raise ValueError(f"kept={kept} of prunable={prunable}: must lie in [0, prunable]")
