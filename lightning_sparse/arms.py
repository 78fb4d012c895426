"""Arms: how an end point is trained, as a file in ``conf/method/`` says it. No torch in here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lightning_sparse.decoding import decoded_with_nulls
from lightning_sparse.errors import UserError
from lightning_sparse.fields import ARGUMENT, NOTHING, setting
from lightning_sparse.points import Point, parse_point

STREAMS = ("init", "init/scratch")
"""Random streams that start weights are drawn from."""

NO_MASKS, OWN_MASKS = "none", "own"
"""What an arm says of its masks where it does not name whose it is given."""


@dataclass(frozen=True, kw_only=True)
class MethodSettings:
    """One arm: where its weights start, where its masks come from, and what changes them.

    `Arm` is what is made of it, where start and masks stand in full.

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
        gradient_clip_norm: Of its runs, where the experiment sets none; None for no limit.
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
    learning_rate: float = setting(decides=NOTHING, is_recorded=True)
    gradient_clip_norm: float | None = setting(decides=NOTHING, above=0, example=1.0)
    tuned_as: str | None = setting(decides=NOTHING, is_recorded=True, example="rigl")
    trials: Sequence[Mapping[str, Any]] | None = setting(decides=NOTHING)
    words: str = setting(decides=NOTHING, is_recorded=True)
    definition: str = setting(decides=NOTHING, is_recorded=True)
    colour: str | None = setting(decides=NOTHING, is_recorded=True, example="'#0072b2'")
    marker: str | None = setting(decides=NOTHING, is_recorded=True, example="o")


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One way to train an end point.

    Attributes:
        name: That of its file, and of its points.
        stream: Random stream that the network is built from.
        start: Whose weights it begins with; None: those of the stream.
        is_masked: Whether there are masks, and hence a sparsity.
        masks: Whose masks its method is given; None if it makes its own, or none.
        changed_by: Whose weights its start is changed by; None if by none.
        repeats: The arm that this one repeats from another start. Both have one name in ids and
            records, and comparisons show the first alone.
        keeps: Steps of its runs whose weights are kept, for others to start from.
        words: What a reader calls it.
        definition: What it is, for a reader who does not know.
        colour: Of its line in figures, as ``#0072b2``; None for any.
        marker: Of its points in figures, in Matplotlib's letters; None for any.
    """

    name: str
    stream: str
    start: Point | None = None
    is_masked: bool = True
    masks: Point | None = None
    changed_by: Point | None = None
    repeats: str | None = None
    keeps: tuple[int, ...] = ()
    words: str = ""
    definition: str = ""
    colour: str | None = None
    marker: str | None = None

    @property
    def recorded_as(self) -> str:
        """Its name in ids and records."""
        return self.repeats or self.name

    @property
    def first_step(self) -> int:
        """Step of schedule and data at which a run begins: that of the weights it starts with."""
        moment = self.start.moment if self.start else 0
        return moment if isinstance(moment, int) else 0

    @property
    def sources(self) -> tuple[Point, ...]:
        """The points that must be there before a run of it begins."""
        return tuple(point for point in (self.start, self.masks, self.changed_by) if point)


def arm_of(said: MethodSettings) -> Arm:
    """Read the arm that settings choose.

    Raises:
        UserError: If its start or its masks are none.
    """
    start, masks = said.start or STREAMS[0], said.masks or OWN_MASKS
    changed_by = said.start_changed_by
    return Arm(
        name=said.name,
        stream=start if start in STREAMS else STREAMS[0],
        start=None if start in STREAMS else _point("start", start),
        is_masked=masks != NO_MASKS,
        masks=None if masks in {NO_MASKS, OWN_MASKS} else _masks(masks),
        changed_by=None if changed_by is None else _point("start_changed_by", changed_by),
        repeats=said.repeats,
        keeps=tuple(step for step in said.keeps or () if step),
        words=said.words or said.name,
        definition=said.definition or "",
        colour=said.colour,
        marker=said.marker,
    )


def recorded_method(config: Mapping[str, Any]) -> MethodSettings:
    """Return what a record's settings say of its arm, in today's words; null where nothing."""
    return decoded_with_nulls(MethodSettings, method_of_record(config))


def method_of_record(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the same as a mapping.

    Raises:
        KeyError: If nothing is said of the arm.
        TypeError: If it is no mapping.
    """
    said = config["method"]
    if not isinstance(said, dict):
        raise TypeError("method is no mapping")
    return in_todays_words(said, config.get("rewind_step") or 0)


def in_todays_words(said: dict[str, Any], rewind_step: int | str) -> dict[str, Any]:
    """Return what an arm's file says; one of earlier versions knew only masks of a pruned run.

    Args:
        said: Of a file, of settings or of a record.
        rewind_step: The step that such an arm rewinds to, or what stands for it.

    Raises:
        UserError: If what earlier versions called for is neither true nor false.
    """
    if not _EARLIER & said.keys():
        return said
    for name in sorted(_EARLIER & said.keys()):
        if not isinstance(said[name], bool):
            raise UserError(f"method.{name}={said[name]!r}: must be true or false")
    today = {name: value for name, value in said.items() if name not in _EARLIER}
    is_dense = str(said.get("sparse_method", {}).get("_target_")).endswith(".dense.Dense")
    today["masks"] = NO_MASKS if is_dense else OWN_MASKS
    if said.get("needs_masks"):
        today["masks"] = "prune:end"
    if said.get("rewound"):
        today["start"] = f"prune:{rewind_step}"
    return today


_EARLIER = {"needs_masks", "rewound"}


def arm_as_recorded(method: str, start: str, said: Any) -> str:
    """Name the arm of a recorded run.

    Args:
        method: As recorded, which is that of the arm that it repeats.
        start: Its random stream.
        said: What the record's settings say of the arm, if they do.
    """
    name = said.get("name") if isinstance(said, Mapping) else None
    named = name if isinstance(name, str) else method
    return _REPEATED.get((named, start), named)


def is_masked_as_recorded(method: str, said: Any) -> bool:
    """Whether a recorded run has masks; those of earlier versions have, but for the dense ones."""
    masks = said.get("masks") if isinstance(said, Mapping) else None
    return method != "dense" if masks is None else masks != NO_MASKS


def masks_as_recorded(said: Any) -> str:
    """Name the arm whose masks a recorded run was given, if it was given some."""
    masks = said.get("masks") if isinstance(said, Mapping) else None
    return "prune" if masks is None else str(masks).rpartition(":")[0]


# In records of when it was no arm of its own.
_REPEATED = {("dense", "init/scratch"): "dense2"}


def _point(name: str, text: str) -> Point:
    try:
        point = parse_point(text)
    except UserError:
        streams = f"a random stream ({', '.join(STREAMS)}) or " if name == "start" else ""
        purpose = "weights it begins with" if name == "start" else "weights change its start"
        raise UserError(
            f"method.{name}={text}: write {streams}a point whose {purpose}, such as prune:end"
        ) from None
    return Point(point.run, point.moment or "start")


def _masks(text: str) -> Point:
    try:
        point = parse_point(text)
    except UserError:
        point = None
    if point is None or point.moment != "end":
        raise UserError(
            f"method.masks={text}: write {NO_MASKS}, {OWN_MASKS} for those that its method makes, "
            "or the end of a run that has some, such as prune:end"
        )
    return point
