"""Settings of the commands that write data: one flat file each, apart from those of training."""

import difflib
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import OmegaConf

from lightning_sparse.decoding import decoded
from lightning_sparse.errors import UserError
from lightning_sparse.fields import traits_of
from lightning_sparse.settings.checks import check_types
from lightning_sparse.settings.images import COMMANDS, DataSettings
from lightning_sparse.settings.places import with_literal_place
from lightning_sparse.settings.settings_files import read_yaml
from lightning_sparse.settings.shipped import CONF_DIR


def compose_data_settings(verb: str, overrides: Sequence[str]) -> DataSettings:
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
    said = _plain(config)
    check_types(said, defaults)
    kind = COMMANDS[verb]
    for declared in fields(kind):
        name = declared.name
        traits_of(declared).check_range(name, said[name])
    return decoded(kind, said)


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


def _plain(config: Any) -> dict[str, Any]:
    plain = OmegaConf.to_container(config, resolve=True)
    assert isinstance(plain, dict)
    return {str(name): value for name, value in plain.items()}
