"""What a setting says of itself beside its type: whether it decides a result, and what it may be.

Each room declares its settings as frozen dataclasses; `lightning_sparse.settings.tree` joins them.
"""

from collections.abc import Collection
from dataclasses import MISSING, dataclass, field, fields
from typing import Any

from lightning_sparse.errors import UserError

RUN = "run"
"""The result of training one end point."""

PATH = "path"
"""The result of measuring a line or a curve."""

CURVE = "curve"
"""That of a path which is fitted first."""

REWOUND = "rewound"
"""That of a run which starts from the weights of another."""

RECALIBRATED = "recalibrated"
"""That of a run whose statistics are computed anew at its end."""

ARGUMENT = "argument"
"""It decides as an argument of others, which say so; a record keeps it, to be grouped by."""

NOTHING: tuple[str, ...] = ()
"""Either no result depends on it, or by way of other settings alone, which a record has."""

_KEY = "setting"


@dataclass(frozen=True, kw_only=True)
class Traits:
    """What stands in the metadata of a field.

    Attributes:
        decides: Which results depend on it; None: what the group says that it stands in, and both
            kinds where no group says anything.
        at_least: The least that it may be.
        above: What it must lie above.
        at_most: The most that it may be.
        below: What it must lie below.
        choices: What it may be; null besides, where its type allows it.
        example: For messages, where its default is none.
        is_place: Whether it names a folder or a file.
        is_recorded: Whether a record keeps it even if no result depends on it.
        null: What null stands for, where null is another word for a value.
    """

    decides: Collection[str] | None = None
    at_least: float | None = None
    above: float | None = None
    at_most: float | None = None
    below: float | None = None
    choices: Collection[str | int] = ()
    example: Any = None
    is_place: bool = False
    is_recorded: bool = False
    null: Any = None

    def check_range(self, name: str, value: Any) -> None:
        """Refuse a number that lies outside.

        Args:
            name: Dotted, as it is typed.
            value: A number; null, and a value without a range, pass.

        Raises:
            UserError: With the range.

        Example:
            >>> Traits(at_least=0, below=1).check_range("training.momentum", 1.5)
            Traceback (most recent call last):
                ...
            lightning_sparse.errors.UserError: training.momentum=1.5: must lie in [0, 1)
        """
        is_outside = value is not None and (
            (self.at_least is not None and not value >= self.at_least)
            or (self.above is not None and not value > self.above)
            or (self.at_most is not None and not value <= self.at_most)
            or (self.below is not None and not value < self.below)
        )
        if is_outside:
            raise UserError(f"{name}={value}: must {self._range()}")

    def _range(self) -> str:
        is_open, least = (True, self.above) if self.at_least is None else (False, self.at_least)
        is_half_open, most = (True, self.below) if self.at_most is None else (False, self.at_most)
        if most is None:
            return f"be {'above' if is_open else 'at least'} {least}"
        return f"lie in {'(' if is_open else '['}{least}, {most}{')' if is_half_open else ']'}"


def setting(default: Any = MISSING, **traits: Any) -> Any:
    """Declare a setting; see `Traits` for what can be said of it.

    Without ``decides`` it decides every result, so that what is forgotten makes another run instead
    of giving two runs one name.

    Example:
        >>> from dataclasses import fields
        >>> @dataclass(frozen=True, kw_only=True)
        ... class Example:
        ...     num_workers: int = setting(at_least=0, decides=NOTHING)
        >>> traits_of(fields(Example)[0]).at_least
        0
    """
    return field(default=default, metadata={_KEY: Traits(**traits)})


def traits_of(declared: Any) -> Traits:
    """Return what a field of a dataclass says of itself."""
    found = declared.metadata.get(_KEY, Traits())
    assert isinstance(found, Traits)
    return found


def check_ranges_of(settings: Any, place: str) -> None:
    """Refuse what a dataclass of settings declares that its fields may not be.

    Args:
        settings: Of which every field with a range is looked at.
        place: Where it stands, for messages: ``training``.

    Raises:
        UserError: Naming the first.
    """
    for declared in fields(settings):
        name = declared.name
        traits_of(declared).check_range(f"{place}.{name}", getattr(settings, name))
