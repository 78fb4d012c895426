"""Settings of the commands that write data: one flat file each, apart from those of training."""

import difflib
from collections.abc import Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import OmegaConf

from lightning_sparse.cli.checks import check_types
from lightning_sparse.cli.compose import Settings
from lightning_sparse.cli.places import with_literal_place
from lightning_sparse.cli.settings_files import read_yaml
from lightning_sparse.cli.shipped import CONF_DIR
from lightning_sparse.errors import UserError

_AT_LEAST = {"num_workers": 0, "num_classes": 1, "num_train": 1, "num_val": 1, "size": 8}


def compose_data_settings(verb: str, overrides: Sequence[str]) -> Settings:
    """Read ``conf/command/<verb>.yaml`` and put the overrides into it.

    Args:
        verb: For example ``data-imagenet``.
        overrides: Words ``name=value``.

    Raises:
        UserError: If a word is no setting of the verb, or has the wrong type.
    """
    config = OmegaConf.create(read_yaml(CONF_DIR / "command" / f"{verb.replace('-', '_')}.yaml"))
    defaults = _plain(config)
    for word in overrides:
        name, value = _parsed(word, verb)
        if name not in defaults:
            close = difflib.get_close_matches(name, defaults, n=1, cutoff=0.5)
            known = close[0] if close else ", ".join(defaults)
            raise UserError(f"{verb} has no setting {name!r}; did you mean {known}?")
        OmegaConf.update(config, name, value)
    settings = _plain(config)
    check_types(settings, defaults)
    for name, minimum in _AT_LEAST.items():
        if name in settings and settings[name] < minimum:
            raise UserError(f"{name}={settings[name]}: must be at least {minimum}")
    return settings


def _parsed(word: str, verb: str) -> tuple[str, Any]:
    if word.startswith("-") or "=" not in word:
        raise UserError(
            f"{word!r} is no setting; write name=value, and see `lightning-sparse {verb} "
            "--settings` for the names"
        )
    try:
        override = OverridesParser.create().parse_override(with_literal_place(word))
    except HydraException as error:
        raise UserError(f"{word}: {' '.join(str(error).split())}") from error
    return override.key_or_group, override.value()


def _plain(config: Any) -> Settings:
    plain = OmegaConf.to_container(config, resolve=True)
    assert isinstance(plain, dict)
    return {str(name): value for name, value in plain.items()}
