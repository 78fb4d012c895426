"""W&B sweep files, read and expanded without W&B: the same points with a server and with none.

Understood are grid and random search over ``value``, ``values``, and ``min`` with ``max``. Grids
are expanded by Hydra, as its multirun does it. Bayesian search needs the results of earlier points,
which is the server's work. No torch in here.
"""

import json
import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from lightning_sparse.cli.shipped import SWEEPS_DIR
from lightning_sparse.errors import UserError

VERBS = ("train", "line", "path")
METHODS = ("grid", "random", "bayes")
ARGUMENTS = "${args_no_hyphens}"
PROGRAM = "lightning-sparse"

Point = tuple[str, ...]
"""Overrides, for example ``("method=prune", "seed=11")``."""


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """A sweep file.

    Attributes:
        name: Its stem.
        file: Where it was read.
        body: All of it, as W&B takes it.
        verb: Which of our commands a point is.
        overrides: What every point is given before its own values.
        parameters: By name; as in the file.
    """

    name: str
    file: Path
    body: Mapping[str, Any]
    verb: str
    overrides: Point
    parameters: Mapping[str, Mapping[str, Any]]

    @property
    def method(self) -> str:
        """How points are chosen: ``grid``, ``random`` or ``bayes``."""
        return str(self.body["method"])

    def with_overrides(self, overrides: Sequence[str]) -> dict[str, Any]:
        """Return the body with a command that gives every point these overrides too."""
        return {
            **self.body,
            "command": [PROGRAM, self.verb, *self.overrides, *overrides, ARGUMENTS],
        }


def read_sweep(name: str) -> Sweep:
    """Read a file under ``sweeps/`` by its stem, or any by its path.

    Raises:
        UserError: If there is no such file, or it is no sweep of this program.
    """
    known = sorted(file.stem for file in SWEEPS_DIR.glob("*.yaml"))
    file = SWEEPS_DIR / f"{name}.yaml" if name in known else Path(name)
    if not file.is_file():
        raise UserError(
            f"sweep.file={name}: there is no such file; name one of {', '.join(known)}, or a path"
        )
    try:
        body = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: not YAML ({error})") from error
    return parse_sweep(body, file)


def parse_sweep(body: Any, file: Path) -> Sweep:
    """Check the contents of a sweep file.

    Raises:
        UserError: Naming what is missing or unknown.
    """
    if not isinstance(body, dict) or not isinstance(body.get("parameters"), dict):
        raise UserError(f"{file}: no sweep file; it needs a mapping called parameters")
    if body.get("method") not in METHODS:
        raise UserError(f"{file}: method={body.get('method')}: choose one of {', '.join(METHODS)}")
    verb, overrides = _command(body.get("command"), file)
    for name, parameter in body["parameters"].items():
        _check_parameter(name, parameter, str(body["method"]), file)
    return Sweep(
        name=file.stem,
        file=file,
        body=body,
        verb=verb,
        overrides=overrides,
        parameters=body["parameters"],
    )


def points(sweep: Sweep) -> list[Point]:
    """Expand a grid, or draw what ``run_cap`` asks for: the same points at every call.

    Raises:
        UserError: If the search needs a server, or a random one does not say how many points.
    """
    if sweep.method == "bayes":
        raise UserError(
            f"{sweep.file}: method=bayes learns from its results, which takes a server (make "
            "sweep, make agent); without one use grid or random"
        )
    if sweep.method == "random":
        number = sweep.body.get("run_cap")
        if not isinstance(number, int) or number < 1:
            raise UserError(f"{sweep.file}: run_cap={number}: a random search needs a number >= 1")
        return [_drawn(sweep, index) for index in range(number)]
    for name, parameter in sweep.parameters.items():
        for value in _values(parameter):
            _check_single(name, value, sweep.file)
    return expand([_choice(name, _values(at)) for name, at in sweep.parameters.items()])


def expand(overrides: Sequence[str]) -> list[Point]:
    """Expand a grid that is written as for Hydra's multirun; the last setting varies fastest.

    By the function of Hydra's own sweeper. Its launchers are not used: they would start every point
    by itself, and the runs that points share, of which they know nothing, once for each.

    Raises:
        UserError: If Hydra does not understand it, or it is no grid.

    Example:
        >>> expand(["method=prune", "seed=21,22", "sparsity=range(0.8,1,0.1)"])[:2]
        [('method=prune', 'seed=21', 'sparsity=0.8'), ('method=prune', 'seed=21', 'sparsity=0.9')]
    """
    try:
        parsed = OverridesParser.create().parse_overrides(list(overrides))
        [expanded] = BasicSweeper.split_arguments(parsed, max_batch_size=None)
    except HydraException as error:
        raise UserError(
            f"{' '.join(overrides)}: {' '.join(str(error).split())}; list the values, for example "
            "seed=21,22"
        ) from error
    return [tuple(point) for point in expanded]


