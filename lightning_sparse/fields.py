"""What a setting says of itself beside its type: whether it decides a result, and what it may be.

Each room declares its settings as frozen dataclasses; `lightning_sparse.settings.tree` joins them.
"""

from collections.abc import Collection
from dataclasses import MISSING, dataclass, field
from typing import Any

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
        choices: What it may be; null besides, where its type allows it.
        example: For messages, where its default is none.
        is_place: Whether it names a folder or a file.
        null: What null stands for, where null is another word for a value.
    """

    decides: Collection[str] | None = None
    at_least: float | None = None
    choices: Collection[str | int] = ()
    example: Any = None
    is_place: bool = False
    null: Any = None


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
