"""Files of settings: read as YAML that says where it is wrong, and checked as what is typed is.

No torch in here.
"""

import copy
import functools
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast, final

import yaml
from hydra.core.object_type import ObjectType
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigLoadError, ConfigResult, ConfigSource
from omegaconf import OmegaConf
from omegaconf._utils import get_yaml_loader
from typing_extensions import override

from lightning_sparse.arms import in_todays_words
from lightning_sparse.errors import UserError
from lightning_sparse.settings.places import is_place
from lightning_sparse.settings.schema import check_name, check_type, leaves
from lightning_sparse.settings.shipped import CONF_DIR, choices, conf_folders

_OCTAL_OR_SEXAGESIMAL = re.compile(r"[-+]?0[0-9_]+|.*:.*")

_GLOBAL = "_global_"

OF_EVERY = "_of_every_"
"""Beside the settings of an experiment: what it says of arms and curves, whichever is chosen."""

# What the file of an arm need not say.
_OF_ARMS: Mapping[str, Any] = {
    "start": "init", "masks": "own", "repeats": None, "sparsity": None, "keeps": [],
    "trials": None, "definition": "", "colour": None, "marker": None,
    "start_change": None, "start_changed_by": None, "cycles": None, "length": None,
    "tuned_as": None, "gradient_clip_norm": None,
}  # fmt: skip