def typed_sweep(verb: str) -> Sweep:
    """Return the sweep whose points are typed instead of read from a file.

    Raises:
        UserError: If its points would be of no kind that there is.
    """
    if verb not in VERBS:
        raise UserError(f"sweep.verb={verb}: choose one of {', '.join(VERBS)}")
    return Sweep(
        name="multirun",
        file=Path("command line"),
        body={"method": "grid"},
        verb=verb,
        overrides=(),
        parameters={},
    )


def corner_points(sweep: Sweep) -> list[Point]:
    """Return points that use every name, and every listed value and end of a range, at least once.

    By which a file is checked whose points only a server knows.
    """
    ends = {
        name: _values(parameter) if "min" not in parameter else [parameter["min"], parameter["max"]]
        for name, parameter in sweep.parameters.items()
    }
    longest = max(map(len, ends.values()), default=1)
    return [
        tuple(_override(name, values[index % len(values)]) for name, values in ends.items())
        for index in range(longest)
    ]


def _command(command: Any, file: Path) -> tuple[str, Point]:
    if (
        not isinstance(command, list)
        or command[:1] != [PROGRAM]
        or command[-1:] != [ARGUMENTS]
        or command[1:2][0] not in VERBS
    ):
        raise UserError(
            f"{file}: command={command}: must be [{PROGRAM}, VERB, ..., {ARGUMENTS}] with a "
            f"VERB of {', '.join(VERBS)}"
        )
    return str(command[1]), tuple(map(str, command[2:-1]))


def _check_parameter(name: str, parameter: Any, method: str, file: Path) -> None:
    given = set(parameter) & {"value", "values", "min"} if isinstance(parameter, dict) else set()
    if len(given) != 1 or ("min" in given) != ("max" in parameter):
        raise UserError(
            f"{file}: parameters.{name}={parameter}: give value, values, or min and max"
        )
    if "min" in given and method == "grid":
        raise UserError(f"{file}: parameters.{name}: a grid needs values, not a range")
    if "values" in given and not (isinstance(parameter["values"], list) and parameter["values"]):
        raise UserError(f"{file}: parameters.{name}.values={parameter['values']}: must be a list")
    distribution = parameter.get("distribution")
    if "min" in given and distribution is not None and distribution not in _DRAWS:
        raise UserError(
            f"{file}: parameters.{name}.distribution={distribution}: choose one of "
            f"{', '.join(_DRAWS)}"
        )


def _values(parameter: Mapping[str, Any]) -> list[Any]:
    return list(parameter["values"]) if "values" in parameter else [parameter["value"]]


def _drawn(sweep: Sweep, index: int) -> Point:
    """Draw one point; a pure function of the sweep's name, the parameter's name and the index."""
    return tuple(
        _override(name, _draw(parameter, random.Random(f"{sweep.name}/{name}/{index}")))  # noqa: S311
        for name, parameter in sweep.parameters.items()
    )


def _draw(parameter: Mapping[str, Any], generator: random.Random) -> Any:
    if "min" not in parameter:
        return generator.choice(_values(parameter))
    low, high = parameter["min"], parameter["max"]
    # As W&B has it: integers are drawn between integers.
    default = "int_uniform" if isinstance(low, int) and isinstance(high, int) else "uniform"
    return _DRAWS[parameter.get("distribution", default)](generator, low, high)


_DRAWS: Mapping[str, Callable[[random.Random, Any, Any], Any]] = {
    "uniform": lambda generator, low, high: generator.uniform(low, high),
    "int_uniform": lambda generator, low, high: generator.randint(low, high),
    "log_uniform_values": lambda generator, low, high: math.exp(
        generator.uniform(math.log(low), math.log(high))
    ),
}


def _check_single(name: str, value: Any, file: Path) -> None:
    """Refuse a value that Hydra would make several of, or cannot read."""
    override = _override(name, value)
    try:
        is_sweep = OverridesParser.create().parse_override(override).is_sweep_override()
    except HydraException as error:
        raise UserError(
            f"{file}: parameters.{name}: {override} is nothing that the command line takes; write "
            "a number, a plain word, a list, or a text in quotes within quotes"
        ) from error
    if is_sweep:
        raise UserError(
            f"{file}: parameters.{name}: {override} is several values in one; list them as values"
        )


def _choice(name: str, values: Sequence[Any]) -> str:
    """Write all values of one setting, of which Hydra makes a sweep if they are several."""
    return f"{name}={','.join(map(_text, values))}"


def _override(name: str, value: Any) -> str:
    """Write one setting."""
    return f"{name}={_text(value)}"


def _text(value: Any) -> str:
    """Write a value; lists, truth values and null as Hydra reads them."""
    if isinstance(value, str):
        return value or "''"
    return json.dumps(value, separators=(",", ":"))
