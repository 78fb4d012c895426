"""Objects from settings: the only place where ``_target_`` becomes a class. No torch in here."""

import contextlib
from collections.abc import Mapping
from typing import Any

from hydra._internal.utils import _locate
from hydra.errors import InstantiationException
from hydra.utils import instantiate

from lightning_sparse.analysis.question import Question
from lightning_sparse.errors import UserError
from lightning_sparse.paths.curves import AbstractCurve, checked
from lightning_sparse.settings.arguments import check_arguments


def build_curve(chosen: Mapping[str, Any]) -> AbstractCurve:
    """Build the shape of a path.

    Raises:
        UserError: If the class that ``curve`` names cannot be built, or is no curve.
    """
    return checked(build_object(chosen, "curve"), f"curve._target_={chosen.get('_target_')}")


def build_question(name: str) -> Question:
    """Return the claim that a dotted name names.

    Raises:
        UserError: If it cannot be imported, or is no claim.
    """
    remedy = "name a Question, as package.module.QUESTION"
    try:
        found = _locate(name)
    except (ImportError, ValueError) as error:
        reason = " ".join(str(_first_cause(error)).split())
        raise UserError(
            f"reproduce.further_claims: {name} cannot be imported ({reason}); {remedy}"
        ) from error
    if not isinstance(found, Question):
        raise UserError(
            f"reproduce.further_claims: {name} is a {type(found).__name__}, no claim; {remedy}"
        )
    return found


def build_object(settings: Mapping[str, Any], name: str) -> Any:
    """Instantiate a ``_target_``; an error becomes one line that names the setting."""
    try:
        _check_arguments(settings, name)
        return instantiate(dict(settings))
    except InstantiationException as error:
        first = _first_cause(error)
        if isinstance(first, UserError):
            raise first from None
        reason = " ".join(str(first).split())
        raise UserError(
            f"{name}._target_={settings.get('_target_')}: {reason}; name something that can be "
            "imported, as package.module.Name, and give arguments that it takes"
        ) from error


def _check_arguments(settings: Mapping[str, Any], name: str) -> None:
    """Check those of a class, and of classes that are its arguments."""
    check_arguments(_located(settings.get("_target_")), settings, name)
    for argument, value in settings.items():
        if isinstance(value, Mapping) and "_target_" in value:
            _check_arguments(value, f"{name}.{argument}")


def _located(target: Any) -> Any:
    """Import what a dotted name names; None if it cannot be, of which `instantiate` says why."""
    with contextlib.suppress(Exception):
        return _locate(target)
    return None


def _first_cause(error: BaseException) -> BaseException:
    """Follow the chain of causes; Hydra's own messages wrap what is at its end."""
    while not isinstance(error, UserError) and error.__cause__ is not None:
        error = error.__cause__
    return error
