"""Every arm that there is: one for each file in ``conf/method/``. No torch in here."""

from dataclasses import fields
from typing import Any, cast

from omegaconf import OmegaConf

from lightning_sparse.arms import Arm, arm_of
from lightning_sparse.cli.compose import Settings
from lightning_sparse.cli.settings_files import read_choice
from lightning_sparse.cli.shipped import choices


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
    said = read_choice(f"method/{name}")
    own = {key: value for key, value in said.items() if key in _FIELDS}
    if "${" in str(own):
        others = {
            key: value for key, value in settings.items() if key not in {"overrides", "method"}
        }
        config = OmegaConf.create({**others, "method": own})
        resolved = OmegaConf.to_container(config.method, resolve=True)
        return {"name": name, **cast("dict[str, Any]", resolved)}
    return {"name": name, **own}


_FIELDS = {field.name for field in fields(Arm)}
