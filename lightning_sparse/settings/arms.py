"""Every arm that there is: one for each file in ``conf/method/``. No torch in here."""

from dataclasses import fields

from lightning_sparse.arms import Arm, MethodSettings, arm_of
from lightning_sparse.decoding import decoded_with_nulls
from lightning_sparse.settings.compose import Composed
from lightning_sparse.settings.interpolations import resolve
from lightning_sparse.settings.shipped import choices
from lightning_sparse.settings.variants import choice_in


def arms(settings: Composed) -> dict[str, Arm]:
    """Return all arms as the settings have them: those without masks, and then sources first.

    Raises:
        UserError: If one of the files is wrong.
    """
    chosen = settings.method.name
    found = [
        arm_of(settings.method if name == chosen else _said(settings, name))
        for name in choices("method")
    ]
    found.sort(key=lambda arm: (arm.is_masked, arm.masks is not None, arm.name))
    return {arm.name: arm for arm in found}


def unmasked(settings: Composed) -> frozenset[str]:
    """Return the names of the arms that have no masks."""
    return frozenset(name for name, arm in arms(settings).items() if not arm.is_masked)


def _said(settings: Composed, name: str) -> MethodSettings:
    """Return what an arm's file says, where what it refers to is that of the settings."""
    source = settings.source
    said = choice_in(source, "method", name)
    own = {key: value for key, value in said.items() if key in _FIELDS}
    if "${" in str(own):
        own = resolve({**source.tree, "method": own}, ["method"])["method"]
    return decoded_with_nulls(MethodSettings, own)


_FIELDS = {field.name for field in fields(Arm)}