def read_yaml(file: Path) -> Any:
    """Read a file of settings or of a sweep, as Hydra would: ``1e-3`` is a number.

    Raises:
        UserError: Naming file and line, if it is not UTF-8, not YAML, or says something twice.
    """
    try:
        # Editors of Windows begin a file with a mark of its encoding.
        text = file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{file}: is not encoded in UTF-8; save it as UTF-8") from error
    try:
        return _loader()(text).get_single_data()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f", line {mark.line + 1}" if mark else ""
        remedy = "; indent with spaces, not tabs" if "'\\t'" in str(error.problem) else ""
        raise UserError(f"{file}{place}: {error.problem or error.context}{remedy}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"{file}: is no YAML: {error}") from error


@functools.cache
def _loader() -> Any:
    """Return OmegaConf's safe loader, which refuses doubled names, without YAML 1.1's surprises."""

    class Loader(get_yaml_loader()):  # type: ignore[misc]
        pass

    def construct_int(loader: Any, node: yaml.ScalarNode) -> int:
        if _OCTAL_OR_SEXAGESIMAL.fullmatch(node.value):
            raise yaml.constructor.ConstructorError(
                None,
                None,
                f"{node.value} would be read as {loader.construct_yaml_int(node)}; write that, or "
                "put a text into quotes",
                node.start_mark,
            )
        return int(loader.construct_yaml_int(node))

    Loader.add_constructor("tag:yaml.org,2002:int", construct_int)
    return Loader


@final
class SettingsSource(ConfigSource):
    """Where Hydra finds settings: in ``conf/`` of the current folder, and in ours.

    Every file is checked as it is loaded, so that what is wrong is said with the file's name. The
    current folder adds choices (``conf/experiment/mine.yaml``); ``config.yaml`` is always ours.
    """

    @staticmethod
    @override
    def scheme() -> str:
        """Return what stands before ``://`` in Hydra's search path."""
        return "settings"

    @override
    def load_config(self, config_path: str) -> ConfigResult:
        file = found(config_path)
        if file is None:
            raise ConfigLoadError(f"Config not found : {config_path}")
        return ConfigResult(
            config=_completed(_checked(file, config_path, file.read_bytes()), config_path, file),
            path=str(file),
            provider=self.provider,
            header={"package": _package(file)},
        )

    @override
    def available(self) -> bool:
        return True

    @override
    def is_group(self, config_path: str) -> bool:
        return any((folder / config_path).is_dir() for folder in conf_folders())

    @override
    def is_config(self, config_path: str) -> bool:
        return found(config_path) is not None

    @override
    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        files: list[str] = []
        for folder in conf_folders():
            for item in (folder / config_path).iterdir() if (folder / config_path).is_dir() else ():
                self._list_add_result(
                    files, str(Path(config_path, item.name)), item.name, results_filter
                )
        return sorted(set(files))


def found(config_path: str) -> Path | None:
    """Return the file of a choice, such as ``experiment/mine``.

    Raises:
        UserError: If the current folder and we have different files of one name.
    """
    name = config_path if config_path.endswith(".yaml") else f"{config_path}.yaml"
    folders = conf_folders() if "/" in config_path else (CONF_DIR,)
    files = [file for folder in folders if (file := folder / name).is_file()]
    if len({file.read_bytes() for file in files}) > 1:
        raise UserError(f"{files[0]}: {files[1]} has the same name; give yours another")
    return files[0] if files else None


def read_choice(config_path: str) -> Any:
    """Return what a file of a group says, as it stands there.

    Raises:
        UserError: If there is no such file, or it is wrong.
    """
    file = _existing(config_path)
    return OmegaConf.to_container(_checked(file, config_path, file.read_bytes()))


def complete_choice(config_path: str) -> dict[str, Any]:
    """Return that with what every arm has by itself; references as they stand there.

    Nothing in it may be changed: it is read once.

    Raises:
        UserError: As `read_choice` does.
    """
    file = _existing(config_path)
    return _complete_choice(file, config_path, file.read_bytes())


@functools.lru_cache(maxsize=256)
def _complete_choice(file: Path, config_path: str, content: bytes) -> dict[str, Any]:
    body = _completed(_checked(file, config_path, content), config_path, file)
    return cast("dict[str, Any]", OmegaConf.to_container(body, resolve=False))


def _existing(config_path: str) -> Path:
    file = found(config_path)
    if file is None:
        raise UserError(f"there is no conf/{config_path}.yaml")
    return file


def register() -> None:
    """Tell Hydra of our source."""
    Plugins.instance().register(SettingsSource)


def _completed(body: Any, config_path: str, file: Path) -> Any:
    """Return a copy, for Hydra changes what it is given, with what every arm has by itself.

    Its name is that of its file, and there is a tuned learning rate for it. What an experiment says
    of the chosen arm or curve it says of any, of which it is told by `OF_EVERY`.
    """
    completed = copy.deepcopy(body)
    of_every = {group: completed[group] for group in ("method", "curve") if group in completed}
    if _package(file) == _GLOBAL and of_every:
        completed[OF_EVERY] = of_every
    if config_path.partition("/")[0] == "method":
        name = file.stem
        if completed.get("name", name) != name:
            raise UserError(
                f"{file}: name: {completed['name']}: an arm is called like its file; leave name out"
            )
        said = {key: value for key, value in completed.items_ex(resolve=False) if value is not None}
        rate = f"${{tuned.learning_rate.{completed.get('tuned_as') or name}}}"
        completed = OmegaConf.create(
            {"name": name, "words": name, **_OF_ARMS, "learning_rate": rate, **said}
        )
    elif file == CONF_DIR / "config.yaml":
        rates = completed.tuned.learning_rate
        completed.tuned.learning_rate = {
            **dict.fromkeys(choices("method"), "${.others}"),
            **dict(rates.items_ex(resolve=False)),
        }
        for group, name in (("tuned", "arguments"), ("pilot", "numbers")):
            completed[group][name] = dict.fromkeys(choices("method"))
    return completed


@functools.lru_cache(maxsize=256)
def _checked(file: Path, config_path: str, _content: bytes) -> Any:
    """Read and check a file once: a composition takes a dozen, and a command many compositions."""
    body = {} if (read := read_yaml(file)) is None else read
    if not isinstance(body, dict):
        raise UserError(f"{file}: holds no settings; write name: value, one a line")
    group = config_path.partition("/")[0]
    if group == "method":
        body = _todays_arm(file, body)
    if group == "experiment" and _package(file) != _GLOBAL:
        raise UserError(
            f"{file}: the first line of an experiment must be `# @package _global_`, without which "
            "its settings would stand below `experiment`"
        )
    prefix = "" if "/" not in config_path else _prefix(group, _package(file))
    for name, value in _settings_of(body, prefix):
        try:
            _check_setting(name, value)
        except UserError as error:
            raise UserError(f"{file}: {error}") from None
    return OmegaConf.create(body)


def _todays_arm(file: Path, body: dict[str, Any]) -> dict[str, Any]:
    try:
        today = in_todays_words(body, "${rewind_step}")
    except UserError as error:
        raise UserError(f"{file}: {error}") from None
    if today is not body:
        said = ", ".join(f"{name}: {today.get(name)}" for name in ("start", "masks"))
        print(f"{file}: needs_masks and rewound are written {said} now", file=sys.stderr)
    return today


def _check_setting(name: str, value: Any) -> None:
    check_name(name, value)
    if is_place(name) and isinstance(value, int | float):
        raise UserError(f"{name}={value}: names a folder; put it into quotes")
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, str) and ("${" in item or item == "???"):
            return
    check_type(name, value)


def _settings_of(body: Mapping[Any, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    values = {name: value for name, value in body.items() if name != "defaults"}
    return leaves(values, prefix) if values else iter(())


def _prefix(group: str, package: str | None) -> str:
    """Return below which name a file of a group is put."""
    if package == _GLOBAL:
        return ""
    named = group if package is None else package.replace("_group_", group)
    # Wherever schedules of the learning rate are put, they are arguments of a class.
    return "training.lr_schedule" if named == "lr_schedule" else named.removeprefix(f"{_GLOBAL}.")


def _package(file: Path) -> str | None:
    """Return what the file's first comment says of its place, as ``# @package _global_`` does."""
    for line in file.read_text(encoding="utf-8-sig").splitlines():
        if found := re.fullmatch(r"\s*#\s*@package\s+(\S+)\s*", line):
            return found[1]
        if line.strip():
            return None
    return None
