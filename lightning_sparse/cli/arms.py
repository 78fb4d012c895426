"""Every arm that there is: one for each file in ``conf/method/``. No torch in here."""

from dataclasses import fields
from typing import Any

from lightning_sparse.arms import Arm, arm_of
from lightning_sparse.cli.compose import Settings
from lightning_sparse.cli.interpolations import resolve
from lightning_sparse.cli.shipped import choices
from lightning_sparse.cli.variants import choice_in


def arms(settings: Settings) -> dict[str, Arm]:
    """Return all arms as the settings have them: those without masks, and then sources first.

    Raises:
        UserError: If one of the files is wrong.
    """
    chosen = settings["method"]["name"]
    found = [
        arm_of(settings if name == chosen else {**settings, "method": _said(settings, name)})
        for name in choices("method")
    ]
    found.sort(key=lambda arm: (arm.is_masked, arm.masks is not None, arm.name))
    return {arm.name: arm for arm in found}


def unmasked(settings: Settings) -> frozenset[str]:
    """Return the names of the arms that have no masks."""
    return frozenset(name for name, arm in arms(settings).items() if not arm.is_masked)


def _said(settings: Settings, name: str) -> dict[str, Any]:
    """Return what an arm's file says, where what it refers to is that of the settings."""
    source = settings["source"]
    said = choice_in(source, "method", name)
    own = {key: value for key, value in said.items() if key in _FIELDS}
    if "${" not in str(own):
        return own
    found: dict[str, Any] = resolve({**source.tree, "method": own}, ["method"])["method"]
    return found


_FIELDS = {field.name for field in fields(Arm)}
