"""Settings from records, which another version may have written."""

from collections.abc import Mapping
from typing import Any

from lightning_sparse.arms import method_of_record
from lightning_sparse.decoding import decoded_with_nulls
from lightning_sparse.settings.tree import Settings


def recorded_settings(config: Mapping[str, Any]) -> Settings:
    """Return the settings that a record keeps, in today's words.

    What it lacks is null, which means "as before" where an earlier version lacks it.

    Args:
        config: Of the record, which may be a stranger's: no type is sure.

    Raises:
        KeyError: If it says nothing of the arm.
        TypeError: If it says something else where a mapping belongs.
        AttributeError: Likewise.
        UserError: If the arm is none.
    """
    today = {"method": method_of_record(config), "curve": _curve(config)}
    return decoded_with_nulls(Settings, {**config, **today})


def _curve(config: Mapping[str, Any]) -> Any:
    """Return the curve; there were only those of Bezier, which a path gave the degree of."""
    if config.get("curve") or not config.get("path"):
        return config.get("curve")
    return {"_target_": "lightning_sparse.paths.curves.Bezier", "degree": config["path"]["degree"]}
